"""What the stages found and the net has not classified yet, and the order in which it becomes results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np

from agent.analysis.beat_cutter import BeatCandidate, Candidates
from agent.analysis.rhythm_windows import WindowScores
from agent.analysis.stage import LeadStateChange
from agent.core.events import GapClosed, LeadScaled, PacingPulses, SamplesBridged, StreamRefused
from agent.core.messages import FloatArray
from agent.pipeline.monitored_bed import MonitoredBed

EVENT_RANK, CANDIDATE_RANK, WINDOW_RANK = range(3)
"""Which comes first of what was decided at the same sample."""


@dataclass(frozen=True, slots=True)
class LeadValuesChange:
    """One of several leads, in row `row` of samples, sends no value from `sample` on, or sends values again."""

    row: int
    sample: int
    has_values: bool


@dataclass(frozen=True, slots=True)
class BedLeadChanges:
    """The leads of a bed that came off, saturated, or are back at one `sample`."""

    sample: int
    changes: tuple[LeadStateChange, ...]


class BedWindows(msgspec.Struct, frozen=True, gc=False):
    """The windows of a bed's leads that end before `sample`, one at least."""

    sample: int
    windows: tuple[WindowScores, ...]


LeadEvent = SamplesBridged | PacingPulses | LeadScaled
NoCandidate = BedLeadChanges | LeadValuesChange | GapClosed | StreamRefused | LeadEvent | BedWindows
PendingItem = NoCandidate | BeatCandidate

LeadItem = TypeVar("LeadItem", LeadStateChange, WindowScores)


_Pending = tuple[int, int, int, int, int, MonitoredBed, int, PendingItem, int]
"""An item behind its place: the row of its bed, deciding sample, rank, row (the last first), and when it came.

Then the bed, the row of samples of its lead (-1 for none), the item, and a candidate's place in the batch of the net.
"""

Decidable = tuple[MonitoredBed, int, PendingItem, list[float]]
"""An item of a bed with its row of samples, -1 for none, and the scores that the net gives a candidate."""


class PendingResults:
    """Collects the findings of all beds of one stretch each; a break of a bed takes them out first."""

    def __init__(self) -> None:
        self._items: list[_Pending] = []
        self._inputs: list[FloatArray] = []
        self._candidates = 0

    def add(self, bed: MonitoredBed, sample: int, rank: int, item: PendingItem, row: int = -1) -> None:
        """Keep an item of a bed that was decided at `sample`, of the lead in `row` of samples or of none."""
        self._items.append((bed.row, sample, rank, -row, len(self._items), bed, row, item, -1))

    def add_lead_changes(self, beds: Sequence[MonitoredBed], changes: Sequence[LeadStateChange]) -> None:
        """Keep changes of leads, those of a bed at one sample together; `beds` by row of samples."""
        for bed, sample, group in _group_by_bed(beds, changes):
            self.add(bed, sample, EVENT_RANK, BedLeadChanges(sample, group))

    def add_windows(self, beds: Sequence[MonitoredBed], windows: Sequence[WindowScores]) -> None:
        """Keep windows, those of a bed's leads that end at one sample together; `beds` by row of samples."""
        for bed, sample, group in _group_by_bed(beds, windows):
            self.add(bed, sample, WINDOW_RANK, BedWindows(sample, group))

    def add_candidates(self, beds: Sequence[MonitoredBed], candidates: Candidates) -> None:
        """Keep candidates, and what the net is to see of them; `beds` by row of samples."""
        if not candidates.beats:
            return
        for candidate in candidates.beats:
            row = candidate.row
            bed, number, place = beds[row], len(self._items), self._candidates
            self._items.append(
                (bed.row, candidate.class_known, CANDIDATE_RANK, -row, number, bed, row, candidate, place)
            )
            self._candidates += 1
        self._inputs.append(candidates.inputs)

    def take(self, classify: Callable[[FloatArray], FloatArray]) -> list[Decidable]:
        """Classify all candidates in one batch, and return every item in order."""
        if not self._items:
            return []
        scores = classify(np.concatenate(self._inputs)).tolist() if self._inputs else []
        items, self._items = sorted(self._items), []
        self._inputs.clear()
        self._candidates = 0
        return [(bed, row, item, scores[place] if place >= 0 else []) for _, _, _, _, _, bed, row, item, place in items]


def _group_by_bed(
    beds: Sequence[MonitoredBed], items: Sequence[LeadItem]
) -> list[tuple[MonitoredBed, int, tuple[LeadItem, ...]]]:
    """Return the items of each bed and sample together, with that bed and sample; `beds` by row of samples."""
    together: dict[tuple[int, int], list[LeadItem]] = {}
    for item in items:
        together.setdefault((beds[item.row].row, item.sample), []).append(item)
    return [(beds[group[0].row], sample, tuple(group)) for (_, sample), group in together.items()]
