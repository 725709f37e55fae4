"""Causal detector of R peaks at 125 Hz, for any number of beds.

`qrs_filter` finds candidates of QRS energy. Whether a candidate is a beat is decided by one score, the log-odds of a
logistic regression over what the candidate looks like beside the last beats, the last noise and the candidate that
follows. It was fitted to the candidates of the 22 records of de Chazal's DS1 (doi:10.1109/TBME.2004.827359), clean and
with muscle noise added at 18 and 12 dB as in the MIT-BIH Noise Stress Test.

Adaptive levels, search back and the T wave rule of Hamilton & Tompkins 1986 (doi:10.1109/TBME.1986.325695) live on in
the terms of the score. Different from them, a doubtful candidate waits for its successor: a P wave is followed by
something larger within 300 ms, a small QRS complex is not.
"""

from dataclasses import dataclass, replace
from math import log
from typing import NamedTuple

import numpy as np

from agent.analysis.qrs_filter import MAXIMUM_REACH, QrsCandidateFinder, QrsCandidates
from agent.analysis.stage import Interruption, RowIndexArray, RunStart
from agent.core.messages import FloatArray, Gap

LEARNING_SAMPLES = 250
"""Samples from the first candidate after a start over which the first levels are learnt: 2 s."""
RELEARN_AFTER, RELEARN_ALWAYS_AFTER = 375, 1000
"""Samples without a beat after which the levels are learnt again: if larger candidates are about, and in any case."""
RELEARN_REACH = 150
"""A candidate that has been known for more samples than this is not reported as a beat when levels are learnt again."""
FOLLOWER_SAMPLES = 36
"""Samples within which a larger candidate shows that the one before it was a P wave: 288 ms."""
T_WAVE_END, T_WAVE_LENGTH = 56, 25
"""From 450 ms down to 250 ms after a beat, a candidate is ever more likely its T wave."""
LEVEL_BEATS = 12
"""Beats, other candidates and intervals that make up a level."""
NO_DEADLINE = 2**62

BIAS, SIZE, CONTRAST, T_WAVE, EARLY, FOLLOWED = 2.35, 2.35, 2.2, -3.7, -9.0, -2.15
"""Weights of the score, see `_AdaptiveThresholds._score` and `_AdaptiveThresholds._settle`."""
MOST_CONTRAST, MOST_EARLY, MOST_FOLLOWED = 4.0, 0.6, 2.2
"""No single term says more than this."""


@dataclass(frozen=True, slots=True)
class RPeak:
    """An R peak: bed `row`, its `sample`, and the last sample that the decision waited for, absolute at 125 Hz.

    `score` are the log-odds that it is one: a candidate with 0 or less is not taken for a beat.
    """

    row: int
    sample: int
    decided: int
    score: float = 1.0


