"""Blocks of beds that come together and wait for their turn, round by round: a round has one block of a bed at most."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from agent.pipeline.bundled_beds import BedsTogether
from agent.pipeline.monitored_bed import MonitoredBed


class BlockRounds:
    """What waits of beds none of whose samples need a closer look; each turn takes the first round."""

    def __init__(self) -> None:
        self._rounds: deque[list[BedsTogether]] = deque()
        self.depths = np.zeros(1, np.int64)
        """(rows,) rounds up to the last one with a block of the bed."""
        self.samples = np.zeros(1, np.int64)
        """(rows,) samples of the bed in all rounds."""

    def __len__(self) -> int:
        """Return the number of beds in the first round."""
        return sum([len(together.rows) for together in self._rounds[0]]) if self._rounds else 0

    def make_room(self, rows: int) -> None:
        """Make room for `rows` beds."""
        more = rows - len(self.depths)
        self.depths, self.samples = np.pad(self.depths, (0, more)), np.pad(self.samples, (0, more))

    def add(self, together: BedsTogether, longest: int) -> None:
        """Add samples behind what waits of their beds, in blocks of at most `longest` samples."""
        depths = self.depths[together.rows]
        for depth in np.unique(depths).tolist():  # nearly always one: a bed in time does not wait for others
            part = together.of_beds(depths == depth) if (depths != depth).any() else together
            self._add_behind(depth, part, longest)

    def take(self) -> list[BedsTogether]:
        """Take the first round, with nothing in it if none waits."""
        if not self._rounds:
            return []
        first = self._rounds.popleft()
        for together in first:
            self.samples[together.rows] -= together.x.shape[2]
        np.maximum(self.depths - 1, 0, out=self.depths)
        return first

    def take_all(self) -> Iterator[BedsTogether]:
        """Take the blocks of all rounds, those of each bed in order."""
        while self._rounds:
            yield from self.take()

    def later(self) -> list[MonitoredBed]:
        """Return the beds that wait for more than the next turn."""
        if len(self._rounds) < 2:
            return []
        beds = {bed.row: bed for together in self._blocks() for bed in together.beds}
        return [bed for row, bed in beds.items() if self.depths[row] > 1]

    def deep(self, enough: int) -> dict[str, int]:
        """Return how many samples wait of the beds of which at least `enough` do, by their names."""
        if len(self._rounds) < 2 or not (self.samples >= enough).any():
            return {}
        beds = {bed.row: bed for together in self._blocks() for bed in together.beds}
        return {bed.name: int(self.samples[row]) for row, bed in beds.items() if self.samples[row] >= enough}

    def _blocks(self) -> Iterator[BedsTogether]:
        for one in self._rounds:
            yield from one

    def _add_behind(self, depth: int, together: BedsTogether, longest: int) -> None:
        """Add samples of beds whose last blocks are in round `depth` (0: none)."""
        n = together.x.shape[2]
        for first in range(0, n, longest):
            if depth == len(self._rounds):
                self._rounds.append([])
            self._rounds[depth].append(together.between(first, first + longest) if n > longest else together)
            depth += 1
        self.depths[together.rows] = depth
        self.samples[together.rows] += n
