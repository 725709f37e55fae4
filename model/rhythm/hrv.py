"""Heart-rate variability of a recording, after the Task Force of the ESC and NASPE 1996.

doi:10.1161/01.CIR.93.5.1043. It is measured on NN intervals, those between two consecutive normal beats. Power is that
of Lomb's periodogram (doi:10.1007/BF00648343) on the unevenly spaced intervals, without resampling, as Moody proposed
(Computers in Cardiology 1993; 20: 715-718), averaged over segments of five minutes. The Task Force resamples instead.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

SHORTEST_NN_S, LONGEST_NN_S = 0.3, 2.0
"""Outside these limits a beat was missed or detected falsely."""
NEIGHBOUR_COUNT = 20
"""Neighbours on each side with which an interval is compared, as in the filter of PhysioNet's HRV toolkit."""
FURTHEST_SHARE = 0.2
"""An interval is left out if it differs by more than this share from the mean of its neighbours."""
SEGMENT_S = 300.0
LEAST_TIME_SHARE = 0.5
"""Share of a segment that intervals must cover for its mean and deviation to count."""
LEAST_SPECTRAL_SHARE = 0.8
"""The same for its spectrum."""
LEAST_PAIRS = 2
BIN_S = 1 / 128
"""Bin width of the histogram behind the triangular index: the Task Force's standard."""
PNN_S = 0.050
HRV_BANDS = {"VLF": (0.0033, 0.04), "LF": (0.04, 0.15), "HF": (0.15, 0.4)}
"""Limits in hertz; a band includes its lower limit and excludes its upper one."""
STEP_HZ = 1 / SEGMENT_S
FREQUENCIES: Series = STEP_HZ * np.arange(1, round(HRV_BANDS["HF"][1] / STEP_HZ), dtype=np.float64)
"""Frequencies of the spectrum in hertz."""


@dataclass(frozen=True, slots=True, eq=False)
class NNIntervals:
    """NN intervals of a recording.

    Attributes
    ----------
    at_s : (n,) float64
        Time at which each interval ends, in seconds, ascending.
    nn_s : (n,) float64
        Its length in seconds.
    follows : (n,) bool
        Whether it begins where the one before it ends.
    share : float
        Share (0 to 1) of the intervals between two normal beats that were kept.
    """

    at_s: Series
    nn_s: Series
    follows: NDArray[np.bool_]
    share: float

    def __len__(self) -> int:
        return len(self.nn_s)


@dataclass(frozen=True, slots=True)
class TimeDomain:
    """Measures in milliseconds, but `pnn50` in percent and the `triangular` index; None without enough intervals."""

    mean: float
    sdnn: float | None
    sdann: float | None
    sdnn_index: float | None
    rmssd: float | None
    pnn50: float | None
    triangular: float | None


@dataclass(frozen=True, slots=True, eq=False)
class NNSpectrum:
    """Mean power density (n,) in ms²/Hz at FREQUENCIES, over a number of `segments`."""

    density: Series
    segments: int

    def power(self, band: str) -> float:
        """Return the power in one of HRV_BANDS in ms²."""
        begin, end = np.searchsorted(FREQUENCIES, HRV_BANDS[band])
        return float(self.density[begin:end].sum() * STEP_HZ)

    @property
    def ratio(self) -> float | None:
        """LF power divided by HF power; None without any in HF."""
        high = self.power("HF")
        return self.power("LF") / high if high > 0 else None


@dataclass(frozen=True, slots=True)
class PoincarePlot:
    """Width `sd1` and length `sd2` of the cloud of successive pairs, in ms."""

    sd1: float
    sd2: float


def select_nn_intervals(at_s: Series, rr_s: Series, normal: NDArray[np.bool_]) -> NNIntervals:
    """Select the NN intervals of a recording.

    Parameters
    ----------
    at_s : (n,) float64
        Times of the beats in seconds, ascending.
    rr_s : (n,) float64
        RR interval that ends at each beat, in seconds; NaN if there is none.
    normal : (n,) bool
        Which beats are normal and may be used.

    Returns
    -------
    NNIntervals
        The intervals between two normal beats, without those of impossible length and those unlike their neighbours.
    """
    before = np.concatenate([[False], normal[:-1]]) if len(normal) else normal
    between = normal & before & np.isfinite(rr_s)
    index = np.flatnonzero(between)
    rr = rr_s[index]
    possible = (rr >= SHORTEST_NN_S) & (rr <= LONGEST_NN_S)
    index, rr = index[possible], rr[possible]
    near = _near_neighbours(rr)
    index, rr = index[near], rr[near]
    follows = np.concatenate([[False], np.diff(index) == 1]) if len(index) else np.zeros(0, bool)
    total = int(between.sum())
    return NNIntervals(at_s[index], rr, follows, len(rr) / total if total else 0.0)