class QrsDetector:
    """Finds the R peaks of `rows` beds. Its output is the same, bit for bit, however the streams are cut or mixed."""

    def __init__(self, rows: int = 1, least: float = 0.0) -> None:
        """Report candidates that are not taken for beats, too, if their score is above `least`."""
        self._least = least
        self._finder = QrsCandidateFinder(rows)
        self._next = np.zeros(rows, np.int64)
        self._deadline = np.full(rows, NO_DEADLINE, np.int64)
        self._beds = [_AdaptiveThresholds(row, least) for row in range(rows)]

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        more = max(0, rows - len(self._beds))
        self._finder.grow(rows)
        self._next = np.pad(self._next, (0, more))
        self._deadline = np.pad(self._deadline, (0, more), constant_values=NO_DEADLINE)
        self._beds += [_AdaptiveThresholds(row, self._least) for row in range(len(self._beds), rows)]

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run: the levels are learnt from its own beats."""
        self._restart_at(row, run.first)

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Go on behind a gap: filters start again, levels that were learnt stay. A lead that is off changes nothing."""
        if not isinstance(interruption, Gap):
            return
        first = interruption.first + interruption.count
        if self._beds[row].learning:
            self._restart_at(row, first)
            return
        self._finder.restart(row)
        self._next[row] = first
        self._beds[row].pause()

    def push(self, rows: RowIndexArray, x: FloatArray) -> list[RPeak]:
        """Take the next samples `x` (rows, n) float32 mV of `rows` (rows,); return the R peaks that they decide."""
        peaks: list[RPeak] = []
        if not x.size:
            return peaks
        candidates = self._finder.push(rows, x)
        if candidates:
            self._decide(rows, candidates, peaks)
        self._next[rows] += x.shape[1]
        late = self._deadline[rows] < self._next[rows]
        if late.any():
            self._expire(rows[late], peaks)
        return peaks

    def flush(self, row: int) -> list[RPeak]:
        """Return the R peaks among what is undecided at the end of a stretch. `start` or `interrupt` comes next."""
        end = int(self._next[row])
        tail = np.full((1, 2 * MAXIMUM_REACH), self._finder.last(row), np.float32)
        peaks = self.push(np.array([row]), tail)
        self._beds[row].finish(end - 1, peaks)
        return [replace(beat, decided=min(beat.decided, end - 1)) for beat in peaks if beat.sample < end]

    def _restart_at(self, row: int, first: int) -> None:
        self._finder.restart(row)
        self._next[row] = first
        self._deadline[row] = NO_DEADLINE
        self._beds[row] = _AdaptiveThresholds(row, self._least)

    def _decide(self, rows: RowIndexArray, candidates: QrsCandidates, peaks: list[RPeak]) -> None:
        row = rows[candidates.column]
        first = self._next[row]
        known, samples = (first + candidates.known).tolist(), (first + candidates.peak).tolist()
        for i, now, sample, height in zip(row.tolist(), known, samples, candidates.height.tolist(), strict=True):
            bed = self._beds[i]
            if bed.deadline < now:
                bed.advance_to(now, peaks)
            bed.push_candidate(_QrsCandidate(now, sample, log(height)), now, peaks)
            self._deadline[i] = bed.deadline

    def _expire(self, rows: RowIndexArray, peaks: list[RPeak]) -> None:
        for row, now in zip(rows.tolist(), self._next[rows].tolist(), strict=True):
            self._beds[row].advance_to(now, peaks)
            self._deadline[row] = self._beds[row].deadline


class _QrsCandidate(NamedTuple):
    """A candidate that was certain at sample `known`: its R peak and the logarithm of its energy."""

    known: int
    sample: int
    size: float


