"""Repairs what a kill or a power cut left of a session, when it is opened for recording again.

The truth is the length of the signal files: headers, annotations, and the database are repaired from it.
"""

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from agent.core.sample_index import nearest_device_index, nearest_index_at_125_hz
from agent.recording import alarm_records, database
from agent.recording.bed_writer import RunLedger
from agent.recording.segment_files import (
    NO_VALUE_OF_FORMAT,
    SegmentOrigin,
    SegmentWriter,
    encode_leads,
    read_segment_origin,
    read_stored_samples,
)
from agent.recording.session_rows import (
    SEGMENT_PATH,
    LedgerRow,
    MarkRow,
    SegmentRow,
    read_ledger_rows,
    read_segment_rows,
    row_values,
    segment_origin,
)

_BLOCK_ROWS = 65_536


def repair_session(db: sqlite3.Connection, folder: Path) -> int:
    """Close all segments that were left open; return how many had signal. Raises OSError, sqlite3.Error, ValueError."""
    _adopt_unknown_files(db, folder)
    left = [writer_from_row(folder, row) for row in read_segment_rows(db, "WHERE state = 'open' ORDER BY id")]
    for writer in left:
        writer.repair()
        if writer.count:
            _close_segment(db, writer)
        else:
            discard_empty_segment(db, writer)
    runs = dict.fromkeys((writer.origin.bed, writer.origin.run) for writer in left)
    for bed, run in runs:
        written = [w for w in left if w.count and (w.origin.bed, w.origin.run) == (bed, run)]
        entry = _load_run_ledger(db, bed, run)
        if entry is None and written:
            first = written[0].origin
            entry = RunLedger(bed, run, first.fs, first.first, first.first, first.first)
        if entry is not None:
            _settle_run_ledger(db, entry, written)
    return sum(writer.count > 0 for writer in left)


def writer_from_row(folder: Path, row: SegmentRow) -> SegmentWriter:
    """Return the writer of a segment from its row. Raises ValueError."""
    return SegmentWriter(f"{folder}/{row.path}", segment_origin(row), row.format, row.id, row.count, notes=None)


def ledger_from_row(row: LedgerRow) -> RunLedger:
    """Return the ledger of a row."""
    entry = RunLedger(*row_values(row)[1:])
    entry.ended = bool(entry.ended)
    return entry


def add_segment(
    db: sqlite3.Connection, folder: Path, path: str, origin: SegmentOrigin, wfdb_format: int
) -> SegmentWriter:
    """Add a row for a new segment, whose `path` is relative; return its writer."""
    number, leads = int(path.rpartition("/")[2]), encode_leads(origin.leads)
    values = (origin.bed, number, path, origin.run, origin.first, 0, origin.fs, leads, origin.started, wfdb_format)
    made = db.execute("INSERT INTO segments VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')", values)
    return SegmentWriter(f"{folder}/{path}", origin, wfdb_format, made.lastrowid or 0)


def save_run_ledgers(db: sqlite3.Connection, entries: Iterable[RunLedger]) -> None:
    """Write the ledgers of runs; the order of the runs of a bed stays."""
    db.executemany(
        """INSERT INTO ledger(bed, run, fs, first, next, written, recorded, missing, lost, last_beat, ended)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(bed, run) DO UPDATE SET
           fs = excluded.fs, first = excluded.first, next = excluded.next, written = excluded.written,
           recorded = excluded.recorded, missing = excluded.missing, lost = excluded.lost,
           last_beat = excluded.last_beat, ended = excluded.ended""",
        [
            (e.bed, e.run, e.fs, e.first, e.next, e.written, e.recorded, e.missing, e.lost, e.last_beat, e.ended)
            for e in entries
        ],
    )


def rewrite_annotations(db: sqlite3.Connection, writer: SegmentWriter) -> None:
    """Write the annotation file of a segment again from the database. Raises OSError, sqlite3.Error or ValueError."""
    origin = writer.origin
    query = "SELECT id, segment, sample, label FROM beats WHERE bed = ? AND segment = ? ORDER BY id"
    rows = msgspec.convert(db.execute(query, (origin.bed, writer.identity)).fetchall(), list[MarkRow])
    beats = [
        (min(max(0, nearest_device_index(row.sample, origin.fs) - origin.first), writer.count - 1), row.label)
        for row in rows
    ]
    writer.rewrite_beats(beats)


