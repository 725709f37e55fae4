"""The input of one bed: one lead of its chunks, in millivolts, at 125 Hz, in unbroken blocks.

Samples that are missing (a gap of the link, or counts without a value) end a stretch, and a `Gap` follows. Nothing is
ever interpolated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.core.lead_units import UNITS_MV
from agent.core.messages import MISSING, VALUELESS_REASON, Chunk, FloatArray, Gap
from agent.core.sample_index import first_index_at_125_hz
from model.errors import StreamError
from model.records.resample import FS, Resampler, resampling_delay_s, resampling_ratio
from model.records.wfdb_records import default_lead

MOST_MILLIVOLTS = 1e4
"""Ten volts: no electrode gives more, and larger values would overflow in the filters."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleBlock:
    """Unbroken samples: `first` index at 125 Hz of `x` float32 millivolts, (n,) of one lead, (n, leads) of several.

    Of several leads each has a value everywhere or nowhere: a column that is NaN.
    """

    first: int
    x: FloatArray


class LeadInput:
    """The input of one run of one bed. Raises StreamError if the stream cannot be monitored."""

    def __init__(self, chunk: Chunk, wanted_lead: str) -> None:
        names = tuple(lead.name for lead in chunk.leads)
        if wanted_lead != "auto" and wanted_lead not in names:
            raise StreamError(f"no lead {wanted_lead!r} in the stream: choose one of {', '.join(names)} (--lead)")
        self.index = default_lead(names) if wanted_lead == "auto" else names.index(wanted_lead)
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
            raise StreamError(
                f"cannot resample this stream to {FS} Hz: {error}; "
                "set the device to a whole number of hertz, such as 250"
            ) from error
        self.same_rate = self.step == 1
        self._resampler: Resampler | None = None
        self._base = self._last = 0.0
        self._stop = 0

    def fits(self, chunk: Chunk) -> bool:
        """Whether a chunk belongs to the stream this input was made for."""
        same_leads = chunk.leads is self.leads or chunk.leads == self.leads
        return chunk.run == self.run and chunk.fs == self.fs and same_leads

    @property
    def delay_s(self) -> float:
        """Seconds of later signal that the resampling of one sample waits for."""
        return resampling_delay_s(self.fs)

    def at_fs(self, index: int) -> int:
        """Return the index at 125 Hz of the first sample that is not before sample `index` of the stream."""
        return first_index_at_125_hz(index, self.step)

    def push(self, chunk: Chunk, x: FloatArray | None = None) -> list[SampleBlock | Gap]:
        """Return the blocks and gaps that a chunk adds; `x` (n,) mV if `chunks_to_millivolts` has converted it."""
        if x is not None:
            return [SampleBlock(chunk.first, x)]
        counts = chunk.counts[:, self.index]
        if not len(counts) or np.minimum.reduce(counts) != MISSING:
            return self._samples(chunk.first, counts)
        out: list[SampleBlock | Gap] = []
        missing = counts == MISSING
        edges = np.flatnonzero(missing[1:] != missing[:-1]) + 1
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(counts)], strict=True):
            first = chunk.first + start
            if missing[start]:
                gap = Gap(chunk.bed, chunk.run, first, stop - start, chunk.fs, VALUELESS_REASON)
                out += self.gap(gap)
            else:
                out += self._samples(first, counts[start:stop])
        return out

    def gap(self, gap: Gap) -> list[SampleBlock | Gap]:
        """End the stretch at a gap: return the samples that waited for later ones, then the gap at 125 Hz."""
        first, stop = self.at_fs(gap.first), self.at_fs(gap.first + gap.count)
        return [*self.flush(), Gap(gap.bed, gap.run, first, stop - first, FS, gap.reason)]

    def flush(self) -> list[SampleBlock | Gap]:
        """End the stretch: return the samples that waited for later ones."""
        if self._resampler is None:
            return []
        first, after = self._resampler.next_output, round(self.delay_s * self.fs) + 1
        rest = self._resampler.push(np.full((after, 1), self._last - self._base))[: self._stop - first]
        self._resampler = None
        return [SampleBlock(first, (rest[:, 0] + self._base).astype(np.float32))] if len(rest) else []

    def _samples(self, first: int, counts: NDArray[np.int32]) -> list[SampleBlock | Gap]:
        x = _clip_millivolts((counts - self.lead.offset) * self.scale)
        if self.same_rate:
            return [SampleBlock(first, x.astype(np.float32))]
        if self._resampler is None:
            # The filter sees the first value before the stretch, and the last one behind it, for it not to ring.
            self._resampler, self._base = Resampler(self.fs, leads=1, start=self.at_fs(first)), float(x[0])
            x = np.concatenate([np.full(first - self._resampler.first_input, x[0]), x])
        self._last, self._stop = float(x[-1]), self.at_fs(first + len(counts))
        start = self._resampler.next_output
        out = self._resampler.push(x[:, None] - self._base)
        return [SampleBlock(start, (out[:, 0] + self._base).astype(np.float32))] if len(out) else []


def chunks_to_millivolts(inputs: Sequence[LeadInput | None], chunks: Sequence[Chunk]) -> list[FloatArray | None]:
    """Convert chunks of many beds together: (n,) float32 millivolts each, as `LeadInput.push` would.

    None for a chunk that its input must see by itself: another run, another rate than 125 Hz, missing values.
    """
    converted: list[FloatArray | None] = [None] * len(chunks)
    by_length: dict[int, list[tuple[int, LeadInput]]] = {}
    for i, (lead, chunk) in enumerate(zip(inputs, chunks, strict=True)):
        if lead is not None and lead.same_rate and lead.fits(chunk):
            by_length.setdefault(len(chunk.counts), []).append((i, lead))
    for group in by_length.values():
        counts = np.stack([chunks[i].counts[:, lead.index] for i, lead in group])
        offsets, scales = np.array([(lead.lead.offset, lead.scale) for _, lead in group]).T[:, :, None]
        x = _clip_millivolts((counts - offsets) * scales).astype(np.float32)
        for (i, _), row, whole in zip(group, x, (counts != MISSING).all(axis=1).tolist(), strict=True):
            converted[i] = row if whole else None
    return converted


def _clip_millivolts(x: NDArray[np.floating]) -> NDArray[np.floating]:
    clipped: NDArray[np.floating] = np.maximum(np.minimum(x, MOST_MILLIVOLTS), -MOST_MILLIVOLTS)
    return clipped
