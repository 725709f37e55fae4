"""How high QRS complexes are in a signal without a unit, and whether it shows any.

A second is measured at a time, over the energy in the band of the QRS complex, in which neither baseline nor hum
counts. Everything is proportional to the signal: the unit does not matter, nor the polarity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from agent.analysis.qrs_filter import qrs_energy, suppress_hum
from agent.analysis.qrs_height import QRS_REACH
from agent.core.messages import FloatArray
from model.records.resample import FS

ENERGY_REACH = 22
"""Samples behind the first one that the energy at a sample depends on."""
MEASURED_SAMPLES = FS + ENERGY_REACH
QUIET_PERCENTILE = 25
"""Energy between the QRS complexes."""
LEAST_CONTRAST = 5.0
"""In a second with a QRS complex this has so many times the energy of what is around it; noise rarely has."""
BEAT_SHARE = 0.5
"""Of all seconds this share at least holds a QRS complex, as from 30 beats a minute on."""
ALIKE = 2.0
"""Seconds with so many times more or less energy than the middle one with a QRS complex are an artefact or a pause."""


@dataclass(frozen=True, slots=True)
class MeasuredSecond:
    """A second of signal that ends before sample `stop` of 125 Hz.

    `energy` is its greatest, `quiet` that between QRS complexes, `height` from peak to peak where it is greatest.
    """

    stop: int
    energy: float
    quiet: float
    height: float


class QrsScaleMeter:
    """Measures the unbroken seconds of one signal at 125 Hz, counted from the start of each stretch."""

    def __init__(self) -> None:
        self._waiting = np.empty(0, np.float32)
        self._next = 0

    def push(self, first: int, x: FloatArray) -> list[MeasuredSecond]:
        """Take samples (n,) from index `first` on; return the seconds that they complete."""
        if first != self._next:
            self._waiting = self._waiting[:0]
        waiting = np.concatenate([self._waiting, x])
        self._next = first + len(x)
        start = self._next - len(waiting)
        seconds = [
            _measure_second(waiting[at : at + MEASURED_SAMPLES], start + at + MEASURED_SAMPLES)
            for at in range(0, len(waiting) - MEASURED_SAMPLES + 1, FS)
        ]
        self._waiting = waiting[FS * len(seconds) :]
        return seconds


def find_qrs_height(seconds: Sequence[MeasuredSecond]) -> float | None:
    """Return the height of the QRS complexes in some seconds from peak to peak; None if these show none."""
    least = max(1, ceil(len(seconds) * BEAT_SHARE))
    clear = sorted(second.energy for second in seconds if second.energy > LEAST_CONTRAST * second.quiet)
    if len(clear) < least:
        return None
    middle = clear[-least]
    alike = [second.height for second in seconds if middle / ALIKE <= second.energy <= middle * ALIKE]
    return float(np.median(alike))


def _measure_second(x: FloatArray, stop: int) -> MeasuredSecond:
    """Measure MEASURED_SAMPLES samples (n,) that end before sample `stop`."""
    level = x - x[0]
    energy = qrs_energy(level[:, None])[:, 0]
    top = int(energy.argmax())
    middle = top + ENERGY_REACH // 2
    # The filter without hum is twice as large and three samples shorter.
    around = suppress_hum(level[max(0, middle - QRS_REACH - 2) : middle + QRS_REACH + 2][:, None])
    return MeasuredSecond(
        stop, float(energy[top]), float(np.percentile(energy, QUIET_PERCENTILE)), float(np.ptp(around)) / 2
    )
