"""What was recorded, read back: sessions, their segments, counts, beats and events.

Works on a session that is being written and on one whose monitor was killed, and changes nothing on disk. What a
session says is checked: a hostile one is refused with RecordError.
"""

import fcntl
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

from agent.core.messages import MISSING, Beat, Chunk, Event, Gap, Lead, Ledger
from agent.recording import database
from agent.recording.segment_files import (
    ENDINGS,
    FORMATS,
    Origin,
    Started,
    checked,
    decode_leads,
    first_record,
    frames,
    origin_of,
    read,
)
from agent.wire.packets import Index, Rate, Text
from model.errors import RecordError
from model.records.wfdb_records import CLASSES


@dataclass(frozen=True, slots=True)
class Segment:
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
    bed: Text
    number: int
    path: str
    run: Text
    first: Index
    fs: Rate
    leads: str
    started_s: Started
    format: Literal[16, 32]


class _BeatRow(msgspec.Struct, array_like=True, frozen=True):
    id: int
    sample: int
    decided: int
    found: int
    label: Annotated[str, Meta(max_length=1)]
    probabilities: str
    rr_s: float | None
    heart_rate: float | None


class _EventRow(msgspec.Struct, array_like=True, frozen=True):
    id: int
    bed: Annotated[str, Meta(max_length=64)]
    sample: int
    at_s: float
    kind: Annotated[str, Meta(max_length=64)]
    text: str


PAGE = 10_000
"""Rows that are read at once."""
_probabilities: msgspec.json.Decoder[tuple[float, ...]] = msgspec.json.Decoder(tuple[float, ...])


