"""What has come in of each bed and waits for its turn: blocks of samples, gaps, starts and ends, in order."""

from collections import deque
from dataclasses import dataclass

from agent.analysis.lead_input import LeadInput, SampleBlock
from agent.core.messages import End, Gap
from model.records.resample import FS

BLOCK_SAMPLES = 250
"""Most samples of a bed that go through the stages at once; far less than the history holds."""
BLOCKS_PER_PUSH = 4
"""Blocks of a bed in one push while most others have no more to come: a bed that sends too much waits for itself."""
BACKLOG_SAMPLES = 60 * FS
"""Samples of a bed that wait, from which on it has had enough; each gap, start and end counts as a block."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """A new run of a bed, or the same with other leads, comes in through a new door."""

    door: LeadInput
    first: int


InputStep = RunStart | SampleBlock | Gap | End


class InputQueue:
    """The steps of all rows that have any."""

    def __init__(self) -> None:
        self._rows: dict[int, deque[InputStep]] = {}
        self._samples: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[int]:
        """The rows that have their turn."""
        return list(self._rows)

    def sated(self) -> dict[int, int]:
        """The rows that have enough for now, and how many samples that is."""
        return {row: samples for row, samples in self._samples.items() if samples >= BACKLOG_SAMPLES}

    def put(self, row: int, *steps: InputStep) -> None:
        """More steps of a row; without any it has its turn nevertheless."""
        self._rows.setdefault(row, deque()).extend(steps)
        self._samples[row] = self._samples.get(row, 0) + sum(map(_count_step_samples, steps))

    def take(self, row: int) -> InputStep | None:
        """The next step of a row, a block of a stretch at most; None where there is none."""
        steps = self._rows.get(row)
        if steps is None:
            return None
        step = steps.popleft() if steps else None
        if isinstance(step, SampleBlock) and len(step.x) > BLOCK_SAMPLES:
            steps.appendleft(SampleBlock(step.first + BLOCK_SAMPLES, step.x[BLOCK_SAMPLES:]))
            step = SampleBlock(step.first, step.x[:BLOCK_SAMPLES])
        if not steps:
            del self._rows[row], self._samples[row]
        elif step is not None:
            self._samples[row] -= _count_step_samples(step)
        return step


def _count_step_samples(step: InputStep) -> int:
    return len(step.x) if isinstance(step, SampleBlock) else BLOCK_SAMPLES
