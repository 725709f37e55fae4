"""What was recorded, read back: sessions, their segments, counts, beats and events.

Works on a session that is being written and on one whose monitor was killed, and changes nothing on disk. What a
session says is checked: a hostile one is refused with RecordError.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from agent.core.events import Event, EventText
from agent.core.messages import MISSING, Beat, Chunk, Gap, Lead, Ledger
from agent.recording import database
from agent.recording.segment_files import (
    NO_VALUE_OF_FORMAT,
    SEGMENT_ENDINGS,
    SegmentOrigin,
    StartTime,
    count_frames,
    decode_leads,
    find_first_record,
    read_segment_origin,
    read_stored_samples,
    require_wfdb_text,
)
from agent.wire.packets import SampleIndex, SamplingRate, WireText
from model.errors import RecordError
from model.files import is_locked
from model.records.wfdb_records import CLASSES
from model.text import make_printable


@dataclass(frozen=True, slots=True)
class RecordedSegment:
    """An unbroken piece of one run of a bed: one WFDB record. `path` has no file ending.

    `first` index in the run of its first sample, `count` samples of it that are on disk, at the device's rate `fs`;
    `started_s` Unix time of the first; `format` of WFDB, 16 or 32. `id` in the database, 0 of one outside a session.
    """

    path: Path
    bed: str
    run: str
    number: int
    first: int
    count: int
    fs: float
    leads: tuple[Lead, ...]
    started_s: float
    format: int
    id: int = 0


class _SegmentRow(msgspec.Struct, array_like=True, frozen=True):
    id: int
    bed: WireText
    number: int
    path: str
    run: WireText
    first: SampleIndex
    fs: SamplingRate
    leads: str
    started_s: StartTime
    format: Literal[16, 32]


class _FullBeatRow(msgspec.Struct, array_like=True, frozen=True):
    id: int
    run: Annotated[str, Meta(max_length=64)]
    sample: int
    decided: int
    found: int
    label: Annotated[str, Meta(max_length=1)]
    probabilities: str
    rr_s: float | None
    heart_rate: float | None


class _SessionEventRow(msgspec.Struct, array_like=True, frozen=True):
    id: int
    bed: Annotated[str, Meta(max_length=64)]
    run: Annotated[str, Meta(max_length=64)]
    sample: int
    at_s: float
    kind: Annotated[str, Meta(max_length=64)]
    text: str


ROWS_PER_PAGE = 10_000
"""Rows that are read at once."""
_probabilities: msgspec.json.Decoder[tuple[float, ...]] = msgspec.json.Decoder(tuple[float, ...])


class RecordedSession:
    """A recorded session, open to read. Raises RecordError where the folder is none, or it is broken.

    `about`: what its monitor said of itself (version, weights, started); `version` of its layout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._closed = False
        self._db = database.open_to_read(folder)
        try:
            about = self._all("SELECT key, value FROM about ORDER BY key", list[tuple[str, str]])
            self.about = {key: make_printable(value) for key, value in about}
            ((self.version,),) = self._all("PRAGMA user_version", list[tuple[int]])
            beds = self._all(
                "SELECT bed FROM ledger UNION SELECT bed FROM segments ORDER BY bed", list[tuple[WireText]]
            )
            self.beds: tuple[str, ...] = tuple(make_printable(bed) for (bed,) in beds)
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
        """Let go of the database."""
        if not self._closed:
            self._closed = True
            database.close_database(self._db, self.folder)

    @property
    def live(self) -> bool:
        """Whether a monitor is recording into it now."""
        return is_locked(self.folder / database.LOCK_FILE)

    def segments(self, bed: str) -> list[RecordedSegment]:
        """The segments of a bed in order, each with what is on disk now; deleted and empty ones are left out."""
        query = """SELECT id, bed, number, path, run, first, fs, leads, started_s, format FROM segments
                   WHERE bed = ? AND state != 'deleted' ORDER BY id"""
        made = (self._segment(row) for row in self._all(query, list[_SegmentRow], bed))
        return [segment for segment in made if segment.count]

    def beats(self, bed: str, segment: RecordedSegment | None = None, run: str | None = None) -> Iterator[Beat]:
        """The beats of a bed as the monitor told them, in its order (`arrived_s`, `sent_s` are 0).

        Only those whose R peak lies in `segment`, or those of `run`, where given.
        """
        also = " AND segment = ?" * (segment is not None) + " AND run = ?" * (run is not None)
        values = [bed, *([segment.id] if segment is not None else []), *([run] if run is not None else [])]
        query = f"""SELECT id, run, sample, decided, found, label, probabilities, rr_s, heart_rate FROM beats
                    WHERE bed = ?{also} AND id > ? ORDER BY id LIMIT ?"""
        for row in self._paged(query, _FullBeatRow, *values):
            yield self._beat(bed, row)

    def events(self, bed: str | None = None) -> list[tuple[float, Event]]:
        """Unix time and event, of a bed (of the link: "") or of all, in the order they happened."""
        chosen, values = ("", ()) if bed is None else ("bed = ? AND ", (bed,))
        query = f"SELECT id, bed, run, sample, at_s, kind, text FROM events WHERE {chosen}id > ? ORDER BY id LIMIT ?"
        return [
            (row.at_s, EventText(make_printable(row.kind), row.bed, row.run, row.sample, make_printable(row.text)))  # type: ignore[arg-type]
            for row in self._paged(query, _SessionEventRow, *values)
        ]

    def ledger(self, bed: str) -> Ledger:
        """The samples of a bed over all its runs: those recorded are `analysed`, `missing` are all others.

        Others were declared missing by the link, or could not be recorded, or nobody was there to record them.
        """
        query = "SELECT next - first, recorded, missing + lost FROM ledger WHERE bed = ?"
        found = self._all(query, list[tuple[int, int, int]], bed)
        sent, recorded, missing = (sum(column) for column in zip(*found, strict=True)) if found else (0, 0, 0)
        return Ledger(sent, recorded, missing)

    def beat_count(self, bed: str) -> int:
        """How many beats of a bed there are."""
        ((count,),) = self._all("SELECT count(*) FROM beats WHERE bed = ?", list[tuple[int]], bed)
        return int(count)

    def _all(self, query: str, into: Any, *values: Any) -> Any:
        """All rows of a query, converted and checked."""
        try:
            return msgspec.convert(self._db.execute(query, values).fetchall(), into)
        except (sqlite3.Error, ValueError) as error:
            raise database.broken_database_error(self.folder, error) from error

    def _paged(self, query: str, into: Any, *values: Any, page: int = ROWS_PER_PAGE) -> Iterator[Any]:
        try:
            for row in database.read_rows_paged(self._db, query, values, page):
                yield msgspec.convert(row, into)
        except (sqlite3.Error, ValueError) as error:
            raise database.broken_database_error(self.folder, error) from error

    def _segment(self, row: _SegmentRow) -> RecordedSegment:
        if not database.SEGMENT_PATH.fullmatch(row.path):
            raise RecordError(f"cannot read the recording {self.folder}: it names a file outside of it")
        try:
            leads = decode_leads(row.leads)
            origin = SegmentOrigin(
                row.first, row.fs, require_wfdb_text(row.bed), require_wfdb_text(row.run), leads, row.started_s
            )
        except (ValueError, RecursionError) as error:
            raise database.broken_database_error(self.folder, error) from error
        path = self.folder / row.path
        return _build_segment(path, origin, row.format, row.number, row.id)

    def _beat(self, bed: str, row: _FullBeatRow) -> Beat:
        try:
            probabilities = _probabilities.decode(row.probabilities)
        except (ValueError, RecursionError) as error:
            raise database.broken_database_error(self.folder, error) from error
        if row.label not in CLASSES or len(probabilities) != len(CLASSES):
            raise RecordError(f"cannot read the recording {self.folder}: a beat of unknown class {row.label!r}")
        known, rate = (row.sample, row.decided, row.label, probabilities, row.rr_s), row.heart_rate
        return Beat(bed, *known, arrived_s=0.0, heart_rate=rate, found=row.found, run=row.run)


