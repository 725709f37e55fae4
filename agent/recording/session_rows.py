"""Rows of the database of a session, checked: a recording may come from anywhere, and says what nobody may believe.

Whoever reads a row, to show it or to go on with it, reads it with these.
"""

import re
import sqlite3
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from agent.recording.segment_files import SegmentOrigin, StartTime, decode_leads, require_wfdb_text
from agent.wire.packets import SampleIndex, SamplingRate, WireText, decode_bed_name
from model.errors import FrameError

SEGMENT_PATH = re.compile(r"[A-Za-z0-9_-]+/[0-9]{4,9}")
"""Path of a segment in the folder of its session, without ending: no other is ever touched."""
LARGEST_NUMBER = 10**9 - 1
"""The largest number of a segment, by its path."""
RowId = Annotated[int, Meta(ge=0, le=2**52)]
"""An id of a row that others can follow."""
BeatLabel = Literal["N", "S", "V", "F", "Q"]


class SegmentRow(msgspec.Struct, array_like=True, frozen=True):
    """A row of `segments`."""

    id: RowId
    bed: WireText
    number: Annotated[int, Meta(ge=0, le=LARGEST_NUMBER)]
    path: str
    run: WireText
    first: SampleIndex
    count: SampleIndex
    fs: SamplingRate
    leads: str
    started_s: StartTime
    format: Literal[16, 32]
    state: Literal["open", "closed", "deleted"]


class LedgerRow(msgspec.Struct, array_like=True, frozen=True):
    """A row of `ledger`."""

    id: RowId
    bed: WireText
    run: WireText
    fs: SamplingRate
    first: SampleIndex
    next: SampleIndex
    written: SampleIndex
    recorded: SampleIndex
    missing: SampleIndex
    lost: SampleIndex
    last_beat: int | None
    ended: Literal[0, 1]


class FullBeatRow(msgspec.Struct, array_like=True, frozen=True):
    """A row of `beats`."""

    id: int
    run: Annotated[str, Meta(max_length=64)]
    sample: int
    decided: int
    found: int
    label: Annotated[str, Meta(max_length=1)]
    probabilities: str
    rr_s: float | None
    heart_rate: float | None


class BeatRow(msgspec.Struct, array_like=True, frozen=True):
    """A beat in short; `probabilities` as text, which may be broken, `rr_s` as `agent.core.messages.Beat` has it."""

    id: int
    run: WireText
    sample: int
    label: BeatLabel
    rr_s: float | None
    probabilities: str


class MarkRow(msgspec.Struct, array_like=True, frozen=True):
    """A beat in its segment."""

    id: int
    segment: int
    sample: int
    label: BeatLabel


SEGMENT_QUERY = f"SELECT {', '.join(SegmentRow.__struct_fields__)} FROM segments"
LEDGER_QUERY = f"SELECT {', '.join(LedgerRow.__struct_fields__)} FROM ledger"


def read_segment_rows(db: sqlite3.Connection, rest: str, *values: object) -> list[SegmentRow]:
    """Return the rows of SEGMENT_QUERY and what follows it. Raises ValueError or sqlite3.Error."""
    rows = msgspec.convert(db.execute(f"{SEGMENT_QUERY} {rest}", values).fetchall(), list[SegmentRow])
    for row in rows:
        if not SEGMENT_PATH.fullmatch(row.path):
            raise ValueError("it names a file outside of it")
        if int(row.path.rpartition("/")[2]) != row.number:
            raise ValueError(f"segment {row.number} is said to be {row.path}")
    return rows


def read_ledger_rows(db: sqlite3.Connection, rest: str, *values: object) -> list[LedgerRow]:
    """Return the rows of LEDGER_QUERY and what follows it. Raises ValueError or sqlite3.Error."""
    rows = msgspec.convert(db.execute(f"{LEDGER_QUERY} {rest}", values).fetchall(), list[LedgerRow])
    for row in rows:
        if row.next < row.first or row.written > row.next:
            raise ValueError(f"a run from sample {row.first} to {row.next}, written to {row.written}")
    return rows


def segment_origin(row: SegmentRow) -> SegmentOrigin:
    """Return where the samples of a segment come from. Raises ValueError or RecursionError."""
    bed, run = require_wfdb_text(row.bed), require_wfdb_text(row.run)
    return SegmentOrigin(row.first, row.fs, bed, run, decode_leads(row.leads), row.started_s)


def read_bed_names(db: sqlite3.Connection) -> list[str]:
    """Return the name of each bed in order, "" for one that no device can have given it. Raises sqlite3.Error."""
    query = "SELECT CAST(bed AS BLOB) FROM ledger UNION SELECT CAST(bed AS BLOB) FROM segments ORDER BY 1"
    return [_bed_name(name) for (name,) in db.execute(query).fetchall()]


def read_bed_names_of(db: sqlite3.Connection, folder: str) -> list[str]:
    """Return the names of the beds with segments in a folder of the session. Raises sqlite3.Error."""
    query = "SELECT DISTINCT CAST(bed AS BLOB) FROM segments WHERE substr(path, 1, ?) = ?"
    return [
        name for (raw,) in db.execute(query, (len(folder) + 1, f"{folder}/")).fetchall() if (name := _bed_name(raw))
    ]


def _bed_name(name: object) -> str:
    try:
        return decode_bed_name(name) if isinstance(name, bytes) else ""
    except FrameError:
        return ""


def row_values(row: Any) -> tuple[Any, ...]:
    """Return the columns of a row in order."""
    return msgspec.structs.astuple(row)
