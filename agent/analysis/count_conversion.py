"""From counts of many beds to millivolts, and which of them have nothing in them that is to be mended."""

import ctypes

import numpy as np
from numpy.typing import NDArray

from agent.analysis.lead_input import MOST_MILLIVOLTS, counts_to_millivolts
from agent.core.messages import MISSING, FloatArray
from model.compiled.library import array_pointers, load_library
from model.records.resample import FS
from model.records.signal_conditioning import is_pulse_single, least_jump, plain_rows

Floats = NDArray[np.float64]


def convert_counts(
    counts: NDArray[np.int32], columns: tuple[int, ...], offsets: Floats, scales: Floats
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the samples (beds, leads, n) float32 mV of some `columns` of counts (beds, n, all), and which are plain.

    `offsets`, `scales` (beds, leads, 1): what makes millivolts of counts. A bed is plain (beds,) if no value is missing
    in these leads, and nothing in them may be a pulse. In C where that was built, to the last bit.
    """
    library = load_library()
    if library is not None:
        return _convert_in_c(library, counts, columns, offsets, scales)
    chosen = counts[:, :, columns].transpose(0, 2, 1)  # (beds, leads, n)
    x = counts_to_millivolts(chosen, offsets, scales).astype(np.float32, order="C")
    plain = plain_rows(x.reshape(-1, x.shape[2]), FS).reshape(len(x), -1).all(axis=1)
    return x, plain & (chosen != MISSING).all(axis=(1, 2))


def _convert_in_c(
    library: ctypes.CDLL, counts: NDArray[np.int32], columns: tuple[int, ...], offsets: Floats, scales: Floats
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Do the same in C (`model/compiled/plain_samples.c`)."""
    beds, n, width = counts.shape
    leads, number, single = len(columns), ctypes.c_int64, ctypes.c_float
    if not 0 <= min(columns) <= max(columns) < width:
        raise IndexError(f"columns {columns} of counts with {width}")
    if offsets.shape != (beds, leads, 1) or scales.shape != offsets.shape:
        raise ValueError(f"offsets {offsets.shape} and scales {scales.shape} for {beds} beds of {leads} leads")
    given = (
        np.ascontiguousarray(counts, np.int32),
        np.array(columns, np.int64),
        np.ascontiguousarray(offsets, np.float64),
        np.ascontiguousarray(scales, np.float64),
    )
    x, plain = np.empty((beds, leads, n), np.float32), np.empty(beds, np.bool_)
    jump = least_jump(FS)
    library.convert_counts(
        *map(number, (beds, n, width, leads)),
        *array_pointers(*given),
        ctypes.c_int32(MISSING),
        ctypes.c_double(MOST_MILLIVOLTS),
        ctypes.c_int32(is_pulse_single(FS)),
        single(jump),
        single(-jump * jump),
        *array_pointers(x, plain),
    )
    return x, plain
