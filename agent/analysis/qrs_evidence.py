"""What speaks for a QRS candidate being a beat: terms that compare it with what a bed has shown so far.

The score of a candidate, its log-odds of being a beat, is the sum of the terms times WEIGHTS. The weights are those of
a logistic regression, `python -m benchmarks.detector_fit`, on the candidates of de Chazal's DS1
(doi:10.1109/TBME.2004.827359) and of half of the MIT-BIH Supraventricular Arrhythmia Database (doi:10.13026/C2V30W):
both leads, clean, with recorded muscle noise and with synthetic electrode motion.
"""

from operator import mul
from typing import NamedTuple

import numpy as np

from agent.analysis.qrs_filter import SHAPE
from agent.core.messages import FloatArray

WEIGHTS = {
    "bias": -1.67,
    "size": 2.14,
    "excess": -3.05,
    "sharpness": 0.55,
    "alike": 1.83,
    "apart": -0.29,
    "apart_on_one_side": 0.14,
    "clear": 0.90,
    "t_wave": -1.38,
    "blunt_t_wave": -1.21,
    "early": -2.04,
    "on_time": 4.00,
    "waited": 1.19,
    "noise": -0.72,
    "regularity": -0.79,
    "followed": -0.83,
    "rival": -0.47,
}
"""Weight of each term of `QrsEvidence.terms`; the last two count if another candidate follows soon."""
OWN_TERMS = slice(1, 8)
"""The terms that say what a candidate looks like, whenever it comes."""
FOLLOWED_TERM, RIVAL_TERM = 15, 16
MOST_RIVAL = 6.0
T_WAVE_END, T_WAVE_LENGTH = 56, 25
"""From 450 ms down to 250 ms after a beat, a candidate is ever more likely its T wave."""
LEVEL_COUNT = 12
"""Beats, other candidates and intervals that make up a level."""
SHAPES = 8
"""Beats, and other candidates, whose shapes are kept."""
USUAL_LIKENESS, USUAL_LIKENESS_OF_REJECTED = 0.85, 0.6
"""What is assumed before there are two to compare with."""


class QrsCandidate(NamedTuple):
    """A candidate that was certain at sample `known`, with its R peak `sample`.

    `size` is the logarithm of its energy, `sharpness` that of its greatest curvature, `before` and `after` those of the
    energy 144 ms away. `shapes` (LAGS, SHAPE) is the band-passed signal at all lags, of norm 1 in the middle.
    """

    known: int
    sample: int
    size: float
    sharpness: float
    before: float
    after: float
    shapes: FloatArray


def score_terms(terms: list[float]) -> float:
    """Return the log-odds of a beat."""
    return float(sum(map(mul, WEIGHT_VALUES, terms)))


def count_follower(terms: list[float], following: list[float]) -> None:
    """Set the terms of a candidate that say that another one follows, whose terms are `following`."""
    lead = sum(map(mul, WEIGHT_VALUES[OWN_TERMS], following[OWN_TERMS])) - sum(
        map(mul, WEIGHT_VALUES[OWN_TERMS], terms[OWN_TERMS])
    )
    terms[FOLLOWED_TERM], terms[RIVAL_TERM] = 1.0, _limit(lead, -MOST_RIVAL, MOST_RIVAL)


