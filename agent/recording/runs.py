"""What was recorded run by run, and each beat beside the sample that it lies at."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.core.events import Event, EventText
from agent.core.messages import Alarm, Strip
from agent.recording import database
from agent.recording.alarm_records import (
    ALARM_QUERY,
    STRIP_PAGE,
    STRIP_QUERY,
    AlarmRow,
    StripRow,
    alarm_from_row,
    unpack_strip_wave,
)
from agent.recording.bed_writer import to_device_index
from agent.recording.segment_files import StartTime
from agent.recording.sessions import RecordedSegment, RecordedSession
from agent.wire.packets import SampleIndex, SamplingRate, WireText
from model.errors import RecordError
from model.records.annotations import read_annotations
from model.records.wfdb_records import AAMI_CLASS_OF
from model.text import make_printable

ALARMS_SINCE_LAYOUT = 2
"""The version of the layout that has them."""
BeatMark = tuple[int, str]
"""A beat: its sample from the start of the segment that it lies in, and its class."""


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
    """A session in numbers: Unix time of its first sample, gaps that were told.

    `complete`: it was closed in order; `lost`: some signal was not recorded though it came, or nobody was there.
    """

    started_s: float | None
    gaps: int
    complete: bool
    lost: bool


class _RunEventRow(msgspec.Struct, array_like=True, frozen=True):
    id: int
    sample: int
    kind: Annotated[str, Meta(max_length=64)]
    text: str


class _MarkRow(msgspec.Struct, array_like=True, frozen=True):
    id: int
    segment: int
    sample: int
    label: Literal["N", "S", "V", "F", "Q"]


class BeatRow(msgspec.Struct, array_like=True, frozen=True):
    """What a beat is, without what its class was found by; `rr_s` as `agent.core.messages.Beat` has it."""

    id: int
    run: WireText
    sample: int
    label: Literal["N", "S", "V", "F", "Q"]
    rr_s: float | None


class _TimedEventRow(msgspec.Struct, array_like=True, frozen=True):
    id: int
    run: Annotated[str, Meta(max_length=64)]
    sample: int
    at_s: float
    kind: Annotated[str, Meta(max_length=64)]
    text: str


class SessionRuns(RecordedSession):
    """A recorded session, open to read run by run."""

    def runs(self, bed: str) -> list[RecordedRun]:
        """The runs of a bed, in order."""
        query = "SELECT run, first, next, fs, missing + lost, ended FROM ledger WHERE bed = ? ORDER BY id"
        rows = self._all(query, list[tuple[WireText, SampleIndex, SampleIndex, SamplingRate, SampleIndex, int]], bed)
        return [RecordedRun(run, first, end, fs, missing, bool(ended)) for run, first, end, fs, missing, ended in rows]

    def events_of(self, bed: str, run: str) -> Iterator[Event]:
        """What happened to a bed during a run, in order."""
        query = "SELECT id, sample, kind, text FROM events WHERE bed = ? AND run = ? AND id > ? ORDER BY id LIMIT ?"
        for row in self._paged(query, _RunEventRow, bed, run):
            yield EventText(make_printable(row.kind), bed, run, row.sample, make_printable(row.text))  # type: ignore[arg-type]

    def told(self, bed: str) -> Iterator[tuple[float, Event]]:
        """Unix time and event, of a bed, in the order they happened, page by page."""
        query = "SELECT id, run, sample, at_s, kind, text FROM events WHERE bed = ? AND id > ? ORDER BY id LIMIT ?"
        for row in self._paged(query, _TimedEventRow, bed):
            yield row.at_s, EventText(make_printable(row.kind), bed, row.run, row.sample, make_printable(row.text))  # type: ignore[arg-type]

    def beat_rows(self, bed: str) -> Iterator[BeatRow]:
        """The beats of a bed in the order in which they were told: much quicker than `beats`."""
        query = "SELECT id, run, sample, label, rr_s FROM beats WHERE bed = ? AND id > ? ORDER BY id LIMIT ?"
        return self._paged(query, BeatRow, bed)

    def alarms(self, bed: str, run: str | None = None) -> Iterator[Alarm]:
        """The alarms of a bed, each as it stood last, in the order in which they were first told; those of `run`."""
        if self.version < ALARMS_SINCE_LAYOUT:
            return
        also, values = (" AND run = ?", (bed, run)) if run is not None else ("", (bed,))
        query = f"{ALARM_QUERY} WHERE bed = ?{also} AND a.id > ? ORDER BY a.id LIMIT ?"
        for row in self._paged(query, AlarmRow, *values):
            yield self._alarm(bed, row)

    def strips(self, bed: str) -> Iterator[Strip]:
        """The strips of the alarms of a bed, in the order in which they were told."""
        if self.version < ALARMS_SINCE_LAYOUT:
            return
        query = f"{STRIP_QUERY} WHERE bed = ? AND s.id > ? ORDER BY s.id LIMIT ?"
        for row in self._paged(query, StripRow, bed, page=STRIP_PAGE):
            try:
                wave = unpack_strip_wave(row.wave)
            except ValueError as error:
                raise database.broken_database_error(self.folder, error) from error
            yield Strip(self._alarm(bed, row), make_printable(row.lead), row.first, wave)

    def alarm_count(self, bed: str) -> int:
        """How many alarms of a bed there are."""
        if self.version < ALARMS_SINCE_LAYOUT:
            return 0
        ((count,),) = self._all("SELECT count(*) FROM alarms WHERE bed = ?", list[tuple[int]], bed)
        return int(count)

    def marks(self, segments: Sequence[RecordedSegment]) -> Iterator[tuple[RecordedSegment, list[BeatMark]]]:
        """Each of some segments of one bed, in order, with the beats whose R peaks lie in it."""
        query = """SELECT id, segment, sample, label FROM beats
                   WHERE bed = ? AND segment IS NOT NULL AND id > ? ORDER BY id LIMIT ?"""
        rows = self._paged(query, _MarkRow, segments[0].bed)
        row = next(rows, None)
        for segment in segments:
            marks = []
            while row is not None and row.segment <= segment.id:  # beats were told in the order of their R peaks
                if row.segment == segment.id:
                    marks.append((_locate_sample(segment, row.sample), row.label))
                row = next(rows, None)
            yield segment, marks

    def damaged(self) -> list[str]:
        """Segments that were closed with more samples than their files hold now, as paths within the session."""
        rows = self._all("SELECT id, path, count FROM segments WHERE state = 'closed'", list[tuple[int, str, int]])
        there = {segment.id: segment.count for bed in self.beds for segment in self.segments(bed)}
        return [make_printable(path) for identity, path, count in rows if there.get(identity, 0) < count]

    def _alarm(self, bed: str, row: AlarmRow) -> Alarm:
        return alarm_from_row(bed, row, make_printable(row.condition), make_printable(row.text))

    def summary(self) -> SessionTotals:
        """The whole session."""
        ((started_s,),) = self._all("SELECT min(started_s) FROM segments", list[tuple[StartTime | None]])
        ((gaps,),) = self._all("SELECT count(*) FROM events WHERE kind = 'gap'", list[tuple[int]])
        ((left,),) = self._all("SELECT count(*) FROM segments WHERE state = 'open'", list[tuple[int]])
        ((open_,),) = self._all("SELECT count(*) FROM about WHERE key = ?", list[tuple[int]], database.OPEN_KEY)
        ((lost,),) = self._all("SELECT count(*) FROM ledger WHERE lost > 0", list[tuple[int]])
        return SessionTotals(started_s, gaps, not (left or open_), bool(lost))


def locate_in_session(segment: RecordedSegment) -> tuple[Path, RecordedSegment] | None:
    """The session that a segment is part of, and how that knows it; None where it was copied out of it.

    None too where the database cannot tell what was found in it.
    """
    path = segment.path.absolute()
    try:
        with SessionRuns(path.parent.parent) as session:
            known = session.segments(segment.bed)
            for rows in (session.marks(known[:1]) if known else (), session.alarms(segment.bed)):
                deque(rows, maxlen=0)
            session.damaged()
    except RecordError:
        return None
    same = [at for at in known if (at.run, at.first) == (segment.run, segment.first) and at.path.name == path.name]
    return (path.parent.parent, same[0]) if same else None


def read_beat_marks(segment: RecordedSegment) -> list[BeatMark]:
    """The beats of a segment by its annotation file; none where it has none."""
    try:
        found = read_annotations(segment.path.parent, segment.path.name, "ecg", segment.fs)
    except RecordError:
        return []
    beats = [
        (at, AAMI_CLASS_OF[name])
        for at, name in zip(found.samples, found.symbols, strict=True)
        if name in AAMI_CLASS_OF
    ]
    return [(min(max(0, at), segment.count - 1), label) for at, label in beats]


def _locate_sample(segment: RecordedSegment, sample: int) -> int:
    return min(max(0, to_device_index(sample, segment.fs) - segment.first), segment.count - 1)
