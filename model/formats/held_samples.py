"""A record whose samples are held in an array, in memory or mapped from a file."""

import mmap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.formats.file_options import drop_impossible, widen_range
from model.formats.temporary_folder import TemporaryFolder
from model.records.wfdb_records import Record, RecordSignal

MAPPED_BYTES = 2**25
"""Size of samples from which they are mapped from a copy on disk, not held in memory."""
RANGE_SAMPLES = 2**18
"""Samples that are looked at together."""


class HeldSamples:
    """Leads of (n,) samples of any type of number; infinite and impossible ones are no values."""

    def __init__(self, leads: Sequence[NDArray[Any]], lifetime: object = None) -> None:
        self._leads = leads
        self._mappings = {mapping for mapping in map(_find_mapping, leads) if mapping is not None}
        self._lifetime = lifetime  # what the arrays need as long as they are read

    def read_samples(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples `start` to `stop`: (n, leads) float64, NaN where there is none."""
        block = np.column_stack([lead[start:stop].astype(np.float64) for lead in self._leads])
        drop_impossible(block)
        for mapping in self._mappings:
            mapping.madvise(mmap.MADV_DONTNEED)  # what was read is not kept in memory
        return block


def map_large_leads(leads: list[NDArray[np.float64]]) -> tuple[Sequence[NDArray[Any]], object]:
    """Return leads of (n,) samples, long ones as mapped files, and what these need as long as they are read."""
    if sum(lead.nbytes for lead in leads) < MAPPED_BYTES:
        return leads, None
    folder = TemporaryFolder()
    for i, lead in enumerate(leads):
        np.save(folder.path / f"{i}.npy", lead)
    return [np.load(folder.path / f"{i}.npy", mmap_mode="r") for i in range(len(leads))], folder


def _find_mapping(array: Any) -> mmap.mmap | None:
    """Return the mapped file that an array lies in, None for one in memory."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def make_held_record(
    path: Path,
    fs: float,
    leads: Sequence[NDArray[Any]],
    names: list[str],
    units: list[str],
    start: datetime | None = None,
    lifetime: object = None,
) -> Record:
    """Return a record of leads of (n,) samples. Raises RecordError where there is no value among them."""
    held = HeldSamples(leads, lifetime)
    lowest, highest = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for first in range(0, len(leads[0]), RANGE_SAMPLES):
        block = held.read_samples(first, first + RANGE_SAMPLES)
        with np.errstate(invalid="ignore"):  # of columns without a value
            lowest, highest = np.fmin(lowest, np.fmin.reduce(block)), np.fmax(highest, np.fmax.reduce(block))
    if not np.isfinite(lowest).any():
        raise RecordError(f"{path.name} has no samples with a value")
    ranges = [
        widen_range(low, high) if np.isfinite(low) else (-1.0, 1.0) for low, high in zip(lowest, highest, strict=True)
    ]
    signals = tuple(RecordSignal(name, unit, *ends) for name, unit, ends in zip(names, units, ranges, strict=True))
    return Record(path.stem, path, fs, len(leads[0]), signals, (), start=start, reader=held.read_samples)
