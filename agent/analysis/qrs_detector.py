"""Causal detector of R peaks at 125 Hz, for a ward of beds.

`detect_filter` finds bumps of QRS energy. Whether a bump is a beat is decided by one score, the log-odds of a logistic
regression over what the bump looks like beside the last beats, the last noise and the bump that follows. It was fitted
to the bumps of the 22 records of de Chazal's DS1 (doi:10.1109/TBME.2004.827359), clean and with muscle noise added at
18 and 12 dB as in the MIT-BIH Noise Stress Test.

Adaptive levels, search back and the T wave rule of Hamilton & Tompkins 1986 (doi:10.1109/TBME.1986.325695) live on in
the terms of the score. Different from them, a doubtful bump waits for its successor: a P wave is followed by something
larger within 300 ms, a small QRS complex is not.
"""

from dataclasses import dataclass, replace
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.analysis.qrs_filter import MAXIMUM_REACH, QrsCandidateFinder, QrsCandidates
from agent.core.messages import FloatArray

LEARNING_SAMPLES = 250
"""Samples from the first bump after a start over which the first levels are learnt: 2 s."""
RELEARN_AFTER, RELEARN_ALWAYS_AFTER = 375, 1000
"""Samples without a beat after which the levels are learnt anew: where larger bumps are about, and in any case."""
RELEARN_REACH = 150
"""A bump that has been known for more samples than this is not reported as a beat when levels are learnt anew."""
FOLLOWER_SAMPLES = 36
"""A bump within so many samples may show that the one before it was a P wave: 288 ms."""
T_WAVE_END, T_WAVE_LENGTH = 56, 25
"""From 450 ms down to 250 ms after a beat, a bump is ever more likely its T wave."""
LEVEL_BEATS = 12
"""Beats, other bumps and intervals that make up a level."""
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
    """Finds the R peaks of `rows` beds. Output is the same, bit for bit, however the streams are cut or mixed."""

    def __init__(self, rows: int = 1, least: float = 0.0) -> None:
        """Candidates that are not taken for beats are reported too where their score is above `least`."""
        self._least = least
        self._finder = QrsCandidateFinder(rows)
        self._next = np.zeros(rows, np.int64)
        self._deadline = np.full(rows, NO_DEADLINE, np.int64)
        self._beds = [_AdaptiveThresholds(row, least) for row in range(rows)]

    def grow(self, rows: int) -> None:
        """Make room for beds up to `rows`; the state of those that exist is kept."""
        more = max(0, rows - len(self._beds))
        self._finder.grow(rows)
        self._next = np.pad(self._next, (0, more))
        self._deadline = np.pad(self._deadline, (0, more), constant_values=NO_DEADLINE)
        self._beds += [_AdaptiveThresholds(row, self._least) for row in range(len(self._beds), rows)]

    def reset(self, row: int, first: int) -> None:
        """Start a bed anew, for a new run or after a gap: its next sample has index `first`."""
        self._finder.reset(row)
        self._next[row] = first
        self._deadline[row] = NO_DEADLINE
        self._beds[row] = _AdaptiveThresholds(row, self._least)

    def resume(self, row: int, first: int) -> None:
        """Go on after a gap within a run, at sample `first`: filters start anew, levels that were learnt stay."""
        if self._beds[row].learning:
            self.reset(row, first)
            return
        self._finder.reset(row)
        self._next[row] = first
        self._beds[row].pause()

    def push(self, rows: NDArray[np.intp], x: FloatArray) -> list[RPeak]:
        """Take the next samples `x` (len(rows), n) float32 mV of beds `rows`; return the beats that they decide."""
        found: list[RPeak] = []
        if not x.size:
            return found
        bumps = self._finder.push(rows, x)
        if bumps:
            self._decide(rows, bumps, found)
        self._next[rows] += x.shape[1]
        late = self._deadline[rows] < self._next[rows]
        if late.any():
            self._expire(rows[late], found)
        return found

    def flush(self, row: int) -> list[RPeak]:
        """End a bed's run: return the beats among what was still undecided. `reset` it before the next `push`."""
        end = int(self._next[row])
        tail = np.full((1, 2 * MAXIMUM_REACH), self._finder.last(row), np.float32)
        found = self.push(np.array([row]), tail)
        self._beds[row].finish(end - 1, found)
        return [replace(beat, decided=min(beat.decided, end - 1)) for beat in found if beat.sample < end]

    def _decide(self, rows: NDArray[np.intp], bumps: QrsCandidates, found: list[RPeak]) -> None:
        row = rows[bumps.column]
        first = self._next[row]
        known, peaks = (first + bumps.known).tolist(), (first + bumps.peak).tolist()
        for i, now, peak, height in zip(row.tolist(), known, peaks, bumps.height.tolist(), strict=True):
            bed = self._beds[i]
            if bed.deadline < now:
                bed.pass_until(now, found)
            bed.see(_SingleQrsCandidate(now, peak, log(height)), now, found)
            self._deadline[i] = bed.deadline

    def _expire(self, rows: NDArray[np.intp], found: list[RPeak]) -> None:
        for row, now in zip(rows.tolist(), self._next[rows].tolist(), strict=True):
            self._beds[row].pass_until(now, found)
            self._deadline[row] = self._beds[row].deadline


class _SingleQrsCandidate(NamedTuple):
    """A bump that was certain at sample `known`: its R peak and the logarithm of its energy."""

    known: int
    sample: int
    size: float


