"""Measures of one lead as a signal, in whatever unit: height of its QRS complexes, hum, rails, flatness, quality.

They say what is wrong with a lead, not what the heart does.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from agent.analysis.lead_quality import signal_quality
from agent.analysis.rhythm_windows import WindowScores
from model.records.resample import Resampler
from model.waveform.waveform_classifier import HOP, WINDOW, WaveformClassifier

MAINS_HZ = (50.0, 60.0)
MAINS_WIDTH_HZ, BESIDE_HZ = 0.6, 4.0
"""Hum lies this near to the frequency of the mains; what lies around it up to here is no hum."""
SPECTRUM_S = 4.0
QRS_BAND_HZ = (5.0, 25.0)
QRS_WINDOW_S = 1.5
"""A beat lies in each window of this length, at 40 beats a minute or more."""
QRS_REACH_S, BASELINE_REACH_S = 0.05, 0.2
LARGEST_QRS_MV, SMALLEST_QRS_MV = 20.0, 0.02
"""Heights beyond which not the heart but the unit is wrong."""
RAIL_RUN_S = 0.02
"""The highest or lowest value for this time is a rail, and no peak."""
FLAT_SHARE = 0.02
"""A second that moves by less than this share of a QRS complex is flat."""
LEAST_RISING, RISING_SHARE = 20, 0.98
"""A clock or a counter moves often, and hardly ever back."""


@dataclass(frozen=True, slots=True)
class LeadMeasures:
    """What was measured of a lead, in its own unit; shares from 0 to 1.

    `missing`, `flat`, `clipped`: shares of the time. `low`, `high`: the range without the outermost thousandths.
    `qrs_height`: of the usual QRS complex from peak to peak, `inverted` whether it points down (None: no peaks).
    `hum`: root mean square at 50 and 60 Hz, NaN where the rate is too low for it. `rises`: it does nothing else.
    `quality`: from 0 to 1, None for less than four seconds.
    """

    missing: float
    flat: float
    clipped: float
    low: float
    high: float
    qrs_height: float
    inverted: bool | None
    hum: tuple[float, float]
    rises: bool
    quality: float | None


def measure_lead(x: NDArray[np.float64], fs: float, peaks: NDArray[np.int64]) -> LeadMeasures:
    """Measure a lead `x` (n,) at `fs` hertz, NaN without a value, with R peaks at samples `peaks` (m,)."""
    there = ~np.isnan(x)
    filled = fill_holes(x)
    known = x[there]
    height = measure_qrs_height(filled, fs, peaks)
    low, high = np.quantile(known, (0.001, 0.999)) if len(known) else (np.nan, np.nan)
    return LeadMeasures(
        missing=1 - float(there.mean()) if len(x) else 1.0,
        flat=flat_share(x, fs, FLAT_SHARE * height),
        clipped=clipped_share(known, fs),
        low=float(low),
        high=float(high),
        qrs_height=height,
        inverted=points_down(filled, fs, peaks),
        hum=measure_hum(filled, fs),
        rises=only_rises(known),
        quality=measure_quality(filled / height, fs) if height > 0 else 0.0,
    )


def fill_holes(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `x` (n,) with straight lines where it has no value, for measures that need every sample."""
    there = ~np.isnan(x)
    if there.all() or not there.any():
        return np.nan_to_num(x)
    at = np.arange(len(x))
    return np.interp(at, at[there], x[there])


def estimate_qrs_height(x: NDArray[np.float64], fs: float) -> float:
    """Return about the height of QRS complexes in `x` (n,), of which the places are not known; 0 for none."""
    size = ceil(QRS_WINDOW_S * fs)
    if len(x) < 2 * size:
        return 0.0
    filtered = _keep_band(x - np.median(x), fs, QRS_BAND_HZ[0], min(QRS_BAND_HZ[1], 0.45 * fs))
    windows = filtered[: len(filtered) // size * size].reshape(-1, size)
    return float(np.median(np.ptp(windows, axis=1)))


def _keep_band(x: NDArray[np.float64], fs: float, low: float, high: float) -> NDArray[np.float64]:
    """Filter samples (n,) by a Butterworth band-pass of order 2 from `low` to `high` hertz, forward and back.

    It is `scipy.signal.sosfiltfilt` but for the edges, by its response: to import that takes half a second.
    """
    reach = min(len(x) - 1, round(fs))
    before, behind = 2 * x[0] - x[reach:0:-1], 2 * x[-1] - x[-2 : -reach - 2 : -1]
    longer = np.concatenate([before, x, behind])
    size = 1 << (len(longer) - 1).bit_length()
    turn, start, stop = (np.tan(np.pi * np.asarray(hertz) / fs) for hertz in (np.fft.rfftfreq(size, 1 / fs), low, high))
    response = np.zeros(len(turn))  # 0 at 0 Hz
    response[1:] = 1 / (1 + ((turn[1:] ** 2 - start * stop) / (turn[1:] * (stop - start))) ** 4)
    filtered: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(longer, size) * response, size)
    return filtered[reach : reach + len(x)]


