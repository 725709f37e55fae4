"""Link and publisher over real sockets: what was missed is fetched again, in order, or declared missing."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import zmq
from conftest import LEADS

from agent.core import config as configuration
from agent.core.config import Config, override_config
from agent.core.events import Backfilled, Event
from agent.core.messages import MISSING, Chunk, End, Gap, ResumePosition, separate_chunks
from agent.core.wording import event_text
from agent.device.publisher import PacketPublisher
from agent.device.sent_buffer import SentBuffer
from agent.link.chunk_assembler import LinkMessage
from agent.link.link_receiver import LinkReceiver
from agent.wire.packets import encode_frames as packet_frames
from agent.wire.requests import (
    FetchRequest,
    HelloReply,
    HelloRequest,
    backfill_endpoint,
    decode_reply,
    decode_request,
    encode_channel_message,
)
from model.records.resample import FS

PATIENCE_S = 120.0
Done = Callable[[list[LinkMessage]], bool]


def settings(**link: object) -> Config:
    return override_config(
        configuration.load_config(None, {}), "link", endpoint="tcp://127.0.0.1:*", patience_ms=20.0, **link
    )


@contextmanager
def device(keep_s: float = 600.0, **link: object) -> Iterator[tuple[PacketPublisher, Config]]:
    """A publisher on a free port, and the settings of a monitor for it."""
    config = override_config(settings(**link), "simulate", keep_s=keep_s)
    with PacketPublisher(config, lossless=False) as made:
        made.linger_s = 0.0
        yield made, override_config(config, "link", endpoint=made.endpoint)


@contextmanager
def monitor(config: Config, beds: Iterable[str] = ()) -> Iterator[LinkReceiver]:
    link = LinkReceiver(config, tuple(beds))
    try:
        yield link
    finally:
        link.close()


def packet(first: int, count: int = 5, bed: str = "1", run: str = "run") -> Chunk:
    """A ramp: every count is its own sample index."""
    ramp = np.arange(first, first + count, dtype=np.int32)
    return Chunk(bed, run, first, float(FS), LEADS, np.stack([ramp, -ramp], axis=1), time.time())


def send(
    publisher: PacketPublisher, messages: Iterable[Chunk | End], lost: Callable[[int], bool] = lambda _: False
) -> None:
    """Publish packets, all but those that get lost; the device keeps them all."""
    for i, message in enumerate(messages):
        if not lost(i):
            assert publisher.send(packet_frames(message))
        keep(publisher, message)


def keep(device: PacketPublisher | SentBuffer, message: Chunk | End) -> None:
    device.keep(message, len(message.counts) if isinstance(message, Chunk) else 0, message.sent_s)


def received(link: LinkReceiver, done: Done) -> list[LinkMessage]:
    """What a link brings until `done` says that it is enough."""
    out: list[LinkMessage] = []
    until_s = time.monotonic() + PATIENCE_S
    while not done(out):
        assert time.monotonic() < until_s, out
        link.wait(0.05)
        out += separate_chunks(link.receive(time.time()))
    return out


def ended(out: list[LinkMessage]) -> bool:
    return any(isinstance(message, End) for message in out)


def settled(publisher: PacketPublisher, link: LinkReceiver, bed: str = "1") -> None:
    """Wait until publisher and link know each other, also on the backfill channel."""
    received(link, lambda _: publisher.subscribers(bed) > 0 and link.view(time.time()).round_trip_ms is not None)


def samples(messages: list[LinkMessage]) -> list[tuple[int, int]]:
    """Index and count of every sample, MISSING in gaps; none of them twice, none left out."""
    out: list[tuple[int, int]] = []
    for message in messages:
        if isinstance(message, Chunk):
            out += [(message.first + i, int(count)) for i, count in enumerate(message.counts[:, 0])]
        elif isinstance(message, Gap):
            out += [(i, MISSING) for i in range(message.first, message.first + message.count)]
    assert [i for i, _ in out] == list(range(out[0][0], out[0][0] + len(out)))
    return out


def run_of(packets: int, bed: str = "1", run: str = "run") -> list[Chunk | End]:
    return [*(packet(5 * i, bed=bed, run=run) for i in range(packets)), End(bed, run, 5 * packets, FS, packets)]


@pytest.mark.parametrize("share", [2, 3, 10, 1000])
@pytest.mark.slow
def test_lost_packets_are_fetched_again(share: int) -> None:
    """Whichever packets are lost, also the last one and the end: every sample arrives, once and in order."""
    with device() as (publisher, config), monitor(config) as link:
        settled(publisher, link)
        send(publisher, run_of(1000), lambda i: i % share == share - 1 or i >= 995)
        out = received(link, ended)
        assert samples(out) == [(i, i) for i in range(5000)]
        assert link.sent("1") == 5000
        assert {of.sent_before for of in out if isinstance(of, Backfilled)} == {False}


def test_a_monitor_that_joins_late_hears_what_was_before() -> None:
    """Signal that was sent before a monitor came is fetched and analysed first."""
    with device() as (publisher, config):
        send(publisher, [packet(5 * i) for i in range(1000)])
        with monitor(config) as link:
            settled(publisher, link)
            send(publisher, [packet(5000), End("1", "run", 5005, FS)])
            out = received(link, ended)
    assert samples(out) == [(i, i) for i in range(5005)]
    assert [of.sent_before for of in out if isinstance(of, Backfilled)] == [True]


def test_what_is_no_longer_kept_is_declared() -> None:
    """The device keeps eight seconds: what is older is missing, said once, and the ledger closes."""
    with device(keep_s=8.0) as (publisher, config):
        send(publisher, [packet(5 * i) for i in range(1000)])
        with monitor(config) as link:
            settled(publisher, link)
            send(publisher, [packet(5000), End("1", "run", 5005, FS)])
            out = received(link, ended)
            assert link.sent("1") == 5005
    assert samples(out) == [(i, i if i >= 4005 else MISSING) for i in range(5005)]
    assert [event_text(message) for message in out if isinstance(message, Event) and message.kind == "gap"] == [
        "joined late: the first 32 s of the run are not known"
    ]


def test_a_monitor_may_ask_back_less_or_nothing() -> None:
    """`link.backfill_s` limits what is asked back; what is older is declared missing."""
    for backfill_s, known in ((8.0, 4000), (0.0, 5000)):
        with device(backfill_s=backfill_s) as (publisher, config):
            send(publisher, [packet(5 * i) for i in range(1000)])
            with monitor(config) as link:
                settled(publisher, link)
                send(publisher, [packet(5000), End("1", "run", 5005, FS)])
                assert samples(received(link, ended)) == [(i, i if i >= known else MISSING) for i in range(5005)]


def test_it_goes_on_where_a_bed_was_left() -> None:
    """A monitor that was away asks for what it missed, and for nothing before it."""
    with device() as (publisher, config):
        send(publisher, [packet(5 * i) for i in range(1000)])
        with monitor(config) as link:
            link.resume({"1": ResumePosition("run", 1234, FS)}, time.time())
            settled(publisher, link)
            send(publisher, [packet(5000), End("1", "run", 5005, FS)])
            out = received(link, ended)
            assert link.sent("1") == 5005 - 1234
    assert samples(out) == [(i, i) for i in range(1234, 5005)]


@pytest.mark.slow
def test_a_run_that_ended_while_the_monitor_was_away_is_fetched() -> None:
    """A resumed monitor fetches the rest of a run and its End, though nothing is sent any more."""
    with device() as (publisher, config):
        send(publisher, run_of(100))
        with monitor(config) as link:
            link.resume({"1": ResumePosition("run", 300, FS)}, time.time())
            out = received(link, ended)
    assert samples(out) == [(i, i) for i in range(300, 500)]


def test_minutes_of_signal_are_fetched_piece_by_piece() -> None:
    """Ten minutes are more than one reply holds."""
    with device() as (publisher, config), monitor(config) as link:
        settled(publisher, link)
        whole = [packet(1000 * i, 1000) for i in range(75)]
        send(publisher, [*whole, End("1", "run", 75_000, FS)], lambda i: i < 75)
        assert samples(received(link, ended)) == [(i, i) for i in range(75_000)]


@pytest.mark.slow
def test_many_beds_with_losses_do_not_mix() -> None:
    """Forty beds with losses at different times each come out whole."""
    names = [f"bed {i}" for i in range(40)]
    with device() as (publisher, config), monitor(config) as link:
        settled(publisher, link, names[0])
        for i in range(100):
            for j, name in enumerate(names):
                send(publisher, [packet(5 * i, bed=name)], lambda _, i=i, j=j: (i + j) % 7 == 3)  # type: ignore[misc]
        for name in names:
            send(publisher, [End(name, "run", 500, FS)])
        out = received(link, lambda out: sum(isinstance(message, End) for message in out) == len(names))
    for name in names:
        assert samples([m for m in out if m.bed == name]) == [(i, i) for i in range(500)]


def test_a_restart_is_a_new_run_and_its_losses_are_told() -> None:
    """The old run's lost tail is declared; the new run is heard from its first sample."""
    with device() as (publisher, config), monitor(config) as link:
        settled(publisher, link)
        send(publisher, [packet(0), packet(5), packet(20)], lambda i: i == 1)
        send(publisher, run_of(10, run="new"), lambda i: i < 3)
        out = received(link, ended)
    old = [m for m in out if isinstance(m, Chunk | Gap) and m.run == "run"]
    assert samples([*old]) == [(i, i if i < 5 or i >= 20 else MISSING) for i in range(25)]
    new = [m for m in out if isinstance(m, Chunk | Gap) and m.run == "new"]
    assert samples([*new]) == [(i, i) for i in range(50)]


