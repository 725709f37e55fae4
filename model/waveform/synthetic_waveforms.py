"""Synthetic waveforms: ventricular fibrillation, flutter and tachycardia, fast narrow rhythms, noise and flat lines.

Few records show fibrillation, and each has one kind of it. Its physics is more general: wandering wave fronts make a
signal of one dominant frequency between 3 and 9 Hz that drifts, whose height swells and fades, with few harmonics and
no isoelectric line; flutter is the same at 4 to 6 Hz with a steady frequency; in tachycardia one broad complex follows
the other at 100 to 250 per minute. Each function returns (samples,) millivolts at 125 Hz.
"""

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS

Array = NDArray[np.float64]
Random = np.random.Generator


def synthesise_drift(samples: int, pace_hz: float, random: Random) -> Array:
    """Return a slow random curve (samples,), mean 0 and variance about 1, that turns about `pace_hz` times a second."""
    step = FS / (2 * pace_hz)
    knots = np.arange(-step, samples + 2 * step, step)
    curve: Array = np.interp(np.arange(samples), knots, 1.2 * random.standard_normal(len(knots)))
    return curve


def synthesise_band_noise(samples: int, low: float, high: float, random: Random) -> Array:
    """Return random noise (samples,) of power 1 between two frequencies in hertz, with soft edges."""
    pace = np.fft.rfftfreq(samples, 1 / FS)
    gain = 1 / (1 + (low / np.maximum(pace, 1e-3)) ** 6) / (1 + (pace / high) ** 6)
    noise = np.fft.irfft(np.fft.rfft(random.standard_normal(samples)) * gain, samples)
    unit: Array = noise / (noise.std() + 1e-12)
    return unit


def _harmonic_wave(pace: Array, overtones: float, random: Random) -> Array:
    """Return a wave of the frequency `pace` (samples,) in hertz, with some of its harmonics."""
    phase = 2 * np.pi * np.cumsum(pace) / FS + random.uniform(0, 2 * np.pi)
    wave = np.sin(phase)
    for times in (2, 3, 4):
        wave += overtones ** (times - 1) * random.uniform(0, 1) * np.sin(times * phase + random.uniform(0, 2 * np.pi))
    return wave


def synthesise_fibrillation(samples: int, random: Random) -> Array:
    """Return fibrillation (samples,) mV, coarse or fine: drifting waves or narrow-band noise that swell and fade."""
    centre = float(np.clip(random.normal(5.2, 1.2), 3.2, 9.0))
    if random.random() < 0.35:
        width = random.uniform(0.6, 2.2)
        wave = synthesise_band_noise(samples, max(2.4, centre - width), centre + width, random)
    else:
        wander = random.uniform(0.03, 0.16)
        wave = np.zeros(samples)
        for share in (1.0, random.choice([0.0, 0.4, 0.8])):
            own = centre * np.exp(random.normal(0, 0.15) if share < 1 else 0.0)
            pace = own * np.exp(wander * synthesise_drift(samples, random.uniform(0.3, 1.5), random))
            swell = np.exp(random.uniform(0.15, 0.6) * synthesise_drift(samples, random.uniform(0.15, 1.0), random))
            wave += share * swell * _harmonic_wave(pace, random.uniform(0, 0.55), random)
    wave = wave + random.uniform(0, 0.25) * synthesise_band_noise(samples, 1.5, 12, random)
    height = np.exp(random.uniform(np.log(0.25), np.log(2.5)))
    x: Array = height * wave / (2.2 * wave.std())
    return x


