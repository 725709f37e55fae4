"""agent.pipeline.block_rounds: blocks of beds that come together wait round by round."""

import numpy as np

from agent.pipeline.block_rounds import BlockRounds
from agent.pipeline.bundled_beds import BedsTogether, rows_of
from agent.pipeline.monitored_bed import MonitoredBed

BEDS = [MonitoredBed(str(row), row) for row in range(4)]


def samples(rows: list[int], first: int, count: int) -> BedsTogether:
    """Samples of the beds in these rows, each with its place in the stream as its value."""
    beds = [BEDS[row] for row in rows]
    x = np.tile(np.arange(first, first + count, dtype=np.float32), (len(rows), 1, 1))
    return BedsTogether(beds, rows_of(beds), rows_of(beds)[:, None], [first] * len(rows), x)


def new_rounds() -> BlockRounds:
    rounds = BlockRounds()
    rounds.make_room(len(BEDS))
    return rounds


def served(rounds: BlockRounds) -> dict[str, list[float]]:
    """Take a round; return the samples of each bed in it, which begin where the block says."""
    found: dict[str, list[float]] = {}
    for together in rounds.take():
        for bed, first, x in zip(together.beds, together.firsts, together.x, strict=True):
            assert bed.name not in found
            assert x[0, 0] == first
            found[bed.name] = x[0].tolist()
    return found


def test_long_samples_take_several_rounds() -> None:
    """Each bed has one block a round, in order and nothing twice; the account of what waits closes."""
    rounds = new_rounds()
    rounds.add(samples([0, 1], 0, 100), 40)
    rounds.add(samples([0, 1], 100, 30), 40)
    assert rounds.samples.tolist() == [130, 130, 0, 0]
    assert [bed.name for bed in rounds.later()] == ["0", "1"]
    assert rounds.deep(130) == {"0": 130, "1": 130}
    assert rounds.deep(131) == {}
    heard = []
    for length in (40, 40, 20, 30):
        round_ = served(rounds)
        assert {name: len(x) for name, x in round_.items()} == {"0": length, "1": length}
        heard += round_["0"]
    assert heard == list(range(130))
    assert len(rounds) == 0
    assert not rounds.samples.any()
    assert not rounds.depths.any()


def test_a_bed_in_time_does_not_wait_for_one_that_brings_much() -> None:
    """Beds of a bundle of which one has much waiting come with the next round, and that one behind its own."""
    rounds = new_rounds()
    rounds.add(samples([2], 0, 120), 40)
    rounds.add(samples([0, 1, 2, 3], 120, 25), 40)
    assert {name: x[0] for name, x in served(rounds).items()} == {"0": 120, "1": 120, "2": 0, "3": 120}
    assert [served(rounds)["2"][0] for _ in range(3)] == [40, 80, 120]


def test_all_can_be_taken_at_once() -> None:
    """At the end the blocks of all rounds come in the order of each bed."""
    rounds = new_rounds()
    rounds.add(samples([0, 1], 0, 100), 40)
    rounds.add(samples([1], 100, 10), 40)
    firsts = [
        first
        for together in rounds.take_all()
        for bed, first in zip(together.beds, together.firsts, strict=True)
        if bed.name == "1"
    ]
    assert firsts == [0, 40, 80, 100]
    assert rounds.take() == []
