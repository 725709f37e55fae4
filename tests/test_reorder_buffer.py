"""The order of one bed: every sample comes out once, in order, whatever came in."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from conftest import LEADS
from hypothesis import given
from hypothesis import strategies as st

from agent.core.messages import Chunk, End, Gap
from agent.link.reorder_buffer import MOST_HELD_PACKETS, MOST_PAST_RUNS, ReorderBuffer
from agent.wire import packets as wire
from agent.wire.packets import Packet
from model.records.resample import FS


def packet(first: int, count: int = 5, run: str = "run") -> Packet:
    """A packet whose counts are their own sample index."""
    ramp = np.arange(first, first + count, dtype=np.int32)
    made = wire.parse_frames(
        wire.encode_frames(Chunk("1", run, first, float(FS), LEADS, np.stack([ramp, -ramp], axis=1), 1.0))
    )
    assert isinstance(made, Packet)
    return made


def samples(parts: list[Packet | Gap | End]) -> list[tuple[int, bool]]:
    """(index, known) of every sample that came out."""
    out: list[tuple[int, bool]] = []
    for part in parts:
        if isinstance(part, Packet):
            counts = wire.join_packets([part]).counts[:, 0]
            assert counts.tolist() == list(range(part.header.first, part.header.first + part.header.count))
            out += [(int(count), True) for count in counts]
        elif isinstance(part, Gap):
            out += [(part.first + i, False) for i in range(part.count)]
    return out


def hole_of(buffer: ReorderBuffer) -> tuple[tuple[int, int] | None, float | None]:
    return buffer.missing, buffer.missing_since_s


def started(start: int = 0) -> ReorderBuffer:
    buffer = ReorderBuffer("1", "run", float(FS))
    assert buffer.join_at(start, start, 0.0) == []
    return buffer


def cut(total: int, edges: list[int]) -> list[Packet]:
    places = sorted({0, total, *(edge % total for edge in edges)})
    return [packet(low, high - low) for low, high in pairwise(places)]


@given(
    edges=st.lists(st.integers(1, 10**6), max_size=20),
    order=st.randoms(use_true_random=False),
    twice=st.sets(st.integers(0, 20)),
)
def test_any_order_and_repetition_comes_out_once_and_in_order(edges: list[int], order: Random, twice: set[int]) -> None:
    """Packets in any order, some of them twice, come out as every sample once and in order, then the End."""
    packets = cut(120, edges)
    sent: list[Packet | End] = [*packets, *(packets[i] for i in twice if i < len(packets)), End("1", "run", 120, FS)]
    order.shuffle(sent)
    buffer = started()
    out = [part for message in sent for part in buffer.push(message, 0.0)]
    assert samples(list(out)) == [(i, True) for i in range(120)]
    assert out[-1] == End("1", "run", 120, FS)
    assert buffer.missing is None
    assert buffer.ended
    assert buffer.sent == 120


@given(
    edges=st.lists(st.integers(1, 10**6), max_size=20),
    lost=st.sets(st.integers(0, 20)),
    order=st.randoms(use_true_random=False),
)
def test_what_is_lost_is_declared_and_nothing_else(edges: list[int], lost: set[int], order: Random) -> None:
    """Exactly the samples of lost packets come out as gaps."""
    packets = cut(120, edges)
    kept: list[Packet | End] = [one for i, one in enumerate(packets) if i not in lost]
    order.shuffle(kept)
    buffer = started()
    out: list[Packet | Gap | End] = []
    for message in [*kept, End("1", "run", 120, FS)]:
        out += buffer.push(message, 0.0)
    out += buffer.flush_as_lost("lost", 1.0)
    missing = {i for k in lost if k < len(packets) for i in range(packets[k].header.first, _stop(packets[k]))}
    assert samples(out) == [(i, i not in missing) for i in range(120)]
    assert buffer.ended


def _stop(one: Packet) -> int:
    return one.header.first + one.header.count


def test_packets_of_other_sizes_overlap_without_repetition() -> None:
    """Packets that overlap bring each sample once."""
    buffer = started()
    parts = [*buffer.push(packet(0, 7), 0.0), *buffer.push(packet(3, 2), 0.0), *buffer.push(packet(5, 10), 0.0)]
    assert samples(list(parts)) == [(i, True) for i in range(15)]


def test_nothing_comes_out_before_the_start_is_known() -> None:
    """A run that is met in the middle is held back until its start is settled."""
    buffer = ReorderBuffer("1", "run", float(FS))
    assert buffer.push(packet(100), 0.0) == []
    assert buffer.missing == (0, 100)
    assert buffer.sent == 0
    parts = buffer.join_at(40, 80, 1.0)
    assert parts == [Gap("1", "run", 40, 40, float(FS), "sent before the monitor came")]
    assert buffer.missing == (80, 100)
    assert samples(list(buffer.push(packet(80, 20), 1.0))) == [(i, True) for i in range(80, 105)]
    assert buffer.sent == 65


def test_a_hole_is_dated_and_closed() -> None:
    """A hole has the time of the packet that showed it, and none once it is closed."""
    buffer = started()
    buffer.push(packet(0), 1.0)
    assert hole_of(buffer) == (None, None)
    buffer.push(packet(10), 2.0)
    buffer.push(packet(20), 3.0)
    assert hole_of(buffer) == ((5, 10), 2.0)
    buffer.push(packet(5), 4.0)
    assert buffer.missing == (15, 20)
    buffer.declare_lost(20, "lost", 5.0)
    assert hole_of(buffer) == (None, None)


def test_only_so_much_is_held_back_and_the_rest_is_known_to_be_missing() -> None:
    """A full buffer drops later packets, and knows that they are missing."""
    buffer = started()
    for i in range(1, 2 * MOST_HELD_PACKETS):
        buffer.push(packet(5 * i), 0.0)
    assert buffer.full
    assert buffer.missing == (0, 5)
    out = buffer.push(packet(0), 0.0)
    assert samples(list(out)) == [(i, True) for i in range(5 * (MOST_HELD_PACKETS + 1))]
    assert buffer.missing == (5 * (MOST_HELD_PACKETS + 1), 10 * MOST_HELD_PACKETS)
    assert not buffer.full


def test_large_packets_fill_it_as_well() -> None:
    """The buffer is bounded in bytes too."""
    buffer = started()
    buffer.push(packet(10, 65_536), 0.0)
    assert not buffer.full
    for i in range(1, 4):
        buffer.push(packet(10 + i * 65_536, 65_536), 0.0)
    assert buffer.full


def test_a_run_that_replaces_another_goes_on_with_its_ledger() -> None:
    """The samples of earlier runs stay counted, and the earlier runs that are remembered are bounded."""
    buffer = started(50)
    buffer.push(packet(50), 0.0)
    for i in range(2 * MOST_PAST_RUNS):
        newcomer = ReorderBuffer("1", f"run {i}", float(FS))
        newcomer.follow(buffer)
        buffer = newcomer
    assert buffer.sent == 5
    assert len(buffer.past_runs) == MOST_PAST_RUNS
    buffer.join_at(10, 10, 0.0)
    buffer.push(packet(10, run=buffer.run), 0.0)
    assert buffer.sent == 10


def test_giving_up_goes_no_further_than_the_hole() -> None:
    """What is held back is never declared lost."""
    buffer = started()
    buffer.push(packet(10), 0.0)
    parts = buffer.declare_lost(10**9, "lost", 0.0)
    assert samples(parts) == [(i, i >= 10) for i in range(15)]
    assert buffer.declare_lost(10**9, "lost", 0.0) == []


@pytest.mark.parametrize("first", [0, 5])
def test_an_end_before_what_came_ends_it_there(first: int) -> None:
    """An End that names an earlier sample than the last one ends the run all the same."""
    buffer = started()
    buffer.push(packet(0), 0.0)
    assert buffer.push(End("1", "run", first, FS), 0.0) == [End("1", "run", first, FS)]
    assert buffer.missing is None
