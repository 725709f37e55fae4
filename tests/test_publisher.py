"""agent.device.publisher: real sockets on this machine."""

import contextlib
import os
import socket as sockets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from agent.core import config as configuration
from agent.core.config import override_config
from agent.core.messages import Chunk, End, Lead
from agent.device.publisher import PacketPublisher
from agent.wire.packets import decode_frames, encode_frames
from model.errors import EndpointError
from simulator.record_replay import ReplayPlan
from simulator.scheduler import PlaybackSpeed, SchedulerClock, open_replays, run_schedule

LOCAL = "tcp://127.0.0.1:*"
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\0NULL" + bytes(48)
"""What a ZMTP 3.0 peer without keys says first."""
HOSTILE_BYTES = 64 * 2**20
"""What a hostile peer sends in vain, unless it is cut off."""
counts_bytes = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the bytes of a connection")
RAMP = Lead("ramp", "count", 1.0, 0.0, 0, 2**31 - 1)


def publisher_at(endpoint: str, lossless: bool, queue: int = 4096) -> PacketPublisher:
    """A publisher with the default settings."""
    settings = override_config(configuration.load_config(None, {}), "link", endpoint=endpoint, buffer_packets=queue)
    return PacketPublisher(override_config(settings, "security", insecure=True), lossless)


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def listener(context: zmq.Context[zmq.Socket[bytes]], publisher: PacketPublisher, topic: str = "") -> zmq.Socket[bytes]:
    """A subscriber with little room, once the publisher knows it."""
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, 10)
    socket.setsockopt(zmq.RCVTIMEO, 120_000)
    socket.connect(publisher.endpoint)
    before = publisher.subscribers(topic or "100")
    socket.setsockopt_string(zmq.SUBSCRIBE, topic)
    settled(publisher, topic or "100", before + 1)
    return socket


def settled(publisher: PacketPublisher, bed: str, count: int) -> None:
    """Wait until a bed has so many subscribers."""
    for _ in range(12_000):
        if publisher.subscribers(bed) == count:
            return
        publisher._socket.poll(10)
    raise AssertionError(f"{publisher.subscribers(bed)} subscribers instead of {count}")