def synthesise_flutter(samples: int, random: Random) -> Array:
    """Return flutter (samples,) mV: large regular waves, 230 to 350 per minute, some of which twist about the line."""
    pace = random.uniform(3.9, 5.8) * np.exp(random.uniform(0.005, 0.04) * synthesise_drift(samples, 0.5, random))
    swell = np.exp(random.uniform(0.03, 0.3) * synthesise_drift(samples, 0.4, random))
    if random.random() < 0.3:
        swell = swell * (0.15 + np.abs(np.sin(np.pi * np.cumsum(np.full(samples, random.uniform(0.1, 0.35))) / FS)))
    wave = swell * _harmonic_wave(pace, random.uniform(0, 0.5), random)
    x: Array = np.exp(random.uniform(np.log(0.25), np.log(3.0))) * wave / (2.2 * wave.std())
    return x


def synthesise_tachycardia(samples: int, random: Random) -> Array:
    """Return VT (samples,) mV: broad complexes, 105 to 225 per minute, of one shape or of changing shapes."""
    pace = random.uniform(1.75, 3.75) * np.exp(random.uniform(0.002, 0.02) * synthesise_drift(samples, 0.5, random))
    wave = _harmonic_wave(pace, random.uniform(0.45, 0.75), random)
    if random.random() < 0.25:
        other = _harmonic_wave(pace, random.uniform(0.45, 0.75), random)
        turn = 0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(0.05, 0.25) * np.arange(samples) / FS)
        wave = turn * wave + (1 - turn) * other
    swell = np.exp(random.uniform(0.0, 0.12) * synthesise_drift(samples, 0.6, random))
    x: Array = np.exp(random.uniform(np.log(0.3), np.log(4.0))) * swell * wave / (2.4 * wave.std())
    return x


def synthesise_beat_train(
    samples: int, shapes: list[Array], rate: float, jitter: float, mixed: bool, random: Random
) -> Array:
    """Return beats (samples,) mV of the given `shapes`, each cut 0.24 s before its R peak, `rate` per minute.

    If `mixed`, every beat has a random shape; else all have the same. An early beat cuts off the end of the one before.
    """
    x, peak = np.zeros(samples), float(random.uniform(0, 60) / rate * FS)
    before, chosen = round(0.24 * FS), shapes[random.integers(len(shapes))]
    lead = round(min(0.24, 0.3 * 60 / rate) * FS)
    while peak < samples + before:
        if mixed:
            chosen = shapes[random.integers(len(shapes))]
        step = 60 / rate * FS * np.exp(jitter * random.standard_normal())
        add_beat(x, chosen, peak, lead, step, random)
        peak += step
    return x


