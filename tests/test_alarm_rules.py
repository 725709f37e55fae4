from dataclasses import replace
from pathlib import Path
from random import Random
from typing import get_args

import pytest
from support.alarmed import DECIDED, MadeBed, made, scores

from agent.alarms.priorities import CONDITION_SPECS, ECTOPY_CHAIN, RATE_CHAIN
from agent.core import config as configuration
from agent.core.config import Config
from agent.core.messages import AlarmCondition, Beat
from model.errors import ConfigError
from model.records.resample import FS

HOLD_S = 10


@pytest.fixture
def bed(settings: Config) -> MadeBed:
    return made(settings)


def seconds(samples: int | None) -> float:
    assert samples is not None
    return samples / FS


def test_an_ordinary_rhythm_has_no_alarm(bed: MadeBed) -> None:
    """Two minutes at 75 a minute, with an early beat now and then, are nothing to speak of."""
    bed.beats("NNNNNNNNNNSNNNNNNNNNNVNNNNNNNN" * 5, 0.8)
    assert bed.told == []
    assert (bed.shown, bed.rules.manager.urgency, bed.rules.manager.audible(0.0)) == ([], 0, None)


# asystole and pause


def test_asystole(bed: MadeBed) -> None:
    """No QRS for 4 s, and as long as an R peak may take to be known; it ends with two beats near each other."""
    bed.beats("N" * 20, 0.8)
    last = bed.peak
    bed.quiet(10)
    (alarm,) = bed.of("asystole")
    assert alarm.onset == last
    assert bed.the("pause").ended == alarm.announced
    assert 4.6 <= seconds(alarm.announced - last) <= 5.6
    assert (alarm.priority, alarm.latching, alarm.ended) == ("high", True, None)
    announced = next(alarm for alarm in bed.told if alarm.condition == "asystole")
    assert announced.text == f"no QRS for {seconds(alarm.announced - last):.1f} s"
    bed.beats("N", 0.8)
    bed.quiet(2)
    assert bed.the("asystole").ended is None
    bed.beats("NNN", 0.8)
    bed.quiet(1.1)
    assert bed.the("asystole").ended is not None
    assert bed.rules.manager.rhythm == ""


@pytest.mark.parametrize(
    ("pause_s", "is_asystole"), [(3.9, False), (3.992, False), (4.0, True), (4.5, True), (5.7, True)]
)
def test_asystole_is_four_seconds(bed: MadeBed, pause_s: float, is_asystole: bool) -> None:
    """An R peak that may still be found is waited for; what it ends is said all the same."""
    bed.beats("N" * 20, 0.8)
    bed.beats("NNN", pause_s)
    assert ("asystole" in bed.conditions) == is_asystole
    assert ("pause" in bed.conditions) >= (not is_asystole)


def test_asystole_from_the_start(bed: MadeBed) -> None:
    """A bed on which there never was a beat is in asystole 4 s after its start."""
    bed.quiet(7)
    assert bed.the("asystole").onset == 0
    assert 4.6 <= seconds(bed.the("asystole").announced) <= 5.6


def test_peaks_that_are_no_beats_do_not_hide_an_asystole(bed: MadeBed) -> None:
    """P waves or pacing spikes that the detector takes and the net rejects are no QRS: asystole within 7 s."""
    bed.beats("N" * 20, 0.8)
    last = bed.peak
    for _ in range(12):
        bed.candidates.append(bed.now + 50)
        bed.quiet(0.8)
    alarm = bed.the("asystole")
    assert 6 <= seconds(alarm.announced - last) <= 7
    assert alarm.onset == last


def test_a_rejected_peak_does_not_delay_an_asystole(bed: MadeBed) -> None:
    """One R peak that the net calls no beat, three seconds after the last one, delays the alarm by no second."""
    bed.beats("N" * 20, 0.8)
    last = bed.peak
    bed.candidates.append(last + 3 * FS)
    bed.quiet(7)
    alarm = bed.the("asystole")
    assert alarm.onset == last
    assert 4.6 <= seconds(alarm.announced - last) <= 5.6


@pytest.mark.parametrize(("jump_mv", "earliest_s"), [(1.4, 4.6), (1.5, 10.6)])
def test_asystole_after_a_jump_of_the_baseline_waits(bed: MadeBed, jump_mv: float, earliest_s: float) -> None:
    """An amplifier that recovers from a jump shows nothing for some seconds: the alarm comes six seconds later."""
    bed.beats("N" * 20, 0.8)
    last = bed.peak
    bed.jump_mv = jump_mv
    bed.quiet(4)
    bed.jump_mv = 0.0
    bed.quiet(9)
    alarm = bed.the("asystole")
    assert alarm.onset == last
    assert earliest_s <= seconds(alarm.announced - last) <= earliest_s + 1


@pytest.mark.parametrize("jump_mv", [0.0, 1.5])
def test_a_silence_that_a_beat_ends_after_a_jump_is_no_asystole(bed: MadeBed, jump_mv: float) -> None:
    """Nine seconds without a beat are an asystole, but not behind a jump of the baseline."""
    bed.beats("N" * 20, 0.8)
    bed.jump_mv = jump_mv
    bed.quiet(9)
    bed.beats("NNN", 0.8)
    assert ("asystole" in bed.conditions) == (jump_mv == 0)


def test_beats_that_the_net_brought_back_are_beats(bed: MadeBed) -> None:
    """What the detector did not accept and the net confirmed is a QRS."""
    bed.beats("N" * 20, 0.8)
    bed.beats("N" * 20, 0.8, accepted=False)
    assert bed.told == []


