"""agent.link.bundle_reader: a link makes of bundles what it makes of packets of version 1. Sockets are queues."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from support.bundled import BED_LEADS, ramp

from agent.core import config as configuration
from agent.core.config import override_config
from agent.core.events import Event, PacketRejected
from agent.core.messages import LARGEST_SHARED_BYTES, MISSING, Chunk, End, separate_chunks
from agent.core.wording import event_text
from agent.device import bundle_writer
from agent.device.bundle_writer import BundleWriter
from agent.link import link_receiver
from agent.link.backfill_client import CHANNEL_ABSENT_S
from agent.link.bundle_reader import ASK_S
from agent.link.chunk_assembler import LinkMessage
from agent.link.packet_intake import MOST_BED_BYTES, MOST_PACKETS_READ
from agent.link.reorder_buffer import ReorderBuffer
from agent.wire.bundles import BUNDLE_TOPIC, encode_description, encode_descriptions
from agent.wire.packets import PacketCutter, encode_frames
from benchmarks.fuzz.bundles import write_bundles
from benchmarks.fuzz.socketless import open_queued_link

TICK_S = 0.2


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading takes as long as the machine needs: what it leaves for the next one is no question of time."""
    monkeypatch.setattr(link_receiver, "READ_S", 60.0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two beds make a bundle: they are enough for a test."""
    monkeypatch.setattr(bundle_writer, "LEAST_BUNDLED", 2)


class Monitor:
    """A link, the time by its clock, and what it made: the messages of each bed, its chunks joined."""

    def __init__(self, bundles: bool = True, most_beds: int = 4096) -> None:
        settings = override_config(configuration.load_config(None, {}), "link", patience_ms=0.0, bundles=bundles)
        self.link, self.stream, _ = open_queued_link(override_config(settings, "monitor", beds=most_beds))
        self.writer = BundleWriter() if bundles else None
        self.now_s = 1.75e9
        self.asked = 0
        self.stream.subscribe = self._note_subscription  # type: ignore[method-assign]
        self.out: list[LinkMessage] = []

    def _note_subscription(self, *topics: bytes) -> None:
        assert topics == (BUNDLE_TOPIC,)
        self.asked += 1

    def hear(self, *due: Chunk | End, seconds: float = TICK_S) -> list[LinkMessage]:
        """Let what is due together arrive; return what the link makes of it."""
        frames = write_bundles(self.writer, due) if self.writer else [encode_frames(message) for message in due]
        return self.hear_frames(frames, seconds)

    def hear_frames(self, frames: Iterable[Sequence[bytes]], seconds: float = TICK_S) -> list[LinkMessage]:
        self.now_s += seconds
        self.stream.arrived.extend(frames)
        made = list(separate_chunks(self.link.receive(self.now_s)))
        self.out += made
        return made

    def wait(self) -> None:
        """Let a second pass, after which there is no backfill channel to wait for."""
        for _ in range(10):
            self.hear_frames([], CHANNEL_ABSENT_S)

    def story(self, bed: str) -> list[object]:
        """What was made of a bed: samples one by one, gaps, ends, events."""
        told: list[object] = []
        for message in self.out:
            if getattr(message, "bed", None) != bed:
                continue
            if isinstance(message, Chunk):
                rows = enumerate(message.counts.tolist(), message.first)
                told += [(message.run, message.fs, message.leads, place, tuple(row)) for place, row in rows]
            else:
                told.append(event_text(message) if isinstance(message, Event) else message)
        return told

    @property
    def events(self) -> list[str]:
        return [event_text(message) for message in self.out if isinstance(message, Event)]


def chunks_of(messages: Iterable[LinkMessage]) -> list[Chunk]:
    return [message for message in messages if isinstance(message, Chunk)]


def begun(monitor: Monitor, beds: Sequence[str] = ("a", "b", "c")) -> Monitor:
    """A monitor in which three beds have sent two packets each, after which bundles are usual."""
    for first in (0, 25):
        monitor.hear(*(ramp(bed, first) for bed in beds))
    return monitor


def misordered(random: Random) -> list[list[Chunk | End]]:
    """What five beds send in forty ticks: holes, repetitions, other runs, rates and leads, ends, lone packets."""
    state: dict[str, tuple[int, str, float, int]] = dict.fromkeys("abcde", (0, "run", 125.0, 1))
    ticks: list[list[Chunk | End]] = []
    for _ in range(40):
        due: list[Chunk | End] = []
        for bed, (first, run, fs, leads) in list(state.items()):
            samples = random.choice((25, 25, 25, 5))
            match random.randrange(14):
                case 0:
                    state[bed] = first + random.choice((25, 1000)), run, fs, leads
                    continue
                case 1:
                    first = max(0, first - random.choice((5, 25, 100)))
                case 2:
                    due.append(End(bed, run, first, fs, 0, 1.0))
                    state[bed] = 0, f"run {random.randrange(3)}", fs, leads
                    continue
                case 3:
                    first, run = random.choice((0, 50)), random.choice(("run", "other", "third"))
                case 4:
                    fs, leads = random.choice((125.0, 250.0)), random.choice((1, 2))
                case 5:
                    continue
                case _:
                    pass
            due.append(ramp(bed, first, samples, run, fs, BED_LEADS[:leads]))
            sent = state[bed][0] if run == state[bed][1] else 0
            state[bed] = max(sent, first + samples), run, fs, leads
        ticks.append(due)
    return ticks


@pytest.mark.parametrize("seed", range(30))
def test_any_stream_is_the_same_in_both_versions(seed: int) -> None:
    """Whatever beds send, samples, gaps, ends, events, ledger and counts are those of version 1, bed by bed."""
    random = Random(seed)
    ticks = misordered(random)
    pauses = [random.choice((TICK_S, TICK_S, TICK_S, 0.01, 1.5, 3.0)) for _ in ticks]
    one, two = Monitor(bundles=False), Monitor()
    for due, seconds in zip(ticks, pauses, strict=True):
        for monitor in (one, two):
            monitor.hear(*due, seconds=seconds)
    for monitor in (one, two):
        monitor.wait()
        monitor.out += monitor.link.finish(monitor.now_s)
    for bed in "abcde":
        assert two.story(bed) == one.story(bed)
        assert two.link.sent(bed) == one.link.sent(bed)
        assert two.link.heard_s(bed) == one.link.heard_s(bed)
    assert two.link.packets == one.link.packets
    assert two.link.rejected == one.link.rejected
    assert two.link.contested(two.now_s) == one.link.contested(one.now_s)


def test_bundles_are_taken_without_a_packet_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is missing no packet of version 1 is made; a bed that has a hole is the only one that needs it."""
    monitor = begun(Monitor())
    made: list[str] = []
    push = monitor.link._intake._push

    def note(buffer: ReorderBuffer, *rest: Any) -> None:
        made.append(buffer.bed)
        push(buffer, *rest)

    monkeypatch.setattr(monitor.link._intake, "_push", note)
    out = monitor.hear(ramp("a", 50), ramp("b", 50), ramp("c", 50))
    assert [(chunk.bed, chunk.first, chunk.sequence) for chunk in chunks_of(out)] == [(bed, 50, 2) for bed in "abc"]
    assert made == []
    monitor.hear(ramp("a", 75), ramp("b", 100), ramp("c", 75))
    monitor.hear(ramp("a", 100), ramp("b", 125), ramp("c", 100))
    assert made == ["b", "b"]


def test_bundles_that_follow_become_one_chunk() -> None:
    """What came of a bed in several bundles, and in a packet between them, is in order; bundles alone are joined."""
    monitor = begun(Monitor())
    assert monitor.writer is not None
    several = [
        frames
        for first in (50, 75, 100)
        for frames in write_bundles(monitor.writer, [ramp("a", first), ramp("b", first)])
    ]
    out = chunks_of(monitor.hear_frames(several))
    assert [(chunk.bed, chunk.first, len(chunk.counts)) for chunk in out] == [("a", 50, 75), ("b", 50, 75)]
    mixed = write_bundles(monitor.writer, [ramp("a", 125), ramp("b", 125)])
    mixed += [encode_frames(ramp("a", 150)), *write_bundles(monitor.writer, [ramp("a", 175), ramp("b", 150)])]
    out = chunks_of(monitor.hear_frames(mixed))
    assert [(c.first, len(c.counts)) for c in out if c.bed == "a"] == [(125, 25), (150, 25), (175, 25)]
    assert [(c.first, len(c.counts)) for c in out if c.bed == "b"] == [(125, 25), (150, 25)]


def test_times_of_a_bundle() -> None:
    """A chunk has the time of its arrival; that of sending only once the device's clock is known."""
    monitor = begun(Monitor())
    (chunk, _) = chunks_of(monitor.hear(ramp("a", 50), ramp("b", 50)))
    assert (chunk.arrived_s, chunk.sent_s) == (monitor.now_s, 0.0)


def test_a_lost_description_is_asked_for() -> None:
    """Samples of a run that was not described are counted, and the topic subscribed to again, after longer pauses."""
    monitor = begun(Monitor())
    assert monitor.writer is not None
    ends = [End(bed, "run", 50, 125.0, 2, 1.0) for bed in "ab"]
    lost, *heard = write_bundles(monitor.writer, [*ends, *(ramp(bed, 0, run="new") for bed in "ab")])
    assert lost[0] == BUNDLE_TOPIC
    monitor.hear_frames(heard)
    assert (monitor.asked, monitor.link.rejected) == (1, 2)
    assert "samples of a run that was not described" in monitor.events[-1]
    monitor.hear(ramp("a", 25, run="new"), ramp("b", 25, run="new"))
    assert monitor.asked == 1
    monitor.now_s += 2 * ASK_S
    monitor.hear(ramp("a", 50, run="new"), ramp("b", 50, run="new"))
    assert monitor.asked == 2
    monitor.writer.describe_all()
    monitor.hear(ramp("a", 75, run="new"), ramp("b", 75, run="new"))
    assert monitor.link._streams.buffers["a"].run == "new"
    monitor.wait()
    assert [chunk.first for chunk in chunks_of(monitor.out) if chunk.run == "new"] == [75, 75]


def test_a_device_that_has_restarted_numbers_anew() -> None:
    """The numbers of another start of a device mean other runs, though they are the same numbers."""
    monitor = begun(Monitor())
    for bed in "abc":
        monitor.hear_frames([encode_frames(End(bed, "run", 50, 125.0, 2, 1.0))])
    monitor.writer = BundleWriter()
    unheard = write_bundles(monitor.writer, [ramp(bed, 0, run="new") for bed in "cba"])[1:]
    monitor.hear_frames(unheard)
    assert monitor.link.rejected == 3
    monitor.writer.describe_all()
    out = monitor.hear(*(ramp(bed, 25, run="new") for bed in "cba"))
    assert {chunk.run for chunk in chunks_of(out)} <= {"new"}
    assert [monitor.link._streams.buffers[bed].run for bed in "abc"] == ["new"] * 3


def described(beds: Iterable[str], start: int, session: int = 7) -> list[bytes]:
    """Return the message that describes a run of each of these beds, with numbers from `start` on."""
    cutter = PacketCutter(ramp("a", 0))
    texts = [encode_description(start + i, bed, "run", 125.0, cutter.leads) for i, bed in enumerate(beds)]
    return encode_descriptions(session, texts)


def test_a_device_that_describes_without_end() -> None:
    """No more runs are remembered than beds may be watched, those of watched beds for ever; others are rejected."""
    monitor = begun(Monitor(most_beds=8))
    assert monitor.writer is not None
    session = monitor.writer._session
    for start in range(100, 2000, 100):
        monitor.hear_frames([described([f"bed {start + i}" for i in range(20)], start, session)])
        assert len(monitor.link._intake._bundles._runs) <= 8  # type: ignore[union-attr]
        assert len(monitor.link._intake._bundles._numbers) <= 8  # type: ignore[union-attr]
    assert any("more than 8 beds are described" in text for text in monitor.events)
    rejected = monitor.link.rejected
    out = monitor.hear(*(ramp(bed, 50) for bed in "abc"))
    assert [chunk.bed for chunk in chunks_of(out)] == ["a", "b", "c"]
    assert monitor.link.rejected == rejected


def test_new_numbers_without_end() -> None:
    """A bed that is described again and again has one run; another bed may have the number of a forgotten one."""
    monitor = Monitor()
    for number in range(300):
        monitor.hear_frames([described(["a"], number)])
    assert list(monitor.link._intake._bundles._runs) == [299]  # type: ignore[union-attr]
    monitor.hear_frames([described(["b", "a"], 299)])
    assert monitor.link._intake._bundles._numbers == {"b": 299, "a": 300}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "frames",
    [[BUNDLE_TOPIC], [BUNDLE_TOPIC, b""], [BUNDLE_TOPIC, b"", b""], [BUNDLE_TOPIC, b"", b"x"], [BUNDLE_TOPIC] * 3],
    ids=range(5),
)
def test_garbage_is_rejected_by_itself(frames: list[bytes]) -> None:
    """A malformed message is counted and told; the bundle after it is read."""
    monitor = begun(Monitor())
    (event,) = monitor.hear_frames([frames])
    assert isinstance(event, PacketRejected)
    assert monitor.link.rejected == 1
    assert len(chunks_of(monitor.hear(ramp("a", 50), ramp("b", 50)))) == 2