def add_beat(x: Array, shape: Array, peak: float, lead: int, step: float, random: Random) -> None:
    """Add a beat to `x` (samples,) mV in place, from `lead` samples before its R peak to `step` samples after it.

    `shape` is cut 0.24 s before its R peak.
    """
    before = round(0.24 * FS)
    beat = shape[before - lead : before - lead + max(8, round(step) + lead)].copy()
    fade = max(1, min(len(beat) // 3, lead))
    beat[:fade] *= np.linspace(0, 1, fade)
    beat[-fade:] *= np.linspace(1, 0, fade)
    first = round(peak) - lead
    start, stop = max(0, first), min(len(x), first + len(beat))
    if stop > start:
        x[start:stop] += np.exp(0.04 * random.standard_normal()) * beat[start - first : stop - first]


def synthesise_atrial_flutter(samples: int, height: float, random: Random) -> Array:
    """Return atrial flutter (samples,) mV: saw-tooth waves of `height` mV, 240 to 340 per minute."""
    phase = np.cumsum(np.full(samples, random.uniform(4.0, 5.7))) / FS
    rise = random.uniform(0.55, 0.85)
    part = phase % 1
    x: Array = height * (np.where(part < rise, part / rise, (1 - part) / (1 - rise)) - 0.5)
    return x


def synthesise_artefact(samples: int, random: Random) -> Array:
    """Return tremor, tooth-brushing, chest compressions (samples,): bursts of 1.5 to 9 Hz, of power about 1 inside."""
    pace = np.exp(random.uniform(np.log(1.5), np.log(9))) * np.exp(0.08 * synthesise_drift(samples, 0.5, random))
    bursts = np.clip(1.5 * synthesise_drift(samples, random.uniform(0.1, 0.5), random), 0, None)
    x: Array = bursts * _harmonic_wave(pace, random.uniform(0.1, 0.8), random)
    return x


def synthesise_motion(samples: int, random: Random) -> Array:
    """Return electrode motion (samples,) of power 1: random decaying steps and spikes, or bumps as regular as steps."""
    if random.random() < 0.4:
        return _motion_bumps(samples, random)
    x, time = np.zeros(samples), np.arange(400) / FS
    for start in random.integers(0, samples, 1 + random.poisson(samples / FS * random.uniform(0.5, 3))).tolist():
        decay, rise = np.exp(random.uniform([-3.5, -4.8], [-0.2, -2.1]))
        pulse = (1 - np.exp(-time / rise)) * np.exp(-time / decay)
        if random.random() < 0.4:
            pulse = np.gradient(pulse) * random.uniform(3, 12)
        x[start : start + 400] += random.standard_normal() * np.exp(random.normal(0, 0.6)) * pulse[: samples - start]
    unit: Array = x / (np.sqrt((x**2).mean()) + 1e-12)
    return unit


def _motion_bumps(samples: int, random: Random) -> Array:
    """Return body motion (samples,): pointed bumps of 0.1 to 0.5 s of any height, some double, on a swaying line."""
    x, at = np.zeros(samples), 0.0
    pace, jitter = np.exp(random.uniform(np.log(0.35), np.log(1.5))), random.uniform(0.1, 0.6)
    width, point, sign = random.uniform(0.03, 0.15), random.uniform(0.7, 2), random.choice([-1, 1])
    while at < samples:
        broad = width * np.exp(random.normal(0, 0.3)) * FS
        place = np.arange(500) - 250 + at % 1
        side = np.where(place < 0, broad, broad * random.uniform(0.7, 2))
        bump = sign * np.exp(random.normal(0, 0.5)) * np.exp(-((np.abs(place) / side) ** point))
        first = int(at) - 250
        start, stop = max(0, first), min(samples, first + len(place))
        x[start:stop] += bump[start - first : stop - first]
        at += pace * np.exp(jitter * random.standard_normal()) * FS * random.choice([1, 1, 1, 0.3])
    x = x + random.uniform(0, 1.5) * x.std() * synthesise_drift(samples, random.uniform(0.05, 0.4), random)
    x = x - x.mean()
    unit: Array = x / (x.std() + 1e-12)
    return unit


def synthesise_flat_line(samples: int, random: Random) -> Array:
    """Return asystole (samples,) mV: a slowly wandering line, with little noise of the amplifier and of the mains."""
    time = np.arange(samples) / FS
    x = np.exp(random.uniform(np.log(0.001), np.log(0.02))) * random.standard_normal(samples)
    x += random.choice([0.0, 0.01, 0.03]) * np.sin(2 * np.pi * random.choice([25.0, 50.0, 60.0]) * time)
    x += (
        random.choice([0.0, 0.008, 0.018])
        * synthesise_band_noise(samples, 0.5, random.uniform(3, 30), random)
        * random.random()
    )
    wander: Array = random.choice([0.0, 0.05, 0.15]) * synthesise_drift(samples, random.uniform(0.05, 0.3), random)
    line: Array = x + wander
    return line


def synthesise_pacer_spikes(samples: int, height: float, random: Random) -> Array:
    """Return pacemaker spikes (samples,) mV at 125 Hz: steep and fading, or as a resampler shows them, 50 to 110 per
    minute."""
    x, spike = np.zeros(samples), float(random.uniform(0, FS))
    tail = np.exp(-np.arange(12) / random.uniform(0.5, 4)) * np.where(np.arange(12) > 0, random.choice([1, -1]), 1)
    step, ringing = 60 / random.uniform(50, 110) * FS, random.random() < 0.6
    while spike < samples:
        first = int(spike)
        if ringing:
            time = np.arange(16) - 7 - spike % 1
            tail = np.sinc(0.97 * time) * np.cos(np.pi * time / 18) ** 2
        x[first : first + len(tail)] += height * tail[: samples - first]
        spike += step
    return x


def synthesise_paced_fibrillation(samples: int, random: Random) -> Array:
    """Return fibrillation (samples,) mV in which a pacemaker paces on: spikes, and a blunt deflection behind each."""
    make = synthesise_fibrillation if random.random() < 0.8 else synthesise_flutter
    wave = make(samples, random)
    height = np.ptp(wave[: 4 * FS]) * random.choice([-1, 1]) * random.uniform(0.3, 2.0)
    spikes = synthesise_pacer_spikes(samples, height, random)
    after = np.exp(-np.arange(FS // 2) / (random.uniform(0.02, 0.15) * FS))
    blunt = np.convolve(np.maximum(spikes * np.sign(height), 0), after)[:samples]
    x: Array = wave + spikes - np.sign(height) * random.uniform(0, 0.7) * blunt
    return x


def shorten_repolarisation(shape: Array, rate: float) -> Array:
    """Return a beat (n,) mV, cut 0.24 s before its R peak, with the T wave as early as `rate` per minute makes it."""
    factor = min(1.0, np.sqrt(60 / rate / 0.8))
    begin = round(0.32 * FS)
    places = np.arange(len(shape), dtype=float)
    later = places > begin
    places[later] = begin + (places[later] - begin) / factor
    shortened: Array = np.interp(places, np.arange(len(shape)), shape)
    return shortened


def synthesise_complexes(samples: int, rate: float, qrs_s: float, jitter: float, random: Random) -> Array:
    """Return beats of physics alone (samples,) mV: QRS complexes that last `qrs_s`, with a T wave and often a P wave.

    A wide complex has no P wave and a large T wave against it.
    """
    wide = qrs_s >= 0.12
    cycle = 60 / rate
    qt = qrs_s + random.uniform(0.4, 0.6) * min(cycle, 0.8 * np.sqrt(cycle))
    waves = [(0.0, 1.0, qrs_s * random.uniform(0.15, 0.2))]
    waves += [(place * qrs_s, -random.choice([0, random.uniform(0, 0.9)]), qrs_s * 0.13) for place in (-0.33, 0.36)]
    if wide and random.random() < 0.5:
        waves.append((random.uniform(0.2, 0.45) * qrs_s, random.uniform(0.2, 0.9), qrs_s * 0.17))
    t_height = random.uniform(-0.8, -0.25) if wide else random.uniform(-0.15, random.choice([0.4, 0.4, 1.4]))
    waves.append((qt - 0.4 * qrs_s, t_height, random.uniform(0.11, 0.22) * qt))
    if not wide and random.random() < 0.8:
        waves.append(
            (-min(0.16, random.uniform(0.3, 0.42) * cycle), random.uniform(0, 0.25), 0.018 + 0.01 * random.random())
        )
    x, time, at = np.zeros(samples), np.arange(samples) / FS, random.uniform(-cycle, 0)
    while at < samples / FS + cycle:
        height = np.exp(0.03 * random.standard_normal())
        for place, size, width in waves:
            first, stop = (np.clip(int((at + place + side * 4 * width) * FS), 0, samples) for side in (-1, 1))
            x[first:stop] += height * size * np.exp(-(((time[first:stop] - at - place) / width) ** 2) / 2)
        at += cycle * np.exp(jitter * random.standard_normal())
    size = random.choice([-1, 1]) * np.exp(random.uniform(np.log(0.3), np.log(3)))
    wander = random.uniform(0, 0.1) * synthesise_drift(samples, random.uniform(0.1, 0.4), random)
    complexes: Array = size * (x + wander + 0.005 * random.standard_normal(samples))
    return complexes
