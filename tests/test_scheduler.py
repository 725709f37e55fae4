"""simulator.scheduler: several beds on one schedule."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from agent.core.messages import Chunk, End
from agent.device.bundle_writer import P, send_each
from agent.link.bed_admission import ADMIT_ALL_S
from agent.wire.packets import decode_frames
from model.errors import ConfigError, RecordError
from simulator.record_replay import ReplayPlan
from simulator.scheduler import (
    BEGIN_WITHIN_S,
    PlaybackSpeed,
    ReplayStatus,
    SchedulerClock,
    name_beds,
    open_replays,
    plan_ward,
    run_schedule,
    spread_phases,
)

PLAN = ReplayPlan(record="100", bed="100", start_s=0, duration_s=10, loop=False, noise=None, snr_db=6, seed=0)


class Time:
    """A clock that only moves when somebody sleeps; each sleep lasts `late` seconds longer than asked for."""

    def __init__(self, late: float = 0.0) -> None:
        self.now = 1000.0
        self.late = late
        self.clock = SchedulerClock(now=lambda: self.now, sleep=self.sleep, unix=lambda: 1e9 + self.now)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds + self.late


class Ear:
    """A sink that notes when each message came; `full` says whether there is no room, after so many messages."""

    def __init__(self, time: Time, subscribed: Callable[[], int] = lambda: 1) -> None:
        self.linger_s = 30.0
        self.heard: list[tuple[float, Chunk | End]] = []
        self.full: Callable[[int], bool] = lambda _: False
        self._time, self._subscribed = time, subscribed

    def send(self, frames: Sequence[bytes]) -> bool:
        if self.full(len(self.heard)):
            return False
        self.heard.append((self._time.now, decode_frames(frames)))
        return True

    def send_packets(self, packets: Sequence[P], sent_s: float) -> list[P]:
        return send_each(self.send, packets, sent_s)

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        pass

    def subscribed(self, beds: Iterable[str]) -> int:
        return len([bed for bed in beds if self._subscribed()])

    def of(self, bed: str) -> list[tuple[float, Chunk | End]]:
        return [(at, message) for at, message in self.heard if message.bed == bed]


def played(
    plans: Sequence[ReplayPlan], time: Time, speed: float | None = 1.0, **options: Any
) -> tuple[Ear, ReplayStatus]:
    ear = options.pop("ear", None) or Ear(time)
    pace = PlaybackSpeed(speed, options.get("wait", False))
    stop, status = options.get("stop", lambda: False), options.get("status", lambda _: None)
    return ear, run_schedule(open_replays(plans, 40), ear, pace, time.clock, stop, status)


@pytest.mark.parametrize("speed", [0.01, 1.0, 7.0])
def test_deadlines(speed: float) -> None:
    """Each packet is sent when its last sample has happened: at t0 + n / 125 Hz / speed."""
    time = Time()
    ear, _ = played([replace(PLAN, duration_s=2)], time, speed)
    for at, message in ear.heard:
        count = len(message.counts) if isinstance(message, Chunk) else 0
        assert at == pytest.approx(1000 + (message.first + count) / 125 / speed, abs=1e-6)


@pytest.mark.slow
def test_no_drift() -> None:
    """After ten minutes of sleeps that last too long, the schedule has not moved by a sample."""
    time = Time(late=0.003)
    ear, status = played([replace(PLAN, duration_s=600)], time)
    at, end = ear.heard[-1]
    assert end.first == 75_000
    assert 0 <= at - (1000 + 600) < 0.008
    assert status.late_ms <= 3.001
    assert replace(status, late_ms=0.0) == ReplayStatus(0, 0, 600.0, 15_000, 0.0, False)


def test_a_loop_keeps_its_pace() -> None:
    """Each bed of a looped ward ends its run at its own seam and goes on from sample 0 without a pause."""
    time = Time()
    plans = [replace(PLAN, bed=f"{i}", start_s=1804 + i / 2, loop=True) for i in range(2)]
    ear, _ = played(plans, time)
    for i in range(2):
        messages = ear.of(f"{i}")
        (seam, (seam_s, end), (next_s, first)) = next(
            (n, one, other) for n, (one, other) in enumerate(pairwise(messages)) if isinstance(one[1], End)
        )
        assert isinstance(first, Chunk)
        assert (end.first, first.first, first.sequence) == (225_695, 0, 0)
        assert first.run != end.run == messages[seam - 1][1].run
        assert seam_s == pytest.approx(messages[seam - 1][0], abs=1e-6)
        assert next_s - seam_s == pytest.approx(0.04)
        assert sum(len(message.counts) for _, message in messages if isinstance(message, Chunk)) == 1250
        assert [type(message) for _, message in messages].count(End) == 2


def test_catches_up() -> None:
    """After a pause of the whole process, what is overdue goes out at once and the schedule stays where it was."""
    time = Time()
    ear = Ear(time)

    def stop() -> bool:
        if len(ear.heard) == 25 and time.now < 1003:
            time.now += 2.0
        return False

    played([PLAN], time, ear=ear, stop=stop)
    at = [when - 1000 for when, _ in ear.heard]
    assert at[24] == pytest.approx(1.0)
    assert at[25] == pytest.approx(at[70], abs=1e-9)
    assert at[80] == pytest.approx(81 * 0.04)


def test_beds_are_spread() -> None:
    """Beds of a ward begin one packet after another, in turn within the packet period, each at its own steady pace."""
    time = Time()
    ear, _ = played([replace(PLAN, bed=f"{i}", duration_s=2) for i in range(4)], time)
    firsts = [ear.of(f"{i}")[0][0] - 1000 for i in range(4)]
    assert firsts == pytest.approx([0.04, 0.09, 0.14, 0.19])
    for i in range(4):
        times = [at for at, message in ear.of(f"{i}") if isinstance(message, Chunk)]
        assert np.diff(times) == pytest.approx(0.04)


def test_a_ward_begins_within_a_second() -> None:
    """As many beds in each tenth of a second; as many instants as before at which beds send."""
    phases = np.array(spread_phases(1000, 0.2, BEGIN_WITHIN_S))
    assert 0 <= phases.min() < phases.max() < BEGIN_WITHIN_S < ADMIT_ALL_S
    assert set(np.histogram(phases, 8, (0, BEGIN_WITHIN_S))[0]) == {125}
    assert len(set(np.round(phases % 0.2, 6) % 0.2)) == 20
    assert max(spread_phases(1000, 0.2, 0.0)) < 0.2
    assert spread_phases(1, 0.04, 1.0) == [0]


def test_order_at_full_speed() -> None:
    """At full speed nobody sleeps, and all beds advance together."""
    time = Time()
    ear, status = played([replace(PLAN, bed="a"), replace(PLAN, bed="b", start_s=100)], time, None)
    packets = [message.bed for _, message in ear.heard if isinstance(message, Chunk)]
    assert packets == ["a", "b"] * 250
    assert time.now == 1000
    assert status.packets == 500


def test_every_bed_ends() -> None:
    """Each bed sends all its packets in order and one End, whatever the lengths."""
    plans = [replace(PLAN, bed=f"{i}", duration_s=1 + i) for i in range(3)]
    ear, status = played(plans, Time())
    for plan in plans:
        messages = [message for _, message in ear.of(plan.bed)]
        assert [isinstance(message, End) for message in messages] == [False] * (len(messages) - 1) + [True]
        assert [message.sequence for message in messages] == list(range(len(messages)))
        assert messages[-1].first == 125 * (plan.duration_s or 0)
    assert len({message.run for _, message in ear.heard}) == 1
    assert status.beds == 0


def test_stamps() -> None:
    """Packets carry the wall clock's time of sending."""
    ear, _ = played([replace(PLAN, duration_s=1)], Time())
    assert all(message.sent_s == 1e9 + at for at, message in ear.heard)


