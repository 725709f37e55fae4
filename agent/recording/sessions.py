"""What was recorded, read back: sessions with their runs, segments, beats, events and alarms.

Works on a session that is being written and on one whose monitor was killed, and changes nothing on disk. What a
session says is checked: a hostile one is refused with RecordError.
"""

import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from agent.core.clock import LARGEST_TIME
from agent.core.events import Event, EventKind
from agent.core.messages import Alarm, Beat, Ledger, Strip
from agent.recording import alarm_records, database
from agent.recording.alarm_records import STRIP_PAGE, AlarmRow, StripRow, alarm_from_row, unpack_strip_wave
from agent.recording.event_records import EventRow, event_from_row, event_query
from agent.recording.recorded_segments import (
    BeatMark,
    RecordedSegment,
    build_segment,
    locate_sample,
    read_lone_segment,
    remove_ending,
)
from agent.recording.segment_files import find_first_record, read_segment_origin
from agent.recording.session_rows import (
    BeatRow,
    FullBeatRow,
    MarkRow,
    SegmentRow,
    read_bed_names,
    read_bed_names_of,
    read_ledger_rows,
    read_segment_rows,
    segment_origin,
)
from model.errors import RecordError
from model.files import is_locked
from model.records.wfdb_records import CLASSES
from model.text import make_printable