@pytest.mark.parametrize(("amplitude_mv", "is_asystole"), [(0.15, False), (0.149, True)])
def test_low_deflections_are_no_qrs(bed: MadeBed, amplitude_mv: float, is_asystole: bool) -> None:
    """Beats in a signal below 0.15 mV from peak to peak do not count, and do not end it."""
    bed.beats("N" * 20, 0.8)
    bed.amplitude_mv = amplitude_mv
    bed.beats("N" * 10, 0.8)
    assert ("asystole" in bed.conditions) == is_asystole
    if is_asystole:
        assert bed.the("asystole").text.startswith("no QRS over 0.15 mV for ")
        assert bed.the("asystole").ended is None
        bed.amplitude_mv = 0.3
        bed.beats("N" * 4, 0.8)
        assert bed.the("asystole").ended is None
        bed.beats("N" * 4, 0.8)
        assert bed.the("asystole").ended is not None


def test_what_may_be_fibrillation_or_noise_is_asystole_a_little_later(bed: MadeBed) -> None:
    """Doubt delays asystole by 4 s and no more."""
    bed.beats("N" * 20, 0.8)
    last = bed.peak
    bed.scores, bed.amplitude_mv = scores("noise", 0.6), 0.29
    bed.quiet(12)
    assert 8.6 <= seconds(bed.the("asystole").announced - last) <= 9.6


def test_noise_as_high_as_the_beats_hides_them(bed: MadeBed) -> None:
    """In noise of a third of the height of the beats no silence is an asystole, ended by a beat or not."""
    bed.beats("N" * 20, 0.8)
    bed.scores, bed.amplitude_mv = scores("noise", 0.6), 0.31
    bed.quiet(9)
    bed.beats("N", 0.8)
    bed.quiet(15)
    assert bed.conditions == {"noise", "pause"}  # the pause from before it was known that the noise goes on
    bed.scores, bed.amplitude_mv = scores(), 0.2
    bed.quiet(25)
    assert "asystole" in bed.conditions


def test_fibrillation_is_no_asystole(bed: MadeBed) -> None:
    """Where the ventricles fibrillate there is no QRS, and that is not called asystole too."""
    bed.beats("N" * 20, 0.8)
    bed.scores = scores("VF")
    bed.quiet(30)
    assert "asystole" not in bed.conditions
    bed.scores = scores("asystole")
    bed.quiet(14)
    assert bed.shown == ["asystole", "ventricular fibrillation"]
    assert bed.rules.manager.rhythm == "asystole"
    bed.scores = scores("VF")
    bed.quiet(4)
    assert bed.the("asystole").ended == bed.of("ventricular fibrillation")[1].announced


@pytest.mark.parametrize(("rr_s", "is_pause"), [(2.496, False), (2.504, True)])
def test_pause(bed: MadeBed, rr_s: float, is_pause: bool) -> None:
    """An RR interval over 2.5 s, shown for ten seconds."""
    bed.beats("N" * 20, 0.8)
    before = bed.peak
    bed.beats("N", rr_s)
    bed.beats("N" * 20, 0.8)
    assert bed.conditions == ({"pause"} if is_pause else set())
    if is_pause:
        alarm = bed.the("pause")
        assert (alarm.onset, alarm.priority, alarm.text) == (before, "medium", "RR 2.50 s > 2.5 s")
        assert alarm.announced == before + round(rr_s * FS) + DECIDED
        assert alarm.ended == alarm.announced + HOLD_S * FS


def test_a_pause_is_told_while_it_lasts(bed: MadeBed) -> None:
    """After 3.1 s without a QRS it is known, before the beat that ends it; the two are one alarm."""
    bed.beats("N" * 20, 0.8)
    before = bed.peak
    bed.quiet(4.2)
    bed.beats("N" * 3, 0.8)
    alarm = bed.the("pause")
    assert alarm.onset == before
    assert 3.1 <= seconds(alarm.announced - before) <= 4.1
    assert alarm.text == f"no QRS for {seconds(alarm.announced - before):.1f} s"


# heart rate


def shown_rate(settings: Config, rates: list[float]) -> MadeBed:
    """A bed whose shown rate after each beat, one every second, is given."""
    bed = made(settings)
    for beat, rate in enumerate(rates, 1):
        peak = beat * FS
        one = Beat("1", peak, peak + DECIDED, "N", (1.0, 0.0, 0.0, 0.0, 0.0), 1.0, 0.0, rate)
        bed.told += bed.rules.beat(one, 0.0)
    return bed


@pytest.mark.parametrize(
    ("rate", "condition", "text"),
    [
        (119.9, None, ""),
        (120.0, None, ""),
        (120.1, "heart rate high", "HR 121 > 120"),
        (134.0, "heart rate high", "HR 134 > 120"),
        (140.0, "heart rate high", "HR 140 > 120"),
        (140.1, "extreme tachycardia", "HR 141 > 140"),
        (50.1, None, ""),
        (50.0, None, ""),
        (49.9, "heart rate low", "HR 49 < 50"),
        (40.0, "heart rate low", "HR 40 < 50"),
        (39.9, "extreme bradycardia", "HR 39 < 40"),
    ],
)
def test_rate_limits(settings: Config, rate: float, condition: AlarmCondition | None, text: str) -> None:
    """Over a limit there is an alarm, at it there is none; of a chain only the worst is announced."""
    bed = shown_rate(settings, [80.0] * 5 + [rate])
    assert bed.conditions == ({condition} if condition else set())
    if condition:
        alarm = bed.the(condition)
        assert (alarm.text, alarm.onset, alarm.announced) == (text, 6 * FS, 6 * FS + DECIDED)
        assert alarm.priority == CONDITION_SPECS[condition].priority