def ramp(first: int, count: int = 5000) -> list[bytes]:
    """A packet whose samples are their own indices."""
    counts = np.arange(first, first + count, dtype=np.int32)[:, None]
    return encode_frames(Chunk("100", "r", first, 125.0, (RAMP,), counts, 0.0, sequence=first // count))


def test_endpoint(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """The chosen port is told, and what is sent there arrives, frame by frame."""
    with publisher_at(LOCAL, lossless=False) as publisher:
        assert int(publisher.endpoint.rpartition(":")[2]) > 0
        socket = listener(context, publisher)
        assert publisher.send(ramp(0, 5))
        assert socket.recv_multipart() == ramp(0, 5)
        socket.close()


def test_subscribers(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Subscribers of a bed are counted, by prefix, also those of the same topic, and gone when they leave."""
    with publisher_at(LOCAL, lossless=False) as publisher:
        everything, one, same = (listener(context, publisher, topic) for topic in ("", "100", "100"))
        assert [publisher.subscribers(bed) for bed in ("100", "100-2", "101")] == [3, 3, 1]
        one.close()
        settled(publisher, "100", 2)
        same.setsockopt_string(zmq.UNSUBSCRIBE, "100")
        settled(publisher, "100", 1)
        everything.close()
        settled(publisher, "100", 0)
        same.close()


@pytest.mark.slow
def test_lossless(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """A subscriber that reads only when there is no more room makes `send` say so, and in the end has every sample."""
    received: list[Chunk | End] = []
    refused = 0
    with publisher_at(LOCAL, lossless=True, queue=10) as publisher:
        socket = listener(context, publisher)
        end = encode_frames(End("100", "r", 5000 * 2000, 125.0))
        for frames in (*(ramp(5000 * n) for n in range(2000)), end):
            while not publisher.send(frames):
                refused += 1
                while socket.poll(20):
                    received.append(decode_frames(socket.recv_multipart()))
        while not isinstance(received[-1], End):
            received.append(decode_frames(socket.recv_multipart()))
        socket.close()
    assert refused > 0
    samples = [message.counts[:, 0] for message in received if isinstance(message, Chunk)]
    np.testing.assert_array_equal(np.concatenate(samples), np.arange(5000 * 2000))


def test_real_time_never_waits(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """In real time a subscriber that does not read loses packets and holds nobody up; indices show the loss."""
    with publisher_at(LOCAL, lossless=False, queue=10) as publisher:
        socket = listener(context, publisher)
        assert all(publisher.send(ramp(5000 * n)) for n in range(2000))
        firsts = []
        while socket.poll(500):
            firsts.append(decode_frames(socket.recv_multipart()).first)
        assert len(firsts) < 2000
        assert firsts == sorted(firsts)
        socket.close()


def test_last_packets_leave(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """What was sent before closing arrives after it."""
    publisher = publisher_at(LOCAL, lossless=True)
    socket = listener(context, publisher)
    for n in range(5):
        publisher.send(ramp(5 * n, 5))
    publisher.close()
    assert [decode_frames(socket.recv_multipart()).first for _ in range(5)] == [0, 5, 10, 15, 20]
    socket.close()


@pytest.mark.parametrize("lossless", [True, False])
def test_replay_over_sockets(context: zmq.Context[zmq.Socket[bytes]], lossless: bool) -> None:
    """A whole run arrives: every bed's packets without a gap, then its End."""
    plans = [ReplayPlan("100", bed, 0, 8, False, None, 6, 0) for bed in ("100", "100-2")]
    with publisher_at(LOCAL, lossless) as publisher:
        socket = listener(context, publisher)
        socket.setsockopt(zmq.RCVHWM, 0)
        status = run_schedule(
            open_replays(plans, 40),
            publisher,
            PlaybackSpeed(None, True),
            SchedulerClock(),
            lambda: False,
            lambda _: None,
        )
        found = [decode_frames(socket.recv_multipart()) for _ in range(2 * 201)]
        socket.close()
    assert status.packets == 400
    for bed in ("100", "100-2"):
        mine = [message for message in found if message.bed == bed]
        assert [message.first for message in mine] == list(range(0, 1001, 5))
        assert isinstance(mine[-1], End)


def test_endpoint_in_use() -> None:
    """A second simulator on one port is told what to do."""
    with (
        publisher_at(LOCAL, lossless=False) as publisher,
        pytest.raises(EndpointError, match="in use: another simulator"),
    ):
        publisher_at(publisher.endpoint, lossless=False)


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("5555", "malformed"),
        ("tcp://127.0.0.1", "malformed"),
        ("tcp://127.0.0.1:port", "malformed"),
        ("tcp://127.0.0.1:99999", "malformed"),
        ("http://127.0.0.1:5555", "transport that is not supported"),
        ("tcp://192.0.2.1:5555", "not an address of this machine"),
        ("tcp://no-such-name.invalid:5555", "not an address of this machine"),
    ],
)
def test_endpoint_refused(endpoint: str, reason: str) -> None:
    """An endpoint that cannot be bound is refused with the reason and what to write instead."""
    with pytest.raises(EndpointError, match=reason):
        publisher_at(endpoint, lossless=False)


def test_endpoint_in_no_folder(tmp_path: Path) -> None:
    """A socket file cannot be made in a folder that is not there."""
    with pytest.raises(EndpointError, match="endpoint ipc"):
        publisher_at(f"ipc://{tmp_path}/missing/socket", lossless=False)


def connect_raw(endpoint: str, kind: bytes) -> sockets.socket:
    """A connection that has done its handshake as a socket of this kind, and will send what it likes."""
    raw = sockets.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])), timeout=60)
    ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    raw.sendall(GREETING + b"\x04" + bytes([len(ready)]) + ready)
    received = b""
    while len(received) <= len(GREETING) + 1 or len(received) < len(GREETING) + 2 + received[len(GREETING) + 1]:
        received += raw.recv(1)
    return raw