def test_where_bundles_were_not_asked_for() -> None:
    """A monitor that did not subscribe to them rejects bundles like any name that no bed can have."""
    monitor = Monitor(bundles=False)
    monitor.hear_frames(write_bundles(BundleWriter(), [ramp("a", 0), ramp("b", 0)]))
    assert monitor.link.rejected == 2
    assert "cannot be printed" in monitor.events[0]
    assert monitor.asked == 0


def test_who_subscribes_to_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor of all beds does, one that names beds does not, nor one whose settings say no."""
    topics: list[bytes | str] = []
    monkeypatch.setattr("benchmarks.fuzz.socketless.QueueSocket.subscribe", lambda _, topic: topics.extend([topic]))
    settings = configuration.load_config(None, {})
    assert settings.link.bundles
    open_queued_link(settings)
    open_queued_link(override_config(settings, "link", bundles=False))
    open_queued_link(settings, ["a"])
    assert topics == ["", BUNDLE_TOPIC, "", "a"]


def test_a_bed_with_too_much_is_left_out_of_its_bundle() -> None:
    """A bed with far too much to analyse is rejected by itself, and heard all the same; the others go on."""
    monitor = begun(Monitor())
    monitor.link.set_backlog({"b"}, {"b"})
    out = monitor.hear(*(ramp(bed, 50) for bed in "abc"))
    assert [chunk.bed for chunk in chunks_of(out)] == ["a", "c"]
    assert monitor.link.rejected == 1
    assert monitor.link.heard_s("b") == monitor.now_s
    assert monitor.link.sent("b") == 50


def test_a_bed_that_brings_too_much_at_once() -> None:
    """More than a mebibyte of a bed in one reading is left out, of the other beds of its bundles too where they do."""
    monitor = begun(Monitor())
    assert monitor.writer is not None
    size = 60_000
    many = [write_bundles(monitor.writer, [ramp(bed, 50 + n * size, size) for bed in "ab"]) for n in range(12)]
    monitor.hear_frames([frames for some in many for frames in some])
    assert monitor.link._intake.overloaded == {b"a", b"b"}
    taken = sum(len(chunk.counts) for chunk in chunks_of(monitor.out) if chunk.bed == "a") - 50
    assert MOST_BED_BYTES < 2 * taken <= MOST_BED_BYTES + 2 * size


def test_reading_ends_after_many_packets() -> None:
    """Bundles count as the packets that they hold: keyboard and screen are not kept waiting."""
    monitor = begun(Monitor(), [f"{bed}" for bed in range(500)])
    assert monitor.writer is not None
    many = [write_bundles(monitor.writer, [ramp(f"{bed}", 50 + 25 * n) for bed in range(500)]) for n in range(20)]
    before = monitor.link.packets
    monitor.hear_frames([frames for some in many for frames in some])
    assert MOST_PACKETS_READ <= monitor.link.packets - before < MOST_PACKETS_READ + 500


@pytest.mark.parametrize(("samples", "shared"), [(25, True), (10_000, False)])
def test_samples_that_wait_do_not_keep_those_of_all(samples: int, shared: bool) -> None:
    """The samples of a small bundle are rows of one matrix; of a large one each bed has its own."""
    monitor = begun(Monitor())
    out = chunks_of(monitor.hear(*(ramp(bed, 50, samples) for bed in "abc")))
    assert all((np.shares_memory(out[0].counts.base, other.counts) is shared) for other in out[1:])
    assert (3 * 4 * samples <= LARGEST_SHARED_BYTES) is shared


def test_values_that_are_missing() -> None:
    """What has no value in a bundle of 16 or 32 bits has none in the chunk."""
    monitor = begun(Monitor())
    for factor in (1, 1000):
        first = monitor.link.sent("a")
        due = [ramp(bed, first, factor=factor) for bed in "ab"]
        due[0].counts[3] = MISSING
        one, other = chunks_of(monitor.hear(*due))
        assert (one.counts[3], other.counts[3]) == (MISSING, factor * (first + 3))
        assert np.flatnonzero(one.counts == MISSING).tolist() == [3]
