"""The waveform classifier, and its windows of a stream."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.alarmed import run_start

from agent.analysis.rhythm_windows import RhythmWindows, WindowScores
from agent.analysis.sample_ring import SampleRing
from agent.core.messages import Gap
from model.records.resample import FS
from model.waveform.waveform_classifier import HOP, WAVEFORM_KINDS, WINDOW, WaveformClassifier
from model.waveform.window_features import FEATURE_COUNT, measure_windows

Floats = NDArray[np.float32]
TIME = np.arange(60 * FS) / FS


@pytest.fixture(scope="module")
def classifier() -> WaveformClassifier:
    return WaveformClassifier.load()


def beats(rate: float, width_s: float, wave_s: float, seed: int = 1) -> Floats:
    """Bumps of 1 mV, each with a slower one of 0.25 mV behind it, `rate` a minute."""
    random = np.random.default_rng(seed)
    x = 0.01 * random.standard_normal(len(TIME))
    for at in np.arange(0.3, TIME[-1], 60 / rate):
        x += np.exp(-(((TIME - at) / width_s) ** 2)) + 0.25 * np.exp(-(((TIME - at - 0.25) / wave_s) ** 2))
    return x.astype(np.float32)


def sinus() -> Floats:
    return beats(72, 0.018, 0.06)


def tachycardia() -> Floats:
    """Broad complexes, one running into the other, 170 a minute."""
    phase = 2 * np.pi * 170 / 60 * TIME
    x = np.sin(phase) + 0.4 * np.sin(2 * phase + 1) + 0.1 * np.sin(3 * phase)
    return (x + 0.01 * np.random.default_rng(2).standard_normal(len(x))).astype(np.float32)


def fibrillation() -> Floats:
    """Three waves of about 5 Hz that drift, each in its own way."""
    random = np.random.default_rng(3)
    x = np.zeros(len(TIME))
    for pace in (4.6, 5.4, 6.1):
        drifting = pace + np.interp(TIME, np.arange(0, 61, 0.7), random.uniform(-0.7, 0.7, 88))
        x += np.interp(TIME, np.arange(0, 61, 1.3), random.uniform(0.1, 0.5, 47)) * np.sin(
            2 * np.pi * np.cumsum(drifting) / FS
        )
    return x.astype(np.float32)


def noise() -> Floats:
    """Muscles: no rhythm, all frequencies, and a line that jumps."""
    random = np.random.default_rng(4)
    return (
        0.5 * random.standard_normal(len(TIME)) + np.repeat(random.standard_normal(120), FS // 2 + 1)[: len(TIME)]
    ).astype(np.float32)


def flat() -> Floats:
    return (0.004 * np.random.default_rng(5).standard_normal(len(TIME))).astype(np.float32)


def windows(x: Floats) -> Floats:
    return np.stack([x[end - WINDOW : end] for end in range(WINDOW, len(x), HOP)])


@pytest.mark.parametrize(
    ("wave", "kind"),
    [(sinus, "organised"), (tachycardia, "VT"), (fibrillation, "VF"), (noise, "noise"), (flat, "asystole")],
)
def test_each_kind_of_waveform_is_known(classifier: WaveformClassifier, wave: Callable[[], Floats], kind: str) -> None:
    """Nine of ten windows of each kind get that kind; probabilities sum to 1."""
    said = classifier(windows(wave()))
    assert said.dtype == np.float32
    assert said.shape[1] == len(WAVEFORM_KINDS)
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)
    assert (said.argmax(axis=1) == WAVEFORM_KINDS.index(kind)).mean() >= 0.9


@pytest.mark.parametrize("rate", [45, 60, 100, 150])
def test_narrow_beats_of_any_rate_are_no_emergency(classifier: WaveformClassifier, rate: float) -> None:
    """Narrow beats at 45 to 150 per minute are neither VT nor VF."""
    said = classifier(windows(beats(rate, 0.018, 0.05)))
    assert (said[:, 1] + said[:, 2]).max() < 0.5


@pytest.mark.parametrize("wave", [sinus, tachycardia, fibrillation])
def test_neither_height_nor_sign_nor_line_matter(classifier: WaveformClassifier, wave: Callable[[], Floats]) -> None:
    """A larger, inverted or tilted signal gives the same kind."""
    x = windows(wave())
    as_it_is = classifier(x)
    np.testing.assert_allclose(classifier(4 * x), as_it_is, atol=1e-4)
    np.testing.assert_allclose(classifier(-x), as_it_is, atol=0.03)
    tilted = x + np.linspace(-3, 2, WINDOW, dtype=np.float32)
    assert (classifier(tilted).argmax(axis=1) == as_it_is.argmax(axis=1)).mean() >= 0.9


def test_height_and_rate_are_measured(classifier: WaveformClassifier) -> None:
    """VT at 170 per minute has its rate and height; noise has windows that do not repeat."""
    found = classifier.classify_windows(windows(tachycardia()))
    np.testing.assert_allclose(found.rate, 170, atol=3)
    assert ((found.height > 1.5) & (found.height < 3)).all()
    assert not classifier.classify_windows(windows(noise())).rate.all()


def test_a_window_does_not_depend_on_its_batch(classifier: WaveformClassifier) -> None:
    """A window alone gives what it gives in any batch, to the last bit."""
    x = np.concatenate([windows(wave()) for wave in (sinus, tachycardia, fibrillation, noise, flat)])
    together = classifier.classify_windows(x)
    for first, count in ((0, 1), (17, 1), (40, 2), (3, 7), (100, 64), (0, 129)):
        alone = classifier.classify_windows(x[first : first + count])
        for name in ("probabilities", "height", "rate"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[first : first + count])


def test_no_windows_give_no_scores(classifier: WaveformClassifier) -> None:
    """An empty batch gives an empty result of the right shape."""
    assert classifier(np.empty((0, WINDOW), np.float32)).shape == (0, len(WAVEFORM_KINDS))


@pytest.mark.parametrize("value", [0.0, 1e-30, 5.0, -1e4])
def test_a_constant_is_a_flat_line_and_nothing_overflows(classifier: WaveformClassifier, value: float) -> None:
    """A constant of any size is asystole, without a numerical warning."""
    said = classifier(np.full((1, WINDOW), value, np.float32))[0]
    assert WAVEFORM_KINDS[int(said.argmax())] == "asystole"


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(1e-6, 1e5))
def test_numbers_are_finite_whatever_comes(seed: int, height: float) -> None:
    """Features are finite for any height and any share of zeros."""
    random = np.random.default_rng(seed)
    x = height * random.standard_normal((2, WINDOW)) * (random.random((2, WINDOW)) < random.random())
    seen = measure_windows(x.astype(np.float32))
    assert seen.numbers.shape == (2, FEATURE_COUNT)
    assert np.isfinite(seen.numbers).all()


def listen(streams: list[Floats], cuts: list[int], first: int = 1000, late: int = 0) -> list[WindowScores]:
    """All looks at streams of one length that come in pieces of the lengths of `cuts`, over and over."""
    history = SampleRing(len(streams))
    waveforms = RhythmWindows(history, late)
    waveforms.grow(len(streams))
    for row in range(len(streams)):
        history.start(row, run_start(first))
        waveforms.start(row, run_start(first))
    rows = np.arange(len(streams))
    looks: list[WindowScores] = []
    at = turn = 0
    while at < len(streams[0]):
        stop = at + cuts[turn % len(cuts)]
        history.push(rows, np.stack([x[at:stop] for x in streams]))
        looks += waveforms.push(rows)
        at, turn = stop, turn + 1
    return looks + [look for row in rows.tolist() for look in waveforms.flush(row)]


def told(looks: list[WindowScores], row: int = 0) -> list[tuple[int, tuple[float, ...], float | None]]:
    return [(look.sample, look.scores, look.rate) for look in looks if look.row == row]


def test_windows_come_once_a_hop_and_have_scores_once_they_are_whole(classifier: WaveformClassifier) -> None:
    """Windows come once per hop, with scores as soon as a whole window is there."""
    x = sinus()[: 20 * FS]
    looks = listen([x], [250])
    assert [look.sample for look in looks] == list(range(1000 + HOP, 1000 + len(x) + 1, HOP))
    judged = [look for look in looks if look.scores]
    assert judged[0].sample == 1000 + WINDOW
    assert judged == looks[-len(judged) :]
    ends = range(WINDOW, len(x) + 1, HOP)
    expected = classifier(np.stack([x[end - WINDOW : end] for end in ends]))
    np.testing.assert_array_equal(np.array([look.scores for look in judged], np.float32), expected)
    assert {type(look.rate) for look in judged} <= {float, type(None)}
    assert all(0.5 < look.amplitude_mv < 1.5 for look in judged)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 250), min_size=1, max_size=6), st.integers(0, 20))
def test_windows_do_not_depend_on_how_the_stream_is_cut(cuts: list[int], late: int) -> None:
    """The same stream in pieces of any size gives the same windows."""
    x = np.concatenate([sinus()[: 6 * FS], fibrillation()[: 6 * FS]])
    assert told(listen([x], cuts, late=late)) == told(listen([x], [125]))


def test_windows_do_not_depend_on_other_beds() -> None:
    """A bed among others gives the windows that it gives alone."""
    streams = [wave()[: 10 * FS] for wave in (sinus, tachycardia, fibrillation, noise, flat)]
    together = listen(streams, [100])
    for row, x in enumerate(streams):
        assert told(together, row) == told(listen([x], [77]))


def test_a_window_waits_until_it_is_due() -> None:
    """With a delay a window comes that many samples after its end, or at the flush."""
    history = SampleRing()
    waveforms = RhythmWindows(history, late=13)
    rows = np.array([0])
    history.start(0, run_start())
    waveforms.start(0, run_start())
    history.push(rows, sinus()[None, : HOP + 12])
    assert waveforms.push(rows) == []
    history.push(rows, sinus()[None, HOP + 12 : HOP + 13])
    assert [look.sample for look in waveforms.push(rows)] == [HOP]
    history.push(rows, sinus()[None, HOP + 13 : 2 * HOP])
    assert waveforms.push(rows) == []
    assert [look.sample for look in waveforms.flush(0)] == [2 * HOP]


def test_no_window_reaches_over_a_gap() -> None:
    """After a gap windows begin as they do at the start of a run."""
    x = sinus()[: 7 * FS]
    history = SampleRing()
    waveforms = RhythmWindows(history)
    rows = np.array([0])
    history.start(0, run_start())
    waveforms.start(0, run_start())
    looks: list[WindowScores] = []
    for _ in range(2):
        for part in np.split(x, 7):
            history.push(rows, part[None])
            looks += waveforms.push(rows)
        gap = Gap("1", "run", int(history.head[0]), 30, FS, "lost")
        waveforms.interrupt(0, gap)
        history.interrupt(0, gap)
    before, after = [look for look in looks if look.sample <= len(x)], [look for look in looks if look.sample > len(x)]
    assert [look.sample + len(x) + 30 for look in before] == [look.sample for look in after]
    assert [look.scores for look in before] == [look.scores for look in after]
    assert [bool(look.scores) for look in before] == [False] * 3 + [True] * 4


def test_a_row_that_has_not_begun_has_no_windows() -> None:
    """A row without a run gives no windows."""
    waveforms = RhythmWindows(SampleRing(2), rows=2)
    assert waveforms.push(np.array([0, 1])) == []
