"""What a hostile monitor, or anybody who can connect, sends to a device."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any

import zmq

from benchmarks.attack.device_run import RECORD, DeviceScene
from benchmarks.attack.raw_zmtp import GREETING, MORE, connect_tcp, connect_zmtp, frame
from model.records.resample import FS

SUBSCRIBE, UNSUBSCRIBE = b"\x01", b"\x00"
LARGEST = 4000
"""Bytes of a frame that a device still takes."""
MINUTE = 60 * FS
STALLED_S = 2.0
"""A device that takes nothing more for this time has stopped reading, and the attack waits."""
STRANGE_BYTES = (
    *(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + bytes(500), os.urandom(100_000), b"\xff" * 1000, b""),
    *(GREETING[:12] + name.ljust(20, b"\0") + bytes(32) for name in (b"PLAIN", b"CURVE", b"OTHER")),
    *(GREETING + os.urandom(5000), GREETING + b"\x04\xff" + bytes(255), b"\x01\0" * 500, GREETING[:11] + b"\x01"),
)
STRANGE_KINDS = (b"PUB", b"ROUTER", b"XSUB", b"PAIR", b"STREAM", b"", b"\xff" * 100)


def listen_only(scene: DeviceScene) -> None:
    """The clean baseline."""
    scene.pause(scene.seconds)


def send_endless_message(scene: DeviceScene, channel: int) -> None:
    """One message whose frames never end, on the stream (0) or the backfill channel (1)."""
    with connect_zmtp(scene.ports[channel], (b"SUB", b"DEALER")[channel]) as connection:
        _pour(scene, connection, frame(b"e" * LARGEST, MORE) * 50)


def subscribe_long_topics(scene: DeviceScene) -> None:
    """Subscriptions of 4,000 bytes, no two alike."""
    with connect_zmtp(scene.ports[0], b"SUB") as connection:
        parts = (b"".join(frame(SUBSCRIBE + os.urandom(16) + bytes(LARGEST - 20)) for _ in range(50)) for _ in _ever())
        _pour(scene, connection, parts)


def subscribe_many_topics(scene: DeviceScene) -> None:
    """200,000 ordinary subscriptions through the library."""
    subscriber = scene.connect(zmq.SUB, scene.endpoint)
    for n in range(200_000):
        subscriber.subscribe(b"%08d-ordinary-topic" % n)
    scene.pause(scene.seconds)


def send_upstream(scene: DeviceScene) -> None:
    """Messages to the stream that are no subscriptions."""
    with connect_zmtp(scene.ports[0], b"XSUB") as connection:
        _pour(scene, connection, frame(b"\x07" + b"u" * (LARGEST - 1)) * 50)


def change_subscriptions(scene: DeviceScene) -> None:
    """Subscribe and unsubscribe without an end."""
    with connect_zmtp(scene.ports[0], b"SUB") as connection:
        _pour(scene, connection, (frame(SUBSCRIBE + b"208") + frame(UNSUBSCRIBE + b"208")) * 500)


def flood_hellos(scene: DeviceScene) -> None:
    """Hellos as fast as they go, the answers read."""
    dealer = scene.connect(zmq.DEALER, scene.channel)
    for n in scene.until_over():
        with contextlib.suppress(zmq.Again):
            dealer.send(_hello(n), zmq.NOBLOCK)
        while dealer.poll(0):
            dealer.recv_multipart()


def flood_fetches(scene: DeviceScene) -> None:
    """Twenty monitors that ask for a minute again and again, the answers read."""
    dealers = [scene.connect(zmq.DEALER, scene.channel) for _ in range(20)]
    for n in scene.until_over():
        for dealer in dealers:
            with contextlib.suppress(zmq.Again):
                dealer.send(_fetch(scene.run, n), zmq.NOBLOCK)
            while dealer.poll(0):
                dealer.recv_multipart()


def never_read_replies(scene: DeviceScene, monitors: int) -> None:
    """Monitors that ask for a minute 500 times and never read an answer."""
    with contextlib.ExitStack() as stack:
        for _ in range(monitors):
            with contextlib.suppress(OSError):
                connection = stack.enter_context(connect_zmtp(scene.ports[1], b"DEALER"))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                connection.settimeout(0.01)
                connection.sendall(b"".join(frame(_fetch(scene.run, n)) for n in range(500)))
        scene.pause(scene.seconds)


def use_many_identities(scene: DeviceScene) -> None:
    """800 monitors at once, which leave and come again under other names."""
    for turn in scene.until_over():
        dealers = [scene.connect(zmq.DEALER, scene.channel, b"monitor %d %d" % (turn, n)) for n in range(800)]
        for n, dealer in enumerate(dealers):
            with contextlib.suppress(zmq.Again):
                dealer.send(_hello(n), zmq.NOBLOCK)
        scene.pause(2.0)
        for dealer in dealers:
            dealer.close(0)


def open_slowly(scene: DeviceScene) -> None:
    """400 connections on each socket that send a byte of their greeting now and then."""
    connections = []
    with contextlib.ExitStack() as stack:
        for port in scene.ports:
            for n in range(400):
                with contextlib.suppress(OSError):
                    connection = stack.enter_context(connect_tcp(port))
                    connection.sendall(GREETING[: n % len(GREETING)])
                    connections.append(connection)
        for _ in scene.until_over():
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(b"\0")
            scene.pause(0.5)


def send_strange_bytes(scene: DeviceScene) -> None:
    """HTTP, TLS, noise, half a handshake, and sockets of kinds that do not fit."""
    for _ in scene.until_over():
        for port in scene.ports:
            for data in STRANGE_BYTES:
                with contextlib.suppress(OSError), connect_tcp(port) as connection:
                    connection.sendall(data)
            for kind in STRANGE_KINDS:
                with contextlib.suppress(OSError), connect_zmtp(port, kind) as connection:
                    connection.sendall(frame(b"hello"))
        scene.pause(0.2)


def send_malformed_requests(scene: DeviceScene) -> None:
    """Requests that are no JSON, or ask for what cannot be."""
    dealer = scene.connect(zmq.DEALER, scene.channel)
    for _ in scene.until_over():
        for request in _malformed_requests(scene.run):
            dealer.send(request)
        for frames in ([b"a", b"b"], [b""] * 3, [b"x"] * 5000):
            dealer.send_multipart(frames)
        while dealer.poll(0):
            dealer.recv_multipart()
        scene.pause(0.2)


def send_too_large_frames(scene: DeviceScene) -> None:
    """Frames beyond what a device takes, and lengths of 2^63."""
    for _ in scene.until_over():
        for size in (LARGEST, 4161, 5000, 2**20, 20 * 2**20):
            dealer = scene.connect(zmq.DEALER, scene.channel)
            dealer.send(bytes(size))
            scene.pause(0.2)
            dealer.close(0)
        for length in (2**63, 2**64 - 1):
            for port, kind in zip(scene.ports, (b"SUB", b"DEALER"), strict=True):
                with contextlib.suppress(OSError), connect_zmtp(port, kind) as connection:
                    connection.sendall(b"\x02" + length.to_bytes(8, "big") + bytes(1000))


def _pour(scene: DeviceScene, connection: socket.socket, data: bytes | Iterable[bytes]) -> None:
    """Send data again and again until the time is over or the device breaks it off; wait while it takes no more."""
    parts = iter(data) if not isinstance(data, bytes) else (data for _ in _ever())
    connection.settimeout(STALLED_S)
    for _ in scene.until_over():
        try:
            connection.sendall(next(parts))
        except TimeoutError:
            scene.pause(scene.seconds)


def _ever() -> Iterator[None]:
    while True:
        yield None


def _hello(number: int) -> bytes:
    return _request(kind="hello", id=number, sent=time.time(), complete=False)


def _fetch(present_run: str, number: int, **changes: Any) -> bytes:
    fields: dict[str, Any] = {"id": number, "bed": RECORD, "run": present_run, "first": 0, "stop": MINUTE, **changes}
    return _request(kind="fetch", **fields)


def _request(**fields: Any) -> bytes:
    return json.dumps({"v": 1, **fields}).encode()


def _malformed_requests(run: str) -> Iterator[bytes]:
    yield from (b"", b"{", b"null", b"[]", b"1", b"\xff\xfe", b"[" * 1024, b'{"a":' * 200, _hello(1) + b" " * 1000)
    yield from (_hello(1).replace(b'"v": 1', b'"v": 1e400'), _hello(1).decode().encode("utf-16"))
    wrong: tuple[dict[str, Any], ...] = (
        *({"id": number} for number in (-1, 2**53 + 1, 1.5)),
        *({"first": first, "stop": stop} for first, stop in ((-1, 5), (5, 5), (10, 5), (0, 2**63), (2**53, 2**53))),
        *({"bed": bed} for bed in ("", "\x1b[2J", "x" * 65, "\U0001f4a5" * 64, "../../etc/passwd")),
        *({"run": other} for other in ("", "\x1b[2J", "another")),
        *({"v": 2}, {"extra": 1}, {"stop": 10**9}),
    )
    for changes in wrong:
        yield _fetch(run, 1, **changes)
