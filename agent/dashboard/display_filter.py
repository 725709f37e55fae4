"""What is left out of the drawn trace: baseline, muscle and mains. Neither analysis nor recording knows of it."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agent.core.config import DashboardConfig
from agent.core.messages import FloatArray
from agent.core.views import BedView
from model.records.resample import FS

LOW_HZ, HIGH_HZ = 0.5, 40.0
"""Bandwidth of a bedside monitor: where its filters have halved the power."""
ORDER = 4
"""How steeply they fall beyond: as Butterworth filters of this order."""
NOTCH_HZ = 2.0
"""Hertz on each side of the mains that the notch takes out."""
MAINS_HZ = 50, 60
MAINS_CONTRAST = 30.0
"""There is hum if at 50 or 60 Hz the power is this many times that beside it."""
LONGEST_TURN = 4 * FS
"""The signal is continued at both ends by as much of its own mirror image."""


def filter_beds(beds: Iterable[BedView], config: DashboardConfig) -> tuple[BedView, ...]:
    """Return beds with the waves that are to be drawn."""
    if config.display_filter == "off" and config.mains_notch == "off":
        return tuple(beds)
    return tuple(_filter_bed(bed, config) for bed in beds)


def _filter_bed(bed: BedView, config: DashboardConfig) -> BedView:
    others = tuple(replace(other, wave=filter_wave(other.wave, config)) for other in bed.other_waves)
    return replace(bed, wave=filter_wave(bed.wave, config), other_waves=others)


def filter_wave(wave: FloatArray, config: DashboardConfig) -> FloatArray:
    """Return a wave (n,) mV at 125 Hz as it is to be drawn, NaN where it was; nothing is shifted in time."""
    known = np.flatnonzero(~np.isnan(wave))
    if len(known) < FS:
        return wave
    first, stop = int(known[0]), int(known[-1]) + 1
    filled = np.interp(np.arange(first, stop), known, wave[known])
    turn = min(LONGEST_TURN, len(filled) - 1)
    # Turned about its ends, the signal goes on without a step.
    before = 2 * filled[0] - filled[turn:0:-1]
    behind = 2 * filled[-1] - filled[-2 : -turn - 2 : -1]
    spectrum = np.fft.rfft(np.concatenate([before, filled, behind]))
    hertz = np.linspace(0, FS / 2, len(spectrum))
    smooth = np.fft.irfft(spectrum * _gains(hertz, spectrum, config), len(filled) + 2 * turn)
    drawn = wave.copy()
    drawn[known] = smooth[turn : turn + len(filled)][known - first].astype(np.float32)
    return drawn


def _gains(
    hertz: NDArray[np.float64], spectrum: NDArray[np.complex128], config: DashboardConfig
) -> NDArray[np.float64]:
    """Return the gain (n,) at each frequency (n,) of a spectrum (n,)."""
    gains = np.ones(len(hertz))
    if config.display_filter == "monitor":
        gains /= np.sqrt(1 + (hertz / HIGH_HZ) ** (2 * ORDER))
        gains[0] = 0.0
        gains[1:] /= np.sqrt(1 + (LOW_HZ / hertz[1:]) ** (2 * ORDER))
    notches = _humming(hertz, spectrum) if config.mains_notch == "auto" else [config.mains_notch]
    for mains in notches:
        if mains != "off":
            gains[np.abs(hertz - float(mains)) <= NOTCH_HZ] = 0.0
    return gains


def _humming(hertz: NDArray[np.float64], spectrum: NDArray[np.complex128]) -> list[int]:
    """Return the frequencies of the mains that stand out of a spectrum (n,)."""
    power = np.abs(spectrum) ** 2
    found = []
    for mains in MAINS_HZ:
        away = np.abs(hertz - mains)
        beside = power[(away > 1.5) & (away <= 2.4)]  # 62.4 Hz is as far as there is signal
        if power[away <= 0.5].max() > MAINS_CONTRAST * np.median(beside):
            found.append(mains)
    return found
