"""Limits per bed: what may be set, how it is read from a file, and what the rules make of it at once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from conftest import chunks, record_counts
from support.alarmed import MadeBed, made

from agent.alarms.priorities import CONDITION_SPECS
from agent.cli.monitor import describe_absent_beds
from agent.core import config as configuration
from agent.core.alarm_settings import extreme_rate_limits
from agent.core.bed_settings import (
    NO_SETTINGS,
    SWITCHABLE_CONDITIONS,
    BedSettings,
    SwitchableCondition,
    check_settings,
    limits_in_force,
    settings_words,
)
from agent.core.config import Config
from agent.core.messages import Alarm, AlarmCondition, Beat
from agent.pipeline.pipeline import Pipeline
from model.errors import ConfigError


@pytest.fixture
def bed(settings: Config) -> MadeBed:
    return made(settings)


def load(tmp_path: Path, text: str) -> Config:
    """The settings with a file of one's own."""
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return configuration.load_config(path, {})


def test_the_alarms_that_may_be_off_are_those_of_the_heart_that_do_not_kill() -> None:
    """Every condition of medium or low priority that is not technical, and no other."""
    named = {name for name, spec in CONDITION_SPECS.items() if spec.priority != "high" and not spec.technical}
    assert named == set(SWITCHABLE_CONDITIONS)
    assert set(SWITCHABLE_CONDITIONS) < set(get_args(AlarmCondition))


def test_a_table_of_a_bed(tmp_path: Path) -> None:
    """What is named holds for that bed; limits that are not are those of all beds."""
    config = load(tmp_path, '[bed."7"]\npatient = "A. Bee"\nrate_high_bpm = 150\noff = ["couplet"]\n[bed.icu-2]\n')
    assert config.bed == {
        "7": BedSettings(patient="A. Bee", rate_high_bpm=150, off=("couplet",)),
        "icu-2": NO_SETTINGS,
    }
    limits = limits_in_force(config.bed["7"], config.alarms)
    assert (limits.rate_low_bpm, limits.rate_high_bpm) == (config.alarms.rate_low_bpm, 150)
    assert extreme_rate_limits(limits) == (170, 40)
    assert limits_in_force(NO_SETTINGS, config.alarms) is config.alarms


