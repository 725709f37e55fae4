"""Heart-rate variability of a recording, after the Task Force of the ESC and NASPE (Circulation 1996; 93: 1043-1065).

It is measured on NN intervals, those between two consecutive normal beats. Power is that of Lomb's periodogram on the
intervals as they lie, without resampling (Moody, Computers in Cardiology 1993; 20: 715-718), averaged over segments of
five minutes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

SHORTEST_NN_S, LONGEST_NN_S = 0.3, 2.0
"""An interval outside of these is none between two beats in a row that were found."""
NEIGHBOUR_COUNT, FURTHEST_SHARE = 20, 0.2
"""An interval further than this share from the mean of so many each side is left out, as in PhysioNet's toolkit."""
SEGMENT_S = 300.0
LEAST_TIME_SHARE = 0.5
"""Of a segment that intervals must cover for its mean and deviation to count."""
LEAST_SPECTRAL_SHARE = 0.8
"""The same for its spectrum."""
LEAST_PAIRS = 2
BIN_S = 1 / 128
"""Of the histogram of the triangular index."""
PNN_S = 0.050
HRV_BANDS = {"VLF": (0.0033, 0.04), "LF": (0.04, 0.15), "HF": (0.15, 0.4)}
"""Hertz; a band holds its lower end and not its upper."""
STEP_HZ = 1 / SEGMENT_S
FREQUENCIES: Series = STEP_HZ * np.arange(1, round(HRV_BANDS["HF"][1] / STEP_HZ), dtype=np.float64)
"""Of the spectrum, in hertz."""


@dataclass(frozen=True, slots=True, eq=False)
class NNIntervals:
    """NN intervals in seconds: `at_s` (n,) when each ends, rising, and `nn_s` (n,) how long it is.

    `follows` (n,): whether it begins where the one before it ends. `share`: how many of those between two normal
    beats were kept, 0 to 1.
    """

    at_s: Series
    nn_s: Series
    follows: NDArray[np.bool_]
    share: float

    def __len__(self) -> int:
        return len(self.nn_s)


@dataclass(frozen=True, slots=True)
class TimeDomain:
    """Milliseconds, but for `pnn50` in percent and the `triangular` index; None where there is too little."""

    mean: float
    sdnn: float | None
    sdann: float | None
    sdnn_index: float | None
    rmssd: float | None
    pnn50: float | None
    triangular: float | None


@dataclass(frozen=True, slots=True, eq=False)
class NNSpectrum:
    """Mean power density (n,) in ms²/Hz at FREQUENCIES over so many `segments`."""

    density: Series
    segments: int

    def power(self, band: str) -> float:
        """Power of one of BANDS in ms²."""
        begin, end = np.searchsorted(FREQUENCIES, HRV_BANDS[band])
        return float(self.density[begin:end].sum() * STEP_HZ)

    @property
    def ratio(self) -> float | None:
        """LF over HF; None where there is no HF."""
        high = self.power("HF")
        return self.power("LF") / high if high > 0 else None


@dataclass(frozen=True, slots=True)
class PoincarePlot:
    """Width `sd1` and length `sd2` of the cloud of successive pairs, in ms."""

    sd1: float
    sd2: float


def select_nn_intervals(at_s: Series, rr_s: Series, normal: NDArray[np.bool_]) -> NNIntervals:
    """The NN intervals of beats (n,) in order: their times, the RR that ends at each (NaN: none), which are normal."""
    before = np.concatenate([[False], normal[:-1]]) if len(normal) else normal
    between = normal & before & np.isfinite(rr_s)
    place = np.flatnonzero(between)
    rr = rr_s[place]
    kept = (rr >= SHORTEST_NN_S) & (rr <= LONGEST_NN_S)
    place, rr = place[kept], rr[kept]
    near = _near_neighbours(rr)
    place, rr = place[near], rr[near]
    follows = np.concatenate([[False], np.diff(place) == 1]) if len(place) else np.zeros(0, bool)
    found = int(between.sum())
    return NNIntervals(at_s[place], rr, follows, len(rr) / found if found else 0.0)


