"""The rule of VF and VT: of the alarms, and of the waveform classifier's evaluation."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import AlarmTick
from agent.alarms.vf_vt import VfVtRule
from agent.analysis.rhythm_windows import WindowScores
from agent.core.config import Config
from agent.core.messages import Alarm
from model.records.resample import FS
from model.waveform.episode_rule import DetectedEpisode, VfVtSettings, detect_episodes, read_vf_vt_settings

SETTINGS = VfVtSettings(
    waveform_onset_s=3,
    vf_score=0.5,
    vf_windows=3,
    vf_of_windows=3,
    vf_end_score=0.3,
    vf_end_s=4,
    vt_score=0.5,
    vt_windows=2,
    vt_of_windows=2,
    vt_end_score=0.3,
    vt_end_s=4,
    vt_bpm=100,
    noise_override_score=0.9,
)
Windows = tuple[list[int], list[tuple[float, ...]], list[float]]


def windows(vf_scores: list[float], vt_scores: list[float] | None = None, rate: float = 0.0) -> Windows:
    """A window a second from 10 s on, with these scores of VF and VT."""
    ends = [(10 + number) * FS for number in range(len(vf_scores))]
    pairs = zip(vf_scores, vt_scores or [0.0] * len(vf_scores), strict=True)
    return ends, [(1 - vf - vt, vt, vf, 0.0, 0.0) for vf, vt in pairs], [rate] * len(ends)


def test_an_episode_begins_after_enough_windows_in_a_row() -> None:
    """Three windows in a row begin a VF, two do not; its onset lies most of a window before the first."""
    assert detect_episodes(SETTINGS, *windows([0.6, 0.6, 0.4, 0.6, 0.6, 0.4]))["VF"] == []
    found = detect_episodes(SETTINGS, *windows([0, 0.6, 0.6, 0.6, 0.6]))
    assert found["VF"] == [DetectedEpisode(11 * FS - 3 * FS, 13 * FS, 14 * FS)]


def test_so_many_of_the_latest_windows_are_enough() -> None:
    """With three of five windows those in between may score less."""
    settings = replace(SETTINGS, vf_of_windows=5)
    assert len(detect_episodes(settings, *windows([0.6, 0, 0.6, 0, 0.6]))["VF"]) == 1
    assert detect_episodes(settings, *windows([0.6, 0, 0, 0.6, 0, 0.6]))["VF"] == []


def test_an_episode_ends_some_time_after_its_last_window() -> None:
    """It ends with the last window that scored enough to go on; one in between prolongs it; a later one is another."""
    on, off = [0.9] * 3, [0.0] * 5
    assert [episode.end for episode in detect_episodes(SETTINGS, *windows([*on, *off, 0.0]))["VF"]] == [12 * FS]
    assert len(detect_episodes(SETTINGS, *windows([*on, 0, 0, 0, 0.35, 0, 0, 0, 0.9]))["VF"]) == 1
    assert len(detect_episodes(SETTINGS, *windows([*on, *off, *on, *off]))["VF"]) == 2


@pytest.mark.parametrize(("rate", "count"), [(90.0, 0), (110.0, 1), (0.0, 1)])
def test_what_repeats_slowly_is_no_tachycardia(rate: float, count: int) -> None:
    """VT needs a rate of at least `vt_bpm`, or a waveform that does not repeat."""
    assert len(detect_episodes(SETTINGS, *windows([0.0] * 4, [0.9] * 4, rate))["VT"]) == count


def test_vt_begins_with_a_window_that_looks_like_vt() -> None:
    """The sum of both counts, but a window that looks more like VF begins no VT."""
    found = detect_episodes(SETTINGS, *windows([0.3] * 3, [0.35] * 3))
    assert (found["VF"], len(found["VT"])) == ([], 1)
    assert detect_episodes(SETTINGS, *windows([0.35] * 3, [0.3] * 3))["VT"] == []


def test_vt_is_hidden_while_vf_lasts() -> None:
    """VT that begins during VF is announced once the VF is over, if it is still there."""
    vf, vt = [0.9] * 3 + [0.0] * 12, [0.0] * 4 + [0.9] * 11
    found = detect_episodes(SETTINGS, *windows(vf, vt))
    (fibrillation,), (tachycardia,) = found["VF"], found["VT"]
    assert tachycardia.alarm == fibrillation.end + 5 * FS > tachycardia.onset + 3 * FS
    longer = replace(SETTINGS, vf_end_s=8)
    assert detect_episodes(longer, *windows(vf, [*vt[:6], *[0.0] * 9]))["VT"] == []


def test_the_settings_are_those_of_the_alarms(settings: Config) -> None:
    """The evaluation of the waveform classifier reads the values that the alarms run with."""
    assert read_vf_vt_settings() == msgspec.convert(settings.alarms, VfVtSettings, from_attributes=True)


def random_windows(seed: int, count: int = 400) -> Windows:
    """Scores that stay high or low for some seconds, of any mixture of VF and VT, and rates about `vt_bpm`."""
    random = np.random.default_rng(seed)
    spans = random.integers(1, 12, count)
    shares = np.repeat(random.dirichlet([0.5, 0.5, 0.5, 0.1, 0.1], count), spans, axis=0)[:count]
    noise = random.dirichlet(np.ones(5), count)
    mixed = np.round(0.85 * shares + 0.15 * noise, 3)
    rates = np.where(random.random(count) < 0.5, 0.0, random.uniform(60, 200, count))
    ends = [(4 + number) * FS for number in range(count)]
    return ends, [tuple(row) for row in mixed.tolist()], np.round(rates).tolist()


def announced_episodes(config: Config, drawn: Windows) -> dict[str, list[DetectedEpisode]]:
    """The episodes that the running alarms announce; an end is that of the last window that showed it."""
    manager = AlarmManager(latch=False)
    manager.start("bed", "run", 0)
    rule = VfVtRule(config.alarms, manager)
    rule.start()
    latest: dict[tuple[str, int], Alarm] = {}
    for sample, window, rate in zip(*drawn, strict=True):
        manager.advance_to(sample, 0.0)
        rule.tick(AlarmTick(sample, -1, 0, WindowScores(0, sample, window, 1.0, rate or None)), suspended=False)
        latest |= {(alarm.condition, alarm.onset): alarm for alarm in manager.take()}
    ends_s = {"ventricular fibrillation": config.alarms.vf_end_s, "ventricular tachycardia": config.alarms.vt_end_s}
    episodes: dict[str, list[DetectedEpisode]] = {condition: [] for condition in ends_s}
    for alarm in latest.values():
        end = drawn[0][-1] if alarm.ended is None else alarm.ended - round(ends_s[alarm.condition] * FS)
        episodes[alarm.condition].append(DetectedEpisode(alarm.onset, alarm.announced, end))
    return {"VF": episodes["ventricular fibrillation"], "VT": episodes["ventricular tachycardia"]}


@pytest.mark.parametrize("changes", [{}, {"vf_of_windows": 5, "vt_windows": 3, "vt_of_windows": 6, "vf_end_s": 3.0}])
def test_what_is_fitted_is_what_runs(settings: Config, changes: dict[str, Any]) -> None:
    """For random scores the evaluation finds the episodes that the alarms announce: onset, announcement and end."""
    config = replace(settings, alarms=replace(settings.alarms, **changes))
    limits = msgspec.convert(config.alarms, VfVtSettings, from_attributes=True)
    count = {"VF": 0, "VT": 0}
    for seed in range(100):
        drawn = random_windows(seed)
        found = detect_episodes(limits, *drawn)
        assert found == announced_episodes(config, drawn), seed
        for kind in count:
            count[kind] += len(found[kind])
    assert min(count.values()) > 100
