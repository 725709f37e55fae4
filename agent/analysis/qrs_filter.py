"""The signal side of the QRS detector: from millivolts to candidates, local maxima of the QRS energy.

Every filter is a short sum of shifted copies of the signal, so it is exact in any chunking and its delay is constant.
Arrays stand time first, (samples, beds): then one operation runs over all beds at once.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import FloatArray
from model.records.resample import FS

Floating = TypeVar("Floating", np.float32, np.float64)

TAP_SPAN = 4
"""Samples between the taps of the second difference: with the pair sum before it a band-pass around 12 Hz."""
ENERGY_WINDOW = 8
"""Energy is summed over this many samples: 64 ms, the width of a narrow QRS complex."""
MAXIMUM_REACH = 18
"""A candidate exceeds all energy this many samples before it, and none as many after exceeds it: 144 ms."""
LEAST_ENERGY_MV = 2.0
"""Least energy of a candidate in mV: a narrow QRS complex of 0.1 mV has 2.5, white noise of 12 uV rms less than 1.7."""
LEAST_SIZE_MV = 1e-3
"""No size is less, so that each has a logarithm."""
HUM_SIDE, HUM_MIDDLE = 0.27639320225, 0.4472135955
"""Weights of three neighbouring samples whose sum has no 50 Hz; with the pair sum, little is left of 60 Hz."""
HUM_SPAN = 50
"""Samples in which hum of 50 or 60 Hz has whole periods: 400 ms."""
LEAST_HUM_MV = 0.2
"""Lower hum at the end of a signal makes no QRS candidate of it. A QRS complex has less than this of 50 and 60 Hz."""
SHAPE, LAGS = 25, 5
"""Samples of a candidate's shape, 200 ms, and the places that it may have: two likenesses differ by 16 ms at most."""
EDGE = 5
"""Samples at each end of a candidate's reach whose energy is the one around it."""
SHARP_REACH = 8
"""The greatest curvature is looked for this many samples around the middle of a candidate: 64 ms."""
_TAPS = 2 * TAP_SPAN + 7 + ENERGY_WINDOW
_BEFORE, _AFTER = 36, 9
"""Samples before and after a candidate that its baseline, R peak and shape are looked for in."""
_FIRST_R, _LAST_R = 17, 32
"""First and last of these samples that may be the R peak."""
R_PEAK_TAPER = 1 - 0.2 * ((np.arange(_FIRST_R, _LAST_R + 1) - _BEFORE + 11.5) / 12) ** 2
KEPT = _BEFORE + MAXIMUM_REACH + 1
_STRETCH = np.arange(_BEFORE + _AFTER + 1)
_LAGGED = np.arange(SHAPE)[:, None] + np.arange(LAGS)
_FIRST_EDGE, _LAST_EDGE = np.arange(EDGE), np.arange(EDGE) + 2 * MAXIMUM_REACH + 1 - EDGE


@dataclass(frozen=True, slots=True, eq=False)
class QrsCandidates:
    """Local maxima of the QRS energy, ordered in time, as arrays (k,).

    `column`: which of the pushed rows. `known`: the sample that made the candidate certain, and `peak`: the R peak that
    it would have, both counted from the first pushed sample. `sizes` (4, k): its energy, its greatest curvature and the
    energy 144 ms before and after it, in millivolts. `shapes` (k, SHAPE, LAGS): the band-passed signal around it.
    """

    column: NDArray[np.intp]
    known: NDArray[np.intp]
    peak: NDArray[np.intp]
    sizes: NDArray[np.float64]
    shapes: NDArray[np.float64]