class _AdaptiveThresholds:
    """Levels and undecided bumps of one bed."""

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
        """Sample at which something is due even if no further bump comes."""
        self.learning = True
        self._passed: list[
            _SingleQrsCandidate
        ] = []  # bumps since the last beat that are none, or while learning not yet
        self._doubtful: tuple[_SingleQrsCandidate, float] | None = None
        self._last: _SingleQrsCandidate | None = None
        self._beats: list[float] = []
        self._noise: list[float] = []
        self._intervals: list[int] = []
        self._beat_level = self._noise_level = 0.0
        self._shortest = 0

    def see(self, bump: _SingleQrsCandidate, now: int, found: list[RPeak]) -> None:
        """Take the next bump; append the beats that are certain with it at sample `now`."""
        if self.learning:
            if not self._passed:
                self.deadline = bump.known + LEARNING_SAMPLES
            self._passed.append(bump)
            return
        if self._doubtful:
            self._settle(bump, now, found)
        score = self._score(bump)
        if score > -FOLLOWED * MOST_FOLLOWED:
            self._accept(bump, score, now, found)
        elif score > 0:
            self._doubtful = bump, score
            self.deadline = bump.known + FOLLOWER_SAMPLES
        else:
            self._reject(bump, score, now, found)

    def pass_until(self, now: int, found: list[RPeak]) -> None:
        """Do what was due before sample `now`."""
        while self.deadline < now:
            due = self.deadline
            if self._doubtful:
                self._settle(None, due, found)
            elif self.learning:
                self._learn(due, found)
            else:
                self._relearn(due, found)

    def pause(self) -> None:
        """A gap: what was no beat before it is not looked at again behind it."""
        self._passed = []

    def finish(self, now: int, found: list[RPeak]) -> None:
        """Decide what is left with what is known; before the levels are learnt that is nothing."""
        if self._doubtful:
            self._settle(None, now, found)

    def _score(self, bump: _SingleQrsCandidate) -> float:
        """Log-odds that the bump is a beat, as far as the past can tell."""
        score = BIAS + SIZE * (bump.size - self._beat_level)
        score += CONTRAST * min(MOST_CONTRAST, bump.size - self._noise_level)
        if self._last:
            since = bump.known - self._last.known
            if since < T_WAVE_END:
                score += T_WAVE * min(1.0, (T_WAVE_END - since) / T_WAVE_LENGTH)
            if since < 0.9 * self._shortest:
                score += EARLY * min(MOST_EARLY, 0.9 - since / self._shortest)
        return score

    def _settle(self, follower: _SingleQrsCandidate | None, now: int, found: list[RPeak]) -> None:
        """Decide the doubtful bump, now that its follower is known."""
        assert self._doubtful
        bump, score = self._doubtful
        self._doubtful = None
        if follower and follower.known - bump.known <= FOLLOWER_SAMPLES:
            score += FOLLOWED * min(MOST_FOLLOWED, max(0.0, follower.size - bump.size + 1.5))
        if score > 0:
            self._accept(bump, score, now, found)
        else:
            self._reject(bump, score, now, found)

    def _accept(self, bump: _SingleQrsCandidate, score: float, now: int, found: list[RPeak]) -> None:
        found.append(RPeak(self._row, bump.sample, now, score))
        if self._last:
            self._intervals = [*self._intervals[1 - LEVEL_BEATS :], bump.known - self._last.known]
            # The second shortest: where some beats come early, an early beat is no surprise.
            self._shortest = sorted(self._intervals)[1] if len(self._intervals) > 2 else 0
        self._last = bump
        self._beats = [*self._beats[1 - LEVEL_BEATS :], bump.size]
        self._beat_level = _upper_median(self._beats)
        self._passed = []
        self.deadline = bump.known + RELEARN_AFTER

    def _reject(self, bump: _SingleQrsCandidate, score: float, now: int, found: list[RPeak]) -> None:
        if score > self._least:
            found.append(RPeak(self._row, bump.sample, now, score))
        self._noise = [*self._noise[1 - LEVEL_BEATS :], bump.size]
        self._noise_level = _upper_median(self._noise)
        self._passed.append(bump)
        self.deadline = max(self.deadline, (self._last or self._passed[0]).known + RELEARN_AFTER)

    def _learn(self, now: int, found: list[RPeak], oldest: int = 0) -> None:
        """Set the levels by the bumps at hand, then decide those known since sample `oldest`."""
        bumps, self._passed = self._passed, []
        highest = sorted(_highest_of_thirds(bumps))
        self._beat_level = max(highest[1], highest[2] - 0.9)
        noise = [bump.size for bump in bumps if bump.size < self._beat_level - 1.2]
        self._noise_level = _upper_median(noise) if noise else self._beat_level - 2.3
        self._beats, self._noise = [self._beat_level] * 3, [self._noise_level] * 3
        self._intervals, self._shortest = [], 0
        self.learning = False
        self.deadline = now + RELEARN_AFTER
        for bump in bumps:
            if bump.known >= oldest:
                self.see(bump, now, found)

    def _relearn(self, now: int, found: list[RPeak]) -> None:
        """No beat for long: learn the levels anew where there is something to learn from."""
        self._passed = [bump for bump in self._passed if bump.known > now - RELEARN_AFTER]
        silent = not self._last or now - self._last.known >= RELEARN_ALWAYS_AFTER
        if any(silent or bump.size > self._beat_level - 1.4 for bump in self._passed):
            self._learn(now, found, now - RELEARN_REACH)
        elif silent:
            self.learning, self.deadline = True, NO_DEADLINE
        else:
            self.deadline = now + RELEARN_AFTER // 3


def _highest_of_thirds(bumps: list[_SingleQrsCandidate]) -> list[float]:
    """Size of the largest bump in each third of the learning stretch; a third without bumps takes the smallest."""
    highest = [min(bump.size for bump in bumps)] * 3
    for bump in bumps:
        part = min(2, 3 * (bump.known - bumps[0].known) // LEARNING_SAMPLES)
        highest[part] = max(highest[part], bump.size)
    return highest


def _upper_median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
