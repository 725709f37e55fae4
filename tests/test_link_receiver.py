"""agent.link.link_receiver: what comes out of the link, with a publisher in the same process."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Self
from uuid import uuid4

import numpy as np
import pytest
import zmq
from conftest import LEADS

from agent.core import config as configuration
from agent.core.config import override_config
from agent.core.events import Event, PacketRejected
from agent.core.messages import Chunk, End, Gap, separate_chunks
from agent.core.wording import event_text
from agent.link.backfill_client import CHANNEL_ABSENT_S
from agent.link.link_receiver import LinkReceiver
from agent.wire import packets
from model.errors import EndpointError
from model.records.resample import FS


class Wire:
    """A publisher and a link inside this process: what was sent can be received at once, so tests know what comes."""

    def __init__(self, beds: list[str]) -> None:
        self.publisher: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        endpoint = f"inproc://{uuid4().hex}"
        self.publisher.bind(endpoint)
        settings = override_config(configuration.load_config(None, {}), "link", endpoint=endpoint, patience_ms=0.0)
        self.link = LinkReceiver(override_config(settings, "monitor", lost_s=3.0), beds)
        for _ in beds or [""]:
            self.publisher.recv()  # the subscription has arrived

    def exchange(self, *messages: list[bytes], now_s: float = 0.0) -> list[Chunk | Gap | End | Event]:
        """Send messages and a last one that shows that all before it were received; return what the link made."""
        for message in messages:
            self.publisher.send_multipart(message)
        self.publisher.send_multipart(packets.encode_frames(End("1-last", "last", 0, FS)))
        out: list[Chunk | Gap | End | Event] = []
        while not any(isinstance(message, End) and message.bed == "1-last" for message in out):
            self.link.wait(5.0)
            out += separate_chunks(self.link.receive(now_s))
        for _ in range(10):  # a second later there is no backfill channel to wait for
            out += separate_chunks(self.link.receive(now_s + CHANNEL_ABSENT_S))
        return [message for message in out if isinstance(message, Event) or message.bed != "1-last"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        self.publisher.close(linger=0)


@pytest.fixture
def line() -> Iterator[Wire]:
    """A link that listens to all beds."""
    with Wire([]) as made:
        yield made


def packet(first: int, count: int = 5, bed: str = "1", run: str = "run") -> Chunk:
    """A ramp: every count is its own sample index."""
    ramp = np.arange(first, first + count, dtype=np.int32)
    return Chunk(bed, run, first, float(FS), LEADS, np.stack([ramp, -ramp], axis=1), 1.0, 0.0, first)


def frames(*chunks: Chunk) -> list[list[bytes]]:
    return [packets.encode_frames(chunk) for chunk in chunks]


def test_consecutive_packets_become_one_chunk(line: Wire) -> None:
    """Packets that follow each other arrive as one chunk with every sample once."""
    (chunk,) = line.exchange(*frames(*(packet(i) for i in range(0, 500, 5))), now_s=7.0)
    assert isinstance(chunk, Chunk)
    assert (chunk.first, chunk.arrived_s) == (0, 7.0)
    np.testing.assert_array_equal(chunk.counts[:, 0], np.arange(500))


def test_beds_that_were_not_asked_for_are_heard_at_the_end() -> None:
    """Where a bed that was named does not come: those that do, by name, but nothing that no device sends."""
    with Wire(["nope"]) as wire, ThreadPoolExecutor(1) as hands:
        heard = hands.submit(wire.link.hear_all_beds)
        while not heard.done():
            for message in frames(packet(0, bed="208"), packet(0, bed="100"), packet(0, bed="nope-1")):
                wire.publisher.send_multipart(message)
            wire.publisher.send_multipart([b"no packet"])
            time.sleep(0.02)
        assert heard.result() == ["100", "208", "nope-1"]


def test_missing_samples_are_declared(line: Wire) -> None:
    """A jump of the sample index is a gap with its place and length, between the chunks on its sides."""
    before, gap, after = line.exchange(*frames(packet(0), packet(5), packet(25), packet(30)))
    assert gap == Gap("1", "run", 10, 15, FS, "never arrived")
    assert isinstance(before, Chunk)
    assert isinstance(after, Chunk)
    assert (before.first, len(before.counts), after.first, len(after.counts)) == (0, 10, 25, 10)


def test_a_late_joiner_misses_nothing(line: Wire) -> None:
    """The first packet of a bed may have any index: what was before it is no gap."""
    (chunk,) = line.exchange(*frames(packet(123_456)))
    assert isinstance(chunk, Chunk)
    assert chunk.first == 123_456


def test_repeated_and_overlapping_packets_are_used_once(line: Wire) -> None:
    """A sample that was received before is dropped, however the packets overlap."""
    (chunk,) = line.exchange(*frames(packet(0), packet(0), packet(3), packet(2, 4), packet(8)))
    assert isinstance(chunk, Chunk)
    np.testing.assert_array_equal(chunk.counts[:, 0], np.arange(13))


def test_a_missing_tail_is_declared_at_the_end(line: Wire) -> None:
    """The end of a run tells where it ended, so that lost last packets are a gap too."""
    _, gap, end = line.exchange(*frames(packet(0)), packets.encode_frames(End("1", "run", 20, FS, 4)))
    assert gap == Gap("1", "run", 5, 15, FS, "never arrived")
    assert isinstance(end, End)


def test_a_restarted_device_is_a_new_run_not_a_gap(line: Wire) -> None:
    """A new run id starts anew at its own index."""
    old, new = line.exchange(*frames(packet(1000), packet(0, run="new")))
    assert isinstance(old, Chunk)
    assert isinstance(new, Chunk)
    assert (old.run, new.run, new.first) == ("run", "new", 0)


def test_two_devices_with_one_name_do_not_take_turns(line: Wire) -> None:
    """Where two devices send as one bed, the one that was there first is watched and the other told of once."""
    made = line.exchange(*frames(*(packet(i, run=run) for i in range(0, 50, 5) for run in ("a", "b"))))
    chunks = [message for message in made if isinstance(message, Chunk)]
    events = [message for message in made if isinstance(message, Event)]
    assert [(chunk.run, len(chunk.counts)) for chunk in chunks] == [("a", 50)]
    assert len(events) == 1
    assert "two devices" in event_text(events[0])


def test_changed_leads_do_not_join(line: Wire) -> None:
    """Packets with other leads stay chunks of their own."""
    changed = replace(packet(5), leads=(LEADS[1], LEADS[0]))
    assert len(line.exchange(*frames(packet(0), changed))) == 2


def test_beds_are_kept_apart(line: Wire) -> None:
    """Packets of several beds become one chunk a bed."""
    made = line.exchange(*frames(packet(0, bed="1"), packet(50, bed="2"), packet(5, bed="1")))
    assert [(m.bed, m.first, len(m.counts)) for m in made if isinstance(m, Chunk)] == [("1", 0, 10), ("2", 50, 5)]


def test_garbage_is_counted_told_once_and_does_no_harm(line: Wire) -> None:
    """Malformed frames are counted, each reason is one event, and the stream goes on."""
    garbage = [[b"1"], [b"1", b"{", b""], [b"1", b"{", b""], [b"\xff", b"", b""], [b"", b"", b""]]
    made = line.exchange(*frames(packet(0)), *garbage, *frames(packet(5)))
    chunks = [message for message in made if isinstance(message, Chunk)]
    events = [message for message in made if isinstance(message, Event)]
    assert sum(len(chunk.counts) for chunk in chunks) == 10
    assert line.link.rejected == 5
    assert len(events) == 4
    assert all(event.kind == "frame" for event in events)


def test_who_sent_a_rejected_packet(line: Wire) -> None:
    """An event of a bed here has no name beside it; of any other name it has the whole, and says it short."""
    stranger = "s" * 64
    made = line.exchange(*frames(packet(0)), [b"1", b"{", b""], [stranger.encode(), b"{", b""], [b"", b"", b""])
    own, foreign, nameless = (item for item in made if isinstance(item, PacketRejected))
    assert [(event.bed, event.name) for event in (own, foreign, nameless)] == [("1", ""), ("", stranger), ("", "")]
    assert own.reason == foreign.reason
    assert event_text(foreign) == f"packet rejected: bed '{'s' * 37}...': {foreign.reason}"
    assert event_text(own) == f"packet rejected: {own.reason}"


def test_a_bed_is_not_its_namesake() -> None:
    """Bed 1 is watched without bed 10, though ZeroMQ subscribes by prefix."""
    with Wire(["1", "1-last"]) as line:
        made = line.exchange(*frames(packet(0, bed="10"), packet(0, bed="1")))
    assert [message.bed for message in made if isinstance(message, Chunk)] == ["1"]


def test_the_state_of_the_link(line: Wire) -> None:
    """Waiting before the first packet, connected while they come, lost after a silence."""
    assert line.link.view(0.0).state == "waiting"
    line.exchange(*frames(packet(0)), now_s=10.0)
    assert line.link.view(12.9).state == "connected"
    assert line.link.view(14.0).state == "lost"


def test_an_idle_link(line: Wire) -> None:
    """A link is idle before the first packet, and half a second after the last, or two long packets' time."""
    assert line.link.is_idle(0.0)
    line.exchange(*frames(packet(0)), now_s=10.0)
    assert not line.link.is_idle(10.4)
    assert line.link.is_idle(10.5)
    with Wire([]) as seconds:
        seconds.exchange(*frames(packet(0, count=FS)), now_s=10.0)
        assert not seconds.link.is_idle(11.9)
        assert seconds.link.is_idle(12.0)