def hum_waves(samples: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return sine and cosine of 50 and 60 Hz at sample indices (n,) of 125 Hz: (n, 4)."""
    angles = 2 * np.pi * samples[:, None] * np.array([50.0, 60.0]) / FS
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(samples), -1)


_HUM_FIT = np.linalg.pinv(
    np.concatenate([hum_waves(np.arange(HUM_SPAN)), np.vander(np.arange(HUM_SPAN) / HUM_SPAN, 4)], axis=1)
)[:4]
"""(4, HUM_SPAN): from samples to the amplitudes of `hum_waves`, beside a baseline of third order."""


class QrsCandidateFinder:
    """Band-pass, energy and local maxima of `rows` beds."""

    def __init__(self, rows: int) -> None:
        self._signal = np.zeros((KEPT, rows), np.float32)
        self._energy = np.zeros((2 * MAXIMUM_REACH, rows), np.float32)
        self._fresh = np.ones(rows, bool)
        self._any_fresh = True

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        more = max(0, rows - len(self._fresh))
        self._signal = np.pad(self._signal, ((0, 0), (0, more)))
        self._energy = np.pad(self._energy, ((0, 0), (0, more)))
        self._fresh = np.pad(self._fresh, (0, more), constant_values=True)
        self._any_fresh = True

    def restart(self, row: int) -> None:
        """Forget the past of a bed: its next sample takes its place, so that the filters see no step."""
        self._energy[:, row] = 0
        self._fresh[row] = self._any_fresh = True

    def continue_signal(self, row: int) -> FloatArray:
        """Return what `continue_signal` does of the signal of a bed."""
        return continue_signal(self._signal[:, row])

    def push(self, rows: NDArray[np.intp], x: FloatArray) -> QrsCandidates | None:
        """Take the next samples `x` (rows, n) float32 mV of `rows` (rows,); return the candidates they make certain."""
        new = x.T
        if self._any_fresh:
            self._start(rows, new[0])
        at = _as_slice(rows)
        signal = np.concatenate((self._signal[:, at], new))
        energy = np.concatenate((self._energy[:, at], qrs_energy(signal[1 + KEPT - _TAPS :])))
        self._signal[:, at] = signal[-KEPT:]
        self._energy[:, at] = energy[-2 * MAXIMUM_REACH :]
        known, column = find_local_maxima(energy).nonzero()
        if not len(known):
            return None
        start = known + (KEPT - MAXIMUM_REACH - _BEFORE)
        stretches = signal[start[:, None] + _STRETCH, column[:, None]].astype(np.float64)
        peaks = start + _locate_r_peaks(stretches) - KEPT
        sharpness, shapes = _describe_shapes(stretches)
        around = [energy[known[:, None] + edge, column[:, None]] for edge in (_FIRST_EDGE, _LAST_EDGE)]
        sizes = np.empty((4, len(known)))
        sizes[0], sizes[1] = energy[known + MAXIMUM_REACH, column], sharpness
        for place, part in enumerate(around, 2):
            sizes[place] = np.add.reduce(part, axis=1) / np.float32(EDGE)
        return QrsCandidates(column, known, peaks, np.maximum(sizes, LEAST_SIZE_MV), shapes)

    def _start(self, rows: NDArray[np.intp], first: FloatArray) -> None:
        """Fill the past of fresh beds with their first sample."""
        fresh = self._fresh[rows]
        self._signal[:, rows[fresh]] = first[fresh]
        self._fresh[rows] = False
        self._any_fresh = bool(self._fresh.any())


def _as_slice(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return `rows` (rows,) as a slice if each follows the one before it: then nothing has to be gathered."""
    first, count = rows.item(0), len(rows)
    if rows.item(-1) - first + 1 == count and (count < 3 or bool((rows[:-1] < rows[1:]).all())):
        return slice(first, first + count)
    return rows


def qrs_energy(x: FloatArray) -> FloatArray:
    """Return the envelope of the band-passed signal, summed over 64 ms: (n, beds) mV to (n - 22, beds)."""
    slope = x[TAP_SPAN:] - x[:-TAP_SPAN]
    smooth = suppress_hum(slope)
    band = smooth[TAP_SPAN:] - smooth[:-TAP_SPAN]
    # A band-passed signal and its slope are a quarter of a wave apart: their norm has no ripple.
    turn = band[4:] - band[:-4]
    middle = band[2:-2]
    envelope = np.sqrt(turn * turn + middle * middle)
    two = envelope[1:] + envelope[:-1]
    four = two[2:] + two[:-2]
    total: FloatArray = four[4:] + four[:-4]
    return total


def find_local_maxima(energy: FloatArray) -> NDArray[np.bool_]:
    """Return whether sample REACH + i of `energy` (2 REACH + n, beds) is a local maximum, as (n, beds)."""
    n = len(energy) - 2 * MAXIMUM_REACH
    highest = energy  # of windows of 1, 2, 4, 8, 16 and at last REACH samples
    for step in (1, 2, 4, 8, 2):
        highest = np.maximum(highest[step:], highest[:-step])
    middle = energy[MAXIMUM_REACH : MAXIMUM_REACH + n]
    found: NDArray[np.bool_] = (
        (middle > highest[:n]) & (middle >= highest[MAXIMUM_REACH + 1 :]) & (middle > LEAST_ENERGY_MV)
    )
    return found


def suppress_hum(x: NDArray[Floating]) -> NDArray[Floating]:
    """Return a signal without 50 and 60 Hz, and twice as large: (n, beds) mV to (n - 3, beds)."""
    pair = x[1:] + x[:-1]
    quiet: NDArray[Floating] = (pair[2:] + pair[:-2]) * HUM_SIDE + pair[1:-1] * HUM_MIDDLE
    return quiet


def continue_signal(recent: FloatArray) -> FloatArray:
    """Return 2 REACH samples in mV with which a signal (n,) may go on without a step: its last value, and its hum."""
    hum = _continue_hum(recent[-HUM_SPAN:].astype(np.float64), 2 * MAXIMUM_REACH)
    return np.asarray(recent[-1] + hum, np.float32)


def _continue_hum(x: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return by how much hum in the last samples (HUM_SPAN,) mV moves in `count` more, (count,) mV; 0 without hum."""
    amplitudes = _HUM_FIT @ (x - x[-1])
    if np.hypot(amplitudes[::2], amplitudes[1::2]).max() < LEAST_HUM_MV:
        return np.zeros(count)
    hum = hum_waves(np.arange(HUM_SPAN - 1, HUM_SPAN + count)) @ amplitudes
    return np.asarray(hum[1:] - hum[0])


def _locate_r_peaks(stretches: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the place (k,) of the R peak in the stretch of each candidate (k, 46).

    It is the largest deviation from the mean around it. Upward counts 1.5 times: the annotators of the MIT-BIH database
    prefer R to a slightly deeper S, too.
    """
    baseline = np.add.reduce(stretches, axis=1, keepdims=True) / stretches.shape[1]
    deviation = (stretches[:, _FIRST_R : _LAST_R + 1] - baseline) * R_PEAK_TAPER
    tallest: NDArray[np.intp] = np.maximum(1.5 * deviation, -deviation).argmax(axis=1)
    return tallest + _FIRST_R


def _describe_shapes(stretches: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the greatest curvature (k,) and the shape at each lag (k, SHAPE, LAGS) of stretches (k, 46).

    The shape is of norm 1 in the middle.
    """
    quiet = suppress_hum((stretches - stretches[:, :1]).T)
    curvature = quiet[4:] - 2 * quiet[2:-2] + quiet[:-4]
    middle = len(curvature) // 2
    sharpness = np.maximum.reduce(np.abs(curvature[middle - SHARP_REACH : middle + SHARP_REACH + 1]), axis=0)
    band = quiet[2 * TAP_SPAN :] - 2 * quiet[TAP_SPAN:-TAP_SPAN] + quiet[: -2 * TAP_SPAN]
    first = (len(band) - SHAPE) // 2
    wide = np.ascontiguousarray(band[first - LAGS // 2 : first + SHAPE + LAGS // 2].T)
    norm = np.sqrt(np.add.reduce(wide * wide, axis=1, keepdims=True))
    return sharpness, (wide / (norm + LEAST_SIZE_MV)).take(_LAGGED, axis=1)
