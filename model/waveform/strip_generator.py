"""Synthetic strips for the training of the waveform classifier, and copies of strips as other monitors show them."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from model.records.resample import FS, resample_signal
from model.records.wfdb_records import embedded_noises, open_record, read_record_samples
from model.waveform import synthetic_noise
from model.waveform import synthetic_waveforms as synthetic
from model.waveform.labelled_windows import (
    ASYSTOLE_BIT,
    NOISE_BIT,
    ORGANISED_BIT,
    VF_BIT,
    VT_BIT,
    Array,
    Bits,
    LabelledStrip,
)
from model.waveform.recorded_strips import cut_beat_shapes

StripMaker = Callable[[int], tuple[Array, int | Bits]]
"""Makes (samples,) mV, and the bits of what they may be, of all together or of each."""
WIDE_QRS_RECORDS = ("102", "104", "107", "109", "111", "118", "124", "207", "212", "214", "217", "231", "232")
"""Records with bundle branch block or pacemaker: at a high rate their normal beats look ventricular."""
NOISE_TRAINING_S = 1200
"""Seconds of the recorded noise that training may use: the rest tests."""
STRIP_S = 28
"""Seconds of a synthetic strip: most strips of hand-held sensors are as long."""
CLEAN_DB, NOISY_DB = 13.0, 8.0
"""Signal-to-noise ratios above which beats in noise are organised, and below which they are noise."""
DRIFT_HZ = 0.7
"""What is slower than this hides no beat, and does not count as noise."""
SHARES = {
    "fibrillation": 3.5,
    "flutter": 1.5,
    "paced fibrillation": 1.2,
    "tachycardia": 1.5,
    "V beats": 3.0,
    "wide beats": 2.5,
    "narrow beats": 3.0,
    "narrow complexes": 3.5,
    "low beats": 2.0,
    "slow wide beats": 0.8,
    "ectopy": 3.0,
    "beats in noise": 6.5,
    "noise": 2.0,
    "contact": 1.2,
    "calibration": 1.0,
    "hum": 1.0,
    "converter": 0.8,
    "loose lead": 1.0,
    "brain waves": 1.6,
    "breathing": 1.2,
    "pulse": 0.5,
    "flat line": 1.0,
    "spikes": 1.0,
    "atrial flutter": 1.0,
}
"""How often each kind of strip is drawn."""
SOURCE_PARTS = {
    "beats in noise": 8,
    "ectopy": 3,
    "narrow complexes": 3,
    "narrow beats": 3,
    "fibrillation": 3,
    "brain waves": 5,
    "breathing": 6,
}
"""Kinds that count as several sources, because they are as various."""
EPISODES = ("fibrillation", "flutter", "tachycardia", "V beats", "wide beats")
"""Kinds that often alternate with an ordinary rhythm."""


class StripGenerator:
    """Synthetic strips, of beats of `records`, of `ordinary` strips or of physics alone; the same for the same seed."""

    def __init__(self, records: tuple[str, ...], ordinary: Sequence[LabelledStrip], seed: int) -> None:
        self._records, self._random = records, np.random.default_rng(seed)
        long = [strip for strip in ordinary if len(strip.x) >= STRIP_S * FS and (strip.allowed == ORGANISED_BIT).any()]
        self._sources: dict[str, list[LabelledStrip]] = {}
        for strip in long:
            self._sources.setdefault(strip.source, []).append(strip)
        self._names = sorted(self._sources)

    def strips(self, count: int, seconds: int = STRIP_S) -> Iterator[LabelledStrip]:
        """Yield `count` strips, each of one kind, some of them alternating with an ordinary rhythm."""
        random, makers, names = self._random, self._makers(), list(SHARES)
        share = np.array(list(SHARES.values()))
        for index, number in enumerate(random.choice(len(names), count, p=share / share.sum()).tolist()):
            name = names[number]
            x, bits = makers[name](seconds * FS)
            allowed = np.full(len(x), bits, np.uint8)
            if name in EPISODES and random.random() < 0.5:
                x, allowed = self._onset(x, allowed)
            parts = SOURCE_PARTS.get(name, 1)
            yield LabelledStrip(f"made {name} {index % parts}", x, allowed)

    def _makers(self) -> dict[str, StripMaker]:
        """Return for each kind what makes (samples,) mV and the bits of what it may be."""

        def alone(make: Callable[[int, np.random.Generator], Array], bits: int) -> StripMaker:
            return lambda samples: (make(samples, self._random), bits)

        return {
            "fibrillation": alone(synthetic.synthesise_fibrillation, VF_BIT),
            "flutter": alone(synthetic.synthesise_flutter, VF_BIT),
            "paced fibrillation": alone(synthetic.synthesise_paced_fibrillation, VF_BIT),
            "tachycardia": alone(synthetic.synthesise_tachycardia, VT_BIT),
            "V beats": lambda samples: (self._beats_of("V", samples, 108, 250), VT_BIT),
            "wide beats": lambda samples: (self._complexes(samples, (0.14, 0.22), 110, 250), VT_BIT),
            "narrow beats": lambda samples: (self._narrow(samples), ORGANISED_BIT),
            "narrow complexes": lambda samples: (self._complexes(samples, (0.05, 0.1), 60, 260), ORGANISED_BIT),
            "low beats": lambda samples: (self._low(samples), ORGANISED_BIT),
            "slow wide beats": lambda samples: (self._beats_of("V", samples, 45, 92), ORGANISED_BIT),
            "ectopy": self._ectopy,
            "beats in noise": self._noisy,
            "noise": lambda samples: (self._noise(samples), NOISE_BIT),
            "contact": lambda samples: (
                synthetic_noise.open_and_close(self._ordinary(samples), self._random),
                NOISE_BIT,
            ),
            "calibration": alone(synthetic_noise.synthesise_calibration_pulses, NOISE_BIT),
            "hum": alone(synthetic_noise.synthesise_hum_alone, NOISE_BIT),
            "converter": alone(synthetic_noise.synthesise_converter_noise, NOISE_BIT | ASYSTOLE_BIT),
            "loose lead": alone(synthetic_noise.synthesise_loose_lead, NOISE_BIT),
            "brain waves": alone(synthetic_noise.synthesise_brain_waves, NOISE_BIT),
            "breathing": alone(synthetic_noise.synthesise_breathing, NOISE_BIT),
            "pulse": alone(synthetic_noise.synthesise_pulse_curve, NOISE_BIT),
            "flat line": alone(synthetic.synthesise_flat_line, ASYSTOLE_BIT),
            "spikes": lambda samples: (self._spikes(samples), ASYSTOLE_BIT),
            "atrial flutter": lambda samples: (self._atrial(samples), ORGANISED_BIT),
        }

    def _onset(self, x: Array, allowed: Bits) -> tuple[Array, Bits]:
        """Let an ordinary rhythm of a patient turn into `x` (n,) mV, and back, every few seconds."""
        random = self._random
        other = self._ordinary(len(x))
        other = other * (np.exp(random.normal(0, 0.4)) * np.ptp(x) / (np.ptp(other) + 1e-6))
        start, inside = int(random.uniform(4, 15) * FS), False
        mixed, bits = other.copy(), np.full(len(x), ORGANISED_BIT, np.uint8)
        while start < len(x):
            spans = random.uniform(1.5, 4), random.uniform(3, 6), random.uniform(5, 16)
            stop = start + int(random.choice(spans) * FS)
            inside = not inside
            if inside:
                mixed[start:stop], bits[start:stop] = x[start:stop], allowed[start:stop]
            start = stop
        return mixed, bits

    def _ordinary(self, samples: int) -> Array:
        """Return a stretch (samples,) mV of an ordinary strip less its median, organised if 20 tries find one."""
        of_source = self._sources[self._one(self._names)]
        strip = of_source[int(self._random.integers(len(of_source)))]
        for _ in range(20):
            start = int(self._random.integers(0, len(strip.x) - samples + 1))
            if (strip.allowed[start : start + samples] == ORGANISED_BIT).all():
                break
        part = strip.x[start : start + samples]
        ordinary: Array = part - np.median(part)
        return ordinary

    def _one(self, names: Sequence[str]) -> str:
        return names[int(self._random.integers(len(names)))]

    def _shapes(self, names: Sequence[str], kind: str) -> list[Array]:
        """Return beats of a class of one of the records."""
        cut: tuple[Array, ...] = ()
        while len(cut) < 3:
            cut = cut_beat_shapes(self._one(names), int(self._random.integers(2)), kind)
        return list(cut)

    def _beats_of(self, kind: str, samples: int, slowest: float, fastest: float) -> Array:
        """Return a train of such beats of a record (samples,) mV."""
        random = self._random
        rate, jitter = random.uniform(slowest, fastest), random.choice([0.01, 0.03, 0.08])
        mixed = bool(random.random() < 0.4)
        return synthetic.synthesise_beat_train(samples, self._shapes(self._records, kind), rate, jitter, mixed, random)

    def _narrow(self, samples: int) -> Array:
        """Synthesise sinus or supraventricular tachycardia, or fast atrial fibrillation, of narrow beats."""
        random = self._random
        names = tuple(name for name in self._records if name not in WIDE_QRS_RECORDS)
        rate = random.uniform(50, 255)
        jitter = random.choice([0.01, 0.04, 0.15, 0.25]) if rate < 190 else random.choice([0.005, 0.01, 0.03])
        shapes = [synthetic.shorten_repolarisation(shape, rate) for shape in self._shapes(names, "N")]
        return synthetic.synthesise_beat_train(samples, shapes, rate, jitter, False, random)

    def _ectopy(self, samples: int) -> tuple[Array, Bits]:
        """Return normal and V beats of a record (samples,) mV in any order; runs of V beats are VT."""
        random = self._random
        name = self._one([name for name in self._records if len(cut_beat_shapes(name, 0, "V")) >= 3])
        lead = int(random.integers(2))
        by_kind = {kind: cut_beat_shapes(name, lead, kind) for kind in "NV"}
        normal = by_kind["N"] or by_kind["V"]
        x, bits = np.zeros(samples), np.full(samples, ORGANISED_BIT, np.uint8)
        cycle, share, peak = 60 / random.uniform(55, 130) * FS, random.uniform(0.1, 0.6), 0.0
        run: list[float] = []
        while peak < samples:
            ectopic = bool(random.random() < share)
            if ectopic:
                run.append(peak)
            else:
                self._mark_run(run, bits)
                run = []
            step = cycle * np.exp(0.04 * random.standard_normal())
            if random.random() < share:  # the next one comes early
                step = min(step * random.uniform(0.5, 0.85), 60 / random.uniform(110, 210) * FS if ectopic else step)
            elif ectopic:
                step *= random.uniform(1.1, 1.5)
            shapes = by_kind["V"] if ectopic else normal
            shape = shapes[int(random.integers(len(shapes)))]
            synthetic.add_beat(x, shape, peak, round(min(0.24, 0.3 * step / FS) * FS), step, random)
            peak += step
        self._mark_run(run, bits)
        return x, bits

    def _mark_run(self, run: list[float], bits: Bits) -> None:
        """Mark three and more V beats as VT."""
        if len(run) >= 3:
            bits[max(0, round(run[0] - 0.15 * FS)) : round(run[-1] + 0.25 * FS)] = VT_BIT

    def _complexes(self, samples: int, widths_s: tuple[float, float], slowest: float, fastest: float) -> Array:
        """Return complexes (samples,) mV of a width and a rate between these bounds."""
        random = self._random
        rate = random.uniform(slowest, fastest)
        jitter = random.choice([0.003, 0.01, 0.03])
        return synthetic.synthesise_complexes(samples, rate, random.uniform(*widths_s), jitter, random)

    def _low(self, samples: int) -> Array:
        """Return clean beats (samples,) mV with QRS complexes of 0.15 to 0.5 mV."""
        random = self._random
        made = bool(random.random() < 0.5)
        x = self._complexes(samples, (0.06, 0.13), 45, 140) if made else self._ordinary(samples)
        parts = x[: samples // FS * FS].reshape(-1, FS)
        height = synthetic_noise.draw_log_uniform(0.15, 0.5, random)
        x = x * height / (np.median(np.ptp(parts, axis=1)) + 1e-6)
        low: Array = x + height * synthetic_noise.draw_log_uniform(0.002, 0.02, random) * random.standard_normal(
            samples
        )
        return low

    def _atrial(self, samples: int) -> Array:
        random = self._random
        x = self._ordinary(samples)
        return x + synthetic.synthesise_atrial_flutter(samples, np.ptp(x) * random.uniform(0.05, 0.3), random)

    def _noise(self, samples: int) -> Array:
        x = np.exp(self._random.uniform(np.log(0.1), np.log(2))) * self.disturbance(samples)
        noise: Array = x + synthetic.synthesise_flat_line(samples, self._random)
        return noise

    def _spikes(self, samples: int) -> Array:
        """Return the spikes of a pacemaker that captures nothing."""
        random = self._random
        height = random.choice([-1, 1]) * synthetic_noise.draw_log_uniform(0.1, 8, random)
        return synthetic.synthesise_flat_line(samples, random) + synthetic.synthesise_pacer_spikes(
            samples, height, random
        )

    def _noisy(self, samples: int) -> tuple[Array, int]:
        """Add noise to an ordinary rhythm. What is slower than a beat does not count."""
        random = self._random
        x = self._ordinary(samples)
        parts = x[: samples // FS * FS].reshape(-1, FS)
        power = np.median(np.ptp(parts, axis=1)) ** 2 / 8
        noise = self.disturbance(samples)
        decibels = random.uniform(-12, 18)
        noise *= np.sqrt(power * 10 ** (-decibels / 10) / ((high_pass(noise, DRIFT_HZ) ** 2).mean() + 0.02))
        bits = ORGANISED_BIT if decibels > CLEAN_DB else NOISE_BIT
        return x + noise, bits if not NOISY_DB < decibels <= CLEAN_DB else ORGANISED_BIT | NOISE_BIT

    def disturbance(self, samples: int) -> Array:
        """Return noise (samples,) of power 1: recorded, synthetic, rhythmic, or a mixture."""
        random = self._random
        weights = random.dirichlet([0.35, 0.15, 0.45, 0.3, 0.25])
        parts = (
            cut_recorded_noise("ma", samples, random),
            cut_recorded_noise("bw", samples, random),
            synthetic.synthesise_motion(samples, random),
            synthetic.synthesise_band_noise(
                samples, random.uniform(0.3, 2), np.exp(random.uniform(np.log(4), np.log(40))), random
            ),
            synthetic.synthesise_artefact(samples, random),
        )
        mixed: Array = sum(np.sqrt(weight) * part for weight, part in zip(weights, parts, strict=True))
        return mixed


@lru_cache(maxsize=2)
def _window_noise_record(kind: str) -> Array:
    record = open_record(kind)
    return resample_signal(read_record_samples(record), record.fs)


def cut_recorded_noise(kind: str, samples: int, random: np.random.Generator) -> Array:
    """Cut noise (samples,) of power 1 from a random place of the first 20 minutes of a record of the NSTDB."""
    assert kind in embedded_noises()
    noise = _window_noise_record(kind)
    start = int(random.integers(0, NOISE_TRAINING_S * FS - samples))
    part = noise[start : start + samples, int(random.integers(noise.shape[1]))]
    part = part - part.mean()
    unit: Array = part / (np.sqrt((part**2).mean()) + 1e-9)
    return unit


def vary_strip(strip: LabelledStrip, random: np.random.Generator, maker: StripGenerator) -> LabelledStrip:
    """Return the strip as another monitor might have shown it: speed, gain, filters, wander, hum and some noise."""
    x, allowed = strip.x, strip.allowed
    if random.random() < 0.5:
        speed = random.uniform(0.88, 1.14)
        places = np.arange(int(len(x) / speed)) * speed
        x, allowed = np.interp(places, np.arange(len(x)), x), allowed[places.astype(int)]
    x = x - np.median(x)
    if random.random() < 0.35:  # a monitor's high pass
        x = high_pass(x, np.exp(random.uniform(np.log(0.1), np.log(1.0))))
    if random.random() < 0.35:  # and its low pass
        x = low_pass(x, random.uniform(15, 45))
    height = np.median(np.ptp(x[: len(x) // (2 * FS) * 2 * FS].reshape(-1, 2 * FS), axis=1))
    if random.random() < 0.5:
        swing = np.exp(random.uniform(np.log(0.05), np.log(4)))
        x = x + height * swing * synthetic.synthesise_drift(
            len(x), random.uniform(0.03, 0.25 + 0.2 * (swing < 1.5)), random
        )
    if random.random() < 0.06:
        size = random.choice([random.uniform(-1.5, 1.5), random.uniform(-8, 8)])
        x = x + synthetic.synthesise_pacer_spikes(len(x), height * size, random)
    if random.random() < 0.4:
        x = x + height * 10 ** -random.uniform(1.1, 2.2) * random.standard_normal(len(x))
    if random.random() < 0.3:
        size = random.choice([random.uniform(0, 0.05), random.uniform(0, 1.2)])
        pace = random.choice([25 if size < 0.05 else 50, 50, 60])
        x = x + height * size * np.sin(2 * np.pi * pace * np.arange(len(x)) / FS)
    if random.random() < 0.3:
        whole = np.concatenate([maker.disturbance(40 * FS) for _ in range(len(x) // (40 * FS) + 1)])[: len(x)]
        x = x + height / np.sqrt(8) * 10 ** (-random.uniform(13, 25) / 20) * whole
    if not (allowed & ASYSTOLE_BIT).any():
        x = x * np.exp(random.normal(0, 0.4))
    return LabelledStrip(strip.source, x, allowed)


def high_pass(x: Array, pace: float) -> Array:
    """Return `x` (samples,) after a high pass of first order at `pace` hertz."""
    from scipy.signal import butter, sosfilt

    filtered: Array = sosfilt(butter(1, pace, "highpass", fs=FS, output="sos"), x)
    return filtered


def low_pass(x: Array, pace: float) -> Array:
    """Return `x` (samples,) after a low pass of second order at `pace` hertz."""
    from scipy.signal import butter, sosfilt

    filtered: Array = sosfilt(butter(2, pace, fs=FS, output="sos"), x)
    return filtered
