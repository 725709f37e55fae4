"""Synthetic signals that are no readable ECG: what a recorder, a loose lead, the mains or another sensor shows.

Each function returns (samples,) millivolts at 125 Hz, the same for the same random state.
"""

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS
from model.waveform.synthetic_waveforms import synthesise_band_noise, synthesise_drift

Array = NDArray[np.float64]
Random = np.random.Generator
OVERSAMPLED = 8
"""Edges of pulses are made at this many times the rate and averaged."""


def draw_log_uniform(low: float, high: float, random: Random) -> float:
    """Return a number between `low` and `high`, any factor as likely as any other."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def synthesise_calibration_pulses(samples: int, random: Random) -> Array:
    """Return the square pulses of a recorder's calibration (samples,): equal steps, flat rails, about one a second."""
    period = random.choice([1.0, 1.0, 1.0, random.uniform(0.4, 2.0)])
    share = random.choice([0.5, 0.2, random.uniform(0.06, 0.3), random.uniform(0.08, 0.7)])
    time = (np.arange(samples * OVERSAMPLED) / (FS * OVERSAMPLED) + random.uniform(0, period)) / period
    pulses = ((time % 1) < share).reshape(-1, OVERSAMPLED).mean(axis=1) - share
    if random.random() < 0.4:  # the recorder's high pass bends the rails
        pulses = decay_towards_zero(pulses, random.choice([0.05, 0.05, 0.5, 1.0]))
    if random.random() < 0.5:  # and its low pass rounds the corners
        width = int(random.integers(2, 6))
        pulses = np.convolve(pulses, np.ones(width) / width, mode="same")
    height = random.choice([1.0, 1.0, draw_log_uniform(0.2, 5, random)]) * random.choice([-1, 1])
    noise = draw_log_uniform(0.0005, 0.02, random) * random.standard_normal(samples)
    x: Array = height * pulses + noise + synthesise_hum(samples, random) * random.choice([0, 0, 0, 0.01])
    return x


def decay_towards_zero(x: Array, corner_hz: float) -> Array:
    """Return `x` (samples,) after a high pass of first order."""
    keep = np.exp(-2 * np.pi * corner_hz / FS)
    from scipy.signal import lfilter

    decayed: Array = lfilter([1, -1], [1, -keep], x)
    return decayed


def synthesise_hum(samples: int, random: Random) -> Array:
    """Return mains hum (samples,) of 1 mV amplitude at 50 or 60 Hz, with some harmonics folded at 125 Hz."""
    time = np.arange(samples) / FS
    pace = random.choice([50.0, 60.0]) + random.normal(0, 0.08)
    hum = np.sin(2 * np.pi * pace * time + random.uniform(0, 2 * np.pi))
    if random.random() < 0.3:
        hum = hum + random.uniform(0, 0.2) * np.sin(2 * np.pi * abs(125 - 2 * pace) * time)
    swell: Array = hum * (1 + random.choice([0.0, 0.02, 0.3]) * synthesise_drift(samples, 0.3, random))
    return swell


def synthesise_hum_alone(samples: int, random: Random) -> Array:
    """Return hum of 0.15 to 10 mV (samples,) on a quiet line."""
    quiet = synthesise_converter_noise(samples, random) * random.uniform(0.05, 1)
    x: Array = draw_log_uniform(0.15, 10, random) * synthesise_hum(samples, random) + quiet
    return x


def synthesise_converter_noise(samples: int, random: Random) -> Array:
    """Return the noise of a converter without an electrode (samples,): 5 to 30 uV rms, white or falling."""
    rms = draw_log_uniform(0.005, 0.03, random)
    x = random.standard_normal(samples)
    if random.random() < 0.5:
        x = x + random.uniform(0.2, 1.5) * synthesise_band_noise(samples, 0.3, random.uniform(3, 30), random)
    if random.random() < 0.3:
        x = x + random.uniform(0, 0.7) * np.cumsum(random.standard_normal(samples)) / np.sqrt(FS)
    x = rms * (x - x.mean()) / np.diff(x).std() * np.sqrt(2)
    step = random.choice([0.0, 0.0, 0.001, 0.005])
    noise: Array = np.round(x / step) * step if step else x
    return noise


def synthesise_loose_lead(samples: int, random: Random) -> Array:
    """Return a lead that hangs loose (samples,): hum, drift, steps that decay, and the converter's noise."""
    x = synthesise_converter_noise(samples, random)
    x = x + draw_log_uniform(0.003, 1, random) * synthesise_drift(samples, random.uniform(0.05, 1.0), random)
    if random.random() < 0.6:
        x = x + draw_log_uniform(0.01, 3, random) * synthesise_hum(samples, random)
    if random.random() < 0.6:
        steps = np.zeros(samples)
        count = 1 + random.poisson(samples / FS * random.uniform(0.1, 1.0))
        places = random.integers(0, samples, count)
        np.add.at(steps, places, random.standard_normal(count) * draw_log_uniform(0.05, 3, random))
        x = x + decay_towards_zero(np.cumsum(steps), random.uniform(0.05, 1.0))
    loose: Array = x + random.choice([0.0, 1.0]) * walk_randomly(samples, draw_log_uniform(0.02, 1, random), random)
    return loose


