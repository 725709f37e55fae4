"""Features that separate fibrillation, ventricular tachycardia, organised rhythm, noise and a flat line in a window.

Four seconds of one lead become spectrum, autocorrelation, and the distributions of voltage and slope, without finding a
beat. The ideas are those of the literature: concentration about a dominant frequency
and its harmonics (Barro et al. 1989), leakage of the VF filter (Kuo & Dillman 1978, as the first minimum of the
autocorrelation), threshold crossing (Thakor et al. 1990, Arafat et al. 2011), counts and slopes (Jekova & Krasteva
2004, Irusta & Ruiz 2009), kurtosis and share of time at the baseline (Li, Rajagopalan & Clifford 2014), complexity as
turning points (Amann, Tratnig & Unterkofler 2005).

All but three of them are relative to the window's own height: they do not change if the signal is scaled or inverted.
Height counts only below 0.4 mV. The features of a window do not depend, to the last bit, on the other windows of a
batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.compiled.library import load_library
from model.records.resample import FS
from model.waveform.compiled_features import CompiledFeatures

Floats = NDArray[np.float32]

WINDOW = 4 * FS
"""Samples of a window, 4 s."""
SEGMENTS = 10
"""Parts of a window, 0.4 s each, in which height and slope are compared."""
LOWEST_MV, HIGHEST_MV = 0.02, 0.4
"""Heights are clipped to these bounds: a lead is rarely lower, and a higher one is no different."""
FAINT_MV = 0.05
"""Only below this height does the size of what is faster or slower than a heart count: it hides nothing above it."""
EDGE = FS // 5
"""Samples at each end whose mean is an end of the line that is subtracted."""
BANDS = (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 9, 10, 12, 14, 17, 20, 25, 30)
"""Edges in hertz of the bands of the spectrum."""
HALF_WINDOW = WINDOW // 2
"""Samples of a window at half the rate."""
SHARP = 3
"""Distance in samples of the two neighbours that a sample is compared with, for sharpness."""
LAGS = (3, 5, 6, 8, 9, 11, 13, 16, 18, 21, 25, 31, 39, 47, 62, 80, 100)
"""Edges, in samples at half the rate, of the parts of the autocorrelation whose highest value counts."""
LOW_PARTS = 10
"""The first parts of these, whose lowest value counts, too."""
FIRST_LAG, LAST_LAG = 10, 80
"""Bounds of the period: 375 to 47 repetitions per minute."""
NEAR_BEST = 0.85
"""The first peak of the autocorrelation that reaches this share of the highest is the period."""
LEAST_REPETITION = 0.35
"""A window with a lower peak does not repeat."""
QUANTILES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
SLOPE_QUANTILES = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95, 0.98)
TINY = 1e-9
BURST_STEP = 5
"""Samples, 40 ms, whose steepness is taken together; three such steps make a burst as long as a QRS complex."""
BURST_QUANTILES, BURST_TOP = np.array([9, 24, 39, 49, 58, 73, 82, 88]), 95
"""Places in the 98 sorted bursts of a window, and that of its highest."""
BURST_PADDED = 160
"""Steps of the spectrum of the bursts: with zeros behind them, the end does not meet the start."""
BURST_LAGS = (5, 8, 12, 18, 26, 38, 60)
"""Edges, in steps of 40 ms, of the parts of the bursts' autocorrelation whose highest value counts."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowFeatures:
    """Features of n windows: `numbers` (n, FEATURE_COUNT), `height` (n,) mV, `period` (n,) samples, 0 for none."""

    numbers: Floats
    height: Floats
    period: Floats


