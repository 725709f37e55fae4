"""Samples that were lost before they came here, from a counter of the source where it has one, and from time stamps.

Time stamps jitter, and a program that stalled sends its backlog with late stamps: a jump of the stamps is a loss only
where the samples after it do not catch up. So the samples after a jump, and only these, wait a moment.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

JUMP_S = 0.1
"""Where nothing is counted, a shorter jump of the stamps is taken for jitter."""
DOUBT_S = 0.6
"""How long samples after a jump may take to catch up; a strap's packet is 0.56 s long."""
STEADY_S = 1.0
"""The earliest stamp of so much signal is the one without delay."""
TRUST_S = 2.0
"""Stamps that jump further ahead than the clock here by this much show no loss: their clock was set."""
MOST_REPEATS = 16
"""A counter that stands still for longer counts nothing."""
LEAST_STEPS = 64
"""Steps of a counter from which it is judged."""
LEAST_ORDERLY_SHARE = 0.5


class LossPiece(NamedTuple):
    """The next `samples`, without a loss between them; `lost` before them."""

    samples: int
    lost: int


class LossFinder:
    """Finds losses in a stream of `fs` hertz; `counted`: the source numbers its samples or packets.

    The numbers may wrap anywhere, as at 256; what was lost in a longer time than they take for it is completed from
    the stamps.
    """

    def __init__(self, fs: float, counted: bool) -> None:
        self._fs, self.counted = fs, counted
        self._stamps: NDArray[np.float64] = np.empty(0)
        self._numbers: NDArray[np.float64] = np.empty(0)
        self._lags: NDArray[np.float64] = np.empty(0)
        """Stamps less the time of the sample's index, of the latest samples."""
        self._index = 0
        self._last = (np.nan, np.nan)
        """Stamp and number of the latest sample that was released."""
        self._doubted_s: float | None = None
        self._heard_s = 0.0
        self._highest = 0.0
        self._period = 0.0
        self._repeats = self._most_repeats = 1
        self._steps = self._orderly = 0

    def find(self, stamps: NDArray[np.float64], numbers: NDArray[np.float64] | None, now_s: float) -> list[LossPiece]:
        """Take stamps (n,) in seconds, and numbers (n,), of samples that have arrived; return what may be sent now.

        What is not part of a piece waits here, in order, for a later call.
        """
        arrived = len(stamps)
        self._stamps = np.concatenate((self._stamps, stamps))
        self._numbers = np.concatenate((self._numbers, np.zeros(arrived) if numbers is None else numbers))
        pieces = []
        lost = 0
        while len(self._stamps):
            gaps = np.diff(self._stamps, prepend=self._last[0]) - 1 / self._fs
            steps = np.diff(self._numbers, prepend=self._last[1])
            uneven = (steps != 0) & (steps != 1) if self.counted else np.zeros(len(gaps), bool)
            marks = np.flatnonzero((np.abs(gaps) > self._jump_s()) | uneven)
            end = int(marks[0]) if len(marks) else len(gaps)
            if end == 0:
                found = self._judge(float(gaps[0]), float(steps[0]), now_s)
                if found is None:
                    break
                self._doubted_s = None
                steps[0] = 1
                lost += found
                self._index += found
                end = int(marks[1]) if len(marks) > 1 else len(gaps)
            pieces.append(LossPiece(end, lost))
            lost = 0
            self._release(end, steps[:end])
        if arrived:
            self._heard_s = now_s
        return pieces

    def _jump_s(self) -> float:
        """Return the jump of stamps from which a loss is possible that no counter shows."""
        return max(JUMP_S, 0.5 * self._wrap() * self._most_repeats / self._fs) if self.counted else JUMP_S

    def _judge(self, gap_s: float, step: float, now_s: float) -> int | None:
        """Return the samples lost before the first one that waits, None while that is in doubt."""
        if not len(self._lags):
            return 0
        if step < 0 and self._last[1] + step == 0 and self._last[1] == self._highest:
            self._period = self._highest + 1
        counted = 0 if step in (0, 1) or not self.counted else int((step - 1) % self._wrap()) * self._most_repeats
        if abs(gap_s) <= self._jump_s():
            return counted
        if gap_s < 0 or (self._doubted_s is None and gap_s > now_s - self._heard_s + TRUST_S):
            self._lags = self._lags[:0]
            return counted
        lags = self._stamps - (self._index + np.arange(len(self._stamps))) / self._fs
        excess = float(lags.min() - self._lags.min())
        if excess <= self._jump_s():
            return counted
        self._doubted_s = now_s if self._doubted_s is None else self._doubted_s
        if now_s - self._doubted_s < DOUBT_S:
            return None
        lost = excess * self._fs
        if self.counted:  # what the counter shows, and whole rounds of it
            shown = (step - 1) % self._wrap()
            rounds = max(0, round((lost / self._most_repeats - shown) / self._wrap()))
            lost = (shown + rounds * self._wrap()) * self._most_repeats
        return round(lost)

    def _wrap(self) -> float:
        """Return after how many steps the counter begins again, as far as is known: a power of two, or once seen."""
        return max(self._period or max(256, 1 << int(self._highest).bit_length()), self._highest + 1)

    def _release(self, count: int, steps: NDArray[np.float64]) -> None:
        lags = self._stamps[:count] - (self._index + np.arange(count)) / self._fs
        self._lags = np.concatenate((self._lags, lags))[-max(1, round(STEADY_S * self._fs)) :]
        self._index += count
        self._last = (float(self._stamps[count - 1]), float(self._numbers[count - 1]))
        if self.counted:
            self._watch_counter(self._numbers[:count], steps)
        self._stamps, self._numbers = self._stamps[count:], self._numbers[count:]

    def _watch_counter(self, numbers: NDArray[np.float64], steps: NDArray[np.float64]) -> None:
        """Learn how far the counter goes and how many samples have the same number; give up one that does not count."""
        self._highest = max(self._highest, float(numbers.max()))
        for step in steps:
            self._repeats = self._repeats + 1 if step == 0 else 1
            self._most_repeats = max(self._most_repeats, self._repeats)
        self._steps += len(steps)
        self._orderly += int(np.count_nonzero((steps == 0) | (steps == 1)))
        disorderly = self._steps >= LEAST_STEPS and self._orderly < LEAST_ORDERLY_SHARE * self._steps
        if self._most_repeats > MOST_REPEATS or disorderly:
            self.counted = False
