"""Causal detector of R peaks at 125 Hz, for any number of beds.

`qrs_filter` finds candidates of QRS energy. Whether a candidate is a beat is decided by one score, the log-odds of a
logistic regression over what the candidate looks like beside the last beats, the last noise and the candidate that
follows (`qrs_evidence`).

Adaptive levels, search back and the T wave rule of Hamilton & Tompkins 1986 (doi:10.1109/TBME.1986.325695) live on in
the terms of the score. Different from them, a doubtful candidate waits for its successor: a P wave is followed by
something more like a beat within 300 ms, a small QRS complex is not.
"""

from collections import deque
from math import log

import msgspec
import numpy as np

from agent.analysis.qrs_evidence import QrsCandidate, QrsEvidence, count_follower, score_terms
from agent.analysis.qrs_filter import QrsCandidateFinder, QrsCandidates
from agent.analysis.stage import Interruption, RowIndexArray, RunStart
from agent.core.messages import FloatArray, Gap

LEARNING_SAMPLES = 250
"""Samples from the first candidate after a start over which the first levels are learnt: 2 s."""
RECENT = 8
"""Candidates from which the levels are learnt again where they are reversed."""
RELEARN_AFTER, RELEARN_ALWAYS_AFTER = 250, 1000
"""Samples without a beat after which the levels are learnt again: if there is something like beats, and in any case."""
RELEARN_REACH = 150
"""A candidate that has been known for more samples than this is not reported as a beat when levels are learnt again."""
FOLLOWER_SAMPLES = 36
"""Samples within which a candidate that is more like a beat shows that the one before it was a P wave: 288 ms."""
DOUBT = -2.0, 4.6
"""A candidate with a score between these waits for the one that follows."""
NO_DEADLINE = 2**62


class RPeak(msgspec.Struct, frozen=True, gc=False):
    """An R peak: bed `row`, its `sample`, and the last sample that the decision waited for, absolute at 125 Hz.

    `score` are the log-odds that it is one: a candidate with 0 or less is not taken for a beat.
    """

    row: int
    sample: int
    decided: int
    score: float = 1.0


def end_peaks(peaks: list[RPeak], end: int) -> list[RPeak]:
    """Return the R peaks of a stretch that ends before sample `end`, decided by what came before it."""
    return [msgspec.structs.replace(beat, decided=min(beat.decided, end - 1)) for beat in peaks if beat.sample < end]


class QrsDetector:
    """Finds the R peaks of `rows` beds. Its output is the same, bit for bit, however the streams are cut or mixed."""

    def __init__(self, rows: int = 1, least: float = 0.0) -> None:
        """Report candidates that are not taken for beats, too, if their score is above `least`."""
        self._least = least
        self._finder = QrsCandidateFinder(rows)
        self._next = np.zeros(rows, np.int64)
        self._deadline = np.full(rows, NO_DEADLINE, np.int64)
        self.beds = [AdaptiveThresholds(row, least) for row in range(rows)]

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        more = max(0, rows - len(self.beds))
        self._finder.grow(rows)
        self._next = np.pad(self._next, (0, more))
        self._deadline = np.pad(self._deadline, (0, more), constant_values=NO_DEADLINE)
        self.beds += [AdaptiveThresholds(row, self._least) for row in range(len(self.beds), rows)]

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run: the levels are learnt from its own beats."""
        self._restart_at(row, run.first)

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Go on behind a gap: filters start again, levels that were learnt stay. A lead that is off changes nothing."""
        if not isinstance(interruption, Gap):
            return
        first = interruption.first + interruption.count
        if self.beds[row].learning:
            self._restart_at(row, first)
            return
        self._finder.restart(row)
        self._next[row] = first
        self.beds[row].pause()

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
        peaks = self.push(np.array([row]), self._finder.continue_signal(row)[None])
        self.beds[row].finish(end - 1, peaks)
        self._deadline[row] = self.beds[row].deadline
        return end_peaks(peaks, end)

    def _restart_at(self, row: int, first: int) -> None:
        self._finder.restart(row)
        self._next[row] = first
        self._deadline[row] = NO_DEADLINE
        self.beds[row] = AdaptiveThresholds(row, self._least)

    def _decide(self, rows: RowIndexArray, candidates: QrsCandidates, peaks: list[RPeak]) -> None:
        first = self._next[rows[candidates.column]]
        times = (first + candidates.known).tolist(), (first + candidates.peak).tolist()
        sizes = [list(map(log, column)) for column in candidates.sizes.tolist()]
        described = map(QrsCandidate, *times, *sizes, candidates.shapes)
        for i, candidate in zip(rows[candidates.column].tolist(), described, strict=True):
            bed = self.beds[i]
            if bed.deadline < candidate.known:
                bed.advance_to(candidate.known, peaks)
            bed.push_candidate(candidate, candidate.known, peaks)
            self._deadline[i] = bed.deadline

    def _expire(self, rows: RowIndexArray, peaks: list[RPeak]) -> None:
        for row, now in zip(rows.tolist(), self._next[rows].tolist(), strict=True):
            self.beds[row].advance_to(now, peaks)
            self._deadline[row] = self.beds[row].deadline


