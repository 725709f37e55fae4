"""The 109,446 beats of the embedded MIT-BIH Arrhythmia Database, and how they are split into training and test.

The set holds every annotated beat but the last of each record, in the lead that `lead_choice.default_lead` chooses,
cut and normalised by `model.beats.frontend`: N 90,589, S 2,779, V 7,236, F 803, Q 8,039. It is the data set of
Kachuee et al. 2018, doi:10.1109/ICHI.2018.00092.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from model.beats import frontend
from model.errors import ConfigError
from model.files import write_atomically
from model.records import resample
from model.records import wfdb_records as records
from model.records.lead_choice import default_lead

BeatIndexArray = NDArray[np.intp]

TEST_BEATS = {"N": 18118, "S": 556, "V": 1448, "F": 162, "Q": 1608}
"""Published size of the test side of the random split, by class."""
TRAIN_NORMAL = 72471
"""N beats on its training side, as published."""
SPLIT_PROTOCOLS = {
    "random": "random split of the beats: the same patients are on both sides",
    "inter-patient": "patients apart: trained on the 22 records of DS1, tested on the 22 of DS2, no paced records",
}
"""The ways to split training and test, each in a sentence."""
UNKNOWN_PATIENTS = "trained on unknown patients"
DS1 = tuple("101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230".split())  # noqa: SIM905  # as in the paper
DS2 = tuple("100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234".split())  # noqa: SIM905  # as in the paper
PACED_RECORDS = ("102", "104", "107", "217")
"""The split of de Chazal et al. 2004, doi:10.1109/TBME.2004.827359: training, test, and the records left out."""
FOLD_COUNT = 5
"""Folds of a training side, to choose a recipe by cross-validation."""


def describe_training_patients(training: Mapping[str, Any]) -> str:
    """Return in a sentence whose beats a net has learnt, by the `training` of its card."""
    sentence = SPLIT_PROTOCOLS.get(training.get("protocol") or "", UNKNOWN_PATIENTS)
    others, rhythms = (len(training.get(key) or ()) for key in ("other_records", "borrowed_rhythms"))
    more = [f"{others} other records"] if others else []
    more += [f"the RR intervals of {rhythms} more"] if rhythms else []
    return f"{sentence}; it has also learnt {' and '.join(more)}" if more else sentence


def list_heard_records(training: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return those of `names` that are records of which a net has learnt beats, by the `training` of its card."""
    mitdb = {"inter-patient": DS1, "random": records.embedded_records()}.get(training.get("protocol") or "", ())
    learnt = {*mitdb, *(training.get("other_records") or ())}
    return [name for name in names if name in learnt]


@dataclass(frozen=True, slots=True, eq=False)
class BeatSet:
    """A set of n labelled beats.

    Attributes
    ----------
    beats : (n, 187) float32
        Inputs of the net, in 0..1.
    labels : (n,) int64
        Classes, as indices into CLASSES.
    records : (n,) str
        Names of the records they are from.
    """

    beats: NDArray[np.float32]
    labels: NDArray[np.int64]
    records: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.intp]) -> "BeatSet":
        """Return the beats with the indices `rows` (k,)."""
        return BeatSet(self.beats[rows], self.labels[rows], self.records[rows])

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the beats and labels."""
        return digest_arrays(self.beats, self.labels)

    def counts(self) -> dict[str, int]:
        """Return the number of beats of each class."""
        numbers = np.bincount(self.labels, minlength=len(records.CLASSES)).tolist()
        return dict(zip(records.CLASSES, numbers, strict=True))


@dataclass(frozen=True, slots=True)
class DataSplit:
    """Training and test side of a data set."""

    train: BeatSet
    test: BeatSet


def digest_arrays(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of the bytes of arrays of any shape, one after the other."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def read_default_lead(record: records.Record) -> NDArray[np.float32]:
    """Read the default lead of a record and resample it: (n,) float32 mV at 125 Hz."""
    lead = default_lead(tuple(signal.name for signal in record.signals))
    return resample.resample_signal(records.read_record_samples(record)[:, [lead]], record.fs)[:, 0].astype(np.float32)


def read_record_beats(name: str) -> BeatSet:
    """Read all annotated beats of one embedded record but the last, whose cut may run past the end of the record."""
    record = records.open_record(name)
    peaks, classes = records.read_reference(record).beats()
    r_peaks = np.rint(peaks * resample.FS / record.fs).astype(np.int64)
    beats = frontend.cut_beats(read_default_lead(record), r_peaks)[:-1]
    labels = np.array([records.CLASSES.index(name) for name in classes[:-1]], dtype=np.int64)
    return BeatSet(beats, labels, np.full(len(labels), name))


def load_beat_set() -> BeatSet:
    """Return all 109,446 beats, from the cache if it was built from the same data by the same code."""
    path = cache_folder() / f"beats-{beat_set_fingerprint()[:16]}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as cached:
            return BeatSet(cached["beats"], cached["labels"], cached["records"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # no cache yet, or a broken one: build it
        pass
    beats = _join_beat_sets([read_record_beats(name) for name in records.embedded_records()])
    _write_beat_cache(path, beats)
    return beats


def beat_set_fingerprint() -> str:
    """Return the SHA-256 (hex) of all that determines the beats: the published data and the code that cuts them."""
    folder = Path(__file__).parents[1]
    names = ("records/wfdb_records", "records/resample", "beats/frontend", "beats/dataset")
    sources = [folder / f"{name}.py" for name in names]
    digest = hashlib.sha256()
    for path in [records.DATABASE / "mitdb" / "SHA256SUMS.txt", *sources]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Return the folder for built data sets: ECG_AGENT_CACHE, or the user's cache folder."""
    return Path(os.environ.get("ECG_AGENT_CACHE") or platformdirs.user_cache_dir("ecg-agent"))


