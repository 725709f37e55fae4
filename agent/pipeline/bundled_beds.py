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


class AlikeBeds:
    """Beds of the same bundle with `inputs` that are alike."""

    def __init__(self, inputs: AlikeInputs, beds: Sequence[MonitoredBed]) -> None:
        """Find them among the `beds` of the bundle."""
        self.inputs = inputs
        self.beds = [beds[place] for place in inputs.places.tolist()]
        self.rows = rows_of(self.beds)
        self._lead_rows: RowIndexArray | None = None
        """Known once a block of every bed was taken: a bed gets the rows of its leads as its run starts."""

    def join(self, chunks: AlikeChunks, taken: NDArray[np.bool_]) -> BedsTogether:
        """Return the block of the chunks that were `taken` (k,)."""
        if taken.all():
            if self._lead_rows is None:
                self._lead_rows = self._rows_of_leads(self.beds)
            return BedsTogether(self.beds, self.rows, self._lead_rows, chunks.firsts, chunks.x)
        chosen = taken.nonzero()[0].tolist()
        beds, firsts = [self.beds[i] for i in chosen], [chunks.firsts[i] for i in chosen]
        lead_rows = self._rows_of_leads(beds) if self._lead_rows is None else self._lead_rows[taken]
        return BedsTogether(beds, self.rows[taken], lead_rows, firsts, chunks.x[taken])

    def _rows_of_leads(self, beds: Sequence[MonitoredBed]) -> RowIndexArray:
        leads = len(self.inputs.columns)
        return np.array([bed.lead_rows[:leads] for bed in beds])


class BedsOfRuns:
    """The `beds` of `runs` that come together, for as long as these are the same object."""

    def __init__(self, runs: Sequence[StreamedRun], beds: Sequence[MonitoredBed]) -> None:
        self.runs, self.beds, self.rows = runs, beds, rows_of(beds)
        self.last_row = int(self.rows.max(initial=-1))
        self._inputs: list[BedInput | None] = []
        self._alike: list[AlikeBeds] = []
        self._opened = -1

    def find_alike(self, opened: int, passing: PassingLeads) -> None:
        """Find the beds that are alike; `opened` counts the inputs that were opened or closed, of any bed."""
        if opened != self._opened:
            self._opened, inputs = opened, [bed.input for bed in self.beds]
            if inputs != self._inputs:
                groups = group_alike_inputs(self.runs, inputs, passing)
                self._inputs, self._alike = inputs, [AlikeBeds(group, self.beds) for group in groups]

    def convert(self, chunk: BedsChunk) -> Iterator[tuple[AlikeBeds, AlikeChunks]]:
        """Yield the beds that are alike with their samples."""
        for alike in self._alike:
            places = alike.inputs.places
            if len(places) == len(self.beds):
                yield alike, alike.inputs.convert(chunk.firsts, chunk.counts)
            else:
                firsts = [chunk.firsts[place] for place in places.tolist()]
                yield alike, alike.inputs.convert(firsts, chunk.counts[places])


def rows_of(beds: Sequence[MonitoredBed]) -> RowIndexArray:
    """Return the rows (n,) of beds."""
    return np.array([bed.row for bed in beds], np.intp)
