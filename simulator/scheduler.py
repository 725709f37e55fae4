"""Several beds in one process: which bed replays what, and when each packet is due.

A packet is due when its last sample has happened: at t0 + n / rate / speed, on a monotonic clock. The schedule never
moves: a bed that falls behind catches up, and rounding does not add up. The beds are spread over the packet period, so
that a ward is not sent in bursts, and begin within a second: what a monitor does once a second of a bed's signal, it
does of each at another time.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from agent.core.messages import Chunk, End
from agent.device.bundle_writer import P
from agent.device.packet_source import PacketSource
from agent.wire.packets import encode_frames
from agent.wire.record_chunks import number_repeated_name
from model.errors import ConfigError
from model.records.wfdb_records import embedded_records, find_record
from simulator.packet_schedule import PacketSchedule, ScheduledSource
from simulator.playback_control import PlaybackControl
from simulator.record_replay import RecordReplay, ReplayPlan
from simulator.recording_replay import RecordingReplay, is_recording_path, read_recorded_bed

STAGGER_S = 11.0
"""Beds of a ward start this far apart in their records ..."""
STAGGER_WITHIN_S = 600.0
"""... within this time."""
BEGIN_WITHIN_S = 0.8
"""Time within which the beds of a ward begin: no two devices were switched on in the same instant. A monitor admits any
number of names for a second."""
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

    def send_packets(self, packets: Sequence[P], sent_s: float) -> list[P]:
        """Send what is due together; return what there is no room for now."""
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
    """`speed` times real time, None as fast as it goes; `wait`: hold the first sample until every bed is subscribed.

    `control`: what may pause, move and speed up the replay; None for nothing.
    """

    speed: float | None
    wait: bool
    control: PlaybackControl | None = None

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


def spread_phases(beds: int, period_s: float, within_s: float) -> list[float]:
    """Return when each of many beds begins, in seconds, whose packets are `period_s` apart.

    They are spread over a period, and over the periods within `within_s`.
    """
    slots, periods = max(1, round(period_s / PHASE_SLOT_S)), max(1, int(within_s / period_s)) if period_s else 1
    return [(i * slots // beds / slots + i % periods) * period_s for i in range(beds)]


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
        self._control = pace.control or PlaybackControl([], pace.speed, clock.now)
        self._clock = clock
        self._stop = stop
        self._status = status
        within_s = 0.0 if pace.speed is None else BEGIN_WITHIN_S
        phases = spread_phases(len(sources), sources[0].packet_s if sources else 0.0, within_s)
        self._beds = [ScheduledSource(source, phase_s) for source, phase_s in zip(sources, phases, strict=True)]
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
        control = self._control
        control.start(self._clock.now())
        schedule = self._plan()
        while (instant := schedule.pop()) is not None:
            due_s, beds = instant
            if not self._sleep_until(due_s):
                return False
            if control.has_moves:
                if not self._move_beds():
                    return False
                schedule = self._plan()
                continue
            due = control.wall_s(due_s)
            if not self._deliver(beds, schedule):
                return False
            self._position_s = control.reached_s = due_s
            if control.speed is not None:
                self._late_s = max(self._late_s, self._clock.now() - due)
            self._report_if_due(waiting=False)
        return True

    def _plan(self) -> PacketSchedule:
        """Return the schedule of the beds that are still running."""
        schedule = PacketSchedule()
        for bed in self._running():
            schedule.add(bed)
        return schedule

    def _sleep_until(self, due_s: float) -> bool:
        """Sleep until what is due at `due_s` on the schedule is due, or a bed is to move; return False if stopped."""
        control = self._control
        while not control.has_moves and (left := control.wall_s(due_s) - self._clock.now()) > 0:
            if self._stop():
                return False
            self._clock.sleep(min(left, LONGEST_SLEEP_S))
            self._report_if_due(waiting=False)
        return not self._stop()

    def _move_beds(self) -> bool:
        """End the runs of the beds that are to move, and begin new ones elsewhere; return False if stopped meanwhile.

        What lies between is another time of the record: no interval between two beats reaches across it.
        """
        beds = {bed.message.bed: bed for bed in self._running()}
        for source, position_s in self._control.take_moves(self._clock.now()):
            if (bed := beds.get(source.bed)) is None:
                continue
            end = bed.end
            if end.sequence and not self._deliver_end(end):
                return False
            bed.move(source, position_s)
        return True

    def _deliver_end(self, end: End) -> bool:
        """Send the End of a run that is left, however long the sink has no room; return False if stopped meanwhile."""
        while True:
            sent = replace(end, sent_s=self._clock.unix())
            if self._sink.send(encode_frames(sent)):
                self._sink.keep(sent, 0, sent.sent_s)
                return True
            if self._stop():
                return False
            self._report_if_due(waiting=False)

    def _deliver(self, beds: list[ScheduledSource], schedule: PacketSchedule) -> bool:
        """Send what beds send next, however long the sink has no room; return False if stopped meanwhile."""
        while True:
            sent_s = self._clock.unix()
            left = self._sink.send_packets(beds, sent_s)
            waiting = set(left)
            for bed in beds:
                if bed in waiting:
                    continue
                self._sink.keep(bed.message, bed.stop, sent_s)
                self._packets += bed.stop > 0
                if bed.advance():
                    schedule.add(bed)
            if not left:
                return True
            if self._stop():
                return False
            beds = left
            self._report_if_due(waiting=False)

    def _end_all(self) -> None:
        """End the beds that are still running where they stand. Nobody may be reading, so each End is tried once."""
        self._sink.linger_s = min(self._sink.linger_s, STOPPED_LINGER_S)
        full = False
        for bed in self._running():
            end = replace(bed.end, sent_s=self._clock.unix())
            full = full or not self._sink.send(encode_frames(end))
            self._sink.keep(end, 0, end.sent_s)

    def _running(self) -> list[ScheduledSource]:
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
