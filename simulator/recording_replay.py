"""A recording as the packets of the device that it was made from: its own rate, leads, counts, indices and holes.

A monitor of the replay finds the same beats, bit for bit, as the one that recorded it. Within a run time follows the
sample index, so a hole lasts as long as it did; one run follows another without a pause.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from uuid import uuid4

from agent.core.messages import Chunk, End
from agent.device.packet_source import PacketBlock, PacketSource
from agent.recording.recorded_segments import RecordedSegment, read_segment_counts
from agent.recording.sessions import RecordedSession, find_segments, is_recording
from agent.wire.packets import check_bed_name, most_packet_samples
from model.errors import ConfigError
from simulator.move_text import beyond_end_text
from simulator.record_replay import BLOCK_S, LONGEST_PACKET_S, ReplayPlan


@dataclass(frozen=True, slots=True)
class _TimedSegment:
    """A segment of a recording, which begins `begin_s` seconds after the start of the recording.

    `ended`: the index in the End of its run, None where there was no End, or another segment of the run follows.
    """

    segment: RecordedSegment
    begin_s: float
    ended: int | None = None

    @property
    def end_s(self) -> float:
        """When it ends, in seconds after the start of the recording."""
        return self.begin_s + self.segment.count / self.segment.fs

    def sample_at(self, time_s: float) -> int:
        """Return the sample of the segment at a time of the recording, clipped to the segment."""
        return round(min(max(0.0, (time_s - self.begin_s) * self.segment.fs), self.segment.count))


@dataclass(frozen=True, slots=True)
class _SegmentSlice:
    """What is sent of a segment: its samples `start` to `stop`, in pass `number` of a loop."""

    timed: _TimedSegment
    start: int
    stop: int
    number: int

    @property
    def ended(self) -> int | None:
        """The index in the End of the run, None where no End follows on this slice."""
        return self.timed.ended if self.stop == self.timed.segment.count else None


class RecordingReplay(PacketSource):
    """The blocks of a recording and the Ends of its runs.

    Looped, each pass is as if the device had been restarted: an End, then new runs of the same indices.
    """

    def __init__(self, plan: ReplayPlan, packet_ms: float, run: str | None = None) -> None:
        """Raises ConfigError for a plan that makes no sense and RecordError for a recording that cannot be read."""
        if plan.noise is not None:
            raise ConfigError("a recording is replayed as it was, without noise: leave --noise out")
        if not 0 < packet_ms <= 1000 * LONGEST_PACKET_S:
            raise ConfigError(f"packets of {packet_ms:g} ms: give more than 0 ms and at most {LONGEST_PACKET_S:g} s")
        self.bed = check_bed_name(plan.bed)
        self.run = run or uuid4().hex
        self._packet_s = packet_ms / 1000
        self._segments = _time_segments(find_segments(Path(plan.record).expanduser()))
        self.length_s = self._segments[-1].end_s
        if not 0 <= plan.start_s < self.length_s:
            within = f"it has 0 to {self.length_s:.1f} s"
            raise ConfigError(f"start {plan.start_s:g} s is not within recording {plan.record}: {within}")
        self.start_s = plan.start_s
        self.loops = plan.loop
        self._name = Path(plan.record).name
        self._duration_s = inf if plan.duration_s is None else plan.duration_s
        if plan.duration_s is not None and not (isfinite(plan.duration_s) and plan.duration_s > 0):
            raise ConfigError(f"duration {plan.duration_s:g} s makes no sense: give a number above 0")
        if next(self._slices(self.start_s, self._duration_s), None) is None:
            span = f"{self._duration_s:g} s from {self.start_s:g} s on"
            raise ConfigError(f"recording {plan.record} has no sample in the {span}: choose another --start")

    @property
    def packet_s(self) -> float:
        """Seconds of signal in a packet, as asked for."""
        return self._packet_s

    def blocks(self) -> Iterator[PacketBlock | End]:
        """Yield the blocks of each run, and an End where the recording had one, and at the end of each pass."""
        return self._runs(self.run, self.start_s, self._duration_s)

    def move_problem(self, position_s: float) -> str:
        """Return why it cannot go on at `position_s` seconds of the recording, "" where it can."""
        if position_s >= self.length_s:
            return beyond_end_text(position_s, f"recording {self._name}", self.length_s)
        return "" if next(self._slices(position_s, inf), None) else "the recording has no signal from there on"

    def blocks_from(self, position_s: float, sent_s: float) -> Iterator[PacketBlock | End]:
        """Yield all that is sent from there on, as new runs, after `sent_s` seconds of signal elsewhere."""
        return self._runs(uuid4().hex, position_s, max(0.0, self._duration_s - sent_s))

    def _runs(self, run: str, start_s: float, left_s: float) -> Iterator[PacketBlock | End]:
        before: _SegmentSlice | None = None
        end = End(self.bed, run, 0, self._segments[0].segment.fs)
        for cut in self._slices(start_s, left_s):
            segment, run, sequence = cut.timed.segment, end.run, end.sequence
            if before is not None and (before.number, before.timed.segment.run) != (cut.number, segment.run):
                if before.number != cut.number or before.ended is not None:
                    yield end
                run = uuid4().hex
                sequence = 0
            for block in self._slice_blocks(cut, run, sequence):
                yield block
                sequence += block.packets
            first = segment.first + cut.stop
            end = End(self.bed, run, max(first, cut.ended or 0), segment.fs, sequence)
            before = cut
        yield end

    def _slices(self, start_s: float, left_s: float) -> Iterator[_SegmentSlice]:
        number = 0
        while left_s > 0:
            for timed in self._segments:
                start, stop = timed.sample_at(start_s), timed.sample_at(start_s + left_s)
                if start < stop:
                    yield _SegmentSlice(timed, start, stop, number)
            left_s = left_s - (self.length_s - start_s) if self.loops else 0.0
            start_s = 0.0
            number += 1

    def _slice_blocks(self, cut: _SegmentSlice, run: str, sequence: int) -> Iterator[PacketBlock]:
        segment = cut.timed.segment
        most = most_packet_samples(len(segment.leads))
        packet = min(max(1, round(self._packet_s * segment.fs)), most)
        length = packet * max(1, round(BLOCK_S * segment.fs / packet))
        for low in range(cut.start, cut.stop, length):
            counts = read_segment_counts(segment, low, min(low + length, cut.stop))
            chunk = Chunk(self.bed, run, segment.first + low, segment.fs, segment.leads, counts, 0.0, sequence=sequence)
            block = PacketBlock(chunk, packet)
            yield block
            sequence += block.packets


def is_recording_path(record: str) -> bool:
    """Return whether a record to replay is a recording of ecg-agent: a session, a bed's folder in it, or a segment."""
    try:
        return is_recording(Path(record).expanduser())
    except (OSError, ValueError, RuntimeError):  # what cannot name a file names no recording
        return False


