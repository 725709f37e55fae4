"""The input of a bed that analyses several leads: which ones, and their samples side by side.

Each lead has a `LeadInput` of its own, so what becomes of its samples depends on no other lead. Where one lead has no
value and another has, the block says so with NaN; where none has, there is a gap as with one lead.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.analysis.lead_input import (
    BridgedHole,
    LeadInput,
    LeadStep,
    LeadSummary,
    SampleBlock,
    chunks_to_millivolts,
)
from agent.core.lead_units import UNITS_MV
from agent.core.messages import Chunk, FloatArray, Gap, Lead
from model.errors import StreamError
from model.records.lead_choice import rank_leads

LEADS_OF_AUTO = 2
"""Leads that are analysed unless the settings name them."""


@dataclass(frozen=True, slots=True)
class LeadNote:
    """What was mended in a lead, by its index among the analysed ones."""

    lead: int
    step: BridgedHole | LeadSummary


BedStep = SampleBlock | Gap | LeadNote
"""What the samples of a bed become."""


def choose_leads(leads: Sequence[Lead], wanted: str) -> tuple[str, ...]:
    """Return the names of the leads to analyse, the one to be heard first.

    `wanted`: a name, several with commas between them, or "auto". Raises StreamError if a wanted one is not there.
    """
    names = tuple(lead.name for lead in leads)
    if wanted == "auto":
        ranked = rank_leads(names, [lead.unit in UNITS_MV for lead in leads])
        return tuple(names[index] for index in ranked[:LEADS_OF_AUTO]) or ("auto",)  # `LeadInput` says what is wrong
    if wanted in names:
        return (wanted,)
    asked = tuple(dict.fromkeys(name.strip() for name in wanted.split(",")))
    for name in asked:
        if name not in names:
            raise StreamError(f"no lead {name!r} in the stream: choose one of {', '.join(names)} (--lead)")
    return asked


class BedInput:
    """The input of one run of one bed. Raises StreamError if the stream cannot be monitored."""

    def __init__(self, chunk: Chunk, wanted: str) -> None:
        self.leads = tuple(LeadInput(chunk, name) for name in choose_leads(chunk.leads, wanted))
        first = self.leads[0]
        self.run, self.fs, self.delay_s = first.run, first.fs, first.delay_s
        self.fits, self.at_fs = first.fits, first.at_fs
        self._waiting: tuple[deque[LeadStep], ...] = tuple(deque() for _ in self.leads)
        """What a lead is ahead of the others, where only it ended a stretch: resampling waits for later samples."""

    def push(self, chunk: Chunk, x: FloatArray | None = None) -> list[BedStep]:
        """Return the blocks and gaps that a chunk adds.

        `x` mV if `bed_chunks_to_millivolts` has converted the chunk: (n,) of one lead, (n, leads) of several.
        """
        if len(self.leads) == 1:
            return _with_notes(self.leads[0].push(chunk, x))
        columns = [None] * len(self.leads) if x is None else list(x.T)
        return self._align([lead.push(chunk, column) for lead, column in zip(self.leads, columns, strict=True)])

    def gap(self, gap: Gap) -> list[BedStep]:
        """End the stretch at a gap: return the samples that waited for later ones, then the gap at 125 Hz."""
        if len(self.leads) == 1:
            return _with_notes(self.leads[0].gap(gap))
        return self._align([lead.gap(gap) for lead in self.leads])

    def flush(self) -> list[BedStep]:
        """End the stretch: return the samples that waited for later ones."""
        if len(self.leads) == 1:
            return _with_notes(self.leads[0].flush())
        return self._align([lead.flush() for lead in self.leads])

    def _align(self, added: Sequence[list[LeadStep]]) -> list[BedStep]:
        """Take what each lead adds; return the blocks (n, leads), gaps and notes as far as all leads are known."""
        for waiting, steps in zip(self._waiting, added, strict=True):
            waiting.extend(step for step in steps if _step_length(step) != 0)
        aligned: list[BedStep] = []
        while True:
            for lead, waiting in enumerate(self._waiting):
                while waiting and isinstance(waiting[0], BridgedHole | LeadSummary):
                    aligned.append(LeadNote(lead, waiting.popleft()))  # type: ignore[arg-type]  # as just seen
            if not all(self._waiting):
                return aligned
            aligned.append(self._take_together())

    def _take_together(self) -> SampleBlock | Gap:
        """Take what comes next of all leads, as long as it is of one kind in each."""
        count = min(_step_length(waiting[0]) for waiting in self._waiting)
        steps = [_take_samples(waiting, count) for waiting in self._waiting]
        gap = next((step for step in steps if isinstance(step, Gap)), None)
        if gap is not None and all(isinstance(step, Gap) for step in steps):
            return gap
        missing = np.full(count, np.nan, np.float32)
        columns = [step.x if isinstance(step, SampleBlock) else missing for step in steps]
        return SampleBlock(steps[0].first, np.stack(columns, axis=1))


def bed_chunks_to_millivolts(inputs: Sequence[BedInput | None], chunks: Sequence[Chunk]) -> list[FloatArray | None]:
    """Convert chunks of many beds together: millivolts (n,) of one lead, (n, leads) of several.

    None for a chunk that its input must see by itself: another run, another rate than 125 Hz, missing values.
    """
    leads: list[LeadInput | None] = []
    repeated: list[Chunk] = []
    for bed, chunk in zip(inputs, chunks, strict=True):
        own = (None,) if bed is None else bed.leads
        leads += own
        repeated += [chunk] * len(own)
    converted = iter(chunks_to_millivolts(leads, repeated))
    together: list[FloatArray | None] = []
    for bed in inputs:
        if bed is None or len(bed.leads) == 1:
            together.append(next(converted))
            continue
        columns = [next(converted) for _ in bed.leads]
        whole = [column for column in columns if column is not None]
        together.append(np.stack(whole, axis=1) if len(whole) == len(columns) else None)
    return together


def _with_notes(steps: list[LeadStep]) -> list[BedStep]:
    """Return the steps of a bed's only lead as those of the bed."""
    return [LeadNote(0, step) if isinstance(step, BridgedHole | LeadSummary) else step for step in steps]


def _step_length(step: LeadStep) -> int:
    """Return the number of samples of a block or a gap, -1 of what is neither."""
    return len(step.x) if isinstance(step, SampleBlock) else step.count if isinstance(step, Gap) else -1


def _take_samples(waiting: deque[LeadStep], count: int) -> SampleBlock | Gap:
    """Take the first `count` samples of what waits of a lead; its first step is a block or gap of at least as many."""
    step = waiting.popleft()
    assert isinstance(step, SampleBlock | Gap)
    if _step_length(step) == count:
        return step
    if isinstance(step, SampleBlock):
        waiting.appendleft(SampleBlock(step.first + count, step.x[count:]))
        return SampleBlock(step.first, step.x[:count])
    waiting.appendleft(replace(step, first=step.first + count, count=step.count - count))
    return replace(step, count=count)