class AdaptiveThresholds:
    """What is known of one bed, and its undecided candidates."""

    __slots__ = (
        "_doubtful",
        "_due",
        "_evidence",
        "_last",
        "_learnt",
        "_least",
        "_passed",
        "_recent",
        "_row",
        "deadline",
    )

    doubt = DOUBT

    def __init__(self, row: int, least: float) -> None:
        self._row, self._least = row, least
        self.deadline = NO_DEADLINE
        """Sample at which something is due even if no further candidate comes."""
        self._evidence: QrsEvidence | None = None
        self._recent: deque[QrsCandidate] = deque(maxlen=RECENT)
        self._passed: list[QrsCandidate] = []  # since the last beat, that are none, or while learning not yet
        self._doubtful: tuple[QrsCandidate, list[float], float] | None = None
        self._last = self._learnt = 0
        self._due = NO_DEADLINE

    @property
    def learning(self) -> bool:
        """Whether there are no levels yet."""
        return self._evidence is None

    def push_candidate(self, candidate: QrsCandidate, now: int, peaks: list[RPeak]) -> None:
        """Take the next candidate; append the beats that are certain with it at sample `now`."""
        if self._evidence is None:
            if not self._passed:
                self.deadline = candidate.known + LEARNING_SAMPLES
            self._passed.append(candidate)
            return
        self._recent.append(candidate)
        look = self._evidence.look(candidate)
        if self._doubtful:
            self._settle(candidate, look, now, peaks)
        terms = self._evidence.terms(candidate, look)
        score = score_terms(terms)
        if self.doubt[0] < score <= self.doubt[1]:
            self._doubtful = candidate, terms, score
            self.deadline = candidate.known + FOLLOWER_SAMPLES
        else:
            self.decide(candidate, terms, score, now, peaks)

    def advance_to(self, now: int, peaks: list[RPeak]) -> None:
        """Do what was due before sample `now`: settle a doubtful candidate, learn the levels."""
        while self.deadline < now:
            due = self.deadline
            if self._doubtful:
                self._settle(None, [], due, peaks)
            elif self._evidence is None:
                self._learn(due, due - LEARNING_SAMPLES, peaks)
            else:
                self._relearn(self._evidence, due, peaks)

    def pause(self) -> None:
        """On a gap: candidates rejected before it are not reconsidered behind it."""
        self._passed = []
        self._recent.clear()

    def finish(self, now: int, peaks: list[RPeak]) -> None:
        """Decide what is left with what is known; before the levels are learnt that is nothing."""
        if self._doubtful:
            self._settle(None, [], now, peaks)

    def _settle(self, follower: QrsCandidate | None, look: list[float], now: int, peaks: list[RPeak]) -> None:
        """Decide the doubtful candidate, now that its follower is known."""
        assert self._doubtful
        assert self._evidence
        candidate, terms, score = self._doubtful
        self._doubtful = None
        # A P wave is followed by its QRS complex within 300 ms; a small QRS complex is not.
        if follower and follower.known - candidate.known <= FOLLOWER_SAMPLES:
            count_follower(terms, look)
            score = score_terms(terms)
        self.decide(candidate, terms, score, now, peaks)

    def decide(self, candidate: QrsCandidate, terms: list[float], score: float, now: int, peaks: list[RPeak]) -> None:
        """Take a candidate for a beat or not, by its score."""
        assert self._evidence
        if score > min(0.0, self._least):
            peaks.append(RPeak(self._row, candidate.sample, now, score))
        if score > 0:
            self._evidence.accept(candidate, terms)
            self._last, self._passed = candidate.known, []
            self._due = max(self._last, self._learnt) + RELEARN_AFTER
        else:
            self._evidence.reject(candidate)
            self._passed.append(candidate)
        self.deadline = self._due
        if self._evidence.is_reversed:
            self._passed = list(self._recent)
            self._learn(now, now + 1, peaks)

    def _learn(self, now: int, oldest: int, peaks: list[RPeak]) -> None:
        """Set the levels by the candidates at hand, then decide those known since sample `oldest`."""
        candidates, self._passed = self._passed, []
        self._evidence, self._learnt = QrsEvidence(candidates), now
        self.deadline = self._due = now + RELEARN_AFTER
        for candidate in candidates:
            if candidate.known >= oldest:
                self.push_candidate(candidate, now, peaks)

    def _relearn(self, evidence: QrsEvidence, now: int, peaks: list[RPeak]) -> None:
        """No beat for long: learn the levels again if there is something to learn from."""
        self._passed = [candidate for candidate in self._passed if candidate.known > now - RELEARN_AFTER]
        silent = now - self._last >= RELEARN_ALWAYS_AFTER
        likely = silent or not evidence.is_trusted
        if any(likely or evidence.has_size_of_beat(one) or evidence.resembles_beats(one) for one in self._passed):
            self._learn(now, now - RELEARN_REACH, peaks)
        elif silent:
            self._evidence, self.deadline = None, NO_DEADLINE
        else:
            self.deadline = self._due = now + RELEARN_AFTER // 3
