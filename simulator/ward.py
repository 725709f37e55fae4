"""Several beds in one process: who replays what, and when each packet is due.

A packet is due when its last sample has happened: at t0 + n / rate / speed, on a monotonic clock. The schedule never
moves: who falls behind catches up, and rounding does not add up. The beds are spread over the packet period, so that a
ward is not sent in bursts.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heapreplace
from math import inf, isfinite
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from agent.messages import Chunk, End
from agent.wire import encode
from model.errors import ConfigError
from model.records import embedded
from simulator.recorded import RecordedReplay, is_recorded, recorded_bed
from simulator.replay import Plan, Replay, numbered

STAGGER_S = 11.0
STAGGER_WITHIN_S = 600.0
"""Beds of a ward start 11 s apart in their records, within ten minutes."""
SLOT_S = 0.01
"""Phases are multiples of this: waking up for every packet of a large ward would cost more than sending it."""
STATUS_S = 0.5
STOPPED_LINGER_S = 3.0
"""How long a device that is stopped waits for those who still miss samples."""
NAP_S = 0.1
"""Longest sleep, so that a stop is soon seen."""


class Sink(Protocol):
    """What packets are sent to: a `simulator.publish.Publisher`, or a test's stand-in."""

    linger_s: float

    def send(self, frames: Sequence[bytes]) -> bool: ...

    def keep(self, message: Chunk | End) -> None: ...

    def subscribers(self, bed: str) -> int: ...


class Source(Protocol):
    """What a bed sends, in packets of `packet_s` seconds or less: the Chunks and Ends of its runs, an End last."""

    @property
    def packet_s(self) -> float: ...

    def __iter__(self) -> Iterator[Chunk | End]: ...


