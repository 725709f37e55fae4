"""Tables of samples as text, and what a reader makes of a file."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.formats.signal_file import SignalFileOptions, open_signal_file
from model.records.wfdb_records import Record, open_record, read_record_samples

FS = 360.0


@cache
def microvolts(seconds: float = 12.0) -> NDArray[np.int64]:
    """Return the beginning of record 208 in whole microvolts (n, 2) int64."""
    signal = read_record_samples(open_record("208"), 0, round(seconds * FS))
    return np.rint(1000 * signal).astype(np.int64)


def opened(path: Path, text: str | bytes | None = None, **stated: Any) -> tuple[Record, NDArray[np.float64]]:
    """Return a file, written first if it is given, as a record and its samples (n, leads), however they are cut."""
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    record = open_signal_file(str(path), SignalFileOptions(**stated))
    whole = read_record_samples(record)
    size = 777
    parts = [read_record_samples(record, start, start + size) for start in range(0, record.length, size)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    return record, whole


def lines(title: str, rows: list[str], end: str = "\n") -> str:
    """Return lines of text under a title, if there is one."""
    return end.join(([title] if title else []) + rows) + end
