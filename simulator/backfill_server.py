"""The device's second socket: answers monitors that ask for missed samples, or for the time, in a thread of its own."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

import zmq

from agent.wire.packets import encode_frames
from agent.wire.requests import FetchRequest, HelloReply, HelloRequest, decode_request
from agent.wire.requests import encode_channel_message as encode_reply
from model.errors import FrameError
from simulator.sent_buffer import SentBuffer

TICK_S = 0.01
REQUESTS_PER_TICK = 50
"""Requests answered in a tick: ZeroMQ takes them from all monitors in turn, and a flood waits in its own queue."""
PEER_TIMEOUT_S = 3.0
"""A monitor that has not said hello for so long is gone."""
MOST_PEERS = 4096
REQUESTS_PER_SECOND, REQUEST_BURST = 1000, 2000
"""Requests that one monitor may make in the long run, and at once."""
REPORT_EVERY_S = 30.0


@dataclass(slots=True)
class _MonitorPeer:
    """A monitor: when it said hello last, whether it has all it wants, how many more requests it may make now."""

    heard_s: float = -math.inf
    complete: bool = False
    allowed: float = REQUEST_BURST
    counted_s: float = 0.0

    def may_ask(self, now_s: float) -> bool:
        self.allowed = min(REQUEST_BURST, self.allowed + (now_s - self.counted_s) * REQUESTS_PER_SECOND) - 1
        self.counted_s = now_s
        if self.allowed < 0:
            self.allowed = 0.0
            return False
        return True

    def alive(self, now_s: float) -> bool:
        return now_s - self.heard_s < PEER_TIMEOUT_S


class BackfillServer:
    """Answers requests until it is closed."""

    def __init__(self, socket: "zmq.Socket[bytes]", memory: SentBuffer, unix: Callable[[], float] = time.time) -> None:
        """Takes over `socket`, a bound ROUTER."""
        self._socket, self._memory, self._unix = socket, memory, unix
        self._peers: dict[bytes, _MonitorPeer] = {}
        self._ignored = 0
        self._told_s = -math.inf
        self._closed = Event()
        self._thread = Thread(target=self._serve, name="service", daemon=True)
        self._thread.start()

    @property
    def awaited(self) -> bool:
        """Whether a monitor that is there still misses something."""
        now_s = time.monotonic()
        return any(peer.alive(now_s) and not peer.complete for peer in list(self._peers.values()))

    def refusals(self) -> list[str]:
        """What was not answered, in words, every half minute at most."""
        now_s = time.monotonic()
        if not self._ignored or now_s - self._told_s < REPORT_EVERY_S:
            return []
        ignored, self._ignored, self._told_s = self._ignored, 0, now_s
        return [
            f"{ignored} requests were not answered: malformed, or more than "
            f"{REQUESTS_PER_SECOND} a second of one monitor"
        ]

    def close(self) -> None:
        """End the thread, and close the socket."""
        self._closed.set()
        self._thread.join()

    def _serve(self) -> None:
        try:
            while not self._closed.is_set():
                if self._socket.poll(100):
                    for _ in range(REQUESTS_PER_TICK):
                        try:
                            self._answer(self._socket.recv_multipart(zmq.NOBLOCK))
                        except zmq.Again:
                            break
                    else:
                        self._closed.wait(TICK_S)
        finally:
            self._socket.close()

    def _answer(self, message: list[bytes]) -> None:
        received, now_s = self._unix(), time.monotonic()
        identity, *frames = message
        peer = self._peer(identity, now_s)
        try:
            request = decode_request(frames)
        except FrameError:
            request = None
        if request is None or peer is None or not peer.may_ask(now_s):
            self._ignored += 1
            return
        if isinstance(request, HelloRequest):
            peer.heard_s, peer.complete = now_s, request.complete
            reply = [encode_reply(self._welcome(request, received))]
        else:
            reply = self._fetched(request)
        self._socket.send_multipart([identity, *reply], zmq.NOBLOCK)  # ROUTER drops what a peer has no room for

    def _welcome(self, request: HelloRequest, received: float) -> HelloReply:
        return HelloReply(
            id=request.id, asked=request.sent, received=received, sent=self._unix(), beds=len(self._memory)
        )

    def _fetched(self, request: FetchRequest) -> list[bytes]:
        said, chunks = self._memory.fetch(request)
        return [encode_reply(said), *(frame for chunk in chunks for frame in encode_frames(chunk))]

    def _peer(self, identity: bytes, now_s: float) -> _MonitorPeer | None:
        """What is known of a monitor; None where there are too many."""
        if identity not in self._peers and len(self._peers) >= MOST_PEERS:
            self._peers = {known: peer for known, peer in self._peers.items() if peer.alive(now_s)}
            if len(self._peers) >= MOST_PEERS:
                return None
        return self._peers.setdefault(identity, _MonitorPeer(counted_s=now_s))
