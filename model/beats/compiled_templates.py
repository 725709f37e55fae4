"""`BeatTemplates.describe` in C (`model/compiled/beat_templates.c`): to the last bit in a tenth of the time."""

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.compiled.library import array_address, array_pointers

SLOW_QUANTILES = 4
STATE = (  # noqa: SIM905  # a list of words reads better
    """shape wave size weight rr next beats_seen last_shape last_size last_like quality
    intervals own_rr slow unsteady learnt"""
).split()
"""Arrays of the state, float32, one row for each patient."""
COLUMN_TYPES = np.intp, *(4 * [np.float32]), np.bool_, np.float32
"""Those of the fields of `BeatWindows`."""
CONSTANTS = (  # noqa: SIM905
    """join_correlation weight_fade mean_beats quality_beats least_size rhythm_limit shape_limit
    near similar similar_next sinus_rate sinus_rise sinus_fall pause_rr_s least_rr_s first_log_rr"""
).split()
"""Numbers, float32."""


class _TemplatesInC(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_float) for name in CONSTANTS),
        ("slow_step", ctypes.c_float * SLOW_QUANTILES),
        ("slow_shares", ctypes.c_double * SLOW_QUANTILES),
        *((name, ctypes.c_void_p) for name in STATE),
    )


class CompiledTemplates:
    """Describes beats by the state of `BeatTemplates`, whose arrays it changes."""

    def __init__(
        self,
        library: ctypes.CDLL,
        constants: Mapping[str, float],
        slow_step: NDArray[np.float32],
        slow_shares: NDArray[np.float64],
        widths: tuple[int, ...],
        inputs: int,
    ) -> None:
        """Take the numbers of CONSTANTS, and how many values a beat has in each field of `BeatWindows` and as input."""
        self._call, self._inputs, self._rows = library.describe_beats, inputs, 0
        self._columns = tuple(zip(COLUMN_TYPES, widths, strict=True))
        self._in_c = _TemplatesInC(**constants)
        self._in_c.slow_step[:], self._in_c.slow_shares[:] = slow_step.tolist(), slow_shares.tolist()
        self._address = ctypes.byref(self._in_c)

    def bind(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Use these arrays, by the names in STATE, from now on. They are not kept here."""
        self._rows = len(state["weight"])
        for name in STATE:
            setattr(self._in_c, name, array_address(state[name]))

    def describe(
        self, *columns: NDArray[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.bool_], NDArray[np.float32]]:
        """Return what `BeatTemplates.describe` does of the fields of `BeatWindows` in their order."""
        count = len(columns[0])
        kept: list[NDArray[Any]] = [
            np.ascontiguousarray(column, kind) for column, (kind, _) in zip(columns, self._columns, strict=True)
        ]
        if any(column.size != count * width for column, (_, width) in zip(kept, self._columns, strict=True)):
            raise ValueError("beats of other widths")
        if count and not 0 <= kept[0].min() <= kept[0].max() < self._rows:
            raise IndexError(f"patients beyond the {self._rows} that are known")
        made = (
            np.empty((count, self._inputs), np.float32),
            np.empty(count, np.intp),
            np.empty(count, np.bool_),
            np.empty(count, np.float32),
        )
        self._call(self._address, count, *array_pointers(*kept, *made))
        return made
