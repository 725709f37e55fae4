"""The pipeline, for one bed or many: the order of all that lies between the messages of the link and the results.

    messages ─► input queue ─► samples                       ─► pending ─► decisions             ─► results
                               (`sample_stages`)                the net    smoothing, rate, alarms

What comes out depends neither on how the streams were cut into chunks nor on the other beds.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import groupby
from math import inf, isnan
from typing import cast

import numpy as np

from agent.alarms.alarm_feed import STRIP_MARGIN, WINDOW_DELAY
from agent.analysis.bed_input import LeadNote
from agent.analysis.lead_input import BridgedHole, SampleBlock, ScaleChange
from agent.analysis.sample_ring import RING_SAMPLES
from agent.analysis.stage import RowIndexArray, RunStart
from agent.core.config import Config
from agent.core.events import GapClosed, LeadScaled, StreamRefused
from agent.core.messages import (
    VALUELESS_REASON,
    AlarmIdentity,
    BedsChunk,
    Chunk,
    End,
    FloatArray,
    Gap,
    Result,
    Signal,
    StreamedRun,
)
from agent.pipeline.bed_care import BedCare
from agent.pipeline.bed_decisions import BedDecisions
from agent.pipeline.bundled_beds import BedsOfRuns, BedsTogether, rows_of
from agent.pipeline.input_queue import InputQueue
from agent.pipeline.monitored_bed import MonitoredBed
from agent.pipeline.pending_results import EVENT_RANK, LeadValuesChange, PendingResults
from agent.pipeline.sample_stages import Findings, SampleStages
from agent.pipeline.waiting_bed import BLOCK_SAMPLES, InputStep
from model.records.resample import FS

Classify = Callable[[FloatArray], FloatArray]
"""A net: candidates (n, inputs) float32 to scores (n, classes).

