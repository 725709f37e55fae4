"""From R peaks to beats in their context: each waits for the R peak that follows it, but never for long.

`model.beats.templates` says what the net sees of a beat, beat by beat in the order of their decision. This stage gives
it the R peaks around each beat and their samples.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.analysis.beat_cutter import BeatCandidate, Candidates
from agent.analysis.qrs_detector import NO_DEADLINE, RPeak
from agent.analysis.sample_ring import SampleRing
from agent.analysis.stage import Interruption, RowIndexArray, RunStart
from agent.core.messages import FloatArray, Gap
from model.beats.templates import (
    INPUTS,
    QRS_AFTER,
    QRS_BEFORE,
    SLACK,
    WAVE,
    WAVE_AFTER,
    WAVE_BEFORE,
    BeatTemplates,
    BeatWindows,
)
from model.records.resample import FS

LEAST_SCORE = -2.0
"""Candidates of the detector down to this score go to the net; the detector takes those above 0 for beats."""
MOST_RR = 150
"""Samples within which the next R peak must lie to count: 1.2 s."""
LATEST_DECISION = 187
"""A beat is decided no later than this many samples after its R peak, 1.5 s, nor before its own samples are there."""
OWN_SAMPLES = WAVE_AFTER + SLACK
BEDS_PER_BEAT, MOST_BATCH_WAIT = 8, 12
"""With many beds a beat may wait until there is one for every BEDS_PER_BEAT of them, at most MOST_BATCH_WAIT samples
(96 ms): it is much cheaper to describe many beats at once."""

UNKNOWN = (np.nan, np.nan, np.nan)
"""R peaks before a beat without any."""
NO_CANDIDATES = Candidates([], np.empty((0, INPUTS), np.float32))


@dataclass(slots=True)
class _PendingBeat:
    """A candidate that is not described yet, and the R peaks (samples) before it, the latest first."""

    peak: RPeak
    before: tuple[int, ...]
    next: RPeak | None = None


@dataclass(slots=True)
class _ContextRow:
    """What is known of one bed's current stretch."""

    peaks: deque[int] = field(default_factory=lambda: deque(maxlen=len(UNKNOWN)))
    waiting: deque[_PendingBeat] = field(default_factory=deque)
    newest: int = -1
    interrupted: int = -1
    decided: int = 0

    def set_next(self, peak: RPeak) -> None:
        """Make `peak` the next R peak of the waiting beats that it is near enough to, and known early enough for."""
        for waiting in reversed(self.waiting):
            before = waiting.peak.sample
            if peak.sample - before > MOST_RR:
                break
            known = peak.decided <= max(before + LATEST_DECISION, waiting.peak.decided)
            if waiting.next is None and known and not before < self.interrupted <= peak.sample:
                waiting.next = peak


