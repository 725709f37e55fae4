"""The waves of one lead of aligned beats: where they begin and end in the median beat, and in resamplings of it.

A P or T wave that is too low, or not the same in each beat, as in fibrillation or noise, is none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.intervals.aligned_beats import AlignedBeats
from model.intervals.wave_edges import (
    MS,
    NO_WAVE,
    P_SIGMA_MS,
    T_SIGMA_MS,
    SmoothedBeat,
    WaveEdges,
    find_p,
    find_qrs,
    find_t,
    p_window,
    smooth_beats,
    smooth_waves,
)

Array = NDArray[np.float64]

P_ONSET, P_END, QRS_ONSET, QRS_END, T_END = range(5)
"""The points of a lead, in this order, in milliseconds from the R peak; NaN where there is none."""
LEAST_P_AGREEMENT, LEAST_T_AGREEMENT = 0.75, 0.8
"""Correlation of the wave of a beat with the mean of the others', in the median of the beats."""
LEAST_P_MV, LEAST_T_MV = 0.008, 0.02
"""Lower waves cannot be measured ..."""
LEAST_SINGLE_P_MV = 0.03
"""... nor can a P wave in a single beat, which no other confirms."""
CLOSEST_P_MS, FURTHEST_P_MS = 45.0, 200.0
"""The peak of P lies between these before QRS."""
P_REACH = 35
"""Samples around the peak of P in which beats must agree."""
LEAST_SAMPLES = 100
"""A lead with less known signal around the R peak is not measured."""


@dataclass(frozen=True, slots=True, eq=False)
class LeadBeats:
    """Beats `waves` (k, n) of one lead in mV at INTERVAL_FS without NaN, and their RR interval, None if unknown."""

    waves: Array
    r_index: int
    rr_s: float | None

    def find_points(self) -> Array:
        """Return the points (5,) of the median beat, with P and T only where the beats show them."""
        (beat,) = smooth_beats(np.median(self.waves, axis=0)[None])
        p, qrs, t = self._find_waves(beat)
        has_p, has_t = self._has_p(p, qrs, t), self._has_t(beat.raw, qrs, t)
        return self._points(p if has_p else NO_WAVE, qrs, t if has_t else NO_WAVE)

    def resample_points(self, draws: NDArray[np.int64]) -> Array:
        """Return the points (d, 5) of the median of each of the drawn sets of beats (d, k)."""
        beats = smooth_beats(np.stack([np.median(self.waves[draw], axis=0) for draw in draws]))
        return np.stack([self._points(*self._find_waves(beat)) for beat in beats])

    def _find_waves(self, beat: SmoothedBeat) -> tuple[WaveEdges, WaveEdges, WaveEdges]:
        qrs = find_qrs(beat, self.r_index)
        t = find_t(beat, self.r_index, qrs, self.rr_s)
        return find_p(beat, qrs, t, self.rr_s), qrs, t

    def _points(self, p: WaveEdges, qrs: WaveEdges, t: WaveEdges) -> Array:
        return MS * (np.array([p.onset, p.end, qrs.onset, qrs.end, t.end]) - self.r_index)

    def _has_t(self, beat: Array, qrs: WaveEdges, t: WaveEdges) -> bool:
        if not np.isfinite(t.end):
            return False
        part = slice(int(qrs.end) + 20, int(t.end) + 1)
        return bool(np.ptp(beat[part]) >= LEAST_T_MV) and self._agreement(part, T_SIGMA_MS) >= LEAST_T_AGREEMENT

    def _has_p(self, p: WaveEdges, qrs: WaveEdges, t: WaveEdges) -> bool:
        if not np.isfinite(p.peak) or not CLOSEST_P_MS <= MS * (qrs.onset - p.peak) <= FURTHEST_P_MS:
            return False
        first, stop = p_window(qrs, t, self.rr_s)
        part = slice(max(first, int(p.peak) - P_REACH), min(stop, int(p.peak) + P_REACH))
        least = LEAST_P_MV if len(self.waves) > 1 else LEAST_SINGLE_P_MV
        return p.height >= least and self._agreement(part, P_SIGMA_MS) >= LEAST_P_AGREEMENT

    def _agreement(self, part: slice, sigma_ms: float) -> float:
        if len(self.waves) == 1:
            return 1.0
        x = smooth_waves(self.waves, sigma_ms)[:, part]
        x = x - x.mean(axis=1, keepdims=True)
        others = (x.sum(axis=0) - x) / (len(x) - 1)
        norms = np.sqrt((x**2).sum(axis=1) * (others**2).sum(axis=1))
        return float(np.median((x * others).sum(axis=1) / np.maximum(norms, 1e-12)))


def split_leads(aligned: AlignedBeats) -> list[LeadBeats]:
    """Return the leads of aligned beats that have signal around the R peak."""
    leads = (_known_part(aligned.waves[:, :, lead], aligned) for lead in range(aligned.waves.shape[2]))
    return [lead for lead in leads if lead is not None]


def _known_part(waves: Array, aligned: AlignedBeats) -> LeadBeats | None:
    """Return one lead (k, n) where at least half of the beats have a value, and the median for those that have none."""
    waves = waves[np.isfinite(waves).any(axis=1)]
    if not len(waves):
        return None
    lacking = np.flatnonzero(2 * np.isfinite(waves).sum(axis=0) < len(waves))
    r = aligned.r_index
    first = int(max(lacking[lacking <= r], default=-1)) + 1
    stop = int(min(lacking[lacking >= r], default=waves.shape[1]))
    if stop - first < LEAST_SAMPLES:
        return None
    part = waves[:, first:stop]
    return LeadBeats(np.where(np.isfinite(part), part, np.nanmedian(part, axis=0)), r - first, aligned.rr_s)