def measure_windows(windows: Floats) -> WindowFeatures:
    """Measure windows.

    Parameters
    ----------
    windows
        (n, WINDOW) float32 mV at 125 Hz, all finite.

    Returns
    -------
    WindowFeatures
        The input of the waveform classifier, and height and period of each window. Differences from the literature: the
        first minimum of the autocorrelation stands for the VF filter of Kuo & Dillman 1978, and counts and slopes enter
        as whole distributions instead of thresholds.
    """
    line = windows - _line_between_ends(windows)
    spectrum = np.fft.rfft(line, axis=1).astype(np.complex64, copy=False)
    passed = spectrum * _BAND_PASS_GAIN
    y = np.fft.irfft(passed, WINDOW, axis=1).astype(np.float32, copy=False)
    ordered = np.sort(y, axis=1)
    height = ordered[:, _quantile_index(0.99)] - ordered[:, _quantile_index(0.01)]
    scale = np.maximum(height, np.float32(1e-3))[:, None]
    y /= scale
    slope = np.zeros_like(y)
    np.abs(y[:, 1:] - y[:, :-1], out=slope[:, 1:])
    squares = (slope * slope).reshape(len(y), WINDOW // BURST_STEP, BURST_STEP)
    energy = squares[:, :, 0].copy()
    for step in range(1, BURST_STEP):  # the sum over the last axis, which NumPy takes ten times as long for
        energy += squares[:, :, step]
    power = _tapered_power(passed)
    parts = [
        _height_features(spectrum, line, ordered, height),
        *_spectral_features(power[:, : _BINS[-1]]),
        *_voltage_features(y, ordered / scale),
        *_slope_features(y, slope),
        *_segment_features(y, slope, energy),
        *_burst_features(energy),
    ]
    repetition, period = _repetition_features(power)
    numbers = np.concatenate([*parts, repetition], axis=1).astype(np.float32)
    return WindowFeatures(numbers, height, period)


def open_measuring() -> Callable[[Floats], WindowFeatures]:
    """Return `measure_windows`: in C where that was built, which is the same but for the last digits."""
    library = load_library()
    if library is None:
        return measure_windows
    compiled = CompiledFeatures(library, WINDOW, BURST_PADDED, _TABLES, _PLACES, _NUMBERS)
    return lambda windows: WindowFeatures(*compiled.measure(windows))


def _quantile_index(share: float) -> int:
    return round(share * (WINDOW - 1))


def _count_changes(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how often each row of flags (n, samples) changes from one sample to the next, (n,)."""
    changes: NDArray[np.int16] = np.add.reduce(flags[:, 1:] != flags[:, :-1], axis=1, dtype=np.int16)
    return changes.astype(np.int64)


def _line_between_ends(x: Floats) -> Floats:
    """Return the straight line (n, WINDOW) between both ends of each window."""
    first, last = (np.add.reduce(part, axis=1, keepdims=True) / EDGE for part in (x[:, :EDGE], x[:, -EDGE:]))
    line: Floats = (first + (last - first) * _RAMP).astype(np.float32, copy=False)
    return line


def _tapered_power(spectrum: NDArray[np.complex64]) -> Floats:
    """Return the power (n, HALF_WINDOW // 2 + 1) under a Hann taper, which in the spectrum is a sum of neighbours."""
    tapered = 2 * spectrum[:, : HALF_WINDOW // 2 + 1] - spectrum[:, 1 : HALF_WINDOW // 2 + 2]
    tapered[:, 1:] -= spectrum[:, : HALF_WINDOW // 2]
    power: Floats = tapered.real**2 + tapered.imag**2
    return power


def _height_features(spectrum: NDArray[np.complex64], line: Floats, ordered: Floats, height: Floats) -> Floats:
    """Return the height, the parts below 1 Hz, above 30 Hz and in single steps, and what moves a flat line, (n, 7)."""
    power = spectrum.real**2 + spectrum.imag**2
    first, last = 4, _BINS[-1]
    inside = power[:, first:last].sum(axis=1) + TINY
    above = power[:, last:].sum(axis=1)
    below = power[:, :first].sum(axis=1)
    slow = np.log10(below / inside + 1e-3)
    fast = np.log10(above / inside + 1e-5)
    outside = np.where(height < FAINT_MV, np.sqrt(2 * np.stack([above, below])) / WINDOW, 0)
    outside = np.log2(np.minimum(np.maximum(outside, LOWEST_MV), HIGHEST_MV))
    scale = np.maximum(height, np.float32(1e-3))
    step = np.abs(line[:, 1:] - line[:, :-1]).max(axis=1) / scale
    bounded = np.log2(np.minimum(np.maximum(height, LOWEST_MV), HIGHEST_MV))
    reach = np.log2(np.maximum(ordered[:, -1], -ordered[:, 0]) / scale + TINY)
    parts = [bounded, np.minimum(slow, 4), np.minimum(fast, 4), np.minimum(step, 3), reach, *outside]
    return np.stack(parts, axis=1).astype("f4")


def _spectral_features(power: Floats) -> list[Floats]:
    """Return the shares of the bands, and of the dominant frequency and its harmonics, each (n, features)."""
    share = power / (power.sum(axis=1, keepdims=True) + np.float32(TINY))
    bands = np.add.reduceat(share, _BINS[:-1], axis=1)
    cumulated = np.concatenate([np.zeros((len(share), 1), np.float32), np.cumsum(share, axis=1)], axis=1)
    low, high = 4, 40  # 1 to 10 Hz
    smooth = cumulated[:, low + 3 : high + 3] - cumulated[:, low:high]
    peak = smooth.argmax(axis=1) + low + 1
    edges = np.stack([peak, 2 * peak, 3 * peak, peak // 2], axis=1)
    last = cumulated.shape[1] - 1
    ends = np.minimum(edges + _HARMONIC_STOPS, last), np.minimum(edges + _HARMONIC_STARTS, last)
    stop, start = (np.take_along_axis(cumulated, places, axis=1) for places in ends)
    harmonics = stop - start
    frequencies = _BIN_FREQUENCIES[: share.shape[1]].astype(np.float32)
    weighted = share * frequencies
    mean = weighted.sum(axis=1)
    spread = np.sqrt(np.maximum((weighted * frequencies).sum(axis=1) - mean**2, 0))
    uneven = np.log2((share * share).sum(axis=1) + np.float32(TINY))
    found = [peak / 4, np.log2(peak / 4), *harmonics.T, mean, spread, mean / (peak / 4), uneven]
    return [np.log10(bands + np.float32(1e-4)), np.stack(found, axis=1).astype("f4")]


def _repetition_features(power: Floats) -> tuple[Floats, Floats]:
    """Return the self-similarity at some lags (n, features), and the period (n,) in samples, 0 for none.

    Every other sample is enough: there is no power above 31 Hz. The taper avoids a step from the end to the start.
    """
    alike = np.fft.irfft(power, HALF_WINDOW, axis=1)[:, : LAGS[-1] + 2]
    alike /= (alike[:, :1] + np.float32(TINY)) * _OVERLAP
    highest = np.maximum.reduceat(alike[:, : LAGS[-1]], LAGS[:-1], axis=1)
    lowest = np.minimum.reduceat(alike[:, : LAGS[-1]], LAGS[:-1], axis=1)[:, :LOW_PARTS]
    inner = alike[:, FIRST_LAG - 1 : LAST_LAG + 2]
    peaks = (inner[:, 1:-1] >= inner[:, :-2]) & (inner[:, 1:-1] > inner[:, 2:])
    values = np.where(peaks, inner[:, 1:-1], np.float32(-1))
    best = values.max(axis=1)
    first = (values >= NEAR_BEST * best[:, None]).argmax(axis=1)
    rows = np.arange(len(power))
    before, at, after = (inner[rows, first + i] for i in range(3))
    bend = np.minimum(before - 2 * at + after, np.float32(-TINY))
    exact = first + FIRST_LAG + np.minimum(np.maximum((before - after) / (2 * bend), -0.5), 0.5)
    lag = np.where(best > 0, exact, np.float32(LAST_LAG)).astype(np.float32)
    valley = np.where(lag[:, None] > _LAG_INDICES, alike, np.float32(1)).min(axis=1)
    crossing = (alike < 0).argmax(axis=1).astype(np.float32)
    found = np.stack([best, np.log2(lag), valley, best - valley, np.log2(crossing + 1)], axis=1)
    period = np.where(best >= LEAST_REPETITION, 2 * lag, np.float32(0)).astype(np.float32)
    return np.concatenate([highest, lowest, found], axis=1).astype(np.float32), period


def _voltage_features(y: Floats, ordered: Floats) -> list[Floats]:
    """Return the distribution of the voltages, the longer tail up, and the crossings of levels, each (n, features)."""
    middle = ordered[:, WINDOW // 2][:, None]
    centred = y - np.add.reduce(y, axis=1, keepdims=True) / np.float32(WINDOW)
    squared = centred * centred
    powers = (squared, squared * centred, squared * squared)
    variance, third, fourth = (np.add.reduce(one, axis=1) / np.float32(WINDOW) for one in powers)
    variance += np.float32(1e-6)
    skew, kurtosis = third / (variance * np.sqrt(variance)), fourth / variance**2
    up = (skew >= 0)[:, None]
    quantiles = ordered[:, _VOLTAGE_PLACES] - middle
    quantiles = np.where(up, quantiles, -quantiles[:, ::-1])
    tall = np.where(up, centred, -centred)
    crossings = [_count_changes(tall > level) / 8 for level in (-0.25, 0.0, 0.25)]
    found = [np.minimum(np.abs(skew), 4), np.log2(kurtosis + np.float32(0.5)), *crossings]
    return [quantiles, np.stack(found, axis=1).astype("f4")]


def _slope_features(y: Floats, slope: Floats) -> list[Floats]:
    """Return the distributions of slope and of sharpness (8 Hz and above), and turning points, each (n, features)."""
    steep = np.sort(slope, axis=1)
    most = steep[:, _quantile_index(0.99)][:, None] + np.float32(TINY)
    sharp = y[:, SHARP:-SHARP] - (y[:, : -2 * SHARP] + y[:, 2 * SHARP :]) * np.float32(0.5)
    edge = np.sort(np.abs(sharp), axis=1)
    largest = edge[:, -6][:, None] + np.float32(TINY)
    rising = y[:, 1:] > y[:, :-1]
    turns = _count_changes(rising) / 8
    found = [np.log2(most[:, 0]), np.log2(largest[:, 0]), np.log2(turns + 1)]
    return [steep[:, _SLOPE_PLACES] / most, edge[:, _SLOPE_PLACES] / largest, np.stack(found, axis=1).astype("f4")]


def _burst_features(energy: Floats) -> list[Floats]:
    """Return how the steepness is gathered in bursts, as that of beats is, and how evenly these follow each other."""
    bursts = np.sqrt(energy[:, :-2] + energy[:, 1:-1] + energy[:, 2:])
    ordered = np.sort(bursts, axis=1)
    top = ordered[:, BURST_TOP][:, None] + np.float32(TINY)
    bursts /= top
    high = bursts > np.float32(0.5)
    count = _count_changes(high) / 8
    bursts -= np.add.reduce(bursts, axis=1, keepdims=True) / np.float32(bursts.shape[1])
    spectrum = np.fft.rfft(bursts, BURST_PADDED, axis=1)
    alike = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, BURST_PADDED, axis=1)
    alike = alike[:, : BURST_LAGS[-1]] / (alike[:, :1] + np.float32(TINY)) * _BURST_GAIN
    highest = np.maximum.reduceat(alike, BURST_LAGS[:-1], axis=1)
    found = np.stack([count, highest.max(axis=1)], axis=1)
    return [ordered[:, BURST_QUANTILES] / top, highest.astype("f4"), found.astype("f4")]


def _segment_features(y: Floats, slope: Floats, energy: Floats) -> list[Floats]:
    """Return height and steepness of the parts, sorted, and of the second half relative to the first."""
    length = WINDOW // SEGMENTS
    highest, lowest = (of.reduceat(y, _SEGMENT_STARTS, axis=1) for of in (np.maximum, np.minimum))
    heights, steepest = highest - lowest, np.maximum.reduceat(slope, _SEGMENT_STARTS, axis=1)
    power = (y * y).reshape(len(y), SEGMENTS, length).sum(axis=2) / np.float32(length)
    bend = energy.reshape(len(y), SEGMENTS, length // BURST_STEP).sum(axis=2) / np.float32(length)
    half = SEGMENTS // 2
    tiny = np.float32(1e-4)
    later = [np.log2((one[:, half:].sum(axis=1) + tiny) / (one[:, :half].sum(axis=1) + tiny)) for one in (power, bend)]
    last = np.log2((heights[:, -3:].max(axis=1) + tiny) / (heights.max(axis=1) + tiny))
    ratio = np.sort(steepest / (steepest.max(axis=1, keepdims=True) + np.float32(TINY)), axis=1)
    numbers = np.minimum(np.maximum(np.stack([*later, last], axis=1), -6), 6).astype("f4")
    return [np.sort(heights, axis=1), ratio, numbers]


_SEGMENT_STARTS = np.arange(0, WINDOW, WINDOW // SEGMENTS)
_VOLTAGE_PLACES, _SLOPE_PLACES = (
    np.array([_quantile_index(share) for share in shares]) for shares in (QUANTILES, SLOPE_QUANTILES)
)
_RAMP = np.clip((np.arange(WINDOW) - (EDGE - 1) / 2) / (WINDOW - EDGE), -0.1, 1.1).astype(np.float32)
_BIN_FREQUENCIES = np.fft.rfftfreq(WINDOW, 1 / FS)
_BAND_PASS_GAIN = np.clip((_BIN_FREQUENCIES - 0.4) / 0.8, 0, 1) ** 2 * np.clip((35 - _BIN_FREQUENCIES) / 10, 0, 1)
_BAND_PASS_GAIN = _BAND_PASS_GAIN.astype(np.float32)
_BINS = [round(edge * WINDOW / FS) for edge in BANDS]
_LAG_INDICES = np.arange(LAGS[-1] + 2, dtype=np.float32)
_TAPER = np.fft.rfft(np.hanning(HALF_WINDOW + 1)[:-1])
_OVERLAP = np.fft.irfft(np.abs(_TAPER) ** 2, HALF_WINDOW)[: LAGS[-1] + 2].astype(np.float32)
_OVERLAP /= _OVERLAP[0]
_HARMONIC_STARTS, _HARMONIC_STOPS = np.array([-2, -2, -2, -1]), np.array([3, 3, 3, 2])
_BURST_GAIN = (98 / (98 - np.minimum(np.arange(BURST_LAGS[-1]), 70))).astype(np.float32)
FEATURE_COUNT = measure_windows(np.zeros((1, WINDOW), np.float32)).numbers.shape[1]
"""Features of a window."""
_TABLES = {"ramp": _RAMP, "gain": _BAND_PASS_GAIN, "overlap": _OVERLAP, "burst_gain": _BURST_GAIN}
_PLACES = {
    "bins": _BINS,
    "lags": LAGS,
    "burst_lags": BURST_LAGS,
    "voltage_places": _VOLTAGE_PLACES.tolist(),
    "slope_places": _SLOPE_PLACES.tolist(),
    "burst_places": BURST_QUANTILES.tolist(),
}
_NUMBERS = {
    "bands": len(BANDS) - 1,
    "lag_parts": len(LAGS) - 1,
    "low_parts": LOW_PARTS,
    "burst_parts": len(BURST_LAGS) - 1,
    "voltages": len(QUANTILES),
    "slopes": len(SLOPE_QUANTILES),
    "burst_quantiles": len(BURST_QUANTILES),
    "edge": EDGE,
    "low_place": _quantile_index(0.01),
    "high_place": _quantile_index(0.99),
    "burst_top": BURST_TOP,
    "sharp": SHARP,
    "first_lag": FIRST_LAG,
    "last_lag": LAST_LAG,
    "features": FEATURE_COUNT,
    "lowest_mv": LOWEST_MV,
    "highest_mv": HIGHEST_MV,
    "faint_mv": FAINT_MV,
    "tiny": TINY,
    "near_best": NEAR_BEST,
    "least_repetition": LEAST_REPETITION,
}
