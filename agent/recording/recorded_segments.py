"""The segments of recordings: each an unbroken piece of one run of a bed, kept as one WFDB record."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import MISSING, Chunk, Gap, Lead
from agent.core.sample_index import nearest_device_index
from agent.recording.segment_files import (
    NO_VALUE_OF_FORMAT,
    SEGMENT_ENDINGS,
    SegmentOrigin,
    count_frames,
    read_segment_origin,
    read_stored_samples,
)
from model.errors import RecordError
from model.records.annotations import read_annotations
from model.records.resample import FS
from model.records.wfdb_records import AAMI_CLASS_OF

BeatMark = tuple[int, str]
"""A beat: its sample from the start of the segment that it lies in, and its class."""


@dataclass(frozen=True, slots=True)
class RecordedSegment:
    """An unbroken piece of one run of a bed: one WFDB record. `path` has no file ending.

    `first`: index in the run of its first sample; `count`: its samples on disk, at the device's rate `fs`; `started_s`:
    Unix time of the first; `format` of WFDB, 16 or 32; `id` in the database, 0 outside a session.
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


class SegmentStart(Protocol):
    """Where a segment begins: its run, its first sample at `fs` hertz, and the Unix time of that."""

    @property
    def run(self) -> str:
        """The run that it is a piece of."""

    @property
    def first(self) -> int:
        """Index in the run of its first sample."""

    @property
    def fs(self) -> float:
        """The device's rate."""

    @property
    def started_s(self) -> float:
        """Unix time of its first sample."""


class SegmentTimes:
    """When the samples of recorded runs were measured, by the starts of their segments."""

    def __init__(self, segments: Sequence[SegmentStart]) -> None:
        self._starts: dict[str, list[tuple[float, float]]] = {}
        """By run: second of the run at which a segment begins, and its Unix time, in order."""
        for segment in segments:
            self._starts.setdefault(segment.run, []).append((segment.first / segment.fs, segment.started_s))
        for starts in self._starts.values():
            starts.sort()

    def time_of(self, run: str, sample: int) -> float | None:
        """Return the Unix time of a sample at 125 Hz of a run; None for a run without signal."""
        starts = self._starts.get(run)
        if not starts:
            return None
        at_s = sample / FS
        begin_s, started_s = starts[max(0, bisect_right(starts, (at_s, inf)) - 1)]
        return started_s + at_s - begin_s


def read_lone_segment(path: Path) -> RecordedSegment:
    """Return a segment by its header alone, with the ending .hea or without. Raises RecordError."""
    bare = remove_ending(path)
    header = read_segment_origin(bare)
    if header is None:
        raise RecordError(f"{path} is no segment of a recording: it has no header of one")
    origin, wfdb_format = header
    return build_segment(bare, origin, wfdb_format, int(bare.name) if bare.name.isdecimal() else 0, 0)


def read_segment_counts(segment: RecordedSegment, start: int, stop: int) -> NDArray[np.int32]:
    """Return samples of a segment, counted from its own first.

    Parameters
    ----------
    segment
        The segment to read.
    start, stop
        The first sample, and the one after the last; they are cut to those of the segment.

    Returns
    -------
    counts
        (n, leads) int32 counts of the device at its own rate, MISSING where there is no value.

    Raises
    ------
    RecordError
        If the file is gone, or shorter by now.
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
    """Yield recorded segments as chunks of `packet_s` seconds, in order, with a Gap between segments of one run.

    `sent_s` is the time of the last sample, by the clock of the recording.
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


def read_beat_marks(segment: RecordedSegment) -> list[BeatMark]:
    """Return the beats of a segment by its annotation file; none if it has none."""
    try:
        annotations = read_annotations(segment.path.parent, segment.path.name, "ecg", segment.fs)
    except RecordError:
        return []
    beats = [
        (sample, AAMI_CLASS_OF[symbol])
        for sample, symbol in zip(annotations.samples, annotations.symbols, strict=True)
        if symbol in AAMI_CLASS_OF
    ]
    return [(min(max(0, sample), segment.count - 1), label) for sample, label in beats]


def locate_sample(segment: RecordedSegment, sample: int) -> int:
    """Return where sample `sample` of the run, at 125 Hz, lies in a segment, counted from the start of the segment."""
    return min(max(0, nearest_device_index(sample, segment.fs) - segment.first), segment.count - 1)


def build_segment(path: Path, origin: SegmentOrigin, wfdb_format: int, number: int, identity: int) -> RecordedSegment:
    """Return a segment with what is on disk of it now."""
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


def remove_ending(path: Path) -> Path:
    """Return the path of a segment without the ending of one of its files."""
    return path.with_suffix("") if path.suffix in SEGMENT_ENDINGS else path
