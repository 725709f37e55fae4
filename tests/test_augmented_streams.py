from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import groupby

import numpy as np
import pytest
from numpy.typing import NDArray

from model.beats.dataset import DS1, read_default_lead
from model.records.resample import FS, Resampler
from model.records.wfdb_records import open_record, read_record_samples, read_reference
from model.training.augmented_streams import (
    FASTEST,
    NOISY_VARIANT,
    SLOWEST,
    STREAM_VARIANTS,
    UNCHANGED_VARIANT,
    AugmentedStream,
    StreamVariant,
    build_augmented_stream,
)

BY_NAME = {kind.name: kind for kind in STREAM_VARIANTS}
FAST = StreamVariant("fast", "first", fast=True)
heard = cache(build_augmented_stream)


def same(one: AugmentedStream, other: AugmentedStream) -> bool:
    times = np.array_equal(one.beats, other.beats) and one.labels == other.labels and one.flutter == other.flutter
    return times and np.array_equal(one.x, other.x)


def added(name: str, kind: StreamVariant, seed: int = 0) -> NDArray[np.float64]:
    """The noise (n,) mV of a view of the first lead."""
    return build_augmented_stream(name, kind, seed).x.astype(float) - heard(name, UNCHANGED_VARIANT, 0).x


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixed in noise 1", "ectopy 2", "other lead in noise"])
def test_the_same_for_the_same_seed(name: str) -> None:
    """A view is the same each time it is made, and another one with another seed."""
    first = build_augmented_stream("201", BY_NAME[name], 3)
    assert same(first, build_augmented_stream("201", BY_NAME[name], 3))
    assert not same(first, build_augmented_stream("201", BY_NAME[name], 4))


@pytest.mark.slow
def test_kinds_differ() -> None:
    """No two views of a training have a name in common; each has its own chances and is a stream of its own."""
    assert len(BY_NAME) == len(STREAM_VARIANTS)
    assert not np.array_equal(heard("201", BY_NAME["mixed 1"], 0).x, heard("201", BY_NAME["mixed 2"], 0).x)
    noise = replace(NOISY_VARIANT, name="in other noise")
    assert not np.array_equal(added("201", NOISY_VARIANT), added("201", noise))


def test_as_it_is() -> None:
    """Untouched it is the lead that the monitor hears, at 125 Hz and to the microvolt, with the classes of EC57."""
    found = heard("201", UNCHANGED_VARIANT, 0)
    assert found.x.dtype == np.float32
    assert np.abs(found.x - read_default_lead(open_record("201"))).max() < 0.0006
    assert np.abs(1000 * found.x - np.rint(1000 * found.x)).max() < 0.001
    assert Counter(found.labels) == {"N": 1625, "S": 138, "V": 198, "F": 2}  # 10 of the S beats are nodal escapes
    assert same(found, build_augmented_stream("201", UNCHANGED_VARIANT, 9))


def test_leads() -> None:
    """The other lead is the record's second, or its first where MLII is that; a mixture turns both by an angle."""
    record = open_record("114")
    resampler = Resampler(record.fs, 2)
    leads = np.concatenate([resampler.push(read_record_samples(record)), resampler.flush()])
    assert [signal.name for signal in record.signals] == ["V5", "MLII"]
    assert np.abs(heard("114", UNCHANGED_VARIANT, 0).x - leads[:, 1]).max() < 0.0006
    assert np.abs(heard("114", BY_NAME["other lead"], 0).x - leads[:, 0]).max() < 0.0006
    mixed = heard("114", BY_NAME["mixed 1"], 0).x
    parts = np.linalg.lstsq(leads, mixed.astype(float), rcond=None)[0]
    assert np.abs(leads @ parts - mixed).max() < 0.001
    assert np.hypot(*parts) == pytest.approx(1, abs=0.001)
    assert np.abs(parts).min() > 0.01


def test_flipped() -> None:
    """Upside down, and nothing else."""
    plain = heard("201", UNCHANGED_VARIANT, 0)
    assert same(build_augmented_stream("201", replace(UNCHANGED_VARIANT, flipped=True), 0), replace(plain, x=-plain.x))


