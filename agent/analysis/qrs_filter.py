"""The signal side of the QRS detector: from millivolts to candidates, local maxima of the QRS energy.

Every filter is a short sum of shifted copies of the signal, so it is exact in any chunking and its delay is constant.
Arrays stand time first, (samples, beds): then one operation runs over all beds at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import FloatArray

TAP_SPAN = 4
"""Samples between the taps of the second difference: with the pair sum before it a band-pass around 12 Hz."""
ENERGY_WINDOW = 8
"""Energy is summed over this many samples: 64 ms, the width of a narrow QRS complex."""
MAXIMUM_REACH = 18
"""A candidate exceeds all energy this many samples before it, and none as many after exceeds it: 144 ms."""
LEAST_ENERGY_MV = 0.04
"""Least energy of a candidate in mV: about that of a QRS complex of 0.02 mV. Below is digital silence."""
_TAPS = 2 * TAP_SPAN + 5 + ENERGY_WINDOW
_BEFORE, _AFTER = 35, 10
"""Samples before and after a candidate that its baseline and R peak are looked for in."""
_FIRST_R, _LAST_R = 17, 32
"""First and last of these samples that may be the R peak."""
_TAPER = 1 - 0.2 * ((np.arange(_FIRST_R, _LAST_R + 1) - _BEFORE + 10.5) / 12) ** 2
_KEPT = _BEFORE + MAXIMUM_REACH + 1


@dataclass(frozen=True, slots=True, eq=False)
class QrsCandidates:
    """Local maxima of the QRS energy, ordered in time, as arrays (k,).

    `column`: which of the pushed rows. `known`: the sample that made the candidate certain, and `peak`: the R peak that
    it would have, both counted from the first pushed sample. `height`: its energy in millivolts.
    """

    column: NDArray[np.intp]
    known: NDArray[np.intp]
    peak: NDArray[np.intp]
    height: FloatArray


class QrsCandidateFinder:
    """Band-pass, energy and local maxima of `rows` beds."""

    def __init__(self, rows: int) -> None:
        self._signal = np.zeros((_KEPT, rows), np.float32)
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

    def last(self, row: int) -> float:
        """Return the last sample of a bed in millivolts."""
        return float(self._signal[-1, row])

    def push(self, rows: NDArray[np.intp], x: FloatArray) -> QrsCandidates | None:
        """Take the next samples `x` (rows, n) float32 mV of `rows` (rows,); return the candidates they make certain."""
        new = x.T
        if self._any_fresh:
            self._start(rows, new[0])
        at = slice(None) if self._are_all(rows) else rows
        signal = np.concatenate((self._signal[:, at], new))
        energy = np.concatenate((self._energy[:, at], qrs_energy(signal[1 + _KEPT - _TAPS :])))
        self._signal[:, at] = signal[-_KEPT:]
        self._energy[:, at] = energy[-2 * MAXIMUM_REACH :]
        known, column = find_local_maxima(energy).nonzero()
        if not len(known):
            return None
        return QrsCandidates(
            column, known, _locate_r_peaks(signal, known, column), energy[known + MAXIMUM_REACH, column]
        )

    def _start(self, rows: NDArray[np.intp], first: FloatArray) -> None:
        """Fill the past of fresh beds with their first sample."""
        fresh = self._fresh[rows]
        self._signal[:, rows[fresh]] = first[fresh]
        self._fresh[rows] = False
        self._any_fresh = bool(self._fresh.any())

    def _are_all(self, rows: NDArray[np.intp]) -> bool:
        """Whether `rows` are all beds in order: then nothing has to be gathered."""
        beds = len(self._fresh)
        return len(rows) == beds and (beds == 1 or bool((rows[:-1] < rows[1:]).all()))


def qrs_energy(x: FloatArray) -> FloatArray:
    """Return the envelope of the band-passed signal, summed over 64 ms: (n, beds) mV to (n - 20, beds)."""
    slope = x[TAP_SPAN:] - x[:-TAP_SPAN]
    smooth = slope[1:] + slope[:-1]
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


def _locate_r_peaks(signal: FloatArray, known: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the R peak of each candidate, counted from the first new sample.

    It is the largest deviation from the mean around it. Upward counts 1.5 times: the annotators of the MIT-BIH database
    prefer R to a slightly deeper S, too.
    """
    start = known + (_KEPT - MAXIMUM_REACH - _BEFORE)
    stretch = signal[start[:, None] + np.arange(_BEFORE + _AFTER + 1), column[:, None]].astype(np.float64)
    baseline = stretch.sum(axis=1, keepdims=True) / stretch.shape[1]
    deviation = (stretch[:, _FIRST_R : _LAST_R + 1] - baseline) * _TAPER
    tallest = np.maximum(1.5 * deviation, -deviation).argmax(axis=1)
    peaks: NDArray[np.intp] = start + tallest + (_FIRST_R - _KEPT)
    return peaks
