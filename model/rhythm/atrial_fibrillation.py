"""Detection of atrial fibrillation from classified beats: normal RR intervals irregular without a pattern.

The latest normal intervals are measured by the logarithm of RR, so that the heart rate does not matter:

- Variation: how much an interval differs from the one before. It is the normalised RMSSD of Dash et al. 2009
  (doi:10.1007/s10439-009-9740-z) with their threshold, but taken from the median of the differences, which a few early
  beats and pauses do not move. If it is huge, short and long intervals alternate.
- Entropy: sample entropy with m = 1, as in the coefficient of sample entropy of Lake and Moorman 2011
  (doi:10.1152/ajpheart.00561.2010), with a tolerance in proportion to RR: how badly an interval predicts the next one.
  Bigeminy, trigeminy, pauses and steady or switching conduction vary much but are predictable.
- Correlation of each interval with the one before: none in random order. Breathing makes waves of equal sign.
- Excess of equal pairs: how many more pairs of intervals are equal than if they scattered around one mean. Sinus rhythm
  with frequent atrial beats, block, and pacing with lapses keep to a few values.

The thresholds were chosen on a quarter of the Long-Term AF and of the MIT-BIH AF Databases, as annotated and with
errors of classes as a net makes them. `python -m benchmarks.fibrillation` has the figures of other records.

Intervals that begin or end at a V, F or Q beat are left out. S beats are normal here, since many beats of fibrillation
come early and are called S: without them what is left is less irregular. But the intervals between N beats must vary,
too: a sinus rhythm with atrial ectopy that is known as such is no fibrillation. Atrial flutter with irregular
conduction has the intervals of fibrillation and is reported as such.
"""

from collections import deque
from itertools import islice
from math import erf, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS

SHORTEST_AF_RR_S, LONGEST_AF_RR_S = 0.2, 3.0
"""Outside these limits a beat was missed or detected falsely."""
INTERVAL_STRIDE = 8
"""Intervals from one evaluation to the next."""
NORMAL_MEDIAN = 0.6745
"""Median absolute value of a normally distributed number with standard deviation 1."""
MOST_VARIATION = 0.6
"""Above this, short and long intervals alternate."""
MOST_CORRELATION = 0.4
"""Most correlation of successive intervals at the start of an episode."""
IRREGULAR_STEP = 0.08
"""An interval is irregular if its ln(RR) differs by more than this: that sets where an episode begins and ends."""
ALL_EQUAL = 1e-24
"""Product of the squared deviations from two means that is nothing but rounding."""
LEAST_NORMAL_SHARE = 0.6
"""Least share of beats with a normal interval at the start of an episode: noise and frequent ectopy have fewer."""

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Samples = NDArray[np.int64]


