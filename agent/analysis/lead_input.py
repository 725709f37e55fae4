"""The input of one bed: one lead of its chunks, in millivolts, at 125 Hz, in unbroken blocks.

Samples that are missing (a gap of the link, or counts without a value) end a stretch, and a `Gap` follows. Only holes
of a few samples without a value are bridged: `BridgedHole` says where, and an event sums them up, like the pacemaker
pulses that were blanked.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.core.events import LeadScaled, PacingPulses, SamplesBridged
from agent.core.lead_units import UNITS_MV
from agent.core.messages import MISSING, VALUELESS_REASON, Chunk, FloatArray, Gap, Lead, StreamedRun
from agent.core.sample_index import first_index_at_125_hz
from model.errors import StreamError
from model.records.lead_choice import rank_leads
from model.records.resample import FS, Resampler, resampling_delay_s, resampling_ratio
from model.records.signal_conditioning import (
    ConditionedSignal,
    SignalConditioner,
    conditioning_delay_s,
)

MOST_MILLIVOLTS = 1e4
"""Ten volts: no electrode gives more, and larger values would overflow in the filters."""
SUMMARY_S = 10
"""Seconds of signal whose bridged holes, and whose pacemaker pulses, make one event."""
SUMMARY_SAMPLES = SUMMARY_S * FS


@dataclass(frozen=True, slots=True, eq=False)
class SampleBlock:
    """Unbroken samples: `first` index at 125 Hz of `x` float32 millivolts, (n,) of one lead, (n, leads) of several.

    Of several leads each has a value everywhere or nowhere: a column that is NaN.
    """

    first: int
    x: FloatArray


@dataclass(frozen=True, slots=True)
class BridgedHole:
    """Samples at 125 Hz that have no value, and that the analysis sees as the line between those around them."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class LeadSummary:
    """What was mended in a window of SUMMARY_S that ends at sample `known` of 125 Hz, or where the signal does."""

    known: int
    events: tuple[SamplesBridged | PacingPulses, ...]


@dataclass(frozen=True, slots=True)
class ScaleChange:
    """From sample `first` of 125 Hz on a lead in raw counts has a scale: the `rails` of its converter in mV.

    `event` tells it, or that no scale is found.
    """

    first: int
    rails: tuple[float, float]
    event: LeadScaled


LeadMark = BridgedHole | LeadSummary | ScaleChange
"""What is told beside the samples of a lead."""
LeadStep = SampleBlock | Gap | LeadMark
"""What the samples of a lead become."""


class StreamInput:
    """What is made for one stream: a `run` of `leads` at `fs` hertz."""

    run: str
    fs: float
    leads: tuple[Lead, ...]

    def fits(self, stream: StreamedRun) -> bool:
        """Whether a chunk, or a run, belongs to the stream this input was made for."""
        same_leads = stream.leads is self.leads or stream.leads == self.leads
        return stream.run == self.run and stream.fs == self.fs and same_leads