@pytest.mark.parametrize(
    ("high", "low", "rate", "condition"),
    [
        (190.0, 50.0, 200.5, "extreme tachycardia"),
        (190.0, 50.0, 199.5, "heart rate high"),
        (250.0, 50.0, 240.0, None),
        (250.0, 50.0, 251.0, "extreme tachycardia"),
        (120.0, 35.0, 29.5, "extreme bradycardia"),
        (120.0, 35.0, 30.5, "heart rate low"),
        (120.0, 25.0, 27.0, None),
        (120.0, 25.0, 24.0, "extreme bradycardia"),
    ],
)
def test_extreme_limits_are_bounded(
    settings: Config, high: float, low: float, rate: float, condition: AlarmCondition | None
) -> None:
    """Extreme is 20 above, though from 200 on, and 10 below, though from 30 on; never inside the other limit."""
    own = configuration.override_config(settings, "alarms", rate_high_bpm=high, rate_low_bpm=low)
    assert shown_rate(own, [80.0] * 5 + [rate]).conditions == ({condition} if condition else set())


def test_a_rate_alarm_does_not_flap(settings: Config) -> None:
    """It ends once the rate has been 5 below the limit for ten seconds, or at once beyond the other limit."""
    bed = shown_rate(settings, [80.0] * 5 + [121.0] + ([119.0] * 20 + [114.9] * 9 + [115.0]) * 2)
    assert bed.the("heart rate high").ended is None
    bed = shown_rate(settings, [80.0] * 5 + [121.0, 115.0] + [114.9] * 12)
    assert bed.the("heart rate high").ended == (7 + 10) * FS + DECIDED
    bed = shown_rate(settings, [80.0] * 5 + [121.0] + [114.9] * 12 + [120.5])
    assert [alarm.ended is None for alarm in bed.of("heart rate high")] == [False, True]
    bed = shown_rate(settings, [80.0] * 5 + [45.0, 90.0, 130.0])
    assert bed.shown == ["heart rate high"]
    assert bed.the("heart rate low").ended == 8 * FS + DECIDED


@pytest.mark.parametrize(
    ("rr_s", "condition"),
    [
        (0.488, "heart rate high"),
        (0.44, "heart rate high"),
        (0.3, "extreme tachycardia"),
        (1.5, "heart rate low"),
        (1.248, "heart rate low"),
        (2.0, "extreme bradycardia"),
        (2.4, "extreme bradycardia"),
    ],
)
def test_rate_steps(bed: MadeBed, rr_s: float, condition: AlarmCondition) -> None:
    """IEC 60601-2-27: from 80 a minute at once beyond a limit, the alarm is there within 10 s."""
    bed.beats("N" * 40, 0.75)
    changed = bed.now
    bed.beats("N" * round(20 / rr_s), rr_s)
    first = min(alarm.announced for alarm in bed.told)
    assert 0 < seconds(first - changed) <= 10
    assert condition in bed.conditions
    assert seconds(bed.the(condition).announced - changed) <= 10


def test_after_a_start_rates_are_waited_for(bed: MadeBed) -> None:
    """Four RR intervals must be known: one short one is no tachycardia."""
    bed.beats("NNNN", 0.4)
    bed.gap(1)
    bed.beats("NNNN", 0.4)
    bed.quiet(1.1)
    assert bed.told == []
    bed.gap(1)
    bed.beats("NNNNN", 0.4)
    bed.quiet(1.1)
    assert bed.conditions == {"extreme tachycardia"}


def test_noise_at_the_start_has_no_rate(bed: MadeBed) -> None:
    """What is found in the noise of a lead that is put on is no rate; what comes 12 intervals after it is one."""
    bed.scores = scores("noise")
    bed.beats("N" * 20, 0.3)
    bed.scores = scores()
    bed.beats("N" * 40, 0.8)
    assert bed.told == []
    bed.scores = scores("noise")
    bed.beats("N" * 20, 0.3)
    bed.scores = scores()
    bed.beats("N" * 20, 0.4)
    assert "extreme tachycardia" in bed.conditions


# V beats


@pytest.mark.parametrize(
    ("count", "condition", "text"),
    [
        (1, None, ""),
        (2, "couplet", "2 V beats in a row at 119/min"),
        (3, "V run", "V beats in a row: 3 at 119/min"),
        (4, "V run", "V beats in a row: 4 at 119/min"),
        (5, "ventricular tachycardia", "V beats in a row: 5 at 119/min"),
        (9, "ventricular tachycardia", "V beats in a row: 9 at 119/min"),
    ],
)
def test_runs(bed: MadeBed, count: int, condition: AlarmCondition | None, text: str) -> None:
    """Two are a couplet, three and four a run, five at 100 a minute or more tachycardia."""
    bed.beats("N" * 20, 0.8)
    first = bed.peak + 63
    bed.beats("V" * count, 0.504)
    bed.beats("N" * 30, 0.8)
    assert bed.conditions - {"V run"} == ({condition} if condition else set()) - {"V run"}
    assert ("V run" in bed.conditions) == (count >= 3)
    if condition:
        alarm = bed.the(condition)
        assert (alarm.text, alarm.onset) == (text, first)
        known = {"couplet": 63 + 100, "V run": 2 * 63, "ventricular tachycardia": 4 * 63}[condition]
        assert alarm.announced == first + known + DECIDED
        last = first + 63 * (count - 1)
        end = last + 3 * 100 if condition == "ventricular tachycardia" else last + HOLD_S * FS
        assert alarm.ended == end + DECIDED + (100 if condition == "couplet" else 0)
        assert alarm.latching == (condition == "ventricular tachycardia")