One with the attribute `in_context` sees beats in their context (n, INPUTS) and gives log-probabilities (n, 6) of the
classes and of no beat; any other sees single beats (n, 187) and gives probabilities (n, 5).
"""

SHARED_PUSH_S = 0.03
"""Seconds after which a push gives way to what has come meanwhile."""

MOST_BUNDLES = 256
"""Lists of runs that come together and are remembered."""
LARGE_BLOCK_SAMPLES, LARGE_RING_SAMPLES = 60 * FS, 4 * RING_SAMPLES
"""Most samples of a bed that go through the stages at once where nobody waits for results, and those that are kept."""

assert 2 * STRIP_MARGIN + WINDOW_DELAY + FS + LARGE_BLOCK_SAMPLES <= LARGE_RING_SAMPLES, "strips are cut once a second"


class Pipeline:
    """From messages to results. Raises CheckpointError if the weights of the waveform classifier cannot be read."""

    def __init__(self, config: Config, classify: Classify, clock: Callable[[], float] = time.perf_counter) -> None:
        self._in_context: bool = getattr(classify, "in_context", False)
        self._classify, self._clock, self._lost_s = classify, clock, config.monitor.lost_s
        self.beds: dict[str, MonitoredBed] = {}
        self._by_row: list[MonitoredBed] = []
        """The bed of each row of samples: a bed has one for each of its leads."""
        self._lead_capacity = self._bed_capacity = 1
        self._inbox = InputQueue(config.monitor.lead, config.signal)
        self._bundles: dict[int, BedsOfRuns] = {}
        """The beds of runs that come together, by the identity of their list."""
        self._interrupted: set[int] = set()
        """Rows of the beds that may be in a gap, or have a lead without values."""
        self._silent: set[int] = set()
        """Rows of the beds of which it is alarmed that no data come."""
        self._contested = False
        """Whether there are beds as which two devices send."""
        self._busy = False
        """Whether the last turn found something to do."""
        self.samples = SampleStages(config.signal, self._in_context)
        self._pending = PendingResults()
        self._results: list[Result] = []
        self._decisions = BedDecisions(config, self.samples.ring, self._in_context, self._results.append)
        self.rates, self.alarms = self._decisions.rates, self._decisions.alarms
        self.care = BedCare(self.alarms, self.samples.ring, config.alarms, self._results.append)

    def push(self, messages: Iterable[Signal], shared: bool = False) -> list[Result]:
        """Take what the link brought; return the beats, events and alarms it decides, in order within each bed.

        With `shared` a push ends after 30 ms, and the next one goes on: `waiting` says so.
        """
        began_s = self._clock()
        for is_together, group in groupby(messages, lambda message: isinstance(message, BedsChunk)):
            if is_together:
                bundles = [(self._beds_of_runs(chunk.runs), chunk) for chunk in cast(Iterator[BedsChunk], group)]
                self._inbox.put_together(bundles, patient=not shared)
                for bundled, chunk in bundles:
                    self._note_arrivals(bundled.beds, bundled.rows, chunk.arrived_s)
            else:
                parts = cast(list[Chunk | Gap | End], list(group))
                beds = self._beds_of(message.bed for message in parts)
                self._inbox.put(beds, parts, patient=not shared)
                arrived = [bed for bed, part in zip(beds, parts, strict=True) if isinstance(part, Chunk)]
                self._note_arrivals(arrived, rows_of(arrived), np.array([bed.arrived_s for bed in arrived]))
        self._busy = True
        while self._inbox and self._busy:
            self._busy = self._advance()
            if shared and self._clock() - began_s >= SHARED_PUSH_S:
                break
        return self._take_results()

    def take_large_blocks(self) -> None:
        """Let more samples of a bed go through the stages at once: the same results for less, but later. Called first.

        Blocks of a bed are then the same however many others there are, and so is the order of beats and alarms.
        """
        self._inbox.block, self._inbox.turn = LARGE_BLOCK_SAMPLES, inf
        self.samples.ring.lengthen(LARGE_RING_SAMPLES)

    def _advance(self) -> bool:
        """Take one turn: what breaks the stretch of each bed, then one block of each, equal ones together.

        Return whether there was anything to do.
        """
        blocks: dict[int, list[tuple[RowIndexArray | list[int], FloatArray]]] = defaultdict(list)
        worked = False
        for item in self._inbox.next_turn():
            worked = True
            if isinstance(item, BedsTogether):
                self._end_interruptions(item)
                blocks[item.x.shape[2]].append((item.lead_rows.ravel(), item.x.reshape(-1, item.x.shape[2])))
                continue
            bed, step = item
            if isinstance(step, SampleBlock):
                self._close_gap(bed)
                blocks[len(step.x)] += self._lead_blocks(bed, step)
            else:
                self._break(bed, step)
        for parts in blocks.values():
            self._push_blocks(*_join_rows(parts))
        self._decide()
        return worked

    def _push_blocks(self, rows: RowIndexArray, x: FloatArray) -> None:
        """Push the next samples `x` (rows, n) of `rows` through the stages.

        A large block in which a lead comes off or is back goes in pieces: no piece has beats on both sides of a change,
        since a lead that comes off has been flat for as long as one.
        """
        piece = BLOCK_SAMPLES
        if x.shape[1] <= piece or not self.samples.lead_off.may_change(rows, x):
            self._keep(self.samples.push(rows, x))
            return
        for first in range(0, x.shape[1], piece):
            self._keep(self.samples.push(rows, x[:, first : first + piece]))
            self._decide()

    def _end_interruptions(self, together: BedsTogether) -> None:
        """End the gaps of many beds, all of whose leads have values."""
        if not self._interrupted:
            return
        for bed, first in zip(together.beds, together.firsts, strict=True):
            if bed.row in self._interrupted:
                self._close_gap(bed)
                for lead in range(len(bed.sends_values) if bed.leads is not None else 0):
                    self._note_values(bed, lead, first, True)
                self._interrupted.remove(bed.row)

    def _lead_blocks(self, bed: MonitoredBed, block: SampleBlock) -> list[tuple[RowIndexArray | list[int], FloatArray]]:
        """Return the row and the samples (1, n) of each lead that has values; the others have a gap."""
        if bed.leads is None:
            return [(bed.lead_rows[:1], block.x[None])]
        sending: list[tuple[RowIndexArray | list[int], FloatArray]] = []
        for lead, x in enumerate(block.x.T):
            row, has_values = bed.lead_rows[lead], not isnan(x.item(0))
            self._note_values(bed, lead, block.first, has_values)
            if has_values:
                sending.append(([row], x[None]))
            else:
                self.samples.interrupt(row, Gap(bed.name, bed.run, block.first, len(x), FS, VALUELESS_REASON))
        return sending

    def _note_values(self, bed: MonitoredBed, lead: int, first: int, has_values: bool) -> None:
        """Take note of whether one of several leads of a bed has values from sample `first` on."""
        if has_values == bed.sends_values[lead]:
            return
        row = bed.lead_rows[lead]
        bed.sends_values[lead] = has_values
        if not has_values:
            self._interrupted.add(bed.row)
            self._keep(self.samples.flush(row, bed.lead_rows))
        self._pending.add(bed, first, EVENT_RANK, LeadValuesChange(row, first, has_values), row)

    def _break(self, bed: MonitoredBed, step: InputStep) -> None:
        """End the stretch of a bed, decide all that waits, and begin behind the break."""
        if isinstance(step, StreamRefused):  # the stretch goes on: its last samples came before the refused ones
            self._pending.add(bed, step.sample, EVENT_RANK, step)
            return
        if isinstance(step, LeadNote):
            self._take_note(bed, step)
            return
        if not isinstance(step, Gap):
            self._close_gap(bed)
        if bed.gap is None:  # the next piece of a gap has no stretch before it
            for row, sends in zip(bed.lead_rows, bed.sends_values, strict=False):
                if sends:
                    self._keep(self.samples.flush(row, bed.lead_rows))
        self._decide()
        if isinstance(step, RunStart):
            self._start(bed, step)
        elif isinstance(step, Gap):
            self._interrupt(bed, step)
        elif isinstance(step, End):
            self._decisions.end(bed, step)

    def _take_note(self, bed: MonitoredBed, note: LeadNote) -> None:
        """Hide what was bridged in a lead, or take its scale.

        What was mended is told of the first lead only, since it is alike in all.
        """
        if isinstance(note.step, BridgedHole):
            self.samples.ring.hide(bed.lead_rows[note.lead], note.step.first, note.step.count)
            bed.missing += note.step.count if note.lead == 0 else 0
        elif isinstance(note.step, ScaleChange):
            self.samples.lead_off.set_rails(bed.lead_rows[note.lead], note.step.rails)
            self._pending.add(bed, note.step.first, EVENT_RANK, note.step.event)
        elif note.lead == 0:
            for event in note.step.events:
                self._pending.add(bed, note.step.known, EVENT_RANK, event)

    def _start(self, bed: MonitoredBed, run: RunStart) -> None:
        while len(bed.lead_rows) <= len(run.others):
            self._add_lead_row(bed)
        self._decisions.start(bed, run)
        for row, lead in zip(bed.lead_rows, (run, *run.others), strict=False):
            self.samples.start(row, lead)

    def _interrupt(self, bed: MonitoredBed, gap: Gap) -> None:
        self._decisions.interrupt(bed, gap)
        for row in bed.lead_rows:
            self.samples.interrupt(row, gap)
        bed.extend_gap(gap)
        self._interrupted.add(bed.row)

    def _close_gap(self, bed: MonitoredBed) -> None:
        if (gap := bed.gap) is not None:
            event = GapClosed(bed.name, gap.run, gap.first, gap.count, gap.count / FS, gap.reason)
            self._pending.add(bed, gap.first, EVENT_RANK, event)
            bed.gap = None

    def _keep(self, findings: Findings) -> None:
        """Keep findings until the net has classified the candidates; the alarms know of R peaks before that."""
        self._pending.add_lead_changes(self._by_row, findings.lead_changes)
        for peak in findings.peaks:
            bed = self._by_row[peak.row]
            self._decisions.push_peak(bed, bed.lead_rows.index(peak.row), peak)
        self._pending.add_candidates(self._by_row, findings.candidates)
        self._pending.add_windows(self._by_row, findings.windows)

    def _decide(self) -> None:
        """Classify all candidates in one batch, then decide everything that waits in order."""
        self._decisions.decide(self._pending.take(self._classify))

    @property
    def waiting(self) -> bool:
        """Whether a bed has samples that were pushed and can be analysed at once."""
        return len(self._inbox) > 0 and self._busy

    def know_scales(self, scales: Iterable[LeadScaled]) -> None:
        """Go on with the scales that leads in raw counts had in earlier parts of their runs, the later ones last."""
        self._inbox.scales.extend(scales)

    def backlog(self) -> tuple[set[str], set[str]]:
        """Return the beds that need no more for now, and those of them that have far too much."""
        return self._inbox.backlog()

    def watch_clock(self, now_s: float, heard_s: Callable[[str], float], contested: Set[str]) -> list[Result]:
        """Alarm what only the clock shows: beds from which nothing has come for too long, or as which two devices send.

        Pauses of alarms end by it, too.

        `heard_s` returns when a device was last known to send as a bed (Unix time); `contested`: beds of two devices.
        """
        for bed in self._inbox.waiting():
            bed.heard_s = now_s
        beds = list(self.beds.values())
        late = (now_s - self.alarms.arrived_s[: len(beds)] >= self._lost_s).nonzero()[0]
        for bed in [beds[row] for row in late.tolist()]:
            bed.heard_s = max(bed.heard_s, heard_s(bed.name))
            if bed.status(now_s, self._lost_s) == "no data" and bed.row not in self._silent:
                self._silent.add(bed.row)
                self.alarms.report_by_clock(bed.row, "no data", True, now_s)
        for bed in beds if contested or self._contested else ():
            if bed.contested != (bed.name in contested):
                bed.contested = not bed.contested
                self.alarms.report_by_clock(bed.row, "two devices", bed.contested, now_s)
        self._contested = bool(contested)
        self.care.end_pauses(self.beds, now_s)
        return self._take_results()

    def acknowledge(self, name: str, now_s: float, identities: Set[AlarmIdentity] | None = None) -> list[Result]:
        """Acknowledge the alarms of a bed, all or only these: a person has seen them."""
        self.alarms.acknowledge(self.beds[name].row, now_s, identities)
        return self._take_results()

    def finish(self) -> list[Result]:
        """Declare missing what still waits to be analysed; return the gaps that nothing has closed, and the strips."""
        for bed, step in self._inbox.drop_all():
            self._break(bed, step)
        for bed in self.beds.values():
            self._close_gap(bed)
        self._decide()
        self.alarms.finish()
        return self._take_results()

    def _take_results(self) -> list[Result]:
        results = self._results.copy()
        self._results.clear()
        return results

    def _note_arrivals(self, beds: Sequence[MonitoredBed], rows: RowIndexArray, at_s: float | FloatArray) -> None:
        """Note that samples of `beds`, in `rows` (n,), arrived at Unix times `at_s`: they are silent no longer."""
        self.alarms.note_arrivals(rows, at_s)
        for bed in beds if self._silent else ():
            if bed.row in self._silent:
                self._silent.remove(bed.row)
                self.alarms.report_by_clock(bed.row, "no data", False, bed.arrived_s)

    def _beds_of_runs(self, runs: Sequence[StreamedRun]) -> BedsOfRuns:
        """Return the beds of runs that come together: most often the same ones as before."""
        bundled = self._bundles.pop(id(runs), None)
        if bundled is None or bundled.runs is not runs:
            bundled = BedsOfRuns(runs, self._beds_of(run.bed for run in runs))
            while len(self._bundles) >= MOST_BUNDLES:
                self._bundles.pop(next(iter(self._bundles)))
        self._bundles[id(runs)] = bundled  # behind all others: the first one came longest ago
        return bundled

    def _beds_of(self, names: Iterable[str]) -> list[MonitoredBed]:
        known = self.beds.get
        return [known(name) or self._admit(name) for name in names]

    def _admit(self, name: str) -> MonitoredBed:
        """Give a new bed a row in every stage, then register it. Arrays grow in powers of two."""
        bed = MonitoredBed(name, row=len(self.beds))
        if bed.row >= self._bed_capacity:
            self._bed_capacity *= 2
            self._decisions.grow(self._bed_capacity)
        self._add_lead_row(bed)
        self.beds[name] = bed
        self.care.admit(bed)
        return bed

    def _add_lead_row(self, bed: MonitoredBed) -> None:
        """Give a bed one more row in the stages that see samples."""
        row = len(self._by_row)
        if row >= self._lead_capacity:
            self._lead_capacity *= 2
            self.samples.grow(self._lead_capacity)
            self._decisions.smoothing.grow(self._lead_capacity)
        self._by_row.append(bed)
        bed.lead_rows.append(row)


def _join_rows(parts: Sequence[tuple[RowIndexArray | list[int], FloatArray]]) -> tuple[RowIndexArray, FloatArray]:
    """Return rows (k,) and their samples (k, n) in ascending order: rows that follow each other need no gathering."""
    rows, x = (np.concatenate(some) for some in zip(*parts, strict=True))
    if (rows[1:] < rows[:-1]).any():
        order = rows.argsort()
        return rows[order], x[order]
    return rows, x
