"""A recording as the packets of the device that it was made of: its own rate, leads, counts, indices and holes.

A monitor that hears it tells the same beats, bit for bit, as the one that recorded it. Within a run time goes by the
sample index, so a hole lasts as long as it did; one run follows on another without a pause.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from uuid import uuid4

from agent.core.messages import Chunk, End
from agent.recording.recorded_segments import RecordedSegment, read_segment_counts
from agent.recording.sessions import RecordedSession, find_segments, is_recording
from agent.wire.packets import LARGEST_PAYLOAD_BYTES, MOST_PACKET_SAMPLES
from model.errors import ConfigError
from simulator.packet_source import PacketBlock, PacketSource
from simulator.record_replay import BLOCK_S, LONGEST_PACKET_S, ReplayPlan, check_bed_name
from simulator.sent_buffer import BYTES_PER_COUNT


@dataclass(frozen=True, slots=True)
class _TimedSegment:
    """A segment, when it begins, in seconds after the start of the recording, and whether its run ended behind it.

    `ended`: the index that the End of the run gave, None where there was none, or another segment follows.
    """

    segment: RecordedSegment
    begin_s: float
    ended: int | None = None

    @property
    def end_s(self) -> float:
        return self.begin_s + self.segment.count / self.segment.fs

    def at(self, time_s: float) -> int:
        """The sample of the segment at a time of the recording, held within it."""
        return round(min(max(0.0, (time_s - self.begin_s) * self.segment.fs), self.segment.count))


@dataclass(frozen=True, slots=True)
class _SegmentSlice:
    """What is to be sent of a piece: its samples `start` to `stop`, in a pass of a loop."""

    piece: _TimedSegment
    start: int
    stop: int
    number: int

    @property
    def ended(self) -> int | None:
        return self.piece.ended if self.stop == self.piece.segment.count else None


class RecordingReplay(PacketSource):
    """The blocks of a recording and the Ends of its runs.

    Looped, each pass is as if the device had been restarted: new runs of the same indices.
    """

    def __init__(self, plan: ReplayPlan, packet_ms: float, run: str | None = None) -> None:
        """Raises ConfigError for a plan that makes no sense and RecordError for a recording that cannot be read."""
        if plan.noise is not None:
            raise ConfigError("a recording is replayed as it was, without noise: leave --noise out")
        if not 0 < packet_ms <= 1000 * LONGEST_PACKET_S:
            raise ConfigError(f"packets of {packet_ms:g} ms: give more than 0 ms and at most {LONGEST_PACKET_S:g} s")
        self.bed, self.run, self._packet_s = check_bed_name(plan.bed), run or uuid4().hex, packet_ms / 1000
        self._pieces = _time_segments(find_segments(Path(plan.record).expanduser()))
        self._length_s = self._pieces[-1].end_s
        if not 0 <= plan.start_s < self._length_s:
            within = f"it has 0 to {self._length_s:.1f} s"
            raise ConfigError(f"start {plan.start_s:g} s is not within recording {plan.record}: {within}")
        self._start_s, self._loop = plan.start_s, plan.loop
        self._duration_s = inf if plan.duration_s is None else plan.duration_s
        if plan.duration_s is not None and not (isfinite(plan.duration_s) and plan.duration_s > 0):
            raise ConfigError(f"duration {plan.duration_s:g} s makes no sense: give a number above 0")
        if next(self._cuts(), None) is None:
            asked = f"{self._duration_s:g} s from {self._start_s:g} s on"
            raise ConfigError(f"recording {plan.record} has no sample in the {asked}: choose another --start")

    @property
    def packet_s(self) -> float:
        return self._packet_s

    def blocks(self) -> Iterator[PacketBlock | End]:
        before: _SegmentSlice | None = None
        end = End(self.bed, self.run, 0, 0.0)
        for cut in self._cuts():
            segment, run, sequence = cut.piece.segment, end.run, end.sequence
            if before is not None and (before.number, before.piece.segment.run) != (cut.number, segment.run):
                if before.number == cut.number and before.ended is not None:
                    yield end
                run, sequence = uuid4().hex, 0
            for block in self._blocks(cut, run, sequence):
                yield block
                sequence += block.packets
            first = segment.first + cut.stop
            end = End(self.bed, run, max(first, cut.ended or 0), segment.fs, sequence)
            before = cut
        yield end

    def _cuts(self) -> Iterator[_SegmentSlice]:
        start_s, left_s, number = self._start_s, self._duration_s, 0
        while left_s > 0:
            for piece in self._pieces:
                start, stop = piece.at(start_s), piece.at(start_s + left_s)
                if start < stop:
                    yield _SegmentSlice(piece, start, stop, number)
            left_s = left_s - (self._length_s - start_s) if self._loop else 0.0
            start_s, number = 0.0, number + 1

    def _blocks(self, cut: _SegmentSlice, run: str, sequence: int) -> Iterator[PacketBlock]:
        segment = cut.piece.segment
        most = min(MOST_PACKET_SAMPLES, LARGEST_PAYLOAD_BYTES // (BYTES_PER_COUNT * len(segment.leads)))
        packet = min(max(1, round(self._packet_s * segment.fs)), most)
        length = packet * max(1, round(BLOCK_S * segment.fs / packet))
        for low in range(cut.start, cut.stop, length):
            read = read_segment_counts(segment, low, min(low + length, cut.stop))
            chunk = Chunk(self.bed, run, segment.first + low, segment.fs, segment.leads, read, 0.0, sequence=sequence)
            yield (block := PacketBlock(chunk, packet))
            sequence += block.packets


def is_recording_path(record: str) -> bool:
    """Whether a record to replay is a recording of ours: a session, the folder of a bed in it, or a segment."""
    try:
        return is_recording(Path(record).expanduser())
    except (OSError, ValueError, RuntimeError):  # what is no name of a file names no recording
        return False


def read_recorded_bed(record: str) -> str:
    """The name of the bed that was recorded. Raises RecordError."""
    return find_segments(Path(record).expanduser())[0].bed


def _time_segments(segments: Sequence[RecordedSegment]) -> list[_TimedSegment]:
    """When each segment begins. Where the rate changes within a run, indices before and after cannot be compared."""
    ends = _known_run_ends(segments)
    pieces: list[_TimedSegment] = []
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        begin_s = 0.0
        if pieces:
            before = pieces[-1].segment
            same = (before.run, before.fs) == (segment.run, segment.fs)
            hole = max(0, segment.first - before.first - before.count) if same else 0
            begin_s = pieces[-1].end_s + hole / segment.fs
        last = following is None or following.run != segment.run
        pieces.append(_TimedSegment(segment, begin_s, ends.get(segment.run) if last else None))
    return pieces


def _known_run_ends(segments: Sequence[RecordedSegment]) -> dict[str, int]:
    """The index after the last sample of each run that is known to have ended; of a lone segment nothing is known."""
    folder = segments[0].path.parent.parent
    if not segments[0].id:
        return {}
    with RecordedSession(folder) as session:
        return {run.run: run.next for run in session.runs(segments[0].bed) if run.ended}