def walk_randomly(samples: int, size: float, random: Random) -> Array:
    """Return a random walk (samples,) that moves by about `size` mV in a second."""
    walk: Array = np.cumsum(random.standard_normal(samples)) * size / np.sqrt(FS)
    return walk


def synthesise_brain_waves(samples: int, random: Random) -> Array:
    """Return an EEG (samples,): a spectrum that falls, with alpha bursts, spindles or slow waves, 20 to 250 uV high."""
    pace = np.fft.rfftfreq(samples, 1 / FS)
    gain = np.maximum(pace, 0.5) ** -random.uniform(0.5, 1.3) * (pace > 0.1)
    wave = np.fft.irfft(np.fft.rfft(random.standard_normal(samples)) * gain, samples)
    wave /= wave.std()
    for low, high, most in ((8.0, 12.5, 2.0), (0.6, 3.0, 1.5), (12.0, 15.0, 1.0), (15.0, 28.0, 0.7)):
        centre = random.uniform(low, high)
        part = synthesise_band_noise(samples, centre * 0.85, centre * 1.15, random)
        bursts = np.clip(0.5 + synthesise_drift(samples, random.uniform(0.2, 1), random), 0, None)
        wave = wave + random.choice([0.0, most * random.random()]) * bursts * part
    x: Array = draw_log_uniform(0.02, 0.25, random) / 4.5 * wave / wave.std()
    return x + 0.002 * random.standard_normal(samples)


def synthesise_breathing(samples: int, random: Random) -> Array:
    """Return a curve of breathing (samples,): 8 to 45 breaths a minute, smooth, with a faint heartbeat at most."""
    pace = random.uniform(8, 45) / 60 * np.exp(random.uniform(0.01, 0.2) * synthesise_drift(samples, 0.2, random))
    phase = 2 * np.pi * np.cumsum(pace) / FS + random.uniform(0, 2 * np.pi)
    wave = np.sin(phase + random.uniform(0, 0.8) * np.sin(phase)) * (1 + 0.2 * synthesise_drift(samples, 0.1, random))
    if random.random() < 0.3:
        wave = np.maximum(wave, random.uniform(-1, -0.2))
    elif random.random() < 0.4:
        wave = np.sign(wave) * np.abs(wave) ** random.uniform(0.6, 3)
    beating = np.sin(2 * np.pi * random.uniform(0.8, 2) * np.arange(samples) / FS)
    wave = wave + random.choice([0.0, 0.01, 0.04]) * beating
    rough = draw_log_uniform(0.0005, 0.03, random) * synthesise_band_noise(samples, 0.3, 10, random)
    x: Array = draw_log_uniform(0.1, 3, random) * (wave + rough)
    return x + 0.002 * random.standard_normal(samples)


def synthesise_pulse_curve(samples: int, random: Random) -> Array:
    """Return a curve of blood pressure or plethysmogram (samples,): smooth pulses at 40 to 95 a minute."""
    rate = random.uniform(40, 95) / 60
    phase = np.cumsum(rate * np.exp(0.03 * synthesise_drift(samples, 0.4, random))) / FS % 1
    rise, notch = random.uniform(0.12, 0.22), random.uniform(0.38, 0.5)
    wave = np.where(phase < rise, np.sin(np.pi / 2 * phase / rise) ** 2, np.exp(-(phase - rise) * random.uniform(2, 5)))
    wave = wave + random.uniform(0, 0.25) * np.exp(-(((phase - notch) / 0.07) ** 2))
    width = int(random.integers(5, 12))
    wave = np.convolve(wave, np.hanning(width + 2)[1:-1] / np.hanning(width + 2).sum(), mode="same")
    wander = random.uniform(0, 0.3) * synthesise_drift(samples, random.uniform(0.1, 0.4), random)
    x: Array = draw_log_uniform(0.1, 3, random) * (wave - wave.mean() + wander)
    return x + 0.002 * random.standard_normal(samples)


def open_and_close(x: Array, random: Random) -> Array:
    """Return `x` (samples,) mV through a contact that opens and closes a few times every four seconds."""
    out, at, closed = x.copy(), 0, True
    rail = random.choice([-1, 1]) * draw_log_uniform(0.3, 8, random)
    fall = draw_log_uniform(0.02, 0.6, random)
    loose = synthesise_loose_lead(len(x), random)
    while at < len(x):
        span = max(4, round(draw_log_uniform(0.1, 1.8, random) * FS))
        stop = min(len(x), at + span)
        time = np.arange(stop - at) / FS
        jump = rail * np.exp(0.3 * random.standard_normal())
        if closed:
            out[at:stop] += jump * np.exp(-time / fall)
        else:
            out[at:stop] = jump * (1 - np.exp(-time / draw_log_uniform(0.003, 0.1, random))) + loose[at:stop]
        at, closed = stop, not closed
    return out