def test_what_came_while_nobody_waited_came_after_the_socket_was_last_empty(line: Wire) -> None:
    """A packet that finds the monitor busy is stamped with the earliest time it can have come, not with a later one."""
    line.exchange(*frames(packet(0)), now_s=10.0)
    line.publisher.send_multipart(packets.encode_frames(packet(5)))
    assert line.link.socket.poll(120_000)
    line.link.wait(0.0)
    (chunk,) = line.link.receive(20.0)
    assert isinstance(chunk, Chunk)
    assert chunk.arrived_s == 10.0 + CHANNEL_ABSENT_S


def test_what_came_in_a_pause_came_after_the_look_before(line: Wire) -> None:
    """What wakes the monitor came now; what it finds there may have come at once after it looked last."""
    line.exchange(*frames(packet(0)), now_s=10.0)
    stamps = []
    for sample, now_s, finds_it in ((5, 20.0, False), (10, 21.0, True)):
        if not finds_it:
            line.link.wait(0.0)
        line.publisher.send_multipart(packets.encode_frames(packet(sample)))
        assert line.link.socket.poll(120_000)
        if finds_it:
            line.link.wait(0.0)
        (chunk,) = line.link.receive(now_s)
        assert isinstance(chunk, Chunk)
        stamps.append(chunk.arrived_s)
    assert stamps == [20.0, 20.0]


