"""What has come in of each bed and waits for its turn: blocks of samples, gaps, starts and ends, in order."""

from collections import deque
from dataclasses import dataclass

from agent.analysis.lead_input import Door, Stretch
from agent.core.messages import End, Gap
from model.records.resample import FS

BLOCK = 250
"""Most samples of a bed that go through the stages at once; far less than the history holds."""
ROUNDS = 4
"""Blocks of a bed in one push while most others have no more to come: a bed that sends too much waits for itself."""
ENOUGH = 60 * FS
"""Samples of a bed that wait, from which on it has had enough; each gap, start and end counts as a block."""


@dataclass(frozen=True, slots=True)
class Start:
    """A new run of a bed, or the same with other leads, comes in through a new door."""

    door: Door
    first: int


Step = Start | Stretch | Gap | End


class Steps:
    """The steps of all rows that have any."""

    def __init__(self) -> None:
        self._rows: dict[int, deque[Step]] = {}
        self._samples: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> list[int]:
        """The rows that have their turn."""
        return list(self._rows)

    def sated(self) -> dict[int, int]:
        """The rows that have enough for now, and how many samples that is."""
        return {row: samples for row, samples in self._samples.items() if samples >= ENOUGH}

    def put(self, row: int, *steps: Step) -> None:
        """More steps of a row; without any it has its turn nevertheless."""
        self._rows.setdefault(row, deque()).extend(steps)
        self._samples[row] = self._samples.get(row, 0) + sum(map(_size, steps))

    def take(self, row: int) -> Step | None:
        """The next step of a row, a block of a stretch at most; None where there is none."""
        steps = self._rows.get(row)
        if steps is None:
            return None
        step = steps.popleft() if steps else None
        if isinstance(step, Stretch) and len(step.x) > BLOCK:
            steps.appendleft(Stretch(step.first + BLOCK, step.x[BLOCK:]))
            step = Stretch(step.first, step.x[:BLOCK])
        if not steps:
            del self._rows[row], self._samples[row]
        elif step is not None:
            self._samples[row] -= _size(step)
        return step


def _size(step: Step) -> int:
    return len(step.x) if isinstance(step, Stretch) else BLOCK
