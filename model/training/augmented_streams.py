"""Records as other leads, hearts and days might have shown them: the training data of the live net.

Patients are few. The two leads of a record, mixed at any angle, are views of the same heart from other
places; played faster or slower they have other rates and widths; recorded muscle noise and baseline wander (MIT-BIH
Noise Stress Test Database) and synthetic electrode motion stand for other days. The `em` noise of that database, with
which detectors are tested, is not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.records.lead_choice import default_lead
from model.records.resample import FS, resample_signal
from model.records.wfdb_records import EC57_CLASS_OF, open_record, read_record_samples, read_reference
from model.training.borrowed_rhythms import borrow_rhythm, set_to_rhythm
from model.training.synthetic_rhythms import SyntheticRhythm, rewrite_rhythm

Array = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StreamVariant:
    """How a record is changed: lead (`first`, `second`, `mixed`), sign, speed, rhythm, noise.

    `rhythm` is one of `model.training.synthetic_rhythms`, or "borrowed" (`model.training.borrowed_rhythms`). Noise
    covers `share` of the time, in stretches of 10 to 120 s, each with a level of its own between the two bounds in dB.
    """

    name: str
    lead: str
    flipped: bool = False
    fast: bool = False
    rhythm: SyntheticRhythm | Literal["borrowed"] | None = None
    noise_db: tuple[float, float] | None = None
    share: float = 0.5


UNCHANGED_VARIANT = StreamVariant("as it is", "first")
NOISY_VARIANT = StreamVariant("in noise", "first", noise_db=(-6, 18), share=0.7)
STREAM_VARIANTS = (
    UNCHANGED_VARIANT,
    StreamVariant("other lead", "second"),
    NOISY_VARIANT,
    StreamVariant("flipped", "first", flipped=True, fast=True),
    StreamVariant("mixed 1", "mixed"),
    StreamVariant("mixed 2", "mixed"),
    StreamVariant("mixed 3", "mixed", fast=True),
    StreamVariant("mixed 4", "mixed", fast=True),
    StreamVariant("ectopy 1", "first", rhythm="ectopy"),
    StreamVariant("ectopy 2", "mixed", fast=True, rhythm="ectopy"),
    StreamVariant("sustained ectopy", "mixed", fast=True, rhythm="sustained ectopy"),
    StreamVariant("fibrillation 1", "first", rhythm="fibrillation"),
    StreamVariant("fibrillation 2", "mixed", fast=True, rhythm="fibrillation"),
    StreamVariant("arrhythmia 1", "first", rhythm="arrhythmia"),
    StreamVariant("arrhythmia 2", "mixed", fast=True, rhythm="arrhythmia"),
    StreamVariant("tachycardia", "mixed", rhythm="tachycardia"),
    StreamVariant("other lead in noise", "second", noise_db=(-6, 18), share=0.7),
    StreamVariant("mixed in noise 1", "mixed", fast=True, noise_db=(0, 24)),
    StreamVariant("mixed in noise 2", "mixed", noise_db=(-6, 18), share=0.7),
)
"""The views of each training record of DS1."""
BORROWING_VARIANTS = (
    StreamVariant("borrowed rhythm 1", "first", rhythm="borrowed"),
    StreamVariant("borrowed rhythm 2", "mixed", rhythm="borrowed"),
    StreamVariant("borrowed rhythm 3", "second", rhythm="borrowed"),
    StreamVariant("borrowed rhythm 4", "mixed", fast=True, rhythm="borrowed"),
)
"""More views of each training record, if there are rhythms to borrow."""
OTHER_NAMES = ("as it is", "other lead", "in noise", "mixed 1", "mixed 3", "fibrillation 2", "tachycardia")
OTHER_VARIANTS = tuple(variant for variant in STREAM_VARIANTS if variant.name in OTHER_NAMES)
"""The views of each record beyond DS1."""
SLOWEST, FASTEST = 0.8, 1.25
"""Bounds of the speed of a `fast` variant."""


@dataclass(frozen=True, slots=True, eq=False)
class AugmentedStream:
    """One lead (n,) float32 mV at 125 Hz, rounded to a microvolt, with its reference beats.

    `beats` (m,) samples and their EC57 classes `labels` (m,), and the stretches of `flutter`, that count for nothing.
    """

    record: str
    x: Floats
    beats: Array
    labels: tuple[str, ...]
    flutter: tuple[tuple[float, float], ...]


def build_augmented_stream(
    name: str, variant: StreamVariant, seed: int, rhythms: Sequence[str] = ()
) -> AugmentedStream:
    """Return a record changed as `variant` describes; the same for the same seed.

    `name` is that of an embedded record or a path; `rhythms` are paths of annotated records to borrow rhythms from.
    """
    record = open_record(name)
    random = np.random.default_rng([seed, *f"{record.name} {variant.name}".encode()])
    leads = np.nan_to_num(resample_signal(read_record_samples(record), record.fs))
    first = default_lead(tuple(signal.name for signal in record.signals))
    x, second = leads[:, first], leads[:, (first + 1) % leads.shape[1]]
    if variant.lead == "second":
        x = second
    elif variant.lead == "mixed":
        angle = random.uniform(0, 2 * np.pi)
        x = np.cos(angle) * x + np.sin(angle) * second
    annotations = read_reference(record)
    speed = random.uniform(SLOWEST, FASTEST) if variant.fast else 1.0
    times: Array = annotations.samples.astype(np.float64) * (FS / record.fs / speed)
    if variant.fast:
        x = np.interp(np.arange(int(len(x) / speed)) * speed, np.arange(len(x)), x)
    rows = [row for row, symbol in enumerate(annotations.symbols) if EC57_CLASS_OF.get(symbol, "O") != "O"]
    beats = times[rows]
    labels = tuple(EC57_CLASS_OF[annotations.symbols[row]] for row in rows)
    flutter = _pair_flutter_marks(times, annotations.symbols)
    if variant.rhythm == "borrowed":
        rhythm = borrow_rhythm(rhythms[int(random.integers(len(rhythms)))], random)
        x, beats, labels = set_to_rhythm(x, beats, labels, rhythm, random)
        flutter = ()
    elif variant.rhythm:
        old_beats = beats
        x, beats, labels = rewrite_rhythm(x, beats, labels, variant.rhythm, random)
        moved = [np.interp(mark, old_beats, beats).tolist() for mark in flutter]
        flutter = tuple((start, end) for start, end in moved)
    if variant.noise_db:
        x = x + _mix_stream_noise(x, beats, variant.noise_db, variant.share, random)
    x = -x if variant.flipped else x
    return AugmentedStream(name, np.round(x, 3).astype(np.float32), beats, labels, flutter)


def _pair_flutter_marks(times: Array, symbols: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    starts = [time for time, symbol in zip(times.tolist(), symbols, strict=True) if symbol == "["]
    ends = [time for time, symbol in zip(times.tolist(), symbols, strict=True) if symbol == "]"]
    return tuple(zip(starts, ends, strict=False))


def _mix_stream_noise(
    x: Array, beats: Array, bounds: tuple[float, float], share: float, random: np.random.Generator
) -> Array:
    """Return noise (n,) mV for a lead, its level relative to the QRS complexes as in `simulator.noise`."""
    level = np.zeros(len(x))
    start = 0
    while start < len(x):
        length = int(random.uniform(10, 120) * FS)
        if random.random() < share:
            level[start : start + length] = 10 ** (-random.uniform(*bounds) / 20)
        start += length
    parts = [_recorded_stream_noise(kind, len(x), random) for kind in ("ma", "bw")] + [
        _stream_motion_noise(len(x), random),
        _stream_swell_noise(len(x), random),
    ]
    weights = random.dirichlet([0.4, 0.4, 0.8, 1.2])
    mixed: Array = sum(np.sqrt(weight) * part for weight, part in zip(weights, parts, strict=True))
    heights = [np.ptp(x[max(0, int(beat) - 6) : int(beat) + 7]) for beat in beats[:300] if beat < len(x) - 7]
    noise: Array = level * mixed * np.median(heights) / np.sqrt(8)
    return noise


@lru_cache(maxsize=2)
def _stream_noise_record(kind: str) -> Array:
    record = open_record(kind)
    return resample_signal(read_record_samples(record), record.fs)


def _recorded_stream_noise(kind: str, samples: int, random: np.random.Generator) -> Array:
    """Return one of the two signals of recorded noise, (samples,) of power 1, from a random place."""
    noise = _stream_noise_record(kind)
    signal = noise[:, random.integers(noise.shape[1])]
    signal = np.resize(np.roll(signal - signal.mean(), -random.integers(len(signal))), samples)
    unit: Array = signal / np.sqrt((signal**2).mean())
    return unit


def _stream_motion_noise(samples: int, random: np.random.Generator) -> Array:
    """Synthesise electrode motion (samples,) of power 1: steps of random height that rise and decay, some as spikes."""
    noise = np.zeros(samples)
    time = np.arange(400) / FS
    count = random.poisson(samples / FS * random.uniform(0.4, 2.5))
    for start in random.integers(0, samples, count).tolist():
        decay = np.exp(random.uniform(np.log(0.03), np.log(0.8)))
        rise = np.exp(random.uniform(np.log(0.008), np.log(0.12)))
        pulse = (1 - np.exp(-time / rise)) * np.exp(-time / decay)
        if random.random() < 0.5:
            pulse = np.gradient(pulse) * random.uniform(3, 12)
        height = random.standard_normal() * np.exp(random.normal(0, 0.6))
        noise[start : start + len(time)] += height * pulse[: samples - start]
    unit: Array = noise / np.sqrt((noise**2).mean())
    return unit


def _stream_swell_noise(samples: int, random: np.random.Generator) -> Array:
    """Synthesise noise (samples,) of power 1 that comes and goes: random waves, most slower than 5 to 20 Hz."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    pace = np.fft.rfftfreq(samples, 1 / FS)
    low, high, steep = random.uniform(0.3, 1.5), random.uniform(5, 20), random.uniform(0, 1.2)
    shape = np.maximum(pace, low) ** -steep / (1 + (low / np.maximum(pace, 1e-3)) ** 4) / (1 + (pace / high) ** 4)
    knots = np.arange(0, samples + FS, FS)
    loudness = np.exp(np.interp(np.arange(samples), knots, random.normal(0, random.uniform(0.2, 1), len(knots))))
    noise = np.fft.irfft(spectrum * shape, samples) * loudness
    unit: Array = noise / np.sqrt((noise**2).mean())
    return unit
