"""A record whose samples are held in an array, in memory or mapped from a file."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.formats.file_options import widen_range
from model.records.wfdb_records import Record, RecordSignal

RANGE_SAMPLES = 2**18
"""Samples that are looked at together."""


class HeldSamples:
    """Samples (n, leads) of any type of number; infinite ones are no values."""

    def __init__(self, samples: NDArray[Any], lifetime: object = None) -> None:
        self._samples = samples
        self._lifetime = lifetime  # what the array needs as long as it is read

    def read_samples(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples `start` to `stop`: (n, leads) float64, NaN where there is none."""
        block = self._samples[start:stop].astype(np.float64)
        block[~np.isfinite(block)] = np.nan
        return block


def make_held_record(
    path: Path,
    fs: float,
    samples: NDArray[Any],
    names: list[str],
    units: list[str],
    start: datetime | None = None,
    lifetime: object = None,
) -> Record:
    """Return a record of samples (n, leads). Raises RecordError where there is no value among them."""
    held = HeldSamples(samples, lifetime)
    lowest, highest = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for first in range(0, len(samples), RANGE_SAMPLES):
        block = held.read_samples(first, first + RANGE_SAMPLES)
        with np.errstate(invalid="ignore"):  # of columns without a value
            lowest, highest = np.fmin(lowest, np.fmin.reduce(block)), np.fmax(highest, np.fmax.reduce(block))
    if not np.isfinite(lowest).any():
        raise RecordError(f"{path.name} has no samples with a value")
    ranges = [
        widen_range(low, high) if np.isfinite(low) else (-1.0, 1.0) for low, high in zip(lowest, highest, strict=True)
    ]
    signals = tuple(RecordSignal(name, unit, *ends) for name, unit, ends in zip(names, units, ranges, strict=True))
    return Record(path.stem, path, fs, len(samples), signals, (), start=start, reader=held.read_samples)