def test_stop_ends_the_beds() -> None:
    """A stop ends each bed at the sample after its last one, soon, and the sink is not to linger."""
    time = Time()
    plans = [replace(PLAN, bed="a"), replace(PLAN, bed="b")]
    ear, status = played(plans, time, 0.1, stop=lambda: time.now > 1005)
    for bed in "ab":
        *chunks, (_, end) = ear.of(bed)
        assert isinstance(end, End)
        assert end.first == sum(len(chunk.counts) for _, chunk in chunks if isinstance(chunk, Chunk))
        assert end.sequence == len(chunks)
    assert time.now < 1005.2
    assert status.beds == 2
    assert ear.linger_s <= 3


def test_stop_while_full() -> None:
    """A stop is seen while a lossless sink has no room; the packet that found none is not counted as sent."""
    ear = Ear(Time())
    asked: list[bool] = []
    ear.full = lambda heard: heard == 10

    def stop() -> bool:
        asked.append(len(ear.heard) == 10)
        return sum(asked) > 5

    _, status = played([PLAN], Time(), None, ear=ear, stop=stop)
    assert len(ear.heard) == 10
    assert status.packets == 10


def test_waits_for_subscribers() -> None:
    """The first sample is held until every bed is subscribed, and the schedule starts then."""
    time = Time()
    ear = Ear(time, subscribed=lambda: int(time.now > 1003))
    told: list[ReplayStatus] = []
    played([PLAN], time, ear=ear, wait=True, status=told.append)
    assert ear.heard[0][0] == pytest.approx(1003.04, abs=0.06)
    assert told[0].waiting
    assert not told[-1].waiting


