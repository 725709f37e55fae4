"""Beats of a recording side by side at 500 Hz, aligned at their QRS complexes: what intervals are measured on.

Beats are moved by up to 20 ms until the slopes of their QRS complexes fit the median best, in all leads at once: the R
peaks of a detector lie on a grid of 8 ms and more, and the median of beats that are not aligned has a wider QRS
complex.
Beats unlike the median are left out.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.records.signal_conditioning import condition_signal

Array = NDArray[np.float64]

INTERVAL_FS = 500
"""Rate of aligned beats in hertz, whatever the signal's: what is measured does not depend on it."""
BEFORE_R_S, AFTER_R_S = 0.4, 0.7
"""What is cut around an R peak: from before a P wave to behind a T wave."""
MOST_BEATS = 100
"""Beats that are averaged at most, spread over the recording."""
FARTHEST_SHIFT = 10
"""Samples by which a beat is moved at most."""
QRS_REACH = 50
"""Samples around the R peak within which beats are compared."""
LEAST_LIKENESS = 0.8
"""Correlation of a beat's QRS complex with that of the median, below which the beat is left out."""
IRREGULAR_SHARE, LEAST_CHANGES = 0.15, 4
"""A rhythm is irregular if RR changes by more than this share from beat to beat, in the median of so many changes."""
NEIGHBOUR_S = 0.08
"""Signal this close to the R peak of the beat before or behind is not this beat's."""
MARGIN_S = 0.1
"""More signal on both sides of a cut, so that its ends are conditioned and interpolated as its middle is."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedBeats:
    """Beats `waves` (k, n, leads) in mV at INTERVAL_FS, NaN without a value, each with its R peak at sample `r_index`.

    `rr_s` is their median RR interval in seconds, None if unknown. `irregular`: it changes at each beat, as in
    fibrillation.
    """

    waves: Array
    r_index: int
    rr_s: float | None
    irregular: bool = False

    def typical(self) -> Array:
        """Return the median beat (n, leads) in mV: NaN where fewer than half of the beats have a value."""
        return median_beat(self.waves)


def median_beat(waves: Array) -> Array:
    """Return the median (n, leads) of beats (k, n, leads), NaN where fewer than half of them have a value."""
    known = np.isfinite(waves)
    enough = (2 * known.sum(axis=0) >= len(waves)) & known.any(axis=0)
    if known.all():
        return np.asarray(np.median(waves, axis=0))
    return np.where(enough, np.nanmedian(np.where(enough, waves, 0.0), axis=0), np.nan)


def cut_aligned_beats(
    signal: ArrayLike, r_peaks: ArrayLike, fs: float, chosen: ArrayLike | None = None
) -> AlignedBeats:
    """Cut beats from a signal and align them.

    Parameters
    ----------
    signal : (n,) or (n, leads) array of float
        Millivolts, NaN where there is no value. Pacemaker pulses in it are blanked.
    r_peaks : (k,) array of int
        Samples of the R peaks of all beats, in order.
    fs : float
        Sampling rate of the signal in hertz.
    chosen : (k,) array of bool, optional
        The beats to be measured, such as those of the class N; all if left out.

    Returns
    -------
    AlignedBeats
        At INTERVAL_FS; no beats if none is whole.
    """
    x = np.asarray(signal, np.float64)
    x = x[:, None] if x.ndim == 1 else x
    peaks = np.asarray(r_peaks, np.int64)
    mask = np.ones(len(peaks), bool) if chosen is None else np.asarray(chosen, bool)
    mine = np.flatnonzero(mask)
    whole = (peaks[mine] >= BEFORE_R_S * fs) & (peaks[mine] + AFTER_R_S * fs <= len(x) - 1)
    mine = mine[whole]
    mine = mine[np.unique(np.linspace(0, len(mine) - 1, min(len(mine), MOST_BEATS)).astype(int))] if len(mine) else mine
    waves = [_cut_beat(x, peaks, beat, fs) for beat in mine.tolist()]
    rr_s, irregular = _describe_rhythm(peaks / fs, mask)
    stack = np.stack(waves) if waves else np.empty((0, len(_beat_grid()), x.shape[1]))
    return replace(_align(stack, round(BEFORE_R_S * INTERVAL_FS), rr_s), irregular=irregular)


def align_beats(beats: ArrayLike, fs: float, r_index: int, rr_s: float | None = None) -> AlignedBeats:
    """Bring beats that are cut already to INTERVAL_FS, and align them.

    Parameters
    ----------
    beats : (n,), (k, n) or (k, n, leads) array of float
        One or many beats in mV, of one or many leads; NaN where there is no value.
    fs : float
        Their sampling rate in hertz.
    r_index : int
        Sample of the R peak in each.
    rr_s : float, optional
        Their RR interval in seconds, which bounds where P and T waves are looked for.
    """
    x = np.asarray(beats, np.float64)
    x = x[None, :, None] if x.ndim == 1 else x[:, :, None] if x.ndim == 2 else x
    if x.ndim != 3 or not 0 <= r_index < x.shape[1]:
        raise ValueError("beats must have the shape (n,), (k, n) or (k, n, leads) and an R peak inside")
    before, behind = int(r_index * INTERVAL_FS / fs), int((x.shape[1] - 1 - r_index) * INTERVAL_FS / fs)
    at = r_index + np.arange(-before, behind + 1) * fs / INTERVAL_FS
    return _align(np.stack([_interpolate(beat, at) for beat in x]) if len(x) else x, before, rr_s)


def _describe_rhythm(at_s: Array, chosen: NDArray[np.bool_]) -> tuple[float | None, bool]:
    """Return the median RR interval before chosen beats, and whether it changes at each of them."""
    rr = np.diff(at_s)
    mine = rr[chosen[1:]]
    changes = np.abs(np.diff(rr))[chosen[2:] & chosen[1:-1] & chosen[:-2]]  # not those beside a premature beat
    if not len(mine):
        return None, False
    middle = float(np.median(mine))
    return middle, len(changes) >= LEAST_CHANGES and float(np.median(changes)) > IRREGULAR_SHARE * middle


def _beat_grid() -> Array:
    """Return the seconds (n,) from the R peak of the samples of a cut beat."""
    return np.arange(-round(BEFORE_R_S * INTERVAL_FS), round(AFTER_R_S * INTERVAL_FS)) / INTERVAL_FS


def _cut_beat(x: Array, peaks: NDArray[np.int64], beat: int, fs: float) -> Array:
    """Return a beat (n, leads) at INTERVAL_FS, without pacemaker pulses and its neighbours."""
    peak, margin = int(peaks[beat]), MARGIN_S * fs
    first = max(0, int(peak - BEFORE_R_S * fs - margin))
    part = x[first : int(peak + AFTER_R_S * fs + margin) + 1]
    part = np.stack([condition_signal(lead, fs).x for lead in part.T], axis=1)
    at = peak + _beat_grid() * fs
    wave = _interpolate(part, at - first)
    if beat > 0:
        wave[at < peaks[beat - 1] + NEIGHBOUR_S * fs] = np.nan
    if beat + 1 < len(peaks):
        wave[at > peaks[beat + 1] - NEIGHBOUR_S * fs] = np.nan
    return wave


def _interpolate(x: Array, at: Array) -> Array:
    """Return a signal (n, leads) at the samples `at` (m,) by cubic splines: (m, leads), NaN where it has no value."""
    from scipy.interpolate import CubicSpline

    index, known = np.arange(len(x)), np.isfinite(x)
    filled = np.stack([_bridge(lead) for lead in x.T], axis=1)
    near = np.clip(np.rint(at).astype(int), 0, len(x) - 1)
    values: Array = CubicSpline(index, filled)(at) if len(x) > 3 else filled[near]
    return np.where(known[near], values, np.nan)


def _bridge(lead: Array) -> Array:
    known = np.isfinite(lead)
    index = np.arange(len(lead))
    return np.interp(index, index[known], lead[known]) if known.any() else np.zeros(len(lead))


def _align(waves: Array, r_index: int, rr_s: float | None) -> AlignedBeats:
    """Level the beats, move them so that their QRS complexes fit, and leave out those that do not."""
    near = slice(max(0, r_index - QRS_REACH), r_index + QRS_REACH)
    whole = np.asarray(np.isfinite(waves[:, near]).all(axis=1))
    levels = np.median(np.where(whole[:, None], waves[:, near], 0.0), axis=1, keepdims=True)
    waves = np.where(whole[:, None], waves - levels, np.nan)[whole.any(axis=1)]
    if len(waves) < 2:
        return AlignedBeats(waves, r_index, rr_s)
    for _ in range(2):
        steps = np.nan_to_num(np.diff(median_beat(waves)[near], axis=0))
        waves = np.stack([_move_left(wave, _best_shift(wave, steps, near)) for wave in waves])
    typical = median_beat(waves)
    fits = np.array([_likeness(wave[near], typical[near]) >= LEAST_LIKENESS for wave in waves])
    return AlignedBeats(waves[fits] if fits.sum() > 1 else waves, r_index, rr_s)


def _best_shift(wave: Array, steps: Array, near: slice) -> int:
    """Return by how many samples a beat (n, leads) lies behind the one with these `steps` near its R peak."""
    reach = FARTHEST_SHIFT
    own = np.pad(np.nan_to_num(np.diff(wave, axis=0)), ((reach, reach), (0, 0)))
    first, count = near.start + reach, len(steps)
    fits = [float((own[first + s : first + s + count] * steps).sum()) for s in range(-reach, reach + 1)]
    return int(np.argmax(fits)) - reach if max(fits) > 0 else 0


def _move_left(wave: Array, shift: int) -> Array:
    """Return a beat (n, leads) moved to the left by `shift` samples, NaN where it then has no value."""
    moved = np.roll(wave, -shift, axis=0)
    moved[slice(-shift, None) if shift > 0 else slice(0, -shift)] = np.nan
    return moved


def _likeness(one: Array, other: Array) -> float:
    """Return the correlation of two beats (n, leads) in the leads that both have."""
    both = np.isfinite(one + other)
    a, b = (np.where(both, x - np.where(both, x, 0.0).mean(axis=0), 0.0) for x in (one, other))
    return float((a * b).sum() / max(np.sqrt((a**2).sum() * (b**2).sum()), 1e-12))
