"""Onsets and ends of P, QRS and T in one lead of a typical beat, at 500 Hz.

Onset and end of QRS and P lie where the slope has stayed below a share of the wave's steepest slope for some time, as
in Laguna, Jané & Caminal 1994 (doi:10.1006/cbmr.1994.1006) and, with wavelets, Martínez et al. 2004
(doi:10.1109/TBME.2003.821031). The slope is that of a beat smoothed by a Gaussian.

The end of T is that of Zhang et al. 2005 (doi:10.1109/CIC.2005.1588203): the area between the curve and its value at
the end of a window of fixed length is largest, upwards or downwards, when the window ends with the wave. It needs
neither the peak of T nor its sign nor a baseline. Where the areas in both directions count, T is biphasic, and the
later one is its end.

The shares, times and lengths were chosen on records with odd numbers of LUDB, benchmarks/intervals.py.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.intervals.aligned_beats import INTERVAL_FS

Array = NDArray[np.float64]

MS = 1000 / INTERVAL_FS
"""Milliseconds of a sample."""
SLOPE_SIGMA_MS = 9.0
"""Width of the Gaussian whose derivative is the slope."""
QRS_BEFORE_MS, QRS_BEHIND_MS = 110.0, 150.0
"""Where the steepest slope of QRS is looked for, around the R peak."""
QRS_EARLIEST_MS, QRS_LATEST_MS = 180.0, 220.0
"""A QRS complex that began earlier, or ends later, has no edge that can be told."""
QRS_ONSET_SHARE, QRS_ONSET_QUIET_MS = 0.06, 10.0
QRS_END_SHARE, QRS_END_QUIET_MS = 0.06, 20.0
"""Share of the steepest slope, and for how long the slope is less: longer behind QRS, since ST may rise or fall."""
LEAST_QRS_MV = 0.05
"""A lead whose QRS complex is lower shows none."""

T_SIGMA_MS = 18.0
T_WINDOW_MS = 100.0
T_AFTER_QRS_MS = 120.0
"""The end of T is looked for from this long after QRS on ..."""
T_LATEST_SQRT_S, T_LATEST_SHARE = 0.50, 0.70
"""... up to this many seconds times the root of RR (in seconds), and this share of RR."""
BIPHASIC_RATIO = 20.0
"""Areas upwards and downwards both count unless one is this many times the other."""

P_SIGMA_MS = 10.0
P_SLOPE_SHARE, P_QUIET_MS = 0.3, 12.0
P_EARLIEST_MS, P_EARLIEST_SQRT_MS = 300.0, 320.0
"""P is looked for from this long before QRS on, less with the root of RR (in seconds)."""
P_GAP_MS = 10.0
P_HALF_MS = 100.0
"""Onset and end of P are at most this far from its peak."""
NO_RR_S = 1.0
"""The RR interval that is assumed if none is known."""


@dataclass(frozen=True, slots=True)
class WaveEdges:
    """Samples of onset, peak and end of a wave in a beat, NaN where there is none, and the height of a P wave in mV."""

    onset: float = np.nan
    peak: float = np.nan
    end: float = np.nan
    height: float = 0.0


NO_WAVE = WaveEdges()


class SmoothedBeat(NamedTuple):
    """A beat (n,) in mV as waves are looked for in it: as it is, smoothed, and its absolute slopes by the sample."""

    raw: Array
    slope: Array
    for_t: Array
    for_p: Array
    p_slope: Array


def smooth_beats(beats: Array) -> list[SmoothedBeat]:
    """Return beats (k, n) in mV without NaN, smoothed for each wave."""
    kinds = (
        beats,
        np.abs(smooth_waves(beats, SLOPE_SIGMA_MS, 1)),
        smooth_waves(beats, T_SIGMA_MS),
        smooth_waves(beats, P_SIGMA_MS),
        np.abs(smooth_waves(beats, P_SIGMA_MS, 1)),
    )
    return [SmoothedBeat(*beat) for beat in zip(*kinds, strict=True)]


def smooth_waves(waves: Array, sigma_ms: float, order: int = 0) -> Array:
    """Return beats (k, n), or their derivatives by the sample if `order` is 1, after a Gaussian of `sigma_ms`."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(waves, sigma_ms / MS, order=order, mode="nearest"))


def find_qrs(beat: SmoothedBeat, r_index: int) -> WaveEdges:
    """Return the QRS complex of a beat whose R peak is near sample `r_index`."""
    slope = beat.slope
    first, stop = max(0, r_index - _count(QRS_BEFORE_MS)), r_index + _count(QRS_BEHIND_MS)
    if np.ptp(beat.raw[first:stop]) < LEAST_QRS_MV:
        return NO_WAVE
    steepest = first + int(slope[first:stop].argmax())
    onset = _quiet_before(slope < QRS_ONSET_SHARE * slope[steepest], steepest, _count(QRS_ONSET_QUIET_MS))
    end = _quiet_behind(slope < QRS_END_SHARE * slope[steepest], steepest, _count(QRS_END_QUIET_MS))
    if r_index - onset > _count(QRS_EARLIEST_MS) or end - r_index > _count(QRS_LATEST_MS):
        return NO_WAVE
    return WaveEdges(onset, r_index, end)


