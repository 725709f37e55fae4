"""A session that is being recorded: its folder, lock, database and beds. One thread uses it at a time.

`take` keeps everything in memory; `flush` hands it to the system: signals first, then annotations, then the database.
"""

import contextlib
import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import msgspec

from agent.core.class_trust import merge_class_trust
from agent.core.events import Event, EventKind, EventsOmitted, RunEnded, RunStarted
from agent.core.messages import Alarm, Beat, Chunk, End, Gap, Result, Strip
from agent.core.sample_index import nearest_index_at_125_hz
from agent.recording import database
from agent.recording.alarm_records import PendingAlarms, end_alarms
from agent.recording.bed_writer import KEPT_SEGMENTS, BedWriter, RunLedger
from agent.recording.event_records import INSERT_EVENT, event_values
from agent.recording.repair import (
    add_segment,
    discard_empty_segment,
    ledger_from_row,
    repair_session,
    rewrite_annotations,
    save_run_ledgers,
    writer_from_row,
)
from agent.recording.segment_files import SegmentOrigin, SegmentWriter, stored_file_size
from agent.recording.session_rows import (
    LARGEST_NUMBER,
    SEGMENT_PATH,
    read_ledger_rows,
    read_segment_rows,
    segment_origin,
)
from model.errors import RunError
from model.files import lock_folder, release_folder, special_file_kind, sync_file

MOST_EVENTS = 1000
"""Events kept, beside the starts and ends of runs, while nothing can be written; the others are counted."""
LONGEST_FOLDER_NAME = 48
_RESERVED = re.compile(r"lock|session|con|prn|aux|nul|com[0-9]|lpt[0-9]|", re.IGNORECASE)
_to_json = msgspec.json.Encoder().encode