@pytest.mark.parametrize(("rr_s", "condition"), [(0.6, "ventricular tachycardia"), (0.608, "V run")])
def test_tachycardia_is_fast(bed: MadeBed, rr_s: float, condition: AlarmCondition) -> None:
    """A row of V beats at under 100 a minute is a run."""
    bed.beats("N" * 20, 0.8)
    bed.beats("V" * 10, rr_s)
    bed.quiet(1.1)
    assert bed.shown == [condition]
    assert bed.the(condition).ended is None


def test_a_run_that_becomes_tachycardia_ends(bed: MadeBed) -> None:
    """The run ends where tachycardia is announced; one that slows goes on as a run with an onset of its own."""
    bed.beats("N" * 20, 0.8)
    bed.beats("V" * 8, 0.4)
    bed.quiet(1.1)
    assert bed.the("V run").ended == bed.the("ventricular tachycardia").announced
    bed.beats("V" * 8, 0.8)
    bed.quiet(1.1)
    assert bed.the("ventricular tachycardia").ended is not None
    runs = bed.of("V run")
    assert [alarm.ended is None for alarm in runs] == [False, True]
    assert runs[0].onset < runs[1].onset


def test_one_capture_does_not_end_tachycardia(bed: MadeBed) -> None:
    """A single beat that is not V amid tachycardia makes no second alarm."""
    bed.beats("N" * 20, 0.8)
    bed.beats("VVVVVVNVVVVVVNNVVVVVV", 0.4)
    bed.beats("N" * 5, 0.8)
    assert bed.the("ventricular tachycardia").ended is not None


def test_a_burst_of_couplets_is_one_alarm(bed: MadeBed) -> None:
    """Couplets that come within ten seconds of each other are one alarm, which ends ten seconds after the last."""
    bed.beats("N" * 20, 0.8)
    for _ in range(4):
        bed.beats("NVVN", 0.6)
        bed.beats("NNN", 0.8)
    last = bed.peak - 3 * 100  # the N that ended the last couplet
    bed.beats("N" * 16, 0.8)
    alarm = bed.the("couplet")
    assert alarm.ended == last + DECIDED + HOLD_S * FS


@pytest.mark.parametrize(("cycle", "condition"), [("NV", "bigeminy"), ("NNV", "trigeminy")])
def test_bigeminy_and_trigeminy(bed: MadeBed, cycle: str, condition: AlarmCondition) -> None:
    """Three cycles in a row, until ten seconds after the last."""
    bed.beats("N" * 20, 0.8)
    bed.beats(cycle * 2, 0.8)
    bed.beats("N" * 15, 0.8)
    assert condition not in bed.conditions
    first = bed.peak + len(cycle) * 100
    bed.beats(cycle * 4, 0.8)
    last = bed.peak
    assert bed.rules.manager.rhythm == condition
    bed.beats("N" * 15, 0.8)
    alarm = bed.the(condition)
    assert (alarm.onset, alarm.announced) == (first, first + 2 * len(cycle) * 100 + DECIDED)
    assert alarm.text == f"every {'second' if cycle == 'NV' else 'third'} beat is V"
    assert alarm.ended == last + DECIDED + HOLD_S * FS
    assert bed.conditions <= {condition, "V rate high"}


def test_r_on_t(bed: MadeBed) -> None:
    """A V beat before a third of the mean RR interval with a pause after it, or a second one within five minutes."""
    bed.beats("N" * 20, 1.0)
    bed.beats("V", 0.328)
    early = bed.peak
    bed.beats("N", 1.672)
    bed.beats("N" * 5, 1.0)
    alarm = bed.the("R-on-T")
    assert (alarm.onset, alarm.announced, alarm.text) == (early, early + 209 + DECIDED, "V beat on the T wave")


def test_r_on_t_without_a_pause_must_come_twice(bed: MadeBed) -> None:
    """One without a pause after it is nothing, and a V beat after a third of the interval is none either."""
    bed.beats("N" * 20, 1.0)
    for rr_s, times in ((0.344, 2), (0.328, 1)):
        for _ in range(times):
            bed.beats("V", rr_s)
            bed.beats("N" * 13, 1.0)
    assert bed.conditions == set()
    bed.beats("V", 0.328)
    bed.beats("N" * 5, 1.0)
    assert bed.conditions == {"R-on-T"}


@pytest.mark.parametrize(("every", "is_much"), [(8, False), (7, True)])
def test_v_rate(bed: MadeBed, every: int, is_much: bool) -> None:
    """More than ten V beats in a minute; over once the last minute holds no more than seven."""
    bed.beats(("N" * (every - 1) + "V") * 20, 0.75)
    assert bed.conditions == ({"V rate high"} if is_much else set())
    if is_much:
        last = bed.peak
        alarm = bed.the("V rate high")
        assert (alarm.onset, alarm.text) == (7 * 94, "V beats in a minute: over 10")
        assert alarm.announced == alarm.onset * 11 + DECIDED
        bed.beats("N" * 90, 0.75)
        assert bed.the("V rate high").ended == last - 7 * 7 * 94 + 60 * FS