def discard_empty_segment(db: sqlite3.Connection, writer: SegmentWriter) -> None:
    """Delete a segment that never held a sample, with its files."""
    writer.remove()
    with contextlib.suppress(OSError):
        Path(writer.path).parent.rmdir()
    db.execute("DELETE FROM segments WHERE id = ?", (writer.identity,))


def _adopt_unknown_files(db: sqlite3.Connection, folder: Path) -> None:
    """Add files that the database does not know, after a power cut, and delete those whose deletion was interrupted."""
    known = {row.path: row.state for row in read_segment_rows(db, "")}
    for bed in (entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink()):
        for file in sorted(bed.iterdir()):
            path = f"{bed.name}/{file.name.partition('.')[0]}"
            if not SEGMENT_PATH.fullmatch(path):
                continue
            if file.suffix in (".partial", ".tmp") or known.get(path) == "deleted":
                file.unlink()
            elif file.suffix == ".hea" and path not in known and (found := read_segment_origin(folder / path)):
                add_segment(db, folder, path, *found)


def _close_segment(db: sqlite3.Connection, writer: SegmentWriter) -> None:
    rewrite_annotations(db, writer)
    writer.finish()
    db.execute("UPDATE segments SET count = ?, state = 'closed' WHERE id = ?", (writer.count, writer.identity))


def _load_run_ledger(db: sqlite3.Connection, bed: str, run: str) -> RunLedger | None:
    rows = read_ledger_rows(db, "WHERE bed = ? AND run = ?", bed, run)
    return ledger_from_row(rows[0]) if rows else None


def _settle_run_ledger(db: sqlite3.Connection, entry: RunLedger, written: list[SegmentWriter]) -> None:
    """Bring the ledger of a run up to what is on disk: mostly a little more than the database knew."""
    (end,) = db.execute(
        "SELECT max(first + count) FROM segments WHERE bed = ? AND run = ? AND state != 'open'", (entry.bed, entry.run)
    ).fetchone()
    end = entry.first if end is None else end
    with database.write_transaction(db):
        if end < entry.written:
            _roll_back_ledger(db, entry, end)
        for writer in written:
            _count_unsaved_samples(entry, writer)
        save_run_ledgers(db, [entry])


def _count_unsaved_samples(entry: RunLedger, writer: SegmentWriter) -> None:
    """Count samples that were written after the database: those without any value count as declared missing."""
    origin = writer.origin
    if origin.first > entry.next:
        entry.missing += origin.first - entry.next
        entry.next = origin.first
    leads, stop = len(origin.leads), origin.first + writer.count
    for first in range(entry.next, stop, _BLOCK_ROWS):
        block = read_stored_samples(
            writer.path, writer.format, leads, first - origin.first, min(first + _BLOCK_ROWS, stop) - origin.first
        )
        empty = int((block == NO_VALUE_OF_FORMAT[writer.format]).all(axis=1).sum())
        entry.missing += empty
        entry.recorded += len(block) - empty
    entry.next = max(entry.next, stop)
    entry.written = max(entry.written, stop)


def _roll_back_ledger(db: sqlite3.Connection, entry: RunLedger, end: int) -> None:
    """Forget signal that a power cut took though the database knows of it: it may be fetched and analysed again."""
    recorded = entry.recorded - (entry.written - end)
    entry.next = entry.written = end
    total = entry.next - entry.first
    entry.lost = min(entry.lost, total)
    entry.recorded = min(max(0, recorded), total - entry.lost)
    entry.missing = total - entry.lost - entry.recorded
    entry.ended = False
    query = "SELECT id, sample FROM beats WHERE bed = ? AND run = ?"
    samples = msgspec.convert(db.execute(query, (entry.bed, entry.run)).fetchall(), list[tuple[int, int]])
    gone = [(identity,) for identity, sample in samples if nearest_device_index(sample, entry.fs) >= end]
    db.executemany("DELETE FROM beats WHERE id = ?", gone)
    alarm_records.delete_alarms_from(db, entry.bed, entry.run, nearest_index_at_125_hz(end, entry.fs))
    kept = [sample for _, sample in samples if nearest_device_index(sample, entry.fs) < end]
    entry.last_beat = max(kept, default=None)