class BeatContextBuilder:
    """Describes the beats of all rows in their context; `ring` holds their samples."""

    def __init__(self, ring: SampleRing, rows: int = 1) -> None:
        self._ring = ring
        self._rows = [_ContextRow() for _ in range(rows)]
        self._templates = BeatTemplates(rows)
        self._due = np.full(rows, NO_DEADLINE)
        """Sample of each row at which its first waiting beat is decided."""
        self._urgent = False
        """Set when a lead change is pending: beats decided before it must be emitted first, so batching is skipped."""

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        self._due = np.pad(self._due, (0, rows - len(self._rows)), constant_values=NO_DEADLINE)
        self._rows += [_ContextRow() for _ in range(rows - len(self._rows))]
        self._templates.grow(rows)

    def start(self, row: int, run: RunStart) -> None:  # noqa: ARG002  # a patient is like any other
        """Begin a run, which may be another patient's: its templates are learnt from its own beats."""
        self._restart_at_gap(row)
        self._templates.start(row)

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Let no RR interval reach over the interruption. Templates stay: it is the same patient."""
        if isinstance(interruption, Gap):
            self._restart_at_gap(row)
        else:
            self._rows[row].interrupted = interruption.sample
            self._urgent = True

    def push(self, rows: RowIndexArray, peaks: Sequence[RPeak], hold: bool = True) -> Candidates:
        """Take R peaks, in order within each row; return the beats of `rows` that are decided.

        A peak that stands at or before an earlier one is dropped. With `hold` beats may wait up to MOST_BATCH_WAIT
        samples for others, to be described together. The net's input is (n, INPUTS).
        """
        for peak in peaks:
            self._take_peak(peak)
        late = self._ring.head[rows] - self._due[rows]
        due = np.flatnonzero(late > 0)
        if not len(due):  # as in nearly every packet
            self._urgent = False
            return NO_CANDIDATES
        few = len(due) * BEDS_PER_BEAT < len(self._rows)
        if hold and not self._urgent and few and not (late > MOST_BATCH_WAIT).any():
            due = due[:0]
        self._urgent = False
        return self._describe(rows[due].tolist())

    def flush(self, row: int, peaks: Sequence[RPeak] = ()) -> Candidates:
        """Return the beats that still wait, with the last `peaks` and what is known."""
        for peak in peaks:
            self._take_peak(peak)
        return self._describe([row], ended=True)

    def _restart_at_gap(self, row: int) -> None:
        self._rows[row] = _ContextRow()
        self._due[row] = NO_DEADLINE

    def _take_peak(self, peak: RPeak) -> None:
        row = self._rows[peak.row]
        if peak.sample <= row.newest:
            return
        row.newest = peak.sample
        if row.peaks and row.peaks[0] < row.interrupted <= peak.sample:
            row.peaks.clear()
        if peak.score > 0:
            row.set_next(peak)
        row.waiting.append(_PendingBeat(peak, tuple(row.peaks)))
        self._due[peak.row] = self._decided(row)
        if peak.score > 0:
            row.peaks.appendleft(peak.sample)

    def _describe(self, rows: list[int], ended: bool = False) -> Candidates:
        """Describe the beats of `rows` that are decided, those of each row in order: templates learn from them."""
        taken: list[tuple[_PendingBeat, int]] = []
        for row in rows:
            while beat := self._next(row, ended):
                taken.append(beat)
        if not taken:
            return NO_CANDIDATES
        inputs, clusters, new, noise = self._templates.describe(self._windows_of([beat for beat, _ in taken]))
        columns = zip(taken, clusters.tolist(), new.tolist(), noise.tolist(), strict=True)
        return Candidates([_beat_candidate_of(beat, decided, *rest) for (beat, decided), *rest in columns], inputs)

    def _next(self, index: int, ended: bool) -> tuple[_PendingBeat, int] | None:
        """Take the next beat of a row that is decided, and when; or any, if its stretch has `ended`."""
        row, head, due = self._rows[index], int(self._ring.head[index]), int(self._due[index])
        if not row.waiting or (due >= head and not ended):
            return None
        row.decided = min(due, head - 1)
        beat = row.waiting.popleft()
        self._due[index] = self._decided(row)
        return beat, row.decided

    def _decided(self, row: _ContextRow) -> int:
        """Return the sample at which the first waiting beat of a row is decided, as far as is known now."""
        if not row.waiting:
            return NO_DEADLINE
        peak, following = row.waiting[0].peak, row.waiting[0].next
        due = peak.sample + LATEST_DECISION
        if following is not None:
            due = max(peak.sample + OWN_SAMPLES, following.decided, following.sample + QRS_AFTER + SLACK)
        return max(due, peak.decided, row.decided)

    def _windows_of(self, taken: list[_PendingBeat]) -> BeatWindows:
        rows = np.array([one.peak.row for one in taken], np.intp)
        samples = np.array([one.peak.sample for one in taken], np.int64)
        nexts = np.array([one.next.sample if one.next else -1 for one in taken], np.int64)
        before = np.array([(one.peak.sample, *one.before, *UNKNOWN)[: len(UNKNOWN) + 1] for one in taken], float)
        none = nexts < 0
        following = self._windows(rows, nexts - QRS_BEFORE - SLACK, QRS_BEFORE + QRS_AFTER + 2 * SLACK)
        following[none] = 0
        return BeatWindows(
            rows=rows,
            waves=self._windows(rows, samples - WAVE_BEFORE - SLACK, WAVE + 2 * SLACK),
            following=following,
            rr=((before[:, :-1] - before[:, 1:]) / FS).astype(np.float32),
            next=(np.where(none, MOST_RR, nexts - samples) / FS).astype(np.float32),
            no_next=none,
            score=np.array([one.peak.score for one in taken], np.float32),
        )

    def _windows(self, rows: RowIndexArray, firsts: NDArray[np.int64], count: int) -> FloatArray:
        """Return samples as `SampleRing.windows` does, (n, count); missing ones are the median of the others."""
        windows = self._ring.windows(rows, firsts, count)
        beyond = firsts + count - self._ring.head[rows]
        for i in np.flatnonzero((beyond > 0) | np.isnan(windows).any(axis=1)):
            if beyond[i] > 0:
                windows[i, count - beyond[i] :] = np.nan
            known = windows[i][~np.isnan(windows[i])]
            windows[i][np.isnan(windows[i])] = np.median(known) if len(known) else 0.0
        return windows


def _beat_candidate_of(beat: _PendingBeat, decided: int, cluster: int, new: bool, noise: float) -> BeatCandidate:
    peak, before = beat.peak, beat.before
    rr_s = (peak.sample - before[0]) / FS if before else None
    return BeatCandidate(peak.row, peak.sample, WAVE, decided, rr_s, peak.decided, peak.score, cluster, new, noise)