def test_stop_while_waiting() -> None:
    """Who is stopped while waiting ends without having sent a sample."""
    time = Time()
    ear = Ear(time, subscribed=lambda: 0)
    _, status = played([replace(PLAN, start_s=3)], time, ear=ear, wait=True, stop=lambda: time.now > 1002)
    assert [(type(message), message.first) for _, message in ear.heard] == [(End, 375)]
    assert status.packets == 0


def test_status() -> None:
    """The status comes twice a second and counts what was sent; lateness is the worst since the last one."""
    time = Time(late=0.002)
    told: list[ReplayStatus] = []
    played([replace(PLAN, bed="a"), replace(PLAN, bed="b")], time, status=told.append)
    assert len(told) == pytest.approx(21, abs=2)
    assert all(a.packets <= b.packets and a.position_s <= b.position_s for a, b in pairwise(told))
    assert told[3].subscribed == told[3].beds == 2
    assert 0 < max(status.late_ms for status in told) <= 2.001


@pytest.mark.parametrize("record", ["", ".", "/", "./", ".hea"])
def test_what_has_no_name_is_no_record(record: str) -> None:
    """A folder, or nothing at all, gives no bed without a name: it is refused as no record."""
    with pytest.raises(RecordError, match=r"^no record "):
        name_beds([record])


def test_bed_names() -> None:
    """Beds are called like their records, repeats get a number, and no two are called the same."""
    assert name_beds(["100", "101", "100", "100"]) == ["100", "101", "100-2", "100-3"]
    assert name_beds(["a/b/x1.hea", "x1"]) == ["x1", "x1-2"]
    assert name_beds(["100-2", "100", "100"]) == ["100-2", "100", "100-3"]


def test_spread() -> None:
    """A ward has all records in turn, each bed its own name, place and noise."""
    plans = plan_ward(100, replace(PLAN, start_s=60, seed=5))
    assert [plan.record for plan in plans[:3]] == ["100", "101", "102"]
    assert plans[48].record == "100"
    assert plans[48].bed == "100-2"
    assert len({plan.bed for plan in plans}) == len({plan.seed for plan in plans}) == 100
    assert len({(plan.record, plan.start_s) for plan in plans}) == 100
    assert all(60 <= plan.start_s < 660 for plan in plans)
    with pytest.raises(ConfigError, match="0 beds"):
        plan_ward(0, PLAN)
    with pytest.raises(ConfigError, match="give 1 to 10,000"):
        plan_ward(10**9, PLAN)


def test_shared_names_refused() -> None:
    """Two beds of one name are refused."""
    with pytest.raises(ConfigError, match="two beds are called '100'"):
        open_replays([PLAN, PLAN], 40)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_speed_refused(speed: float) -> None:
    """A speed is a number above 0."""
    with pytest.raises(ConfigError, match="speed"):
        PlaybackSpeed(speed, False)
