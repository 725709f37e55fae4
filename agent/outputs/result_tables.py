"""Beats and alarms as tables: one row each, as CSV or Parquet, for spreadsheets, pandas, polars, DuckDB, Spark.

Rows are tuples in the order of their columns, None where a value is not known. Both formats are written block by block:
a table never is in memory as a whole. Parquet needs the extra `parquet`.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Literal

from agent.core.clock import LARGEST_TIME, format_wall_time
from agent.core.messages import Alarm, Beat
from model.extras import import_extra
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

TABLE_ENDINGS = (".csv", ".parquet")
ROWS_PER_BLOCK = 50_000
LARGEST_BUFFER = 2**20
"""Characters of CSV that are written at once."""
DIGITS = 6
"""Decimals of probabilities, seconds and rates."""
ColumnKind = Literal["text", "integer", "number", "time", "local time", "flag"]
"""`time`: seconds since the Unix epoch in a row, ISO 8601 in CSV, a UTC timestamp in Parquet. `local time`: the same by
a clock whose zone is not known, a datetime without a zone in a row.
"""
TableRow = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table: its name, and what its values are."""

    name: str
    kind: ColumnKind

    @property
    def is_time(self) -> bool:
        """Whether its values are moments."""
        return self.kind in ("time", "local time")


def table_columns(**kinds: ColumnKind) -> tuple[TableColumn, ...]:
    """Return columns by name and kind."""
    return tuple(TableColumn(name, kind) for name, kind in kinds.items())


BEAT_COLUMNS = (
    *table_columns(bed="text", run="text", sample="integer", time_s="number", time="time"),
    TableColumn("class", "text"),
    *table_columns(confidence="number"),
    *(TableColumn(f"probability_{name}", "number") for name in CLASSES),
    *table_columns(rr_s="number", heart_rate="number", lead="text", quality="number"),
)
"""A beat: `sample` of the R peak at 125 Hz, the same in seconds of the run, and by the clock."""
ALARM_COLUMNS = (
    *table_columns(bed="text", run="text", condition="text", priority="text", text="text"),
    *table_columns(onset="integer", announced="integer", ended="integer", time_s="number", time="time"),
    *table_columns(announced_time="time", ended_time="time", acknowledged_time="time"),
    *table_columns(latching="flag", notified="text"),
)
"""An alarm: `onset`, `announced` and `ended` at 125 Hz, `time_s` of the run and `time` of its onset."""


def beat_table_row(beat: Beat, at_s: float | None) -> TableRow:
    """Return a beat, its R peak at Unix time `at_s`, as a row of BEAT_COLUMNS."""
    probabilities = [round(p, DIGITS) for p in beat.probabilities]
    return (
        *(beat.bed, beat.run, beat.sample, _seconds_of(beat.sample), at_s, beat.label, max(probabilities)),
        *probabilities,
        *(_rounded(beat.rr_s), _rounded(beat.heart_rate), beat.lead or None, _rounded(beat.quality)),
    )


def alarm_table_row(alarm: Alarm, time_of: Callable[[str, int], float | None], notified: str | None = None) -> TableRow:
    """Return an alarm as a row of ALARM_COLUMNS.

    `time_of`: the Unix time of a run's sample at 125 Hz; `notified`: whether it was "sent", "failed", None: neither.
    """
    onset, announced, ended = (
        None if sample is None else time_of(alarm.run, sample) for sample in (alarm.onset, alarm.announced, alarm.ended)
    )
    return (
        *(alarm.bed, alarm.run, alarm.condition, alarm.priority, alarm.text),
        *(alarm.onset, alarm.announced, alarm.ended, _seconds_of(alarm.onset)),
        *(onset, announced, ended, alarm.acknowledged_s, alarm.latching, notified),
    )


class CsvTable:
    """A table as CSV in UTF-8 with the names of the columns first, written row by row; an empty cell has no value.

    Raises OSError.
    """

    def __init__(self, file: BinaryIO, columns: Sequence[TableColumn]) -> None:
        self._file, self._width = file, len(columns)
        self._times = [place for place, column in enumerate(columns) if column.is_time]
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow([column.name for column in columns])

    def add_row(self, row: TableRow) -> None:
        """Write a row, by and by."""
        cells = list(row)
        assert len(cells) == self._width
        for place in self._times:
            cells[place] = format_cell_time(cells[place])
        self._writer.writerow(cells)
        if self._text.tell() > LARGEST_BUFFER:
            self._write_text()

    def close(self) -> None:
        """Write what is left; the file is not ours to close."""
        self._write_text()

    def _write_text(self) -> None:
        self._file.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()


class ParquetTable:
    """A table as Parquet, a row group a block. Raises ConfigError if pyarrow is not there, and OSError."""

    def __init__(self, file: BinaryIO, columns: Sequence[TableColumn]) -> None:
        self._arrow, parquet = import_extra("pyarrow", "parquet"), import_extra("pyarrow.parquet", "parquet")
        types = {
            "text": self._arrow.string(),
            "integer": self._arrow.int64(),
            "number": self._arrow.float64(),
            "time": self._arrow.timestamp("us", tz="UTC"),
            "local time": self._arrow.timestamp("us"),
            "flag": self._arrow.bool_(),
        }
        self._columns = columns
        self._schema = self._arrow.schema([(column.name, types[column.kind]) for column in columns])
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._rows: list[TableRow] = []

    def add_row(self, row: TableRow) -> None:
        """Write a row, by and by."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_PER_BLOCK:
            self._write_rows()

    def close(self) -> None:
        """Write what is left, and the end; the file is not ours to close."""
        self._write_rows()
        self._writer.close()

    def _write_rows(self) -> None:
        if not self._rows:
            return
        values = [
            [_microseconds(value) for value in values] if column.kind == "time" else list(values)
            for column, values in zip(self._columns, zip(*self._rows, strict=True), strict=True)
        ]
        arrays = [self._arrow.array(part, field.type) for part, field in zip(values, self._schema, strict=True)]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


def begin_table(columns: Sequence[TableColumn], file: BinaryIO, ending: str) -> CsvTable | ParquetTable:
    """Begin a table in the format of one of TABLE_ENDINGS. Raises ConfigError if Parquet is not installed."""
    return ParquetTable(file, columns) if ending == ".parquet" else CsvTable(file, columns)


def write_table(columns: Sequence[TableColumn], rows: Iterable[TableRow], file: BinaryIO, ending: str) -> None:
    """Write rows to a file in the format of one of TABLE_ENDINGS. Raises ConfigError if Parquet is not installed."""
    table = begin_table(columns, file, ending)
    for row in rows:
        table.add_row(row)
    table.close()


def format_cell_time(value: float | datetime | None) -> str | None:
    """Return a moment by ISO 8601 to the millisecond: Unix time with its offset from UTC, another clock without."""
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else format_wall_time(value)


def _seconds_of(sample: int) -> float:
    return round(sample / FS, DIGITS)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _microseconds(at_s: float | None) -> int | None:
    return None if at_s is None or not 0 < at_s < LARGEST_TIME else round(1e6 * at_s)