def test_atrial_fibrillation(bed: MadeBed) -> None:
    """Normal RR intervals that are irregular for a minute, until they are regular again."""
    bed.beats("N" * 60, 0.8)
    begins = bed.now
    chance = Random(1)
    for _ in range(120):
        bed.beats("N", chance.uniform(0.5, 1.1))
    alarm = bed.the("atrial fibrillation")
    assert (alarm.priority, alarm.latching) == ("medium", False)
    assert 20 < seconds(alarm.announced - begins) < 90
    assert alarm.text == f"RR irregular for {seconds(alarm.announced - alarm.onset):.0f} s"
    assert bed.rules.manager.rhythm == "AF"
    bed.beats("N" * 100, 0.8)
    assert bed.the("atrial fibrillation").ended is not None
    assert bed.conditions == {"atrial fibrillation"}


@pytest.mark.parametrize("doubt", ["noisy windows", "beats that may be V", "no QRS over 0.15 mV", "fibrillation"])
def test_irregular_beats_in_doubt_are_no_atrial_fibrillation(bed: MadeBed, doubt: str) -> None:
    """What is found in noise, unsure, or during an arrest, has no RR intervals that count."""
    bed.beats("N" * 20, 0.8)
    chance = Random(1)
    bed.likely_v = 0.16 if doubt == "beats that may be V" else 0.0
    bed.amplitude_mv = 0.14 if doubt.startswith("no QRS") else 1.0
    for beat in range(200):
        noisy = doubt == "noisy windows" and beat % 4
        bed.scores = scores("VF" if doubt == "fibrillation" else "noise" if noisy else "organised", 0.6)
        bed.beats("N", chance.uniform(0.5, 1.1))
    assert "atrial fibrillation" not in bed.conditions


@pytest.mark.parametrize("lag", [0, 2], ids=["one lead", "another lead shows R peaks later"])
@pytest.mark.parametrize(("rr_s", "is_extreme"), [(1.49, False), (1.51, True)])
def test_five_slow_beats_are_extreme_bradycardia(bed: MadeBed, rr_s: float, is_extreme: bool, lag: int) -> None:
    """Five beats in a row under 40 a minute on average are alarmed at the fifth R peak, before it has a class."""
    bed.lag = lag
    bed.beats("N" * 20, 0.92)
    first = bed.peak
    bed.beats("NNNN", rr_s)
    fifth = bed.peak
    bed.quiet(1)
    assert ("extreme bradycardia" in bed.conditions) == is_extreme
    if is_extreme:
        alarm = bed.the("extreme bradycardia")
        assert alarm.onset == first
        assert 0 < alarm.announced - fifth < DECIDED


def test_a_pause_in_a_rhythm_of_fifty_is_no_bradycardia(bed: MadeBed) -> None:
    """Each of the intervals must be slow: one long pause amid others that are not makes no bradycardia."""
    bed.beats("N" * 20, 1.15)
    bed.beats("N", 2.7)
    bed.beats("N" * 10, 1.15)
    assert "extreme bradycardia" not in bed.conditions


# the waveform


@pytest.mark.parametrize(
    ("kind", "condition", "lasts_s", "ends_s"),
    [("VF", "ventricular fibrillation", 2, 10), ("VT", "ventricular tachycardia", 3, 6)],
)
def test_waveform(bed: MadeBed, kind: str, condition: AlarmCondition, lasts_s: int, ends_s: int) -> None:
    """What every look says for long enough is alarmed, VT once beats are not N, and is over some seconds after."""
    bed.beats("N" * 40, 0.75)  # 30 s
    bed.scores = scores(kind)
    bed.beats("Q" * 13, 0.75)
    alarm = bed.the(condition)
    assert alarm.onset == (31 - 3) * FS
    assert alarm.announced == (31 + lasts_s) * FS
    assert (alarm.priority, alarm.latching) == ("high", True)
    assert alarm.text.endswith(f" for {3 + lasts_s}.0 s")
    last = bed.now // FS
    bed.scores = scores()
    bed.beats("N" * 20, 0.75)
    assert bed.the(condition).ended == (last + ends_s) * FS


@pytest.mark.parametrize(
    ("kind", "looks", "is_alarm"),
    [
        ("VF", "##.##.##.", False),
        ("VF", "#.###", True),
        ("VF", "###", True),
        ("VT", "#.#.#..#", False),
        ("VT", "#.##", True),
        ("VT", "##", True),
    ],
)
def test_so_many_looks_of_the_latest_few(bed: MadeBed, kind: str, looks: str, is_alarm: bool) -> None:
    """Fibrillation is three looks in a row, tachycardia two."""
    bed.beats("N" * 20 + "Q" * 6, 0.8)
    for look in looks:
        bed.scores = scores(kind if look == "#" else "organised")
        bed.quiet(1)
    found = bed.conditions & {"ventricular fibrillation", "ventricular tachycardia"}
    assert found == ({"ventricular fibrillation" if kind == "VF" else "ventricular tachycardia"} if is_alarm else set())