def read_recorded_bed(record: str) -> str:
    """Return the name of the bed that was recorded. Raises RecordError."""
    return find_segments(Path(record).expanduser())[0].bed


def _time_segments(segments: Sequence[RecordedSegment]) -> list[_TimedSegment]:
    """Place each segment in time. Where the rate changes within a run, indices before and after are not comparable."""
    ends = _known_run_ends(segments)
    timed: list[_TimedSegment] = []
    for segment, following in zip(segments, [*segments[1:], None], strict=True):
        begin_s = 0.0
        if timed:
            before = timed[-1].segment
            same = (before.run, before.fs) == (segment.run, segment.fs)
            hole = max(0, segment.first - before.first - before.count) if same else 0
            begin_s = timed[-1].end_s + hole / segment.fs
        last = following is None or following.run != segment.run
        timed.append(_TimedSegment(segment, begin_s, ends.get(segment.run) if last else None))
    return timed


def _known_run_ends(segments: Sequence[RecordedSegment]) -> dict[str, int]:
    """Return the index after the last sample of each run that is known to have ended; nothing for a lone segment."""
    folder = segments[0].path.parent.parent
    if not segments[0].id:
        return {}
    with RecordedSession(folder) as session:
        return {run.run: run.next for run in session.runs(segments[0].bed) if run.ended}