def is_session(folder: Path) -> bool:
    """Whether a folder is a recorded session."""
    return database.is_session_database(folder / database.DATABASE_FILE)


def is_recording(path: Path) -> bool:
    """Whether a path names what was recorded: a session, a bed's folder in one, or a segment, with .hea or without.

    A segment may have been copied out of its session: its header says all of it.
    """
    if path.is_dir() and (is_session(path) or is_session(path.parent) or find_first_record(path)):
        return True  # the last: where its database is broken or gone, that is said when it is opened
    return read_segment_origin(_remove_ending(path)) is not None


def find_sessions(root: Path) -> list[Path]:
    """Folders of sessions: `root` itself, or those directly in it, by name; also such as have lost their database."""
    if is_session(root):
        return [root]
    try:
        within = sorted(path for path in root.iterdir() if is_session(path) or _is_session_remnant(path))
    except OSError:
        return []
    return within or ([root] if _has_bed_folders(root) else [])


def find_segments(path: Path) -> list[RecordedSegment]:
    """The segments that a path stands for: those of a session with one bed, of a bed's folder, or one segment.

    Raises RecordError where there are none, and, with the names of the beds, where a session has several.
    """
    if not path.is_dir():
        return [read_lone_segment(path)]
    inside = not is_session(path) and (is_session(path.parent) or _is_bed_folder(path))
    with RecordedSession(path.parent if inside else path) as session:
        made = [segment for bed in session.beds for segment in session.segments(bed)]
    if inside:
        made = [segment for segment in made if segment.path.parent.name == path.resolve().name]
    folders = {segment.path.parent.name: segment.bed for segment in made}
    if len(folders) > 1:
        names = ", ".join(f"{folder} ({bed})" if folder != bed else bed for folder, bed in folders.items())
        raise RecordError(
            f"{path} has several beds: name the folder of one, {path / next(iter(folders))}; beds: {names}"
        )
    if not made:
        raise RecordError(f"{path} holds no recorded signal")
    return made


