"""A bed that is taken up where a store has it: nothing is told twice, and alarms go on under their onsets."""

from dataclasses import replace

import numpy as np
import pytest

from agent.core.messages import Alarm, Beat, Result, ResumePosition, Strip
from agent.monitor.catching_up import CatchingUp, ToldPosition
from agent.monitor.resumed_alarms import ResumedAlarms

FS = 250.0
TOLD = ToldPosition("r", told=25_000, next=50_500, fs=FS)
"""Told up to 200 s, received up to 202 s."""


def beat(sample: int, bed: str = "1", run: str = "r") -> Beat:
    return Beat(bed, sample, sample + 90, "N", (1.0, 0.0, 0.0, 0.0, 0.0), None, 0.0, run=run)


def alarm(onset: int, announced: int, ended: int | None = None, run: str = "r") -> Alarm:
    return Alarm("1", run, "heart rate high", "medium", "HR 134", onset, announced, 0.0, ended=ended)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (TOLD, ResumePosition("r", 20_000, FS, 25_000)),
        (ToldPosition("r", 5000, 11_000, FS), ResumePosition("r", 0, FS, 5000)),
        (ToldPosition("r", -1, 11_000, FS), ResumePosition("r", 0, FS, None)),
        # Nothing was told for long, as in asystole: no more is asked for than a device keeps
        (ToldPosition("r", 25_000, 250_000, FS), ResumePosition("r", 130_000, FS, 25_000)),
    ],
)
def test_from_where_the_device_sends_again(told: ToldPosition, expected: ResumePosition) -> None:
    """From two minutes before the latest told beat, of eight minutes at most."""
    assert told.resumed() == expected


def take(catching: CatchingUp, resumed: ResumedAlarms, results: list[Result], head: int, run: str = "r") -> object:
    return catching.take(results, resumed, lambda _bed: (run, head))


def test_told_beats_are_left_out() -> None:
    """Beats up to the latest told one, and the same beat a few samples later; those of other beds pass."""
    catching, resumed = CatchingUp({"1": TOLD}), ResumedAlarms()
    later = [beat(25_026), beat(10, bed="2")]
    assert take(catching, resumed, [beat(24_000), beat(25_000), beat(25_025), *later], 25_100) == (later, [])
    assert list(catching.beds) == ["1"]
    assert take(catching, resumed, [], 25_250) == ([], ["1"])
    assert not catching.beds


def test_alarms_wait_and_go_on_under_their_onsets() -> None:
    """What the analysis of the last minutes finds is compared with the log once that is over."""
    logged, over = alarm(24_000, 24_100), alarm(20_000, 20_100, ended=21_000)
    resumed = ResumedAlarms([logged, over], {"1": TOLD.stopped_at})
    catching = CatchingUp({"1": TOLD})
    again = alarm(24_200, 24_300)
    strip = Strip(again, "II", 23_000, np.zeros(3, np.float32))
    early = alarm(15_000, 15_100, ended=16_000)  # the log has no such: the two minutes were not enough to be sure
    assert take(catching, resumed, [early, again, strip], 24_400) == ([], [])
    told, ready = catching.take([], resumed, lambda _bed: ("r", TOLD.stopped_at))
    assert ready == ["1"]
    assert [item.alarm.onset for item in told if isinstance(item, Strip)] == [24_000]
    assert [item for item in told if isinstance(item, Alarm)] == []  # it is open there as it is here
    ended = replace(again, ended=26_000)
    assert take(catching, resumed, [ended], 26_100) == ([replace(logged, ended=26_000)], [])


def test_an_alarm_that_is_not_found_again_ends() -> None:
    """It ends where the telling stopped; only of beds that have caught up."""
    here, elsewhere = alarm(24_000, 24_100), replace(alarm(24_000, 24_100), bed="2")
    resumed = ResumedAlarms([here, elsewhere], {"1": TOLD.stopped_at, "2": TOLD.stopped_at})
    catching = CatchingUp({"1": TOLD, "2": TOLD})
    told, ready = catching.take([], resumed, lambda bed: ("r", 25_250 if bed == "1" else 20_000))
    assert (told, ready) == ([replace(here, ended=TOLD.stopped_at)], ["1"])


def test_another_run_has_nothing_to_catch_up() -> None:
    """The device has begun anew meanwhile: the old alarms end, what is found of the new run is told."""
    logged, new = alarm(24_000, 24_100), alarm(300, 400, run="s")
    resumed, catching = ResumedAlarms([logged], {"1": TOLD.stopped_at}), CatchingUp({"1": TOLD})
    first = beat(50, run="s")
    told, ready = catching.take([first, new], resumed, lambda _bed: ("s", 500))
    assert ready == ["1"]
    assert told == [first, replace(logged, ended=TOLD.stopped_at), new]


def test_a_bed_that_never_comes_waits() -> None:
    """Nothing of it is told, and nobody is told that it has caught up."""
    catching = CatchingUp({"1": TOLD})
    assert catching.take([], ResumedAlarms(), lambda _bed: ("", 0)) == ([], [])
    assert list(catching.beds) == ["1"]
