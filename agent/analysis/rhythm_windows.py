"""What the waveform of every bed is: its last four seconds classified once a second, all beds in one batch.

Windows lie at fixed places of each stretch, so they are the same however the stream was cut, and none reaches back over
the start of a stretch or over a gap.
"""

import msgspec
import numpy as np

from agent.analysis.sample_ring import SampleRing
from agent.analysis.stage import Interruption, RowIndexArray, RunStart
from agent.core.messages import Gap
from model.waveform.waveform_classifier import HOP, WINDOW, WaveformClassifier

NO_WINDOW_DUE = np.iinfo(np.int64).max


class WindowScores(msgspec.Struct, frozen=True, gc=False):
    """The class scores of the window of a row that ends before `sample`.

    `scores`: probabilities in the order of KINDS, empty while the stretch is shorter than a window; `amplitude_mv`:
    peak-to-peak height without the outermost hundredths, NaN while there are no scores; `rate`: repetitions of the
    waveform per minute, None if it does not repeat itself.
    """

    row: int
    sample: int
    scores: tuple[float, ...] = ()
    amplitude_mv: float = np.nan
    rate: float | None = None


class RhythmWindows:
    """Classifies windows of all rows, each `late` samples after its last sample; `ring` holds the samples.

    A row has windows once its first run has started.
    """

    def __init__(self, ring: SampleRing, late: int = 0, rows: int = 1) -> None:
        """Raise CheckpointError if the shipped weights cannot be read."""
        self._ring, self._late = ring, late
        self._classifier = WaveformClassifier.load()
        self._first = np.zeros(rows, np.int64)
        self._next = np.full(rows, NO_WINDOW_DUE)
        """Sample before which the next window of each row ends."""

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        more = rows - len(self._next)
        self._first = np.pad(self._first, (0, more))
        self._next = np.pad(self._next, (0, more), constant_values=NO_WINDOW_DUE)

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run: no window reaches back over its start."""
        self._restart_at(row, run.first)

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Let no window reach over a gap. A lead that is off is classified like any signal."""
        if isinstance(interruption, Gap):
            self._restart_at(row, interruption.first + interruption.count)

    def push(self, rows: RowIndexArray) -> list[WindowScores]:
        """Return the windows of `rows` (rows,) that the ring has become long enough for, in order within each row."""
        return self._take(rows, self._late)

    def flush(self, row: int) -> list[WindowScores]:
        """Return the windows that are complete at the end of a stretch, without the usual delay."""
        return self._take(np.array([row]), 0)

    def _restart_at(self, row: int, first: int) -> None:
        self._first[row] = first
        self._next[row] = first + HOP

    def _take(self, rows: RowIndexArray, late: int) -> list[WindowScores]:
        due = self._ring.head[rows] - late >= self._next[rows]
        if not due.any():
            return []
        rows = rows[due]
        counts = (self._ring.head[rows] - late - self._next[rows]) // HOP + 1
        which = np.repeat(rows, counts)
        step = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        ends = self._next[which] + step * HOP
        self._next[rows] += counts * HOP
        whole = ends - WINDOW >= self._first[which]
        windows = [
            WindowScores(row, end) for row, end in zip(which[~whole].tolist(), ends[~whole].tolist(), strict=True)
        ]
        if whole.any():
            which, ends = which[whole], ends[whole]
            result = self._classifier.classify_windows(self._ring.windows(which, ends - WINDOW, WINDOW))
            columns = (which, ends, result.probabilities, result.height, result.rate)
            windows += [
                WindowScores(row, end, tuple(scores), height, rate or None)
                for row, end, scores, height, rate in zip(*(column.tolist() for column in columns), strict=True)
            ]
        return windows
