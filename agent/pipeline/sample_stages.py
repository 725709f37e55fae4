"""The stages that see samples, in their order: from samples to beats and windows that are not classified yet.

Every stage keeps the state of all beds as rows and works on all rows with new samples at once; `agent.analysis.stage`
is the contract of a stage. Training drives them, too (`agent.training`), so what a net is trained on is what runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.alarms.alarm_feed import WINDOW_DELAY
from agent.analysis.beat_context import LEAST_SCORE, BeatContextBuilder
from agent.analysis.beat_cutter import BeatCutter, Candidates
from agent.analysis.compiled_qrs import open_qrs_detector
from agent.analysis.lead_state import LeadOffDetector
from agent.analysis.qrs_detector import RPeak
from agent.analysis.qrs_height import drop_low_peaks
from agent.analysis.rhythm_windows import RhythmWindows, WindowScores
from agent.analysis.sample_ring import SampleRing
from agent.analysis.stage import Interruption, LeadStateChange, RowIndexArray, RunStart, Stage
from agent.core.config import SignalConfig
from agent.core.messages import FloatArray


@dataclass(frozen=True, slots=True)
class Findings:
    """What a block of samples, or the end of a stretch, brought: input of the decisions."""

    lead_changes: Sequence[LeadStateChange]
    peaks: Sequence[RPeak]
    candidates: Candidates
    windows: Sequence[WindowScores] = ()


class SampleStages:
    """The stages that see samples, in their order. `windows=False` leaves out the classifier of the waveform."""

    def __init__(self, config: SignalConfig, in_context: bool, windows: bool = True, rows: int = 1) -> None:
        self.ring = SampleRing(rows)
        self.lead_off = LeadOffDetector(config.flat_ms, config.flat_uv, rows)
        self.qrs = open_qrs_detector(rows, LEAST_SCORE if in_context else 0.0)
        self.beats = BeatContextBuilder(self.ring, rows) if in_context else BeatCutter(self.ring, rows)
        self.windows = RhythmWindows(self.ring, WINDOW_DELAY, rows) if windows else None
        stages: list[Stage] = [self.ring, self.lead_off, self.qrs, self.beats]
        self._stages = [*stages, self.windows] if self.windows else stages

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows. Those that are there stay as they are."""
        for stage in self._stages:
            stage.grow(rows)

    def start(self, row: int, run: RunStart) -> None:
        """Begin a run: nothing of the one before counts."""
        for stage in reversed(self._stages):
            stage.start(row, run)

    def interrupt(self, row: int, interruption: Interruption) -> None:
        """Let nothing reach over a gap, or over a lead that came off or is back."""
        for stage in reversed(self._stages):
            stage.interrupt(row, interruption)

    def push(self, rows: RowIndexArray, x: FloatArray) -> Findings:
        """Take the next samples `x` (rows, n) float32 mV of `rows` (rows,)."""
        self.ring.push(rows, x)
        lead_changes = self.lead_off.push(rows, x)
        for change in lead_changes:
            self.interrupt(change.row, change)
        peaks = drop_low_peaks(self.ring, self.qrs.push(rows, x))
        candidates = self.beats.push(rows, peaks)
        windows = self.windows.push(rows) if self.windows else ()
        return Findings(lead_changes, peaks, candidates, windows)

    def flush(self, row: int, leads: Sequence[int] = ()) -> Findings:
        """End an unbroken stretch of a row: return what still waited for later samples.

        Beats that are due of the bed's other leads are decided, too, for all to come in order; `leads` are its rows.
        """
        # Beats that are due are decided without the last R peaks, as they would have been a packet later.
        due = self.beats.push(np.array(leads or [row]), (), hold=False)
        peaks = drop_low_peaks(self.ring, self.qrs.flush(row))
        rest = self.beats.flush(row, peaks)
        windows = self.windows.flush(row) if self.windows else ()
        candidates = Candidates([*due.beats, *rest.beats], np.concatenate([due.inputs, rest.inputs]))
        return Findings((), peaks, candidates, windows)
