"""The way in: messages of all beds become gap-free blocks of millivolts at 125 Hz, gaps, starts and ends of runs.

Each bed keeps its order. A bed that brings much more than the others waits for itself: a turn takes one block of each.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat

from agent.analysis.lead_input import LeadInput, SampleBlock, chunks_to_millivolts
from agent.analysis.stage import RunStart
from agent.core.events import StreamRefused
from agent.core.messages import Chunk, End, FloatArray, Gap
from agent.core.sample_index import nearest_index_at_125_hz
from agent.pipeline.monitored_bed import MonitoredBed
from model.errors import StreamError
from model.records.resample import FS

BLOCK_SAMPLES = 250
"""Most samples of a bed that go through the stages at once; far less than the ring holds."""
TURNS_PER_PUSH = 4
"""Turns of a push while most other beds have nothing more to come."""
BACKLOG_SAMPLES = 60 * FS
"""Samples of a bed that wait, from which on it has enough for now; a gap, a start or an end counts as a block."""
LEAST_TOGETHER = 8
"""Messages from which on it pays to convert chunks together."""
LIVE_S = 2.5
"""Beds that sent within this time count as live."""

InputStep = RunStart | SampleBlock | Gap | End | StreamRefused


class InputQueue:
    """What has come in of each bed and waits for its turn. `wanted_lead` is a lead's name, or "auto"."""

    def __init__(self, wanted_lead: str) -> None:
        self._wanted_lead = wanted_lead
        self._steps: dict[str, deque[InputStep]] = {}
        self._samples: dict[str, int] = {}
        self._beds: dict[str, MonitoredBed] = {}
        self._newest_s = 0.0

    def __len__(self) -> int:
        """Return the number of beds that wait."""
        return len(self._steps)

    def waiting(self) -> list[MonitoredBed]:
        """Return the beds that wait for their turn."""
        return [self._beds[name] for name in self._steps]

    def backlog(self) -> dict[str, int]:
        """Return the beds that need no more for now, with the samples (at 125 Hz) that wait of each."""
        return {name: samples for name, samples in self._samples.items() if samples >= BACKLOG_SAMPLES}

    def is_unfair(self, turns: int) -> bool:
        """Whether a push should end after `turns` turns: only a minority of the live beds still has something."""
        return turns >= TURNS_PER_PUSH and 2 * len(self._steps) <= self._live()

    def put(self, beds: Sequence[MonitoredBed], messages: Sequence[Chunk | Gap | End]) -> None:
        """Take messages and the bed of each."""
        for bed, message, x in zip(beds, messages, self._millivolts(beds, messages), strict=True):
            self._beds[bed.name] = bed
            if isinstance(message, Chunk):
                self._put_chunk(bed, message, x)
            else:
                self._put_break(bed, message)

    def next_turn(self) -> Iterator[tuple[MonitoredBed, InputStep]]:
        """Yield of every waiting bed the next block, after what comes before it, a few steps at most."""
        for name in list(self._steps):
            for _ in range(TURNS_PER_PUSH):
                step = self._take(name)
                if step is None:
                    break
                yield self._beds[name], step
                if isinstance(step, SampleBlock):
                    break

    def _millivolts(
        self, beds: Sequence[MonitoredBed], messages: Sequence[Chunk | Gap | End]
    ) -> Iterator[FloatArray | None]:
        """Convert the chunks of many beds together; None for whatever needs a closer look."""
        if len(messages) < LEAST_TOGETHER:
            yield from repeat(None, len(messages))
            return
        chunks = [message for message in messages if isinstance(message, Chunk)]
        inputs = [bed.input for bed, message in zip(beds, messages, strict=True) if isinstance(message, Chunk)]
        converted = iter(chunks_to_millivolts(inputs, chunks))
        for message in messages:
            yield next(converted) if isinstance(message, Chunk) else None

    def _put_chunk(self, bed: MonitoredBed, chunk: Chunk, x: FloatArray | None) -> None:
        bed.arrived_s, bed.sent_s = chunk.arrived_s, chunk.sent_s
        self._newest_s = max(self._newest_s, chunk.arrived_s)
        if bed.input is None or not bed.input.fits(chunk):
            x = None  # converted for the input of another run
            if not self._open(bed, chunk):
                bed.lost += len(chunk.counts)
                return
        if bed.input is not None:
            bed.took(chunk)
            self._put(bed, bed.input.push(chunk, x))

    def _put_break(self, bed: MonitoredBed, message: Gap | End) -> None:
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
            bed.input = LeadInput(chunk, self._wanted_lead)
        except StreamError as error:
            if bed.refused != str(error):
                bed.refused, bed.input = str(error), None
                sample = nearest_index_at_125_hz(chunk.first, chunk.fs)
                self._put(bed, [StreamRefused(bed.name, chunk.run, sample, str(error))])
            return False
        bed.refused = ""
        made = bed.input
        self._put(bed, [RunStart(bed.name, made.run, made.at_fs(chunk.first), made.lead.name, made.fs, made.rails)])
        return True

    def _put(self, bed: MonitoredBed, steps: Sequence[InputStep]) -> None:
        if steps:
            self._steps.setdefault(bed.name, deque()).extend(steps)
            self._samples[bed.name] = self._samples.get(bed.name, 0) + sum(map(_step_samples, steps))

    def _take(self, name: str) -> InputStep | None:
        """Take the next step of a bed, of a block its first BLOCK_SAMPLES; None if there is none."""
        steps = self._steps.get(name)
        if steps is None:
            return None
        step = steps.popleft()
        if isinstance(step, SampleBlock) and len(step.x) > BLOCK_SAMPLES:
            steps.appendleft(SampleBlock(step.first + BLOCK_SAMPLES, step.x[BLOCK_SAMPLES:]))
            step = SampleBlock(step.first, step.x[:BLOCK_SAMPLES])
        if steps:
            self._samples[name] -= _step_samples(step)
        else:
            del self._steps[name], self._samples[name]
        return step

    def _live(self) -> int:
        return sum(self._newest_s - bed.arrived_s < LIVE_S and not bed.ended for bed in self._beds.values())


def _step_samples(step: InputStep) -> int:
    return len(step.x) if isinstance(step, SampleBlock) else BLOCK_SAMPLES
