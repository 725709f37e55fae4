"""The candidates that `train-live` learns, kept for the next training that would make the very same ones.

To make them takes longer than to learn them, and the trials of a sweep differ in what comes after. A file is taken only
for the same code, settings, samples and annotations: its name has the hash of all of these.
"""

import hashlib
import json
import os
import platform
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import scipy
from numpy.typing import NDArray

from agent.core.config import Config
from model.errors import RunError
from model.records.wfdb_records import open_record, read_record_samples, read_reference
from model.training.augmented_streams import StreamVariant

SOURCES = Path(__file__).parents[2]
"""The folder of the packages."""
NOISE_RECORDS = ("ma", "bw")
PARTIAL_ENDING = ".partial"


@dataclass(frozen=True, slots=True, eq=False)
class LearntCandidates:
    """What is learnt: `inputs` (n, INPUTS) float16 of candidates, `labels` (n,) int64 indices of classes."""

    inputs: NDArray[np.float16]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CandidateSources:
    """What candidates are made of: views with the records that are heard in each, and records that lend rhythms."""

    views: Sequence[tuple[StreamVariant, tuple[str, ...]]]
    rhythms: tuple[str, ...]


def take_candidates(
    folder: Path | None, config: Config, sources: CandidateSources, make: Callable[[], LearntCandidates]
) -> LearntCandidates:
    """Return the candidates that `folder` keeps, else make them and keep them there. Raises RunError.

    Several processes may do so at once: whoever ends later leaves the same.
    """
    if folder is None:
        return make()
    path = folder / f"{fingerprint_candidates(config, sources)}.npz"
    try:
        with path.open("rb") as read, np.load(read, allow_pickle=False) as kept:
            return LearntCandidates(kept["inputs"], kept["labels"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # there are none yet, or a broken file
        pass
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = make()
        handle, partial = tempfile.mkstemp(suffix=PARTIAL_ENDING, dir=folder)
        with os.fdopen(handle, "wb") as file:
            np.savez(file, inputs=made.inputs, labels=made.labels)
        Path(partial).replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    return made


def fingerprint_candidates(config: Config, sources: CandidateSources) -> str:
    """Return the SHA-256 (hex) of all that decides the candidates: code, settings, signals and annotations."""
    digest = hashlib.sha256()
    for path in sorted(path for package in ("agent", "model") for path in (SOURCES / package).rglob("*.py")):
        digest.update(path.read_bytes())
    versions = (platform.python_version(), platform.machine(), np.__version__, scipy.__version__)
    views = [(asdict(variant), records) for variant, records in sources.views]
    said = [versions, config.train.seed, config.live.kept_normal, msgspec.to_builtins(config.signal), views]
    digest.update(json.dumps([*said, sources.rhythms]).encode())
    heard = sorted({record for _, records in sources.views for record in records})
    for name in (*heard, *NOISE_RECORDS):
        record = open_record(name)
        digest.update(repr((record.name, record.fs, record.signals)).encode())
        digest.update(read_record_samples(record).tobytes())
    for name in (*heard, *sources.rhythms):
        record = open_record(name)
        marks = read_reference(record)
        digest.update(repr((record.fs, marks.symbols, marks.texts)).encode())
        digest.update(marks.samples.tobytes())
    return digest.hexdigest()
