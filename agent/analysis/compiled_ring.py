"""What a `SampleRing` copies in and out, in C (`model/compiled/sample_ring.c`): no table of places is made for it."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from agent.analysis.stage import RowIndexArray
from agent.core.messages import FloatArray
from model.compiled.library import array_address


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
    library.copy_windows(*_ring(rings), *_arrays(len(rows), rows, firsts), *_arrays(count, windows))
    return windows


def append_samples(
    library: ctypes.CDLL, rings: FloatArray, heads: NDArray[np.int64], rows: RowIndexArray, x: FloatArray
) -> None:
    """Put `x` (n, count) behind the `heads` (rows,) of `rows` (n,), which go on. Raises as `copy_windows` does."""
    rows, x = _checked_rows(rings, rows, x.shape[1]), np.ascontiguousarray(x, np.float32)
    if len(x) != len(rows) or len(heads) != len(rings):
        raise ValueError(f"samples {x.shape} and heads {heads.shape} for {rows.shape} of {len(rings)} rows")
    library.append_samples(
        *_ring(rings), ctypes.c_void_p(array_address(heads)), *_arrays(len(rows), rows), *_arrays(x.shape[1], x)
    )


def _checked_rows(rings: FloatArray, rows: RowIndexArray, count: int) -> RowIndexArray:
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(rings):
        raise IndexError(f"rows beyond the {len(rings)} that are known")
    if count > rings.shape[1]:
        raise ValueError(f"{count} samples of a ring of {rings.shape[1]}")
    return np.ascontiguousarray(rows, np.int64)


def _ring(rings: FloatArray) -> tuple[ctypes.c_void_p, ctypes.c_int64]:
    return ctypes.c_void_p(array_address(rings)), ctypes.c_int64(rings.shape[1])


def _arrays(number: int, *arrays: NDArray[np.generic]) -> list[ctypes.c_int64 | ctypes.c_void_p]:
    """Return a number, and where arrays lie."""
    return [ctypes.c_int64(number), *(ctypes.c_void_p(array_address(array)) for array in arrays)]
