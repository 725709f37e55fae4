"""Several beds in one process: which bed replays what, and when each packet is due.

A packet is due when its last sample has happened: at t0 + n / rate / speed, on a monotonic clock. The schedule never
moves: a bed that falls behind catches up, and rounding does not add up. The beds are spread over the packet period, so
that a ward is not sent in bursts.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import inf, isfinite
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from agent.core.messages import Chunk, End
from agent.device.packet_source import PacketBlock, PacketSource
from agent.wire.packets import PacketCutter, encode_frames
from agent.wire.record_chunks import number_repeated_name
from model.errors import ConfigError
from model.records.wfdb_records import embedded_records, find_record
from simulator.record_replay import RecordReplay, ReplayPlan
from simulator.recording_replay import RecordingReplay, is_recording_path, read_recorded_bed

STAGGER_S = 11.0
"""Beds of a ward start this far apart in their records ..."""
STAGGER_WITHIN_S = 600.0
"""... within this time."""
PHASE_SLOT_S = 0.01
"""Phases are multiples of this: waking up for every packet of a large ward would cost more than sending it."""
MOST_BEDS = 10_000
STATUS_S = 0.5
STOPPED_LINGER_S = 3.0
"""How long a device that is stopped waits for monitors that still miss samples."""
LONGEST_SLEEP_S = 0.1
"""Longest sleep, so that a stop is noticed soon."""


class PacketSink(Protocol):
    """What packets are sent to: a `agent.device.publisher.PacketPublisher`, or a test's stand-in."""

    linger_s: float

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send one message; return False where there is no room for it now."""
        ...

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        """Keep what was sent: an End, or the samples of a chunk before `stop`."""
        ...

    def subscribed(self, beds: Iterable[str]) -> int:
        """Return how many of the beds have a subscriber."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulerClock:
    """`now`: monotonic seconds; `sleep`: wait for seconds; `unix`: seconds since the epoch, for the `sent` stamp."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    unix: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class PlaybackSpeed:
    """`speed` times real time, None as fast as it goes; `wait`: hold the first sample until every bed is subscribed."""

    speed: float | None
    wait: bool

    def __post_init__(self) -> None:
        if self.speed is not None and not (isfinite(self.speed) and self.speed > 0):
            raise ConfigError(f'speed {self.speed:g} makes no sense: give a number above 0, or "max"')


@dataclass(frozen=True, slots=True)
class ReplayStatus:
    """The progress of a ward: `beds` still running, `subscribed` those of them that have a subscriber.

    `position_s`: seconds of signal sent of each bed; `late_ms`: how far behind schedule a packet was at worst since the
    last status; `waiting`: the first sample is held back for subscribers.
    """

    beds: int
    subscribed: int
    position_s: float
    packets: int
    late_ms: float
    waiting: bool


def name_beds(records: Sequence[str]) -> list[str]:
    """Return a bed name for each record, its name without folders and ending: 100, 101 and, of one repeated, 100-2.

    A recording has the name of the bed that was recorded. Raises RecordError where it cannot be read, and for what has
    no name and is not a record, such as a folder ".".
    """
    names: list[str] = []
    for record in records:
        plain = Path(record).stem if _is_file(record) else Path(record).name.removesuffix(".hea").removesuffix(".dat")
        name = read_recorded_bed(record) if is_recording_path(record) else plain or find_record(record).name
        names.append(number_repeated_name(name, names))
    return names


def _is_file(record: str) -> bool:
    """Whether a record is given by the path of a file: its ending is no part of its name."""
    with contextlib.suppress(OSError, ValueError):  # an impossible file name is no file
        return Path(record).expanduser().is_file()
    return False


def plan_ward(beds: int, base: ReplayPlan) -> list[ReplayPlan]:
    """Return the plans of a ward: the embedded records in turn, each from its own start, all else as in `base`."""
    if not 1 <= beds <= MOST_BEDS:
        raise ConfigError(f"a ward of {beds} beds makes no sense: give 1 to {MOST_BEDS:,}")
    records = [embedded_records()[i % len(embedded_records())] for i in range(beds)]
    return [
        replace(
            base,
            record=record,
            bed=bed,
            start_s=base.start_s + i * STAGGER_S % STAGGER_WITHIN_S,
            seed=base.seed + i,
        )
        for i, (record, bed) in enumerate(zip(records, name_beds(records), strict=True))
    ]


def open_replays(plans: Sequence[ReplayPlan], packet_ms: float) -> list[RecordReplay | RecordingReplay]:
    """Open the replays of plans, which share one run id.

    Raises ConfigError and RecordError as the replays do, and ConfigError where two beds share a name.
    """
    names = [plan.bed for plan in plans]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"two beds are called {repeated[0]!r}: give each a name of its own")
    run_id = uuid4().hex
    return [
        (RecordingReplay if is_recording_path(plan.record) else RecordReplay)(plan, packet_ms, run_id) for plan in plans
    ]


def run_schedule(
    replays: Sequence[PacketSource],
    sink: PacketSink,
    pace: PlaybackSpeed,
    clock: SchedulerClock,
    stop: Callable[[], bool],
    status: Callable[[ReplayStatus], None],
) -> ReplayStatus:
    """Send all packets of all beds when they are due, each bed's End after its last; return the final status.

    `stop` is called before the packets of every instant and at least ten times a second; once it returns True, every
    bed is ended where it stands. `status` is called twice a second. A lossless sink may delay the schedule; see
    `agent.device.publisher`.
    """
    return _PacketScheduler(replays, sink, pace, clock, stop, status).play()


class _ScheduledSource:
    """One bed on the schedule: its next packet or End is due at `due_s` after t0 at speed 1.

    `message` is that End, or the chunk whose samples before `stop` have been sent once the packet has. `is_over`: there
    is nothing left to send.
    """

    __slots__ = (
        "_blocks",
        "_cutter",
        "_end",
        "_length",
        "_packet",
        "_sequence",
        "_start",
        "_zero",
        "_zero_s",
        "due_s",
        "is_over",
        "message",
        "stop",
    )
    message: Chunk | End
    stop: int
    due_s: float
    _sequence: int
    _cutter: PacketCutter | None

    def __init__(self, source: PacketSource, phase_s: float) -> None:
        self._blocks = source.blocks()
        block = next(self._blocks)
        message = block if isinstance(block, End) else block.chunk
        self._end = End(message.bed, message.run, message.first, message.fs, message.sequence)
        self._zero = message.first
        self._zero_s = phase_s
        self.is_over = False
        self._start_block(block)

    @property
    def end(self) -> End:
        """The End of the bed where it is stopped before the next packet."""
        return self._end_at(self._start, self._sequence) if self._start else self._end

    def frames(self, sent_s: float) -> list[bytes]:
        """Return the frames that are sent next."""
        if self._cutter is None:
            return encode_frames(replace(self.message, sent_s=sent_s))
        return self._cutter.cut(self._start, self.stop, self._sequence, sent_s)

    def advance(self) -> bool:
        """Go on to what is sent next; return False where there is nothing."""
        if self.stop < self._length:
            self._start = self.stop
            self._sequence += 1
            self._schedule_packet()
            return True
        last = self.message
        self._end = last if isinstance(last, End) else self._end_at(self.stop, self._sequence + 1)
        block = next(self._blocks, None)
        if block is None:
            self.is_over = True
            return False
        message = block if isinstance(block, End) else block.chunk
        if (message.run, message.fs) != (last.run, last.fs):  # the indices start again, time goes on
            self._zero = message.first
            self._zero_s = self.due_s
        self._start_block(block)
        return True

    def _start_block(self, block: PacketBlock | End) -> None:
        if isinstance(block, End):
            self.message = block
            self._packet = self._length = 0
            self._cutter = None
        else:
            self.message, self._packet = block
            self._length = len(block.chunk.counts)
            self._cutter = PacketCutter(block.chunk)
        self._start = 0
        self._sequence = self.message.sequence
        self._schedule_packet()

    def _schedule_packet(self) -> None:
        """Set the end of the packet that begins at `_start`, and when it is due."""
        self.stop = stop = min(self._start + self._packet, self._length)
        self.due_s = self._zero_s + (self.message.first + stop - self._zero) / self.message.fs

    def _end_at(self, count: int, sequence: int) -> End:
        message = self.message
        return End(message.bed, message.run, message.first + count, message.fs, sequence)


class _PacketSchedule:
    """Beds by the instant at which their next packets are due; there are far fewer instants than packets."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._beds: dict[float, list[_ScheduledSource]] = {}

    def add(self, bed: _ScheduledSource) -> None:
        """Put a bed on the schedule at the instant when it is due."""
        beds = self._beds.get(bed.due_s)
        if beds is None:
            beds = self._beds[bed.due_s] = []
            heappush(self._times, bed.due_s)
        beds.append(bed)

    def instants(self) -> Iterator[tuple[float, list[_ScheduledSource]]]:
        """Yield each instant in turn, until no bed is left; beds may be added meanwhile."""
        while self._times:
            due_s = heappop(self._times)
            yield due_s, self._beds.pop(due_s)


