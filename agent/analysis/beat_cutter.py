"""From R peaks to single beats, cut and normalised as Kachuee et al. 2018 do, each as soon as all its samples are
there.

This stage feeds the nets of the report, which see one beat at a time. The monitor's own net sees a beat in its context:
`agent.analysis.beat_context`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from agent.analysis.qrs_detector import RPeak
from agent.analysis.sample_ring import SampleRing
from agent.analysis.stage import Interruption, RowIndexArray, RunStart
from agent.core.messages import FloatArray, Gap
from model.beats import frontend
from model.records.resample import FS


class BeatCandidate(msgspec.Struct, frozen=True, gc=False):
    """A candidate that is ready for the net. All samples at 125 Hz.

    `sample` is its R peak, `length` the samples that belong to it, `class_known` the last sample that its class waits
    for, `r_peak_known` the last one that the R peak itself waited for. `score` is what the detector gave it, `cluster`
    the patient's cluster of such beats (-1: none) and whether that is `new`, `noise` the level of noise around it
    (`agent.analysis.beat_context`).
    """

    row: int
    sample: int
    length: int
    class_known: int
    rr_s: float | None
    r_peak_known: int
    score: float = 1.0
    cluster: int = -1
    new: bool = True
    noise: float = 0.0


class Candidates(NamedTuple):
    """Candidates that are decided, and the net's input (n, inputs) float32 of each."""

    beats: list[BeatCandidate]
    inputs: FloatArray


@dataclass(slots=True)
class _CutterRow:
    """State of one row's stretch: R peaks near the last one, and the candidates that wait for samples."""

    near: deque[int] = field(default_factory=deque)
    waiting: deque[BeatCandidate] = field(default_factory=deque)
    decided: int = 0
    interrupted: int = -1
    """Sample at which the lead came off or was back last."""


class BeatCutter:
    """Cuts the beats of all rows; `ring` holds their samples."""

    def __init__(self, ring: SampleRing, rows: int = 1) -> None:
        self._ring = ring
        self._rows = [_CutterRow() for _ in range(rows)]

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        self._rows += [_CutterRow() for _ in range(rows - len(self._rows))]

    def start(self, row: int, run: RunStart) -> None:  # noqa: ARG002  # a stretch is like any other
        """Begin a run: no RR interval and no beat reaches back over its start."""
        self._rows[row] = _CutterRow()

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Let no RR interval reach over the interruption, and no beat over a gap."""
        if isinstance(interruption, Gap):
            self._rows[row] = _CutterRow()
        else:
            self._rows[row].interrupted = interruption.sample

    def push(self, rows: RowIndexArray, peaks: Sequence[RPeak], hold: bool = True) -> Candidates:  # noqa: ARG002
        """Take R peaks, in order within each row; return the beats of `rows` whose samples are all there.

        `hold` is for stages that save work by waiting; this one never does. The net's input is (n, 187) in 0..1.
        """
        for peak in peaks:
            self._take_peak(peak)
        ready = []
        for row in rows.tolist():
            waiting, head = self._rows[row].waiting, self._ring.head[row]
            while waiting and waiting[0].class_known < head:
                ready.append(waiting.popleft())
        return Candidates(ready, self._inputs(ready))

    def flush(self, row: int, peaks: Sequence[RPeak] = ()) -> Candidates:
        """Return the beats that still wait, with the last `peaks`: each is as long as the signal allows."""
        for peak in peaks:
            self._take_peak(peak)
        head = int(self._ring.head[row])
        waiting = self._rows[row].waiting
        rest = [
            msgspec.structs.replace(one, length=min(one.length, head - one.sample), class_known=head - 1)
            for one in waiting
        ]
        waiting.clear()
        return Candidates(rest, self._inputs(rest))

    def _take_peak(self, peak: RPeak) -> None:
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

    def _inputs(self, candidates: list[BeatCandidate]) -> FloatArray:
        rows = np.array([one.row for one in candidates], dtype=np.intp)
        samples = np.array([one.sample for one in candidates], dtype=np.int64)
        lengths = np.array([one.length for one in candidates], dtype=np.int64)
        return frontend.normalise_beats(self._ring.windows(rows, samples, frontend.BEAT_SAMPLES), lengths)
