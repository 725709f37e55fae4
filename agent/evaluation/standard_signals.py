"""The test signals of IEC 60601-2-27 and AAMI EC13 as the manuals of monitors describe them, made by code.

The waveforms of the standard's own figures (irregular rhythms 3a to 3d, ventricular tachycardia 4a and 4b) are not
public. Signals of these names are built here from what is said of them: kinds of beats, rates and amplitudes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, pi

import numpy as np
from numpy.typing import NDArray

STANDARD_FS = 500
"""Rate of the device in hertz."""
INPUT_HZ = 150
"""Its input filter, of first order: the bandwidth of a monitor. Its converter takes the mean of each sample's time."""
FINE = 40
"""Pulses are made with this many values a sample."""
NOISE_MV = 0.005

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PacingPulse:
    """A pacemaker pulse: height in millivolts with its sign, width and the decay of its overshoot in milliseconds.

    The overshoot has the other sign; 0 mV for none.
    """

    mv: float
    ms: float
    overshoot_mv: float = 0.0
    decay_ms: float = 100.0


def time_axis(seconds: float) -> Signal:
    """Return the times (n,) in seconds of the samples of a signal."""
    return np.arange(round(seconds * STANDARD_FS)) / STANDARD_FS


def resting_line(seconds: float) -> Signal:
    """Return (n,) mV of a line without a heart: noise of 5 uV."""
    return np.random.default_rng(0).normal(0, NOISE_MV, round(seconds * STANDARD_FS))


def regular_beats(bpm: float, start_s: float, stop_s: float) -> Signal:
    """Return the times (n,) in seconds of regular beats."""
    return np.arange(start_s, stop_s, 60 / bpm)


def triangle_qrs(seconds: float, beats_s: Sequence[float] | Signal, mv: float, width_ms: float) -> Signal:
    """Return (n,) mV with a triangular QRS complex around each of `beats_s`."""
    return _add_waves(seconds, beats_s, mv, width_ms / 1000, lambda place: 1 - np.abs(place))


def t_waves(seconds: float, beats_s: Sequence[float] | Signal, mv: float, qrs_ms: float) -> Signal:
    """Return (n,) mV with T waves of 180 ms that end 350 ms after the QRS complex around each of `beats_s` began."""
    middle_s = 0.35 - 0.09 - qrs_ms / 2000
    later = np.asarray(beats_s) + middle_s
    return _add_waves(seconds, later, mv, 0.18, lambda place: 0.5 + 0.5 * np.cos(pi * place))


def normal_beats(seconds: float, beats_s: Sequence[float] | Signal, mv: float = 1.0) -> Signal:
    """Return (n,) mV of beats with P wave, a QRS complex of 80 ms and T wave."""
    beats = np.asarray(beats_s)
    waves = triangle_qrs(seconds, beats, mv, 80) + t_waves(seconds, beats, 0.2 * mv, 80)
    return waves + _add_waves(seconds, beats - 0.16, 0.1 * mv, 0.09, lambda place: 0.5 + 0.5 * np.cos(pi * place))


def ventricular_beats(seconds: float, beats_s: Sequence[float] | Signal, mv: float = 1.5) -> Signal:
    """Return (n,) mV of wide beats, 160 ms, with a T wave against them."""
    beats = np.asarray(beats_s)
    waves = _add_waves(seconds, beats, mv, 0.16, lambda place: 0.5 + 0.5 * np.cos(pi * place))
    return waves - _add_waves(seconds, beats + 0.2, 0.4 * mv, 0.22, lambda place: 0.5 + 0.5 * np.cos(pi * place))


def paced_beats(seconds: float, beats_s: Sequence[float] | Signal) -> Signal:
    """Return (n,) mV of paced beats: a QRS complex of 120 ms that begins 20 ms after its pulse, and a T wave."""
    beats = np.asarray(beats_s) + 0.08
    return triangle_qrs(seconds, beats, 1.0, 120) + t_waves(seconds, beats, 0.2, 120)


def tachycardia(seconds: float, start_s: float, bpm: float, mv: float) -> Signal:
    """Return (n,) mV of a ventricular tachycardia from `start_s` on, `mv` from peak to peak."""
    time = time_axis(seconds)
    phase = 2 * pi * bpm / 60 * (time - start_s)
    wave = np.sin(phase) + 0.25 * np.sin(2 * phase + 0.6)
    wave *= mv / np.ptp(wave)
    return np.where(time >= start_s, wave, 0.0)


def pacing_pulses(seconds: float, at_s: Sequence[float] | Signal, pulse: PacingPulse) -> Signal:
    """Return (n,) mV of pacemaker pulses behind the input filter of the device."""
    fine = STANDARD_FS * FINE
    pulses = np.zeros(round(seconds * STANDARD_FS) * FINE)
    width = max(1, round(pulse.ms / 1000 * fine))
    tail = np.exp(-np.arange(round(6 * pulse.decay_ms / 1000 * fine)) / (pulse.decay_ms / 1000 * fine))
    for start in np.rint(np.asarray(at_s) * fine).astype(int):
        pulses[start : start + width] += pulse.mv
        behind = pulses[start + width : start + width + len(tail)]
        behind -= np.sign(pulse.mv) * pulse.overshoot_mv * tail[: len(behind)]
    return _pass_input(pulses)


def mains_hum(seconds: float, hertz: float, mv: float) -> Signal:
    """Return (n,) mV of hum, `mv` from peak to peak."""
    return mv / 2 * np.sin(2 * pi * hertz * time_axis(seconds))


def baseline_drift(seconds: float, hertz: float, mv: float) -> Signal:
    """Return (n,) mV of a triangular drift, `mv` from peak to peak."""
    phase = (time_axis(seconds) * hertz) % 1.0
    return mv * (2 * np.abs(phase - 0.5) - 0.5)


def defibrillation(seconds: float, at_s: float, mv: float) -> Signal:
    """Return (n,) mV of what a discharge leaves: a second far beyond the rail, then a decay of 0.5 s from `mv`."""
    time = time_axis(seconds) - at_s
    behind = mv * np.exp(-np.maximum(time - 1, 0) / 0.5)
    return np.where(time < 0, 0.0, np.where(time < 1, 10 * mv, behind))


def _add_waves(
    seconds: float, at_s: Sequence[float] | Signal, mv: float, width_s: float, shape: Callable[[Signal], Signal]
) -> Signal:
    """Return (n,) mV with `mv` times a shape, a function from -1 to 1, over `width_s` around each of `at_s`."""
    time, signal = time_axis(seconds), np.zeros(round(seconds * STANDARD_FS))
    for at in at_s:
        first, stop = np.searchsorted(time, [at - width_s / 2, at + width_s / 2])
        signal[first:stop] += mv * shape((time[first:stop] - at) / (width_s / 2))
    return signal


def _pass_input(fine: Signal) -> Signal:
    """Return samples (n,) of values (n * FINE,) behind a low-pass filter of first order and a converter."""
    from scipy.signal import lfilter

    keep = exp(-2 * pi * INPUT_HZ / (STANDARD_FS * FINE))
    filtered = lfilter([1 - keep], [1, -keep], fine)
    return np.asarray(filtered.reshape(-1, FINE).mean(axis=1))