@dataclass(frozen=True, slots=True)
class Clock:
    """`now`: monotonic seconds; `sleep`: for so many seconds; `unix`: seconds since the epoch, for the `sent` stamp."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    unix: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Pace:
    """`speed` times real time, None as fast as it goes; `wait`: hold the first sample until every bed is subscribed."""

    speed: float | None
    wait: bool

    def __post_init__(self) -> None:
        if self.speed is not None and not (isfinite(self.speed) and self.speed > 0):
            raise ConfigError(f'speed {self.speed:g} makes no sense: give a number above 0, or "max"')


@dataclass(frozen=True, slots=True)
class Status:
    """Where the ward stands: `beds` still running, `subscribed` those of them that somebody listens to.

    `position_s`: seconds of signal sent of each bed; `late_ms`: how far behind schedule a packet was at worst since the
    last status; `waiting`: the first sample is held back for subscribers.
    """

    beds: int
    subscribed: int
    position_s: float
    packets: int
    late_ms: float
    waiting: bool


def bed_names(records: Sequence[str]) -> list[str]:
    """A bed name for each record, its name without folders: 100, 101 and, where one is repeated, 100-2.

    A recording is called like the bed that was recorded. Raises RecordError where it cannot be read.
    """
    names: list[str] = []
    for record in records:
        plain = Path(record).name.removesuffix(".hea").removesuffix(".dat")
        names.append(numbered(recorded_bed(record) if is_recorded(record) else plain, names))
    return names


def spread(beds: int, base: Plan) -> list[Plan]:
    """Plans of a ward: the embedded records in turn, each bed at its own place, all else as in `base`."""
    if beds < 1:
        raise ConfigError(f"a ward of {beds} beds makes no sense: give at least 1")
    records = [embedded()[i % len(embedded())] for i in range(beds)]
    return [
        replace(
            base,
            record=record,
            bed=bed,
            start_s=base.start_s + i * STAGGER_S % STAGGER_WITHIN_S,
            seed=base.seed + i,
        )
        for i, (record, bed) in enumerate(zip(records, bed_names(records), strict=True))
    ]


def open_beds(plans: Sequence[Plan], packet_ms: float) -> list[Replay | RecordedReplay]:
    """Replays of one run. Raises ConfigError and RecordError (see them), and where two beds share a name."""
    names = [plan.bed for plan in plans]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"two beds are called {repeated[0]!r}: give each a name of its own")
    run_id = uuid4().hex
    return [(RecordedReplay if is_recorded(plan.record) else Replay)(plan, packet_ms, run_id) for plan in plans]


def run(
    replays: Sequence[Source],
    sink: Sink,
    pace: Pace,
    clock: Clock,
    stop: Callable[[], bool],
    status: Callable[[Status], None],
) -> Status:
    """Send all packets of all beds when they are due, each bed's End after its last; return how it ended.

    `stop` is asked before every packet and at least ten times a second; once it says True, every bed is ended where it
    stands. `status` is told twice a second. A lossless sink may hold the schedule up; see `simulator.publish`.
    """
    return _Ward(replays, sink, pace, clock, stop, status).play()


class _Bed:
    """One bed on the schedule: `message` is its next packet or End, due at `due_s` after t0 at speed 1.

    `end`: the End of the bed if it is stopped before `message`.
    """

    def __init__(self, source: Source, phase_s: float) -> None:
        self._messages = iter(source)
        self.message = message = next(self._messages)
        self.end = End(message.bed, message.run, message.first, message.fs, message.sequence)
        self._zero, self._zero_s = message.first, phase_s
        self.due_s = self._due_s()

    def advance(self) -> bool:
        """Go on to the next message; False where there is none."""
        last = self.message
        self.end = last if isinstance(last, End) else _end_after(last)
        message = next(self._messages, None)
        if message is None:
            return False
        if (message.run, message.fs) != (last.run, last.fs):  # indices begin anew: they go on from where time stands
            self._zero, self._zero_s = message.first, self.due_s
        self.message = message
        self.due_s = self._due_s()
        return True

    def _due_s(self) -> float:
        count = len(self.message.counts) if isinstance(self.message, Chunk) else 0
        return self._zero_s + (self.message.first + count - self._zero) / self.message.fs


class _Ward:
    """The state of `run`."""

    def __init__(
        self,
        replays: Sequence[Source],
        sink: Sink,
        pace: Pace,
        clock: Clock,
        stop: Callable[[], bool],
        status: Callable[[Status], None],
    ) -> None:
        self._sink, self._pace, self._clock, self._stop, self._status = sink, pace, clock, stop, status
        period = replays[0].packet_s if replays else 0.0
        slots = max(1, round(period / SLOT_S))
        self._beds = [_Bed(r, i * slots // len(replays) * period / slots) for i, r in enumerate(replays)]
        self._queue = [(bed.due_s, i) for i, bed in enumerate(self._beds)]
        heapify(self._queue)
        self._packets = 0
        self._position_s = 0.0
        self._late_s = 0.0
        self._told = -inf

    def play(self) -> Status:
        running = self._hold() and self._send_all()
        if not running:
            self._end_all()
        return self._tell(waiting=False)

    def _hold(self) -> bool:
        """Wait for subscribers if that is wanted; False if stopped meanwhile."""
        while self._pace.wait and not all(self._sink.subscribers(bed.message.bed) for bed in self._beds):
            if self._stop():
                return False
            self._tell_in_time(waiting=True)
            self._clock.sleep(NAP_S / 2)
        return True

    def _send_all(self) -> bool:
        """Send everything when it is due; False if stopped before the end."""
        start = self._clock.now()
        while self._queue:
            due_s, i = self._queue[0]
            bed = self._beds[i]
            if not (self._until(start, due_s) and self._deliver(bed)):
                return False
            self._packets += isinstance(bed.message, Chunk)
            self._position_s = due_s
            if bed.advance():
                heapreplace(self._queue, (bed.due_s, i))
            else:
                heappop(self._queue)
            self._tell_in_time(waiting=False)
        return True

    def _until(self, start: float, due_s: float) -> bool:
        """Sleep until a packet is due; False if stopped."""
        if self._pace.speed is None:
            return not self._stop()
        due = start + due_s / self._pace.speed
        while (left := due - self._clock.now()) > 0:
            if self._stop():
                return False
            self._clock.sleep(min(left, NAP_S))
            self._tell_in_time(waiting=False)
        self._late_s = max(self._late_s, -left)
        return not self._stop()

    def _deliver(self, bed: _Bed) -> bool:
        """Send a bed's message, however long the sink has no room; False if stopped meanwhile."""
        while not self._send(bed.message):
            if self._stop():
                return False
            self._tell_in_time(waiting=False)
        return True

    def _send(self, message: Chunk | End) -> bool:
        """Send a message, and keep it for those whom it does not reach; False where the sink has no room."""
        stamped = replace(message, sent_s=self._clock.unix())
        if not self._sink.send(encode(stamped)):
            return False
        self._sink.keep(stamped)
        return True

    def _end_all(self) -> None:
        """End the beds that are still running where they stand. Nobody may be reading: each End is tried once."""
        self._sink.linger_s = min(self._sink.linger_s, STOPPED_LINGER_S)
        full = False
        for _, i in self._queue:
            end = self._beds[i].end
            full = full or not self._send(end)
            if full:
                self._sink.keep(end)

    def _tell_in_time(self, waiting: bool) -> None:
        if self._clock.now() - self._told >= STATUS_S:
            self._tell(waiting)

    def _tell(self, waiting: bool) -> Status:
        beds = [self._beds[i].message.bed for _, i in self._queue]
        subscribed = sum(self._sink.subscribers(bed) > 0 for bed in beds)
        status = Status(len(beds), subscribed, self._position_s, self._packets, 1000 * self._late_s, waiting)
        self._told = self._clock.now()
        self._late_s = 0.0
        self._status(status)
        return status


def _end_after(chunk: Chunk) -> End:
    return End(chunk.bed, chunk.run, chunk.first + len(chunk.counts), chunk.fs, chunk.sequence + 1)
