"""The input of a bed that analyses several leads: which ones, and their samples side by side.

Each lead has a `LeadInput` of its own, so what becomes of its samples depends on no other lead. Where one lead has no
value and another has, the block says so with NaN; where none has, there is a gap as with one lead.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.analysis.lead_input import LeadInput, LeadMark, LeadStep, SampleBlock, counts_to_millivolts
from agent.analysis.passing_leads import PassingLeads
from agent.analysis.uncalibrated_lead import UncalibratedLead
from agent.core.config import SignalConfig
from agent.core.events import LeadScaled
from agent.core.lead_units import RAW_UNITS, UNITS_MV
from agent.core.messages import MISSING, BedsChunk, Chunk, End, FloatArray, Gap, Lead, StreamedRun
from model.errors import StreamError
from model.records.lead_choice import rank_leads
from model.records.resample import FS
from model.records.signal_conditioning import plain_rows

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
        self.slots: tuple[int, ...] = ()
        """Where the leads pass among others, if they do."""
        self.columns = tuple(lead.index for lead in self.leads)
        self.offsets, self.scales = tuple(zip(*((lead.lead.offset, lead.scale) for lead in self.leads), strict=True))
        """What makes millivolts of the counts of each lead."""
        self._waiting: tuple[deque[LeadStep], ...] = tuple(deque() for _ in self.leads)
        """What a lead is ahead of the others, where only it ended a stretch: resampling waits for later samples."""

    def enter(self, passing: PassingLeads) -> None:
        """Let all leads pass, if they are idle: `passing` may then take plain samples of the slots."""
        if not any(self._waiting) and all(lead.is_idle for lead in self._plain):
            self._passing, self.slots = passing, tuple(passing.enter(lead.last) for lead in self._plain)

    def _leave(self) -> None:
        """Go on from what has passed."""
        for lead, slot in zip(self._plain, self.slots, strict=False):
            x, count = self._passing.leave(slot)
            if count:
                lead.pass_on(x, count)
        self.slots = ()

    def push(self, chunk: Chunk) -> list[BedStep]:
        """Return the blocks and gaps that a chunk adds."""
        self._leave()
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

    `offsets`, `scales` (k, leads, 1): what makes millivolts of counts.
    """

    places: list[int]
    inputs: list[BedInput]
    columns: tuple[int, ...]
    offsets: NDArray[np.float64]
    scales: NDArray[np.float64]

    @classmethod
    def of(cls, places: list[int], inputs: list[BedInput]) -> "AlikeInputs":
        """Return inputs with the same columns as alike."""
        offsets, scales = (np.array([getattr(one, of) for one in inputs])[:, :, None] for of in ("offsets", "scales"))
        return cls(places, inputs, inputs[0].columns, offsets, scales)

    def convert(self, firsts: Sequence[int], counts: NDArray[np.int32]) -> "AlikeChunks":
        """Convert counts (k, n, all leads) from samples `firsts` (k,) on."""
        chosen = counts[:, :, self.columns].transpose(0, 2, 1)  # (k, leads, n)
        x = counts_to_millivolts(chosen, self.offsets, self.scales).astype(np.float32, order="C")
        plain = plain_rows(x.reshape(-1, x.shape[2]), FS).reshape(len(x), -1).all(axis=1)
        plain &= (chosen != MISSING).all(axis=(1, 2))
        return AlikeChunks(self.places, self.inputs, firsts, x, plain.tolist())


class AlikeChunks(NamedTuple):
    """Equally long chunks of k beds, converted together.

    `places` (k,) among others, `firsts` (k,) samples; `x` (k, leads, n) float32 mV of the analysed leads; which are
    `plain` (k,): no value is missing, and nothing may be a pulse.
    """

    places: list[int]
    inputs: list[BedInput]
    firsts: Sequence[int]
    x: FloatArray
    plain: list[bool]

    def pass_on(self, able: list[int], passing: PassingLeads) -> list[int]:
        """Let those of these chunks pass that come out as they are; return which, in order. What is left: `push`."""
        inside = [i for i in able if self.inputs[i].slots]
        taken = inside
        if inside:
            slots = np.array([self.inputs[i].slots for i in inside])
            passes = passing.take(slots, self.x if len(inside) == len(self.x) else self.x[inside])
            if not passes.all():
                taken = [i for i, passed in zip(inside, passes.tolist(), strict=True) if passed]
        if len(inside) < len(able):
            for i in set(able).difference(inside):
                if self.inputs[i].pass_on(self.firsts[i], self.x[i]):
                    self.inputs[i].enter(passing)
                    taken.append(i)
            taken.sort()
        return taken


class AlikeRuns(NamedTuple):
    """The `inputs` of the beds of a BedsChunk, None where a bed has none; `alike`: those that fit its `runs`.

    It holds for as long as the runs and the inputs are the same objects.
    """

    runs: Sequence[StreamedRun]
    inputs: list[BedInput | None]
    alike: list[AlikeInputs]

    @classmethod
    def of(cls, runs: Sequence[StreamedRun], inputs: list[BedInput | None]) -> "AlikeRuns":
        """Find the inputs that fit their runs and take their samples as they are."""
        places: dict[tuple[int, ...], list[int]] = {}
        for place, (run, one) in enumerate(zip(runs, inputs, strict=True)):
            if one is not None and one.same_rate and one.fits(run):
                places.setdefault(one.columns, []).append(place)
        alike = [AlikeInputs.of(group, [inputs[place] for place in group]) for group in places.values()]  # type: ignore[misc]  # none is None
        return cls(runs, inputs, alike)

    def convert(self, chunk: BedsChunk) -> Iterator[AlikeChunks]:
        """Yield the samples of the beds that are alike."""
        for group in self.alike:
            if len(group.places) == len(self.runs):
                yield group.convert(chunk.firsts, chunk.counts)
            else:
                yield group.convert([chunk.firsts[place] for place in group.places], chunk.counts[group.places])


def join_alike_chunks(
    inputs: Sequence[BedInput | None], messages: Sequence[Chunk | Gap | End], most: int
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
    return [_join_chunks(*map(list, zip(*group, strict=True))) for group in alike.values()]


def _join_chunks(places: list[int], inputs: list[BedInput], chunks: list[Chunk]) -> AlikeChunks:
    counts = np.concatenate([chunk.counts for chunk in chunks]).reshape(len(chunks), *chunks[0].counts.shape)
    return AlikeInputs.of(places, inputs).convert([chunk.first for chunk in chunks], counts)


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
