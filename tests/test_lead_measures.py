"""agent.analysis.lead_measures: each measure on a made signal whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from agent.analysis import lead_measures
from agent.analysis.lead_measures import _keep_band

FS = 250.0


def made_lead(
    seconds: float = 20.0, fs: float = FS, height: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return a lead (n,) of 75 beats a minute whose QRS complexes are `height` high, and its R peaks (m,)."""
    at_s = np.arange(round(seconds * fs)) / fs
    phase_s = at_s % 0.8 - 0.4
    waves = ((0.83, 0.0, 0.012), (-0.17, 0.03, 0.012), (0.2, 0.26, 0.06), (0.1, -0.17, 0.03))
    x = sum(size * np.exp(-(((phase_s - place) / width) ** 2) / 2) for size, place, width in waves)
    return height * np.asarray(x), np.arange(round(0.4 * fs), len(at_s), round(0.8 * fs))


@pytest.mark.parametrize("fs", [125.0, 250.0, 360.0, 1000.0])
@pytest.mark.parametrize("height", [1.0, 0.2, 1800.0])
def test_qrs_height(fs: float, height: float) -> None:
    """The height is found at every rate and in every unit, with and without R peaks."""
    x, peaks = made_lead(fs=fs, height=height)
    assert lead_measures.measure_qrs_height(x, fs, peaks) == pytest.approx(height, rel=0.12)
    assert lead_measures.estimate_qrs_height(x + 1000 * height, fs) == pytest.approx(height, rel=0.4)


def test_polarity() -> None:
    """A lead that is turned over points down; without peaks nothing is said."""
    x, peaks = made_lead()
    assert lead_measures.points_down(x + 5, FS, peaks) is False
    assert lead_measures.points_down(5 - x, FS, peaks) is True
    assert lead_measures.points_down(x, FS, peaks[:0]) is None


@pytest.mark.parametrize("mains", [50.0, 60.0])
@pytest.mark.parametrize("amplitude", [0.02, 0.3])
def test_hum(mains: float, amplitude: float) -> None:
    """Hum has the root mean square of its sine, beside QRS complexes and noise, at its frequency alone."""
    x, _ = made_lead()
    at_s = np.arange(len(x)) / FS
    noise = np.random.default_rng(0).normal(0, 0.01, len(x))
    hums = lead_measures.measure_hum(x + noise + amplitude * np.sin(2 * np.pi * (mains + 0.05) * at_s), FS)
    own, other = hums if mains == 50 else hums[::-1]
    assert own == pytest.approx(amplitude / 2**0.5, rel=0.15)
    assert other < 0.01


def test_hum_that_cannot_be_seen() -> None:
    """At 100 Hz nothing is said of 50 and 60 Hz; nor of a second of signal."""
    assert np.isnan(lead_measures.measure_hum(np.zeros(1000), 100.0)).all()
    assert np.isnan(lead_measures.measure_hum(np.zeros(250), FS)).all()


def test_clipping() -> None:
    """Peaks that are cut off are clipped; the tops of whole ones, and a flat line, are not."""
    x, _ = made_lead()
    assert lead_measures.clipped_share(np.round(x, 2), FS) == 0.0
    cut = np.clip(x, -1, 0.15)
    assert lead_measures.clipped_share(cut, FS) == pytest.approx(np.mean(cut == 0.15), rel=0.35)
    assert lead_measures.clipped_share(cut, FS) > 0.1
    assert lead_measures.clipped_share(np.full(1000, 7.0), FS) == 0.0
    assert lead_measures.clipped_share(np.empty(0), FS) == 0.0


def test_flat() -> None:
    """Five of twenty seconds without a heart, some of them without a value."""
    x, _ = made_lead()
    x[: round(5 * FS)] = 0.3
    assert lead_measures.flat_share(x, FS, 0.02) == pytest.approx(0.25)
    x[: round(2 * FS)] = np.nan
    assert lead_measures.flat_share(x, FS, 0.02) == pytest.approx(3 / 18)
    assert lead_measures.flat_share(np.full(1000, np.nan), FS, 0.02) == 0.0


def test_clocks_and_counters() -> None:
    """What only rises is a clock or a counter, one that starts again too; a heart is none."""
    x, _ = made_lead()
    assert not lead_measures.only_rises(x)
    assert lead_measures.only_rises(np.arange(1000.0))
    assert lead_measures.only_rises(np.arange(2000.0) % 1500)
    assert lead_measures.only_rises(np.minimum(np.arange(1000.0), 77))
    assert not lead_measures.only_rises(np.arange(1000.0) % 2)
    assert not lead_measures.only_rises(np.zeros(1000))


def test_quality() -> None:
    """A clean heart is good, noise is not, and less than four seconds are not judged."""
    x, _ = made_lead()
    good = lead_measures.measure_quality(x, FS)
    bad = lead_measures.measure_quality(np.random.default_rng(0).normal(0, 1.0, len(x)), FS)
    assert good is not None
    assert bad is not None
    assert good > 0.9
    assert bad < 0.5
    assert lead_measures.measure_quality(x[: round(3 * FS)], FS) is None


@pytest.mark.parametrize("x", [np.empty(0), np.full(5000, np.nan), np.zeros(5000), np.zeros(3)])
def test_signals_without_a_heart(x: NDArray[np.float64]) -> None:
    """Nothing, no value, a line: every measure has an answer."""
    measures = lead_measures.measure_lead(x, FS, np.empty(0, np.int64))
    assert measures.qrs_height == 0
    assert measures.quality == 0
    assert measures.inverted is None


def test_all_measures_together() -> None:
    """A lead with holes is measured as the one without."""
    x, peaks = made_lead()
    x[1000:1100] = np.nan
    measures = lead_measures.measure_lead(x, FS, peaks)
    assert measures.missing == pytest.approx(0.02)
    assert (measures.flat, measures.clipped, measures.inverted, measures.rises) == (0, 0, False, False)
    assert measures.high == pytest.approx(0.83, abs=0.02)


@pytest.mark.parametrize(("fs", "top"), [(125.0, 25.0), (360.0, 25.0), (50.0, 22.5)])
def test_the_band_is_that_of_scipy(fs: float, top: float) -> None:
    """Forward and back by the same Butterworth filter; the first and last second may differ, where nothing is known."""
    x = np.random.default_rng(0).normal(0, 1, 4001).cumsum() / 10
    expected = sosfiltfilt(butter(2, (5.0, top), "bandpass", fs=fs, output="sos"), x)
    edge = round(fs)
    assert _keep_band(x, fs, 5.0, top)[edge:-edge] == pytest.approx(expected[edge:-edge], abs=1e-6)
