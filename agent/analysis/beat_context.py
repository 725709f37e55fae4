"""From R peaks to beats in their context: each waits for the R peak that follows it, though never for long.

What the net is to see of a beat is said by `model.beats.templates`, beat by beat in the order of their decision; this
stage brings it the R peaks around each beat and their samples.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.analysis.beat_cutter import BeatCandidate
from agent.analysis.qrs_detector import NO_DEADLINE, RPeak
from agent.analysis.sample_ring import RowIndexArray, SampleRing
from agent.core.messages import FloatArray
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
"""Candidates of the detector down to this score are looked at; it takes those above 0 for beats."""
MOST_RR = 150
"""Samples within which the next R peak must lie to count: 1.2 s."""
LATEST_DECISION = 187
"""A beat is decided no later than this many samples after its R peak, 1.5 s, nor before its own samples are there."""
OWN_SAMPLES = WAVE_AFTER + SLACK
BEDS_PER_BEAT, MOST_BATCH_WAIT = 8, 12
"""Where there are many beds a beat may wait until there is one for every so many, yet no longer than 96 ms: it is much
cheaper to describe many beats at once."""


@dataclass(slots=True)
class _PendingBeat:
    """A candidate that is not described yet, and the R peaks (samples) before it, the latest first."""

    peak: RPeak
    before: tuple[int, ...]
    next: RPeak | None = None


@dataclass(slots=True)
class _ContextRow:
    """What is known of one bed's current stretch."""

    peaks: deque[int] = field(default_factory=lambda: deque(maxlen=3))
    waiting: deque[_PendingBeat] = field(default_factory=deque)
    newest: int = -1
    interrupted: int = -1
    decided: int = 0


