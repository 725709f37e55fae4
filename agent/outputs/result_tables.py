"""Beats and alarms as tables: one row each, as CSV or Parquet, for spreadsheets, pandas, polars, DuckDB, Spark.

Rows are tuples in the order of their columns, None where a value is not known. Both formats are written block by block:
a table never is in memory as a whole. Parquet needs the extra `parquet`.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, Literal

from agent.core.clock import LARGEST_TIME, format_wall_time
from agent.core.messages import Alarm, Beat
from model.extras import import_extra
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

TABLE_ENDINGS = (".csv", ".parquet")
ROWS_PER_BLOCK = 50_000
DIGITS = 6
"""Decimals of probabilities, seconds and rates."""
ColumnKind = Literal["text", "integer", "number", "time", "flag"]
"""`time`: seconds since the Unix epoch in a row, ISO 8601 in CSV, a UTC timestamp in Parquet."""
TableRow = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table: its name, and what its values are."""

    name: str
    kind: ColumnKind


def _columns(**kinds: ColumnKind) -> tuple[TableColumn, ...]:
    return tuple(TableColumn(name, kind) for name, kind in kinds.items())


BEAT_COLUMNS = (
    *_columns(bed="text", run="text", sample="integer", time_s="number", time="time"),
    TableColumn("class", "text"),
    *_columns(confidence="number"),
    *(TableColumn(f"p_{name}", "number") for name in CLASSES),
    *_columns(rr_s="number", heart_rate="number", lead="text", quality="number"),
)
"""A beat: `sample` of the R peak at 125 Hz, the same in seconds of the run, and by the clock."""
ALARM_COLUMNS = (
    *_columns(bed="text", run="text", condition="text", priority="text", text="text"),
    *_columns(onset="integer", announced="integer", ended="integer", time_s="number", time="time"),
    *_columns(announced_time="time", ended_time="time", acknowledged_time="time", latching="flag", notified="text"),
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


def write_table(columns: Sequence[TableColumn], rows: Iterable[TableRow], file: BinaryIO, ending: str) -> None:
    """Write rows to a file in the format of one of TABLE_ENDINGS. Raises ConfigError if Parquet is not installed."""
    (write_parquet_table if ending == ".parquet" else write_csv_table)(columns, rows, file)


def write_csv_table(columns: Sequence[TableColumn], rows: Iterable[TableRow], file: BinaryIO) -> None:
    """Write rows as CSV in UTF-8, the names of the columns first; an empty cell has no value."""
    times = [column.kind == "time" for column in columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for block in _blocks(rows):
        writer.writerows(
            [format_wall_time(value) if is_time else value for value, is_time in zip(row, times, strict=True)]
            for row in block
        )
        file.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
    file.write(text.getvalue().encode())


def write_parquet_table(columns: Sequence[TableColumn], rows: Iterable[TableRow], file: BinaryIO) -> None:
    """Write rows as Parquet, a row group a block. Raises ConfigError if pyarrow is not there."""
    arrow, parquet = import_extra("pyarrow", "parquet"), import_extra("pyarrow.parquet", "parquet")
    types = {
        "text": arrow.string(),
        "integer": arrow.int64(),
        "number": arrow.float64(),
        "time": arrow.timestamp("us", tz="UTC"),
        "flag": arrow.bool_(),
    }
    schema = arrow.schema([(column.name, types[column.kind]) for column in columns])
    with parquet.ParquetWriter(file, schema) as writer:
        for block in _blocks(rows):
            values = [
                [_microseconds(value) for value in values] if column.kind == "time" else list(values)
                for column, values in zip(columns, zip(*block, strict=True), strict=True)
            ]
            arrays = [arrow.array(part, types[column.kind]) for part, column in zip(values, columns, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _blocks(rows: Iterable[TableRow]) -> Iterator[list[TableRow]]:
    left = iter(rows)
    while block := list(islice(left, ROWS_PER_BLOCK)):
        yield block


def _seconds_of(sample: int) -> float:
    return round(sample / FS, DIGITS)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _microseconds(at_s: float | None) -> int | None:
    return None if at_s is None or not 0 < at_s < LARGEST_TIME else round(1e6 * at_s)