def split_at_random(beats: BeatSet, seed: int) -> tuple[BeatIndexArray, BeatIndexArray]:
    """Draw the sides of the random split by class, with test sides of the published sizes.

    Returns the indices (k,) of the training side and (m,) of the test side, ascending. Patients are on both sides.
    """
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label, name in enumerate(records.CLASSES):
        rows = rng.permutation(np.flatnonzero(beats.labels == label))
        test.append(rows[: TEST_BEATS[name]])
        train.append(rows[TEST_BEATS[name] :])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def split_by_patient(beats: BeatSet) -> tuple[BeatIndexArray, BeatIndexArray]:
    """Return the indices (k,) of DS1 and (m,) of DS2, without the paced records.

    No patient is on both sides but one: records 201 (DS1) and 202 (DS2) are of one subject, as in the published split.
    """
    return np.flatnonzero(np.isin(beats.records, DS1)), np.flatnonzero(np.isin(beats.records, DS2))


def split_beat_set(beats: BeatSet, protocol: str, seed: int, drop_normal: int, fold: int | None = None) -> DataSplit:
    """Split a set by a protocol, and remove N beats, drawn at random, from the training side.

    Parameters
    ----------
    beats : BeatSet
    protocol : str
        A key of SPLIT_PROTOCOLS.
    seed : int
        Of all random choices.
    drop_normal : int
        N beats to remove from the published training side; from another one the same share is removed.
    fold : int, optional
        0 to 4: leave the test side alone, and test on this fifth of the training side instead.

    Raises
    ------
    ConfigError
        If more beats would be dropped than the training side has.
    """
    train, test = split_by_patient(beats) if protocol == "inter-patient" else split_at_random(beats, seed)
    if fold is not None:
        held_out = _hold_out_fold(beats, protocol, seed, train, fold)
        train, test = np.setdiff1d(train, held_out), held_out
    if drop_normal >= TRAIN_NORMAL:
        raise ConfigError(f"cannot drop {drop_normal} N beats: the training side has {TRAIN_NORMAL} (drop_normal)")
    normal = train[beats.labels[train] == 0]
    count = round(drop_normal * len(normal) / TRAIN_NORMAL)
    dropped = np.random.default_rng([seed, 1]).choice(normal, size=count, replace=False)
    return DataSplit(beats.take(np.setdiff1d(train, dropped)), beats.take(test))


def _hold_out_fold(beats: BeatSet, protocol: str, seed: int, train: BeatIndexArray, fold: int) -> BeatIndexArray:
    """Return a fifth of the training side: whole records if patients are kept apart, else every fifth beat of a class.

    `train` and the result are indices (n,) into `beats`.
    """
    if protocol == "inter-patient":
        return train[np.isin(beats.records[train], DS1[fold::FOLD_COUNT])]
    rng = np.random.default_rng([seed, 2])
    by_class = [rng.permutation(train[beats.labels[train] == label]) for label in range(len(records.CLASSES))]
    return np.sort(np.concatenate([rows[fold::FOLD_COUNT] for rows in by_class]))


def _join_beat_sets(parts: list[BeatSet]) -> BeatSet:
    return BeatSet(
        np.concatenate([part.beats for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.records for part in parts]),
    )


def _write_beat_cache(path: Path, beats: BeatSet) -> None:
    """Write the cache in one step; where the folder cannot be written the beats are simply built again next time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path, shared=True) as partial, partial.open("wb") as file:
            np.savez(file, beats=beats.beats, labels=beats.labels, records=beats.records)
