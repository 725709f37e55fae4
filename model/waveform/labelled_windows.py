"""The training data of the waveform classifier: strips of signal with partial labels, and their windows.

Annotations of rhythm are coarse: what one reader calls ventricular tachycardia another calls fibrillation, and a
stretch marked as noise may show beats. So each sample of a strip has a bit for each kind that it may be, and training
excludes only the others. The kinds are `WAVEFORM_KINDS` of `model.waveform.waveform_classifier`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS, resample_signal
from model.records.wfdb_records import (
    RecordAnnotations,
    embedded_noises,
    open_record,
    read_record_samples,
    read_reference,
)
from model.waveform import synthetic_waveforms as synthetic
from model.waveform.waveform_classifier import WAVEFORM_KINDS
from model.waveform.window_features import WINDOW, Floats, WindowFeatures, measure_windows

Array = NDArray[np.float64]
Bits = NDArray[np.uint8]
ORGANISED_BIT, VT_BIT, VF_BIT, NOISE_BIT, ASYSTOLE_BIT = (1 << kind for kind in range(len(WAVEFORM_KINDS)))
LABEL_SPAN = 3 * FS
"""The last samples of a window, whose label is the window's."""
RHYTHM_BITS = {
    "VT": VT_BIT | VF_BIT,
    "VFL": VF_BIT,
    "VF": VF_BIT,
    "VFIB": VF_BIT,
    "ASYS": ASYSTOLE_BIT | NOISE_BIT | ORGANISED_BIT,
    "NOISE": NOISE_BIT | ORGANISED_BIT,
    "HGEA": ORGANISED_BIT | VT_BIT,
    "IVR": ORGANISED_BIT | VT_BIT,
    "VER": ORGANISED_BIT | VT_BIT,
}
"""The kinds that each annotated rhythm may be; any other rhythm is organised."""
WIDE_QRS_RECORDS = ("102", "104", "107", "109", "111", "118", "124", "207", "212", "214", "217", "231", "232")
"""Records with bundle branch block or pacemaker: at a high rate their normal beats look ventricular."""
EMERGENCY_RATES = (205, 270)
"""Rates per minute that hardly any supraventricular rhythm reaches; if one does, it is an emergency like VT."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledStrip:
    """One lead `x` (n,) mV at 125 Hz; `allowed` (n,) bits of the kinds each sample may be, 0 if it is not used."""

    source: str
    x: Array
    allowed: Bits
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class LabelledWindows:
    """Windows: features `numbers` (n, FEATURE_COUNT), `allowed` bits (n,), `weights` (n,), `sources` (n,) names."""

    numbers: Floats
    allowed: Bits
    weights: Floats
    sources: NDArray[np.str_]


@lru_cache(maxsize=128)
def read_annotated_leads(name: str) -> tuple[Array, RecordAnnotations, float]:
    """Read all leads (n, leads) mV of a record at 125 Hz, its annotations, and 125 Hz divided by its own rate."""
    record = open_record(name)
    return (
        np.nan_to_num(resample_signal(read_record_samples(record), record.fs)),
        read_reference(record),
        FS / record.fs,
    )


def label_malignant_record(path: Path, lead: int) -> LabelledStrip:
    """Label a lead of a record of the Malignant Ventricular Ectopy Database by its annotated rhythms."""
    x, annotations, scale = read_annotated_leads(str(path))
    allowed = np.zeros(len(x), np.uint8)
    spans = annotated_rhythms(annotations, scale, len(x))
    noisy = any(kind in ("VFL", "VF", "VFIB") for _, _, kind in spans)
    for start, stop, kind in spans:
        bits = RHYTHM_BITS.get(kind, ORGANISED_BIT)
        allowed[start:stop] = 0 if noisy and kind == "NOISE" else bits  # fibrillation may go on below the noise
    return LabelledStrip(path.name, x[:, lead], allowed)


def annotated_rhythms(annotations: RecordAnnotations, scale: float, samples: int) -> list[tuple[int, int, str]]:
    """Return the annotated rhythms as first sample, sample after the last, and name."""
    starts = [
        (round(sample * scale), text[1:])
        for sample, text in zip(annotations.samples.tolist(), annotations.texts, strict=True)
        if text.startswith("(")
    ]
    ends = [start for start, _ in starts[1:]] + [samples]
    return [(start, end, kind) for (start, kind), end in zip(starts, ends, strict=True)]


def annotated_flutter(annotations: RecordAnnotations, scale: float) -> list[tuple[int, int]]:
    """Return the marked stretches of ventricular flutter as first sample and sample after the last."""
    marks = [
        round(sample * scale)
        for sample, symbol in zip(annotations.samples.tolist(), annotations.symbols, strict=True)
        if symbol in "[]"
    ]
    return list(zip(marks[::2], marks[1::2], strict=True))


def label_arrhythmia_record(name: str, lead: int) -> LabelledStrip:
    """Label a lead of the Arrhythmia Database: organised but for flutter, V runs and what is unclear."""
    x, annotations, scale = read_annotated_leads(name)
    allowed = np.full(len(x), ORGANISED_BIT, np.uint8)
    for start, stop, kind in annotated_rhythms(annotations, scale, len(x)):
        if kind in ("IVR", "VT", "HGEA"):
            allowed[start:stop] = 0
    for start, stop in annotated_vt_runs(annotations, scale):
        allowed[max(0, start - FS) : stop + FS] = 0
        allowed[start:stop] = VT_BIT
    for start, stop in annotated_flutter(annotations, scale):
        allowed[max(0, start - FS) : stop + FS] = 0
        allowed[start:stop] = VF_BIT
    return LabelledStrip(name, x[:, lead % x.shape[1]], allowed)


def annotated_vt_runs(annotations: RecordAnnotations, scale: float, fewest: int = 3) -> list[tuple[int, int]]:
    """Return runs of at least `fewest` V beats at over 100 per minute, as first sample and sample after the last."""
    runs: list[tuple[int, int]] = []
    beats, classes = annotations.beats()
    run: list[float] = []
    for peak, kind in zip([*(beats * scale).tolist(), np.inf], [*classes, "N"], strict=True):
        if run and (kind != "V" or peak - run[-1] > 0.6 * FS):
            if len(run) >= fewest:
                runs.append((round(run[0] - 0.15 * FS), round(run[-1] + 0.25 * FS)))
            run = []
        if kind == "V":
            run.append(peak)
    return runs


@lru_cache(maxsize=128)
def cut_beat_shapes(name: str, lead: int, kind: str) -> tuple[Array, ...]:
    """Cut up to 40 beats of a class, each (n,) mV from 0.24 s before the R peak to 0.8 s after, less its median."""
    x, annotations, scale = read_annotated_leads(name)
    x = x[:, lead % x.shape[1]]
    beats, classes = annotations.beats()
    before, after = round(0.24 * FS), round(0.8 * FS)
    peaks = [round(beat * scale) for beat, label in zip(beats.tolist(), classes, strict=True) if label == kind]
    peaks = [peak for peak in peaks if before < peak < len(x) - after]
    beats_cut = [x[peak - before : peak + after] for peak in peaks[:: max(1, len(peaks) // 40)]]
    return tuple(beat - np.median(beat) for beat in beats_cut)


class StripGenerator:
    """Synthetic strips, of beats of `records` or of physics alone; the same for the same seed."""

    def __init__(self, records: tuple[str, ...], seed: int) -> None:
        self._records, self._random = records, np.random.default_rng(seed)

    def strips(self, count: int, seconds: int = 40) -> Iterator[LabelledStrip]:
        """Yield `count` strips, each of one kind, some of them alternating with an ordinary rhythm."""
        random = self._random
        kinds = (self._fibrillation, self._flutter, self._tachycardia, self._beats_of("V"), self._narrow)
        others = (self._noise, self._flat, self._noisy, self._atrial)
        every = (*kinds, *others)
        share = np.array([4, 1.5, 1.5, 4, 3, 3, 1, 5, 1])
        for number in random.choice(len(every), count, p=share / share.sum()).tolist():
            x, bits, name = every[number](seconds * FS)
            allowed = np.full(len(x), bits, np.uint8)
            if number < 4 and random.random() < 0.5:
                x, allowed = self._onset(x, allowed)
            yield LabelledStrip(f"made {name}", x, allowed)

    def _onset(self, x: Array, allowed: Bits) -> tuple[Array, Bits]:
        """Let an ordinary rhythm of a patient turn into `x` (n,) mV, and back, every few seconds."""
        random = self._random
        other = self._ordinary(len(x))
        other = other * (np.exp(random.normal(0, 0.4)) * np.ptp(x) / (np.ptp(other) + 1e-6))
        start, inside = int(random.uniform(4, 15) * FS), False
        mixed, bits = other.copy(), np.full(len(x), ORGANISED_BIT, np.uint8)
        while start < len(x):
            stop = start + int(random.choice([random.uniform(3, 6), random.uniform(5, 16)]) * FS)
            inside = not inside
            if inside:
                mixed[start:stop], bits[start:stop] = x[start:stop], allowed[start:stop]
            start = stop
        return mixed, bits

    def _ordinary(self, samples: int) -> Array:
        """Return a stretch (samples,) mV of a record less its median, organised if one is found in 20 tries."""
        strip = label_arrhythmia_record(self._one(self._records), int(self._random.integers(2)))
        for _ in range(20):
            start = int(self._random.integers(0, len(strip.x) - samples))
            if (strip.allowed[start : start + samples] == ORGANISED_BIT).all():
                break
        part = strip.x[start : start + samples]
        ordinary: Array = part - np.median(part)
        return ordinary

    def _one(self, names: tuple[str, ...]) -> str:
        return names[int(self._random.integers(len(names)))]

    def _fibrillation(self, samples: int) -> tuple[Array, int, str]:
        return synthetic.synthesise_fibrillation(samples, self._random), VF_BIT, "fibrillation"

    def _flutter(self, samples: int) -> tuple[Array, int, str]:
        return synthetic.synthesise_flutter(samples, self._random), VF_BIT, "flutter"

    def _tachycardia(self, samples: int) -> tuple[Array, int, str]:
        return synthetic.synthesise_tachycardia(samples, self._random), VT_BIT, "tachycardia"

    def _beats_of(self, kind: str):  # type: ignore[no-untyped-def]
        def beats(samples: int) -> tuple[Array, int, str]:
            """Return a train of such beats (samples,) mV, its bit and its name."""
            random = self._random
            cut: tuple[Array, ...] = ()
            while len(cut) < 3:
                cut = cut_beat_shapes(self._one(self._records), int(random.integers(2)), kind)
            rate, jitter = random.uniform(108, 250), random.choice([0.01, 0.03, 0.08])
            return (
                synthetic.synthesise_beat_train(samples, list(cut), rate, jitter, bool(random.random() < 0.4), random),
                VT_BIT,
                "V beats",
            )

        return beats

    def _narrow(self, samples: int) -> tuple[Array, int, str]:
        """Synthesise sinus or supraventricular tachycardia, or fast atrial fibrillation, of narrow beats."""
        random = self._random
        names = tuple(name for name in self._records if name not in WIDE_QRS_RECORDS)
        cut: tuple[Array, ...] = ()
        while len(cut) < 3:
            cut = cut_beat_shapes(self._one(names), int(random.integers(2)), "N")
        jitter = random.choice([0.01, 0.04, 0.15, 0.25])
        if random.random() < 0.15:
            x = synthetic.synthesise_beat_train(
                samples, list(cut), random.uniform(*EMERGENCY_RATES), min(jitter, 0.04), False, random
            )
            return x, VT_BIT, "beats too fast"
        return (
            synthetic.synthesise_beat_train(samples, list(cut), random.uniform(50, 190), jitter, False, random),
            ORGANISED_BIT,
            "narrow beats",
        )

    def _atrial(self, samples: int) -> tuple[Array, int, str]:
        random = self._random
        x = self._ordinary(samples)
        height = np.ptp(x) * random.uniform(0.05, 0.3)
        return x + synthetic.synthesise_atrial_flutter(samples, height, random), ORGANISED_BIT, "atrial flutter"

    def _noise(self, samples: int) -> tuple[Array, int, str]:
        x = np.exp(self._random.uniform(np.log(0.1), np.log(2))) * self.disturbance(samples)
        return x + synthetic.synthesise_flat_line(samples, self._random), NOISE_BIT, "noise"

    def _flat(self, samples: int) -> tuple[Array, int, str]:
        return synthetic.synthesise_flat_line(samples, self._random), ASYSTOLE_BIT, "flat line"

    def _noisy(self, samples: int) -> tuple[Array, int, str]:
        """Add noise to an ordinary rhythm."""
        random = self._random
        x = self._ordinary(samples)
        parts = x[: samples // FS * FS].reshape(-1, FS)
        power = np.median(np.ptp(parts, axis=1)) ** 2 / 8
        decibels = random.uniform(-12, 15)
        noisy = x + np.sqrt(power * 10 ** (-decibels / 10)) * self.disturbance(samples)
        bits = ORGANISED_BIT if decibels > 6 else ORGANISED_BIT | NOISE_BIT if decibels > -6 else NOISE_BIT
        return noisy, bits, "beats in noise"

    def disturbance(self, samples: int) -> Array:
        """Return noise (samples,) of power 1: recorded, synthetic, rhythmic, or a mixture."""
        random = self._random
        weights = random.dirichlet([0.35, 0.35, 0.5, 0.35, 0.35])
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
    """Cut noise (samples,) of power 1 from a random place of the MIT-BIH Noise Stress Test Database."""
    assert kind in embedded_noises()
    noise = _window_noise_record(kind)
    start = int(random.integers(0, len(noise) - samples))
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
        x = _high_pass(x, np.exp(random.uniform(np.log(0.1), np.log(1.0))))
    if random.random() < 0.35:  # and its low pass
        x = _low_pass(x, random.uniform(15, 45))
    height = np.median(np.ptp(x[: len(x) // (2 * FS) * 2 * FS].reshape(-1, 2 * FS), axis=1))
    if random.random() < 0.5:
        swing = np.exp(random.uniform(np.log(0.05), np.log(4)))
        x = x + height * swing * synthetic.synthesise_drift(
            len(x), random.uniform(0.03, 0.25 + 0.2 * (swing < 1.5)), random
        )
    if random.random() < 0.06:
        x = x + synthetic.synthesise_pacer_spikes(len(x), height * random.uniform(-1.5, 1.5), random)
    if random.random() < 0.4:
        x = x + height * 10 ** -random.uniform(1.1, 2.2) * random.standard_normal(len(x))
    if random.random() < 0.25:
        x = x + height * random.uniform(0, 0.05) * np.sin(
            2 * np.pi * random.choice([25, 50, 60]) * np.arange(len(x)) / FS
        )
    if random.random() < 0.3:
        whole = np.concatenate([maker.disturbance(40 * FS) for _ in range(len(x) // (40 * FS) + 1)])[: len(x)]
        x = x + height / np.sqrt(8) * 10 ** (-random.uniform(8, 20) / 20) * whole
    if not (allowed & ASYSTOLE_BIT).any():
        x = x * np.exp(random.normal(0, 0.4))
    return LabelledStrip(strip.source, x, allowed, strip.weight)


def _high_pass(x: Array, pace: float) -> Array:
    from scipy.signal import butter, sosfilt

    filtered: Array = sosfilt(butter(1, pace, "highpass", fs=FS, output="sos"), x)
    return filtered


def _low_pass(x: Array, pace: float) -> Array:
    from scipy.signal import butter, sosfilt

    filtered: Array = sosfilt(butter(2, pace, fs=FS, output="sos"), x)
    return filtered


def label_strip_windows(strip: LabelledStrip, hop: int) -> tuple[LabelledWindows, NDArray[np.int64]]:
    """Return all windows of a strip, also those without a label (bits 0), and the ends (n,) before which they end."""
    ends = np.arange(WINDOW, len(strip.x) + 1, hop)
    features = measure_ending_windows(strip.x, ends)
    last = strip.allowed[ends[:, None] - 1 - np.arange(0, LABEL_SPAN, 5)]
    uniform = (last == last[:, :1]).all(axis=1)
    bits = np.where(uniform, last[:, 0], 0).astype(np.uint8)
    whole = (strip.allowed[ends - WINDOW] == bits).astype(np.float32)
    weights = (strip.weight * (0.5 + 0.5 * whole)).astype(np.float32)
    sources = np.full(len(ends), strip.source)
    return LabelledWindows(features.numbers, bits, weights, sources), ends


def measure_ending_windows(x: Array, ends: NDArray[np.int64]) -> WindowFeatures:
    """Measure the windows of `x` (samples,) mV that end before the samples `ends` (n,)."""
    rows = np.lib.stride_tricks.sliding_window_view(np.round(x, 3).astype(np.float32), WINDOW)[ends - WINDOW]
    parts = [measure_windows(np.ascontiguousarray(part)) for part in np.array_split(rows, len(rows) // 64 + 1)]
    return WindowFeatures(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "height", "period"))
    )