ROWS_PER_PAGE = 10_000
"""Rows that are read at once."""
ALARMS_SINCE = 2
"""The version of the layout that has alarms."""
LONGEST_S = 366 * 86_400.0
"""Nobody recorded a bed for longer: one that claims to be has a time that a device or a file made up."""
Row = TypeVar("Row")
_probabilities: msgspec.json.Decoder[tuple[float, ...]] = msgspec.json.Decoder(tuple[float, ...])


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A start of the device: samples `first` to `next` at `fs` hertz, `missing` of which were not recorded.

    `ended`: the device said that it ended there.
    """

    run: str
    first: int
    next: int
    fs: float
    missing: int
    ended: bool


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """A session in numbers: Unix time of its first sample, number of gaps.

    `complete`: it was closed in order; `lost`: some signal was not recorded though it came, or nobody was there.
    """

    started_s: float | None
    gaps: int
    complete: bool
    lost: bool


class RecordedSession:
    """A recorded session, open to read. Raises RecordError if the folder holds none, or a broken one.

    `about`: what its monitor said of itself (version, weights, started); `version` of its layout. `nameless`: beds
    beside `beds` that have a name that cannot be read. Each bed is read on its own: what is wrong with one of them is
    no error of the others.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._closed = False
        self._db = database.open_to_read(folder)
        try:
            about = self._all("SELECT key, value FROM about ORDER BY key", list[tuple[str, str]])
            self.about = {key: make_printable(value) for key, value in about}
            ((self.version,),) = self._all("PRAGMA user_version", list[tuple[int]])
            names = self._checked(read_bed_names)
            self.beds = tuple(name for name in names if name)
            self.nameless = names.count("")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        if not self._closed:
            self._closed = True
            database.close_database(self._db, self.folder)

    @property
    def live(self) -> bool:
        """Whether a monitor is recording into it now."""
        return is_locked(self.folder / database.LOCK_FILE)

    def runs(self, bed: str) -> list[RecordedRun]:
        """Return the runs of a bed, in order."""
        rows = self._checked(read_ledger_rows, "WHERE bed = ? ORDER BY id", bed)
        return [
            RecordedRun(row.run, row.first, row.next, row.fs, row.missing + row.lost, bool(row.ended)) for row in rows
        ]

    def segments(self, bed: str) -> list[RecordedSegment]:
        """Return the segments of a bed in order, each with what is on disk now; deleted and empty ones are left out."""
        rows = self._checked(read_segment_rows, "WHERE bed = ? AND state != 'deleted' ORDER BY id", bed)
        segments = (self._segment(row) for row in rows)
        return [segment for segment in segments if segment.count]

    def beds_in(self, folder: str) -> list[str]:
        """Return the beds whose segments are in a folder of the session."""
        return self._checked(read_bed_names_of, folder)

    def beats(self, bed: str, segment: RecordedSegment | None = None, run: str | None = None) -> Iterator[Beat]:
        """Yield the beats of a bed in the order the monitor decided them (`arrived_s`, `sent_s` are 0).

        Only those whose R peak lies in `segment`, or those of `run`, if given.
        """
        also = " AND segment = ?" * (segment is not None) + " AND run = ?" * (run is not None)
        values = [bed, *([segment.id] if segment is not None else []), *([run] if run is not None else [])]
        query = f"""SELECT id, run, sample, decided, found, label, probabilities, rr_s, heart_rate FROM beats
                    WHERE bed = ?{also} AND id > ? ORDER BY id LIMIT ?"""
        for row in self._paged(query, FullBeatRow, *values):
            yield self._beat(bed, row)

    def beat_rows(self, bed: str) -> Iterator[BeatRow]:
        """Yield the beats of a bed in the order the monitor decided them: much quicker than `beats`."""
        query = (
            "SELECT id, run, sample, label, rr_s, probabilities FROM beats WHERE bed = ? AND id > ? ORDER BY id LIMIT ?"
        )
        return self._paged(query, BeatRow, bed)

    def beat_count(self, bed: str) -> int:
        """Return the number of beats of a bed."""
        return self._count("SELECT count(*) FROM beats WHERE bed = ?", bed)

    def marks(self, segments: Sequence[RecordedSegment]) -> Iterator[tuple[RecordedSegment, list[BeatMark]]]:
        """Yield each of some segments of one bed, in order, with the beats whose R peaks lie in it."""
        query = """SELECT id, segment, sample, label FROM beats
                   WHERE bed = ? AND segment IS NOT NULL AND id > ? ORDER BY id LIMIT ?"""
        rows = self._paged(query, MarkRow, segments[0].bed)
        row = next(rows, None)
        for segment in segments:
            marks = []
            while row is not None and row.segment <= segment.id:  # beats are in the order of their R peaks
                if row.segment == segment.id:
                    marks.append((locate_sample(segment, row.sample), row.label))
                row = next(rows, None)
            yield segment, marks

    def events(
        self, bed: str | None = None, run: str | None = None, kind: EventKind | None = None
    ) -> Iterator[tuple[float, Event]]:
        """Yield Unix time and event in the order they happened: all, or those of a bed ("": the link), run or kind."""
        chosen = {name: value for name, value in (("bed", bed), ("run", run), ("kind", kind)) if value is not None}
        condition, values = " AND ".join(f"{name} = ?" for name in chosen) or "1", chosen.values()
        for row in self._paged(event_query(self.version, condition), EventRow, *values):
            try:
                yield row.at_s, event_from_row(row, self.version)
            except (ValueError, RecursionError) as error:
                raise database.broken_database_error(self.folder, error) from error

    def alarms(self, bed: str, run: str | None = None) -> Iterator[Alarm]:
        """Yield the alarms of a bed, or of its `run`, each in its last state, in the order of their announcement."""
        if self.version < ALARMS_SINCE:
            return
        also, values = (" AND run = ?", (bed, run)) if run is not None else ("", (bed,))
        query = f"{alarm_records.ALARM_QUERY} WHERE bed = ?{also} AND a.id > ? ORDER BY a.id LIMIT ?"
        for row in self._paged(query, AlarmRow, *values):
            yield self._alarm(bed, row)

    def alarm_count(self, bed: str) -> int:
        """Return the number of alarms of a bed."""
        return 0 if self.version < ALARMS_SINCE else self._count("SELECT count(*) FROM alarms WHERE bed = ?", bed)

    def strips(self, bed: str) -> Iterator[Strip]:
        """Yield the strips of the alarms of a bed, in the order they were cut."""
        if self.version < ALARMS_SINCE:
            return
        query = f"{alarm_records.STRIP_QUERY} WHERE bed = ? AND s.id > ? ORDER BY s.id LIMIT ?"
        for row in self._paged(query, StripRow, bed, page=STRIP_PAGE):
            try:
                wave = unpack_strip_wave(row.wave)
            except ValueError as error:
                raise database.broken_database_error(self.folder, error) from error
            yield Strip(self._alarm(bed, row), make_printable(row.lead), row.first, wave)

    def ledger(self, bed: str) -> Ledger:
        """Return the samples of a bed over all its runs: those recorded are `analysed`, `missing` are all others.

        The link declared them missing, they could not be recorded, or nobody was there to record them.
        """
        rows = self._checked(read_ledger_rows, "WHERE bed = ?", bed)
        columns = zip(*((row.next - row.first, row.recorded, row.missing + row.lost) for row in rows), strict=True)
        sent, recorded, missing = (sum(column) for column in columns) if rows else (0, 0, 0)
        return Ledger(sent, recorded, missing)

    def damaged(self) -> list[str]:
        """Return the paths, in the session, of closed segments whose files hold fewer samples than they did.

        Beds that cannot be read are left out: whoever reads one says why.
        """
        paths = []
        for bed in self.beds:
            with contextlib.suppress(RecordError):
                counts = {segment.id: segment.count for segment in self.segments(bed)}
                rows = self._checked(read_segment_rows, "WHERE bed = ? AND state = 'closed'", bed)
                paths += [row.path for row in rows if counts.get(row.id, 0) < row.count]
        return paths

    def summary(self) -> SessionTotals:
        """Return the session in numbers."""
        query = "SELECT min(started_s) FROM segments WHERE typeof(started_s) = 'real' AND started_s BETWEEN 0 AND ?"
        ((started_s,),) = self._all(query, list[tuple[float | None]], LARGEST_TIME)
        gaps = self._count("SELECT count(*) FROM events WHERE kind = 'gap'")
        open_segments = self._count("SELECT count(*) FROM segments WHERE state = 'open'")
        open_session = self._count("SELECT count(*) FROM about WHERE key = ?", database.OPEN_KEY)
        lost = self._count("SELECT count(*) FROM ledger WHERE lost > 0")
        return SessionTotals(started_s, gaps, not (open_segments or open_session), bool(lost))

    def _all(self, query: str, into: Any, *values: Any) -> Any:
        """Return all rows of a query, converted and checked."""
        try:
            return msgspec.convert(self._db.execute(query, values).fetchall(), into)
        except (sqlite3.Error, ValueError) as error:
            raise database.broken_database_error(self.folder, error) from error

    def _checked(self, read: Callable[..., list[Row]], *values: object) -> list[Row]:
        """Return rows that a function of `agent.recording.session_rows` reads and checks."""
        try:
            return read(self._db, *values)
        except (sqlite3.Error, ValueError) as error:
            raise database.broken_database_error(self.folder, error) from error

    def _count(self, query: str, *values: Any) -> int:
        ((count,),) = self._all(query, list[tuple[int]], *values)
        return int(count)

    def _paged(self, query: str, into: Any, *values: Any, page: int = ROWS_PER_PAGE) -> Iterator[Any]:
        try:
            for row in database.read_rows_paged(self._db, query, values, page):
                yield msgspec.convert(row, into)
        except (sqlite3.Error, ValueError) as error:
            raise database.broken_database_error(self.folder, error) from error

    def _segment(self, row: SegmentRow) -> RecordedSegment:
        try:
            origin = segment_origin(row)
        except (ValueError, RecursionError) as error:
            raise database.broken_database_error(self.folder, error) from error
        return build_segment(self.folder / row.path, origin, row.format, row.number, row.id)

    def _beat(self, bed: str, row: FullBeatRow) -> Beat:
        try:
            probabilities = _probabilities.decode(row.probabilities)
            if row.label not in CLASSES or len(probabilities) != len(CLASSES):
                raise ValueError(f"a beat of unknown class {row.label!r}")
        except (ValueError, RecursionError) as error:
            raise database.broken_database_error(self.folder, error) from error
        known, rate = (row.sample, row.decided, row.label, probabilities, row.rr_s), row.heart_rate
        return Beat(bed, *known, arrived_s=0.0, heart_rate=rate, r_peak_known=row.found, run=row.run)

    def _alarm(self, bed: str, row: AlarmRow) -> Alarm:
        return alarm_from_row(bed, row, make_printable(row.condition), make_printable(row.text))


