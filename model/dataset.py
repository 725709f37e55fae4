"""The 109,446 beats of the embedded MIT-BIH Arrhythmia Database, and how they are split.

Every annotated beat but the last of each record, in the lead that `records.default_lead` chooses, cut and normalised by
`model.frontend`: N 90,589, S 2,779, V 7,236, F 803, Q 8,039, the data set of Kachuee et al. 2018.
"""

import contextlib
import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from model import frontend, records, resample
from model.errors import ConfigError

TEST_BEATS = {"N": 18118, "S": 556, "V": 1448, "F": 162, "Q": 1608}
"""Published size of the test split, by class."""


@dataclass(frozen=True, slots=True, eq=False)
class BeatSet:
    """Beats (n, 187) float32 in 0..1, their labels (n,) int64 as index into CLASSES, their records (n,) as text."""

    beats: NDArray[np.float32]
    labels: NDArray[np.int64]
    records: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.intp]) -> "BeatSet":
        return BeatSet(self.beats[rows], self.labels[rows], self.records[rows])

    def digest(self) -> str:
        """SHA-256 (hex) of the beats and labels themselves."""
        return hashlib.sha256(self.beats.tobytes() + self.labels.tobytes()).hexdigest()

    def counts(self) -> dict[str, int]:
        """Number of beats of each class."""
        return dict(
            zip(records.CLASSES, np.bincount(self.labels, minlength=len(records.CLASSES)).tolist(), strict=True)
        )


@dataclass(frozen=True, slots=True)
class Split:
    """Train and test sides of a data set."""

    train: BeatSet
    test: BeatSet


def lead_at_fs(record: records.Record) -> NDArray[np.float32]:
    """The default lead of a record at 125 Hz: (n,) float32 millivolts."""
    lead = records.default_lead(tuple(signal.name for signal in record.signals))
    resampler = resample.Resampler(record.fs, leads=1)
    signal = records.read(record)[:, [lead]]
    return np.concatenate([resampler.push(signal), resampler.flush()])[:, 0].astype(np.float32)


def record_beats(name: str) -> BeatSet:
    """All annotated beats of one embedded record but the last, whose cut may leave the record."""
    record = records.open_record(name)
    peaks, classes = records.annotations(record).beats()
    r_peaks = np.rint(peaks * resample.FS / record.fs).astype(np.int64)
    beats = frontend.cut(lead_at_fs(record), r_peaks)[:-1]
    labels = np.array([records.CLASSES.index(name) for name in classes[:-1]], dtype=np.int64)
    return BeatSet(beats, labels, np.full(len(labels), name))


def load() -> BeatSet:
    """All 109,446 beats, from the cache where the same data and code made it."""
    path = cache_folder() / f"beats-{fingerprint()[:16]}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as cached:
            return BeatSet(cached["beats"], cached["labels"], cached["records"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none yet, or broken: made again
        pass
    beats = _join([record_beats(name) for name in records.embedded()])
    _store(path, beats)
    return beats


def fingerprint() -> str:
    """SHA-256 (hex) of all that makes the beats: the published data and the code that cuts them."""
    folder = Path(__file__).parent
    sources = [folder / f"{name}.py" for name in ("records", "resample", "frontend", "dataset")]
    digest = hashlib.sha256()
    for path in [records.DATABASE / "mitdb" / "SHA256SUMS.txt", *sources]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where built data sets are kept: ECG_AGENT_CACHE, or the user's cache folder."""
    return Path(os.environ.get("ECG_AGENT_CACHE") or platformdirs.user_cache_dir("ecg-agent"))


def random_split(beats: BeatSet, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the train and test sides, drawn at random by class, test as published: patients are on both sides."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label, name in enumerate(records.CLASSES):
        rows = rng.permutation(np.flatnonzero(beats.labels == label))
        test.append(rows[: TEST_BEATS[name]])
        train.append(rows[TEST_BEATS[name] :])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def published_split(beats: BeatSet, seed: int, drop_normal: int) -> Split:
    """The random split, `drop_normal` beats of class N (drawn at random) removed from its training side."""
    train, test = random_split(beats, seed)
    normal = train[beats.labels[train] == 0]
    if drop_normal >= len(normal):
        raise ConfigError(f"cannot drop {drop_normal} N beats: the training side has {len(normal)} (train.drop_normal)")
    dropped = np.random.default_rng([seed, 1]).choice(normal, size=drop_normal, replace=False)
    return Split(beats.take(np.setdiff1d(train, dropped)), beats.take(test))


def _join(parts: list[BeatSet]) -> BeatSet:
    return BeatSet(
        np.concatenate([part.beats for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.records for part in parts]),
    )


def _store(path: Path, beats: BeatSet) -> None:
    """Write the cache in one step; where the folder cannot be written the beats are simply built again next time."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, beats=beats.beats, labels=beats.labels, records=beats.records)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
