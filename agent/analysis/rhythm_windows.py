"""What the waveform of every bed is: a look at its last seconds once a second, all beds in one batch.

Looks are taken at fixed places of each stretch, so they are the same however the stream was cut, and none reaches back
over the start of a stretch or over a gap.
"""

from dataclasses import dataclass

import numpy as np

from agent.analysis.sample_ring import RowIndexArray, SampleRing
from model.waveform.waveform_classifier import HOP, WINDOW, WaveformClassifier

NO_WINDOW_DUE = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class WindowScores:
    """What the window of a row that ends before `sample` is.

    `scores`: probabilities in the order of KINDS, empty where the stretch is not as long as a window yet;
    `amplitude_mv`: peak-to-peak height without the outermost hundredths, then NaN; `rate`: how often a minute the
    waveform repeats itself, None where it does not.
    """

    row: int
    sample: int
    scores: tuple[float, ...] = ()
    amplitude_mv: float = np.nan
    rate: float | None = None


class RhythmWindows:
    """The looks of all rows, each `late` samples after the last sample that it sees; `history` holds the samples.

    A row is looked at once it was reset.
    """

    def __init__(self, history: SampleRing, late: int = 0, rows: int = 1) -> None:
        """Raises CheckpointError where the shipped weights cannot be read."""
        self._history, self._late = history, late
        self._judge = WaveformClassifier.load()
        self._first = np.zeros(rows, np.int64)
        self._next = np.full(rows, NO_WINDOW_DUE)
        """Sample before which the next window of each row ends."""

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        more = rows - len(self._next)
        self._first = np.pad(self._first, (0, more))
        self._next = np.pad(self._next, (0, more), constant_values=NO_WINDOW_DUE)

    def reset(self, row: int, first: int) -> None:
        """A new stretch starts at sample `first`: no window reaches back over it."""
        self._first[row] = first
        self._next[row] = first + HOP

    def push(self, rows: RowIndexArray) -> list[WindowScores]:
        """The looks that have become due by what came into the history of `rows`, in order within each row."""
        return self._take(rows, self._late)

    def flush(self, row: int) -> list[WindowScores]:
        """The looks at a stretch that is over."""
        return self._take(np.array([row]), 0)

    def _take(self, rows: RowIndexArray, late: int) -> list[WindowScores]:
        due = self._history.head[rows] - late >= self._next[rows]
        if not due.any():
            return []
        rows = rows[due]
        counts = (self._history.head[rows] - late - self._next[rows]) // HOP + 1
        which = np.repeat(rows, counts)
        step = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        ends = self._next[which] + step * HOP
        self._next[rows] += counts * HOP
        whole = ends - WINDOW >= self._first[which]
        looks = [WindowScores(row, end) for row, end in zip(which[~whole].tolist(), ends[~whole].tolist(), strict=True)]
        if whole.any():
            which, ends = which[whole], ends[whole]
            found = self._judge.judge(self._history.windows(which, ends - WINDOW, WINDOW))
            columns = (which, ends, found.probabilities, found.height, found.rate)
            looks += [
                WindowScores(row, end, tuple(scores), height, rate or None)
                for row, end, scores, height, rate in zip(*(column.tolist() for column in columns), strict=True)
            ]
        return looks
