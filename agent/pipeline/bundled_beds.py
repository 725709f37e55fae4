"""Beds whose samples come together: what is known of them for as long as it holds, and the blocks they go on as."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.analysis.bed_input import AlikeChunks, AlikeInputs, BedInput, group_alike_inputs
from agent.analysis.passing_leads import PassingLeads
from agent.analysis.stage import RowIndexArray
from agent.core.messages import BedsChunk, FloatArray, StreamedRun
from agent.pipeline.monitored_bed import MonitoredBed


@dataclass(frozen=True, slots=True, eq=False)
class BedsTogether:
    """A block of each of many `beds`, alike in leads and length: `x` (beds, leads, n) mV, from samples `firsts` on.

    `rows` (beds,) of the beds, `lead_rows` (beds, leads) of their leads.
    """

    beds: Sequence[MonitoredBed]
    rows: RowIndexArray
    lead_rows: RowIndexArray
    firsts: Sequence[int]
    x: FloatArray

    def of_beds(self, chosen: NDArray[np.bool_]) -> "BedsTogether":
        """Return the block of the `chosen` (beds,) ones."""
        places = chosen.nonzero()[0].tolist()
        beds, firsts = [self.beds[i] for i in places], [self.firsts[i] for i in places]
        return BedsTogether(beds, self.rows[chosen], self.lead_rows[chosen], firsts, self.x[chosen])

    def between(self, first: int, stop: int) -> "BedsTogether":
        """Return samples `first` to `stop`, counted from the beginning of the block."""
        firsts = [own + first for own in self.firsts]
        return BedsTogether(self.beds, self.rows, self.lead_rows, firsts, self.x[:, :, first:stop])


class AlikeBeds:
    """Beds with `inputs` that are alike."""

    def __init__(self, inputs: AlikeInputs, beds: list[MonitoredBed], rows: RowIndexArray) -> None:
        self.inputs, self.beds, self.rows = inputs, beds, rows

    @classmethod
    def among(cls, beds: Sequence[MonitoredBed], inputs: AlikeInputs) -> "AlikeBeds":
        """Return those of `beds` at the places of `inputs`."""
        chosen = [beds[place] for place in inputs.places.tolist()]
        return cls(inputs, chosen, rows_of(chosen))

    def join(self, chunks: AlikeChunks, taken: NDArray[np.bool_]) -> BedsTogether:
        """Return the block of the chunks that were `taken` (k,)."""
        beds, rows, firsts, x, leads = self.beds, self.rows, chunks.firsts, chunks.x, len(self.inputs.columns)
        if not taken.all():
            chosen = taken.nonzero()[0].tolist()
            beds, firsts = [beds[i] for i in chosen], [firsts[i] for i in chosen]
            rows, x = rows[taken], x[taken]
        return BedsTogether(beds, rows, np.array([bed.lead_rows[:leads] for bed in beds]), firsts, x)


class BedsOfRuns:
    """The `beds` of `runs` that come together, for as long as these are the same object."""

    def __init__(self, runs: Sequence[StreamedRun], beds: Sequence[MonitoredBed]) -> None:
        self.runs, self.beds, self.rows = runs, beds, rows_of(beds)
        self.alike: list[AlikeBeds] = []
        self._inputs: list[BedInput | None] = []
        self._opened = -1

    def find_alike(self, opened: int, passing: PassingLeads) -> None:
        """Find the beds that are `alike`; `opened` counts the inputs that were opened or closed, of any bed."""
        if opened != self._opened:
            self._opened, inputs = opened, [bed.input for bed in self.beds]
            if inputs != self._inputs:
                groups = group_alike_inputs(self.runs, inputs, passing)
                self._inputs, self.alike = inputs, [AlikeBeds.among(self.beds, group) for group in groups]


def convert_together(
    bundles: Sequence[tuple[BedsOfRuns, BedsChunk]], most: int
) -> Iterator[tuple[AlikeBeds, AlikeChunks]]:
    """Yield the beds of bundles that are alike with their samples: places are those among the beds of all bundles.

    Left out are bundles with more than `most` samples of each bed.
    """
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[int, AlikeBeds, BedsChunk]]] = {}
    first = 0
    for bundled, chunk in bundles:
        for alike in bundled.alike if 0 < chunk.samples <= most else ():
            groups.setdefault((alike.inputs.columns, chunk.counts.shape[1:]), []).append((first, alike, chunk))
        first += len(bundled.beds)
    for group in groups.values():
        inputs = AlikeInputs.joined([(first, alike.inputs) for first, alike, _ in group])
        beds = [bed for _, alike, _ in group for bed in alike.beds]
        counts = np.concatenate([chunk.counts[alike.inputs.places] for _, alike, chunk in group])
        firsts = [chunk.firsts[place] for _, alike, chunk in group for place in alike.inputs.places.tolist()]
        yield (
            AlikeBeds(inputs, beds, np.concatenate([alike.rows for _, alike, _ in group])),
            inputs.convert(firsts, counts),
        )


def rows_of(beds: Sequence[MonitoredBed]) -> RowIndexArray:
    """Return the rows (n,) of beds."""
    return np.array([bed.row for bed in beds], np.intp)