def test_what_is_missing_at_the_end_is_declared() -> None:
    """What the device no longer has when the monitor ends is declared missing."""
    with device(keep_s=0.0) as (publisher, config), monitor(config) as link:
        settled(publisher, link)
        send(publisher, [packet(0), packet(5), packet(20)], lambda i: i == 1)
        out = received(link, lambda _: link.sent("1") == 25)
        out += link.finish(time.time())
        assert samples(out) == [(i, i if i < 5 or i >= 20 else MISSING) for i in range(25)]
        assert link.sent("1") == 25


def test_packets_that_overtake_each_other_need_no_backfill() -> None:
    """Packets out of order and twice are put in order without a request."""
    with device() as (publisher, config), monitor(override_config(config, "link", patience_ms=5000.0)) as link:
        settled(publisher, link)
        order = np.random.default_rng(0).permutation(200)
        send(publisher, [packet(0)])
        for i in order:
            assert publisher.send(packet_frames(packet(5 + 5 * int(i))))
            assert publisher.send(packet_frames(packet(5 + 5 * int(i))))
        assert publisher.send(packet_frames(End("1", "run", 1005, FS)))
        out = received(link, ended)
    assert samples(out) == [(i, i) for i in range(1005)]
    assert not any(isinstance(message, Event) for message in out)