def test_what_is_either_is_tachycardia(bed: MadeBed) -> None:
    """Where the judge wavers between the two the lesser is alarmed; what it calls fibrillation leaves none behind."""
    bed.scores = (0.02, 0.67, 0.29, 0.01, 0.01)
    bed.beats("Q" * 20, 0.8)
    assert bed.conditions == {"ventricular tachycardia"}
    bed = made(bed.config)
    bed.scores = scores("VF")
    bed.beats("Q" * 20, 0.8)
    bed.scores = (0.5, 0.2, 0.25, 0.03, 0.02)
    bed.beats("N" * 20, 0.8)
    assert bed.conditions == {"ventricular fibrillation"}


def test_a_new_run_does_not_go_on_with_the_fibrillation_of_the_old_one(bed: MadeBed) -> None:
    """What would keep an alarm does not begin one."""
    bed.scores = scores("VF")
    bed.quiet(20)
    bed.start("second", 0)
    bed.scores = (0.71, 0.0, 0.28, 0.01, 0.0)
    bed.beats("N" * 10, 0.8)
    assert [alarm.run for alarm in bed.of("ventricular fibrillation")] == ["run"]


def test_a_slow_waveform_is_no_tachycardia(bed: MadeBed) -> None:
    """A waveform of VT that repeats less than a hundred times a minute is none."""
    bed.scores, bed.rate = scores("VT"), 90.0
    bed.beats("Q" * 20, 0.67)
    assert bed.told == []
    bed.rate = 150.0
    bed.beats("Q" * 20, 0.67)
    assert bed.conditions == {"ventricular tachycardia"}


def test_both_ways_to_tachycardia_make_one_alarm(bed: MadeBed) -> None:
    """Beats that end it do not where the waveform is still that of VT."""
    bed.beats("N" * 20, 0.8)
    bed.scores = scores("VT")
    bed.beats("V" * 20, 0.4)
    bed.beats("N" * 10, 0.4)
    assert bed.the("ventricular tachycardia").ended is None
    bed.scores = scores()
    bed.beats("N" * 20, 0.8)
    assert bed.the("ventricular tachycardia").ended is not None


# what keeps the monitor from seeing


def test_lead_off(bed: MadeBed) -> None:
    """A lead that is off is a technical alarm; there is no asystole, and time begins anew when it is back."""
    bed.beats("N" * 20, 0.8)
    bed.lead("lead off")
    since = bed.now
    bed.quiet(30)
    assert bed.conditions == {"lead off"}
    assert (bed.the("lead off").onset, bed.the("lead off").announced) == (since, since)
    assert bed.the("lead off").priority == "medium"
    bed.lead("saturated")
    assert bed.shown == ["saturated"]
    bed.quiet(5)
    bed.lead("ok")
    back = bed.now
    assert (bed.shown, bed.the("saturated").ended) == ([], back)
    bed.quiet(7)
    assert bed.the("asystole").onset == back


def test_gaps(settings: Config) -> None:
    """Three gaps in a minute, or five seconds missing, are alarmed until a minute after the last gap."""
    bed = made(settings)
    bed.beats("N" * 20, 0.8)
    for _ in range(2):
        bed.gap(0.4)
        bed.beats("N" * 10, 0.8)
    assert bed.told == []
    bed.gap(0.4)
    over = bed.now
    alarm = bed.the("gaps")
    assert (alarm.text, alarm.priority, alarm.announced) == ("3 gaps in 60 s", "low", over - 50)
    bed.beats("N" * 80, 0.8)
    assert bed.the("gaps").ended == over + 60 * FS
    assert bed.conditions == {"gaps"}
    bed = made(settings)
    for _ in range(4):
        bed.beats("N" * 45, 0.8)
        bed.gap(0.4)
    assert bed.told == []


@pytest.mark.parametrize("pieces", [1, 3, 40])
def test_a_long_gap(bed: MadeBed, pieces: int) -> None:
    """It is announced where five seconds are missing, in whatever pieces it is told."""
    bed.beats("N" * 20, 0.8)
    first = bed.now
    bed.gap(4.8, pieces)
    assert bed.told == []
    bed.beats("N" * 3, 0.8)
    again = bed.now
    bed.gap(30, pieces)
    alarm = bed.the("gaps")
    assert (alarm.onset, alarm.announced, alarm.text) == (first, again + 25, "signal missing for 5 s")


@pytest.mark.parametrize("pieces", [1, 7])
def test_no_value_is_a_lead_that_is_off(bed: MadeBed, pieces: int) -> None:
    """A device that sends, but measures nothing for five seconds, has a lead that is off until it does."""
    bed.beats("N" * 20, 0.8)
    bed.gap(4, valueless=True)
    bed.beats("N" * 5, 0.8)
    assert "lead off" not in bed.conditions
    off = bed.now
    bed.gap(28, pieces, valueless=True)
    alarm = bed.the("lead off")
    assert (alarm.onset, alarm.priority, alarm.ended) == (off, "medium", None)
    (view,) = [one for one in bed.rules.manager.view if one.condition == "lead off"]
    assert view.text == "no value for 5 s"
    back = bed.now
    bed.beats("N" * 5, 0.8)
    alarm = bed.the("lead off")
    assert (alarm.ended, alarm.text) == (back, "no value for 28 s")


def test_time_begins_anew_after_a_gap(bed: MadeBed) -> None:
    """A gap is no asystole and no pause, ends runs and patterns, and looks before it do not count."""
    bed.beats("N" * 20, 0.8)
    bed.beats("NVV", 0.8)
    bed.gap(4)
    bed.beats("VNNVNVN", 0.8)
    bed.gap(0.5)
    bed.beats("VNVNVNN", 0.8)
    assert bed.told == []
    bed = made(bed.config)
    bed.beats("N" * 20, 0.8)
    for _ in range(5):
        bed.quiet(1.9)
        bed.gap(3)
        bed.scores = scores("VF")
    assert bed.conditions == {"gaps"}


