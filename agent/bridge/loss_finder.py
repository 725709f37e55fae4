"""Samples that were lost before they came here, from a counter of the source where it has one, and from time stamps.

Time stamps jitter, and a program that stalled sends its backlog with late stamps: a jump of the stamps is a loss only
where the samples after it do not catch up. So the samples after a jump, and only these, wait a moment.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.bridge.sensor_source import SourceReading

JUMP_S = 0.1
"""Where nothing is counted, a shorter jump of the stamps is taken for jitter."""
DOUBT_S = 0.6
"""How long samples after a jump may take to catch up."""
STEADY_S = 1.0
"""The earliest stamp of so much signal is the one without delay."""
TRUST_S = 2.0
"""Stamps that jump further ahead than the clock here by this much show no loss: their clock was set."""
MOST_REPEATS = 16
"""A counter that stands still for longer counts nothing."""
LEAST_STEPS = 64
"""Steps from which it is learnt how a counter counts; it shows no loss before."""
LEAST_ORDERLY_SHARE = 0.5
LEAST_WRAP = 256


class LossPiece(NamedTuple):
    """The next `samples`, without a loss between them; `lost` before them."""

    samples: int
    lost: int


class SampleCounter:
    """A number beside each sample or packet, that goes up and begins again somewhere, as at 256.

    `counts`: whether it does. How far its steps are, where it begins again, and how many samples have the same number
    is learnt from it.
    """

    def __init__(self) -> None:
        self.counts = True
        self._learnt: list[float] = []
        self._stride = 1.0
        self._repeats = self._most_repeats = 1
        self._lowest, self._highest = np.inf, 0.0
        self._period = 0.0

    @property
    def learns(self) -> bool:
        """Whether too little was seen to know its steps."""
        return self.counts and len(self._learnt) < LEAST_STEPS

    @property
    def round_samples(self) -> float:
        """Samples until it begins again, as far as is known."""
        return self._wrap() / self._stride * self._most_repeats

    def uneven(self, steps: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return for each step (n,) whether it leaves something out, or begins again."""
        if not self.counts or self.learns:
            return np.zeros(len(steps), bool)
        uneven: NDArray[np.bool_] = (steps != 0) & (steps != self._stride)
        return uneven

    def count_lost(self, last: float, step: float) -> int:
        """Return the samples, less than a round, that a step from the number `last` leaves out."""
        if not self.counts or self.learns or step == 0:
            return 0
        number = last + step
        if step < 0 and last == self._highest and number in (0, self._lowest):
            self._period = self._highest - number + self._stride
        return self._within_round(step)

    def complete(self, step: float, lost: float) -> int:
        """Return how many samples a step leaves out that leaves out about `lost`, which may be more than a round."""
        shown = self._within_round(step)
        return shown + round(max(0, round((lost - shown) / self.round_samples)) * self.round_samples)

    def note(self, numbers: NDArray[np.float64], steps: NDArray[np.float64]) -> None:
        """Learn from the numbers (n,) of samples, and the steps (n,) to them, without those over a loss."""
        self._lowest = min(self._lowest, float(numbers.min()))
        self._highest = max(self._highest, float(numbers.max()))
        for step in steps:
            self._repeats = self._repeats + 1 if step == 0 else 1
            self._most_repeats = max(self._most_repeats, self._repeats)
        if len(self._learnt) < LEAST_STEPS:
            self._learnt += [float(step) for step in steps if not np.isnan(step)]
            if len(self._learnt) >= LEAST_STEPS:
                self._settle()
        self.counts = self.counts and self._most_repeats <= MOST_REPEATS

    def _settle(self) -> None:
        upward = [step for step in self._learnt if step > 0]
        self._stride = float(np.median(upward)) if upward else 0.0
        orderly = sum(step in (0, self._stride) for step in self._learnt)
        self.counts = self._stride > 0 and orderly >= LEAST_ORDERLY_SHARE * len(self._learnt)

    def _within_round(self, step: float) -> int:
        return round((step - self._stride) % self._wrap() / self._stride) * self._most_repeats

    def _wrap(self) -> float:
        """Return after what distance it begins again: a power of two until that was seen."""
        known = self._period or max(LEAST_WRAP, 1 << int(self._highest).bit_length())
        return max(known, self._highest - min(self._lowest, self._highest) + self._stride)