class _AdaptiveThresholds:
    """Levels and undecided candidates of one bed."""

    __slots__ = (
        "_beat_level",
        "_beats",
        "_doubtful",
        "_intervals",
        "_last",
        "_least",
        "_noise",
        "_noise_level",
        "_passed",
        "_row",
        "_shortest",
        "deadline",
        "learning",
    )

    def __init__(self, row: int, least: float) -> None:
        self._row, self._least = row, least
        self.deadline = NO_DEADLINE
        """Sample at which something is due even if no further candidate comes."""
        self.learning = True
        self._passed: list[
            _QrsCandidate
        ] = []  # candidates since the last beat that are none, or while learning not yet
        self._doubtful: tuple[_QrsCandidate, float] | None = None
        self._last: _QrsCandidate | None = None
        self._beats: list[float] = []
        self._noise: list[float] = []
        self._intervals: list[int] = []
        self._beat_level = self._noise_level = 0.0
        self._shortest = 0

    def push_candidate(self, candidate: _QrsCandidate, now: int, peaks: list[RPeak]) -> None:
        """Take the next candidate; append the beats that are certain with it at sample `now`."""
        if self.learning:
            if not self._passed:
                self.deadline = candidate.known + LEARNING_SAMPLES
            self._passed.append(candidate)
            return
        if self._doubtful:
            self._settle(candidate, now, peaks)
        score = self._score(candidate)
        if score > -FOLLOWED * MOST_FOLLOWED:
            self._accept(candidate, score, now, peaks)
        elif score > 0:
            self._doubtful = candidate, score
            self.deadline = candidate.known + FOLLOWER_SAMPLES
        else:
            self._reject(candidate, score, now, peaks)

    def advance_to(self, now: int, peaks: list[RPeak]) -> None:
        """Do what was due before sample `now`: settle a doubtful candidate, learn the levels."""
        while self.deadline < now:
            due = self.deadline
            if self._doubtful:
                self._settle(None, due, peaks)
            elif self.learning:
                self._learn(due, peaks)
            else:
                self._relearn(due, peaks)

    def pause(self) -> None:
        """On a gap: candidates rejected before it are not reconsidered behind it."""
        self._passed = []

    def finish(self, now: int, peaks: list[RPeak]) -> None:
        """Decide what is left with what is known; before the levels are learnt that is nothing."""
        if self._doubtful:
            self._settle(None, now, peaks)

    def _score(self, candidate: _QrsCandidate) -> float:
        """Return the log-odds that the candidate is a beat, as far as the past can tell."""
        score = BIAS + SIZE * (candidate.size - self._beat_level)
        score += CONTRAST * min(MOST_CONTRAST, candidate.size - self._noise_level)
        if self._last:
            since = candidate.known - self._last.known
            # A T wave follows its R peak by 250 to 450 ms; what comes that soon is more likely one than another beat.
            if since < T_WAVE_END:
                score += T_WAVE * min(1.0, (T_WAVE_END - since) / T_WAVE_LENGTH)
            # Earlier than all but one of the latest intervals: a P or T wave rather than an ectopic beat.
            if since < 0.9 * self._shortest:
                score += EARLY * min(MOST_EARLY, 0.9 - since / self._shortest)
        return score

    def _settle(self, follower: _QrsCandidate | None, now: int, peaks: list[RPeak]) -> None:
        """Decide the doubtful candidate, now that its follower is known."""
        assert self._doubtful
        candidate, score = self._doubtful
        self._doubtful = None
        # A P wave is followed by its QRS complex within 300 ms; a small QRS complex is not.
        if follower and follower.known - candidate.known <= FOLLOWER_SAMPLES:
            score += FOLLOWED * min(MOST_FOLLOWED, max(0.0, follower.size - candidate.size + 1.5))
        if score > 0:
            self._accept(candidate, score, now, peaks)
        else:
            self._reject(candidate, score, now, peaks)

    def _accept(self, candidate: _QrsCandidate, score: float, now: int, peaks: list[RPeak]) -> None:
        peaks.append(RPeak(self._row, candidate.sample, now, score))
        if self._last:
            self._intervals = [*self._intervals[1 - LEVEL_BEATS :], candidate.known - self._last.known]
            # The second shortest: if some beats come early, an early beat is no surprise.
            self._shortest = sorted(self._intervals)[1] if len(self._intervals) > 2 else 0
        self._last = candidate
        self._beats = [*self._beats[1 - LEVEL_BEATS :], candidate.size]
        self._beat_level = _upper_median(self._beats)
        self._passed = []
        self.deadline = candidate.known + RELEARN_AFTER

    def _reject(self, candidate: _QrsCandidate, score: float, now: int, peaks: list[RPeak]) -> None:
        if score > self._least:
            peaks.append(RPeak(self._row, candidate.sample, now, score))
        self._noise = [*self._noise[1 - LEVEL_BEATS :], candidate.size]
        self._noise_level = _upper_median(self._noise)
        self._passed.append(candidate)
        self.deadline = max(self.deadline, (self._last or self._passed[0]).known + RELEARN_AFTER)

    def _learn(self, now: int, peaks: list[RPeak], oldest: int = 0) -> None:
        """Set the levels by the candidates at hand, then decide those known since sample `oldest`."""
        candidates, self._passed = self._passed, []
        highest = sorted(_highest_of_thirds(candidates))
        self._beat_level = max(highest[1], highest[2] - 0.9)
        noise = [candidate.size for candidate in candidates if candidate.size < self._beat_level - 1.2]
        self._noise_level = _upper_median(noise) if noise else self._beat_level - 2.3
        self._beats, self._noise = [self._beat_level] * 3, [self._noise_level] * 3
        self._intervals, self._shortest = [], 0
        self.learning = False
        self.deadline = now + RELEARN_AFTER
        for candidate in candidates:
            if candidate.known >= oldest:
                self.push_candidate(candidate, now, peaks)

    def _relearn(self, now: int, peaks: list[RPeak]) -> None:
        """No beat for long: learn the levels again if there is something to learn from."""
        self._passed = [candidate for candidate in self._passed if candidate.known > now - RELEARN_AFTER]
        silent = not self._last or now - self._last.known >= RELEARN_ALWAYS_AFTER
        if any(silent or candidate.size > self._beat_level - 1.4 for candidate in self._passed):
            self._learn(now, peaks, now - RELEARN_REACH)
        elif silent:
            self.learning, self.deadline = True, NO_DEADLINE
        else:
            self.deadline = now + RELEARN_AFTER // 3


def _highest_of_thirds(candidates: list[_QrsCandidate]) -> list[float]:
    """Size of the largest candidate in each third of the learning stretch; a third without candidates takes the
    smallest."""
    highest = [min(candidate.size for candidate in candidates)] * 3
    for candidate in candidates:
        part = min(2, 3 * (candidate.known - candidates[0].known) // LEARNING_SAMPLES)
        highest[part] = max(highest[part], candidate.size)
    return highest


def _upper_median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
