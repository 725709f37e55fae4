"""A device with one good bed in real time, which also sends whatever an attack wants on the same two sockets."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq
import zmq.auth

from agent.cli.device_process import find_free_endpoint
from agent.wire.curve_security import create_key_pair
from agent.wire.requests import LONGEST_REPLY_S, backfill_endpoint
from benchmarks.attack.packet_forms import Frames, Header, end_message, fetch_reply, hello_reply, joined_reply, packet
from model.records.resample import FS

GOOD, GOOD_RUN = "good", "good run"
PACKET_SAMPLES = 5
MOST_QUEUED = 32
"""Messages in the device's own queue: what the monitor does not take soon holds up the attack, not the device."""
SUBSCRIBED_S = 60.0
"""The longest that a monitor may take to subscribe."""
Answer = Callable[[Header, Header], list[Frames] | None]
"""From a request and an honest reply to the messages that are sent instead; None: the honest one."""


@dataclass(frozen=True, slots=True)
class AttackKeys:
    """CURVE keys of a device and a monitor in a folder, as `ecg-agent keys new` makes them."""

    device_secret: Path
    device_public: Path
    monitor_secret: Path
    monitor_public: Path
    clients: Path

    def monitor_options(self) -> tuple[str, ...]:
        """Return the options of `ecg-agent monitor`."""
        return "--key", str(self.monitor_secret), "--server-key", str(self.device_public)

    def device_options(self) -> tuple[str, ...]:
        """Return the options of `ecg-agent simulate`."""
        return "--key", str(self.device_secret), "--clients", str(self.clients)

    def secure_server(self, socket: "zmq.Socket[bytes]") -> None:
        """Make a socket of the device ask for keys; it admits everybody who has the device's public key."""
        public, secret = zmq.auth.load_certificate(self.device_secret)
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_PUBLICKEY, public)
        socket.set(zmq.CURVE_SECRETKEY, secret or b"")

    def secure_client(self, socket: "zmq.Socket[bytes]") -> None:
        """Make a socket connect as the admitted monitor does."""
        public, secret = zmq.auth.load_certificate(self.monitor_secret)
        socket.set(zmq.CURVE_PUBLICKEY, public)
        socket.set(zmq.CURVE_SECRETKEY, secret or b"")
        socket.set(zmq.CURVE_SERVERKEY, zmq.auth.load_certificate(self.device_public)[0])


def create_attack_keys(folder: Path) -> AttackKeys:
    """Create the keys of a device and of a monitor that it admits."""
    device, monitor = (create_key_pair(folder / "keys", name) for name in ("device", "monitor"))
    clients = folder / "clients"
    clients.mkdir()
    (clients / "monitor.key").write_bytes(monitor[0].read_bytes())
    return AttackKeys(device[1], device[0], monitor[1], monitor[0], clients)