class _IntervalWindow:
    """The latest intervals of one kind.

    A row holds sample and number of the beat at the end, ln(RR), and how much that differs from the row before; None if
    the interval before is not the row before.
    """

    def __init__(self, length: int) -> None:
        self.rows: deque[tuple[int, int, float, float | None]] = deque(maxlen=length)
        self._follows = False

    def push(self, sample: int, number: int, logarithm: float) -> None:
        """Add an interval."""
        step = abs(logarithm - self.rows[-1][2]) if self._follows and self.rows else None
        self.rows.append((sample, number, logarithm, step))
        self._follows = True

    def interrupt(self) -> None:
        """Make the next interval one that does not follow the last one."""
        self._follows = False

    def drop_before(self, before: int) -> None:
        """Drop the intervals that ended before sample `before`."""
        while self.rows and self.rows[0][0] < before:
            self.rows.popleft()

    def intervals(self) -> tuple[Numbers, Flags]:
        """Return ln(RR) (n,), and which intervals (n,) follow the one before."""
        logs = np.array([row[2] for row in self.rows])
        follows = np.array([row[3] is not None for row in self.rows])
        follows[:1] = False
        return logs, follows

    def steps(self) -> list[tuple[float, int]]:
        """Return how much ln(RR) of each interval differs that follows the one before, and the sample at its end."""
        return [(step, sample) for sample, _, _, step in islice(self.rows, 1, None) if step is not None]

    def variation(self) -> float:
        """Return the robust normalised RMSSD; 0 if fewer than a third of the intervals follow the one before."""
        steps = sorted([step for _, _, _, step in islice(self.rows, 1, None) if step is not None])
        if not 3 * len(steps) >= len(self.rows) > 0:
            return 0.0
        return (steps[(len(steps) - 1) // 2] + steps[len(steps) // 2]) / 2 / NORMAL_MEDIAN


class IrregularityDetector:
    """Tells from beat to beat whether a bed is in atrial fibrillation, and since when.

    Parameters
    ----------
    intervals : int
        Normal RR intervals that are evaluated together; half of them are enough.
    variation, entropy : float
        Least `_IntervalWindow.variation` and `sample_entropy` of fibrillation.
    tolerance : float
        Intervals whose ln(RR) differ by less are alike.
    excess : float
        Most `pair_excess` at the start of an episode.
    keep : float
        An episode ends once variation or entropy falls below this share of its least value.
    least_s : float
        Seconds of irregular intervals before an episode is reported, at the end of which it must look like a start.
    memory_s : float
        Seconds after which an interval no longer counts.
    """

    def __init__(
        self,
        *,
        intervals: int = 64,
        variation: float = 0.1,
        entropy: float = 1.3,
        tolerance: float = 0.06,
        excess: float = 1.35,
        keep: float = 0.5,
        least_s: float = 30.0,
        memory_s: float = 180.0,
    ) -> None:
        self._intervals = intervals
        self._variation = variation
        self._entropy = entropy
        self._tolerance = tolerance
        self._most_excess = excess
        self._keep = keep
        self._least = round(least_s * FS)
        self._memory = round(memory_s * FS)
        self.start()

    def start(self) -> None:
        """Forget everything: a new run begins."""
        self._all = _IntervalWindow(self._intervals)
        """Intervals between N and S beats."""
        self._sinus = _IntervalWindow(self._intervals)
        """Intervals between N beats alone."""
        self._last_label = ""
        self._beat_count = 0
        self._until_evaluation = INTERVAL_STRIDE
        self._onset: int | None = None
        """Sample at which the irregular intervals begin that are an episode, or may become one."""
        self._reported = False
        self.end: int | None = None
        """Last irregular beat of the current episode, or of the latest one."""

    def interrupt(self) -> None:
        """Note a gap: no interval crosses it, and none follows another across it."""
        self._last_label = ""
        self._skip_interval()

    def push(self, sample: int, label: str, rr_s: float | None) -> None:
        """Add the next beat: R peak at `sample` (125 Hz), class N, S, V, F or Q, the RR interval that ends at it."""
        before, self._last_label = self._last_label, label
        self._beat_count += 1
        normal = label in ("N", "S") and before in ("N", "S")
        if rr_s is None or not normal or not SHORTEST_AF_RR_S < rr_s < LONGEST_AF_RR_S:
            self._skip_interval()
            return
        logarithm = log(rr_s)
        self._all.push(sample, self._beat_count, logarithm)
        if label == before == "N":
            self._sinus.push(sample, self._beat_count, logarithm)
        else:
            self._sinus.interrupt()
        self._until_evaluation -= 1
        if self._until_evaluation == 0:
            self._until_evaluation = INTERVAL_STRIDE
            self._evaluate(sample)

    def state(self, now: int) -> tuple[bool, int | None]:
        """Return whether there is fibrillation at sample `now`, and the sample at which it began.

        An episode ends after `memory_s` without a normal interval.
        """
        if self._onset is not None and now - self._all.rows[-1][0] > self._memory:
            self._onset = None
            self._reported = False
        return self._reported, self._onset if self._reported else None

    def _skip_interval(self) -> None:
        """Leave out an interval: the next one does not follow the one before."""
        self._all.interrupt()
        self._sinus.interrupt()

    def _evaluate(self, now: int) -> None:
        """Begin, continue or end an episode by the intervals so far."""
        self._all.drop_before(now - self._memory)
        self._sinus.drop_before(now - self._memory)
        begins = self._is_irregular(1.0)
        if begins or (self._onset is not None and self._is_irregular(self._keep)):
            if self._onset is None:
                self._onset = max(self._first_irregular(), self.end or 0)
            self._reported = self._reported or (begins and now - self._onset >= self._least)
            if self._reported:
                self.end = now
        elif self._onset is not None:
            if self._reported:
                self.end = max(self._onset, self._last_irregular())
            self._onset = None
            self._reported = False

    def _is_irregular(self, share: float) -> bool:
        """Return whether the intervals are those of fibrillation; a `share` below 1 of the limits lets it go on."""
        if 2 * len(self._all.rows) < self._intervals or 3 * len(self._sinus.rows) < self._intervals:
            return False
        if self._sinus.variation() < share * self._variation:
            return False
        if self._all.variation() > MOST_VARIATION / share:
            return False
        logs, follows = self._all.intervals()
        if share == 1.0:
            beats = self._beat_count - self._all.rows[0][1] + 1
            if len(logs) < LEAST_NORMAL_SHARE * beats or pair_excess(logs, self._tolerance) > self._most_excess:
                return False
            if serial_correlation(logs, follows) > MOST_CORRELATION:
                return False
        return sample_entropy(logs, follows, self._tolerance) >= share * self._entropy

    def _first_irregular(self) -> int:
        """Return the sample from which on irregular intervals outnumber the others most, to the end of the window."""
        excess, ends = self._excess()
        return int(ends[np.cumsum(excess[::-1])[::-1].argmax()])

    def _last_irregular(self) -> int:
        """Return the sample up to which irregular intervals outnumber the others most, from the window's beginning."""
        excess, ends = self._excess()
        return int(ends[np.cumsum(excess).argmax()]) if len(ends) else self._all.rows[-1][0]

    def _excess(self) -> tuple[Samples, Samples]:
        """Return 1 for each irregular interval and -1 for each other (n,), and the samples (n,) at which they end."""
        steps = self._all.steps()
        ends = np.array([sample for _, sample in steps], np.int64)
        return np.array([1 if step > IRREGULAR_STEP else -1 for step, _ in steps], np.int64), ends


def serial_correlation(logs: Numbers, follows: Flags) -> float:
    """Return the correlation (-1 to 1) of intervals, given as ln(RR) (n,), with the one before.

    Only intervals count that follow the one before (`follows` (n,)); 0 if they are all equal.
    """
    index = np.flatnonzero(follows)
    if len(index) < 2:
        return 0.0
    before, after = logs[index - 1], logs[index]
    before, after = before - before.mean(), after - after.mean()
    square = float((before @ before) * (after @ after))
    return float(before @ after) / sqrt(square) if square > ALL_EQUAL else 0.0


def sample_entropy(logs: Numbers, follows: Flags, tolerance: float) -> float:
    """Return the sample entropy with m = 1 of intervals, given as ln(RR) (n,).

    It is -ln of the share of pairs of intervals alike (closer than `tolerance`) whose next intervals are alike too.
    `follows` (n,) tells which intervals follow the one before. Without any pair that is alike it is finite, since a
    count of 0 is taken as 1.
    """
    index = np.flatnonzero(follows)
    before, after = logs[index - 1], logs[index]
    alike = np.abs(before[:, None] - before) < tolerance  # (k, k)
    both_alike = alike & (np.abs(after[:, None] - after) < tolerance)
    pairs = int(np.count_nonzero(alike)) - len(index)  # without each interval's pair with itself
    matches = int(np.count_nonzero(both_alike)) - len(index)
    return log(max(pairs, 1) / max(matches, 1))


def pair_excess(logs: Numbers, tolerance: float) -> float:
    """Return how many more pairs of intervals are alike than if they scattered normally around one mean.

    Intervals are given as ln(RR) (n,), and are alike if closer than `tolerance`. Scattered ones give about 1, those
    that keep to a few values more.
    """
    spread, count = float(logs.std()), len(logs)
    if spread == 0.0 or count < 2:
        return inf
    alike = int(np.count_nonzero(np.abs(logs[:, None] - logs) < tolerance)) - count
    return alike / (count * (count - 1)) / erf(tolerance / (2 * spread))