class _PacketScheduler:
    """The state of `run_schedule`."""

    def __init__(
        self,
        sources: Sequence[PacketSource],
        sink: PacketSink,
        pace: PlaybackSpeed,
        clock: SchedulerClock,
        stop: Callable[[], bool],
        status: Callable[[ReplayStatus], None],
    ) -> None:
        self._sink = sink
        self._pace = pace
        self._clock = clock
        self._stop = stop
        self._status = status
        period = sources[0].packet_s if sources else 0.0
        slots = max(1, round(period / PHASE_SLOT_S))
        self._beds = [
            _ScheduledSource(source, i * slots // len(sources) * period / slots) for i, source in enumerate(sources)
        ]
        self._packets = 0
        self._position_s = 0.0
        self._late_s = 0.0
        self._reported = -inf

    def play(self) -> ReplayStatus:
        """Send everything, or until stopped; return the final status."""
        completed = self._wait_for_subscribers() and self._send_all()
        if not completed:
            self._end_all()
        return self._report(waiting=False)

    def _wait_for_subscribers(self) -> bool:
        """Wait until every bed is subscribed, if that is wanted; return False if stopped meanwhile."""
        names = [bed.message.bed for bed in self._beds]
        while self._pace.wait and self._sink.subscribed(names) < len(names):
            if self._stop():
                return False
            self._report_if_due(waiting=True)
            self._clock.sleep(LONGEST_SLEEP_S / 2)
        return True

    def _send_all(self) -> bool:
        """Send everything when it is due; return False if stopped before the end."""
        speed = self._pace.speed or inf
        start = self._clock.now()
        schedule = _PacketSchedule()
        for bed in self._beds:
            schedule.add(bed)
        for due_s, beds in schedule.instants():
            due = start + due_s / speed
            if not self._sleep_until(due):
                return False
            for bed in beds:
                if not self._deliver(bed):
                    return False
                self._packets += bed.stop > 0
                if bed.advance():
                    schedule.add(bed)
            self._position_s = due_s
            if self._pace.speed is not None:
                self._late_s = max(self._late_s, self._clock.now() - due)
            self._report_if_due(waiting=False)
        return True

    def _sleep_until(self, due: float) -> bool:
        """Sleep until packets are due; return False if stopped."""
        while (left := due - self._clock.now()) > 0:
            if self._stop():
                return False
            self._clock.sleep(min(left, LONGEST_SLEEP_S))
            self._report_if_due(waiting=False)
        return not self._stop()

    def _deliver(self, bed: _ScheduledSource) -> bool:
        """Send what a bed sends next, however long the sink has no room; return False if stopped meanwhile."""
        while True:
            sent_s = self._clock.unix()
            if self._sink.send(bed.frames(sent_s)):
                self._sink.keep(bed.message, bed.stop, sent_s)
                return True
            if self._stop():
                return False
            self._report_if_due(waiting=False)

    def _end_all(self) -> None:
        """End the beds that are still running where they stand. Nobody may be reading, so each End is tried once."""
        self._sink.linger_s = min(self._sink.linger_s, STOPPED_LINGER_S)
        full = False
        for bed in self._running():
            end = replace(bed.end, sent_s=self._clock.unix())
            full = full or not self._sink.send(encode_frames(end))
            self._sink.keep(end, 0, end.sent_s)

    def _running(self) -> list[_ScheduledSource]:
        return [bed for bed in self._beds if not bed.is_over]

    def _report_if_due(self, waiting: bool) -> None:
        if self._clock.now() - self._reported >= STATUS_S:
            self._report(waiting)

    def _report(self, waiting: bool) -> ReplayStatus:
        names = [bed.message.bed for bed in self._running()]
        subscribed = self._sink.subscribed(names)
        status = ReplayStatus(len(names), subscribed, self._position_s, self._packets, 1000 * self._late_s, waiting)
        self._reported = self._clock.now()
        self._late_s = 0.0
        self._status(status)
        return status
