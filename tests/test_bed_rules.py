from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trial
from hypothesis import strategies as st
from support.alarmed import CALM, MadeBed, made, scores

from agent.alarms.alarm_tick import AlarmTick
from agent.alarms.bed_rules import BedAlarmRules
from agent.alarms.priorities import CONDITION_SPECS, WORSE_CONDITIONS
from agent.analysis.rhythm_windows import WindowScores
from agent.core.config import Config
from agent.core.messages import Alarm
from model.records.resample import FS

Step = tuple[str, Any]
STEPS = st.one_of(
    st.tuples(
        st.just("beats"), st.tuples(st.text("NNVSQF", min_size=1, max_size=12), st.sampled_from((0.3, 0.4, 0.8, 1.6)))
    ),
    st.tuples(st.just("quiet"), st.sampled_from((0.5, 3.0, 6.0, 20.0))),
    st.tuples(st.just("gap"), st.sampled_from((0.1, 1.0, 4.0, 15.0))),
    st.tuples(st.just("lead"), st.sampled_from(("ok", "lead off", "saturated"))),
    st.tuples(
        st.just("look"), st.tuples(st.sampled_from(("organised", "VT", "VF", "noise", "asystole")), st.just(0.97))
    ),
    st.tuples(st.just("amplitude"), st.sampled_from((0.1, 1.0))),
    st.tuples(st.just("jump"), st.sampled_from((0.0, 2.0))),
    st.tuples(st.just("likely V"), st.sampled_from((0.0, 0.3))),
    st.tuples(st.just("start"), st.sampled_from((0, 1000))),
    st.tuples(st.just("end"), st.none()),
    st.tuples(st.just("acknowledge"), st.none()),
    st.tuples(st.just("no data"), st.booleans()),
)
SCRIPTS = st.lists(STEPS, max_size=30)
many = trial(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def play(bed: MadeBed, script: list[Step], pieces: int = 1, clock: bool = True, first: int = 0) -> None:
    """Let a bed live through a script whose steps count from `first`.

    `pieces` in which gaps are told; `clock`: whether no data is told.
    """
    for number, (kind, what) in enumerate(script, first):
        if kind == "beats":
            bed.beats(*what)
        elif kind == "quiet":
            bed.quiet(what)
        elif kind == "gap":
            bed.gap(what, pieces)
        elif kind == "lead":
            bed.lead(what)
        elif kind == "look":
            bed.scores = scores(*what)
        elif kind == "amplitude":
            bed.amplitude_mv = what
        elif kind == "jump":
            bed.jump_mv = what
        elif kind == "likely V":
            bed.likely_v = what
        elif kind == "start":
            bed.start(f"run {number}", what)
        elif kind == "end":
            bed.end()
        elif kind == "acknowledge":
            bed.told += bed.rules.acknowledge(100.0 + number)
        elif clock:
            change = bed.rules.raise_by_clock if what else bed.rules.clear_by_clock
            bed.told += change("no data", bed.now + 300, 100.0)


def key(alarm: Alarm) -> tuple[str, str, int]:
    return alarm.run, alarm.condition, alarm.onset


def checked(told: list[Alarm]) -> dict[tuple[str, str, int], Alarm]:
    """The alarms as they stand after all that was told; fails where that makes no sense."""
    known: dict[tuple[str, str, int], Alarm] = {}
    for alarm in told:
        before = known.get(key(alarm))
        if before is None:
            assert alarm.acknowledged_s is None
            assert alarm.ended is None
            assert not [one for one in known.values() if one.condition == alarm.condition and one.ended is None]
            worse = [
                one
                for one in known.values()
                if one.ended is None and one.condition in WORSE_CONDITIONS[alarm.condition]
            ]
            assert not worse, "announced although a worse one of its chain was open"
        else:
            same = ("announced", "announced_s", "priority", "latching", "bed")
            assert all(getattr(before, name) == getattr(alarm, name) for name in same)
            assert before != alarm
            assert before.ended in (None, alarm.ended)
            assert before.acknowledged_s in (None, alarm.acknowledged_s)
        assert alarm.onset <= alarm.announced
        assert alarm.ended is None or alarm.announced <= alarm.ended
        assert alarm.latching == (CONDITION_SPECS[alarm.condition].priority == "high")
        assert alarm.text
        known[key(alarm)] = alarm
    return known


@many
@given(script=SCRIPTS)
def test_alarms_make_sense(settings: Config, script: list[Step]) -> None:
    """One open alarm a condition; each ends or is open; what is shown is what was told; all go at the end."""
    bed = made(settings)
    for at in range(len(script)):
        play(bed, script[at : at + 1], first=at)
        known = checked(bed.told)
        view = bed.rules.manager.view
        assert len({alarm.condition for alarm in view}) == len(view)
        assert all(alarm.shown and key(alarm) in known for alarm in view)
        assert {key(alarm) for alarm in view if alarm.ended is None} <= {
            key(alarm) for alarm in known.values() if alarm.ended is None
        }
        open_now = {alarm.condition for alarm in known.values() if alarm.ended is None}
        seen = {condition for condition in open_now if not WORSE_CONDITIONS[condition] & open_now}
        assert seen <= {alarm.condition for alarm in view}
        assert (bed.rules.manager.urgency > 0) == bool(view)
    bed.end()
    bed.told += bed.rules.acknowledge(1000.0)
    assert bed.rules.manager.view == ()
    assert not [alarm for alarm in checked(bed.told).values() if alarm.shown]


@many
@given(script=SCRIPTS, pieces=st.integers(2, 50))
def test_alarms_do_not_depend_on_the_pieces_of_a_gap(settings: Config, script: list[Step], pieces: int) -> None:
    """A gap is the same whole or in pieces."""
    beds = [made(settings), made(settings)]
    for bed, cut in zip(beds, (1, pieces), strict=True):
        play(bed, script, cut)
    assert beds[0].told == beds[1].told
    assert beds[0].shown == beds[1].shown


@many
@given(script=SCRIPTS)
def test_the_clock_changes_no_other_alarm(settings: Config, script: list[Step]) -> None:
    """What is told of the heart is the same whether data came in time or late."""
    beds = [made(settings), made(settings)]
    for bed, clock in zip(beds, (True, False), strict=True):
        play(bed, script, clock=clock)
    assert [alarm for alarm in beds[0].told if alarm.condition != "no data"] == beds[1].told


@many
@given(first=SCRIPTS, second=SCRIPTS)
def test_beds_do_not_disturb_each_other(settings: Config, first: list[Step], second: list[Step]) -> None:
    """Two beds, in turns, tell what each tells alone."""
    alone = [made(settings), made(settings)]
    together = [made(settings), made(settings)]
    for bed, script in zip(alone, (first, second), strict=True):
        play(bed, script)
    for at in range(max(len(first), len(second))):
        for bed, script in zip(together, (first, second), strict=True):
            play(bed, script[at : at + 1], first=at)
    assert [bed.told for bed in together] == [bed.told for bed in alone]


@pytest.fixture
def bed(settings: Config) -> MadeBed:
    return made(settings)


def arrest(bed: MadeBed) -> None:
    bed.beats("N" * 20, 0.8)
    bed.quiet(7)


def test_silence(bed: MadeBed) -> None:
    """For two minutes, or until it is taken back; what is shown stays."""
    arrest(bed)
    alarms = bed.rules
    assert alarms.manager.audible(50.0) == "high"
    alarms.silence(50.0)
    assert alarms.manager.silenced_until_s == 170.0
    assert [alarms.manager.audible(now_s) for now_s in (50.0, 169.9, 170.0)] == [None, None, "high"]
    assert "asystole" in bed.shown
    alarms.silence(60.0)
    assert (alarms.manager.audible(60.0), alarms.manager.silenced_until_s) == ("high", 0.0)
    alarms.silence(60.0)
    alarms.silence(300.0)
    assert alarms.manager.silenced_until_s == 420.0


def test_a_new_high_alarm_breaks_a_silence(bed: MadeBed) -> None:
    """A couplet does not, fibrillation does, at once."""
    bed.rules.silence(50.0)
    bed.beats("N" * 20 + "VVN", 0.8)
    bed.quiet(1.1)
    assert (bed.shown, bed.rules.manager.audible(60.0)) == (["couplet"], None)
    bed.scores = scores("VF")
    bed.quiet(5)
    assert bed.rules.manager.audible(60.0) == "high"


def test_acknowledge(bed: MadeBed) -> None:
    """An acknowledged alarm is shown, silent, until its end; a lesser one that was held back then sounds."""
    arrest(bed)
    (alarm,) = [alarm for alarm in bed.rules.acknowledge(77.0) if alarm.condition == "asystole"]
    assert (alarm.acknowledged_s, alarm.ended) == (77.0, None)
    assert bed.rules.acknowledge(78.0) == []
    assert (bed.shown, bed.rules.manager.audible(78.0)) == (["asystole"], None)
    bed.beats("N" * 24, 0.45)
    bed.quiet(1.1)
    assert bed.rules.manager.audible(78.0) == "medium"
    assert bed.shown == ["heart rate high"]


def test_what_is_latched_waits_for_a_person(bed: MadeBed) -> None:
    """An arrest that is over is shown and sounds until somebody has seen it."""
    arrest(bed)
    bed.beats("N" * 40, 0.8)
    assert (bed.shown, bed.rules.manager.audible(0.0), bed.rules.manager.rhythm) == (["asystole"], "high", "")
    assert bed.the("asystole").ended is not None
    bed.told += bed.rules.acknowledge(99.0)
    assert (bed.shown, bed.the("asystole").acknowledged_s) == ([], 99.0)


def test_a_bed_without_a_run_has_no_alarm(settings: Config) -> None:
    """The clock may find a bed silent that never began: that is said elsewhere."""
    rules = BedAlarmRules(settings.alarms, settings.rhythm.rate_intervals)
    assert rules.raise_by_clock("no data", 0, 1.0) == rules.clear_by_clock("no data", 0, 2.0) == []
    assert rules.acknowledge(3.0) == []


def test_looks_before_their_window_is_full_say_nothing(bed: MadeBed) -> None:
    """In the first seconds of a stretch there are no scores; other rules go on."""
    looks: list[Callable[[int], WindowScores | None]] = [lambda tick: WindowScores(0, tick), lambda _: None]
    for look in looks:
        bed.start("run", 0)
        told = [bed.rules.tick(AlarmTick(tick, -1, 0, look(tick)), 0.0) for tick in range(FS, 6 * FS, FS)]
        (alarm,) = [alarm for found in told for alarm in found]
        assert (alarm.condition, alarm.announced) == ("asystole", 5 * FS)


def test_times_are_stored_and_nothing_else(settings: Config) -> None:
    """Arrival times go into the alarm and change nothing of it."""
    found = []
    for at_s in (0.0, 1e9):
        rules = BedAlarmRules(settings.alarms, settings.rhythm.rate_intervals)
        rules.start("1", "run", 0)
        ticks = (AlarmTick(tick, -1, 0, WindowScores(0, tick, CALM, 1.0, None)) for tick in range(FS, 8 * FS, FS))
        found.append([alarm for tick in ticks for alarm in rules.tick(tick, at_s)])
    assert found[1] == [replace(alarm, announced_s=1e9) for alarm in found[0]]
    assert len(found[0]) == 1