class HostileDevice:
    """An XPUB and a ROUTER socket. The good bed begins with `begin` and goes on until `end_good`.

    `good_stop`: the sample after the last that the good bed has sent. `on_fetch`, `on_hello`: what an attack answers.
    `fetches`: requests for samples that have come.
    """

    def __init__(self, keys: AttackKeys | None = None) -> None:
        self.endpoint = find_free_endpoint()
        self.good_stop = 0
        self.fetches = 0
        self.on_fetch: Answer | None = None
        self.on_hello: Answer | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._stream, self._channel = self._context.socket(zmq.XPUB), self._context.socket(zmq.ROUTER)
        self._stream.set(zmq.SNDHWM, MOST_QUEUED)
        self._stream.set(zmq.XPUB_NODROP, 1)
        self._channel.set(zmq.SNDHWM, 2000)
        for socket, endpoint in ((self._stream, self.endpoint), (self._channel, backfill_endpoint(self.endpoint, ""))):
            socket.set(zmq.LINGER, 0)
            if keys is not None:
                keys.secure_server(socket)
            socket.bind(endpoint)
        self._sending = threading.Lock()
        self._good_waits = threading.Event()
        self._good_ended, self._closed = threading.Event(), threading.Event()
        self._began_s = 0.0
        self._stamps: list[float] = []
        """Monotonic seconds at which each packet of the good bed was ready."""
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send_good, self._serve)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._good_ended.set()
        self._closed.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._context.destroy(linger=0)

    def begin(self) -> None:
        """Wait for a subscriber, then start the good bed. Raises SystemExit if none comes."""
        if not self._stream.poll(round(1000 * SUBSCRIBED_S)):
            raise SystemExit("the monitor did not subscribe")
        self._began_s = time.monotonic()
        for thread in self._threads:
            thread.start()

    def end_good(self) -> None:
        """Stop the good bed, with an end."""
        self._good_ended.set()
        self._threads[0].join()
        self.send(end_message(GOOD, self.good_stop, GOOD_RUN))

    def ready_s(self, sample: int) -> float | None:
        """Return when the good bed's packet with this sample was ready to be sent, in monotonic seconds."""
        place = sample // PACKET_SAMPLES
        return self._stamps[place] if place < len(self._stamps) else None

    def send(self, frames: Frames, patience_s: float = 10.0) -> bool:
        """Send a message on the stream; return False where the monitor has taken nothing for `patience_s`."""
        until_s = time.monotonic() + patience_s
        while time.monotonic() < until_s and not self._closed.is_set():
            if self._good_waits.is_set():  # the good bed goes first
                time.sleep(0.0002)
            elif self._try_send(frames):
                return True
            else:
                time.sleep(0.001)
        return False

    def _try_send(self, frames: Frames) -> bool:
        with self._sending:
            try:
                self._stream.send_multipart(frames, zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return False
        return True

    def _send_good(self) -> None:
        while not self._good_ended.is_set():
            now_s = time.monotonic()
            while self.good_stop + PACKET_SAMPLES <= (now_s - self._began_s) * FS and not self._good_ended.is_set():
                frames = packet(GOOD, self.good_stop, PACKET_SAMPLES, run=GOOD_RUN)
                self._stamps.append(time.monotonic())
                self._good_waits.set()
                while not self._try_send(frames) and not self._closed.is_set():
                    time.sleep(0.001)
                self._good_waits.clear()
                self.good_stop += PACKET_SAMPLES
            time.sleep(0.005)

    def _serve(self) -> None:
        """Answer requests: honestly for the good bed, else as the attack wants."""
        while not self._closed.is_set():
            if not self._channel.poll(20):
                continue
            identity, *frames = self._channel.recv_multipart()
            try:
                replies = self._answer(json.loads(frames[0]))
            except (ValueError, KeyError, TypeError):  # a byte of the request was changed on its way
                continue
            for reply in replies:
                try:
                    self._channel.send_multipart([identity, *reply], zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    break

    def _answer(self, request: Header) -> list[Frames]:
        if request["kind"] == "hello":
            honest = hello_reply(request, time.time())
            changed = self.on_hello(request, honest) if self.on_hello else None
            return [joined_reply(honest)] if changed is None else changed
        self.fetches += 1
        if request["bed"] == GOOD:
            return [self._good_reply(request)]
        honest = fetch_reply(request)
        changed = self.on_fetch(request, honest) if self.on_fetch else None
        return [joined_reply(honest)] if changed is None else changed

    def _good_reply(self, request: Header) -> Frames:
        ended = self._good_ended.is_set() and not self._threads[0].is_alive()
        reply = fetch_reply(request, run=GOOD_RUN, next=self.good_stop, ended=ended)
        first = request["first"]
        stop = min(request["stop"], self.good_stop, first + round(LONGEST_REPLY_S * FS))
        if request["run"] != GOOD_RUN or stop <= first:
            return joined_reply(reply)
        return joined_reply(reply, [packet(GOOD, first, stop - first, run=GOOD_RUN)])
