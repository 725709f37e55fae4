"""What waits of one bed that cannot pass with others: steps for the stages, and behind them messages as they came."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from agent.analysis.bed_input import LeadNote
from agent.analysis.lead_input import SampleBlock
from agent.analysis.stage import RunStart
from agent.core.events import StreamRefused
from agent.core.messages import UNANALYSED_REASON, Chunk, End, FloatArray, Gap
from agent.pipeline.monitored_bed import MonitoredBed
from model.records.resample import FS

BLOCK_SAMPLES = 250
"""Most samples of a bed that go through the stages at once, unless told otherwise; far less than the ring holds. A gap,
a start or an end is as much work as a block."""

InputStep = RunStart | SampleBlock | Gap | End | StreamRefused | LeadNote
InputMessage = Chunk | Gap | End


@dataclass(slots=True)
class WaitingBed:
    """`steps`, and `messages` behind them that are not converted yet; `samples` of both."""

    bed: MonitoredBed
    steps: deque[InputStep] = field(default_factory=deque)
    messages: deque[InputMessage] = field(default_factory=deque)
    samples: int = 0

    def put(self, steps: Sequence[InputStep]) -> None:
        """Add steps behind the others."""
        self.steps.extend(steps)
        self.samples += sum([step_work(step) for step in steps])

    def put_off(self, message: InputMessage) -> None:
        """Add a message behind the others."""
        self.messages.append(message)
        self.samples += _message_work(message)

    def take_message(self, most: int) -> InputMessage:
        """Take the next message: of a chunk, and of those that follow on it, at most `most` samples."""
        message = self.messages.popleft()
        if isinstance(message, Chunk):
            message = self._join_chunks(message, most)
        self.samples -= _message_work(message)
        return message

    def take_step(self, most: int) -> InputStep:
        """Take the next step: of a block, and of those that follow on it, at most `most` samples."""
        step = self.steps.popleft()
        if isinstance(step, SampleBlock):
            step = self._join_blocks(step, most)
        self.samples -= step_work(step)
        return step

    def drop(self) -> Iterator[Gap | RunStart | End]:
        """Return all as it ends when nobody analyses it any more: one gap for all samples between two breaks."""
        run, first, stop = self.bed.run, 0, 0
        for step in [*self.steps, *self._drop_messages()]:
            if isinstance(step, SampleBlock | Gap):
                count = len(step.x) if isinstance(step, SampleBlock) else step.count
                if isinstance(step, SampleBlock):
                    self.bed.give_up(count)
                first, stop = step.first if first == stop else first, step.first + count
            elif isinstance(step, RunStart | End):
                if first < stop:
                    yield Gap(self.bed.name, run, first, stop - first, FS, UNANALYSED_REASON)
                first = stop = 0
                run = step.run
                yield step
        if first < stop:
            yield Gap(self.bed.name, run, first, stop - first, FS, UNANALYSED_REASON)

    def _join_chunks(self, chunk: Chunk, most: int) -> Chunk:
        """Return a chunk with those that follow on it, and put back what is more than `most` samples."""
        parts, n = [chunk.counts], len(chunk.counts)
        while n < most and self.messages and isinstance(after := self.messages[0], Chunk):
            if after.first != chunk.first + n or (after.run, after.fs, after.leads) != (
                chunk.run,
                chunk.fs,
                chunk.leads,
            ):
                break
            parts.append(after.counts)
            n += len(after.counts)
            self.messages.popleft()
        counts = np.concatenate(parts) if len(parts) > 1 else chunk.counts
        if n > most:
            self.messages.appendleft(replace(chunk, first=chunk.first + most, counts=counts[most:]))
        return replace(chunk, counts=counts[:most])

    def _join_blocks(self, block: SampleBlock, most: int) -> SampleBlock:
        """Return a block with those that follow on it, and put back what is more than `most` samples."""
        parts, n = [block.x], len(block.x)
        while n < most and self.steps and isinstance(after := self.steps[0], SampleBlock):
            if after.first != block.first + n or not _same_leads(after.x, block.x):
                break
            parts.append(after.x)
            n += len(after.x)
            self.steps.popleft()
        x = np.concatenate(parts) if len(parts) > 1 else block.x
        if n > most:
            self.steps.appendleft(SampleBlock(block.first + most, x[most:]))
        return SampleBlock(block.first, x[:most])

    def _drop_messages(self) -> Iterator[Gap | End]:
        """Count what was put off as lost, and yield it at 125 Hz where its run has begun."""
        bed = self.bed
        for message in self.messages:
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


def step_work(step: InputStep) -> int:
    """Return how much work a step is, in samples."""
    return len(step.x) if isinstance(step, SampleBlock) else BLOCK_SAMPLES


def _message_work(message: InputMessage) -> int:
    return len(message.counts) if isinstance(message, Chunk) else BLOCK_SAMPLES


def _same_leads(x: FloatArray, y: FloatArray) -> bool:
    """Whether samples (n,), or (n, leads) with NaN in leads that have no values, have values in the same leads."""
    return x.ndim == 1 or np.array_equal(np.isnan(x[0]), np.isnan(y[0]))