class BeatContextBuilder:
    """The beats of all rows in their context; `history` holds their samples."""

    def __init__(self, history: SampleRing, rows: int = 1) -> None:
        self._history = history
        self._rows = [_ContextRow() for _ in range(rows)]
        self._patients = BeatTemplates(rows)
        self._due = np.full(rows, NO_DEADLINE)
        """Sample of each row at which its first waiting beat is decided."""
        self._urgent = False
        """Whether something else is told of a bed, which a beat that was decided before must not come after."""

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        self._due = np.pad(self._due, (0, rows - len(self._rows)), constant_values=NO_DEADLINE)
        self._rows += [_ContextRow() for _ in range(rows - len(self._rows))]
        self._patients.grow(rows)

    def reset(self, row: int) -> None:
        """A new stretch: RR intervals do not reach back over its start."""
        self._rows[row] = _ContextRow()
        self._due[row] = NO_DEADLINE

    def forget(self, row: int) -> None:
        """A new run, which may be another patient's."""
        self._patients.reset(row)

    def interrupt(self, row: int, sample: int) -> None:
        """The lead is off, or back, at `sample`: no RR interval reaches over it."""
        self._rows[row].interrupted = sample
        self._urgent = True

    def push(self, peaks: Iterable[RPeak]) -> None:
        """Take candidates, in order within each row; one that stands where an earlier one does is none."""
        for peak in peaks:
            row = self._rows[peak.row]
            if peak.sample <= row.newest:
                continue
            row.newest = peak.sample
            if row.peaks and row.peaks[0] < row.interrupted <= peak.sample:
                row.peaks.clear()
            if peak.score > 0:
                for waiting in row.waiting:
                    last = max(waiting.peak.sample + LATEST_DECISION, waiting.peak.decided)
                    near = peak.sample - waiting.peak.sample <= MOST_RR and peak.decided <= last
                    if waiting.next is None and near and not waiting.peak.sample < row.interrupted <= peak.sample:
                        waiting.next = peak
            row.waiting.append(_PendingBeat(peak, tuple(row.peaks)))
            self._due[peak.row] = self._decided(row)
            if peak.score > 0:
                row.peaks.appendleft(peak.sample)

    def ready(self, rows: list[int], hold: bool = True) -> tuple[list[BeatCandidate], FloatArray]:
        """The beats of `rows` that are decided, and the net's input (n, INPUTS) of each."""
        late = self._history.head[rows] - self._due[rows]
        due = np.flatnonzero(late > 0)
        if (
            hold
            and not self._urgent
            and len(due) * BEDS_PER_BEAT < len(self._rows)
            and not (late > MOST_BATCH_WAIT).any()
        ):
            due = due[:0]
        self._urgent = False
        return self._take([rows[i] for i in due])

    def flush(self, row: int) -> tuple[list[BeatCandidate], FloatArray]:
        """The beats that still wait, at the end of a stretch, with what is known."""
        return self._take([row], ended=True)

    def _take(self, rows: list[int], ended: bool = False) -> tuple[list[BeatCandidate], FloatArray]:
        cuts: list[BeatCandidate] = []
        inputs: list[FloatArray] = []
        while taken := [one for row in rows if (one := self._next(row, ended))]:
            found, clusters, new, noise = self._patients.describe(self._beats([waiting for waiting, _ in taken]))
            inputs.append(found)
            said = zip(taken, clusters.tolist(), new.tolist(), noise.tolist(), strict=True)
            cuts += [_beat_candidate_of(waiting, decided, *rest) for (waiting, decided), *rest in said]
        return cuts, np.concatenate(inputs) if inputs else np.empty((0, INPUTS), np.float32)

    def _next(self, index: int, ended: bool) -> tuple[_PendingBeat, int] | None:
        """The next beat of a row that is decided, and when; or any where its stretch has ended."""
        row, head, due = self._rows[index], int(self._history.head[index]), int(self._due[index])
        if not row.waiting or (due >= head and not ended):
            return None
        one, row.decided = row.waiting.popleft(), min(due, head - 1)
        self._due[index] = self._decided(row)
        return one, row.decided

    def _decided(self, row: _ContextRow) -> int:
        """Sample at which the first waiting beat of a row is decided, as far as is known now."""
        if not row.waiting:
            return NO_DEADLINE
        peak, following = row.waiting[0].peak, row.waiting[0].next
        due = peak.sample + LATEST_DECISION
        if following is not None:
            due = max(peak.sample + OWN_SAMPLES, following.decided, following.sample + QRS_AFTER + SLACK)
        return max(due, peak.decided, row.decided)

    def _beats(self, taken: list[_PendingBeat]) -> BeatWindows:
        rows = np.array([one.peak.row for one in taken], np.intp)
        samples = np.array([one.peak.sample for one in taken], np.int64)
        nexts = np.array([one.next.sample if one.next else -1 for one in taken], np.int64)
        before = np.full((len(taken), 4), np.nan)
        before[:, 0] = samples
        for i, one in enumerate(taken):
            before[i, 1 : 1 + len(one.before)] = one.before
        none = nexts < 0
        following = self._windows(rows, nexts - QRS_BEFORE - SLACK, QRS_BEFORE + QRS_AFTER + 2 * SLACK)
        following[none] = 0
        return BeatWindows(
            rows=rows,
            waves=self._windows(rows, samples - WAVE_BEFORE - SLACK, WAVE + 2 * SLACK),
            following=following,
            rr=(-np.diff(before, axis=1) / FS).astype(np.float32),
            next=(np.where(none, MOST_RR, nexts - samples) / FS).astype(np.float32),
            no_next=none,
            score=np.array([one.peak.score for one in taken], np.float32),
        )

    def _windows(self, rows: RowIndexArray, firsts: NDArray[np.int64], count: int) -> FloatArray:
        """Samples as `SampleRing.windows` gives them; what is missing before or after is as the middle of the
        others."""
        windows = self._history.windows(rows, firsts, count)
        beyond = firsts + count - self._history.head[rows]
        for i in np.flatnonzero((beyond > 0) | np.isnan(windows).any(axis=1)):
            if beyond[i] > 0:
                windows[i, count - beyond[i] :] = np.nan
            known = windows[i][~np.isnan(windows[i])]
            windows[i][np.isnan(windows[i])] = np.median(known) if len(known) else 0.0
        return windows


def _beat_candidate_of(waiting: _PendingBeat, decided: int, cluster: int, new: bool, noise: float) -> BeatCandidate:
    peak, before = waiting.peak, waiting.before
    rr_s = (peak.sample - before[0]) / FS if before else None
    return BeatCandidate(peak.row, peak.sample, WAVE, decided, rr_s, peak.decided, peak.score, cluster, new, noise)
