from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.beats.templates import (
    CHANNELS,
    CLUSTER_COUNT,
    FEATURE_LIMITS,
    FEATURES,
    INPUTS,
    QRS,
    QRS_BEFORE,
    SLACK,
    WAVE,
    WAVE_BEFORE,
    BeatTemplates,
    BeatWindows,
    Floats,
)

TIME = np.arange(-WAVE_BEFORE - SLACK, WAVE - WAVE_BEFORE + SLACK)
AROUND_QRS = slice(WAVE_BEFORE - QRS_BEFORE, WAVE_BEFORE - QRS_BEFORE + QRS + 2 * SLACK)
OWN, USUAL, CLUSTER = (slice(i * WAVE, (i + 1) * WAVE) for i in range(CHANNELS))


def bump(at: float, width: float, height: float) -> Floats:
    found: Floats = (height * np.exp(-(((TIME - at) / width) ** 2))).astype(np.float32)
    return found


NORMAL = bump(-20, 4, 0.15) + bump(0, 2.5, 1) - bump(5, 3, 0.3) + bump(35, 10, 0.3)
WIDE = bump(2, 9, -1.4) + bump(40, 12, 0.5)


def beat(
    wave: Floats = NORMAL,
    rr: Sequence[float] = (0.8, 0.8, 0.8),
    following: float = 0.8,
    score: float = 5.0,
    row: int = 0,
) -> BeatWindows:
    """A beat that a normal one follows."""
    return BeatWindows(
        rows=np.array([row]),
        waves=wave[None].copy(),
        following=NORMAL[None, AROUND_QRS].copy(),
        rr=np.array([rr], np.float32),
        next=np.array([following], np.float32),
        no_next=np.array([False]),
        score=np.array([score], np.float32),
    )


def some_beats(rows: Sequence[int], random: np.random.Generator) -> BeatWindows:
    """Beats of a few shapes in noise, some of them doubtful or with unknown intervals."""
    n = len(rows)
    shapes = np.stack([NORMAL, WIDE, -NORMAL])[random.integers(0, 3, n)] * random.uniform(0.5, 2, (n, 1))
    waves = (shapes + random.normal(0, random.choice([0.01, 0.3], (n, 1)), shapes.shape)).astype(np.float32)
    rr = random.uniform(0.3, 2, (n, 3)).astype(np.float32)
    rr[random.random((n, 3)) < 0.1] = np.nan
    none = random.random(n) < 0.1
    following = np.where(none[:, None], np.float32(0), waves[::-1, AROUND_QRS])
    following_s = random.uniform(0.3, 1.2, n).astype(np.float32)
    score = random.uniform(-2, 8, n).astype(np.float32)
    return BeatWindows(np.array(rows), waves, following, rr, following_s, none, score)


def part(beats: BeatWindows, places: NDArray[np.intp]) -> BeatWindows:
    return BeatWindows(**{field.name: getattr(beats, field.name)[places] for field in fields(BeatWindows)})


def feature(inputs: Floats, name: str) -> float:
    """A number of the first beat of inputs (n, INPUTS)."""
    return float(inputs[0, CHANNELS * WAVE + FEATURES.index(name)])


def taught(count: int = 20, wave: Floats = NORMAL) -> BeatTemplates:
    """A patient after a number of equal beats, 0.8 s apart."""
    patients = BeatTemplates()
    for _ in range(count):
        patients.describe(beat(wave))
    return patients


@pytest.mark.parametrize("together", [2, 3, 8, 33])
def test_rows_do_not_matter(together: int) -> None:
    """The description of a beat, to the last bit, is the same alone, among others, and in any order of the rows."""
    random, all_rows = np.random.default_rng(together), np.arange(together)
    patients, alone = BeatTemplates(together), [BeatTemplates() for _ in all_rows]
    for _ in range(30):
        rows = random.permutation(all_rows)[: random.integers(1, together + 1)]
        beats = some_beats(rows.tolist(), random)
        found: tuple[NDArray[Any], ...] = patients.describe(beats)
        for i, row in enumerate(rows):
            one: tuple[NDArray[Any], ...] = alone[row].describe(replace(part(beats, np.array([i])), rows=np.array([0])))
            for ours, its in zip(found, one, strict=True):
                np.testing.assert_array_equal(ours[i], its[0])


