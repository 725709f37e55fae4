"""The results of one file, written as they are found into a folder that gets its name once it is complete."""

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from agent.batch.file_report import FileReport
from agent.batch.file_tables import FileClock, alarm_columns, alarm_row, beat_columns, beat_row
from agent.core.class_trust import ClassTrust
from agent.core.config import Config
from agent.core.messages import Alarm, AlarmIdentity, Beat, Chunk, End, Ledger, Priority, Result, Strip
from agent.outputs.json_lines import alarm_to_json, beat_line, event_to_json, ledger_to_json, round_shares
from agent.outputs.result_tables import (
    TABLE_ENDINGS,
    CsvTable,
    ParquetTable,
    TableColumn,
    begin_table,
    format_cell_time,
)
from model.errors import RunError
from model.records.annotations import AnnotationFile, encode_annotations, state_rate
from model.records.wfdb_records import CLASSES, Record

_encode = msgspec.json.Encoder().encode
ANNOTATOR = "ecg"
"""Ending of the annotation file, as `evaluate` and recordings have it."""


@dataclass(frozen=True, slots=True)
class ResultKinds:
    """What is written of a file beside the tables as CSV, the JSON lines and the annotations."""

    report: bool = False
    parquet: bool = False

    def file_names(self, record: str) -> tuple[str, ...]:
        """Return the names of the files of results of a record, in the order in which they are listed."""
        names = ["beats.csv", "alarms.csv", "results.jsonl", f"{record}.{ANNOTATOR}"]
        names += ["beats.parquet", "alarms.parquet"] if self.parquet else []
        return (*names, *(["report.html", "report.pdf"] if self.report else []))


class FileResults:
    """Writes the results of one file, a bed of the pipeline, into `folder`, which it makes.

    Raises OSError or RunError where that cannot be written.
    """

    def __init__(
        self, folder: Path, record: Record, name: str, kinds: ResultKinds, config: Config, trust: ClassTrust
    ) -> None:
        """`name`: that of the annotation file."""
        self._folder, self._record, self._name = folder, record, name
        self._clock = FileClock(record.fs, record.start)
        self._counts: Counter[str] = Counter()
        self._rr_s, self._intervals = 0.0, 0
        self._samples: list[int] = []
        self._labels: list[str] = []
        self._alarms: dict[AlarmIdentity, Alarm] = {}
        folder.mkdir(parents=True)
        with ExitStack() as stack:
            self._lines = stack.enter_context((folder / "results.jsonl").open("xb"))
            self._kinds = kinds
            self._beats = self._open_tables("beats", beat_columns(self._clock), stack)
            self._report = FileReport(folder, record, config, trust) if kinds.report else None
            self._open_files = stack.pop_all()

    def push(self, message: Chunk | End, results: Sequence[Result], delay_s: float) -> None:
        """Write what was found by the next chunk or the end; `delay_s`: what resampling adds to every delay."""
        shares = iter(round_shares([item for item in results if isinstance(item, Beat)]))
        for item in results:
            if isinstance(item, Beat):
                self._push_beat(item, next(shares), delay_s)
            elif isinstance(item, Alarm):
                self._alarms[item.identity] = item
                self._write_line(self._alarm_line(item), item.onset)
            elif not isinstance(item, Strip):
                self._write_line(event_to_json(item, None), item.sample)
        if self._report is not None:
            self._report.push(message, results)

    def finish(self, ledger: Ledger) -> None:
        """Write what is known at the end, and close all files."""
        self._write_line(ledger_to_json(self._record.name, ledger, None), None)
        notes = AnnotationFile(
            tuple(self._samples), tuple(self._labels), (0,) * len(self._labels), ("",) * len(self._labels)
        )
        content = encode_annotations(state_rate(notes, self._record.fs))
        (self._folder / f"{self._name}.{ANNOTATOR}").write_bytes(content)
        with ExitStack() as stack:
            tables = self._open_tables("alarms", alarm_columns(self._clock), stack)
            for alarm in self._alarms.values():
                for table in tables:
                    table.add_row(alarm_row(alarm, self._clock))
            for table in (*tables, *self._beats):
                table.close()
        self._open_files.close()
        if self._report is not None:
            self._report.write()

    def abandon(self) -> None:
        """Close all files and delete the folder, whatever the disk says: why it comes to this is known already."""
        with suppress(OSError):
            self._open_files.close()
        with suppress(OSError, RunError):
            if self._report is not None:
                self._report.abandon()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def beat_counts(self) -> dict[str, int]:
        """Beats of each class."""
        return {name: self._counts[name] for name in CLASSES}

    @property
    def alarm_counts(self) -> dict[Priority, int]:
        """Alarms of each priority that there were."""
        return dict(Counter(alarm.priority for alarm in self._alarms.values()))

    @property
    def heart_rate(self) -> float | None:
        """The mean heart rate in beats a minute; None without an RR interval."""
        return round(60 * self._intervals / self._rr_s, 1) if self._rr_s else None

    def _open_tables(
        self, name: str, columns: Sequence[TableColumn], stack: ExitStack
    ) -> list[CsvTable | ParquetTable]:
        """Begin a table in each format that is wanted; `stack` closes their files."""
        endings = TABLE_ENDINGS if self._kinds.parquet else TABLE_ENDINGS[:1]
        return [
            begin_table(columns, stack.enter_context((self._folder / f"{name}{ending}").open("xb")), ending)
            for ending in endings
        ]

    def _push_beat(self, beat: Beat, shares: Sequence[float], delay_s: float) -> None:
        at, file_sample = self._clock.time_of(beat.sample), self._clock.file_sample(beat.sample)
        line = beat_line(beat, shares, delay_s, None, None)
        line.time = format_cell_time(at)
        self._lines.write(_encode(line) + b"\n")
        row = beat_row(line, file_sample, at)
        for table in self._beats:
            table.add_row(row)
        self._samples.append(file_sample)
        self._labels.append(beat.label)
        self._counts[beat.label] += 1
        if beat.rr_s is not None:
            self._rr_s, self._intervals = self._rr_s + beat.rr_s, self._intervals + 1

    def _alarm_line(self, alarm: Alarm) -> dict[str, Any]:
        """Return an alarm as JSON lines have it, with its times by the clock of the file."""
        line = alarm_to_json(alarm, None)
        for key, sample in (("announced_time", alarm.announced), ("ended_time", alarm.ended)):
            line[key] = None if sample is None else format_cell_time(self._clock.time_of(sample))
        return line

    def _write_line(self, line: dict[str, Any], sample: int | None) -> None:
        """Write an object of JSON lines, with its time where the file says when it began."""
        if sample is not None and (at := format_cell_time(self._clock.time_of(sample))) is not None:
            line |= {"time": at}
        self._lines.write(_encode(line) + b"\n")