class LossFinder:
    """Finds losses in a stream of `fs` hertz, with a counter where the source has one.

    `doubt_s`: how long samples after a jump of the stamps may take to catch up; 0 where the stamps are the sensor's.
    """

    def __init__(self, fs: float, counter: SampleCounter | None = None, doubt_s: float = DOUBT_S) -> None:
        self._fs, self._counter, self._doubt_s = fs, counter, doubt_s
        self._stamps: NDArray[np.float64] = np.empty(0)
        self._numbers: NDArray[np.float64] = np.empty(0)
        self._lags: deque[tuple[int, float]] = deque()
        """Of the latest pieces the index of the first sample, and the least stamp less the time of a sample's index."""
        self._index = 0
        self._last = (np.nan, np.nan)
        """Stamp and number of the latest sample that was released."""
        self._doubted_s: float | None = None
        self._heard_s = 0.0

    @property
    def counted(self) -> bool:
        """Whether losses are counted, and not only inferred."""
        return self._counter is not None and self._counter.counts

    def find(self, stamps: NDArray[np.float64], numbers: NDArray[np.float64] | None, now_s: float) -> list[LossPiece]:
        """Take stamps (n,) in seconds, and numbers (n,), of samples that have arrived; return what may be sent now.

        What is not part of a piece waits here, in order, for a later call.
        """
        numbers = np.zeros(len(stamps)) if numbers is None else numbers
        waited = len(self._stamps) > 0
        self._stamps = np.concatenate((self._stamps, stamps)) if waited else stamps
        self._numbers = np.concatenate((self._numbers, numbers)) if waited else numbers
        pieces = []
        while len(self._stamps):
            gaps = _differences(self._stamps, self._last[0]) - 1 / self._fs
            steps = _differences(self._numbers, self._last[1])
            marked = np.abs(gaps) > self._jump_s()
            if self._counter is not None:
                marked |= self._counter.uneven(steps)
            marks = np.flatnonzero(marked)
            lost = 0
            if len(marks) and marks[0] == 0:
                found = self._judge(float(gaps[0]), float(steps[0]), now_s)
                if found is None:
                    break
                lost, self._doubted_s = found, None
                steps[0] = np.nan
                marks = marks[1:]
            end = int(marks[0]) if len(marks) else len(gaps)
            if self._counter is not None and self._counter.learns:
                end = min(end, LEAST_STEPS)
            pieces.append(LossPiece(end, lost))
            self._index += lost
            self._release(end, steps[:end])
        if len(stamps):
            self._heard_s = now_s
        return pieces

    def _jump_s(self) -> float:
        """Return the jump of stamps from which a loss is possible that no counter shows."""
        return max(JUMP_S, 0.5 * self._counter.round_samples / self._fs) if self._counter and self.counted else JUMP_S

    def _judge(self, gap_s: float, step: float, now_s: float) -> int | None:
        """Return the samples lost before the first one that waits, None while that is in doubt."""
        counted = self._counter.count_lost(self._last[1], step) if self._counter else 0
        if abs(gap_s) <= self._jump_s() or not self._lags:
            return counted
        if gap_s < 0 or (self._doubted_s is None and gap_s > now_s - self._heard_s + TRUST_S):
            self._lags.clear()
            return counted
        lags = self._stamps - (self._index + np.arange(len(self._stamps))) / self._fs
        excess_s = float(lags.min()) - min(lag for _, lag in self._lags)
        if excess_s <= self._jump_s():
            return counted
        self._doubted_s = now_s if self._doubted_s is None else self._doubted_s
        if now_s - self._doubted_s < self._doubt_s:
            return None
        lost = excess_s * self._fs
        return self._counter.complete(step, lost) if self._counter and self.counted else round(lost)

    def _release(self, count: int, steps: NDArray[np.float64]) -> None:
        latest = self._stamps[max(0, count - max(1, round(STEADY_S * self._fs))) : count]
        self._index += count
        indices = np.arange(self._index - len(latest), self._index)
        self._lags.append((self._index - len(latest), float((latest - indices / self._fs).min())))
        while self._index - self._lags[0][0] > STEADY_S * self._fs and len(self._lags) > 1:
            self._lags.popleft()
        self._last = (float(self._stamps[count - 1]), float(self._numbers[count - 1]))
        if self._counter is not None:
            self._counter.note(self._numbers[:count], steps)
        self._stamps, self._numbers = self._stamps[count:], self._numbers[count:]


def _differences(values: NDArray[np.float64], before: float) -> NDArray[np.float64]:
    """Return the steps (n,) to values (n,) from the ones before them; numpy.diff takes three times as long."""
    steps = np.empty_like(values)
    steps[0] = values[0] - before
    np.subtract(values[1:], values[:-1], out=steps[1:])
    return steps


class SampleIntake:
    """Samples on their way from a source to the bridge: cut into readings where something was lost between them."""

    def __init__(self, finder: LossFinder, leads: int) -> None:
        self.finder = finder
        self._rows: NDArray[np.int32] = np.empty((0, leads), np.int32)
        # The first one has no samples: with it the remark is told, such as how losses are known
        self._ready = deque([SourceReading(self._rows)])

    def add(
        self, rows: NDArray[np.int32], stamps: NDArray[np.float64], numbers: NDArray[np.float64] | None, now_s: float
    ) -> None:
        """Take counts (n, leads) with their stamps (n,) and numbers (n,); none at all where time has only passed."""
        self._rows = np.concatenate((self._rows, rows)) if len(self._rows) else rows
        for samples, lost in self.finder.find(stamps, numbers, now_s):
            self._ready.append(SourceReading(self._rows[:samples], lost))
            self._rows = self._rows[samples:]

    def take(self) -> SourceReading | None:
        """Return the next reading, None where there is none."""
        return self._ready.popleft() if self._ready else None
