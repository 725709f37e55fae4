"""agent.link.silence_watch: connections that ZeroMQ believes in, and over which nothing comes."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import pytest
from conftest import LEADS

from agent.core import config as configuration
from agent.core.config import override_config
from agent.core.events import Event
from agent.core.messages import Chunk, End, separate_chunks
from agent.core.wording import event_text
from agent.device.publisher import PacketPublisher
from agent.link.chunk_assembler import LinkMessage
from agent.link.link_receiver import LinkReceiver
from agent.link.silence_watch import LONGEST_REDIAL_S, SILENT_LINK_S, SilenceWatch
from agent.wire.connection import ConnectionMonitor
from agent.wire.packets import encode_frames
from agent.wire.requests import backfill_endpoint
from model.records.resample import FS


class Connection:
    """Stands in for a connection that ZeroMQ believes in."""

    connected = True

    def __init__(self) -> None:
        self.redialled: list[str] = []

    def redial(self, reason: str) -> None:
        self.redialled.append(reason)


def watched(connection: Connection) -> SilenceWatch:
    return SilenceWatch(cast(ConnectionMonitor, connection), "stream")


def times_of(connection: Connection, watch: SilenceWatch, heard_s: float, until_s: float) -> list[float]:
    """The times at which a connection is made again when nothing is heard."""
    out, now_s = [], heard_s
    while now_s < until_s:
        now_s += 0.1
        before = len(connection.redialled)
        watch.check(heard_s, now_s)
        if len(connection.redialled) > before:
            out.append(now_s)
    return out


def test_silence_is_answered_with_a_new_connection_at_growing_pauses() -> None:
    """After 2.5 s the first time, then less and less often: the device may have nothing to say."""
    connection = Connection()
    times = times_of(connection, watched(connection), 100.0, 160.0)
    pauses = [SILENT_LINK_S, 2 * SILENT_LINK_S, LONGEST_REDIAL_S, LONGEST_REDIAL_S]
    assert np.diff([100.0, *times])[:4] == pytest.approx(pauses, abs=0.2)


def test_what_is_heard_makes_pauses_short_again() -> None:
    """A connection over which something came is as good as new."""
    connection = Connection()
    watch = watched(connection)
    times_of(connection, watch, 100.0, 130.0)
    assert times_of(connection, watch, 131.0, 140.0)[0] == pytest.approx(131.0 + SILENT_LINK_S, abs=0.2)


def test_a_connection_that_is_not_there_is_not_made_again() -> None:
    """Whoever connects sees to that; the time without a connection is no silence."""
    connection = Connection()
    connection.connected = False
    watch = watched(connection)
    assert times_of(connection, watch, 100.0, 130.0) == []
    connection.connected = True
    assert times_of(connection, watch, 130.1, 134.0)[0] >= 130.1 + SILENT_LINK_S - 0.2


class Tube:
    """Relays TCP connections to a device; while `blocked` those that stand take bytes, and pass nothing on."""

    def __init__(self, port: int) -> None:
        self.blocked: set[int] = set()
        self.connections = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def block(self) -> None:
        """From now on nothing passes over the connections that stand."""
        self.blocked |= set(range(self.connections + 1))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._sockets.append(near)
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets.append(far)
                self.connections += 1
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(*pair, self.connections), daemon=True).start()

    def _pump(self, near: socket.socket, far: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(65_536):
                if number not in self.blocked:
                    far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
            one.close()


@contextmanager
def tubes() -> Iterator[tuple[PacketPublisher, LinkReceiver, Tube, Tube]]:
    """A device, a link, and a tube between them for each socket."""
    config = override_config(configuration.load_config(None, {}), "link", endpoint="tcp://127.0.0.1:*")
    with PacketPublisher(config, lossless=False) as publisher:
        publisher.linger_s = 0.0
        stream = Tube(int(publisher.endpoint.rpartition(":")[2]))
        channel = Tube(int(backfill_endpoint(publisher.endpoint, "").rpartition(":")[2]))
        ends = {"endpoint": f"tcp://127.0.0.1:{stream.port}", "service": f"tcp://127.0.0.1:{channel.port}"}
        link = LinkReceiver(override_config(config, "link", **ends), ())
        try:
            yield publisher, link, stream, channel
        finally:
            link.close()
            stream.close()
            channel.close()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["stream", "both"])
def test_a_hole_in_the_network_is_got_round(which: str) -> None:
    """Connections that take bytes and bring none, as after a changed byte: new ones are made, and no sample is lost."""
    with tubes() as (publisher, link, stream, channel):
        out: list[LinkMessage] = []
        sent, blocked, until_s = 0, False, time.monotonic() + 60
        while not any(isinstance(message, End) for message in out):
            assert time.monotonic() < until_s, out[-5:]
            if sent < 200 or stream.connections > 1:
                message: Chunk | End
                ramp = np.arange(5 * sent, 5 * sent + 5, dtype=np.int32)
                message = Chunk("1", "run", 5 * sent, float(FS), LEADS, np.stack([ramp, ramp], axis=1), time.time())
                if sent >= 250:
                    message = End("1", "run", 5 * sent, float(FS), sent)
                publisher.send(encode_frames(message))
                publisher.keep(message, 5, time.time())
                sent += 1
            publisher.subscribed(["1"])
            if sent >= 50 and out and not blocked:
                blocked = True
                stream.block()
                if which == "both":
                    channel.block()
            time.sleep(0.02)
            out += separate_chunks(link.receive(time.time()))
        assert stream.connections > 1
        got = [int(x) for message in out if isinstance(message, Chunk) for x in message.counts[:, 0]]
        assert got == list(range(1250))
        words = [event_text(message) for message in out if isinstance(message, Event) and message.kind == "link"]
        assert any("connecting again" in text for text in words)