def test_growing_keeps_what_is_known() -> None:
    """More rows do not change the existing ones, and start without any knowledge; 0 more rows change nothing."""
    random = np.random.default_rng(1)
    first = [some_beats([0], random) for _ in range(30)]
    grown, still = BeatTemplates(), BeatTemplates()
    for i, one in enumerate(first):
        if i == 10:
            grown.grow(4)
            grown.grow(4)
        np.testing.assert_array_equal(grown.describe(one)[0], still.describe(one)[0])
    new = beat(WIDE)
    expected = BeatTemplates().describe(new)[0]
    np.testing.assert_array_equal(grown.describe(replace(new, rows=np.array([3])))[0], expected)


def test_beats_are_not_changed() -> None:
    """Arrays passed in, and those returned before, stay unchanged."""
    patients, beats = taught(), beat(WIDE)
    kept = beat(WIDE)
    inputs = patients.describe(beats)[0]
    before = inputs.copy()
    patients.describe(beats)
    np.testing.assert_array_equal(inputs, before)
    for field in fields(BeatWindows):
        np.testing.assert_array_equal(getattr(beats, field.name), getattr(kept, field.name))


@pytest.mark.parametrize("gain", [2.0, 3.7, 0.4])
def test_gain_does_not_matter(gain: float) -> None:
    """From the second beat on a higher gain, and an offset, give the same input but for rounding."""
    random, one, other = np.random.default_rng(2), BeatTemplates(), BeatTemplates()
    for i in range(40):
        beats = some_beats([0], random)
        gained = replace(
            beats, waves=np.float32(gain) * (beats.waves + 1), following=np.float32(gain) * (beats.following + 1)
        )
        if beats.no_next[0]:
            gained.following[:] = 0
        expected, found = one.describe(beats)[0], other.describe(gained)[0]
        if i:
            np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def test_the_dominant_wave_is_the_usual_beat() -> None:
    """After 20 equal beats the waves of the dominant and of the beat's own cluster are that beat, and all likeness 1.

    The unit is the dominant QRS complex.
    """
    inputs, cluster, new, _ = taught().describe(beat())
    wave = NORMAL[SLACK:-SLACK] - np.median(NORMAL[SLACK:-SLACK])
    qrs = NORMAL[AROUND_QRS][SLACK:-SLACK]
    size = np.linalg.norm(qrs - qrs.mean())
    for channel in (OWN, USUAL, CLUSTER):
        np.testing.assert_allclose(inputs[0, channel], wave / size, atol=1e-5)
    for name in ("like_dominant", "like_cluster", "like_before", "like_next", "wave_like", "p_like", "share_dominant"):
        assert feature(inputs, name) == pytest.approx(1, abs=1e-4), name
    assert feature(inputs, "size") == pytest.approx(0, abs=1e-5)
    assert (cluster.tolist(), new.tolist()) == ([0], [False])


def test_an_odd_beat_gets_a_cluster_of_its_own() -> None:
    """A beat of another shape is new and unlike the dominant one; its like joins it, and the usual beat stays."""
    patients = taught()
    odd, cluster, new, _ = patients.describe(beat(WIDE))
    again, cluster_again, new_again, _ = patients.describe(beat(WIDE))
    usual, cluster_usual, new_usual, _ = patients.describe(beat())
    assert (new.tolist(), new_again.tolist(), new_usual.tolist()) == ([True], [False], [False])
    assert cluster.tolist() == cluster_again.tolist() != cluster_usual.tolist() == [0]
    assert feature(odd, "like_dominant") < 0.5
    assert feature(again, "like_dominant") < 0.5 < 0.999 < feature(again, "like_cluster")
    assert not odd[0, CLUSTER].any()
    np.testing.assert_allclose(again[0, CLUSTER], again[0, OWN], atol=1e-5)
    np.testing.assert_array_equal(odd[0, USUAL], usual[0, USUAL])
    assert feature(usual, "before_like_dominant") < 0.5 < 0.999 < feature(again, "next_like_dominant")
    assert feature(again, "share_cluster") < 0.1 < 0.9 < feature(again, "share_dominant")


