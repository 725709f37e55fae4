from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from model.records.resample import FS
from model.training import synthetic_rhythms
from model.training.augmented_streams import UNCHANGED_VARIANT, build_augmented_stream
from model.training.synthetic_rhythms import (
    EARLY_SHARE,
    LONGEST_RR,
    P_END,
    P_START,
    SHORTEST_RR,
    RhythmPlan,
    SyntheticRhythm,
    rewrite_rhythm,
)

Array = NDArray[np.float64]
RHYTHMS: tuple[SyntheticRhythm, ...] = ("ectopy", "fibrillation", "arrhythmia")
P_AT, P_HEIGHT = 17, 0.2


def lead(intervals: Array) -> tuple[Array, Array]:
    """A made-up lead (n,) mV: P wave, QRS complex and T wave of each beat, and the R peaks after such `intervals`."""
    beats = 100.0 + np.concatenate([[0], np.cumsum(intervals)])
    time = np.arange(int(beats[-1]) + 150)
    x = np.zeros(len(time))
    for beat in beats:
        for place, height, width in ((-P_AT, P_HEIGHT, 2), (0, 1.0, 1.2), (3, -0.4, 1.2), (32, 0.3, 6)):
            near = slice(max(0, int(beat) - 60), int(beat) + 80)
            x[near] += height * np.exp(-(((time[near] - beat - place) / width) ** 2) / 2)
    return x, beats


def around(x: Array, beats: Array, first: int, stop: int) -> Array:
    """Samples `first` to `stop` around each beat: (beats, stop - first)."""
    return x[np.rint(beats).astype(int)[:, None] + np.arange(first, stop)]


def steady(beats: int = 400, interval: int = 100) -> tuple[Array, Array, tuple[str, ...]]:
    x, at = lead(np.full(beats - 1, interval, float))
    return x, at, ("N",) * beats


def planned(monkeypatch: pytest.MonkeyPatch, plan: RhythmPlan) -> Callable[..., tuple[Array, Array, tuple[str, ...]]]:
    """`rewrite` with a plan of our own."""
    monkeypatch.setitem(synthetic_rhythms.PLANS, "arrhythmia", lambda *_: plan)
    return lambda x, beats, labels: rewrite_rhythm(x, beats, labels, "arrhythmia", np.random.default_rng(0))


