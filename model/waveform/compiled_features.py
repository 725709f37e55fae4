"""`measure_windows` in C (`model/compiled/window_features.c`): in a tenth of the time, but for the last digits."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.compiled.library import array_address, array_pointers

Floats = NDArray[np.float32]
MOST_PASSES = 4
ALIGNMENT = 64
"""Bytes to which the memory is aligned that it works in."""
TABLES = ("ramp", "gain", "overlap", "burst_gain")
PLACES = ("bins", "lags", "burst_lags", "voltage_places", "slope_places", "burst_places")
COUNTS = (  # noqa: SIM905  # a list of words reads better
    """bands lag_parts low_parts burst_parts voltages slopes burst_quantiles
    edge low_place high_place burst_top sharp first_lag last_lag features"""
).split()
NUMBERS = ("lowest_mv", "highest_mv", "faint_mv", "tiny", "near_best", "least_repetition")


class _TransformInC(ctypes.Structure):
    _fields_ = (
        ("cosine", ctypes.c_void_p),
        ("sine", ctypes.c_void_p),
        ("n", ctypes.c_int32),
        ("passes", ctypes.c_int32),
        ("radix", ctypes.c_int32 * MOST_PASSES),
    )


class _SettingsInC(ctypes.Structure):
    _fields_ = (
        *((name, _TransformInC) for name in ("whole", "half", "burst")),
        *((name, ctypes.c_void_p) for name in (*TABLES, *PLACES)),
        *((name, ctypes.c_int32) for name in COUNTS),
        *((name, ctypes.c_float) for name in NUMBERS),
    )


class CompiledFeatures:
    """Measures windows of `window` samples. The tables, places and numbers are those of `window_features`, by name."""

    def __init__(
        self,
        library: ctypes.CDLL,
        window: int,
        burst: int,
        tables: Mapping[str, Floats],
        places: Mapping[str, Sequence[int]],
        numbers: Mapping[str, float],
    ) -> None:
        self._call, self._window, self._kept = library.measure_windows, window, list[NDArray[Any]]()
        self._call.restype = library.features_work_size.restype = ctypes.c_int64
        self._bytes = library.features_work_size() + ALIGNMENT
        self._in_c = _SettingsInC(**numbers)
        for name, n in (("whole", window), ("half", window // 2), ("burst", burst)):
            setattr(self._in_c, name, self._transform(n))
        for name in TABLES:
            setattr(self._in_c, name, self._keep(tables[name], np.float32))
        for name in PLACES:
            setattr(self._in_c, name, self._keep(places[name], np.int32))

    def measure(self, windows: Floats) -> tuple[Floats, Floats, Floats]:
        """Return numbers (n, features), height (n,) and period (n,) of windows (n, `window`)."""
        windows = np.ascontiguousarray(windows, np.float32)
        if windows.ndim != 2 or windows.shape[1] != self._window:
            raise ValueError(f"windows {windows.shape} instead of (n, {self._window})")
        count, work = len(windows), np.empty(self._bytes, np.uint8)
        height, period = np.empty(count, np.float32), np.empty(count, np.float32)
        made = np.empty((count, self._in_c.features), np.float32), height, period
        aligned = -(-array_address(work) // ALIGNMENT) * ALIGNMENT
        found = self._call(
            ctypes.byref(self._in_c),
            *array_pointers(windows),
            ctypes.c_int64(count),
            ctypes.c_void_p(aligned),
            *array_pointers(*made),
        )
        assert found == self._in_c.features
        return made

    def _transform(self, n: int) -> _TransformInC:
        angles, radices, left = 2 * np.pi * np.arange(n) / n, list[int](), n
        for radix in (5, 4, 2):
            while left % radix == 0:
                radices.append(radix)
                left //= radix
        assert left == 1
        made = _TransformInC(self._keep(np.cos(angles), np.float32), self._keep(np.sin(angles), np.float32), n)
        made.passes, made.radix[: len(radices)] = len(radices), radices
        return made

    def _keep(self, values: Sequence[float] | NDArray[Any], kind: type[np.float32 | np.int32]) -> int:
        """Keep an array, and return where it lies."""
        self._kept.append(np.ascontiguousarray(values, kind))
        return array_address(self._kept[-1])