@pytest.mark.parametrize("seed", [0, 1])
def test_fast(seed: int) -> None:
    """Played at another speed, the R peaks are where the beats say, each with its class."""
    plain, found = heard("114", UNCHANGED_VARIANT, 0), build_augmented_stream("114", FAST, seed)
    speed = len(plain.x) / len(found.x)
    assert SLOWEST <= speed <= FASTEST
    assert abs(speed - 1) > 0.02
    assert found.labels == plain.labels
    assert np.abs(found.beats * speed - plain.beats).max() < 1
    for one in (plain, found):
        inner = [round(beat) for beat, label in zip(one.beats[2:-2], one.labels[2:-2], strict=True) if label == "N"]
        windows = one.x[np.array(inner)[:, None] + np.arange(-10, 11)]
        assert (np.abs(windows.argmax(1) - 10) <= 3).mean() > 0.99


@pytest.mark.parametrize("name", ["ectopy 1", "fibrillation 1", "arrhythmia 2"])
def test_another_rhythm(name: str) -> None:
    """Beats of a rewritten record are on their R peaks too, fast or not, and there are as many."""
    found = build_augmented_stream("114", replace(BY_NAME[name], lead="first"), 0)
    inner = [round(beat) for beat, label in zip(found.beats[2:-2], found.labels[2:-2], strict=True) if label != "V"]
    windows = found.x[np.array(inner)[:, None] + np.arange(-8, 9)]
    assert (np.abs(windows.argmax(1) - 8) <= 3).mean() > 0.98
    assert len(found.beats) == len(heard("114", UNCHANGED_VARIANT, 0).beats)


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [-6.0, 6.0, 18.0])
def test_noise_is_as_loud_as_it_says(snr_db: float) -> None:
    """Over a whole record the noise has the power that a sine wave as high as the QRS complexes has, less the dB."""
    plain = heard("201", UNCHANGED_VARIANT, 0)
    heights = [np.ptp(plain.x[int(beat) - 6 : int(beat) + 7]) for beat in plain.beats[:300]]
    signal = np.median(heights) ** 2 / 8
    for seed in range(3):
        noise = added("201", StreamVariant("loud", "first", noise_db=(snr_db, snr_db), share=1.0), seed)
        assert 10 * np.log10(signal / (noise**2).mean()) == pytest.approx(snr_db, abs=1.5)


@pytest.mark.slow
def test_noise_comes_in_stretches() -> None:
    """Noise is there or not for ten seconds at least, about its share of the time, and louder in some stretches."""
    shares, loudness = [], []
    for seed in range(3):
        noise = added("201", replace(NOISY_VARIANT, share=0.5), seed)
        seconds = noise[: len(noise) // FS * FS].reshape(-1, FS)
        noisy = ((seconds != 0).mean(1) > 0.02).tolist()
        runs = [list(run) for _, run in groupby(range(len(noisy)), noisy.__getitem__)]
        assert all(len(run) >= 9 for run in runs[:-1])
        assert len(runs) > 4
        shares.append(np.mean(noisy))
        loudness += [np.sqrt((seconds[run] ** 2).mean()) for run in runs if noisy[run[0]]]
    assert 0.2 < np.mean(shares) < 0.8
    assert max(loudness) > 3 * min(loudness)


def test_flutter() -> None:
    """The flutter of record 207 is where it is annotated, at any speed, and its waves are no beats."""
    notes = read_reference(open_record("207"))
    plain, fast = build_augmented_stream("207", UNCHANGED_VARIANT, 0), build_augmented_stream("207", FAST, 0)
    speed = len(plain.x) / len(fast.x)
    starts = [s * FS / 360 for s, symbol in zip(notes.samples.tolist(), notes.symbols, strict=True) if symbol == "["]
    assert np.allclose([start for start, _ in plain.flutter], starts)
    assert len(starts) == 6
    assert np.allclose(np.array(fast.flutter) * speed, plain.flutter, rtol=1e-4)
    for start, end in plain.flutter:
        assert 1 < (end - start) / FS < 200
        assert not ((plain.beats > start) & (plain.beats < end)).any()


def test_training_side_only_flutters_once() -> None:
    """Of DS1 only record 207 has flutter; a record without has no such stretches."""
    fluttering = [name for name in DS1 if "[" in read_reference(open_record(name)).symbols]
    assert fluttering == ["207"]
    assert heard("201", UNCHANGED_VARIANT, 0).flutter == ()


def test_flutter_in_another_rhythm() -> None:
    """Flutter that was recorded still counts for nothing where the beats around it have moved."""
    plain, moved = (
        build_augmented_stream("207", UNCHANGED_VARIANT, 0),
        build_augmented_stream("207", BY_NAME["ectopy 1"], 0),
    )
    lengths = [[end - start for start, end in one.flutter] for one in (plain, moved)]
    assert len(lengths[1]) == len(lengths[0])
    assert np.allclose(lengths[1], lengths[0], atol=FS)