class LeadInput(StreamInput):
    """The input of one run of one bed. Raises StreamError if the stream cannot be monitored."""

    def __init__(self, chunk: Chunk, wanted_lead: str) -> None:
        names = tuple(lead.name for lead in chunk.leads)
        if wanted_lead != "auto" and wanted_lead not in names:
            raise StreamError(f"no lead {wanted_lead!r} in the stream: choose one of {', '.join(names)} (--lead)")
        self.index = _choose_lead(chunk.leads) if wanted_lead == "auto" else names.index(wanted_lead)
        self.lead = chunk.leads[self.index]
        if self.lead.unit not in UNITS_MV:
            raise StreamError(f"lead {self.lead.name} is in {self.lead.unit}, not mV: choose another (--lead)")
        self.run, self.fs, self.leads = chunk.run, chunk.fs, chunk.leads
        self.scale = UNITS_MV[self.lead.unit] / self.lead.gain
        low, high = ((rail - self.lead.offset) * self.scale for rail in (self.lead.low, self.lead.high))
        self.rails = low, high
        try:
            self.step = resampling_ratio(chunk.fs)
        except ValueError as error:
            raise StreamError(f"cannot resample this stream to {FS} Hz: {error}; set the device to 250 Hz") from error
        self.same_rate = self.step == 1
        self.bed = chunk.bed
        self._resampler: Resampler | None = None
        self._base = self._last = 0.0
        self._stop = 0
        self._conditioner: SignalConditioner | None = None
        self._origin = self._next = 0
        """Samples of the stream: the first that the conditioner saw, and the next that it gives back."""
        self._tally = _MendingTally()

    @property
    def delay_s(self) -> float:
        """Seconds of later signal that the resampling of one sample waits for, and before it the search for pulses."""
        return 0.0 if self.same_rate else resampling_delay_s(self.fs) + conditioning_delay_s(self.fs)

    def at_fs(self, index: int) -> int:
        """Return the index at 125 Hz of the first sample that is not before sample `index` of the stream."""
        return first_index_at_125_hz(index, self.step)

    def push(self, chunk: Chunk) -> list[LeadStep]:
        """Return what a chunk adds."""
        if self._conditioner is None:
            self._conditioner, self._origin, self._next = SignalConditioner(self.fs), chunk.first, chunk.first
        return list(self._convert(self._conditioner.push(self._millivolts(chunk.counts[:, self.index]))))

    @property
    def is_idle(self) -> bool:
        """Whether plain samples come out as they are, if no pulse begins with the first of them."""
        return self._conditioner is not None and self._conditioner.is_idle and not self._tally.windows

    @property
    def last(self) -> float:
        """The latest sample in mV, NaN where there is none or it has no value."""
        return self._conditioner.last if self._conditioner is not None else np.nan

    def passes(self, first: int, x: FloatArray) -> bool:
        """Return whether samples (n,) mV from `first` on at 125 Hz, plain in themselves, come out as they are.

        If so `pass_on` may take them, else `push`.
        """
        if self._conditioner is None or (self._tally.windows and first + len(x) >= (self._tally.end or 0)):
            return False
        return self._conditioner.passes(x.item(0))

    def pass_on(self, x: FloatArray, count: int = 0) -> None:
        """Take samples (n,) mV that pass, or the last n of `count` that have passed since this lead was idle."""
        assert self._conditioner is not None
        self._conditioner.pass_on(x, count)
        self._next += max(count, len(x))

    def gap(self, gap: Gap) -> list[LeadStep]:
        """End the stretch at a gap: return the samples that waited for later ones, then the gap at 125 Hz."""
        return [*self._end_stretch(), *self._begin_gap(gap)]

    def flush(self) -> list[LeadStep]:
        """End the stretch: return the samples that waited for later ones."""
        return [*self._end_stretch(), *self._summaries(self.at_fs(self._next))]

    def _end_stretch(self) -> Iterator[LeadStep]:
        if self._conditioner is not None:
            yield from self._convert(self._conditioner.flush())
            self._conditioner = None
        yield from self._end_resampling()

    def _millivolts(self, counts: NDArray[np.int32]) -> NDArray[np.floating]:
        """Return counts (n,) in millivolts, NaN where they hold no value."""
        x = counts_to_millivolts(counts, self.lead.offset, self.scale)
        if len(counts) and np.minimum.reduce(counts) == MISSING:
            x[counts == MISSING] = np.nan
        return x.astype(np.float32) if self.same_rate else x

    def _convert(self, conditioned: ConditionedSignal) -> Iterator[LeadStep]:
        """Yield the blocks and gaps of conditioned samples, and what was mended in them."""
        x, holes, pulses = conditioned.x, deque(conditioned.holes), deque(conditioned.pulses)
        missing = np.isnan(x)
        edges = (np.flatnonzero(missing[1:] != missing[:-1]) + 1).tolist() if missing.any() else []
        for part in np.split(x, edges) if len(x) else ():
            first = self._next
            self._next += len(part)
            while holes and self._origin + holes[0][0] < self._next:
                yield from self._note_hole(*holes.popleft())
            while pulses and self._origin + pulses[0] < self._next:
                self._tally.add_pulse(self.at_fs(self._origin + pulses.popleft()))
            if np.isnan(part[0]):
                yield from self._end_resampling()
                yield from self._begin_gap(Gap(self.bed, self.run, first, len(part), self.fs, VALUELESS_REASON))
            else:
                yield from self._cut_at_summaries(self._resample(first, part))

    def _note_hole(self, start: int, stop: int) -> Iterator[BridgedHole]:
        first, behind = self.at_fs(self._origin + start), self.at_fs(self._origin + stop)
        self._tally.add_hole(first, stop - start)
        if first < behind:
            yield BridgedHole(first, behind - first)

    def _begin_gap(self, gap: Gap) -> Iterator[LeadStep]:
        """Yield a gap at 125 Hz, and what is to tell of the time before it."""
        first, stop = self.at_fs(gap.first), self.at_fs(gap.first + gap.count)
        yield Gap(gap.bed, gap.run, first, stop - first, FS, gap.reason)
        yield from self._summaries(first)

    def _summaries(self, known: int) -> Iterator[LeadSummary]:
        """Yield what is to tell before sample `known` of 125 Hz, at which the stretch ends."""
        while self._tally.end is not None:
            yield LeadSummary(known, self._tally.take(self.bed, self.run, self.fs))

    def _cut_at_summaries(self, blocks: Sequence[SampleBlock]) -> Iterator[SampleBlock | LeadSummary]:
        """Yield blocks, cut where a window ends of which there is something to tell."""
        for block in blocks:
            first, x = block.first, block.x
            while self._tally.end is not None and first + len(x) >= self._tally.end:
                end = self._tally.end
                if first < end:
                    yield SampleBlock(first, x[: end - first])
                    first, x = end, x[end - first :]
                yield LeadSummary(end, self._tally.take(self.bed, self.run, self.fs))
            if len(x):
                yield SampleBlock(first, x)

    def _end_resampling(self) -> list[SampleBlock]:
        """Return the samples that waited in the resampling filter."""
        if self._resampler is None:
            return []
        first, after = self._resampler.next_output, round(resampling_delay_s(self.fs) * self.fs) + 1
        rest = self._resampler.push(np.full((after, 1), self._last - self._base))[: self._stop - first]
        self._resampler = None
        return [SampleBlock(first, (rest[:, 0] + self._base).astype(np.float32))] if len(rest) else []

    def _resample(self, first: int, x: NDArray[np.floating]) -> list[SampleBlock]:
        if self.same_rate:
            return [SampleBlock(first, x.astype(np.float32, copy=False))]
        self._stop = self.at_fs(first + len(x))
        if self._resampler is None:
            # The filter sees the first value before the stretch, and the last one behind it, for it not to ring.
            self._resampler, self._base = Resampler(self.fs, leads=1, start=self.at_fs(first)), float(x[0])
            x = np.concatenate([np.full(first - self._resampler.first_input, x[0]), x])
        self._last = float(x[-1])
        start = self._resampler.next_output
        out = self._resampler.push(x[:, None] - self._base)
        return [SampleBlock(start, (out[:, 0] + self._base).astype(np.float32))] if len(out) else []