@pytest.mark.parametrize(
    ("endpoint", "service", "reason"),
    [
        ("foo", "", "endpoint foo is malformed: write it like tcp://127.0.0.1:5555"),
        ("127.0.0.1:5555", "", "endpoint 127.0.0.1:5555 is malformed: write it like tcp://127.0.0.1:5555"),
        ("http://h:80", "", "endpoint http://h:80 names a transport that is not supported: write it like tcp://127"),
        ("tcp://", "", "endpoint tcp:// is malformed: its port is missing, write it like tcp://127.0.0.1:5555"),
        ("tcp://127.0.0.1:5555", "bar", "endpoint bar is malformed: write it like tcp://127.0.0.1:5555"),
    ],
)
def test_a_senseless_endpoint_is_refused(endpoint: str, service: str, reason: str) -> None:
    """An endpoint that cannot be connected is an error that names it, and says how to write one."""
    config = override_config(configuration.load_config(None, {}), "link", endpoint=endpoint, service=service)
    with pytest.raises(EndpointError) as refused:
        LinkReceiver(config, [])
    assert str(refused.value).startswith(reason)


def test_a_replay_at_full_speed_waits_for_the_analysis(line: Wire) -> None:
    """While every bed has enough to analyse nothing is read: no packet is left out that its device soon forgets."""
    line.exchange(*frames(packet(0), packet(0, bed="2")), now_s=10.0)
    for message in frames(packet(5), packet(5, bed="2")):
        line.publisher.send_multipart(message)
    line.link.set_backlog({"1", "2", "1-last"}, set())
    assert line.link.receive(11.0) == []
    line.link.set_backlog({"1"}, set())
    line.link.wait(5.0)
    got = [(message.bed, message.first) for message in line.link.receive(11.05) if isinstance(message, Chunk)]
    assert got == [("1", 5), ("2", 5)]


def test_packets_that_are_left_out_are_heard_all_the_same(line: Wire) -> None:
    """A bed with far too much to analyse is not silent, though its packets are left out."""
    line.exchange(*frames(packet(0), packet(0, bed="2")), now_s=10.0)
    line.link.receive(14.0)
    line.link.receive(14.9)
    line.link.set_backlog({"1"}, {"1"})
    line.publisher.send_multipart(frames(packet(5))[0])
    line.link.wait(5.0)
    line.link.receive(15.5)
    assert line.link.heard_s("1") == 15.5
    assert line.link.heard_s("2") < 15.0
    assert line.link.contested(15.5) == set()


def test_a_run_that_is_held_back_at_the_end_is_not_lost(line: Wire) -> None:
    """A device that has just restarted when the monitor ends: the samples of its new run come out all the same."""
    line.exchange(*frames(packet(0)), now_s=10.0)
    for message in frames(packet(5), packet(0, run="new"), packet(5, run="new")):
        line.publisher.send_multipart(message)
    line.link.wait(5.0)
    out = [*line.link.receive(11.05), *line.link.finish(11.1)]
    assert [(m.run, m.first, len(m.counts)) for m in out if isinstance(m, Chunk)] == [("run", 5, 5), ("new", 0, 10)]
    assert line.link.sent("1") == 20