class Session:
    """A recorded session, open to read. Raises RecordError where the folder is none, or it is broken.

    `about`: what its monitor said of itself (version, weights, started); `version` of its layout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._closed = False
        self._db = database.open_to_read(folder)
        try:
            about = self._all("SELECT key, value FROM about ORDER BY key", list[tuple[str, str]])
            self.about = {key: printable(value) for key, value in about}
            ((self.version,),) = self._all("PRAGMA user_version", list[tuple[int]])
            beds = self._all("SELECT bed FROM ledger UNION SELECT bed FROM segments ORDER BY bed", list[tuple[Text]])
            self.beds: tuple[str, ...] = tuple(printable(bed) for (bed,) in beds)
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
            database.close(self._db, self.folder)

    @property
    def live(self) -> bool:
        """Whether a monitor is recording into it now."""
        try:
            with (self.folder / database.LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def segments(self, bed: str) -> list[Segment]:
        """The segments of a bed in order, each with what is on disk now; deleted and empty ones are left out."""
        query = """SELECT id, bed, number, path, run, first, fs, leads, started_s, format FROM segments
                   WHERE bed = ? AND state != 'deleted' ORDER BY id"""
        made = (self._segment(row) for row in self._all(query, list[_SegmentRow], bed))
        return [segment for segment in made if segment.count]

    def beats(self, bed: str, segment: Segment | None = None, run: str | None = None) -> Iterator[Beat]:
        """The beats of a bed as the monitor told them, in its order (`arrived_s`, `sent_s` are 0).

        Only those whose R peak lies in `segment`, or those of `run`, where given.
        """
        also = " AND segment = ?" * (segment is not None) + " AND run = ?" * (run is not None)
        values = [bed, *([segment.id] if segment is not None else []), *([run] if run is not None else [])]
        query = f"""SELECT id, sample, decided, found, label, probabilities, rr_s, heart_rate FROM beats
                    WHERE bed = ?{also} AND id > ? ORDER BY id LIMIT ?"""
        for row in self._paged(query, _BeatRow, *values):
            yield self._beat(bed, row)

    def events(self, bed: str | None = None) -> list[tuple[float, Event]]:
        """Unix time and event, of a bed (of the link: "") or of all, in the order they happened."""
        chosen, values = ("", ()) if bed is None else ("bed = ? AND ", (bed,))
        query = f"SELECT id, bed, sample, at_s, kind, text FROM events WHERE {chosen}id > ? ORDER BY id LIMIT ?"
        return [
            (row.at_s, Event(row.bed, row.sample, printable(row.kind), printable(row.text)))  # type: ignore[arg-type]
            for row in self._paged(query, _EventRow, *values)
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
            raise database.broken(self.folder, error) from error

    def _paged(self, query: str, into: Any, *values: Any, page: int = PAGE) -> Iterator[Any]:
        try:
            for row in database.rows(self._db, query, values, page):
                yield msgspec.convert(row, into)
        except (sqlite3.Error, ValueError) as error:
            raise database.broken(self.folder, error) from error

    def _segment(self, row: _SegmentRow) -> Segment:
        if not database.PATH.fullmatch(row.path):
            raise RecordError(f"cannot read the recording {self.folder}: it names a file outside of it")
        try:
            leads = decode_leads(row.leads)
            origin = Origin(row.first, row.fs, checked(row.bed), checked(row.run), leads, row.started_s)
        except (ValueError, RecursionError) as error:
            raise database.broken(self.folder, error) from error
        path = self.folder / row.path
        return _made(path, origin, row.format, row.number, row.id)

    def _beat(self, bed: str, row: _BeatRow) -> Beat:
        try:
            probabilities = _probabilities.decode(row.probabilities)
        except (ValueError, RecursionError) as error:
            raise database.broken(self.folder, error) from error
        if row.label not in CLASSES or len(probabilities) != len(CLASSES):
            raise RecordError(f"cannot read the recording {self.folder}: a beat of unknown class {row.label!r}")
        return Beat(
            bed, row.sample, row.decided, row.label, probabilities, row.rr_s, 0.0, row.heart_rate, found=row.found
        )


def is_session(folder: Path) -> bool:
    """Whether a folder is a recorded session."""
    return database.is_store(folder / database.FILE)


def is_recording(path: Path) -> bool:
    """Whether a path names what was recorded: a session, a bed's folder in one, or a segment, with .hea or without.

    A segment may have been copied out of its session: its header says all of it.
    """
    if path.is_dir() and (is_session(path) or is_session(path.parent) or first_record(path)):
        return True  # the last: where its database is broken or gone, that is said when it is opened
    return origin_of(_bare(path)) is not None


def found(root: Path) -> list[Path]:
    """Folders of sessions: `root` itself, or those directly in it, by name; also such as have lost their database."""
    if is_session(root):
        return [root]
    try:
        within = sorted(path for path in root.iterdir() if is_session(path) or _is_left(path))
    except OSError:
        return []
    return within or ([root] if _has_beds(root) else [])


def recorded(path: Path) -> list[Segment]:
    """The segments that a path stands for: those of a session with one bed, of a bed's folder, or one segment.

    Raises RecordError where there are none, and, with the names of the beds, where a session has several.
    """
    if not path.is_dir():
        return [lone_segment(path)]
    inside = not is_session(path) and (is_session(path.parent) or _is_bed(path))
    with Session(path.parent if inside else path) as session:
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


def lone_segment(path: Path) -> Segment:
    """A segment by its header alone, with the ending .hea or without. Raises RecordError."""
    bare = _bare(path)
    found = origin_of(bare)
    if found is None:
        raise RecordError(f"{path} is no segment of a recording: it has no header of one")
    origin, wfdb_format = found
    return _made(bare, origin, wfdb_format, int(bare.name) if bare.name.isdecimal() else 0, 0)


def counts(segment: Segment, start: int, stop: int) -> NDArray[np.int32]:
    """Samples `start` to `stop` of a segment, from its own first: (n, leads) int32, MISSING where there is no value.

    Raises RecordError where the file is gone or is shorter by now.
    """
    start, stop = max(0, start), min(stop, segment.count)
    if stop <= start:
        return np.empty((0, len(segment.leads)), np.int32)
    try:
        stored = read(str(segment.path), segment.format, len(segment.leads), start, stop)
    except OSError as error:
        raise RecordError(f"cannot read {segment.path}.dat: {error.strerror or error}") from error
    if len(stored) < stop - start:
        raise RecordError(f"{segment.path}.dat is cut short: it ends before sample {stop}")
    out = stored.astype(np.int32)
    out[stored == FORMATS[segment.format]] = MISSING
    return out


def chunks(segments: Sequence[Segment], packet_s: float = 10.0) -> Iterator[Chunk | Gap]:
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
            part = counts(segment, start, start + step)
            sent_s = segment.started_s + (start + len(part)) / segment.fs
            first = segment.first + start
            yield Chunk(segment.bed, run, first, segment.fs, segment.leads, part, sent_s, 0.0, sequence)
            sequence += 1
        following = max(following, segment.first + segment.count)


def _is_left(folder: Path) -> bool:
    """Whether a folder is what is left of a session whose database is broken or gone."""
    known = (folder / database.LOCK).exists() or (folder / database.FILE).exists()
    return known and _has_beds(folder)


def _has_beds(folder: Path) -> bool:
    """Whether there are segments in the folders in a folder."""
    record = first_record(folder)
    return record is not None and record.parent != folder


def _is_bed(folder: Path) -> bool:
    """Whether there are segments in a folder."""
    record = first_record(folder)
    return record is not None and record.parent == folder


def _made(path: Path, origin: Origin, wfdb_format: int, number: int, identity: int) -> Segment:
    return Segment(
        path=path,
        bed=origin.bed,
        run=origin.run,
        number=number,
        first=origin.first,
        count=frames(f"{path}.dat", wfdb_format, len(origin.leads)),
        fs=origin.fs,
        leads=origin.leads,
        started_s=origin.started,
        format=wfdb_format,
        id=identity,
    )


def _bare(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in ENDINGS else path


def printable(text: str) -> str:
    """Text from elsewhere, without what could harm a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
