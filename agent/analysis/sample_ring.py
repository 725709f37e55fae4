"""The last half minute of every bed: a ring of samples, one row a bed, that cuts and pictures are taken from."""

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import FloatArray

RING_SAMPLES = 4096
"""Samples kept a bed, 32 s at 125 Hz: more than a beat waits for its decision and a screen shows."""

RowIndexArray = NDArray[np.intp]


class SampleRing:
    """Rings of float32 millivolts; what never arrived is NaN. Sample `i` of a row stands at place `i % SAMPLES`."""

    def __init__(self, rows: int = 1) -> None:
        self._x = np.full((rows, RING_SAMPLES), np.nan, dtype=np.float32)
        self.head = np.zeros(rows, dtype=np.int64)
        """Index after the last sample of each row."""

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        added = rows - len(self.head)
        self._x = np.concatenate([self._x, np.full((added, RING_SAMPLES), np.nan, dtype=np.float32)])
        self.head = np.concatenate([self.head, np.zeros(added, dtype=np.int64)])

    def reset(self, row: int, first: int) -> None:
        """A new run: nothing is known before sample `first`."""
        self._x[row] = np.nan
        self.head[row] = first

    def skip(self, row: int, count: int) -> None:
        """The next `count` samples of a row never arrived."""
        places = (self.head[row] + np.arange(min(count, RING_SAMPLES))) % RING_SAMPLES
        self._x[row, places] = np.nan
        self.head[row] += count

    def push(self, rows: RowIndexArray, x: FloatArray) -> None:
        """The next samples (rows, n), n at most SAMPLES, of each of `rows`."""
        places = (self.head[rows, None] + np.arange(x.shape[1])) % RING_SAMPLES
        self._x[rows[:, None], places] = x
        self.head[rows] += x.shape[1]

    def windows(self, rows: RowIndexArray, firsts: NDArray[np.int64], count: int) -> FloatArray:
        """`count` samples from index `firsts` (n,) on in `rows` (n,): (n, count). Later than head: stale values."""
        found: FloatArray = self._x[rows[:, None], (firsts[:, None] + np.arange(count)) % RING_SAMPLES]
        return found

    def last(self, row: int, count: int) -> FloatArray:
        """The last `count` samples of a row, at most SAMPLES, NaN where missing."""
        stop = int(self.head[row]) % RING_SAMPLES
        start = stop - count
        ring = self._x[row]
        return ring[start:stop].copy() if start >= 0 else np.concatenate([ring[start:], ring[:stop]])
