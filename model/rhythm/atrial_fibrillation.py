"""Atrial fibrillation from the classified beats of one bed: normal RR irregular, without a pattern, for a minute.

Judged are the last normal intervals, by the logarithm of RR, so that the heart rate does not matter:

- Variation: how far an interval is from the one before. It is the normalised RMSSD of Dash et al. 2009
  (doi:10.1007/s10439-009-9740-z) with their threshold, but taken from the median of the differences, which a few early
  beats and pauses do not move. Where it is huge, short and long intervals alternate.
- Entropy: sample entropy with m = 1, as in the coefficient of sample entropy of Lake and Moorman 2011
  (doi:10.1152/ajpheart.00561.2010) with a tolerance in proportion to RR: how badly an interval is foretold by the one
  before it. Bigeminy, trigeminy, pauses and steady or switching conduction vary much and are foretold well.
- Turning points: the share of intervals longer, or shorter, than both neighbours; two thirds where the order is random.
  Dash's lower threshold; breath makes waves and stays below it.

Intervals that begin or end at a V, F or Q beat are left out. S is normal, since in fibrillation many beats come early
and are said S, except for the entropy and the lower limit of variation: atrial ectopy must not pass for fibrillation.
Atrial flutter with irregular conduction has the intervals of fibrillation and is called so.
"""

from collections import deque
from math import log

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS

SHORTEST_AF_RR_S, LONGEST_AF_RR_S = 0.2, 3.0
"""Other intervals are none: a beat was missed or made up."""
INTERVAL_STRIDE = 8
"""Intervals from one judgement to the next."""
NORMAL_MEDIAN = 0.6745
"""Median size of a normally distributed number with standard deviation 1."""
MOST_VARIATION = 0.6
"""Above it short and long intervals alternate."""
LEAST_TURNING = 0.54
"""Least share of turning points at the start of an episode."""
IRREGULAR_STEP = 0.08
"""Difference in ln(RR) from which an interval is irregular: where an episode begins and ends."""
LEAST_NORMAL_SHARE = 0.6
"""Least share of the beats with a normal interval at the start of an episode: noise and frequent ectopy have fewer."""

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Samples = NDArray[np.int64]


class _IntervalWindow:
    """The last intervals of one kind: sample and number of the beat at the end, ln(RR), and whether the one before
    is the row before."""

    def __init__(self, length: int) -> None:
        self.rows: deque[tuple[int, int, float, bool]] = deque(maxlen=length)
        self._follows = False

    def push(self, sample: int, number: int, logarithm: float) -> None:
        self.rows.append((sample, number, logarithm, self._follows))
        self._follows = True

    def interrupt(self) -> None:
        """The next interval does not follow the last one."""
        self._follows = False

    def forget(self, before: int) -> None:
        """Intervals that ended before sample `before` do not count any more."""
        while self.rows and self.rows[0][0] < before:
            self.rows.popleft()

    def intervals(self) -> tuple[Numbers, Flags]:
        """ln(RR) (n,), and which (n,) follow the one before."""
        logs = np.array([row[2] for row in self.rows])
        follows = np.array([row[3] for row in self.rows])
        follows[:1] = False
        return logs, follows

    def ends(self) -> Samples:
        """Samples (n,) at which the intervals end."""
        return np.array([row[0] for row in self.rows], np.int64)