def test_the_first_packet_may_be_overtaken_too() -> None:
    """A run whose packets arrive in reverse order comes out from its first sample on."""
    with device() as (publisher, config), monitor(config) as link:
        settled(publisher, link)
        send(publisher, [packet(0), packet(5), packet(10)], lambda _: True)
        for late in (packet(10), packet(5), packet(0), End("1", "run", 15, FS)):
            assert publisher.send(packet_frames(late))
        assert samples(received(link, ended)) == [(i, i) for i in range(15)]


@pytest.mark.parametrize("first", [0, 7500])
@pytest.mark.slow
def test_a_device_that_was_faster_than_the_monitor_and_has_left_is_heard_whole(first: int) -> None:
    """All waits in the queue of the monitor; nobody answers any more; the beginning and a lost packet are missing."""
    config = settings()
    publisher = PacketPublisher(config, lossless=False)
    publisher.linger_s = 0.0
    with monitor(override_config(config, "link", endpoint=publisher.endpoint)) as link:
        while not publisher.subscribers("1"):
            time.sleep(0.01)
        send(publisher, [packet(first + 5 * i) for i in range(3000)], lambda i: i == 1500)
        send(publisher, [End("1", "run", first + 15_000, FS)])
        while not link.socket.poll(100):
            pass
        publisher.linger_s = 1.0
        publisher.close()
        out = received(link, ended)
        known = range(first, first + 15_000)
        lost = range(first + 7500, first + 7505)
        assert samples(out) == [(i, MISSING if i in lost else i) for i in known]


def test_the_clock_of_the_device_is_known() -> None:
    """A device whose clock is an hour ahead: the offset is found, and the time of sending set right."""
    config = settings()
    with PacketPublisher(config, False, lambda: time.time() + 3600) as publisher:
        publisher.linger_s = 0.0
        with monitor(override_config(config, "link", endpoint=publisher.endpoint)) as link:
            settled(publisher, link)
            ahead = packet(0)
            send(publisher, [Chunk(ahead.bed, ahead.run, 0, FS, LEADS, ahead.counts, time.time() + 3600)])
            (chunk,) = received(link, lambda out: bool(out))
            offset_ms = link.view(time.time()).offset_ms
    assert isinstance(chunk, Chunk)
    assert offset_ms == pytest.approx(3_600_000, abs=500)
    assert chunk.sent_s == pytest.approx(time.time(), abs=PATIENCE_S)


@pytest.mark.slow
def test_the_device_waits_for_those_who_still_miss_something() -> None:
    """At the end a monitor is awaited until it says that it has everything."""
    with device() as (publisher, config), monitor(config) as link:
        settled(publisher, link)
        received(link, lambda _: publisher.awaited)
        send(publisher, run_of(100), lambda i: i > 50)
        received(link, ended)
        received(link, lambda _: not publisher.awaited)


