"""The way in: messages of all beds become gap-free blocks of millivolts at 125 Hz, gaps, starts and ends of runs.

Each bed keeps its order. A bed that brings more than the others waits for itself: a turn takes one block of each, first
of the beds that are done with it, then of the others in rotation until the turn has had its share of work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from agent.analysis.bed_input import AlikeChunks, BedInput, join_alike_chunks
from agent.analysis.lead_input import SampleBlock
from agent.analysis.passing_leads import PassingLeads
from agent.analysis.stage import RowIndexArray, RunStart
from agent.core.config import SignalConfig
from agent.core.events import LeadScaled, StreamRefused
from agent.core.messages import BedsChunk, Chunk, End, FloatArray, Gap
from agent.core.sample_index import nearest_index_at_125_hz
from agent.pipeline.block_rounds import BlockRounds
from agent.pipeline.bundled_beds import AlikeBeds, BedsOfRuns, BedsTogether, convert_together, rows_of
from agent.pipeline.monitored_bed import MonitoredBed
from agent.pipeline.waiting_bed import BLOCK_SAMPLES, InputMessage, InputStep, WaitingBed, step_work
from model.errors import StreamError
from model.records.resample import FS, filters_loaded

LEAST_BLOCK_SAMPLES = 64
"""A block of a bed while very many wait."""
TURN_SAMPLES = 2**14
"""Samples of all beds in a turn, which take some 20 ms; a gap, a start or an end counts as a block."""
STEPS_PER_TURN = 4
"""Gaps, starts and ends of a bed in a turn."""
PIECE_SAMPLES = 2 * BLOCK_SAMPLES
"""Longer chunks are converted piece by piece, when it is their turn: each value may be followed by a gap."""
BACKLOG_SAMPLES = 60 * FS
"""Samples of a bed that wait, from which on it has enough for now, ..."""
BACKLOG_OF_ALL = 2**21
"""... and of all beds together: beyond that a bed has enough once it has its share."""
OVERLOAD = 4
"""A bed has too much with this many times enough."""
LEAST_TOGETHER = 8
"""Messages from which on it pays to convert chunks together."""


class InputQueue:
    """What has come in of each bed and waits for its turn. `wanted` are names of leads, or "auto"."""

    def __init__(self, wanted: str, config: SignalConfig) -> None:
        self._wanted_leads, self._config = wanted, config
        self.scales: list[LeadScaled] = []
        """Those that are known of earlier parts of runs, the later ones last."""
        self._waiting: dict[str, WaitingBed] = {}
        self._passing = PassingLeads()
        self._rounds = BlockRounds()
        """Blocks of beds that come together; what waits otherwise of such a bed comes behind them."""
        self._waits = np.zeros(1, np.bool_)
        """(rows,) which beds wait otherwise."""
        self._opened = 0
        """Inputs of beds that were opened or closed."""
        self._left = 0.0
        """Work left in this turn, in samples."""
        self.block = BLOCK_SAMPLES
        """Most samples of a bed that go through the stages at once."""
        self.turn: float = TURN_SAMPLES
        """Work of a turn, in samples of all beds."""
        self._patient = True
        """Whether to wait for filters that are being loaded; else their beds wait, and no other does."""

    def __len__(self) -> int:
        """Return the number of beds that wait."""
        return len(self._waiting) + len(self._rounds)

    def waiting(self) -> list[MonitoredBed]:
        """Return the beds that wait for more than the next turn."""
        return [*(waiting.bed for waiting in self._waiting.values()), *self._rounds.later()]

    def backlog(self) -> tuple[set[str], set[str]]:
        """Return the beds that need no more for now, and those of them that have far too much."""
        enough = min(BACKLOG_SAMPLES, BACKLOG_OF_ALL // max(1, len(self)))
        waits = self._rounds.deep(enough)
        for name, waiting in self._waiting.items():
            waits[name] = waiting.samples + int(self._rounds.samples[waiting.bed.row])
        backlogged = {name for name, samples in waits.items() if samples >= enough}
        return backlogged, {name for name in backlogged if waits[name] >= OVERLOAD * enough}

    def put(self, beds: Sequence[MonitoredBed], messages: Sequence[InputMessage], patient: bool = True) -> None:
        """Take messages and the bed of each. `patient`: wait for filters that are being loaded."""
        self._patient = patient
        for bed, message in zip(beds, messages, strict=True):
            if isinstance(message, Chunk):
                bed.arrived_s, bed.sent_s = message.arrived_s, message.sent_s
        left: dict[int, FloatArray | None] = {}
        passed = np.zeros(len(beds), np.bool_)
        if len(messages) >= LEAST_TOGETHER:
            rows = rows_of(beds)
            free = self._free(rows) & _once(rows)
            for chunks in join_alike_chunks([bed.input for bed in beds], messages, self._piece, self._passing):
                self._pass_on(AlikeBeds.among(beds, chunks.alike), chunks, free, passed, left)
        for place in (~passed).nonzero()[0].tolist():
            self._put_one(beds[place], messages[place], left.get(place))

    def put_together(self, bundles: Sequence[tuple[BedsOfRuns, BedsChunk]], patient: bool = True) -> None:
        """Take samples of many beds that came in bundles, each bundle with its beds. `patient`: as for `put`."""
        self._patient = patient
        bundles = [(bundled, piece) for bundled, chunk in bundles for piece in chunk.pieces(self._piece)]
        rows = np.concatenate([bundled.rows for bundled, _ in bundles])
        if len(bundles) == 1 or len(np.unique(rows)) == len(rows):
            self._put_bundles(bundles, rows)
        else:  # a bed is in several, which are taken one after another
            for bundled, chunk in bundles:
                self._put_bundles([(bundled, chunk)], bundled.rows)

    def _put_bundles(self, bundles: Sequence[tuple[BedsOfRuns, BedsChunk]], rows: RowIndexArray) -> None:
        """Take bundles of beds in `rows` (all,), each of them in one bundle."""
        left: dict[int, FloatArray | None] = {}
        passed, free = np.zeros(len(rows), np.bool_), self._free(rows)
        for bundled, chunk in bundles:
            for bed in bundled.beds:
                bed.arrived_s, bed.sent_s = chunk.arrived_s, chunk.sent_s
            bundled.find_alike(self._opened, self._passing)
        for alike, chunks in convert_together(bundles, self._piece):
            self._pass_on(alike, chunks, free, passed, left)
        first = 0
        for bundled, chunk in bundles:
            for place in (~passed[first : first + len(bundled.beds)]).nonzero()[0].tolist():
                self._put_one(bundled.beds[place], chunk.chunk(place), left.get(first + place))
            first += len(bundled.beds)

    def next_turn(self) -> Iterator[BedsTogether | tuple[MonitoredBed, InputStep]]:
        """Yield of every bed the next block, after what comes before it, as long as the turn has work left."""
        block = self._longest_block(len(self))
        deep = self._rounds.depths
        turned = {name: waiting for name, waiting in self._waiting.items() if not deep[waiting.bed.row]}
        few = [name for name, waiting in turned.items() if waiting.samples <= self._piece]
        many = [name for name, waiting in turned.items() if waiting.samples > self._piece]
        together = self._rounds.take()
        self._left = self.turn - sum([len(one.rows) * one.x.shape[2] for one in together])
        yield from together
        for name in few:
            yield from self._take_steps(name, block)
        for turn, name in enumerate(many):
            if turn and self._left <= 0:  # one at least, however much the others bring
                return
            yield from self._take_steps(name, block)
            if name in self._waiting:  # behind all others
                self._waiting[name] = self._waiting.pop(name)

    def drop_all(self) -> Iterator[tuple[MonitoredBed, Gap | RunStart | End]]:
        """Yield what waits as it ends when nobody analyses it any more: one gap for all samples between two breaks."""
        for together in reversed([*self._rounds.take_all()]):
            for bed, first, x in zip(together.beds, together.firsts, together.x, strict=True):
                self._let_wait(bed).steps.appendleft(_block_of(first, x))
        for waiting in list(self._waiting.values()):
            for step in waiting.drop():
                yield waiting.bed, step
        self._waiting.clear()
        self._waits[:] = False

    def _free(self, rows: RowIndexArray) -> NDArray[np.bool_]:
        """Return which beds in these rows (n,) wait for nothing but the rounds."""
        self._make_room(int(rows.max(initial=0)))
        free: NDArray[np.bool_] = ~self._waits[rows]
        return free

    def _pass_on(
        self,
        alike: AlikeBeds,
        chunks: AlikeChunks,
        free: NDArray[np.bool_],
        passed: NDArray[np.bool_],
        left: dict[int, FloatArray | None],
    ) -> None:
        """Take the chunks that need no closer look together, of beds that are `free` (all,).

        Note in `passed` (all,) which they are, and in `left` the millivolts (leads, n) of the other plain ones, by
        their places among all.
        """
        places, x, plain = alike.inputs.places, chunks.x, chunks.plain
        taken = chunks.pass_on(plain & free[places], self._passing)
        left.update((int(places[i]), x[i]) for i in (plain & ~taken).nonzero()[0].tolist())
        if taken.any():
            passed[places[taken]] = True
            self._rounds.add(alike.join(chunks, taken), self._longest_block(len(places)))

    def _put_one(self, bed: MonitoredBed, message: InputMessage, x: FloatArray | None) -> None:
        """Take a message by itself; `x` (leads, n) mV if it is a chunk that was converted."""
        waiting = self._waiting.get(bed.name)
        if waiting is not None and (waiting.messages or (x is None and waiting.samples > self._piece)):
            waiting.put_off(message)
        elif x is None and self._must_wait(message):
            self._let_wait(bed).put_off(message)
        else:
            self._convert(bed, message, x)

    def _longest_block(self, beds: int) -> int:
        """Return the most samples of a bed that go through the stages at once while so many `beds` wait."""
        if self.turn == inf:
            return self.block
        return max(LEAST_BLOCK_SAMPLES, min(self.block, int(self.turn) // max(1, beds)))

    @property
    def _piece(self) -> int:
        """Most samples of a chunk that are converted at once."""
        return PIECE_SAMPLES // BLOCK_SAMPLES * self.block

    def _is_long(self, message: InputMessage) -> bool:
        return isinstance(message, Chunk) and len(message.counts) > self._piece

    def _must_wait(self, message: InputMessage) -> bool:
        return self._is_long(message) or self._needs_filters(message)

    def _needs_filters(self, message: InputMessage) -> bool:
        """Return whether a message needs filters that are still being loaded."""
        return isinstance(message, Chunk) and message.fs != FS and not filters_loaded(self._patient)

    def _convert(self, bed: MonitoredBed, message: InputMessage, x: FloatArray | None = None) -> None:
        if isinstance(message, Chunk):
            self._convert_chunk(bed, message, x)
        else:
            self._convert_break(bed, message)

    def _convert_chunk(self, bed: MonitoredBed, chunk: Chunk, x: FloatArray | None) -> None:
        if bed.input is None or not bed.input.fits(chunk):
            x = None  # converted for the input of another run
            if not self._open(bed, chunk):
                bed.lost += len(chunk.counts)
                return
        if bed.input is not None:
            self._take_in(bed, bed.input, chunk, x)

    def _take_in(self, bed: MonitoredBed, bed_input: BedInput, chunk: Chunk, x: FloatArray | None) -> None:
        if x is not None and bed_input.pass_on(chunk.first, x):
            self._put(bed, [_block_of(chunk.first, x)])
        else:
            self._put(bed, bed_input.push(chunk))

    def _convert_break(self, bed: MonitoredBed, message: Gap | End) -> None:
        if isinstance(message, Gap):
            bed.lost += message.count
        if bed.input is None or message.run != bed.input.run:
            if isinstance(message, End) and bed.refused:
                bed.ended = True
        elif isinstance(message, Gap):
            self._put(bed, bed.input.gap(message))
        else:
            end = replace(message, first=bed.input.at_fs(message.first), fs=FS)
            self._put(bed, [*bed.input.flush(), end])

    def _open(self, bed: MonitoredBed, chunk: Chunk) -> bool:
        """Open the input of a new run. A stream that cannot be monitored is refused, once for each reason."""
        if bed.input is not None:
            self._put(bed, bed.input.flush())
        self._opened += 1
        try:
            bed.change(chunk)
            made = BedInput(chunk, self._wanted_leads, self._config, self.scales)
        except StreamError as error:
            bed.take_by(None)
            if bed.refused != str(error):
                bed.refused = str(error)
                sample = nearest_index_at_125_hz(chunk.first, chunk.fs)
                self._put(bed, [StreamRefused(bed.name, chunk.run, sample, str(error))])
            return False
        bed.refused = ""
        bed.take_by(made)
        first = made.at_fs(chunk.first)
        starts = [RunStart(bed.name, made.run, first, lead.lead.name, made.fs, lead.rails) for lead in made.leads]
        self._put(bed, [replace(starts[0], others=tuple(starts[1:]))])
        return True

    def _put(self, bed: MonitoredBed, steps: Sequence[InputStep]) -> None:
        if steps:
            self._let_wait(bed).put(steps)

    def _let_wait(self, bed: MonitoredBed) -> WaitingBed:
        """Return what waits of a bed."""
        waiting = self._waiting.get(bed.name)
        if waiting is None:
            waiting = self._waiting[bed.name] = WaitingBed(bed)
            self._make_room(bed.row)
            self._waits[bed.row] = True
        return waiting

    def _make_room(self, last_row: int) -> None:
        """Make room for the rows of beds up to this one."""
        more = last_row + 1 - len(self._waits)
        if more > 0:
            self._waits = np.pad(self._waits, (0, max(more, len(self._waits))))
            self._rounds.make_room(len(self._waits))

    def _take_steps(self, name: str, block: int) -> Iterator[tuple[MonitoredBed, InputStep]]:
        """Take a few steps of a bed, up to its next block."""
        waiting = self._waiting[name]
        for _ in range(STEPS_PER_TURN):
            step = self._take_step(waiting, block)
            if step is None:
                break
            yield waiting.bed, step
            if isinstance(step, SampleBlock):
                break
        if not waiting.steps and not waiting.messages:
            del self._waiting[name]
            self._waits[waiting.bed.row] = False

    def _take_step(self, waiting: WaitingBed, block: int) -> InputStep | None:
        """Take the next step of a bed, of its samples the first `block`; None if there is none."""
        while not waiting.steps and waiting.messages and not self._needs_filters(waiting.messages[0]):
            before = waiting.samples
            message = waiting.take_message(self._piece)
            self._left -= before - waiting.samples
            self._convert(waiting.bed, message)
        if not waiting.steps:
            return None
        step = waiting.take_step(block)
        self._left -= step_work(step)
        return step


def _block_of(first: int, x: FloatArray) -> SampleBlock:
    """Return samples `x` (leads, n) of a bed as a block."""
    return SampleBlock(first, x[0] if len(x) == 1 else x.T)


def _once(rows: RowIndexArray) -> NDArray[np.bool_]:
    """Return which of these rows (n,) are there only once."""
    there, counts = np.unique(rows, return_counts=True)
    return np.isin(rows, there[counts == 1])
