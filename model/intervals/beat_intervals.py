"""PR, QRS and QT of a typical beat, each with its uncertainty, or the reason why it cannot be measured.

Each lead of the median beat is measured by itself. Of several leads, a wave begins in the lead where it begins first
and ends where it ends last, as the AHA, ACCF and HRS recommend (doi:10.1161/CIRCULATIONAHA.108.191096); a lead far from
the others has no say.

The uncertainty is what about nine in ten differences from a cardiologist's measurement are below: what remains of them
on clean signals, and the spread over resamplings of the beats (the bootstrap, Efron & Tibshirani 1993,
doi:10.1201/9780429246593), as the root of the sum of their squares.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.intervals.aligned_beats import AlignedBeats, align_beats, cut_aligned_beats
from model.intervals.lead_points import P_END, P_ONSET, QRS_END, QRS_ONSET, T_END, LeadBeats, split_leads

Array = NDArray[np.float64]

FURTHEST_LEAD_MS = 80.0
"""A lead whose onset or end is further than this from the median of the leads has no say."""
RESAMPLINGS = 30
CLEAN_MS = (18.0, 20.0, 26.0)
"""Nine in ten differences of PR, QRS and QT are less than this where all beats are alike ..."""
SPREAD_SHARE = 1.0
"""... and otherwise grow with this times half of the middle 90 % over resamplings."""
LARGEST_MS = (50.0, 50.0, 90.0)
"""PR, QRS and QT that are less certain than this are not measured."""


@dataclass(frozen=True, slots=True)
class IntervalEstimate:
    """An interval in milliseconds and what nine in ten errors are below; or neither, and the `reason`.

    Of a single beat the uncertainty is unknown.
    """

    ms: float | None = None
    uncertainty_ms: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        """Return "92 ± 18 ms", or why there is none."""
        if self.ms is None:
            return f"not measurable: {self.reason}"
        return f"{self.ms:.0f} ms" if self.uncertainty_ms is None else f"{self.ms:.0f} ± {self.uncertainty_ms:.0f} ms"


@dataclass(frozen=True, slots=True)
class WaveBounds:
    """Onset and end of a wave in milliseconds from the R peak, None where it cannot be told."""

    onset_ms: float | None = None
    end_ms: float | None = None


@dataclass(frozen=True, slots=True)
class BeatIntervals:
    """What was measured on the median of a number of `beats`, in a number of `leads`.

    `pr`, `qrs` and `qt` are the intervals. The waves lie where `p_wave`, `qrs_complex` and `t_wave` say; of T only the
    end is measured. `rr_s` is the RR interval of these beats, for `corrected_qt`.
    """

    pr: IntervalEstimate
    qrs: IntervalEstimate
    qt: IntervalEstimate
    p_wave: WaveBounds = WaveBounds()
    qrs_complex: WaveBounds = WaveBounds()
    t_wave: WaveBounds = WaveBounds()
    beats: int = 0
    leads: int = 0
    rr_s: float | None = None


def measure_signal_intervals(
    signal: ArrayLike, r_peaks: ArrayLike, fs: float, chosen: ArrayLike | None = None
) -> BeatIntervals:
    """Measure the typical beat of a signal.

    Parameters
    ----------
    signal : (n,) or (n, leads) array of float
        Millivolts, NaN where there is no value.
    r_peaks : (k,) array of int
        Samples of the R peaks of all beats, in order.
    fs : float
        Sampling rate of the signal in hertz.
    chosen : (k,) array of bool, optional
        The beats to be measured, such as those of the class N; all if left out. Those unlike their median do not count.
    """
    return measure_aligned(cut_aligned_beats(signal, r_peaks, fs, chosen))


def measure_intervals(beats: ArrayLike, fs: float, r_index: int, rr_s: float | None = None) -> BeatIntervals:
    """Measure beats that are cut already, or a median beat.

    Parameters
    ----------
    beats : (n,), (k, n) or (k, n, leads) array of float
        One or many beats of one class in mV, of one or many leads; NaN where there is no value.
    fs : float
        Their sampling rate in hertz.
    r_index : int
        Sample of the R peak in each.
    rr_s : float, optional
        Their RR interval in seconds, which bounds where P and T waves are looked for.
    """
    return measure_aligned(align_beats(beats, fs, r_index, rr_s))


def measure_aligned(aligned: AlignedBeats) -> BeatIntervals:
    """Measure the median of aligned beats in each lead, and join the leads."""
    leads = split_leads(aligned)
    points = np.stack([lead.find_points() for lead in leads]) if leads else np.empty((0, 5))
    used = np.isfinite(points[:, QRS_ONSET])
    if not used.any():
        return _nothing("no beat is whole" if not leads else "no QRS complex can be told from what is around it")
    if aligned.irregular:
        points[:, [P_ONSET, P_END]] = np.nan
    leads, points = [lead for lead, good in zip(leads, used, strict=True) if good], points[used]
    shared = combine_leads(points)
    uncertainty = np.hypot(CLEAN_MS, SPREAD_SHARE * _resampled_spread(leads, points))
    pr, qrs, qt = _estimates(point_intervals(shared), uncertainty, aligned)
    return BeatIntervals(
        pr,
        qrs,
        qt,
        _bounds(shared[P_ONSET], shared[P_END]) if pr.ms is not None else WaveBounds(),
        _bounds(shared[QRS_ONSET], shared[QRS_END]),
        _bounds(np.nan, shared[T_END]) if qt.ms is not None else WaveBounds(),
        len(aligned.waves),
        len(leads),
        aligned.rr_s,
    )


def combine_leads(points: Array) -> Array:
    """Return the points (..., 5) of all leads together, earliest onsets and latest ends, from those of each lead.

    Those are `points` (..., leads, 5) in ms from the R peak, NaN where there is none.
    """
    known = np.isfinite(points)
    votes = known.any(axis=-2, keepdims=True)
    middle = np.nanmedian(np.where(votes, points, 0.0), axis=-2, keepdims=True)
    near = known & (np.abs(points - middle) <= FURTHEST_LEAD_MS)
    low = np.where(near, points, np.inf).min(axis=-2)
    high = np.where(near, points, -np.inf).max(axis=-2)
    shared = np.where(np.isin(np.arange(5), (P_ONSET, QRS_ONSET)), low, high)
    # Two leads that differ have no middle: both are far from it, and it stands.
    shared = np.where(near.any(axis=-2), shared, np.where(votes, middle, np.nan)[..., 0, :])
    few = 2 * known[..., P_ONSET].sum(axis=-1) < points.shape[-2]
    return np.where(few[..., None] & (np.arange(5) <= P_END), np.nan, shared)


def point_intervals(points: Array) -> Array:
    """Return PR, QRS and QT (..., 3) in milliseconds of points (..., 5)."""
    ends = points[..., [QRS_ONSET, QRS_END, T_END]]
    return np.asarray(ends - points[..., [P_ONSET, QRS_ONSET, QRS_ONSET]])


def _resampled_spread(leads: list[LeadBeats], points: Array) -> Array:
    """Return half of the middle 90 % of the intervals (3,) over resamplings of the beats; 0 for a single beat."""
    count = min(len(lead.waves) for lead in leads)
    if count < 2:
        return np.zeros(3)
    draws = np.random.default_rng(0).integers(0, count, (RESAMPLINGS, count))
    found = np.stack([lead.resample_points(draws) for lead in leads], axis=1)
    found[:, ~np.isfinite(points)] = np.nan  # a wave that is none
    intervals = point_intervals(combine_leads(found))
    known = np.isfinite(intervals)
    spread = np.zeros(3)
    for which in np.flatnonzero(2 * known.sum(axis=0) > RESAMPLINGS):
        low, high = np.quantile(intervals[known[:, which], which], (0.05, 0.95))
        spread[which] = (high - low) / 2
    return spread


def _estimates(intervals: Array, uncertainty: Array, aligned: AlignedBeats) -> list[IntervalEstimate]:
    """Return PR, QRS and QT, or why they are not measurable."""
    no_p = "the rhythm is irregular" if aligned.irregular else "no P wave that is the same before each beat"
    missing = (no_p, "no QRS complex", "no T wave, or a flat one")
    found = []
    for ms, doubt, most, reason in zip(intervals, uncertainty, LARGEST_MS, missing, strict=True):
        if not np.isfinite(ms):
            found.append(IntervalEstimate(reason=reason))
        elif doubt > most:
            found.append(IntervalEstimate(reason=f"beats or leads differ too much (± {doubt:.0f} ms)"))
        else:
            found.append(IntervalEstimate(float(ms), float(doubt) if len(aligned.waves) > 1 else None))
    return found


def _bounds(onset: float, end: float) -> WaveBounds:
    return WaveBounds(*(float(value) if np.isfinite(value) else None for value in (onset, end)))


def _nothing(reason: str) -> BeatIntervals:
    none = IntervalEstimate(reason=reason)
    return BeatIntervals(none, none, none)