@pytest.fixture(scope="module")
def recorded() -> tuple[Array, Array, tuple[str, ...]]:
    """Record 201: N, S and V beats, most of them in fibrillation."""
    found = build_augmented_stream("201", UNCHANGED_VARIANT, 0)
    return found.x.astype(float), found.beats, found.labels


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_beat_is_still_there(
    recorded: tuple[Array, Array, tuple[str, ...]], rhythm: SyntheticRhythm, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many beats in the same order, each QRS complex as it was recorded, and nothing lost before, between, behind.

    A next P wave may lie on what follows the R peak where the interval is under 0.36 s.
    """
    monkeypatch.setattr(synthetic_rhythms, "fibrillatory_waves", lambda samples, *_: np.zeros(samples))
    x, beats, labels = recorded
    y, moved, said = rewrite_rhythm(x, beats, labels, rhythm, np.random.default_rng(seed))
    at = np.rint(beats)
    assert len(moved) == len(said) == len(beats)
    assert moved[0] == at[0]
    assert len(y) - moved[-1] == len(x) - at[-1]
    assert (np.diff(moved) != np.diff(at)).mean() > 0.02
    assert np.array_equal(y[: int(at[0])], x[: int(at[0])])
    assert np.allclose(around(y, moved, -P_END, 5), around(x, beats, -P_END, 5))
    roomy = np.flatnonzero(np.minimum(np.diff(at), np.diff(moved)) >= 0.36 * FS)
    assert len(roomy) > 1500
    assert np.allclose(around(y, moved[roomy], 0, 11), around(x, beats[roomy], 0, 11))


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_no_interval_becomes_too_short(rhythm: SyntheticRhythm) -> None:
    """None falls below 0.3 s; those that were shorter, and pauses of 3 s or more, stay to the sample."""
    random = np.random.default_rng(5)
    intervals = np.concatenate([random.integers(20, 60, 300), random.integers(370, 420, 20)])
    random.shuffle(intervals)
    x, beats = lead(intervals)
    for seed in range(5):
        _, moved, _ = rewrite_rhythm(x, beats, ("N",) * len(beats), rhythm, np.random.default_rng(seed))
        now = np.diff(moved)
        kept = (intervals <= SHORTEST_RR) | (intervals >= LONGEST_RR)
        assert np.array_equal(now[kept], intervals[kept])
        assert (now[~kept] >= SHORTEST_RR).all()


def test_ectopic_beats_come_early() -> None:
    """S beats are made of normal ones, each nearer to the beat before than it was; all others keep their class."""
    x, beats, labels = steady()
    labels = tuple("V" if i % 10 == 0 else "F" if i % 25 == 1 else label for i, label in enumerate(labels))
    made = 0
    for seed in range(6):
        _, moved, said = rewrite_rhythm(x, beats, labels, "ectopy", np.random.default_rng(seed))
        new = np.array([now == "S" for now in said])
        assert all(
            before == "N" if ectopic else before == now for before, now, ectopic in zip(labels, said, new, strict=True)
        )
        ratio = np.diff(moved) / 100
        assert (ratio[new[1:]] < 0.95).all()
        after = ratio[1:][new[1:-1] & ~new[2:]]  # of the beats behind ectopic ones
        assert ((after > 0.8) & (after < 1.5)).all()
        assert (ratio[~new[1:]] == 1).sum() > 100
        made += int(new.sum())
    assert made > 200


def test_recorded_ectopy_is_kept(recorded: tuple[Array, Array, tuple[str, ...]]) -> None:
    """S and V beats of the record are what they were."""
    x, beats, labels = recorded
    _, _, said = rewrite_rhythm(x, beats, labels, "ectopy", np.random.default_rng(0))
    assert all(now == before for before, now in zip(labels, said, strict=True) if before != "N")


def test_ectopic_p_waves_are_changed() -> None:
    """P waves are lower or turned over before the S beats, and untouched before the others."""
    x, beats, labels = steady(interval=130)
    y, moved, said = rewrite_rhythm(x, beats, labels, "ectopy", np.random.default_rng(1))
    new = np.array([label == "S" for label in said])
    heights = around(y, moved, -P_START, 0)[:, P_START - P_AT] - around(y, moved, -P_START, 0)[:, 0]
    assert new.sum() > 20
    assert (heights[new] < 0.8 * P_HEIGHT).all()
    assert np.allclose(heights[~new], P_HEIGHT, atol=0.01)


def test_fibrillation() -> None:
    """Nothing is regular, no interval tells the next, no beat is S, and V stays V."""
    x, beats, labels = steady()
    labels = tuple("S" if i % 7 == 0 else "V" if i % 9 == 0 else label for i, label in enumerate(labels))
    for seed in range(5):
        _, moved, said = rewrite_rhythm(x, beats, labels, "fibrillation", np.random.default_rng(seed))
        assert said == tuple("N" if label == "S" else label for label in labels)
        intervals = np.diff(moved)
        assert intervals.std() / intervals.mean() > 0.1
        assert abs(np.corrcoef(intervals[1:], intervals[:-1])[0, 1]) < 0.2


def test_fibrillation_has_no_p_waves() -> None:
    """In the mean of all beats nothing is left of the P wave; in between are waves of 4 to 8 Hz instead."""
    x, beats, labels = steady(interval=140)
    y, moved, _ = rewrite_rhythm(x, beats, labels, "fibrillation", np.random.default_rng(3))
    roomy = np.flatnonzero(np.diff(moved, prepend=0) > 100)[1:]
    assert len(roomy) > 100
    assert np.ptp(around(x, beats, -P_START + 2, -P_END - 2).mean(0)) > 0.9 * P_HEIGHT
    assert np.ptp(around(y, moved[roomy], -P_START + 2, -P_END - 2).mean(0)) < 0.15 * P_HEIGHT
    flat = np.zeros_like(x)
    flat[np.rint(beats).astype(int)] = 1
    z, places, _ = rewrite_rhythm(flat, beats, labels, "fibrillation", np.random.default_rng(3))
    z[places.astype(int)] = 0
    power, pace = np.abs(np.fft.rfft(z)) ** 2, np.fft.rfftfreq(len(z), 1 / FS)
    assert power[(pace > 3.5) & (pace < 8.5)].sum() > 0.9 * power.sum() > 0
    assert 0.01 < np.abs(z).max() <= 0.06


def test_arrhythmia() -> None:
    """Intervals swell and shrink by at most a half or the double; classes and P waves are as they were."""
    x, beats, labels = steady(interval=110)
    labels = tuple("S" if i % 7 == 0 else "V" if i % 9 == 0 else label for i, label in enumerate(labels))
    for seed in range(5):
        y, moved, said = rewrite_rhythm(x, beats, labels, "arrhythmia", np.random.default_rng(seed))
        assert said == labels
        ratio = np.diff(moved) / 110
        assert 0.49 < ratio.min() < 0.99
        assert 1.01 < ratio.max() < 2.01
        roomy = np.flatnonzero(ratio > 0.8) + 1
        assert np.allclose(around(y, moved[roomy], -P_START, 0), around(x, beats[roomy], -P_START, 0))


def test_a_plan_that_changes_nothing(
    recorded: tuple[Array, Array, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Factors of one give the record as it was, its beats on whole samples."""
    x, beats, labels = recorded
    count = len(beats)
    plan = RhythmPlan(np.ones(count), np.ones(count), np.zeros(count, bool))
    y, moved, said = planned(monkeypatch, plan)(x, beats, labels)
    assert np.allclose(y, x)
    assert np.array_equal(moved, np.rint(beats))
    assert said == labels


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.7])
@pytest.mark.parametrize("p_wave", [-1.0, 0.0, 0.5])
def test_intervals_and_p_waves_follow_the_plan(factor: float, p_wave: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each interval is the factor times what it was, and the P wave as high as the plan says, near a T wave or not."""
    x, beats, labels = steady(50, 140)
    plan = RhythmPlan(np.full(50, factor), np.full(50, p_wave), np.arange(50) == 7)
    y, moved, said = planned(monkeypatch, plan)(x, beats, labels)
    assert np.array_equal(np.diff(moved), np.full(49, round(140 * factor)))
    assert said == (*labels[:7], "S" if factor < EARLY_SHARE else "N", *labels[8:])
    assert np.allclose(around(y, moved[1:], -P_AT, -P_AT + 1), p_wave * P_HEIGHT, atol=0.02)