class IrregularityDetector:
    """Says from beat to beat whether a bed is in atrial fibrillation, and since when.

    `intervals` normal RR intervals are judged together, none older than `memory_s`, and from half of them on. An
    episode is told once the intervals were as irregular as `rr_variation` and `sample_entropy` demand for `least_s`,
    and ends where one of the two falls below the share `keep` of that. Intervals whose ln(RR) differ by less than
    `tolerance` are alike.
    """

    def __init__(
        self,
        *,
        intervals: int = 64,
        variation: float = 0.1,
        entropy: float = 1.1,
        tolerance: float = 0.06,
        keep: float = 0.8,
        least_s: float = 60.0,
        memory_s: float = 180.0,
    ) -> None:
        self._intervals, self._tolerance, self._keep = intervals, tolerance, keep
        self._variation, self._entropy = variation, entropy
        self._least, self._memory = round(least_s * FS), round(memory_s * FS)
        self.reset()

    def reset(self) -> None:
        """A new run: nothing of the old one counts."""
        self._all, self._sinus = _IntervalWindow(self._intervals), _IntervalWindow(self._intervals)
        """Intervals between N and S beats, and those between N beats alone."""
        self._label = ""
        self._number, self._wait = 0, INTERVAL_STRIDE
        self._onset: int | None = None
        """Where the irregular intervals begin that may become an episode, or are one."""
        self._told = False
        self.end: int | None = None
        """Last irregular beat of the episode so far, or of the latest one that is over."""

    def gap(self) -> None:
        """A gap: the next beat has no interval, and no interval follows another across it."""
        self._label = ""
        self._interrupt()

    def beat(self, sample: int, label: str, rr_s: float | None) -> None:
        """Take the next beat: R peak at `sample` (125 Hz), class N, S, V, F or Q, the RR interval that ends at it."""
        before, self._label = self._label, label
        self._number += 1
        if (
            rr_s is None
            or label not in "NS"
            or before not in ("N", "S")
            or not SHORTEST_AF_RR_S < rr_s < LONGEST_AF_RR_S
        ):
            self._interrupt()
            return
        logarithm = log(rr_s)
        self._all.push(sample, self._number, logarithm)
        if label == before == "N":
            self._sinus.push(sample, self._number, logarithm)
        else:
            self._sinus.interrupt()
        self._wait -= 1
        if self._wait == 0:
            self._wait = INTERVAL_STRIDE
            self._judge(sample)

    def state(self, now: int) -> tuple[bool, int | None]:
        """Whether there is fibrillation at sample `now`, and the sample at which it began.

        Without a normal interval for `memory_s` there is none.
        """
        if self._onset is not None and now - self._all.rows[-1][0] > self._memory:
            self._onset, self._told = None, False
        return self._told, self._onset if self._told else None

    def _interrupt(self) -> None:
        self._all.interrupt()
        self._sinus.interrupt()

    def _judge(self, now: int) -> None:
        self._all.forget(now - self._memory)
        self._sinus.forget(now - self._memory)
        if self._irregular():
            if self._onset is None:
                self._onset = max(self._first(), self.end or 0)
            self._told = self._told or now - self._onset >= self._least
            if self._told:
                self.end = now
        elif self._onset is not None:
            if self._told:
                self.end = max(self._onset, self._last())
            self._onset, self._told = None, False

    def _irregular(self) -> bool:
        """Whether the intervals are those of fibrillation: easier to stay in it than to begin."""
        if 2 * len(self._sinus.rows) < self._intervals:
            return False
        share = 1.0 if self._onset is None else self._keep
        logs, follows = self._sinus.intervals()
        if rr_variation(logs, follows) < share * self._variation:
            return False
        every, joined = self._all.intervals()
        if rr_variation(every, joined) > MOST_VARIATION / share:
            return False
        if self._onset is None:
            beats = self._number - self._all.rows[0][1] + 1
            if len(every) < LEAST_NORMAL_SHARE * beats or turning_share(every, joined) < LEAST_TURNING:
                return False
        return sample_entropy(logs, follows, self._tolerance) >= share * self._entropy

    def _first(self) -> int:
        """Where the irregular end of the window begins: from there on irregular intervals outnumber others most."""
        excess, ends = self._excess()
        return int(ends[np.cumsum(excess[::-1])[::-1].argmax()])

    def _last(self) -> int:
        """Where the irregular beginning of the window ends: until there irregular intervals outnumber others most."""
        excess, ends = self._excess()
        return int(ends[np.cumsum(excess).argmax()]) if len(ends) else self._all.rows[-1][0]

    def _excess(self) -> tuple[Samples, Samples]:
        """1 for each irregular interval and -1 for each other, and where they end."""
        logs, follows = self._all.intervals()
        return np.where(_log_rr_steps(logs, follows) > IRREGULAR_STEP, 1, -1), self._all.ends()[follows]


def rr_variation(logs: Numbers, follows: Flags) -> float:
    """Robust normalised RMSSD of intervals (n,), given as ln(RR); 0 where fewer than a third `follows` (n,) another."""
    steps = _log_rr_steps(logs, follows)
    return float(np.median(steps)) / NORMAL_MEDIAN if 3 * len(steps) >= len(logs) > 0 else 0.0


def turning_share(logs: Numbers, follows: Flags) -> float:
    """Share of intervals that are longer or shorter than both neighbours."""
    steps = np.diff(logs)
    turns = (steps[1:] * steps[:-1] < 0)[follows[1:-1] & follows[2:]]
    return float(turns.mean()) if len(turns) else 0.0


def sample_entropy(logs: Numbers, follows: Flags, tolerance: float) -> float:
    """Sample entropy, m = 1: -ln of how often two intervals that are alike are followed by two that are alike."""
    at = np.flatnonzero(follows)
    before, after = logs[at - 1], logs[at]
    alike = np.abs(before[:, None] - before) < tolerance
    foretold = alike & (np.abs(after[:, None] - after) < tolerance)
    pairs, both = int(np.count_nonzero(alike)) - len(at), int(np.count_nonzero(foretold)) - len(at)
    return log(max(pairs, 1) / max(both, 1))


def _log_rr_steps(logs: Numbers, follows: Flags) -> Numbers:
    return np.abs(np.diff(logs)[follows[1:]])