def find_t(beat: SmoothedBeat, r_index: int, qrs: WaveEdges, rr_s: float | None) -> WaveEdges:
    """Return the T wave behind the QRS complex of a beat."""
    rr = NO_RR_S if rr_s is None else rr_s
    latest = min(T_LATEST_SQRT_S * rr**0.5, T_LATEST_SHARE * rr) * INTERVAL_FS
    stop = min(len(beat.raw), r_index + int(latest))
    if not np.isfinite(qrs.end) or stop - (first := int(qrs.end) + _count(T_AFTER_QRS_MS)) < _count(T_SIGMA_MS):
        return NO_WAVE
    smooth = beat.for_t
    areas = _areas_before(smooth, _count(T_WINDOW_MS))[first:stop]
    up, down = int(areas.argmax()), int((-areas).argmax())
    high, low = float(areas[up]), float(-areas[down])
    biphasic = min(high, low) * BIPHASIC_RATIO > max(high, low)
    end = first + (max(up, down) if biphasic else up if high > low else down)
    begin = int(qrs.end) + _count(T_AFTER_QRS_MS / 3)
    peak = begin + int(np.abs(smooth[begin:end] - smooth[end]).argmax())
    return WaveEdges(np.nan, peak, end)


def find_p(beat: SmoothedBeat, qrs: WaveEdges, t: WaveEdges, rr_s: float | None) -> WaveEdges:
    """Return the P wave before the QRS complex of a beat, and behind the T wave before that."""
    first, stop = p_window(qrs, t, rr_s)
    if stop - first < _count(P_HALF_MS) * 4 // 5:
        return NO_WAVE
    part = beat.for_p[first:stop]
    height = np.abs(part - np.linspace(part[0], part[-1], len(part)))
    peak = first + int(height.argmax())
    slope = beat.p_slope
    reach = _count(P_HALF_MS)
    before, behind = slice(max(first - reach // 10, peak - reach, 0), peak), slice(peak + 1, min(peak + reach, stop))
    if before.stop - before.start < 5 or behind.stop - behind.start < 5:
        return NO_WAVE
    rise = before.start + int(slope[before].argmax())
    fall = behind.start + int(slope[behind].argmax())
    onset = _quiet_before(slope < P_SLOPE_SHARE * slope[rise], rise, _count(P_QUIET_MS))
    end = _quiet_behind(slope < P_SLOPE_SHARE * slope[fall], fall, _count(P_QUIET_MS))
    return WaveEdges(max(onset, first - 15), peak, min(end, int(qrs.onset)), float(height.max()))


def p_window(qrs: WaveEdges, t: WaveEdges, rr_s: float | None) -> tuple[int, int]:
    """Return the first sample and the one behind the last where a P wave is looked for; none where they are equal."""
    if not np.isfinite(qrs.onset):
        return 0, 0
    rr = NO_RR_S if rr_s is None else rr_s
    first = qrs.onset - _count(min(P_EARLIEST_MS, P_EARLIEST_SQRT_MS * rr**0.5))
    if np.isfinite(t.end) and rr_s is not None:
        first = max(first, t.end - rr_s * INTERVAL_FS)
    first = int(max(first, 0))
    return first, max(first, int(qrs.onset) - _count(P_GAP_MS))


def _count(ms: float) -> int:
    return round(ms / MS)


def _areas_before(x: Array, window: int) -> Array:
    """Return for each sample the area above it of the `window` samples that end with it; 0 for the first of them."""
    sums = np.concatenate([[0.0], np.cumsum(x)])
    areas = np.zeros(len(x))
    areas[window:] = sums[window + 1 :] - sums[1:-window] - window * x[window:]
    return areas


def _quiet_before(quiet: NDArray[np.bool_], start: int, count: int) -> int:
    """Return the last sample up to `start` that ends `count` quiet ones; the first that could if there is none."""
    ends = _quiet_runs(quiet, count) + count - 1
    before = np.searchsorted(ends, start, "right")
    return int(ends[before - 1]) if before else count - 1


def _quiet_behind(quiet: NDArray[np.bool_], start: int, count: int) -> int:
    """Return the first sample from `start` on that begins `count` quiet ones; the last that could if there is none."""
    begins = _quiet_runs(quiet, count)
    behind = np.searchsorted(begins, start)
    return int(begins[behind]) if behind < len(begins) else len(quiet) - count


def _quiet_runs(quiet: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Return the samples (r,) that begin `count` quiet ones."""
    return np.flatnonzero(np.convolve(quiet, np.ones(count), "valid") == count)
