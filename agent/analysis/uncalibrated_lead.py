"""The input of a lead in raw counts: a scale is found from its first QRS complexes, and then it is like any other lead.

The first seconds wait until they show QRS complexes. From their height follows how many counts are a millivolt, and
what waited is taken in as the counts of a lead with that gain. Where no QRS complex is to be seen, the oldest seconds
are given up: as a flat line if they are flat, else as a gap. The scale stays, unless the QRS complexes have been much
lower or higher for long, as behind a switch of the gain.

All is decided at whole seconds of the device's samples, from what is known by then however the chunks were cut.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from math import ceil

import numpy as np

from agent.analysis.lead_input import LeadInput, LeadStep, SampleBlock, ScaleChange, StreamInput
from agent.analysis.qrs_scale import MeasuredSecond, QrsScaleMeter, find_qrs_height
from agent.core.config import SignalConfig
from agent.core.events import LeadScaled
from agent.core.lead_units import RAW_UNITS
from agent.core.messages import MISSING, Chunk, FloatArray, Gap
from model.records.resample import FS, resampling_delay_s
from model.records.signal_conditioning import conditioning_reach

LEAST_SECONDS = 2
"""Seconds from which a scale is found where the signal ends before there are more."""
FLAT_STEPS = 2
"""A second that moves by so many steps of its unit from peak to peak is flat."""
NO_SCALE_PER_MV = 4e5
"""Counts of a millivolt before the scale is known: nothing that is flat moves, nothing is beyond the converter."""
UNSCALED_REASON = "without a scale"
HELD_BEHIND_S = 3
"""Seconds that are held beside those that a scale is found from: they are measured late."""
NO_COUNTS = np.empty((0, 1), np.int32)


class UncalibratedLead(StreamInput):
    """The input of one run of one lead without a unit of voltage, used as `LeadInput` is."""

    def __init__(self, chunk: Chunk, name: str, config: SignalConfig, known: LeadScaled | None = None) -> None:
        """Take the scale that is `known` of an earlier part of the run, if it is."""
        self.index = [lead.name for lead in chunk.leads].index(name)
        self.lead = chunk.leads[self.index]
        self.run, self.fs, self.leads, self.bed = chunk.run, chunk.fs, chunk.leads, chunk.bed
        self._config = config
        self._second = max(1, round(chunk.fs))
        self._late = ceil((conditioning_reach(chunk.fs) / chunk.fs + resampling_delay_s(chunk.fs)) * FS) + 2
        """Samples at 125 Hz by which what comes out of an input lags behind what has gone in, at most."""
        self._output = self._open_input(NO_SCALE_PER_MV, self.lead.offset)
        """What the bed gets: before the scale is known what is given up, then the scaled signal."""
        self._search: LeadInput | None = self._open_input(NO_SCALE_PER_MV, self.lead.offset)
        """The unscaled signal, in which QRS complexes are looked for while there is no scale."""
        self.rails, self.scale, self.same_rate = self._output.rails, self._output.scale, False
        self.delay_s, self.at_fs = self._output.delay_s, self._output.at_fs
        self._meter = QrsScaleMeter()
        self._seconds: deque[MeasuredSecond] = deque()
        self._held: deque[Chunk | Gap] = deque()
        self._said_unknown = False
        if known is not None and known.per_mv is not None:
            self._search = None
            zero = self.lead.offset + known.zero * self.lead.gain
            self._output = self._open_input(known.per_mv * self.lead.gain, zero)
            self.rails = self._output.rails

    def pass_on(self, first: int, x: FloatArray) -> bool:  # noqa: ARG002  # as LeadInput
        """Take nothing that was converted elsewhere."""
        return False

    def push(self, chunk: Chunk) -> list[LeadStep]:
        """Return what a chunk adds."""
        steps: list[LeadStep] = []
        column = chunk.counts[:, self.index : self.index + 1]
        at = 0
        while at < len(column):
            end = min(len(column), at + self._second - (chunk.first + at) % self._second)
            piece = replace(chunk, first=chunk.first + at, counts=column[at:end])
            steps += self._push_piece(piece)
            if _piece_stop(piece) % self._second == 0:
                steps += self._decide(piece)
            at = end
        return steps

    def gap(self, gap: Gap) -> list[LeadStep]:
        """Take a gap: return what waited for later samples and the gap at 125 Hz, or hold it with what is held."""
        if self._search is None:
            return self._measure(self._output.gap(gap))
        self._held.append(gap)
        self._measure(self._search.gap(gap))
        return list(self._give_up(_piece_stop(gap)))

    def flush(self) -> list[LeadStep]:
        """End the stretch: return the samples that waited, with the scale that they show if they show one."""
        steps: list[LeadStep] = []
        if self._search is not None:
            self._measure(self._search.flush())
            height = find_qrs_height(self._seconds) if len(self._seconds) >= LEAST_SECONDS else None
            steps += self._give_up(None) if height is None else self._set_first_scale(height)
        return [*steps, *self._measure(self._output.flush())]

    def _push_piece(self, piece: Chunk) -> list[LeadStep]:
        """Take samples of one second of the device."""
        if self._search is None:
            return self._measure(_push_counts(self._output, piece))
        last = self._held[-1] if self._held else None
        if isinstance(last, Chunk) and _piece_stop(last) == piece.first and piece.first % self._second:
            self._held[-1] = replace(last, counts=np.concatenate([last.counts, piece.counts]))
        else:
            self._held.append(piece)
        self._measure(_push_counts(self._search, piece))
        return []

    def _decide(self, piece: Chunk) -> Iterator[LeadStep]:
        """Find the scale, or change it, by what is known behind a piece that ends with a second of the device."""
        known = self.at_fs(_piece_stop(piece)) - self._late
        seconds = [second for second in self._seconds if second.stop <= known]
        wanted = round(self._config.scale_s if self._search is not None else self._config.scale_change_s)
        for _ in range(len(seconds) - wanted):
            self._seconds.popleft()
        if len(seconds) < wanted:
            height = None
        elif self._search is not None:
            height = find_qrs_height(seconds[-wanted:])
        else:
            height = self._changed_height(seconds[-wanted:])
        if self._search is not None:
            yield from self._give_up(_piece_stop(piece)) if height is None else self._set_first_scale(height)
        elif height is not None:
            yield from self._change_scale(height, piece)

    def _changed_height(self, seconds: list[MeasuredSecond]) -> float | None:
        """Return the height in mV of QRS complexes that have been much too high or low in all `seconds`, or None."""
        together, wanted = round(self._config.scale_s), self._config.scale_qrs_mv
        shares = []
        for stop in range(len(seconds), together - 1, -together):
            height = find_qrs_height(seconds[stop - together : stop])
            if height is None or 1 / self._config.scale_factor <= height / wanted <= self._config.scale_factor:
                return None
            shares.append(height / wanted)
        return shares[0] * wanted if max(shares) < 1 or min(shares) > 1 else None

    def _set_first_scale(self, height: float) -> Iterator[LeadStep]:
        """Take what is held as the counts of a lead whose QRS complexes have this height."""
        counts = np.concatenate([held.counts[:, 0] for held in self._held if isinstance(held, Chunk)])
        known = counts[counts != MISSING]
        offset = float(np.median(known)) if len(known) else self.lead.offset
        self._search = None
        yield from self._output.flush()
        first = self.at_fs(self._held[0].first)
        yield self._scale_by(NO_SCALE_PER_MV * height / self._config.scale_qrs_mv, offset, first)
        while self._held:
            held = self._held.popleft()
            steps = self._output.gap(held) if isinstance(held, Gap) else _push_counts(self._output, held)
            yield from self._measure(steps)

    def _change_scale(self, height: float, piece: Chunk) -> Iterator[LeadStep]:
        """Change the scale behind a piece; the signal goes on without a step."""
        before, last = self._output.lead, piece.counts.item(-1)
        gain = before.gain * height / self._config.scale_qrs_mv
        offset = before.offset if last == MISSING else last - (last - before.offset) / before.gain * gain
        yield from self._output.flush()
        yield self._scale_by(gain, offset, self.at_fs(_piece_stop(piece)))

    def _scale_by(self, per_mv: float, offset: float, first: int) -> ScaleChange:
        """Open the input with a scale in counts a millivolt, from sample `first` of 125 Hz on."""
        self._output = self._open_input(per_mv, offset)
        self._meter = QrsScaleMeter()
        self._seconds.clear()
        zero = (offset - self.lead.offset) / self.lead.gain
        return self._tell_scale(first, per_mv / self.lead.gain, zero)

    def _tell_scale(self, first: int, per_mv: float | None, zero: float = 0.0) -> ScaleChange:
        event = LeadScaled(self.bed, self.run, first, self.lead.name, self.lead.unit, per_mv, zero)
        return ScaleChange(first, self._output.rails, event)

    def _give_up(self, stop: int | None) -> Iterator[LeadStep]:
        """Give up what is held and so far before sample `stop` of the device that it is not waited for; None: all."""
        kept = self._second * (round(self._config.scale_s) + HELD_BEHIND_S)
        while self._held and (stop is None or _piece_stop(self._held[0]) <= stop - kept):
            held = self._held.popleft()
            if isinstance(held, Gap):
                yield from self._output.gap(held)
                continue
            if not self._said_unknown:
                self._said_unknown = True
                yield self._tell_scale(self.at_fs(held.first), None)
            if self._is_flat(held):
                yield from _push_counts(self._output, held)
            else:
                count = len(held.counts)
                yield from self._output.gap(Gap(self.bed, self.run, held.first, count, self.fs, UNSCALED_REASON))

    def _is_flat(self, piece: Chunk) -> bool:
        """Return whether a piece does not move, or has no value at all."""
        known = piece.counts[piece.counts != MISSING].astype(np.float64)
        return not len(known) or bool(np.ptp(known) <= FLAT_STEPS * RAW_UNITS[self.lead.unit] * abs(self.lead.gain))

    def _measure(self, steps: list[LeadStep]) -> list[LeadStep]:
        """Measure the samples of steps on their way."""
        for step in steps:
            if isinstance(step, SampleBlock):
                self._seconds.extend(self._meter.push(step.first, step.x))
        return steps

    def _open_input(self, per_mv: float, offset: float) -> LeadInput:
        """Return an input for the lead with a gain in counts a millivolt."""
        lead = replace(self.lead, unit="mV", gain=per_mv, offset=offset)
        return LeadInput(Chunk(self.bed, self.run, 0, self.fs, (lead,), NO_COUNTS, 0.0), lead.name)


def _push_counts(lead_input: LeadInput, piece: Chunk) -> list[LeadStep]:
    return lead_input.push(replace(piece, leads=lead_input.leads))


def _piece_stop(piece: Chunk | Gap) -> int:
    """Return the sample behind a piece or a gap."""
    return piece.first + (piece.count if isinstance(piece, Gap) else len(piece.counts))
