"""What a `SampleRing` copies in and out, in C (`model/compiled/sample_ring.c`): no table of places is made for it."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from agent.analysis.stage import RowIndexArray
from agent.core.messages import FloatArray
from model.compiled.library import array_pointers


def copy_windows(
    library: ctypes.CDLL, rings: FloatArray, rows: RowIndexArray, firsts: NDArray[np.int64], count: int
) -> FloatArray:
    """Return `count` samples from index `firsts` (n,) on of `rows` (n,) of `rings` (rows, samples): (n, count).

    Raises IndexError for a row that there is not, and ValueError for more samples than a ring has.
    """
    rows, firsts = _checked_rows(rings, rows, count), np.ascontiguousarray(firsts, np.int64)
    if firsts.shape != rows.shape:
        raise ValueError(f"{firsts.shape} first samples for {rows.shape} rows")
    windows = np.empty((len(rows), count), np.float32)
    number = ctypes.c_int64
    library.copy_windows(
        *(*array_pointers(rings), number(rings.shape[1])),
        *(number(len(rows)), *array_pointers(rows, firsts)),
        *(number(count), *array_pointers(windows)),
    )
    return windows


def append_samples(
    library: ctypes.CDLL, rings: FloatArray, heads: NDArray[np.int64], rows: RowIndexArray, x: FloatArray
) -> None:
    """Put `x` (n, count) behind the `heads` (rows,) of `rows` (n,), which go on. Raises as `copy_windows` does."""
    rows, x = _checked_rows(rings, rows, x.shape[1]), np.ascontiguousarray(x, np.float32)
    if len(x) != len(rows) or len(heads) != len(rings):
        raise ValueError(f"samples {x.shape} and heads {heads.shape} for {rows.shape} of {len(rings)} rows")
    number = ctypes.c_int64
    library.append_samples(
        *(*array_pointers(rings), number(rings.shape[1]), *array_pointers(heads)),
        *(number(len(rows)), *array_pointers(rows)),
        *(number(x.shape[1]), *array_pointers(x)),
    )


def _checked_rows(rings: FloatArray, rows: RowIndexArray, count: int) -> RowIndexArray:
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(rings):
        raise IndexError(f"rows beyond the {len(rings)} that are known")
    if count > rings.shape[1]:
        raise ValueError(f"{count} samples of a ring of {rings.shape[1]}")
    return np.ascontiguousarray(rows, np.int64)