def test_an_alarm_outlives_a_short_gap(bed: MadeBed) -> None:
    """What can be seen again within ten seconds goes on; else it is over then."""
    bed.beats("N" * 40, 0.45)
    bed.gap(2)
    bed.beats("N" * 40, 0.45)
    assert bed.the("heart rate high").ended is None
    lost = bed.now
    bed.gap(15)
    assert bed.the("heart rate high").ended == lost + 10 * FS


def test_noise(bed: MadeBed) -> None:
    """Noise in 20 of 30 s suspends rates and beats; ten seconds without it end that."""
    bed.beats("N" * 40, 0.75)  # 30 s
    bed.scores = scores("noise")
    bed.beats("N" * 26, 0.75)
    assert bed.told == []
    bed.beats("NN", 0.75)
    alarm = bed.the("noise")
    assert (alarm.announced, alarm.priority) == (50 * FS, "medium")
    assert alarm.text == "noise in 20 of 30 s: no rate, no beats"
    assert bed.rules.suspended
    bed.beats("N" * 20 + "VV" + "NV" * 20 + "V" * 8 + "N" * 40, 0.4)
    bed.beats("N", 2.6)
    assert bed.conditions == {"noise"}
    last = bed.now // FS
    bed.scores = scores()
    bed.beats("N" * 15, 0.75)
    assert not bed.rules.suspended
    assert bed.the("noise").ended == (last + 10) * FS
    bed.beats("N" * 13 + "NNVVN", 0.45)
    bed.quiet(1.1)
    assert bed.conditions == {"noise", "heart rate high", "couplet"}


def test_what_was_held_back_is_forgotten_in_noise(bed: MadeBed) -> None:
    """A heart rate behind tachycardia is not announced in noise, once that is over."""
    bed.scores = scores("VT")
    bed.beats("Q" * 12, 0.8)
    bed.beats("Q" * 20, 0.45)
    bed.scores = (0.0, 0.45, 0.0, 0.55, 0.0)
    while not bed.rules.suspended:
        bed.beats("Q", 0.45)
    bed.scores = scores("noise")
    bed.beats("Q" * 40, 0.45)
    assert bed.the("ventricular tachycardia").ended is not None
    assert bed.conditions == {"ventricular tachycardia", "noise"}


def test_irregular_intervals_begin_anew_after_noise(bed: MadeBed) -> None:
    """Fibrillation of the atria runs out in noise; what was heard before does not count after it."""
    chance = Random(1)
    for _ in range(120):
        bed.beats("N", chance.uniform(0.5, 1.1))
    bed.scores = scores("noise")
    bed.beats("N" * 40, 0.8)
    assert bed.the("atrial fibrillation").ended == bed.the("noise").announced - FS + 10 * FS
    bed.scores = scores()
    bed.beats("N" * 20, 0.8)
    assert not bed.rules.suspended
    assert len(bed.of("atrial fibrillation")) == 1


def test_noise_in_19_of_30_seconds(bed: MadeBed) -> None:
    """Is not yet too much, however long it goes on so."""
    for _ in range(6):
        bed.scores = scores("noise")
        bed.beats("N" * 19, 1.0)
        bed.scores = scores()
        bed.beats("N" * 11, 1.0)
    assert bed.told == []


@pytest.mark.parametrize(("value", "is_alarm"), [(0.89, False), (0.91, True)])
@pytest.mark.parametrize(
    ("kind", "condition"),
    [("VF", "ventricular fibrillation"), ("VT", "ventricular tachycardia"), ("asystole", "asystole")],
)
def test_in_noise_only_a_sure_judge_is_believed(
    bed: MadeBed, kind: str, condition: AlarmCondition, value: float, is_alarm: bool
) -> None:
    """While noise suspends the analysis, arrest is alarmed where the judge of the waveform is sure of it."""
    bed.beats("N" * 10, 0.8)
    bed.scores = scores("noise")
    bed.beats("Q" * 30, 0.8)
    bed.scores = scores(kind, value)
    bed.quiet(7.5)
    assert bed.rules.suspended
    assert bed.conditions == ({"noise", condition} if is_alarm else {"noise"})


def test_no_data_changes_nothing_else(bed: MadeBed) -> None:
    """What the clock says is an alarm of its own; the others stand, and are the same as if it had said nothing."""
    bed.beats("N" * 40, 0.45)
    sample = bed.now + 40
    bed.told += bed.rules.raise_by_clock("no data", sample, 1000.0)
    assert bed.rules.raise_by_clock("no data", sample, 1001.0) == []
    assert bed.shown == ["heart rate high", "no data"]
    alarm = bed.the("no data")
    assert (alarm.onset, alarm.announced, alarm.announced_s, alarm.priority) == (sample, sample, 1000.0, "medium")
    bed.told += bed.rules.clear_by_clock("no data", sample, 1010.0)
    assert bed.the("no data").ended == sample
    assert bed.rules.clear_by_clock("no data", sample, 1011.0) == []
    bed.beats("N" * 40, 0.8)
    other = made(bed.config)
    other.beats("N" * 40, 0.45)
    other.beats("N" * 40, 0.8)
    assert [alarm for alarm in bed.told if alarm.condition != "no data"] == other.told