def test_the_dominant_beat_may_change() -> None:
    """A new shape that lasts becomes the dominant one."""
    patients = taught(30)
    for _ in range(60):
        inputs = patients.describe(beat(WIDE))[0]
    assert feature(inputs, "like_dominant") > 0.999


def test_clusters_run_out() -> None:
    """The lightest cluster makes room for a ninth shape: the dominant one stays, and is still known."""
    random, patients = np.random.default_rng(4), taught()
    shapes = random.standard_normal((CLUSTER_COUNT, len(NORMAL))).astype(np.float32)
    found = [patients.describe(beat(shape)) for shape in shapes]
    clusters = [int(cluster[0]) for _, cluster, _, _ in found]
    assert all(new[0] for _, _, new, _ in found)
    assert sorted(clusters[:-1]) == list(range(1, CLUSTER_COUNT))
    assert clusters[-1] == clusters[0]
    assert (patients.describe(beat())[1].tolist(), patients.describe(beat(shapes[0]))[2].tolist()) == ([0], [True])


def test_a_beat_may_stand_a_little_aside() -> None:
    """A beat whose R peak was found two samples late joins its like, and does not blur their mean."""
    patients = taught(3)
    for _ in range(40):
        inputs, cluster, new, _ = patients.describe(beat(np.roll(NORMAL, -SLACK)))
        assert (cluster.tolist(), new.tolist()) == ([0], [False])
    assert feature(inputs, "like_dominant") > 0.995
    assert int(inputs[0, USUAL].argmax()) == WAVE_BEFORE


@pytest.mark.parametrize("score", [0.0, -1.5])
def test_doubtful_candidates_are_not_learnt(score: float) -> None:
    """A candidate that the detector rejected is described, has cluster -1, and changes only the signal's quality."""
    patients, without = taught(), taught()
    expected = without.describe(beat())[0]
    inputs, cluster, new, _ = patients.describe(beat(WIDE, (0.3, 0.8, 0.8), 0.5, score=score))
    assert (cluster.tolist(), new.tolist()) == ([-1], [True])
    assert feature(inputs, "like_dominant") < 0.5
    assert feature(inputs, "score") == pytest.approx(score / 6)
    found, cluster, _, _ = patients.describe(beat())
    differ = {FEATURES[i - CHANNELS * WAVE] for i in np.flatnonzero(found != expected)}
    assert differ <= {"mean_roughness", "mean_like", "mean_change", "mean_taken"}
    assert feature(found, "mean_taken") < feature(expected, "mean_taken")
    assert cluster.tolist() == [0]


def test_reset_forgets_one_patient() -> None:
    """A row that starts again is as new, and the others keep their state."""
    random, patients, other = np.random.default_rng(3), BeatTemplates(3), BeatTemplates(3)
    for _ in range(20):
        beats = some_beats([0, 1, 2], random)
        patients.describe(beats)
        other.describe(beats)
    patients.start(1)
    beats = some_beats([0, 1, 2], random)
    found, known = patients.describe(beats)[0], other.describe(beats)[0]
    new = BeatTemplates(3).describe(beats)[0]
    np.testing.assert_array_equal(found, np.stack([known[0], new[1], known[2]]))
    assert not np.array_equal(new[1], known[1])


def test_an_early_beat_and_its_pause() -> None:
    """An early beat is shorter than all that it is compared with, and the pause behind it longer."""
    patients = taught()
    early = patients.describe(beat(rr=(0.5, 0.8, 0.8), following=1.1))[0]
    late = patients.describe(beat(rr=(1.1, 0.5, 0.8)))[0]
    for name in ("rr/own", "rr/recent", "rr/recent80", "rr/long25", "rr/long50", "rr/long75", "mean/long50"):
        assert feature(early, name) < 0, name
    for name in ("rr/own", "rr/recent", "rr/recent80", "rr/long25", "rr/long50", "rr/long75"):
        assert feature(late, name) > 0.2, name
    assert feature(early, "rr/recent") == pytest.approx(np.log(0.5 / 0.8), abs=1e-3)
    assert feature(early, "rr/next") == pytest.approx(np.log(0.5 / 1.1), abs=1e-3)
    assert feature(early, "next/recent") == pytest.approx(np.log(1.1 / 0.8), abs=1e-3)
    assert feature(early, "next/own") > 0 > feature(late, "rr1/own")
    assert feature(early, "shortening") == pytest.approx(np.log(0.5 / 0.8), abs=1e-3)
    assert feature(late, "lengthening") == pytest.approx(np.log(1.1 / 0.5), abs=1e-3)


