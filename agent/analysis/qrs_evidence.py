"""What speaks for a QRS candidate being a beat: terms that compare it with what a bed has shown so far.

The score of a candidate, its log-odds of being a beat, is the sum of the terms times WEIGHTS. The weights are those of
a logistic regression, `python -m benchmarks.detector_fit --svdb FOLDER --rounds 2`, on the records of de Chazal's DS1
(doi:10.1109/TBME.2004.827359) and half of the MIT-BIH Supraventricular Arrhythmia Database (doi:10.13026/C2V30W): both
leads, clean, with recorded noise and with synthetic electrode motion. The bias alone is not the fitted one, -1.58. With
-1.1 fewer beats are missed and more are found in excess: of these the net rejects most, and what is missed is lost.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from functools import reduce
from operator import add, mul

import msgspec
import numpy as np
from numpy.typing import NDArray

from agent.analysis.qrs_filter import LAGS, SHAPE

WEIGHTS = {
    "bias": -1.1,
    "size": 3.08,
    "excess": -4.17,
    "sharpness": -0.56,
    "alike": 1.60,
    "apart": 0.10,
    "apart_on_one_side": 0.05,
    "clear": 1.17,
    "t_wave": -0.85,
    "blunt_t_wave": -1.39,
    "early": -2.70,
    "on_time": 4.16,
    "waited": 1.41,
    "noise": -0.37,
    "regularity": -1.10,
    "followed": -1.14,
    "rival": -0.53,
}
"""Weight of each term of `QrsEvidence.terms`; the last two count if another candidate follows soon."""
OWN_TERMS = slice(1, 8)
"""The terms that say what a candidate looks like, whenever it comes."""
FOLLOWED_TERM, RIVAL_TERM = 15, 16
MOST_RIVAL = 6.0
T_WAVE_END, T_WAVE_LENGTH = 56, 25
"""From 450 ms down to 250 ms after a beat, a candidate is ever more likely its T wave."""
FIRST_ON_TIME = 0.2
"""What is assumed for `on_time` before the first beat."""
LEVEL_COUNT = 12
"""Beats, other candidates and intervals that make up a level."""
SHAPES = 8
"""Beats whose shapes are kept. One more shape is that of the last candidate that was none, but larger than a beat."""
MOST_LARGER = 8
"""So many candidates of one shape, larger than a beat by half and rejected one after the other, are beats after all."""
MOST_TWINS = 8
"""So many rejected candidates, all like the beats between them, show that the heart is faster than it seemed, ..."""
LONGEST_STEP, TWIN_TOLERANCE = 25, 0.2
"""... if each comes within 200 ms of the candidate before it, too soon for a T wave; the logarithms of size and
sharpness may differ by this much."""
USUAL_LIKENESS, SMALL = 0.85, 2.3
"""What is assumed before there are two beats to compare with, and of a candidate of less than a tenth of a beat."""


class QrsCandidate(msgspec.Struct, frozen=True, gc=False):
    """A candidate that was certain at sample `known`, with its R peak `sample`.

    `size` is the logarithm of its energy, `sharpness` that of its greatest curvature, `before` and `after` those of the
    energy 144 ms away. `shapes` (SHAPE, LAGS) is the band-passed signal at all lags, of norm 1 in the middle.
    """

    known: int
    sample: int
    size: float
    sharpness: float
    before: float
    after: float
    shapes: NDArray[np.float64]


def score_terms(terms: list[float]) -> float:
    """Return the log-odds of a beat."""
    return _sum_of_products(WEIGHT_VALUES, terms)


def count_follower(terms: list[float], look: list[float]) -> None:
    """Set the terms of a candidate that say that another one follows, which looks like `look`."""
    own = WEIGHT_VALUES[OWN_TERMS]
    lead = _sum_of_products(own, look) - _sum_of_products(own, terms[OWN_TERMS])
    terms[FOLLOWED_TERM], terms[RIVAL_TERM] = 1.0, _limit(lead, -MOST_RIVAL, MOST_RIVAL)


def correlate_shapes(kept: NDArray[np.float64], shapes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the greatest sums of products (n,) of shapes (SHAPE, n) and one at any lag (SHAPE, LAGS).

    Summed sample by sample. No product of matrices: its order hangs on the processor.
    """
    sums = np.add.reduce(shapes[:, :, None] * kept[:, None], axis=0)
    best: NDArray[np.float64] = np.maximum.reduce(sums, axis=0)
    return best