def is_session(folder: Path) -> bool:
    """Return whether a folder is a recorded session."""
    return database.is_session_database(folder / database.DATABASE_FILE)


def is_recording(path: Path) -> bool:
    """Return whether a path is a recording: a session, a bed's folder in one, or a segment, with .hea or without.

    A segment may have been copied out of its session: its header says all that is needed.
    """
    if path.is_dir() and (is_session(path) or is_session(path.parent) or find_first_record(path)):
        return True  # the last: if its database is broken or gone, opening it says so
    return read_segment_origin(remove_ending(path)) is not None


def find_sessions(root: Path) -> list[Path]:
    """Return the folders of sessions: `root` itself, or those directly in it, by name; also those without database."""
    if is_session(root):
        return [root]
    try:
        within = sorted(path for path in root.iterdir() if is_session(path) or _is_session_remnant(path))
    except OSError:
        return []
    return within or ([root] if _has_bed_folders(root) else [])


def find_segments(path: Path) -> list[RecordedSegment]:
    """Return the segments that a path names: those of a session with one bed, of a bed's folder, or one segment.

    Raises RecordError if there are none and, with the names of the beds, if a session has several.
    """
    if not path.is_dir():
        return [read_lone_segment(path)]
    inside = not is_session(path) and (is_session(path.parent) or _is_bed_folder(path))
    with RecordedSession(path.parent if inside else path) as session:
        beds = session.beds_in(path.resolve().name) if inside else session.beds
        segments = _read_segments_of(session, beds)
    if inside:
        segments = [segment for segment in segments if segment.path.parent.name == path.resolve().name]
    folders = {segment.path.parent.name: segment.bed for segment in segments}
    if len(folders) > 1:
        names = ", ".join(f"{folder} ({bed})" if folder != bed else bed for folder, bed in folders.items())
        raise RecordError(
            f"{path} has several beds: name the folder of one, {path / next(iter(folders))}; beds: {names}"
        )
    if not segments:
        raise RecordError(f"{path} holds no recorded signal")
    if len({segment.bed for segment in segments}) > 1:
        raise RecordError(f"{path} mixes several beds: name one of its records, such as {segments[0].path}")
    return segments