def test_the_settings_of_beds_are_shown_as_toml_that_can_be_read(tmp_path: Path) -> None:
    """What `config show` writes gives the same settings, whatever a bed is called."""
    config = load(tmp_path, '[bed."a.b \\"c\\" é"]\npause_s = 2.0\nplace = "room 4"\n[bed.x]\noff = ["pause"]\n')
    assert load(tmp_path, configuration.format_config_toml(config)) == config
    assert configuration.override_config(config, "monitor", beds=3).bed == config.bed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate_hi = 3", "unknown key bed.7.rate_hi; valid are patient, place, rate_low_bpm, rate_high_bpm, pause_s"),
        ("rate_high_bpm = 'fast'", "bed.7.rate_high_bpm: Expected `float | null`, got `str`"),
        ("rate_high_bpm = 900", "bed.7.rate_high_bpm: give a number of 350 or less"),
        ("rate_low_bpm = 130", "[bed.7]: rate_low_bpm must not be more than rate_high_bpm"),
        ("rate_low_bpm = 120", "[bed.7]: rate_low_bpm must be less than rate_high_bpm"),
        ("pause_s = 5", "[bed.7]: pause_s must not be more than asystole_s"),
        ("asystole_s = 30", "bed.7.asystole_s: give a number of 8 or less"),
        ("rate_low_bpm = 15", "[bed.7]: rate_low_bpm must be 30 or more: extreme bradycardia is alarmed below 30"),
        ("rate_high_bpm = 350", "[bed.7]: rate_high_bpm must be 200 or less: extreme tachycardia is alarmed above 200"),
        ("v_most_per_min = 1.5", "bed.7.v_most_per_min: Expected `int | null`, got `float`"),
        ("off = 'pause'", "bed.7.off: Expected `array`, got `str`"),
        ("off = ['asystole']", "Invalid enum value 'asystole'; valid are V run, heart rate high"),
        ("off = ['pause', 'pause']", "[bed.7]: off names a condition twice"),
        ("patient = 3", "bed.7.patient: Expected `str`, got `int`"),
        (f"patient = '{'x' * 65}'", "bed.7.patient: Expected `str` of length <= 64"),
        ('place = "\\u001b[2J"', "[bed.7]: place has characters that cannot be shown"),
    ],
)
def test_a_wrong_table_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    """It names the file, the bed and the key."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'[bed."7"]\n{text}\n')
    assert said in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_bed_without_a_name_is_refused(tmp_path: Path) -> None:
    """No device can send one."""
    with pytest.raises(ConfigError, match="a bed needs a name"):
        load(tmp_path, '[bed.""]\nplace = "room 4"\n')


def test_beds_that_never_came_are_named() -> None:
    """Those that were to be watched, and those that have settings in vain, at most five of them."""
    assert describe_absent_beds(["7"], ["7"], ["7"]) == []
    (line,) = describe_absent_beds([], ["nope"], [])
    assert line == "bed 'nope' never came: check --bed"
    (line,) = describe_absent_beds(["7"], ["7", "nope"], [], ["100", "119", "208", "a", "b", "c"])
    assert line == "bed 'nope' never came: the device has 100, 119, 208, a, b and 1 more (--bed)"
    (line,) = describe_absent_beds(["7"], [], ["7", *"abcdefg"])
    assert line == "settings for 'a', 'b', 'c', 'd', 'e' and 2 more: no such bed has come (see [bed.NAME])"
    (line,) = describe_absent_beds([], ["x" * 300], [])
    assert line == f"bed '{'x' * 37}...' never came: check --bed"


def test_tables_of_beds_are_in_files_only() -> None:
    """A variable of the environment cannot name a bed."""
    with pytest.raises(ConfigError, match="beds are set in a file only"):
        configuration.load_config(None, {"ECG_AGENT_BED_7": "3"})


def test_settings_made_by_a_program_are_checked(settings: Config) -> None:
    """Numbers out of range, and limits that contradict those of all beds."""
    check_settings(BedSettings(rate_low_bpm=30), settings.alarms)
    with pytest.raises(ValueError, match="rate_low_bpm: Expected `float` >= 15"):
        check_settings(BedSettings(rate_low_bpm=3), settings.alarms)
    with pytest.raises(ValueError, match="rate_low_bpm must not be more than rate_high_bpm"):
        check_settings(BedSettings(rate_low_bpm=140), settings.alarms)


def test_an_extreme_rate_is_never_out_of_reach(settings: Config) -> None:
    """The widest limits that a bed may have leave the extreme rates where `[alarms]` has them in any case."""
    alarms = settings.alarms
    widest = BedSettings(rate_low_bpm=alarms.extreme_least_bpm, rate_high_bpm=alarms.extreme_most_bpm)
    assert extreme_rate_limits(limits_in_force(widest, alarms)) == (200, 30)
    for beyond in (BedSettings(rate_low_bpm=29.9), BedSettings(rate_high_bpm=200.1)):
        with pytest.raises(ValueError, match="extreme"):
            check_settings(beyond, alarms)


def test_a_very_slow_heart_is_alarmed_with_the_lowest_limit(bed: MadeBed) -> None:
    """At 25 beats a minute, and the limit of the bed as low as it goes."""
    bed.told += bed.rules.apply(BedSettings(rate_low_bpm=30, pause_s=8, asystole_s=8))
    bed.beats("N" * 20, 0.8)
    bed.beats("N" * 20, 60 / 25)
    assert "extreme bradycardia" in bed.conditions


def test_a_label_goes_without_joiners(tmp_path: Path) -> None:
    """A picture of several characters, and a word with a joiner in it, are labels like any other."""
    config = load(tmp_path, '[bed."7"]\npatient = "\\U0001f469\\u200d\\U0001f467"\nplace = "a\\u200cb"\n')
    assert config.bed["7"] == BedSettings(patient="\U0001f469\U0001f467", place="ab")


def test_words() -> None:
    """All that is set in a line, nothing where nothing is."""
    assert settings_words(NO_SETTINGS) == ""
    words = settings_words(BedSettings("A", "room 4", rate_low_bpm=40, off=("pause", "couplet")))
    assert words == "A, room 4, rate below 40, alarm off: pause, couplet"
    limits = BedSettings(rate_high_bpm=135.5, pause_s=2.5, asystole_s=4, v_most_per_min=12)
    assert settings_words(limits) == (
        "rate above 135.5, pause longer than 2.5 s, asystole after 4 s, V beats above 12 a minute"
    )


# what the rules make of it


def test_other_limits_hold_at_once(bed: MadeBed) -> None:
    """A rate of 130 is alarmed above 120; beyond 140 it is over at once, and below 110 it has new words."""
    bed.beats("N" * 30, 60 / 130)
    assert bed.the("heart rate high").ended is None
    bed.told += bed.rules.apply(BedSettings(rate_high_bpm=110))
    assert bed.the("heart rate high").ended is None
    assert bed.rules.manager.view[0].text == "HR 129 > 110"
    bed.told += bed.rules.apply(BedSettings(rate_high_bpm=140))
    assert bed.the("heart rate high").ended == bed.rules.manager.sample
    bed.beats("N" * 10, 60 / 130)
    assert bed.shown == []
    bed.told += bed.rules.apply(NO_SETTINGS)
    bed.beats("N" * 4, 60 / 130)
    assert bed.shown == ["heart rate high"]
    assert len(bed.of("heart rate high")) == 2


def test_extreme_limits_follow(bed: MadeBed) -> None:
    """With a high limit of 160 a rate of 150 is nothing; with one of 100 it is extreme."""
    bed.told += bed.rules.apply(BedSettings(rate_high_bpm=160))
    bed.beats("N" * 30, 60 / 150)
    assert bed.told == []
    bed.told += bed.rules.apply(BedSettings(rate_high_bpm=100))
    bed.beats("N" * 5, 60 / 150)
    assert bed.shown == ["extreme tachycardia"]


def test_a_limit_that_moves_lets_the_next_worse_alarm_come_forward(bed: MadeBed) -> None:
    """Extreme tachycardia is over once its limit is beyond the rate; the rate is still high, which it held back."""
    bed.beats("N" * 30, 60 / 150)
    assert bed.shown == ["extreme tachycardia"]
    bed.told += bed.rules.apply(BedSettings(rate_high_bpm=135))
    bed.rules.acknowledge(0.0)
    assert bed.shown == ["heart rate high"]


def test_other_pauses_and_asystole(bed: MadeBed) -> None:
    """An RR interval of 3 s is no pause with a limit of 3.5 s, and one of 4.5 s no asystole with 6 s."""
    bed.told += bed.rules.apply(BedSettings(pause_s=3.5, asystole_s=6))
    bed.beats("N" * 20, 0.8)
    bed.beats("N", 3.0)
    bed.beats("NN", 0.8)
    assert bed.told == []
    bed.beats("N", 4.5)
    bed.beats("NN", 0.8)
    assert bed.conditions == {"pause"}
    bed.quiet(9)
    assert "asystole" in bed.conditions


def test_v_beats_a_minute(bed: MadeBed) -> None:
    """Fifteen V beats in a minute are too many at 10, and are not at 20; raising the limit ends the alarm."""
    bed.beats("NNNNV" * 15, 0.8)
    assert bed.the("V rate high").ended is None
    bed.told += bed.rules.apply(BedSettings(v_most_per_min=20))
    assert bed.the("V rate high").ended is not None
    bed.beats("NNNNV" * 20, 0.8)
    assert len(bed.of("V rate high")) == 1
    bed.told += bed.rules.apply(BedSettings(v_most_per_min=5))
    bed.beats("NNNNV" * 2, 0.8)
    assert bed.shown == ["V rate high"]


@pytest.mark.parametrize("condition", SWITCHABLE_CONDITIONS)
def test_what_is_off_is_over_and_does_not_come(settings: Config, condition: SwitchableCondition) -> None:
    """An open alarm ends where its condition is turned off, and nothing raises it until it is on."""
    bed = made(settings)
    manager = bed.rules.manager
    bed.quiet(1)
    manager.raise_or_extend(condition, 0, 10**9, "why")
    assert [alarm.condition for alarm in manager.take()] == [condition]
    (alarm,) = bed.rules.apply(BedSettings(off=(condition,)))
    assert (alarm.condition, alarm.ended) == (condition, manager.sample)
    manager.raise_or_extend(condition, 0, 10**9, "why")
    assert (manager.take(), manager.holds(condition), manager.view) == ([], False, ())
    bed.rules.apply(NO_SETTINGS)
    manager.raise_or_extend(condition, 0, 10**9, "why")
    assert [alarm.condition for alarm in manager.take()] == [condition]


def test_what_is_off_holds_nothing_back(bed: MadeBed) -> None:
    """With V runs off, a V rate that they would hold back is alarmed."""
    bed.told += bed.rules.apply(BedSettings(off=("V run", "couplet")))
    bed.beats("NNNVVV" * 6, 0.8)
    assert bed.conditions == {"V rate high"}


def test_extreme_tachycardia_stays_where_a_high_rate_is_off(bed: MadeBed) -> None:
    """What is off is the one condition, not its worse neighbour."""
    bed.told += bed.rules.apply(BedSettings(off=("heart rate high",)))
    bed.beats("N" * 30, 60 / 130)
    assert bed.told == []
    bed.beats("N" * 30, 60 / 150)
    assert bed.shown == ["extreme tachycardia"]


def test_the_same_settings_change_nothing(settings: Config) -> None:
    """Settings that say what holds anyhow leave all alarms as they are, whenever they come."""
    labels = "NNNNVNNVVNNNVVVNNNN" * 6
    plain, often = made(settings), made(settings)
    alarms = settings.alarms
    same = BedSettings(
        rate_low_bpm=alarms.rate_low_bpm,
        rate_high_bpm=alarms.rate_high_bpm,
        pause_s=alarms.pause_s,
        asystole_s=alarms.asystole_s,
        v_most_per_min=alarms.v_most_per_min,
    )
    for i, label in enumerate(labels):
        rr_s = 0.46 if i < 60 else 2.8 if i % 17 == 0 else 0.8
        plain.beats(label, rr_s)
        often.beats(label, rr_s)
        often.told += often.rules.apply(same if i % 2 else NO_SETTINGS)
    assert {"heart rate high", "pause", "V run"} <= plain.conditions
    assert often.told == plain.told


@pytest.mark.slow
def test_settings_at_a_sample_give_the_same_alarms_however_the_stream_comes(
    settings: Config, classifier: Callable[..., object]
) -> None:
    """Planned for a sample, or set by a person there: the same alarms in any packets."""
    counts = record_counts("208", 100)
    changed = BedSettings(rate_high_bpm=90, off=("couplet", "V run"))

    def by_hand() -> tuple[int, list[Alarm]]:
        pipeline, alarms, at = Pipeline(settings, classifier), list[Alarm](), 0  # type: ignore[arg-type]
        for message in chunks(counts, [25]):
            alarms += [one for one in pipeline.push([message]) if isinstance(one, Alarm)]
            if not at and message.first > 5000:
                at = pipeline.care.change(pipeline.beds["1"], changed)
        return at, alarms

    def planned(size: int) -> list[Alarm]:
        pipeline = Pipeline(settings, classifier)  # type: ignore[arg-type]
        pipeline.care.know("1", NO_SETTINGS, [(at, changed)])
        messages = chunks(counts, [size])
        return [one for message in messages for one in pipeline.push([message]) if isinstance(one, Alarm)]

    at, alarms = by_hand()
    assert any(alarm.text.endswith("> 90") for alarm in alarms)
    off = {alarm.condition for alarm in alarms if alarm.announced > at}
    assert not off & {"couplet", "V run"}
    for size in (25, 500, 7):
        assert [replace(one, announced_s=0) for one in planned(size)] == [replace(one, announced_s=0) for one in alarms]


def test_a_beat_is_decided_as_ever(settings: Config, classifier: Callable[..., object]) -> None:
    """Settings of a bed change its alarms, and none of its beats."""
    counts = record_counts("208", 20)
    plain, own = Pipeline(settings, classifier), Pipeline(settings, classifier)  # type: ignore[arg-type]
    own.care.know("1", BedSettings(rate_high_bpm=60, pause_s=1))
    beats = [[b for b in p.push(chunks(counts, [250])) if isinstance(b, Beat)] for p in (plain, own)]
    assert beats[0] == beats[1] != []