def measure_qrs_height(x: NDArray[np.float64], fs: float, peaks: NDArray[np.int64]) -> float:
    """Return the median height of the QRS complexes of `x` (n,) at `peaks` (m,), an estimate where there are none."""
    cuts = _cut_around(x, peaks, round(QRS_REACH_S * fs))
    return float(np.median(np.ptp(cuts, axis=1))) if len(cuts) else estimate_qrs_height(x, fs)


def points_down(x: NDArray[np.float64], fs: float, peaks: NDArray[np.int64]) -> bool | None:
    """Return whether the usual QRS complex of `x` (n,) is deeper than it is high; None without R peaks (m,)."""
    cuts = _cut_around(x, peaks, round(BASELINE_REACH_S * fs))
    if not len(cuts):
        return None
    reach = round(QRS_REACH_S * fs)
    middle = cuts.shape[1] // 2
    wave = np.median(cuts - np.median(cuts, axis=1, keepdims=True), axis=0)[middle - reach : middle + reach + 1]
    return bool(-wave.min() > wave.max())


def measure_hum(x: NDArray[np.float64], fs: float) -> tuple[float, float]:
    """Return the root mean square of `x` (n,) at 50 and at 60 Hz beyond what lies beside them; NaN where unknown."""
    size = round(SPECTRUM_S * fs)
    if len(x) < size:
        return np.nan, np.nan
    from scipy.signal import welch

    hertz, density = welch(x, fs, "hann", size, detrend="constant")
    hums = []
    for mains in MAINS_HZ:
        if mains + BESIDE_HZ >= fs / 2:
            hums.append(np.nan)
            continue
        distance = np.abs(hertz - mains)
        near, beside = distance <= MAINS_WIDTH_HZ, (distance > 2 * MAINS_WIDTH_HZ) & (distance <= BESIDE_HZ)
        excess = density[near] - np.median(density[beside])
        hums.append(float(np.sqrt(max(0.0, excess.sum() * (hertz[1] - hertz[0])))))
    return hums[0], hums[1]


def clipped_share(x: NDArray[np.float64], fs: float) -> float:
    """Return the share of `x` (n,) that stands at its highest or lowest value for longer than a peak does."""
    if not len(x) or np.ptp(x) == 0:
        return 0.0
    least = max(4, ceil(RAIL_RUN_S * fs))
    return sum(_samples_in_runs(x == edge, least) for edge in (x.min(), x.max())) / len(x)


def flat_share(x: NDArray[np.float64], fs: float, least: float) -> float:
    """Return the share of the whole seconds of `x` (n,) that move by no more than `least`, NaN aside."""
    size = max(2, round(fs))
    seconds = x[: len(x) // size * size].reshape(-1, size)
    seconds = seconds[~np.isnan(seconds).all(axis=1)]
    if not len(seconds):
        return 0.0
    return float(np.mean(np.nanmax(seconds, axis=1) - np.nanmin(seconds, axis=1) <= least))


def only_rises(x: NDArray[np.float64]) -> bool:
    """Return whether `x` (n,) does nothing but rise, as a clock or a counter does."""
    steps = np.diff(x)
    moves = steps[steps != 0]
    return len(moves) >= LEAST_RISING and bool(np.mean(moves > 0) > RISING_SHARE)


def measure_quality(x: NDArray[np.float64], fs: float) -> float | None:
    """Return the mean quality of `x` (n,) from 0 to 1, whose QRS complexes are about 1 high; None if it is short."""
    resampler = Resampler(fs, 1)
    at_125 = np.concatenate([resampler.push((x - np.median(x))[:, None]), resampler.flush()])[:, 0].astype(np.float32)
    starts = range(0, len(at_125) - WINDOW + 1, HOP)
    if not starts:
        return None
    found = _waveform_classifier().classify_windows(np.stack([at_125[start : start + WINDOW] for start in starts]))
    qualities = [
        signal_quality(WindowScores(0, 0, tuple(scores), float(height)), least_mv=0.0)
        for scores, height in zip(found.probabilities.tolist(), found.height, strict=True)
    ]
    return float(np.mean([quality for quality in qualities if quality is not None]))


@cache
def _waveform_classifier() -> WaveformClassifier:
    return WaveformClassifier.load()


def _cut_around(x: NDArray[np.float64], peaks: NDArray[np.int64], reach: int) -> NDArray[np.float64]:
    """Return `x` (n,) around each of `peaks` (m,) that is not too near to an end: (k, 2 * reach + 1)."""
    inside = peaks[(peaks >= reach) & (peaks < len(x) - reach)]
    cuts: NDArray[np.float64] = x[inside[:, None] + np.arange(-reach, reach + 1)]
    return cuts


def _samples_in_runs(at_edge: NDArray[np.bool_], least: int) -> int:
    """Return how many samples (n,) lie in runs of `least` or more."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], at_edge, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= least].sum())
