"""agent.link.run_takeover: which run a bed is in when its device restarts, and when two devices send under one name."""

from collections.abc import Sequence

import numpy as np
import pytest
from conftest import LEADS

from agent.core.events import Event
from agent.core.messages import Chunk, End, Gap, separate_chunks
from agent.core.wording import event_text
from agent.link.bed_streams import BedStreams
from agent.link.chunk_assembler import ChunkAssembler, LinkMessage
from agent.link.run_takeover import CONTESTED_S, RESTART_S
from agent.wire.packets import Packet, encode_frames, parse_frames
from model.records.resample import FS

COUNT = 25


def packet(place: int, run: str = "first", count: int = COUNT) -> Packet | End:
    """The packet of a fifth of a second at `place`; every count is its own sample index."""
    ramp = np.arange(COUNT * place, COUNT * place + count, dtype=np.int32)
    chunk = Chunk("1", run, COUNT * place, float(FS), LEADS, np.stack([ramp, ramp], axis=1), 1.0, 0.0, place)
    return parse_frames(encode_frames(chunk))


def end(place: int, run: str = "first") -> Packet | End:
    return parse_frames(encode_frames(End("1", run, COUNT * place, float(FS), place)))


class Bed:
    """One bed of a link without sockets; `out` is what has come out of it."""

    def __init__(self) -> None:
        self.streams = BedStreams(4)
        self.out: list[LinkMessage] = []

    def take(self, messages: Sequence[Packet | End], now_s: float) -> None:
        """Take messages as the link does, and see after runs that wait."""
        assembler = ChunkAssembler(now_s, 0.0)
        for message in messages:
            buffer = self.streams.select_buffer(message, now_s, assembler)
            if buffer is not None:
                if buffer.has_news(message):
                    buffer.received_s = buffer.news_s = now_s
                assembler.add_parts(buffer.bed, buffer.push(message, now_s))
        self.streams.promote_newcomers(now_s, assembler)
        self.out += separate_chunks(assembler.assemble())

    @property
    def samples(self) -> dict[str, list[int]]:
        """The samples of each run that came out."""
        out: dict[str, list[int]] = {}
        for message in self.out:
            if isinstance(message, Chunk):
                out.setdefault(message.run, []).extend(message.counts[:, 0].tolist())
        return out

    @property
    def events(self) -> list[str]:
        return [event_text(message) for message in self.out if isinstance(message, Event)]


@pytest.fixture
def bed() -> Bed:
    """A bed whose device has sent for two seconds, a packet at a time."""
    made = Bed()
    for place in range(10):
        made.take([packet(place)], place / 5)
    return made


def test_a_restart_is_followed_once_the_old_run_is_silent(bed: Bed) -> None:
    """A device that was killed and started again: its new run comes out whole, a second after the old one stopped."""
    for place in range(8):
        bed.take([packet(place, "second")], 2.1 + place / 5)
    assert list(bed.samples) == ["first", "second"]
    assert bed.samples["second"] == list(range(8 * COUNT))
    assert bed.events == []


def test_a_restart_after_a_pause_is_followed_at_once(bed: Bed) -> None:
    """Nothing is held back where the old run has been silent."""
    bed.take([packet(0, "second")], 1.9 + RESTART_S)
    assert bed.samples["second"] == list(range(COUNT))


def test_a_run_that_ended_gives_way_at_once(bed: Bed) -> None:
    """An end on purpose leaves no doubt, as in a replay that loops."""
    bed.take([end(10), packet(0, "second")], 2.0)
    assert bed.samples["second"] == list(range(COUNT))


def test_a_newcomer_does_not_interrupt_a_run_that_goes_on(bed: Bed) -> None:
    """Packets of another device between those of a bed change nothing but an event; both ledgers stay those of one."""
    for place in range(10, 30):
        bed.take([packet(place), packet(place - 10, "other")], place / 5)
    assert bed.samples == {"first": list(range(30 * COUNT))}
    assert len(bed.events) == 1
    assert "two devices send as this bed" in bed.events[0]
    assert bed.streams.contested(6.0) == {"1"}
    assert bed.streams.rejected == 20
    assert bed.streams.buffers["1"].sent == 30 * COUNT


def test_a_contest_is_over_in_time(bed: Bed) -> None:
    """Ten seconds after the last packet of the other device nobody needs to be told any more."""
    bed.take([packet(0, "other"), packet(10)], 2.0)
    assert bed.streams.contested(2.0 + CONTESTED_S - 0.1) == {"1"}
    assert bed.streams.contested(2.0 + CONTESTED_S) == set()


def test_the_other_device_is_watched_once_the_first_is_silent(bed: Bed) -> None:
    """In a contest that takes ten seconds: the first may only be out of reach for a moment."""
    bed.take([packet(10), packet(0, "other"), packet(11)], 2.0)
    for place in range(1, 60):
        bed.take([packet(place, "other")], 2.0 + place / 5)
    buffer = bed.streams.buffers["1"]
    assert (buffer.run, buffer.held) == ("other", 10)


def test_the_first_device_goes_on_where_it_was_left(bed: Bed) -> None:
    """It was out of reach, and another one took its place: it gets it back, and what it sent meanwhile is missing."""
    for place in range(10):
        bed.take([packet(place, "other")], 5.0 + place / 5)
    assert "other" in bed.samples
    bed.take([packet(35)], 7.0)
    buffer = bed.streams.buffers["1"]
    assert (buffer.run, buffer.missing) == ("first", (10 * COUNT, 35 * COUNT))
    assert buffer.sent == 36 * COUNT + 10 * COUNT
    bed.out += buffer.declare_lost(35 * COUNT, "never arrived", 7.0)  # type: ignore[arg-type]  # packets, not chunks
    assert [(gap.first, gap.count) for gap in bed.out if isinstance(gap, Gap)] == [(10 * COUNT, 25 * COUNT)]


def test_a_repetition_of_old_packets_wins_nothing(bed: Bed) -> None:
    """Packets of the run before, recorded and sent again, do not bring it back."""
    old = [packet(place) for place in range(10)]
    bed.take([end(10), packet(0, "second")], 2.0)
    for place in range(1, 10):
        bed.take([*old, packet(place, "second")], 2.0 + place / 5)
    assert bed.samples["second"] == list(range(10 * COUNT))
    assert any("two devices" in text for text in bed.events)


def test_runs_that_change_all_the_time_hold_back_one(bed: Bed) -> None:
    """A device that begins a run with every packet fills no memory: only the latest waits."""
    for number in range(3000):
        bed.take([packet(0, f"run {number}")], 2.0)
    assert len(bed.streams._takeover.newcomers) == 1
    assert bed.streams._held.bytes < 10_000
    assert bed.streams.rejected == 2999
    assert bed.events == ["packet rejected: a run that gave way to another before it was known to go on"]


def test_a_device_that_restarts_again_and_again_loses_nothing(bed: Bed) -> None:
    """Each run comes after the one before has fallen silent, though none of them lasts for a second."""
    for number in range(8):
        for place in range(2):
            bed.take([packet(place, f"run {number}")], 2.6 + 0.7 * number + place / 5)
    bed.take([], 20.0)
    assert [bed.samples.get(f"run {number}") for number in range(8)] == [list(range(2 * COUNT))] * 8
    assert bed.events == []