def pour(raw: sockets.socket, make: Callable[[], bytes], meanwhile: Callable[[], object]) -> bool:
    """Send without end; return whether the other side cut the connection off."""
    raw.settimeout(0.02)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < HOSTILE_BYTES:
            meanwhile()
            with contextlib.suppress(TimeoutError):
                sent += raw.send(make())
            with contextlib.suppress(TimeoutError):
                if raw.recv(1, sockets.MSG_DONTWAIT) == b"":
                    return True
        return False
    return True


def backfill_of(publisher: PacketPublisher) -> str:
    return f"tcp://127.0.0.1:{int(publisher.endpoint.rpartition(':')[2]) + 1}"


def refusals_soon(publisher: PacketPublisher) -> list[str]:
    """What the publisher reports within a second."""
    time.sleep(0.2)
    return publisher.refusals()


@counts_bytes
@pytest.mark.parametrize("channel", ["stream", "backfill"])
def test_a_message_that_never_ends(context: zmq.Context[zmq.Socket[bytes]], channel: str) -> None:
    """Who sends frame after frame of one message is cut off and reported; another monitor gets every packet."""
    with publisher_at(LOCAL, lossless=False) as publisher:
        socket = listener(context, publisher)
        stream = channel == "stream"
        raw = connect_raw(publisher.endpoint if stream else backfill_of(publisher), b"SUB" if stream else b"DEALER")
        sent = 0

        def send_packet() -> None:
            nonlocal sent
            assert publisher.send([b"100", b"%d" % sent])
            assert socket.recv_multipart() == [b"100", b"%d" % sent]
            sent += 1

        assert pour(raw, lambda: b"\1\1x" * 20_000, send_packet)
        send_packet()
        (said,) = refusals_soon(publisher)
        assert said.startswith("a connection from 127.0.0.1 was cut off: it sent ")
        raw.close()
        socket.close()


@counts_bytes
def test_subscriptions_without_end(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Who subscribes to ever new names is cut off; little of it is remembered, and nothing after it has gone."""
    with publisher_at(LOCAL, lossless=False) as publisher:
        socket = listener(context, publisher)
        raw = connect_raw(publisher.endpoint, b"SUB")
        most = 0

        def look() -> None:
            nonlocal most
            publisher.send([b"100", b""])
            most = max(most, len(publisher._topics))

        assert pour(raw, lambda: b"".join(b"\0\x41\1" + os.urandom(32).hex().encode() for _ in range(200)), look)
        raw.close()
        settled(publisher, "100", 1)
        until_s = time.monotonic() + 60
        while len(publisher._topics) > 1 and time.monotonic() < until_s:
            publisher.subscribers("100")
        assert list(publisher._topics) == [b""]
        assert most < 20_000
        socket.close()


@counts_bytes
def test_thousands_of_long_names(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """A monitor that names 4,096 beds of 64 bytes is not cut off."""
    with publisher_at(LOCAL, lossless=False) as publisher:
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.connect(publisher.endpoint)
        for bed in range(4096):
            socket.setsockopt_string(zmq.SUBSCRIBE, f"{bed:064d}")
        beds = [f"{bed:064d}" for bed in range(0, 4096, 64)]
        until_s = time.monotonic() + 60
        while publisher.subscribed(beds) < 64 and time.monotonic() < until_s:
            publisher._socket.poll(10)
        time.sleep(0.1)
        assert publisher.subscribed(beds) == 64
        assert publisher.refusals() == []
        socket.close()


def test_names_that_no_bed_has(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """A subscription that is longer than the name of any bed is not remembered."""
    with publisher_at(LOCAL, lossless=False) as publisher:
        socket = context.socket(zmq.SUB)
        socket.connect(publisher.endpoint)
        for topic in ("x" * 65, "x" * 64):
            socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        settled(publisher, "x" * 65, 1)
        assert list(publisher._topics) == [b"x" * 64]
        socket.close()