class _MendingTally:
    """Counts of what was mended, by window of SUMMARY_S."""

    def __init__(self) -> None:
        self.windows: dict[int, _MendingCounts] = {}
        """Those that have something to tell, by their number."""

    @property
    def end(self) -> int | None:
        """The sample at 125 Hz behind the first window that has something to tell."""
        return (min(self.windows) + 1) * SUMMARY_SAMPLES if self.windows else None

    def add_hole(self, sample: int, missing: int) -> None:
        """Count a hole of `missing` samples of the device that begins at `sample`."""
        counts = self._counts(sample)
        counts.holes.append(sample)
        counts.missing += missing

    def add_pulse(self, sample: int) -> None:
        """Count a pacemaker pulse at `sample`."""
        self._counts(sample).pulses.append(sample)

    def take(self, bed: str, run: str, fs: float) -> tuple[SamplesBridged | PacingPulses, ...]:
        """Return the events of the first window that has something to tell."""
        counts = self.windows.pop(min(self.windows))
        events: list[SamplesBridged | PacingPulses] = []
        if counts.holes:
            seconds = counts.missing / fs
            events.append(SamplesBridged(bed, run, counts.holes[0], counts.missing, len(counts.holes), seconds))
        if counts.pulses:
            events.append(PacingPulses(bed, run, counts.pulses[0], len(counts.pulses)))
        return tuple(events)

    def _counts(self, sample: int) -> "_MendingCounts":
        return self.windows.setdefault(sample // SUMMARY_SAMPLES, _MendingCounts())


@dataclass(slots=True)
class _MendingCounts:
    """Where the holes and pulses of a window begin, and how many samples are `missing` in its holes."""

    holes: list[int] = field(default_factory=list)
    pulses: list[int] = field(default_factory=list)
    missing: int = 0


def _choose_lead(leads: Sequence[Lead]) -> int:
    """Return the index of the lead to analyse. Raises StreamError if none can be an ECG."""
    names = [lead.name for lead in leads]
    ranked = rank_leads(names, [lead.unit in UNITS_MV for lead in leads]) or rank_leads(names)
    if not ranked:
        raise StreamError(f"no lead is an ECG by its name ({', '.join(names)}): choose one (--lead)")
    return ranked[0]


def counts_to_millivolts(
    counts: NDArray[np.int32], offset: float | NDArray[np.float64], scale: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return counts as float64 millivolts, none of which is beyond MOST_MILLIVOLTS."""
    x: NDArray[np.float64] = np.maximum(np.minimum((counts - offset) * scale, MOST_MILLIVOLTS), -MOST_MILLIVOLTS)
    return x
