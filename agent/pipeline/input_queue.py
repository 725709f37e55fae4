"""The way in: messages of all beds become gap-free blocks of millivolts at 125 Hz, gaps, starts and ends of runs.

Each bed keeps its order. A bed that brings more than the others waits for itself: a turn takes one block of each, first
of the beds that are done with it, then of the others in rotation until the turn has had its share of work.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from math import inf

from agent.analysis.bed_input import AlikeChunks, AlikeRuns, BedInput, LeadNote, join_alike_chunks
from agent.analysis.lead_input import SampleBlock
from agent.analysis.passing_leads import PassingLeads
from agent.analysis.stage import RunStart
from agent.core.config import SignalConfig
from agent.core.events import LeadScaled, StreamRefused
from agent.core.messages import UNANALYSED_REASON, BedsChunk, Chunk, End, FloatArray, Gap
from agent.core.sample_index import nearest_index_at_125_hz
from agent.pipeline.monitored_bed import MonitoredBed
from model.errors import StreamError
from model.records.resample import FS, filters_loaded

BLOCK_SAMPLES = 250
"""Most samples of a bed that go through the stages at once, unless told otherwise; far less than the ring holds."""
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
MOST_KNOWN_RUNS = 256
"""Lists of runs that come together, of which it is known what fits them."""

InputStep = RunStart | SampleBlock | Gap | End | StreamRefused | LeadNote


@dataclass(slots=True)
class _WaitingBed:
    """What waits of a bed: `steps`, and `messages` behind them that are not converted yet; `samples` of both."""

    bed: MonitoredBed
    steps: deque[InputStep] = field(default_factory=deque)
    messages: deque[Chunk | Gap | End] = field(default_factory=deque)
    samples: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class BedsTogether:
    """A block of each of many `beds`, alike in leads and length: `x` (beds, leads, n) mV, from samples `firsts` on."""

    beds: list[MonitoredBed]
    firsts: list[int]
    x: FloatArray


class InputQueue:
    """What has come in of each bed and waits for its turn. `wanted` are names of leads, or "auto"."""

    def __init__(self, wanted: str, config: SignalConfig) -> None:
        self._wanted_leads, self._config = wanted, config
        self.scales: list[LeadScaled] = []
        """Those that are known of earlier parts of runs, the later ones last."""
        self._waiting: dict[str, _WaitingBed] = {}
        self._passing = PassingLeads()
        self._together: list[BedsTogether] = []
        """Blocks of beds that do not wait otherwise: the next turn takes them all."""
        self._taken: set[str] = set()
        """The beds of these."""
        self._known: dict[int, AlikeRuns] = {}
        """The inputs of runs that come together, by the identity of their list."""
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
        return len(self._waiting) + sum(len(together.beds) for together in self._together)

    def waiting(self) -> list[MonitoredBed]:
        """Return the beds that wait for more than the next turn."""
        return [waiting.bed for waiting in self._waiting.values()]

    def backlog(self) -> tuple[set[str], set[str]]:
        """Return the beds that need no more for now, and those of them that have far too much."""
        enough = min(BACKLOG_SAMPLES, BACKLOG_OF_ALL // max(1, len(self._waiting)))
        backlogged = {name for name, waiting in self._waiting.items() if waiting.samples >= enough}
        return backlogged, {name for name in backlogged if self._waiting[name].samples >= OVERLOAD * enough}

    def put(self, beds: Sequence[MonitoredBed], messages: Sequence[Chunk | Gap | End], patient: bool = True) -> None:
        """Take messages and the bed of each. `patient`: wait for filters that are being loaded."""
        self._patient = patient
        for bed, message in zip(beds, messages, strict=True):
            if isinstance(message, Chunk):
                bed.arrived_s, bed.sent_s = message.arrived_s, message.sent_s
        left: dict[int, FloatArray | None] = dict.fromkeys(range(len(messages)))
        if len(messages) >= LEAST_TOGETHER:
            names = [bed.name for bed in beds]
            busy = self._waiting.keys() | self._taken | (_repeated(names) if len(set(names)) < len(names) else set())
            for alike in join_alike_chunks([bed.input for bed in beds], messages, self._piece):
                self._pass_on(alike, beds, busy, left)
        for place, x in left.items():
            self._put_one(beds[place], messages[place], x)

    def put_together(self, beds: Sequence[MonitoredBed], chunk: BedsChunk, patient: bool = True) -> None:
        """Take samples of many beds that came together, each of another bed. `patient`: as for `put`."""
        self._patient = patient
        for bed in beds:
            bed.arrived_s, bed.sent_s = chunk.arrived_s, chunk.sent_s
        left: dict[int, FloatArray | None] = dict.fromkeys(range(len(beds)))
        if 0 < chunk.samples <= self._piece:
            busy = self._waiting.keys() | self._taken if self._waiting or self._taken else frozenset[str]()
            for alike in self._known_runs(beds, chunk).convert(chunk):
                self._pass_on(alike, beds, busy, left)
        for place, x in left.items():
            self._put_one(beds[place], chunk.chunk(place), x)

    def next_turn(self) -> Iterator[BedsTogether | tuple[MonitoredBed, InputStep]]:
        """Yield of every bed the next block, after what comes before it, as long as the turn has work left."""
        block = self.block
        if self.turn < inf:
            block = max(LEAST_BLOCK_SAMPLES, min(block, int(self.turn) // max(1, len(self))))
        turned = {name: waiting for name, waiting in self._waiting.items() if name not in self._taken}
        few = [name for name, waiting in turned.items() if waiting.samples <= self._piece]
        many = [name for name, waiting in turned.items() if waiting.samples > self._piece]
        self._left = self.turn - sum(len(together.beds) * together.x.shape[2] for together in self._together)
        yield from self._together
        self._together.clear()
        self._taken.clear()
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
        for waiting in list(self._waiting.values()):
            yield from self._drop(waiting)
        self._waiting.clear()

    def _known_runs(self, beds: Sequence[MonitoredBed], chunk: BedsChunk) -> AlikeRuns:
        """Return the inputs of beds that came together: most often the same ones as before."""
        inputs = [bed.input for bed in beds]
        known = self._known.get(id(chunk.runs))
        if known is None or known.runs is not chunk.runs or known.inputs != inputs:
            if len(self._known) >= MOST_KNOWN_RUNS:
                self._known.clear()
            known = self._known[id(chunk.runs)] = AlikeRuns.of(chunk.runs, inputs)
        return known

    def _pass_on(
        self, alike: AlikeChunks, beds: Sequence[MonitoredBed], busy: Set[str], left: dict[int, FloatArray | None]
    ) -> None:
        """Take the chunks that need no closer look as one block, of beds that are not `busy`: they wait for nothing.

        They are taken out of `left`, the places of what is left, which gets the millivolts (leads, n) of plain ones.
        """
        places, x = alike.places, alike.x
        whole = LEAST_BLOCK_SAMPLES if self.turn < inf else self.block
        plain = [i for i, is_plain in enumerate(alike.plain) if is_plain]
        able = plain if not busy else [i for i in plain if beds[places[i]].name not in busy]
        taken = alike.pass_on(able if x.shape[2] <= whole else [], self._passing)
        if len(taken) < len(plain):
            left.update((places[i], x[i]) for i in set(plain).difference(taken))
        if not taken:
            return
        passed = [beds[places[i]] for i in taken]
        for i, bed in zip(taken, passed, strict=True):
            bed.took(x.shape[2], FS)
            del left[places[i]]
        self._taken.update([bed.name for bed in passed])
        firsts = [alike.firsts[i] for i in taken]
        self._together.append(BedsTogether(passed, firsts, x if len(taken) == len(x) else x[taken]))

    def _put_one(self, bed: MonitoredBed, message: Chunk | Gap | End, x: FloatArray | None) -> None:
        """Take a message by itself; `x` (leads, n) mV if it is a chunk that was converted."""
        waiting = self._waiting.get(bed.name)
        if (waiting is not None and waiting.messages) or (x is None and self._must_wait(message)):
            self._put_off(bed, message)
        else:
            self._convert(bed, message, x)

    @property
    def _piece(self) -> int:
        """Most samples of a chunk that are converted at once."""
        return PIECE_SAMPLES // BLOCK_SAMPLES * self.block

    def _is_long(self, message: Chunk | Gap | End) -> bool:
        return isinstance(message, Chunk) and len(message.counts) > self._piece

    def _must_wait(self, message: Chunk | Gap | End) -> bool:
        return self._is_long(message) or self._needs_filters(message)

    def _needs_filters(self, message: Chunk | Gap | End) -> bool:
        """Return whether a message needs filters that are still being loaded."""
        return isinstance(message, Chunk) and message.fs != FS and not filters_loaded(self._patient)

    def _put_off(self, bed: MonitoredBed, message: Chunk | Gap | End) -> None:
        waiting = self._waiting.setdefault(bed.name, _WaitingBed(bed))
        waiting.messages.append(message)
        waiting.samples += _message_samples(message)

    def _convert(self, bed: MonitoredBed, message: Chunk | Gap | End, x: FloatArray | None = None) -> None:
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
        bed.took(len(chunk.counts), chunk.fs)
        if x is not None and bed_input.pass_on(chunk.first, x):
            self._put(bed, [SampleBlock(chunk.first, x[0] if len(x) == 1 else x.T)])
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
        try:
            bed.change(chunk)
            bed.input = BedInput(chunk, self._wanted_leads, self._config, self.scales)
        except StreamError as error:
            if bed.refused != str(error):
                bed.refused, bed.input = str(error), None
                sample = nearest_index_at_125_hz(chunk.first, chunk.fs)
                self._put(bed, [StreamRefused(bed.name, chunk.run, sample, str(error))])
            return False
        bed.refused = ""
        made = bed.input
        first = made.at_fs(chunk.first)
        starts = [RunStart(bed.name, made.run, first, lead.lead.name, made.fs, lead.rails) for lead in made.leads]
        self._put(bed, [replace(starts[0], others=tuple(starts[1:]))])
        return True

    def _put(self, bed: MonitoredBed, steps: Sequence[InputStep]) -> None:
        if steps:
            waiting = self._waiting.get(bed.name)
            if waiting is None:
                waiting = self._waiting[bed.name] = _WaitingBed(bed)
            waiting.steps.extend(steps)
            for step in steps:
                waiting.samples += _step_samples(step)

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

    def _take_step(self, waiting: _WaitingBed, block: int) -> InputStep | None:
        """Take the next step of a bed, of its samples the first `block`; None if there is none."""
        while not waiting.steps and waiting.messages and not self._needs_filters(waiting.messages[0]):
            self._convert_next(waiting)
        if not waiting.steps:
            return None
        step = waiting.steps.popleft()
        if isinstance(step, SampleBlock) and len(step.x) > block:
            waiting.steps.appendleft(SampleBlock(step.first + block, step.x[block:]))
            step = SampleBlock(step.first, step.x[:block])
        waiting.samples -= _step_samples(step)
        self._left -= _step_samples(step)
        return step

    def _convert_next(self, waiting: _WaitingBed) -> None:
        """Convert the next message that was put off, or a piece of it."""
        message = waiting.messages.popleft()
        if self._is_long(message):
            assert isinstance(message, Chunk)
            rest = replace(message, first=message.first + self._piece, counts=message.counts[self._piece :])
            waiting.messages.appendleft(rest)
            message = replace(message, counts=message.counts[: self._piece])
        waiting.samples -= _message_samples(message)
        self._left -= _message_samples(message)
        self._convert(waiting.bed, message)

    def _drop(self, waiting: _WaitingBed) -> Iterator[tuple[MonitoredBed, Gap | RunStart | End]]:
        bed, run = waiting.bed, waiting.bed.run
        first = stop = 0
        for step in [*waiting.steps, *self._drop_messages(waiting)]:
            if isinstance(step, SampleBlock | Gap):
                count = len(step.x) if isinstance(step, SampleBlock) else step.count
                if isinstance(step, SampleBlock):
                    bed.give_up(count)
                first, stop = step.first if first == stop else first, step.first + count
            elif isinstance(step, RunStart | End):
                if first < stop:
                    yield bed, Gap(bed.name, run, first, stop - first, FS, UNANALYSED_REASON)
                first = stop = 0
                run = step.run
                yield bed, step
        if first < stop:
            yield bed, Gap(bed.name, run, first, stop - first, FS, UNANALYSED_REASON)

    def _drop_messages(self, waiting: _WaitingBed) -> Iterator[Gap | End]:
        """Count what was put off as lost, and yield it at 125 Hz where its run has begun."""
        bed = waiting.bed
        for message in waiting.messages:
            count = 0
            if not isinstance(message, End):
                count = len(message.counts) if isinstance(message, Chunk) else message.count
            bed.lost += count
            if bed.input is None or bed.input.run != message.run:
                continue
            first, stop = bed.input.at_fs(message.first), bed.input.at_fs(message.first + count)
            if isinstance(message, End):
                yield replace(message, first=first, fs=FS)
            else:
                yield Gap(bed.name, message.run, first, stop - first, FS, UNANALYSED_REASON)


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _step_samples(step: InputStep) -> int:
    return len(step.x) if isinstance(step, SampleBlock) else BLOCK_SAMPLES


def _message_samples(message: Chunk | Gap | End) -> int:
    return len(message.counts) if isinstance(message, Chunk) else BLOCK_SAMPLES