def _read_segments_of(session: RecordedSession, beds: Sequence[str]) -> list[RecordedSegment]:
    """Return the segments of beds that can be read. Raises RecordError if none of them can."""
    segments, failures = [], []
    for bed in beds:
        try:
            segments += session.segments(bed)
        except RecordError as error:
            failures.append(error)
    if failures and not segments:
        raise failures[0]
    return segments


def locate_in_session(segment: RecordedSegment) -> tuple[Path, RecordedSegment] | None:
    """Return the session that a segment is part of, and the segment as that session has it.

    None if the segment was copied out of its session, or the database cannot be read.
    """
    path = segment.path.absolute()
    try:
        with RecordedSession(path.parent.parent) as session:
            known = session.segments(segment.bed)
            for rows in (session.marks(known[:1]) if known else (), session.alarms(segment.bed)):
                deque(rows, maxlen=0)
            session.damaged()
    except RecordError:
        return None
    same = [at for at in known if (at.run, at.first) == (segment.run, segment.first) and at.path.name == path.name]
    return (path.parent.parent, same[0]) if same else None


def _is_session_remnant(folder: Path) -> bool:
    """Return whether a folder is what is left of a session whose database is broken or gone."""
    known = (folder / database.LOCK_FILE).exists() or (folder / database.DATABASE_FILE).exists()
    return known and _has_bed_folders(folder)


def _has_bed_folders(folder: Path) -> bool:
    """Return whether the folders in a folder hold segments."""
    record = find_first_record(folder)
    return record is not None and record.parent != folder


def _is_bed_folder(folder: Path) -> bool:
    """Return whether a folder holds segments."""
    record = find_first_record(folder)
    return record is not None and record.parent == folder
