"""Tables of beats and alarms of a file, as CSV and as Parquet, and its results as JSON lines.

A sample index is one of the file, at its own rate, in `sample` and `onset`; in `sample_125hz` and `onset_125hz` it is
that of the JSON lines and of a live monitor, at 125 Hz.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.core.messages import Alarm
from model.extras import import_extra
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.scoring.beat_scores import round_to_samples

TableRow = Sequence[int | float | str | datetime | None]
BEAT_COLUMNS: dict[str, str] = {
    "sample": "int64",
    "sample_125hz": "int64",
    "time_s": "float64",
    "time": "timestamp",
    "class": "string",
    "confidence": "float64",
    **{f"probability_{name}": "float64" for name in CLASSES},
    "rr_s": "float64",
    "heart_rate": "float64",
    "lead": "string",
    "quality": "float64",
}
"""Columns of the table of beats, and the type of each."""
ALARM_COLUMNS: dict[str, str] = {
    "onset": "int64",
    "onset_125hz": "int64",
    "time_s": "float64",
    "time": "timestamp",
    "condition": "string",
    "priority": "string",
    "text": "string",
    "announced_s": "float64",
    "ended_s": "float64",
}
"""The same of the table of alarms; times in seconds from the start of the file, no end for what goes on to its end."""
ROWS_TOGETHER = 20_000
"""Rows of Parquet that are written at once."""


@dataclass(frozen=True, slots=True)
class FileClock:
    """The time of samples of a file at `fs` hertz that began at `start`, None if it does not say when."""

    fs: float
    start: datetime | None

    def file_sample(self, sample: int) -> int:
        """Return the sample of the file that is nearest to a sample at 125 Hz."""
        return round_to_samples(sample / FS, self.fs)

    def time_of(self, sample: int) -> datetime | None:
        """Return when a sample at 125 Hz was taken; None if that is not known, or beyond any calendar."""
        try:
            return None if self.start is None else self.start + timedelta(seconds=sample / FS)
        except OverflowError:
            return None


def format_time(at: datetime | None) -> str | None:
    """Return a time by ISO 8601, to the millisecond; the clock is that of the file, without a zone if it has none."""
    return None if at is None else at.isoformat(timespec="milliseconds")


def beat_row(line: dict[str, Any], clock: FileClock) -> TableRow:
    """Return the row of BEAT_COLUMNS of a beat, which `line` holds as JSON lines do."""
    at = line["sample"]
    named = (line["class"], line["confidence"], *line["probabilities"].values(), line["rr_s"], line["heart_rate"])
    return (clock.file_sample(at), at, line["time_s"], clock.time_of(at), *named, line["lead"], line["quality"])


def alarm_row(alarm: Alarm, clock: FileClock) -> TableRow:
    """Return the row of ALARM_COLUMNS of an alarm."""
    at = alarm.onset
    announced_s, ended_s = (None if end is None else round(end / FS, 3) for end in (alarm.announced, alarm.ended))
    named = (alarm.condition, alarm.priority, alarm.text, announced_s, ended_s)
    return (clock.file_sample(at), at, round(at / FS, 3), clock.time_of(at), *named)


class CsvTable:
    """A table as a CSV file, written row by row. Raises OSError."""

    def __init__(self, path: Path, columns: Iterable[str]) -> None:
        self._file = path.open("x", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add_row(self, row: TableRow) -> None:
        """Write a row."""
        self._writer.writerow([format_time(value) if isinstance(value, datetime) else value for value in row])


class ParquetTable:
    """A table as a Parquet file. Raises ConfigError if pyarrow is not installed, OSError if it cannot be written."""

    def __init__(self, path: Path, columns: dict[str, str], start: datetime | None) -> None:
        self._arrow = import_extra("pyarrow", "parquet")
        parquet = import_extra("pyarrow.parquet", "parquet")
        moment = self._arrow.timestamp("us", "UTC" if start is not None and start.tzinfo else None)
        types = {"timestamp": moment, "string": self._arrow.string(), "int64": self._arrow.int64()}
        fields = [(name, types.get(kind, self._arrow.float64())) for name, kind in columns.items()]
        self._schema = self._arrow.schema(fields)
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._rows: list[TableRow] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._write_rows()
        finally:
            self._writer.close()

    def add_row(self, row: TableRow) -> None:
        """Write a row, by and by."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_TOGETHER:
            self._write_rows()

    def _write_rows(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(self._schema)
        arrays = [self._arrow.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()