class QrsEvidence:
    """Levels, shapes and intervals of one bed."""

    __slots__ = (
        "_beats",
        "_beats_seen",
        "_floors",
        "_intervals",
        "_kept",
        "_larger_count",
        "_last",
        "_likeness",
        "_previous",
        "_regularity",
        "_shapes",
        "_sharpness",
        "_shortest",
        "_twin_count",
        "_usual",
    )

    def __init__(self, candidates: list[QrsCandidate]) -> None:
        """Learn the first levels from `candidates`, of which the largest are taken for beats."""
        level = usual_of_largest(candidates)
        sharpness = sorted(candidate.sharpness for candidate in candidates if candidate.size > level - 1)
        self._beats = _Level(level)
        # The sharpest quarter: a T wave may be as large as the QRS complex, but it is not as sharp.
        self._sharpness = _Level(sharpness[-max(1, len(sharpness) // 4)])
        self._floors = _Level(_upper_median([min(one.before, one.after) for one in candidates]))
        self._likeness = _Level(USUAL_LIKENESS, 1)
        self._larger_count = self._twin_count = self._previous = 0
        self._shapes = np.zeros((SHAPE, SHAPES + 1))
        self._kept = self._shapes[:, :SHAPES]
        self._beats_seen = 0
        self._last: QrsCandidate | None = None
        self._intervals: list[int] = []
        self._shortest = self._usual = 0
        self._regularity = 0.0

    @property
    def is_trusted(self) -> bool:
        """Whether the beats look like each other: those of noise do not."""
        return self._likeness.value > 0.75

    @property
    def is_reversed(self) -> bool:
        """Whether what is rejected is larger than the beats, and of one shape."""
        return self._larger_count >= MOST_LARGER

    def has_size_of_beat(self, candidate: QrsCandidate) -> bool:
        return candidate.size > self._beats.value - 1.4

    def resembles_beats(self, candidate: QrsCandidate) -> bool:
        """Whether a candidate is a beat but for its size: it has their shape, and is as sharp for its size."""
        blunter = self._sharpness.value - self._beats.value - candidate.sharpness + candidate.size
        return blunter < 0.3 and self._liken(candidate) > 0.9

    def look(self, candidate: QrsCandidate) -> list[float]:
        """Return the terms `size` to `clear`: how a candidate looks beside the beats."""
        low, high = candidate.before, candidate.after
        if low > high:
            low, high = high, low
        self._floors.add(low)
        size = candidate.size
        beyond, apart, apart_on_one_side = size - self._beats.value, size - high, size - low
        return [
            _limit(beyond, -3.0, 0.3),
            _limit(beyond - 0.3, 0.0, 1.0),
            _limit(candidate.sharpness - self._sharpness.value, -2.0, 1.0),
            self._liken(candidate) - self._likeness.value,
            _limit(apart, -0.5, 3.0),
            _limit(apart_on_one_side, 0.0, 4.0),
            _limit(size - self._floors.value, 0.0, 5.0),
        ]

    def terms(self, candidate: QrsCandidate, look: list[float]) -> list[float]:
        """Return all terms of a candidate with this `look`, in the order of WEIGHTS, as far as the past can tell."""
        noise = _limit(self._floors.value - self._beats.value, -5.0, 0.0)
        return [1.0, *look, *self._time_terms(candidate), noise, self._regularity, 0.0, 0.0]

    def accept(self, candidate: QrsCandidate, terms: list[float]) -> None:
        """Take note of a beat and of its terms."""
        if self._last:
            self._intervals = [*self._intervals[1 - LEVEL_COUNT :], candidate.known - self._last.known]
            if len(self._intervals) > 2:
                ordered = sorted(self._intervals)
                # The second shortest: if some beats come early, an early beat is no surprise.
                self._shortest, self._usual = ordered[1], ordered[len(ordered) // 2]
                near = bisect_right(ordered, 1.12 * self._usual) - bisect_left(ordered, 0.88 * self._usual)
                self._regularity = near / len(ordered)
        self._last, self._previous = candidate, candidate.known
        if self._beats_seen > 1:
            self._likeness.add(terms[_ALIKE] + self._likeness.value)
        self._beats.add(candidate.size)
        self._sharpness.add(candidate.sharpness)
        self._shapes[:, self._beats_seen % SHAPES] = candidate.shapes[:, _MIDDLE_LAG]
        self._beats_seen += 1

    def reject(self, candidate: QrsCandidate) -> None:
        """Take note of a candidate that is no beat: of those larger than a beat, whether they look like each other."""
        if candidate.size > self._beats.value + 0.7:
            alike = correlate_shapes(self._shapes[:, SHAPES:], candidate.shapes).item() > 0.9
            self._larger_count = self._larger_count + 1 if alike else 0
            self._shapes[:, SHAPES] = candidate.shapes[:, _MIDDLE_LAG]
        step, self._previous = candidate.known - self._previous, candidate.known
        self._twin_count = self._twin_count + 1 if step <= LONGEST_STEP and self._is_twin(candidate) else 0
        if self._twin_count >= MOST_TWINS:
            self._expect_beats_every(step)

    def _is_twin(self, candidate: QrsCandidate) -> bool:
        """Whether a candidate is like the beats in size, sharpness and shape."""
        return (
            abs(candidate.size - self._beats.value) < TWIN_TOLERANCE
            and abs(candidate.sharpness - self._sharpness.value) < TWIN_TOLERANCE
            and self._liken(candidate) > 0.9
        )

    def _expect_beats_every(self, step: int) -> None:
        """Replace the intervals by `step` samples: those that were measured left beats out."""
        self._intervals = [step] * LEVEL_COUNT
        self._shortest = self._usual = step
        self._regularity, self._twin_count = 1.0, 0

    def _time_terms(self, candidate: QrsCandidate) -> tuple[float, float, float, float, float]:
        """Return the terms `t_wave` to `waited`."""
        if not self._last:
            return 0.0, 0.0, 0.0, FIRST_ON_TIME, 1.0
        since = candidate.known - self._last.known
        # A T wave follows its R peak by 250 to 450 ms; what comes that soon is more likely one than another beat.
        t_wave = blunt = 0.0
        if since < T_WAVE_END:
            t_wave = _limit((T_WAVE_END - since) / T_WAVE_LENGTH, 0.0, 1.0)
            blunt = t_wave * _limit(self._last.sharpness - candidate.sharpness, 0.0, 2.0)
        if not self._usual:
            return t_wave, blunt, 0.0, 0.0, 1.0
        # Earlier than all but one of the latest intervals: a P or T wave rather than an ectopic beat.
        early = _limit(0.9 - since / self._shortest, 0.0, 0.6)
        intervals = since / self._usual
        away = 1 - abs(intervals - 1) / 0.15
        on_time = self._regularity * away if away > 0.0 else 0.0
        return t_wave, blunt, early, on_time, intervals if intervals < 2.0 else 2.0

    def _liken(self, candidate: QrsCandidate) -> float:
        """Return the second best correlation of a candidate with the beats, 0 to 1."""
        if self._beats_seen < 2 or candidate.size < self._beats.value - SMALL:
            return USUAL_LIKENESS
        likenesses = sorted(correlate_shapes(self._kept, candidate.shapes).tolist())
        second: float = likenesses[-2]
        return second if second > 0.0 else 0.0


class _Level:
    """The median of the last values."""

    __slots__ = ("_ordered", "value", "values")

    def __init__(self, value: float, count: int = 3) -> None:
        """Begin with a value that counts `count` times."""
        self.value = value
        self.values = deque([value] * count)
        self._ordered = [value] * count

    def add(self, value: float) -> None:
        """Take the next value; the one LEVEL_COUNT before it no longer counts."""
        values, ordered = self.values, self._ordered
        if len(values) == LEVEL_COUNT:
            del ordered[bisect_left(ordered, values.popleft())]
        values.append(value)
        insort(ordered, value)
        self.value = ordered[len(ordered) // 2]


def usual_of_largest(candidates: list[QrsCandidate]) -> float:
    """Return the size of a beat if `candidates` are those of a while: each third of the while has one."""
    first, last = candidates[0].known, candidates[-1].known
    highest = [min(candidate.size for candidate in candidates)] * 3
    for candidate in candidates:
        part = min(2, 3 * (candidate.known - first) // max(1, last - first))
        highest[part] = max(highest[part], candidate.size)
    highest.sort()
    return max(highest[1], highest[2] - 0.9)


def _sum_of_products(values: list[float], others: list[float]) -> float:
    """Return the sum in the order of the values: `sum` has had another way of rounding since Python 3.12."""
    return reduce(add, map(mul, values, others), 0.0)


def _upper_median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _limit(value: float, least: float, most: float) -> float:
    return least if value < least else most if value > most else value


WEIGHT_VALUES = list(WEIGHTS.values())
_MIDDLE_LAG = LAGS // 2
_ALIKE = list(WEIGHTS).index("alike")
