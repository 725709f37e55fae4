"""simulator.playback_control, by the scheduler: pause, place and speed of a replay."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from test_scheduler import PLAN, Ear, Time

from agent.core.messages import Chunk, End
from agent.wire.requests import ReplayAction, ReplayReply, ReplayRequest
from simulator.playback_control import NO_CONTROL, PlaybackControl
from simulator.record_replay import ReplayPlan
from simulator.scheduler import PlaybackSpeed, ReplayStatus, open_replays, run_schedule

WHOLE = replace(PLAN, duration_s=None)


class Replayed:
    """A replay on a clock that only moves when somebody sleeps; `at` says what is asked of it when."""

    def __init__(self, *plans: ReplayPlan, speed: float | None = 1.0, until_s: float = 20.0) -> None:
        self.time = Time()
        self.sources = open_replays(plans or (WHOLE,), 40)
        self.control = PlaybackControl(self.sources, speed, self.time.clock.now)
        self.ear = Ear(self.time)
        self.replies: list[ReplayReply] = []
        self._asked: list[tuple[float, ReplayRequest]] = []
        self._until_s = until_s

    def at(self, seconds: float, action: ReplayAction, value: float = 0.0, bed: str = "") -> None:
        self._asked.append((1000 + seconds, ReplayRequest(id=1, action=action, value=value, bed=bed)))

    def play(self) -> ReplayStatus:
        pace = PlaybackSpeed(self.control.speed, False, self.control)
        return run_schedule(self.sources, self.ear, pace, self.time.clock, self._is_over, lambda _: None)

    def _is_over(self) -> bool:
        while self._asked and self._asked[0][0] <= self.time.now:
            self.replies.append(self.control.handle(self._asked.pop(0)[1]))
        return self.time.now >= 1000 + self._until_s

    def messages(self, bed: str = "100") -> list[tuple[float, Chunk | End]]:
        return [(at - 1000, message) for at, message in self.ear.of(bed)]


def test_a_pause_lasts_as_long_as_it_is_asked_for() -> None:
    """Nothing is sent while a replay is paused; then it goes on with the next sample, in the same run."""
    replay = Replayed(until_s=20)
    replay.at(4, "pause")
    replay.at(9, "resume")
    replay.play()
    chunks = [(at, message) for at, message in replay.messages() if isinstance(message, Chunk)]
    pauses = [(before[0], after[0]) for before, after in pairwise(chunks) if after[0] - before[0] > 0.5]
    assert len(pauses) == 1
    assert pauses[0][0] == pytest.approx(4, abs=0.11)
    assert pauses[0][1] == pytest.approx(9, abs=0.2)
    assert {message.run for _, message in chunks} == {chunks[0][1].run}
    assert all(one.first + len(one.counts) == other.first for (_, one), (_, other) in pairwise(chunks))
    assert chunks[-1][1].first / 125 == pytest.approx(15, abs=0.3)
    assert [reply.paused for reply in replay.replies] == [True, False]


@pytest.mark.parametrize(
    ("action", "value", "place"), [("seek", 60.0, 64.0), ("seek", -10.0, 0.0), ("jump", 1800.0, 1800.0)]
)
def test_a_move_is_a_new_run(action: ReplayAction, value: float, place: float) -> None:
    """The run ends after what was sent of it, and another one begins at once, at that place of the record."""
    replay = Replayed(until_s=6)
    replay.at(4, action, value)
    replay.play()
    messages = replay.messages()
    seam = next(i for i, (_, message) in enumerate(messages) if isinstance(message, End))
    (_, before), (end_s, end), (next_s, after) = messages[seam - 1 : seam + 2]
    assert isinstance(before, Chunk)
    assert isinstance(end, End)
    assert isinstance(after, Chunk)
    assert (end.run, end.first, end.sequence) == (before.run, before.first + len(before.counts), before.sequence + 1)
    assert after.run != end.run
    assert after.sequence == 0
    assert after.first / 125 == pytest.approx(place, abs=0.2)
    assert 0 <= next_s - end_s <= 0.05
    assert replay.replies[0].done
    assert replay.replies[0].position == pytest.approx(place, abs=0.2)


def test_the_samples_after_a_move_are_those_of_the_record() -> None:
    """What is sent from a place is what a replay sends that begins there."""
    moved, started = Replayed(until_s=8), Replayed(replace(WHOLE, start_s=300), until_s=5)
    moved.at(2, "jump", 300.0)
    moved.play()
    started.play()
    last = [message for _, message in moved.messages() if isinstance(message, Chunk) and message.first >= 37_500]
    straight = [message for _, message in started.messages() if isinstance(message, Chunk)]
    length = min(len(last), len(straight))
    assert length > 100
    np.testing.assert_array_equal(
        np.concatenate([chunk.counts for chunk in last[:length]]),
        np.concatenate([chunk.counts for chunk in straight[:length]]),
    )


def test_a_move_while_paused_waits() -> None:
    """A paused replay that is moved ends no run before it goes on: a monitor that waits for ends would leave."""
    replay = Replayed(until_s=12)
    replay.at(2, "pause")
    replay.at(4, "jump", 600.0)
    replay.at(6, "status")
    replay.at(8, "resume")
    replay.play()
    assert replay.replies[2].paused
    assert replay.replies[2].position == pytest.approx(600)
    end_s = next(at for at, message in replay.messages() if isinstance(message, End))
    assert end_s >= 8


@pytest.mark.parametrize("speed", [0.5, 4.0])
def test_another_speed(speed: float) -> None:
    """From when it is asked for, each second brings so many seconds of signal."""
    replay = Replayed(until_s=10)
    replay.at(2, "speed", speed)
    replay.play()
    sent = {round(at): (message.first / 125) for at, message in replay.messages() if isinstance(message, Chunk)}
    assert sent[8] - sent[4] == pytest.approx(4 * speed, abs=0.2 * speed + 0.2)


def test_each_bed_of_a_ward_moves_from_its_own_place() -> None:
    """A step moves all beds; a bed that is named moves alone; pause and speed are of all of them."""
    replay = Replayed(WHOLE, replace(WHOLE, record="208", bed="208", start_s=100), until_s=8)
    replay.at(2, "seek", 60.0)
    replay.at(4, "jump", 900.0, "208")
    replay.play()

    def starts(bed: str) -> list[float]:
        messages = [message for _, message in replay.messages(bed)]
        after = [two for one, two in pairwise(messages) if isinstance(one, End) and isinstance(two, Chunk)]
        return [chunk.first / 125 for chunk in after]

    assert starts("100") == [pytest.approx(62, abs=0.3)]
    assert starts("208") == [pytest.approx(162, abs=0.3), pytest.approx(900, abs=0.3)]


@pytest.mark.parametrize(
    ("action", "value", "bed", "reason"),
    [
        ("seek", 1e6, "", "is not within record 100, which is 30:06 long"),
        ("jump", 1806.0, "", "30:06 is not within record 100"),
        ("speed", 0.0, "", "speed 0: give 0.25 to 64 times real time"),
        ("speed", 1000.0, "", "speed 1000: give"),
        ("pause", 0.0, "7", "no bed '7' here"),
    ],
)
def test_what_makes_no_sense_is_refused(action: ReplayAction, value: float, bed: str, reason: str) -> None:
    """The reply says why nothing was done, and the replay goes on as before."""
    replay = Replayed(until_s=4)
    replay.at(2, action, value, bed)
    replay.play()
    (reply,) = replay.replies
    assert not reply.done
    assert reason in reply.reason
    assert [type(message) for _, message in replay.messages()].count(End) == 1
    assert replay.messages()[-1][1].first / 125 == pytest.approx(4, abs=0.2)


def test_a_replay_that_takes_no_orders_says_how_it_stands() -> None:
    """With simulate.control off, a request is refused, but a question answered."""
    control = Replayed().control
    refused = control.refuse(ReplayRequest(id=4, action="pause"))
    assert (refused.done, refused.reason, refused.paused) == (False, NO_CONTROL, False)
    told = control.refuse(ReplayRequest(id=5, action="status"))
    assert (told.done, told.id) == (True, 5)
    assert told.length == pytest.approx(1805.56)


def test_the_duration_counts_what_was_sent() -> None:
    """--duration is of signal sent, wherever in the record; without it a replay that moved goes on to the end."""
    limited = Replayed(replace(PLAN, duration_s=6), until_s=100)
    limited.at(2, "jump", 1000.0)
    assert limited.play().position_s == pytest.approx(6, abs=0.1)
    open_end = Replayed(WHOLE, until_s=100)
    open_end.at(2, "jump", 1795.0)
    assert open_end.play().position_s == pytest.approx(2 + 10.56, abs=0.2)


def test_a_loop_goes_on_from_the_place_of_a_move() -> None:
    """At the end of the record a looped replay begins again at 0, and says so."""
    replay = Replayed(replace(WHOLE, loop=True), until_s=12)
    replay.at(1, "jump", 1800.0)
    replay.at(11, "status")
    replay.play()
    runs = list(dict.fromkeys(message.run for _, message in replay.messages()))
    assert len(runs) == 3
    assert replay.replies[1].position == pytest.approx(10 - 5.56, abs=0.3)


def test_full_speed_can_be_paused_and_moved() -> None:
    """A replay as fast as possible has no other speed, but stops, and goes on elsewhere."""
    replay = Replayed(speed=None, until_s=10)
    replay.control.handle(ReplayRequest(id=1, action="pause"))
    replay.at(2, "jump", 1790.0)
    replay.at(3, "speed", 2.0)
    replay.at(4, "resume")
    replay.play()
    assert [reply.done for reply in replay.replies] == [True, False, True]
    assert replay.messages()[0][0] == pytest.approx(4, abs=0.2)
    assert replay.messages()[0][1].first == 1790 * 125


def test_a_replay_that_waits_for_a_monitor_stands_still() -> None:
    """Before its first sample a replay may be moved and paused; it begins there, at its own pace."""
    time = Time()
    sources = open_replays([WHOLE], 40)
    control = PlaybackControl(sources, 1.0, time.clock.now)
    ear = Ear(time, subscribed=lambda: int(time.now >= 1010))
    asked = [(1002.0, "pause", 0.0), (1004.0, "jump", 600.0), (1006.0, "resume", 0.0)]

    def over() -> bool:
        while asked and asked[0][0] <= time.now:
            _, action, value = asked.pop(0)
            reply = control.handle(ReplayRequest(id=1, action=action, value=value))  # type: ignore[arg-type]
            assert reply.position == value or action == "resume"
        return time.now >= 1013

    run_schedule(sources, ear, PlaybackSpeed(1.0, True, control), time.clock, over, lambda _: None)
    chunks = [(at, message) for at, message in ear.heard if isinstance(message, Chunk)]
    assert chunks[0][1].first == 600 * 125
    assert chunks[0][0] == pytest.approx(1010, abs=0.2)
    assert len(chunks) == pytest.approx(3 / 0.04, abs=5)
