"""Rows of the tables of a file: its beats and its alarms.

A sample index is one of the file, at its own rate, in `sample` and `onset`; in `sample_125hz` and `onset_125hz` it is
that of the JSON lines and of a live monitor, at 125 Hz.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.core.messages import Alarm
from agent.outputs.json_lines import BeatLine
from agent.outputs.result_tables import TableColumn, TableRow, table_columns
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.scoring.beat_scores import round_to_samples


@dataclass(frozen=True, slots=True)
class FileClock:
    """The time of samples of a file at `fs` hertz that began at `start`, None if it does not say when."""

    fs: float
    start: datetime | None

    def file_sample(self, sample: int) -> int:
        """Return the sample of the file that is nearest to a sample at 125 Hz."""
        return round_to_samples(sample / FS, self.fs)

    def time_of(self, sample: int) -> float | datetime | None:
        """Return when a sample at 125 Hz was taken: Unix time, or by the file's clock where its zone is not known.

        None if the file does not say, or the time is beyond any calendar.
        """
        if self.start is None:
            return None
        try:
            at = self.start + timedelta(seconds=sample / FS)
        except OverflowError:
            return None
        return at.timestamp() if at.tzinfo else at

    def time_column(self) -> TableColumn:
        """Return the column of such times."""
        return TableColumn("time", "time" if self.start is not None and self.start.tzinfo else "local time")


def beat_columns(clock: FileClock) -> tuple[TableColumn, ...]:
    """Return the columns of the table of beats."""
    return (
        *table_columns(sample="integer", sample_125hz="integer", time_s="number"),
        clock.time_column(),
        TableColumn("class", "text"),
        *table_columns(confidence="number"),
        *(TableColumn(f"probability_{name}", "number") for name in CLASSES),
        *table_columns(rr_s="number", heart_rate="number", lead="text", quality="number"),
    )


def alarm_columns(clock: FileClock) -> tuple[TableColumn, ...]:
    """Return those of the table of alarms; times in seconds from the start of the file, no end for what goes on."""
    return (
        *table_columns(onset="integer", onset_125hz="integer", time_s="number"),
        clock.time_column(),
        *table_columns(condition="text", priority="text", text="text", announced_s="number", ended_s="number"),
    )


def beat_row(line: BeatLine, file_sample: int, at: float | datetime | None) -> TableRow:
    """Return the row of `beat_columns` of a beat by its line, its R peak at a sample of the file, `at` by its clock."""
    named = (line.label, line.confidence, *line.probabilities.values(), line.rr_s, line.heart_rate)
    return (file_sample, line.sample, line.time_s, at, *named, line.lead, line.quality)


def alarm_row(alarm: Alarm, clock: FileClock) -> TableRow:
    """Return the row of `alarm_columns` of an alarm."""
    at = alarm.onset
    announced_s, ended_s = (None if end is None else round(end / FS, 3) for end in (alarm.announced, alarm.ended))
    named = (alarm.condition, alarm.priority, alarm.text, announced_s, ended_s)
    return (clock.file_sample(at), at, round(at / FS, 3), clock.time_of(at), *named)
