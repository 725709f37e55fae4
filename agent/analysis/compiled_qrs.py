"""`QrsDetector` in C (`model/compiled/qrs_detector.c`): the same R peaks to the last bit, for a tenth of the time."""

import ctypes
import weakref
from itertools import starmap
from struct import Struct

import numpy as np

from agent.analysis import qrs_detector, qrs_evidence, qrs_filter
from agent.analysis.qrs_detector import QrsDetector, RPeak, end_peaks
from agent.analysis.stage import Interruption, RowIndexArray, RunStart
from agent.core.messages import FloatArray, Gap
from model.compiled.library import array_address, load_library

PEAK = Struct("=qqqd16x")
"""The fields of an R peak, and what C orders them by."""
NO_SUCH_ROW, NO_MEMORY = -1, -2
NUMBERS = {
    "least_energy": qrs_filter.LEAST_ENERGY_MV,
    "least_size": qrs_filter.LEAST_SIZE_MV,
    "hum_side": qrs_filter.HUM_SIDE,
    "hum_middle": qrs_filter.HUM_MIDDLE,
    "doubt_low": qrs_detector.DOUBT[0],
    "doubt_high": qrs_detector.DOUBT[1],
    "most_rival": qrs_evidence.MOST_RIVAL,
    "first_on_time": qrs_evidence.FIRST_ON_TIME,
    "twin_tolerance": qrs_evidence.TWIN_TOLERANCE,
    "usual_likeness": qrs_evidence.USUAL_LIKENESS,
    "small": qrs_evidence.SMALL,
}
COUNTS = {
    "learning_samples": qrs_detector.LEARNING_SAMPLES,
    "relearn_after": qrs_detector.RELEARN_AFTER,
    "relearn_always_after": qrs_detector.RELEARN_ALWAYS_AFTER,
    "relearn_reach": qrs_detector.RELEARN_REACH,
    "follower_samples": qrs_detector.FOLLOWER_SAMPLES,
    "no_deadline": qrs_detector.NO_DEADLINE,
    "t_wave_end": qrs_evidence.T_WAVE_END,
    "t_wave_length": qrs_evidence.T_WAVE_LENGTH,
    "most_larger": qrs_evidence.MOST_LARGER,
    "most_twins": qrs_evidence.MOST_TWINS,
    "longest_step": qrs_evidence.LONGEST_STEP,
}


class _DetectorInC(ctypes.Structure):
    _fields_ = (
        ("least", ctypes.c_double),
        *((name, ctypes.c_double) for name in NUMBERS),
        *((name, ctypes.c_int64) for name in COUNTS),
        ("taper", ctypes.c_double * len(qrs_filter.R_PEAK_TAPER)),
        ("weights", ctypes.c_double * len(qrs_evidence.WEIGHTS)),
        ("beds", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("pool", ctypes.c_void_p),
        ("pool_room", ctypes.c_int64),
        ("peaks", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("peak_room", "peak_count", "row", "when")),
        ("free_place", ctypes.c_int32),
        ("out_of_memory", ctypes.c_int32),
    )


class CompiledQrsDetector:
    """Does what `QrsDetector` does, of which it has the methods and their contracts."""

    def __init__(self, library: ctypes.CDLL, rows: int = 1, least: float = 0.0) -> None:
        self._library = _declare_calls(library)
        self._in_c = _DetectorInC(least=least, **NUMBERS, **COUNTS, free_place=-1)
        self._in_c.taper[:] = qrs_filter.R_PEAK_TAPER.tolist()
        self._in_c.weights[:] = qrs_evidence.WEIGHT_VALUES
        self._address = ctypes.byref(self._in_c)
        weakref.finalize(self, library.free_detector, self._address)
        self._read = np.dtype(
            {
                "names": ["next", "signal"],
                "formats": [np.int64, (np.float32, qrs_filter.KEPT)],
                "offsets": [0, 8],
                "itemsize": library.size_of_bed(),
            }
        )
        self._beds = np.zeros((0, self._read.itemsize), np.uint8)
        self.grow(rows)

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        there = len(self._beds)
        self._beds = np.concatenate([self._beds, np.zeros((max(0, rows - there), self._read.itemsize), np.uint8)])
        self._in_c.beds, self._in_c.rows = array_address(self._beds), len(self._beds)
        for row in range(there, rows):
            self._library.open_row(self._address, row)

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run: the levels are learnt from its own beats."""
        self._library.start_row(self._address, self._check_row(row), run.first)

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Go on behind a gap: filters start again, levels that were learnt stay. A lead that is off changes nothing."""
        if isinstance(interruption, Gap):
            first = interruption.first + interruption.count
            self._library.interrupt_row(self._address, self._check_row(row), first)

    def push(self, rows: RowIndexArray, x: FloatArray) -> list[RPeak]:
        """Take the next samples `x` (rows, n) float32 mV of `rows` (rows,); return the R peaks that they decide."""
        if not x.size:
            return []
        rows, x = np.ascontiguousarray(rows, np.intp), np.ascontiguousarray(x, np.float32)
        count, n = x.shape
        if rows.shape != (count,):
            raise ValueError(f"samples of {count} rows for {rows.shape}")
        return self._take_peaks(self._library.push_rows(self._address, array_address(rows), count, array_address(x), n))

    def flush(self, row: int) -> list[RPeak]:
        """Return the R peaks among what is undecided at the end of a stretch. `start` or `interrupt` comes next."""
        end, recent = self._beds[self._check_row(row)].view(self._read)[0].tolist()
        recent = qrs_filter.continue_signal(np.array(recent, np.float32))
        peaks = self.push(np.array([row]), recent[None])
        peaks += self._take_peaks(self._library.finish_row(self._address, row, end - 1))
        return end_peaks(peaks, end)

    def _take_peaks(self, count: int) -> list[RPeak]:
        if not count:
            return []
        if count == NO_SUCH_ROW:
            raise IndexError(f"rows beyond the {len(self._beds)} that are known")
        if count == NO_MEMORY:
            raise MemoryError
        return list(starmap(RPeak, PEAK.iter_unpack(ctypes.string_at(self._in_c.peaks, count * PEAK.size))))

    def _check_row(self, row: int) -> int:
        if not 0 <= row < len(self._beds):
            raise IndexError(f"row {row} beyond the {len(self._beds)} that are known")
        return row


def open_qrs_detector(rows: int = 1, least: float = 0.0) -> QrsDetector | CompiledQrsDetector:
    """Return a detector, in C where it was built, of `rows` beds.

    Candidates that are not taken for beats are reported, too, if their score is above `least`.
    """
    library = load_library()
    return QrsDetector(rows, least) if library is None else CompiledQrsDetector(library, rows, least)


def _declare_calls(library: ctypes.CDLL) -> ctypes.CDLL:
    """Say what the functions in C take: a pointer to what is known, then addresses and numbers."""
    number, place = ctypes.c_int64, ctypes.c_void_p
    calls = {
        "push_rows": (place, number, place, number),
        "finish_row": (number, number),
        "open_row": (number,),
        "start_row": (number, number),
        "interrupt_row": (number, number),
        "size_of_bed": None,
        "free_detector": (),
    }
    for name, taken in calls.items():
        call = getattr(library, name)
        call.argtypes = () if taken is None else (place, *taken)
        call.restype = number if name in ("push_rows", "finish_row", "size_of_bed") else None
    return library
