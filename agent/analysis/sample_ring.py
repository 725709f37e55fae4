"""The last half minute of every bed: a ring of samples, one row a bed, that beats and pictures are cut from."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from agent.analysis.compiled_ring import append_samples, copy_windows
from agent.analysis.stage import Interruption, RowIndexArray, RunStart
from agent.core.messages import FloatArray, Gap
from model.compiled.library import load_library

RING_SAMPLES = 4096
"""Samples kept a bed, a power of two, 32 s at 125 Hz: more than a beat waits for its decision and a screen shows."""

FEWEST_IN_C = 8
"""Rows from which on a call in C costs less."""


class SampleRing:
    """Rings of float32 millivolts; samples that never arrived are NaN. Sample `i` stands at place `i % samples`."""

    def __init__(self, rows: int = 1) -> None:
        self.samples = RING_SAMPLES
        """Samples kept a row."""
        self._library = load_library()
        self._x = np.full((rows, self.samples), np.nan, dtype=np.float32)
        self.head = np.zeros(rows, dtype=np.int64)
        """(rows,) index after the last sample of each row."""
        self._hidden: dict[int, deque[tuple[int, int]]] = {}
        """By row: first sample and end of the latest stretches that are no measured values."""

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        added = rows - len(self.head)
        self._x = np.concatenate([self._x, np.full((added, self.samples), np.nan, dtype=np.float32)])
        self.head = np.concatenate([self.head, np.zeros(added, dtype=np.int64)])

    def lengthen(self, samples: int) -> None:
        """Keep more samples of each row, a power of two, before the first run."""
        self.samples = samples
        self._x = np.full((len(self.head), samples), np.nan, dtype=np.float32)

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run: nothing is known before its first sample."""
        self._x[row] = np.nan
        self.head[row] = run.first
        self._hidden.pop(row, None)

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Keep the samples of a gap as NaN. A lead that is off goes on sending samples."""
        if isinstance(interruption, Gap):
            places = (self.head[row] + np.arange(min(interruption.count, self.samples))) % self.samples
            self._x[row, places] = np.nan
            self.head[row] += interruption.count

    def push(self, rows: RowIndexArray, x: FloatArray) -> None:
        """Append the next samples `x` (rows, n), n at most `samples`, to each of `rows` (rows,)."""
        if self._library is not None and len(rows) >= FEWEST_IN_C:
            append_samples(self._library, self._x, self.head, rows, x)
            return
        self._x.reshape(-1)[self._places(rows, self.head[rows], x.shape[1])] = x
        self.head[rows] += x.shape[1]

    def hide(self, row: int, first: int, count: int) -> None:
        """Show no values for `count` samples from `first` on that are not measured; `windows` returns them all the
        same."""
        hidden = self._hidden.setdefault(row, deque())
        hidden.append((first, first + count))
        while hidden and hidden[0][1] <= self.head[row] - self.samples:
            hidden.popleft()

    def windows(self, rows: RowIndexArray, firsts: NDArray[np.int64], count: int) -> FloatArray:
        """Return `count` samples from index `firsts` (n,) on of `rows` (n,): (n, count). Behind the head: stale
        values."""
        if self._library is not None and len(rows) >= FEWEST_IN_C:
            return copy_windows(self._library, self._x, rows, firsts, count)
        samples: FloatArray = self._x.reshape(-1).take(self._places(rows, firsts, count))
        return samples

    def _places(self, rows: RowIndexArray, firsts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Return the places (n, count) of samples from index `firsts` (n,) on of `rows` (n,), in all rows joined."""
        places: NDArray[np.int64] = firsts[:, None] + np.arange(count)
        places &= self.samples - 1  # a power of two
        places += rows[:, None] * self.samples
        return places

    def shown(self, rows: RowIndexArray, firsts: NDArray[np.int64], count: int) -> FloatArray:
        """Return the same as `windows`, NaN for what is no measured value."""
        samples = self.windows(rows, firsts, count)
        for place, row in enumerate(rows.tolist()):
            for first, end in self._hidden.get(row, ()):
                at = int(firsts[place])
                samples[place, max(0, first - at) : max(0, end - at)] = np.nan
        return samples

    def last(self, row: int, count: int) -> FloatArray:
        """Return the last `count` samples of a row, (count,), at most `samples`, NaN where missing."""
        head = int(self.head[row])
        stop = head % self.samples
        start = stop - count
        ring = self._x[row]
        samples = ring[start:stop].copy() if start >= 0 else np.concatenate([ring[start:], ring[:stop]])
        for first, end in self._hidden.get(row, ()):
            samples[max(0, first - head + count) : max(0, end - head + count)] = np.nan
        return samples
