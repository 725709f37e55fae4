"""`ClusterSmoothing` in C (`model/compiled/cluster_smoothing.c`): the same probabilities, many beats in one call."""

import ctypes
from collections.abc import Sequence

import numpy as np

from model.beats import cluster_smoothing
from model.beats.cluster_smoothing import CLASS_BIAS, NO_BEAT, ClusterSmoothing
from model.beats.templates import CLUSTER_COUNT
from model.compiled.library import array_address, array_pointers, load_library

OUTCOMES = len(CLASS_BIAS)
NUMBERS = {
    "share": cluster_smoothing.CLUSTER_SHARE,
    "half_share": cluster_smoothing.HALF_SHARE_BEATS,
    "most_odds": cluster_smoothing.MOST_LOG_ODDS,
    "noisy_level": cluster_smoothing.NOISY_LEVEL,
    "noise_bias": cluster_smoothing.NOISE_BIAS,
    "exponent": 1 / cluster_smoothing.TEMPERATURE,
}
COUNTS = {"memory": cluster_smoothing.CLUSTER_MEMORY, "known_shape": cluster_smoothing.KNOWN_SHAPE_BEATS}


class _SmoothingInC(ctypes.Structure):
    _fields_ = (
        ("bias", ctypes.c_double * OUTCOMES),
        *((name, ctypes.c_double) for name in NUMBERS),
        *((name, ctypes.c_int64) for name in COUNTS),
        ("rows", ctypes.c_void_p),
    )


class CompiledSmoothing:
    """Does what `ClusterSmoothing` does, of which it has the methods and their contracts."""

    def __init__(self, library: ctypes.CDLL, rows: int = 1) -> None:
        self._call = library.smooth_beats
        self._in_c = _SmoothingInC(CLASS_BIAS, **NUMBERS, **COUNTS)
        self._rows = np.zeros((0, CLUSTER_COUNT, 2))
        """Mean and number of beats of each cluster, 8 bytes each."""
        self.grow(rows)

    def grow(self, rows: int) -> None:
        """Make room for more rows; the existing ones keep their state."""
        more = max(0, rows - len(self._rows))
        self._rows = np.concatenate([self._rows, np.zeros((more, *self._rows.shape[1:]))])
        self._in_c.rows = array_address(self._rows)

    def start(self, row: int, run: object) -> None:  # noqa: ARG002  # a run is like any other
        """Begin a run, which may be another patient's: nothing is known of the clusters."""
        self._rows[row] = 0

    def push(self, row: int, logs: Sequence[float], cluster: int, new: bool, noise: float) -> tuple[float, ...] | None:
        """Return the class probabilities of the next candidate of a row, or None if it is no beat."""
        return self.push_all([row], [logs], [cluster], [new], [noise])[0]

    def push_all(
        self,
        rows: Sequence[int],
        logs: Sequence[Sequence[float]],
        clusters: Sequence[int],
        new: Sequence[bool],
        noise: Sequence[float],
    ) -> list[tuple[float, ...] | None]:
        """Return what `push` does of n candidates, each row's in order. Raises IndexError for one beyond the rows."""
        count = len(rows)
        if count and not 0 <= min(rows) <= max(rows) < len(self._rows):
            raise IndexError(f"rows beyond the {len(self._rows)} that are known")
        if count and max(clusters) >= CLUSTER_COUNT:
            raise IndexError(f"clusters beyond the {CLUSTER_COUNT} that there are")
        given = (
            np.array(rows, np.int64),
            np.array(logs, np.float64).reshape(count, OUTCOMES),
            np.array(clusters, np.int64),
            np.array(new, np.bool_),
            np.array(noise, np.float64),
        )
        made = np.empty((count, NO_BEAT)), np.empty(count, np.bool_)
        self._call(ctypes.byref(self._in_c), ctypes.c_int64(count), *array_pointers(*given, *made))
        found = zip(*(array.tolist() for array in made), strict=True)
        return [tuple(probabilities) if is_beat else None for probabilities, is_beat in found]


def open_smoothing(rows: int = 1) -> ClusterSmoothing | CompiledSmoothing:
    """Return the smoothing of `rows` rows, in C where that was built."""
    library = load_library()
    return ClusterSmoothing(rows) if library is None else CompiledSmoothing(library, rows)
