"""From R peaks to cuts: each beat waits until all its samples are there, then leaves in order."""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from agent.analysis.qrs_detector import RPeak
from agent.analysis.sample_ring import SampleRing
from agent.core.messages import FloatArray
from model.beats import frontend
from model.records.resample import FS


@dataclass(frozen=True, slots=True)
class BeatCandidate:
    """A beat that is ready for the net: its R peak, the samples that belong to it, the last one its class waits for.

    `found` is the last sample that the R peak itself waited for, `score` what the detector said of it, and `cluster`
    its patient's cluster of such beats, which may be new, or -1 for none, in `noise` (`agent.analysis.beat_context`).
    """

    row: int
    sample: int
    length: int
    decided: int
    rr_s: float | None
    found: int
    score: float = 1.0
    cluster: int = -1
    new: bool = True
    noise: float = 0.0


@dataclass(slots=True)
class _CutterRow:
    """What is known of one bed's current stretch: R peaks near the last, and the cuts that wait for samples."""

    near: deque[int] = field(default_factory=deque)
    waiting: deque[BeatCandidate] = field(default_factory=deque)
    decided: int = 0
    interrupted: int = -1
    """Sample at which the lead went off or came back last."""


class BeatCutter:
    """Cuts the beats of all rows; `history` holds their samples."""

    def __init__(self, history: SampleRing, rows: int = 1) -> None:
        self._history = history
        self._rows = [_CutterRow() for _ in range(rows)]

    def grow(self, rows: int) -> None:
        """Make room for more rows; those there are stay as they are."""
        self._rows += [_CutterRow() for _ in range(rows - len(self._rows))]

    def reset(self, row: int) -> None:
        """A new stretch: RR intervals and cuts do not reach back over its start."""
        self._rows[row] = _CutterRow()

    def interrupt(self, row: int, sample: int) -> None:
        """The lead is off, or back, at `sample`: no RR interval reaches over it."""
        self._rows[row].interrupted = sample

    def push(self, peaks: list[RPeak]) -> None:
        """Take R peaks, in order within each row."""
        for peak in peaks:
            row = self._rows[peak.row]
            if row.near and row.near[-1] < row.interrupted <= peak.sample:
                row.near.clear()
            rr_s = (peak.sample - row.near[-1]) / FS if row.near else None
            row.near.append(peak.sample)
            while row.near[0] < peak.sample - frontend.SURROUNDING_SAMPLES:
                row.near.popleft()
            length = frontend.cut_length(row.near)
            row.decided = max(row.decided, peak.decided, peak.sample + length - 1)
            row.waiting.append(BeatCandidate(peak.row, peak.sample, length, row.decided, rr_s, peak.decided))

    def ready(self, rows: list[int], hold: bool = True) -> tuple[list[BeatCandidate], FloatArray]:  # noqa: ARG002  # nothing is held
        """The cuts of `rows` whose samples have all come, and the net's input (n, 187) of each."""
        cuts = []
        for row in rows:
            waiting, head = self._rows[row].waiting, self._history.head[row]
            while waiting and waiting[0].decided < head:
                cuts.append(waiting.popleft())
        return cuts, self._inputs(cuts)

    def flush(self, row: int) -> tuple[list[BeatCandidate], FloatArray]:
        """The cuts that still wait, at the end of a stretch: each is as long as the signal allows."""
        head = int(self._history.head[row])
        waiting = self._rows[row].waiting
        cuts = [replace(cut, length=min(cut.length, head - cut.sample), decided=head - 1) for cut in waiting]
        waiting.clear()
        return cuts, self._inputs(cuts)

    def forget(self, row: int) -> None:
        """A new run: nothing is kept of the one before."""

    def _inputs(self, cuts: list[BeatCandidate]) -> FloatArray:
        rows = np.array([cut.row for cut in cuts], dtype=np.intp)
        samples = np.array([cut.sample for cut in cuts], dtype=np.int64)
        lengths = np.array([cut.length for cut in cuts], dtype=np.int64)
        return frontend.normalise_beats(self._history.windows(rows, samples, frontend.BEAT_SAMPLES), lengths)