def measure_time_domain(nn: NNIntervals) -> TimeDomain | None:
    """Figures of the whole recording; None where there is no interval."""
    if not len(nn):
        return None
    steps = _successive_nn_steps(nn)
    parts = [nn.nn_s[part] for part in _covered_segments(nn, LEAST_TIME_SHARE)]
    enough = len(nn) >= LEAST_PAIRS
    counts = np.bincount((nn.nn_s / BIN_S).astype(np.int64))
    return TimeDomain(
        mean=1000 * float(nn.nn_s.mean()),
        sdnn=1000 * float(nn.nn_s.std(ddof=1)) if enough else None,
        sdann=1000 * float(np.std([part.mean() for part in parts], ddof=1)) if len(parts) >= LEAST_PAIRS else None,
        sdnn_index=1000 * float(np.mean([part.std(ddof=1) for part in parts])) if parts else None,
        rmssd=1000 * float(np.sqrt(np.mean(steps**2))) if len(steps) else None,
        pnn50=100 * float(np.mean(np.abs(steps) > PNN_S)) if len(steps) else None,
        triangular=len(nn) / float(counts.max()) if enough else None,
    )


def measure_poincare(nn: NNIntervals) -> PoincarePlot | None:
    """Of successive intervals; None where there are too few."""
    second = np.flatnonzero(nn.follows)
    if len(second) < LEAST_PAIRS:
        return None
    x, y = 1000 * nn.nn_s[second - 1], 1000 * nn.nn_s[second]
    return PoincarePlot(float(np.std((y - x) / np.sqrt(2), ddof=1)), float(np.std((y + x) / np.sqrt(2), ddof=1)))


def measure_nn_spectrum(nn: NNIntervals) -> NNSpectrum | None:
    """Power density averaged over the segments that intervals cover; None where there is none."""
    parts = _covered_segments(nn, LEAST_SPECTRAL_SHARE)
    if not parts:
        return None
    total = np.zeros(len(FREQUENCIES))
    for part in parts:
        total += lomb_density(nn.at_s[part], 1000 * nn.nn_s[part])
    return NNSpectrum(total / len(parts), len(parts))


def lomb_density(at_s: Series, values: Series) -> Series:
    """Lomb's periodogram of values (n,) less their straight line, as one-sided density at FREQUENCIES.

    In squared units a hertz: its sum times STEP_HZ is the variance that these frequencies hold.
    """
    from scipy.signal import lombscargle

    at = at_s - at_s.mean()
    rest = values - np.polynomial.Polynomial.fit(at, values, 1)(at)
    power: Series = lombscargle(at, rest, 2 * np.pi * FREQUENCIES)
    return power * 2 * SEGMENT_S / len(values)


def _near_neighbours(rr: Series) -> NDArray[np.bool_]:
    """Which intervals are like those around them."""
    n = len(rr)
    sums = np.concatenate([[0.0], np.cumsum(rr)])
    index = np.arange(n)
    low, high = np.maximum(index - NEIGHBOUR_COUNT, 0), np.minimum(index + NEIGHBOUR_COUNT + 1, n)
    others = high - low - 1
    mean = np.where(others > 0, (sums[high] - sums[low] - rr) / np.maximum(others, 1), rr)
    return np.asarray(np.abs(rr - mean) <= FURTHEST_SHARE * mean)


def _successive_nn_steps(nn: NNIntervals) -> Series:
    """Differences of successive intervals, in seconds."""
    second = np.flatnonzero(nn.follows)
    return nn.nn_s[second] - nn.nn_s[second - 1]


def _covered_segments(nn: NNIntervals, share: float) -> list[slice]:
    """The intervals of each segment of five minutes, counted from the first, that they cover by more than a share."""
    if not len(nn):
        return []
    number = ((nn.at_s - nn.at_s[0]) // SEGMENT_S).astype(np.int64)
    edges = np.flatnonzero(np.diff(number)) + 1
    parts = [slice(a, b) for a, b in zip([0, *edges.tolist()], [*edges.tolist(), len(nn)], strict=True)]
    return [part for part in parts if part.stop - part.start >= LEAST_PAIRS and nn.nn_s[part].sum() > share * SEGMENT_S]