def read_lone_segment(path: Path) -> RecordedSegment:
    """A segment by its header alone, with the ending .hea or without. Raises RecordError."""
    bare = _remove_ending(path)
    found = read_segment_origin(bare)
    if found is None:
        raise RecordError(f"{path} is no segment of a recording: it has no header of one")
    origin, wfdb_format = found
    return _build_segment(bare, origin, wfdb_format, int(bare.name) if bare.name.isdecimal() else 0, 0)


def read_segment_counts(segment: RecordedSegment, start: int, stop: int) -> NDArray[np.int32]:
    """Samples `start` to `stop` of a segment, from its own first: (n, leads) int32, MISSING where there is no value.

    Raises RecordError where the file is gone or is shorter by now.
    """
    start, stop = max(0, start), min(stop, segment.count)
    if stop <= start:
        return np.empty((0, len(segment.leads)), np.int32)
    try:
        stored = read_stored_samples(str(segment.path), segment.format, len(segment.leads), start, stop)
    except OSError as error:
        raise RecordError(f"cannot read {segment.path}.dat: {error.strerror or error}") from error
    if len(stored) < stop - start:
        raise RecordError(f"{segment.path}.dat is cut short: it ends before sample {stop}")
    out = stored.astype(np.int32)
    out[stored == NO_VALUE_OF_FORMAT[segment.format]] = MISSING
    return out


def replay_chunks(segments: Sequence[RecordedSegment], packet_s: float = 10.0) -> Iterator[Chunk | Gap]:
    """What was recorded as chunks of `packet_s` seconds, in order; between segments of one run a Gap.

    `sent_s` is when the last sample was, by the clock of the recording.
    """
    run, following, sequence = "", 0, 0
    for segment in segments:
        if segment.run != run:
            run, following, sequence = segment.run, segment.first, 0
        if segment.first > following:
            yield Gap(segment.bed, run, following, segment.first - following, segment.fs, "not recorded")
        step = max(1, round(packet_s * segment.fs))
        for start in range(max(0, following - segment.first), segment.count, step):
            part = read_segment_counts(segment, start, start + step)
            sent_s = segment.started_s + (start + len(part)) / segment.fs
            first = segment.first + start
            yield Chunk(segment.bed, run, first, segment.fs, segment.leads, part, sent_s, 0.0, sequence)
            sequence += 1
        following = max(following, segment.first + segment.count)


def _is_session_remnant(folder: Path) -> bool:
    """Whether a folder is what is left of a session whose database is broken or gone."""
    known = (folder / database.LOCK_FILE).exists() or (folder / database.DATABASE_FILE).exists()
    return known and _has_bed_folders(folder)


def _has_bed_folders(folder: Path) -> bool:
    """Whether there are segments in the folders in a folder."""
    record = find_first_record(folder)
    return record is not None and record.parent != folder


def _is_bed_folder(folder: Path) -> bool:
    """Whether there are segments in a folder."""
    record = find_first_record(folder)
    return record is not None and record.parent == folder


def _build_segment(path: Path, origin: SegmentOrigin, wfdb_format: int, number: int, identity: int) -> RecordedSegment:
    return RecordedSegment(
        path=path,
        bed=origin.bed,
        run=origin.run,
        number=number,
        first=origin.first,
        count=count_frames(f"{path}.dat", wfdb_format, len(origin.leads)),
        fs=origin.fs,
        leads=origin.leads,
        started_s=origin.started,
        format=wfdb_format,
        id=identity,
    )


def _remove_ending(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in SEGMENT_ENDINGS else path
