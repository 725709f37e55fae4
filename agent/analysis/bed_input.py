"""The input of a bed that analyses several leads: which ones, and their samples side by side.

Each lead has a `LeadInput` of its own, so what becomes of its samples depends on no other lead. Where one lead has no
value and another has, the block says so with NaN; where none has, there is a gap as with one lead.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.analysis.count_conversion import convert_counts
from agent.analysis.lead_input import LeadInput, LeadMark, LeadStep, SampleBlock
from agent.analysis.passing_leads import PassingLeads
from agent.analysis.uncalibrated_lead import UncalibratedLead
from agent.core.config import SignalConfig
from agent.core.events import LeadScaled
from agent.core.lead_units import RAW_UNITS, UNITS_MV
from agent.core.messages import Chunk, End, FloatArray, Gap, Lead, StreamedRun
from model.errors import StreamError
from model.records.lead_choice import rank_leads

NOTHING_PASSES = PassingLeads()
LEADS_OF_AUTO = 2
"""Leads that are analysed unless the settings name them."""


@dataclass(frozen=True, slots=True)
class LeadNote:
    """What was mended in a lead or is known of its scale, by its index among the analysed ones."""

    lead: int
    step: LeadMark


BedStep = SampleBlock | Gap | LeadNote
"""What the samples of a bed become."""


def choose_leads(leads: Sequence[Lead], wanted: str) -> tuple[str, ...]:
    """Return the names of the leads to analyse, the one to be heard first.

    `wanted`: a name, several with commas between them, of which a bed may lack some, or "auto": leads in raw counts
    where there is none in a unit of voltage. Raises StreamError if none of them is there.
    """
    names = tuple(lead.name for lead in leads)
    if wanted == "auto":
        ranked = rank_leads(names, [lead.unit in UNITS_MV for lead in leads])
        ranked = ranked or rank_leads(names, [lead.unit in RAW_UNITS for lead in leads])
        return tuple(names[index] for index in ranked[:LEADS_OF_AUTO]) or ("auto",)  # `LeadInput` says what is wrong
    if wanted in names:
        return (wanted,)
    asked = tuple(dict.fromkeys(name.strip() for name in wanted.split(",")))
    there = tuple(name for name in asked if name in names)
    if not there:
        raise StreamError(f"no lead {asked[0]!r} in the stream: choose one of {', '.join(names)} (--lead)")
    return there


class BedInput:
    """The input of one run of one bed. Raises StreamError if the stream cannot be monitored."""

    def __init__(self, chunk: Chunk, wanted: str, config: SignalConfig, scales: Sequence[LeadScaled] = ()) -> None:
        """Take the scales of leads that are known of an earlier part of a run, the later ones last."""
        known = {scale.lead: scale for scale in scales if (scale.bed, scale.run) == (chunk.bed, chunk.run)}
        self.leads = tuple(
            _open_lead(chunk, name, config, known.get(name)) for name in choose_leads(chunk.leads, wanted)
        )
        first = self.leads[0]
        self.run, self.fs, self.delay_s = first.run, first.fs, first.delay_s
        self.fits, self.at_fs = first.fits, first.at_fs
        self.same_rate = all(lead.same_rate for lead in self.leads)
        """Whether all leads come as they are, at 125 Hz and in a unit of voltage."""
        self._plain = tuple(lead for lead in self.leads if isinstance(lead, LeadInput)) if self.same_rate else ()
        self._passing = NOTHING_PASSES
        self._slots: tuple[int, ...] = ()
        """Where the leads pass among others, once they may."""
        self._taken = 0
        self.columns = tuple(lead.index for lead in self.leads)
        self.offsets, self.scales = tuple(zip(*((lead.lead.offset, lead.scale) for lead in self.leads), strict=True))
        """What makes millivolts of the counts of each lead."""
        self._waiting: tuple[deque[LeadStep], ...] = tuple(deque() for _ in self.leads)
        """What a lead is ahead of the others, where only it ended a stretch: resampling waits for later samples."""

    @property
    def taken(self) -> int:
        """The number of samples that came in, at the rate of the device."""
        return self._taken + (int(self._passing.counts[self._slots[0]]) if self._slots else 0)

    def slots_among(self, passing: PassingLeads) -> tuple[int, ...]:
        """Return the slots of the leads, of a bed at 125 Hz, where they may pass."""
        if not self._slots:
            self._passing, self._slots = passing, tuple(passing.reserve() for _ in self._plain)
        return self._slots

    def release(self) -> None:
        """Give the slots back: another input takes what comes from now on."""
        self._leave()
        for slot in self._slots:
            self._passing.release(slot)
        self._slots = ()

    def enter(self) -> None:
        """Let all leads pass, if they are idle: plain samples of them need not come here."""
        if not any(self._waiting) and all(lead.is_idle for lead in self._plain):
            for lead, slot in zip(self._plain, self._slots, strict=True):
                self._passing.enter(slot, lead.last)

    def _leave(self) -> None:
        """Go on from what has passed."""
        if not self._slots or not self._passing.inside[self._slots[0]]:
            return
        self._taken = self.taken
        for lead, slot in zip(self._plain, self._slots, strict=True):
            x, count = self._passing.leave(slot)
            if count:
                lead.pass_on(x, count)

    def push(self, chunk: Chunk) -> list[BedStep]:
        """Return the blocks and gaps that a chunk adds."""
        self._leave()
        self._taken += len(chunk.counts)
        if len(self.leads) == 1:
            return _with_notes(self.leads[0].push(chunk))
        return self._align([lead.push(chunk) for lead in self.leads])

    def pass_on(self, first: int, x: FloatArray) -> bool:
        """Take samples `x` (leads, n) mV from `first` on that are plain in themselves, if they come out as they are.

        Return whether they were taken; what was not is for `push`.
        """
        self._leave()
        if any(self._waiting) or not all(lead.passes(first, row) for lead, row in zip(self._plain, x, strict=True)):
            return False
        for lead, row in zip(self._plain, x, strict=True):
            lead.pass_on(row)
        self._taken += x.shape[1]
        return True

    def gap(self, gap: Gap) -> list[BedStep]:
        """End the stretch at a gap: return the samples that waited for later ones, then the gap at 125 Hz."""
        self._leave()
        if len(self.leads) == 1:
            return _with_notes(self.leads[0].gap(gap))
        return self._align([lead.gap(gap) for lead in self.leads])

    def flush(self) -> list[BedStep]:
        """End the stretch: return the samples that waited for later ones."""
        self._leave()
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
                while waiting and isinstance(waiting[0], LeadMark):
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


class AlikeInputs(NamedTuple):
    """Inputs of k beds that analyse the same `columns` of their chunks; `places` (k,) of these among others.

    `offsets`, `scales` (k, leads, 1): what makes millivolts of counts. `slots` (k, leads) among the leads that pass.
    """

    places: NDArray[np.intp]
    inputs: list[BedInput]
    columns: tuple[int, ...]
    offsets: NDArray[np.float64]
    scales: NDArray[np.float64]
    slots: NDArray[np.intp]

    @classmethod
    def of(cls, places: list[int], inputs: list[BedInput], passing: PassingLeads) -> "AlikeInputs":
        """Return inputs with the same columns as alike."""
        offsets, scales = (np.array([getattr(one, of) for one in inputs])[:, :, None] for of in ("offsets", "scales"))
        slots = np.array([one.slots_among(passing) for one in inputs])
        return cls(np.array(places), inputs, inputs[0].columns, offsets, scales, slots)

    @classmethod
    def joined(cls, parts: Sequence[tuple[int, "AlikeInputs"]]) -> "AlikeInputs":
        """Return inputs with the same columns as alike; each part with the place of its first bed among all."""
        places = np.concatenate([first + part.places for first, part in parts])
        inputs = [one for _, part in parts for one in part.inputs]
        arrays = (np.concatenate(some) for some in zip(*(part[3:] for _, part in parts), strict=True))
        return cls(places, inputs, parts[0][1].columns, *arrays)

    def convert(self, firsts: Sequence[int], counts: NDArray[np.int32]) -> "AlikeChunks":
        """Convert counts (k, n, all leads) from samples `firsts` (k,) on."""
        return AlikeChunks(self, firsts, *convert_counts(counts, self.columns, self.offsets, self.scales))


class AlikeChunks(NamedTuple):
    """Equally long chunks of k beds with inputs that are `alike`, converted together.

    `firsts` (k,) samples; `x` (k, leads, n) float32 mV of the analysed leads; which are `plain` (k,): no value is
    missing, and nothing may be a pulse.
    """

    alike: AlikeInputs
    firsts: Sequence[int]
    x: FloatArray
    plain: NDArray[np.bool_]

    def pass_on(self, able: NDArray[np.bool_], passing: PassingLeads) -> NDArray[np.bool_]:
        """Let those `able` ones of these chunks (k,) pass that come out as they are; return which. The rest: `push`."""
        _, inputs, *_, slots = self.alike
        taken = able & passing.inside[slots[:, 0]]
        outside = able & ~taken
        if taken.all():
            taken = passing.take(slots, self.x)
        elif taken.any():
            taken[taken] = passing.take(slots[taken], self.x[taken])
        for i in outside.nonzero()[0].tolist():
            if inputs[i].pass_on(self.firsts[i], self.x[i]):
                inputs[i].enter()
                taken[i] = True
        return taken


def group_alike_inputs(
    runs: Sequence[StreamedRun], inputs: Sequence[BedInput | None], passing: PassingLeads
) -> list[AlikeInputs]:
    """Return the inputs that fit their runs and take their samples as they are, those with the same columns together.

    They hold for as long as the runs and the inputs are the same objects; None is a bed without an input.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, (run, one) in enumerate(zip(runs, inputs, strict=True)):
        if one is not None and one.same_rate and one.fits(run):
            places.setdefault(one.columns, []).append(place)
    return [AlikeInputs.of(group, [inputs[place] for place in group], passing) for group in places.values()]  # type: ignore[misc]  # none is None