def test_the_device_waits_for_nobody_who_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor that leaves in the middle of a run says so: it need not fall silent first to be taken for gone."""
    monkeypatch.setattr("agent.device.backfill_server.PEER_TIMEOUT_S", float("inf"))
    with device() as (publisher, config):
        with monitor(config) as link:
            settled(publisher, link)
            received(link, lambda _: publisher.awaited)
        until_s = time.monotonic() + 20
        while publisher.awaited:
            assert time.monotonic() < until_s
            time.sleep(0.01)


def test_malformed_requests_are_ignored_and_a_flood_holds_nobody_up() -> None:
    """A flood of requests, half of them malformed, does not keep a monitor from its samples."""
    with device() as (publisher, config), monitor(config) as link:
        settled(publisher, link)
        with zmq.Context() as context, context.socket(zmq.DEALER) as rogue:
            rogue.set(zmq.LINGER, 0)
            rogue.set(zmq.SNDHWM, 100)
            rogue.connect(backfill_endpoint(publisher.endpoint, ""))
            for i in range(20_000):
                if rogue.poll(0, zmq.POLLOUT):
                    rogue.send(
                        b"{"
                        if i % 2
                        else encode_channel_message(FetchRequest(id=i, bed="1", run="run", first=0, stop=10**6))
                    )
            send(publisher, run_of(100), lambda i: i % 2 == 0)
            assert samples(received(link, ended)) == [(i, i) for i in range(500)]
        (said,) = publisher.refusals()
        assert "requests were not answered: malformed, or more than 1000 a second" in said


def test_memory_answers_what_it_has() -> None:
    """Runs, jumps of the index, and rings that are full: what is told and what is sent agree."""
    memory = SentBuffer(keep_s=4.0)
    for message in run_of(1000)[:-1]:
        keep(memory, message)
    said, chunks = memory.fetch(FetchRequest(id=1, bed="1", run="run", first=0, stop=4800))
    assert (said.start, said.oldest, said.next, said.ended) == (0, 4500, 5000, False)
    assert [(chunk.first, chunk.counts[:, 0].tolist()) for chunk in chunks] == [(4500, list(range(4500, 4800)))]
    keep(memory, packet(6000))
    keep(memory, End("1", "run", 6005, FS))
    said, chunks = memory.fetch(FetchRequest(id=2, bed="1", run="run", first=4000, stop=7000))
    assert (said.start, said.oldest, said.next, said.ended) == (0, 6000, 6005, True)
    assert [(chunk.first, len(chunk.counts)) for chunk in chunks] == [(6000, 5)]
    assert memory.fetch(FetchRequest(id=3, bed="1", run="other", first=0, stop=9))[1] == []
    assert memory.fetch(FetchRequest(id=4, bed="2", run="run", first=0, stop=9))[0].run == ""


def test_the_device_answers_hello() -> None:
    """A hello is answered with the times that compare the clocks and the number of beds."""
    with device() as (publisher, _), zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.connect(backfill_endpoint(publisher.endpoint, ""))
        socket.send(encode_channel_message(HelloRequest(id=7, sent=12.5)))
        assert socket.poll(120_000)
        said, packets = decode_reply(socket.recv_multipart())
        assert isinstance(said, HelloReply)
        assert (said.id, said.asked, packets) == (7, 12.5, [])
        assert 0 <= said.sent - said.received < PATIENCE_S


@pytest.mark.slow
def test_what_a_device_never_answers_is_declared() -> None:
    """A device that says hello and answers no other request: what was asked of it is a gap, and in the ledger."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as stream, context.socket(zmq.ROUTER) as channel:
        port = stream.bind_to_random_port("tcp://127.0.0.1")
        service = channel.bind_to_random_port("tcp://127.0.0.1")
        ends = {"endpoint": f"tcp://127.0.0.1:{port}", "service": f"tcp://127.0.0.1:{service}"}
        with monitor(override_config(settings(), "link", **ends)) as link:
            assert stream.poll(10_000)
            out: list[LinkMessage] = []
            until_s, first = time.monotonic() + PATIENCE_S, 1825
            while not any(isinstance(message, Chunk) for message in out):
                assert time.monotonic() < until_s, out
                stream.send_multipart(packet_frames(packet(first)))
                first += 5
                while channel.poll(5):
                    identity, request = channel.recv_multipart()
                    asked = decode_request([request])
                    if isinstance(asked, HelloRequest):
                        hello = HelloReply(id=asked.id, asked=asked.sent, received=asked.sent, sent=asked.sent, beds=1)
                        channel.send_multipart([identity, encode_channel_message(hello)])
                link.wait(0.02)
                out += separate_chunks(link.receive(time.time()))
            got = samples(out)
            assert got[:1825] == [(i, MISSING) for i in range(1825)]
            assert link.sent("1") >= len(got)