def test_the_end_of_a_run_ends_its_alarms(bed: MadeBed) -> None:
    """On purpose or not, what was open is over; a latched alarm still waits for a person."""
    bed.beats("N" * 40, 0.45)
    bed.end()
    assert (bed.the("heart rate high").ended, bed.shown) == (bed.now, [])
    assert bed.rules.raise_by_clock("no data", bed.now, 0.0) == []
    bed.start("second", 700)
    bed.quiet(7)
    last = bed.now
    bed.start("third", 40)
    assert (bed.the("asystole").ended, bed.the("asystole").run) == (last, "second")
    assert bed.shown == ["asystole"]
    bed.beats("N" * 20, 0.8)
    assert bed.shown == ["asystole"]


# the table and the settings


def test_every_condition_has_its_place() -> None:
    """Each condition of the messages has a kind, and what stands in a chain is a condition of the heart."""
    assert set(CONDITION_SPECS) == set(get_args(AlarmCondition))
    linked = {condition for chain in (RATE_CHAIN, ECTOPY_CHAIN) for link in chain for condition in link}
    assert not [condition for condition in linked if CONDITION_SPECS[condition].technical]
    assert {condition for condition, kind in CONDITION_SPECS.items() if not kind.technical} - linked == {
        "atrial fibrillation"
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rate_low_bpm = 130", r"\[alarms\]: rate_low_bpm must not be more than rate_high_bpm"),
        ("pause_s = 5", r"\[alarms\]: pause_s must not be more than asystole_s"),
        ("vf_score = 1.5", "alarms.vf_score: give a number of 1 or less"),
        ("vt_beats = 0", "alarms.vt_beats: give a whole number of 2 or more"),
        ("bigeminy_cycles = 11", "alarms.bigeminy_cycles: give a whole number of 10 or less"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, reason: str) -> None:
    """Values that cannot be, or that contradict each other, are refused."""
    path = tmp_path / "own.toml"
    path.write_text(f"[alarms]\n{text}\n")
    with pytest.raises(ConfigError, match=reason):
        configuration.load_config(path, {})


def test_settings_change_the_rules(settings: Config) -> None:
    """A longer pause, more V beats to a run, other limits."""
    own = replace(
        settings,
        alarms=replace(
            settings.alarms, pause_s=3.5, vt_beats=7, rate_high_bpm=160.0, asystole_s=8.0, asystole_confirm_s=0.0
        ),
    )
    bed = made(own)
    bed.beats("N" * 40, 0.4)
    bed.beats("N", 3.2)
    bed.beats("N" * 5 + "VVVVVV" + "N" * 5, 0.4)
    assert bed.conditions == {"V run"}
    bed.quiet(8)
    assert "asystole" not in bed.conditions


def test_fibrillation_has_no_heart_rate(bed: MadeBed) -> None:
    """What is found in fibrillation are no beats: neither then nor after it is a rate of theirs alarmed."""
    bed.beats("N" * 30, 0.8)
    bed.scores = scores("VF")
    bed.beats("Q" * 60, 0.3)
    bed.scores = scores()
    bed.beats("N" * 40, 0.8)
    assert bed.conditions == {"ventricular fibrillation"}
    bed.beats("N" * 40, 0.4)
    assert "extreme tachycardia" in bed.conditions


@pytest.mark.parametrize("silence_s", [4.4, 6, 12, 25])
def test_an_arrest_is_in_no_heart_rate(bed: MadeBed, silence_s: float) -> None:
    """What was no beat is no RR interval: with the beats that end an asystole no slow heart is alarmed."""
    bed.beats("N" * 30, 0.8)
    bed.quiet(silence_s)
    assert bed.rules.suspended is (silence_s > 5)
    bed.beats("N" * 40, 0.8)
    assert bed.conditions == {"pause", "asystole"}
    assert not bed.rules.suspended


def test_a_silence_that_ends_in_noise_is_told(bed: MadeBed) -> None:
    """Four seconds between two beats that the net has confirmed are an asystole, though a look thought of noise."""
    bed.beats("N" * 30, 0.8)
    bed.scores = scores("noise")
    bed.beats("N", 4.4)
    bed.scores = scores()
    bed.beats("N" * 5, 0.8)
    assert bed.the("asystole").text == "no QRS for 4.4 s"


def test_a_pause_ends_with_its_true_length(bed: MadeBed) -> None:
    """What was said while it lasted is replaced by the RR interval."""
    bed.beats("N" * 30, 0.8)
    bed.beats("N", 3.9)
    bed.beats("N" * 20, 0.8)
    assert bed.the("pause").text == "RR 3.90 s > 2.5 s"


def test_escape_beats_are_in_no_row(bed: MadeBed) -> None:
    """V beats with a pause between them are no couplet and no run."""
    bed.beats("N" * 30, 0.8)
    bed.beats("VVVV", 3.0)
    bed.beats("N" * 5, 0.8)
    assert not {"couplet", "V run"} & bed.conditions


def test_the_words_of_a_waveform_grow(bed: MadeBed) -> None:
    """Fibrillation that lasts is told with its whole length."""
    bed.beats("N" * 10, 0.8)
    bed.scores = scores("VF")
    bed.quiet(60)
    bed.scores = scores()
    bed.beats("N" * 30, 0.8)
    assert float(bed.the("ventricular fibrillation").text.split()[-2]) >= 58