class SessionWriter:
    """Creates or continues the session in a folder. Raises RunError if it cannot.

    `stored`: bytes that it takes on disk; `repaired`: segments that a killed monitor had left open.
    """

    def __init__(self, folder: Path, rotate_s: float, about: dict[str, str]) -> None:
        self.folder, self._rotate_s = folder, rotate_s
        self.beds: dict[str, BedWriter] = {}
        self.stored = 0
        self._side_size = 0
        self._beats: list[tuple[BedWriter, str, Beat]] = []
        self._beat_rows: list[tuple[object, ...]] = []
        self._events: list[tuple[Event, float]] = []
        self._omitted_events = Counter[EventKind]()
        self._alarms = PendingAlarms()
        self._unsynced: dict[str, float] = {}
        self._stale: list[SegmentWriter] = []
        self._folders: dict[str, str] = {}
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        try:
            _create_session_folder(folder)
            self._lock = lock_folder(folder / database.LOCK_FILE)
        except BlockingIOError:
            raise RunError(f"{folder} is being recorded by another monitor: choose another folder (--record)") from None
        except OSError as error:
            raise RunError(f"cannot record in {folder}: {error.strerror}; choose another folder (--record)") from error
        try:
            self._db = database.open_to_write(folder)
            try:
                self.repaired = repair_session(self._db, folder)
                self._load(about)
            except BaseException:
                database.close_database(self._db, folder)
                raise
        except (OSError, ValueError, TypeError, ArithmeticError, RecursionError, sqlite3.Error) as error:
            release_folder(self._lock)
            reason = disk_error_text(error)
            raise RunError(f"cannot continue the recording in {folder}: {reason}; choose another (--record)") from error
        except BaseException:
            release_folder(self._lock)
            raise

    @property
    def lost_s(self) -> float:
        """Seconds of signal, of all beds together, that were lost to this recording."""
        return sum(bed.lost_s for bed in self.beds.values())

    def take(
        self,
        messages: Sequence[Chunk | Gap | End],
        results: Sequence[tuple[Result, float]],
        now_s: float,
        lose: bool = False,
    ) -> None:
        """Take messages of the link at `now_s`, and results with their Unix times.

        With `lose` nothing can be written: keep no signal, which is only accounted for, and not all events.
        """
        for message in messages:
            bed = self.beds.get(message.bed) or self._add_bed(message.bed)
            bed.take(message, now_s, lose)
        for item, at_s in results:
            if isinstance(item, Alarm | Strip):
                self._alarms.take(item)
                continue
            if not isinstance(item, Beat):
                self.take_event(item, at_s)
            elif (known := self.beds.get(item.bed)) is not None and not lose and known.note_beat(item.run, item.sample):
                self._beats.append((known, item.run, item))
        if lose:
            self._limit_events()

    def take_event(self, event: Event, now_s: float) -> None:
        """Keep an event to be written."""
        self._events.append((event, now_s))

    def flush(self) -> None:
        """Hand everything to the system. Raises OSError or sqlite3.Error: then call `abandon`."""
        now = time.monotonic()
        for bed in self.beds.values():
            if bed.is_waiting:
                self.stored += bed.write()
                for path in bed.grown:
                    self._unsynced.setdefault(path, now)
                bed.grown.clear()
        self._annotate(now)
        for bed in self.beds.values():
            bed.drop_old_segments()
        self._commit()
        self._measure_database()

    def abandon(self) -> None:
        """Drop what waits, since it cannot be written: every bed goes on in a new segment."""
        for bed in self.beds.values():
            bed.abandon()

    def finish(self, budget_s: float = float("inf")) -> None:
        """Finish segments that are over, for `budget_s` seconds at most. Raises OSError or sqlite3.Error."""
        start = time.monotonic()
        self._commit()
        while self._stale:
            rewrite_annotations(self._db, self._stale[-1])
            self._stale.pop()
        for bed in self.beds.values():
            while bed.unfinished and time.monotonic() - start <= budget_s:
                writer = bed.unfinished[0]
                if writer.count:
                    writer.finish()
                    bed.closed.append(writer)
                else:
                    discard_empty_segment(self._db, writer)
                del bed.unfinished[0]
        self._commit()

    def sync(self, older_s: float, budget_s: float = float("inf")) -> bool:
        """Force onto the disk what has waited for `older_s`, the oldest first; return whether `budget_s` was enough."""
        start = time.monotonic()
        for path, since in list(self._unsynced.items()):
            now = time.monotonic()
            if now - since < older_s:
                break
            if now - start > budget_s:
                return False
            del self._unsynced[path]
            sync_file(path)
        return True

    def checkpoint(self) -> None:
        """Force the database onto the disk, without waiting for readers. Raises sqlite3.Error."""
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def delete_oldest(self) -> str:
        """Delete the oldest closed segment; return what it was, in words, or "" if there is none."""
        rows = read_segment_rows(self._db, "WHERE state = 'closed' ORDER BY started_s, id LIMIT 1")
        if not rows:
            return ""
        writer = writer_from_row(self.folder, rows[0])
        self._db.execute("UPDATE segments SET state = 'deleted' WHERE id = ?", (writer.identity,))
        bed = self.beds.get(writer.origin.bed)
        for known in bed.recent if bed else ():
            known.deleted |= known.identity == writer.identity
        self.stored -= writer.remove()
        minutes, bed_name = writer.count / writer.origin.fs / 60, writer.origin.bed
        since = datetime.fromtimestamp(writer.origin.started, UTC)
        return f"{minutes:.0f} min of bed {bed_name} from {since:%Y-%m-%d %H:%M} UTC ({rows[0].path})"

    def close(self) -> None:
        """Write everything, finish all segments, force all onto the disk. Raises OSError or sqlite3.Error."""
        try:
            self.flush()
            for bed in self.beds.values():
                bed.end_segment()
            self.finish()
            self.sync(0.0)
            self._db.execute("DELETE FROM about WHERE key = ?", (database.OPEN_KEY,))
        finally:
            database.close_in_order(self._db, self.folder)
            release_folder(self._lock)

    def _limit_events(self) -> None:
        """Keep the starts and ends of runs and the latest of the other events; count what is left out."""
        others = [event for event, _ in self._events if not isinstance(event, RunStarted | RunEnded)]
        if len(others) <= MOST_EVENTS:
            return
        left_out = set(map(id, others[:-MOST_EVENTS]))
        self._omitted_events.update(event.kind for event in others[:-MOST_EVENTS])
        self._events = [(event, at_s) for event, at_s in self._events if id(event) not in left_out]

    def _event_rows(self) -> list[tuple[object, ...]]:
        """Return the values of INSERT_EVENT of all events that wait, and of those left out."""
        events = self._events
        if counts := tuple(self._omitted_events.most_common()):
            omitted = EventsOmitted(counts[0][0], "", "", 0, counts)
            events = [(omitted, events[0][1] if events else time.time()), *events]
        return [event_values(event, at_s) for event, at_s in events]

    def _annotate(self, now: float) -> None:
        """Add the beats that wait to the annotation files of their segments, and make their rows in the database."""
        by_segment: dict[int, tuple[SegmentWriter, list[tuple[int, str]]]] = {}
        rows: list[tuple[object, ...]] = []
        for bed, run, beat in self._beats:
            place = bed.locate_beat(run, beat.sample)
            identity = None
            if place is not None:
                identity = place[0].identity
                by_segment.setdefault(identity, (place[0], []))[1].append((place[1], beat.label))
            probabilities = _to_json(beat.probabilities).decode()
            times = (beat.sample, beat.class_known, beat.r_peak_known)
            rows.append((beat.bed, run, *times, beat.label, probabilities, beat.rr_s, beat.heart_rate, identity))
        self._beats.clear()
        self._beat_rows += rows
        # If one of the files fails, it and those after it are written again from the database: see `finish`.
        self._stale += [writer for writer, _ in by_segment.values()]
        for writer, beats in by_segment.values():
            try:
                self.stored += writer.annotate(beats)
            except FileNotFoundError:  # somebody deleted it
                writer.deleted = True
            self._stale.remove(writer)
            self._unsynced.setdefault(f"{writer.path}.ecg", now)

    def _commit(self) -> None:
        """Bring the database up to what the files hold, in one transaction."""
        changed = [entry for bed in self.beds.values() for entry in bed.entries.values()]
        closed = [writer for bed in self.beds.values() for writer in bed.closed]
        if not (changed or closed or self._beat_rows or self._events or self._alarms):
            return
        with database.write_transaction(self._db):
            self._db.executemany("INSERT INTO beats VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._beat_rows)
            self._db.executemany(INSERT_EVENT, self._event_rows())
            self._alarms.save(self._db)
            save_run_ledgers(self._db, changed)
            self._db.executemany(
                "UPDATE segments SET count = ?, state = 'closed' WHERE id = ?",
                [(writer.count, writer.identity) for writer in closed],
            )
        self._beat_rows.clear()
        self._events.clear()
        self._omitted_events.clear()
        self._alarms.clear()
        for bed in self.beds.values():
            bed.entries.clear()
            bed.closed.clear()

    def _measure_database(self) -> None:
        """Count the size of the database too."""
        size = sum(stored_file_size(f"{self.folder}/{database.DATABASE_FILE}{ending}") for ending in ("", "-wal"))
        self.stored += size - self._side_size
        self._side_size = size

    def _load(self, about: dict[str, str]) -> None:
        """Take over the beds as the previous monitor left them."""
        known = dict(self._db.execute("SELECT key, value FROM about").fetchall())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"started": now} | merge_class_trust(about, known) | {k: known[k] for k in ("started",) if k in known}
        about[database.OPEN_KEY] = now
        with database.write_transaction(self._db):
            self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", list(about.items()))
        for row in read_segment_rows(self._db, "ORDER BY id"):
            self._folders.setdefault(row.bed, row.path.partition("/")[0])
            self._number_segment(row.path)
            segment_origin(row)  # it may be read again when it is deleted: then is too late to refuse it
        self._taken.update(folder.lower() for folder in self._folders.values())
        for path in (self.folder / name for name in sorted(self._numbers)):
            if os.path.lexists(path) and (kind := special_file_kind(path)) != "a folder":
                raise ValueError(f"its {path.name} is {kind or 'a file'}, not a folder")
        latest: dict[str, RunLedger] = {}
        ledgers = [ledger_from_row(row) for row in read_ledger_rows(self._db, "ORDER BY id")]
        for entry in ledgers:
            latest[entry.bed] = entry
        self._end_alarms(ledgers, latest)
        query = f"WHERE bed = ? AND state = 'closed' ORDER BY number DESC LIMIT {KEPT_SEGMENTS}"
        for bed, entry in latest.items():
            rows = read_segment_rows(self._db, query, bed)
            self._add_bed(bed).resume(entry, [writer_from_row(self.folder, row) for row in reversed(rows)])
        for path in self.folder.glob("*/*"):
            self.stored += stored_file_size(str(path))
            self._number_segment(f"{path.parent.name}/{path.stem}")
        if max(self._numbers.values(), default=0) > LARGEST_NUMBER // 2:
            raise ValueError("no numbers are left for its segments")
        self._measure_database()

    def _number_segment(self, path: str) -> None:
        """Let the next segment in a folder have a larger number than a segment at `path`, in this folder."""
        if SEGMENT_PATH.fullmatch(path):
            folder, _, number = path.partition("/")
            self._numbers[folder] = max(self._numbers.get(folder, 0), int(number))

    def _end_alarms(self, ledgers: Sequence[RunLedger], latest: Mapping[str, RunLedger]) -> None:
        """End alarms that a kill left open in runs that are over: whoever goes on with the others ends theirs."""
        over = [ledger for ledger in ledgers if ledger.ended or ledger.run != latest[ledger.bed].run]
        with database.write_transaction(self._db):
            for ledger in over:
                end_alarms(self._db, ledger.bed, ledger.run, nearest_index_at_125_hz(ledger.next, ledger.fs))

    def _add_bed(self, bed: str) -> BedWriter:
        self.beds[bed] = writer = BedWriter(bed, self._rotate_s, self._open_segment, self._saved_ledger)
        return writer

    def _saved_ledger(self, bed: str, run: str) -> RunLedger | None:
        """Return the ledger of a run that goes on after another one came between; it is the latest of its bed again."""
        query = "UPDATE ledger SET id = (SELECT max(id) + 1 FROM ledger) WHERE bed = ? AND run = ?"
        if not self._db.execute(query, (bed, run)).rowcount:
            return None
        return ledger_from_row(read_ledger_rows(self._db, "WHERE bed = ? AND run = ?", bed, run)[0])

    def _open_segment(self, origin: SegmentOrigin, wfdb_format: int) -> SegmentWriter:
        """Open the next segment of a bed: first its row, then its files, so that no file is ever unknown."""
        folder = self._folder(origin.bed)
        number = self._numbers[folder] = self._numbers.get(folder, 0) + 1
        path = f"{folder}/{number:04d}"
        writer = add_segment(self._db, self.folder, path, origin, wfdb_format)
        try:
            Path(writer.path).parent.mkdir(exist_ok=True)
            self.stored += writer.create()
        except OSError:
            with contextlib.suppress(OSError, sqlite3.Error):
                discard_empty_segment(self._db, writer)
            raise
        now = time.monotonic()
        for written in (f"{writer.path}.hea", f"{writer.path}.ecg", str(Path(writer.path).parent), str(self.folder)):
            self._unsynced.setdefault(written, now)
        return writer

    def _folder(self, bed: str) -> str:
        """Return the folder of a bed: its name in plain letters, and a number if another bed has the same folder."""
        if bed not in self._folders:
            plain = re.sub(r"[^A-Za-z0-9_-]+", "_", bed)[:LONGEST_FOLDER_NAME].strip("_-")
            plain = f"bed-{plain}".rstrip("-") if _RESERVED.fullmatch(plain) else plain
            names = (plain if number == 1 else f"{plain}-{number}" for number in count(1))
            name = next(name for name in names if self._is_free(name))
            self._folders[bed] = name
            self._taken.add(name.lower())
        return self._folders[bed]

    def _is_free(self, name: str) -> bool:
        """Return whether no other bed has this folder, and nothing else is in it."""
        path = self.folder / name
        if name.lower() in self._taken or not os.path.lexists(path):
            return name.lower() not in self._taken
        return special_file_kind(path) == "a folder" and not any(path.iterdir())


def disk_error_text(error: Exception) -> str:
    """Return the reason of an error of the disk or the database, on one line, with the file if it names one."""
    text = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
    return f"{text} ({error.filename})" if isinstance(error, OSError) and error.filename else text


def _create_session_folder(folder: Path) -> None:
    """Make the folder if it is not there. Raises OSError, or RunError if it holds something else."""
    folder.mkdir(0o700, parents=True, exist_ok=True)  # of a patient: nobody else is to read it
    if special := database.find_special_file(folder):
        raise RunError(f"cannot record in {folder}: {special}; choose another folder (--record)")
    others = [path.name for path in folder.iterdir() if path.name not in (database.LOCK_FILE, database.DATABASE_FILE)]
    known = (folder / database.DATABASE_FILE).exists()
    if known and others and not (folder / database.DATABASE_FILE).stat().st_size:
        raise RunError(
            f"{folder / database.DATABASE_FILE} is empty though there are recordings: choose another folder (--record)"
        )
    if others and not known:
        raise RunError(f"{folder} is not empty and no recording: choose another folder (--record)")