def measure_rmssd(steps: Series) -> float | None:
    """Return the RMSSD: the root mean square of the differences (n,) of adjacent NN intervals, in their unit.

    None without any difference.
    """
    return float(np.sqrt(np.mean(steps**2))) if len(steps) else None


def measure_sdnn(nn: Series) -> float | None:
    """Return the SDNN: the standard deviation of NN intervals (n,), in their unit; None for fewer than two."""
    return float(np.std(nn, ddof=1)) if len(nn) >= LEAST_PAIRS else None


def measure_time_domain(nn: NNIntervals) -> TimeDomain | None:
    """Measure the whole recording in the time domain; None without any interval."""
    if not len(nn):
        return None
    steps = _successive_nn_steps(nn)
    segments = [nn.nn_s[segment] for segment in _covered_segments(nn, LEAST_TIME_SHARE)]
    counts = np.bincount((nn.nn_s / BIN_S).astype(np.int64))
    return TimeDomain(
        mean=1000 * float(nn.nn_s.mean()),
        sdnn=_milliseconds(measure_sdnn(nn.nn_s)),
        sdann=_milliseconds(measure_sdnn(np.array([segment.mean() for segment in segments]))),
        sdnn_index=1000 * float(np.mean([segment.std(ddof=1) for segment in segments])) if segments else None,
        rmssd=_milliseconds(measure_rmssd(steps)),
        pnn50=100 * float(np.mean(np.abs(steps) > PNN_S)) if len(steps) else None,
        triangular=len(nn) / float(counts.max()) if len(nn) >= LEAST_PAIRS else None,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def measure_poincare(nn: NNIntervals) -> PoincarePlot | None:
    """Measure the Poincaré plot, each interval against the one before; None for fewer than two pairs."""
    second = np.flatnonzero(nn.follows)
    if len(second) < LEAST_PAIRS:
        return None
    x, y = 1000 * nn.nn_s[second - 1], 1000 * nn.nn_s[second]
    return PoincarePlot(float(np.std((y - x) / np.sqrt(2), ddof=1)), float(np.std((y + x) / np.sqrt(2), ddof=1)))


def measure_nn_spectrum(nn: NNIntervals) -> NNSpectrum | None:
    """Average the power density over the segments that intervals cover; None if they cover none."""
    segments = _covered_segments(nn, LEAST_SPECTRAL_SHARE)
    if not segments:
        return None
    total = np.zeros(len(FREQUENCIES))
    for segment in segments:
        total += lomb_density(nn.at_s[segment], 1000 * nn.nn_s[segment])
    return NNSpectrum(total / len(segments), len(segments))


def lomb_density(at_s: Series, values: Series) -> Series:
    """Return Lomb's periodogram of unevenly spaced values, without their linear trend.

    Parameters
    ----------
    at_s : (n,) float64
        Times in seconds.
    values : (n,) float64
        Values in any unit.

    Returns
    -------
    (k,) float64
        One-sided density at FREQUENCIES in squared units per hertz: its sum times STEP_HZ is the variance at these
        frequencies.
    """
    from scipy.signal import lombscargle

    times = at_s - at_s.mean()
    residual = values - np.polynomial.Polynomial.fit(times, values, 1)(times)
    power: Series = lombscargle(times, residual, 2 * np.pi * FREQUENCIES)
    return power * 2 * SEGMENT_S / len(values)


def _near_neighbours(rr: Series) -> NDArray[np.bool_]:
    """Return which intervals (n,) are close to the mean of those around them."""
    n = len(rr)
    sums = np.concatenate([[0.0], np.cumsum(rr)])
    index = np.arange(n)
    low = np.maximum(index - NEIGHBOUR_COUNT, 0)
    high = np.minimum(index + NEIGHBOUR_COUNT + 1, n)
    others = high - low - 1  # without the interval itself
    mean = np.where(others > 0, (sums[high] - sums[low] - rr) / np.maximum(others, 1), rr)
    return np.asarray(np.abs(rr - mean) <= FURTHEST_SHARE * mean)


def _successive_nn_steps(nn: NNIntervals) -> Series:
    """Return the differences of successive intervals, in seconds."""
    second = np.flatnonzero(nn.follows)
    return nn.nn_s[second] - nn.nn_s[second - 1]


def _covered_segments(nn: NNIntervals, share: float) -> list[slice]:
    """Return the intervals of each segment of five minutes, if they cover more than `share` of it."""
    if not len(nn):
        return []
    number = ((nn.at_s - nn.at_s[0]) // SEGMENT_S).astype(np.int64)
    edges = np.flatnonzero(np.diff(number)) + 1
    segments = [slice(a, b) for a, b in pairwise([0, *edges.tolist(), len(nn)])]
    return [s for s in segments if s.stop - s.start >= LEAST_PAIRS and nn.nn_s[s].sum() > share * SEGMENT_S]