def test_a_regular_rhythm_is_nothing_to_speak_of() -> None:
    """Equal intervals give ratios of 1 at any rate, once the rate is known."""
    for rr in (0.4, 1.2):
        patients = BeatTemplates()
        for _ in range(40):
            inputs = patients.describe(beat(rr=(rr, rr, rr), following=rr))[0]
        for name in ("rr/own", "next/own", "rr/recent", "next/recent", "rr/long50", "irregularity", "shortening"):
            assert feature(inputs, name) == pytest.approx(0, abs=0.02), name
        assert feature(inputs, "own") == pytest.approx(np.log(rr / 0.8), abs=0.02)


def test_an_irregular_rhythm_is_irregular() -> None:
    """The more the intervals vary from beat to beat, the higher the irregularity."""
    found = []
    for spread in (0.0, 0.05, 0.2):
        random, patients, rr = np.random.default_rng(6), BeatTemplates(), np.full(3, 0.8)
        for _ in range(30):
            inputs = patients.describe(beat(rr=rr.tolist()))[0]
            rr = np.array([0.8 * np.exp(random.normal(0, spread)), *rr[:2]])
        found.append(feature(inputs, "irregularity"))
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert found[0] + 0.1 < found[1] < found[2] / 2


def test_pauses_are_not_learnt() -> None:
    """An unknown interval and one of three seconds do not change the rhythm of those that follow."""
    patients, regular = taught(), taught()
    expected = regular.describe(beat())[0]
    for rr in ((3.0, 0.8, 0.8), (np.nan, np.nan, np.nan)):
        patients.describe(beat(rr=rr))
    found = patients.describe(beat())[0]
    for name in ("rr/own", "rr/recent", "rr/long25", "rr/long75", "irregularity", "lengthening"):
        assert feature(found, name) == pytest.approx(feature(expected, name), abs=1e-6), name
    unknown = patients.describe(beat(rr=(np.nan, np.nan, np.nan)))[0]
    assert feature(unknown, "rr/own") == feature(unknown, "rr1/own") == 0


def test_noise_is_told() -> None:
    """The noise level is the number `mean_change`; it rises in noise, and falls again after it."""
    random, patients, levels = np.random.default_rng(8), taught(), []
    for spread in (0.0, 0.5, 0.0):
        for _ in range(30):
            wave = (NORMAL + spread * random.standard_normal(len(NORMAL))).astype(np.float32)
            inputs, _, _, noise = patients.describe(beat(wave))
        assert noise[0] == pytest.approx(feature(inputs, "mean_change"))
        levels.append(float(noise[0]))
    assert max(levels[0], levels[2]) + 1 < levels[1]


@pytest.mark.parametrize("height", [0.0, 1e-4, 1e6])
def test_inputs_are_finite_and_bounded(height: float) -> None:
    """A flat wave and an enormous one, with nothing known of the rhythm, still give numbers within the limits."""
    random, patients = np.random.default_rng(7), BeatTemplates()
    for _ in range(12):
        wave = (height * random.standard_normal(len(NORMAL))).astype(np.float32)
        unknown = beat(wave, (np.nan, np.nan, np.nan), score=1e6)
        inputs = patients.describe(replace(unknown, following=wave[None, AROUND_QRS]))[0]
        assert inputs.shape == (1, INPUTS)
        assert inputs.dtype == np.float32
        assert np.isfinite(inputs).all()
        assert (np.abs(inputs[:, CHANNELS * WAVE :]) <= FEATURE_LIMITS).all()
        assert np.abs(inputs[:, : CHANNELS * WAVE]).max() <= 4