class QrsEvidence:
    """Levels, shapes and intervals of one bed."""

    __slots__ = (
        "_beats",
        "_floors",
        "_intervals",
        "_last",
        "_likeness",
        "_noise",
        "_regularity",
        "_rejected_likeness",
        "_shape_counts",
        "_shapes",
        "_sharpness",
        "_shortest",
        "_usual",
    )

    def __init__(self, candidates: list[QrsCandidate]) -> None:
        """Learn the first levels from `candidates`, of which the largest are taken for beats."""
        level = usual_of_largest(candidates)
        noise = [candidate.size for candidate in candidates if candidate.size < level - 1.2]
        sharpness = sorted(candidate.sharpness for candidate in candidates if candidate.size > level - 1)
        self._beats = _Level(level)
        self._noise = _Level(_upper_median(noise) if noise else level - 2.3)
        # The sharpest quarter: a T wave may be as large as the QRS complex, but it is not as sharp.
        self._sharpness = _Level(sharpness[-max(1, len(sharpness) // 4)])
        self._floors = _Level(_upper_median([min(one.before, one.after) for one in candidates]))
        self._likeness = _Level(USUAL_LIKENESS, 1)
        self._rejected_likeness = _Level(0.0, 1)
        self._shapes = np.zeros((2 * SHAPES, SHAPE))
        self._shape_counts = [0, 0]
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
        enough = len(self._rejected_likeness.values) == LEVEL_COUNT
        return enough and self._noise.value > self._beats.value + 0.7 and self._rejected_likeness.value > 0.9

    def has_size_of_beat(self, candidate: QrsCandidate) -> bool:
        return candidate.size > self._beats.value - 1.4

    def resembles_beats(self, candidate: QrsCandidate) -> bool:
        """Whether a candidate is a beat but for its size: it has their shape, and is as sharp for its size."""
        blunter = self._sharpness.value - self._beats.value - candidate.sharpness + candidate.size
        return blunter < 0.3 and self._liken(candidate)[0] > 0.9

    def terms(self, candidate: QrsCandidate) -> list[float]:
        """Return the terms of the score, in the order of WEIGHTS, as far as the past can tell."""
        self._floors.add(min(candidate.before, candidate.after))
        larger = candidate.size - self._beats.value
        like = self._liken(candidate)[0]
        apart = sorted((candidate.size - candidate.before, candidate.size - candidate.after))
        return [
            1.0,
            _limit(larger, -3.0, 0.3),
            _limit(larger - 0.3, 0.0, 1.0),
            _limit(candidate.sharpness - self._sharpness.value, -2.0, 1.0),
            like - self._likeness.value,
            _limit(apart[0], -0.5, 3.0),
            _limit(apart[1], 0.0, 4.0),
            _limit(candidate.size - self._floors.value, 0.0, 5.0),
            *self._time_terms(candidate),
            _limit(self._floors.value - self._beats.value, -5.0, 0.0),
            self._regularity,
            0.0,
            0.0,
        ]

    def accept(self, candidate: QrsCandidate, terms: list[float]) -> None:
        """Take note of a beat and of its terms."""
        if self._last:
            self._intervals = [*self._intervals[1 - LEVEL_COUNT :], candidate.known - self._last.known]
            if len(self._intervals) > 2:
                ordered = sorted(self._intervals)
                # The second shortest: if some beats come early, an early beat is no surprise.
                self._shortest, self._usual = ordered[1], ordered[len(ordered) // 2]
                near = sum(0.88 * self._usual <= interval <= 1.12 * self._usual for interval in ordered)
                self._regularity = near / len(ordered)
        self._last = candidate
        if self._shape_counts[0] > 1:
            self._likeness.add(terms[_ALIKE] + self._likeness.value)
        self._beats.add(candidate.size)
        self._sharpness.add(candidate.sharpness)
        self._keep_shape(0, candidate)

    def reject(self, candidate: QrsCandidate) -> None:
        """Take note of a candidate that is no beat."""
        self._noise.add(candidate.size)
        self._rejected_likeness.add(self._liken(candidate)[1])
        self._keep_shape(1, candidate)

    def _time_terms(self, candidate: QrsCandidate) -> tuple[float, float, float, float, float]:
        """Return the terms `t_wave` to `waited`."""
        if not self._last:
            return 0.0, 0.0, 0.0, 0.0, 1.0
        since = candidate.known - self._last.known
        # A T wave follows its R peak by 250 to 450 ms; what comes that soon is more likely one than another beat.
        t_wave = _limit((T_WAVE_END - since) / T_WAVE_LENGTH, 0.0, 1.0)
        blunt = t_wave * _limit(self._last.sharpness - candidate.sharpness, 0.0, 2.0)
        if not self._usual:
            return t_wave, blunt, 0.0, 0.0, 1.0
        # Earlier than all but one of the latest intervals: a P or T wave rather than an ectopic beat.
        early = _limit(0.9 - since / self._shortest, 0.0, 0.6)
        intervals = since / self._usual
        on_time = self._regularity * max(0.0, 1 - abs(intervals - 1) / 0.15)
        return t_wave, blunt, early, on_time, min(2.0, intervals)

    def _liken(self, candidate: QrsCandidate) -> tuple[float, float]:
        """Return the second best correlation of a candidate with the beats and with the other candidates, 0 to 1."""
        like = (self._shapes @ candidate.shapes.T).max(axis=1).tolist()
        beats, rejected = sorted(like[:SHAPES])[-2], sorted(like[SHAPES:])[-2]
        return (
            max(0.0, beats) if self._shape_counts[0] > 1 else USUAL_LIKENESS,
            max(0.0, rejected) if self._shape_counts[1] > 1 else USUAL_LIKENESS_OF_REJECTED,
        )

    def _keep_shape(self, kind: int, candidate: QrsCandidate) -> None:
        place = SHAPES * kind + self._shape_counts[kind] % SHAPES
        self._shape_counts[kind] += 1
        self._shapes[place] = candidate.shapes[len(candidate.shapes) // 2]


class _Level:
    """The median of the last values."""

    __slots__ = ("value", "values")

    def __init__(self, value: float, count: int = 3) -> None:
        """Begin with a value that counts `count` times."""
        self.value = value
        self.values = [value] * count

    def add(self, value: float) -> None:
        self.values = [*self.values[1 - LEVEL_COUNT :], value]
        self.value = _upper_median(self.values)


def usual_of_largest(candidates: list[QrsCandidate]) -> float:
    """Return the size of a beat if `candidates` are those of a while: each third of the while has one."""
    first, last = candidates[0].known, candidates[-1].known
    highest = [min(candidate.size for candidate in candidates)] * 3
    for candidate in candidates:
        part = min(2, 3 * (candidate.known - first) // max(1, last - first))
        highest[part] = max(highest[part], candidate.size)
    highest.sort()
    return max(highest[1], highest[2] - 0.9)


def _upper_median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _limit(value: float, least: float, most: float) -> float:
    return least if value < least else most if value > most else value


WEIGHT_VALUES = list(WEIGHTS.values())
_ALIKE = list(WEIGHTS).index("alike")