def join_alike_chunks(
    inputs: Sequence[BedInput | None], messages: Sequence[Chunk | Gap | End], most: int, passing: PassingLeads
) -> list[AlikeChunks]:
    """Convert the chunks of many beds together, those that are alike.

    Left out is what its input must see by itself: no chunk, more than `most` samples, another run, another rate than
    125 Hz.
    """
    alike: dict[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[int, BedInput, Chunk]]] = {}
    for place, (bed, chunk) in enumerate(zip(inputs, messages, strict=True)):
        if bed is not None and bed.same_rate and isinstance(chunk, Chunk) and bed.fits(chunk):
            key = chunk.counts.shape, bed.columns
            if key in alike:
                alike[key].append((place, bed, chunk))
            elif 0 < len(chunk.counts) <= most:
                alike[key] = [(place, bed, chunk)]
    return [_join_chunks(passing, *map(list, zip(*group, strict=True))) for group in alike.values()]


def _join_chunks(passing: PassingLeads, places: list[int], inputs: list[BedInput], chunks: list[Chunk]) -> AlikeChunks:
    counts = np.concatenate([chunk.counts for chunk in chunks]).reshape(len(chunks), *chunks[0].counts.shape)
    return AlikeInputs.of(places, inputs, passing).convert([chunk.first for chunk in chunks], counts)


def _open_lead(chunk: Chunk, name: str, config: SignalConfig, known: LeadScaled | None) -> LeadInput | UncalibratedLead:
    """Return the input of a lead by name, or "auto" where no lead is an ECG. Raises StreamError if it is none."""
    if any(lead.name == name and lead.unit in RAW_UNITS for lead in chunk.leads):
        return UncalibratedLead(chunk, name, config, known)
    return LeadInput(chunk, name)


def _with_notes(steps: list[LeadStep]) -> list[BedStep]:
    """Return the steps of a bed's only lead as those of the bed."""
    return [LeadNote(0, step) if isinstance(step, LeadMark) else step for step in steps]


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
