"""The device's end of the backfill channel: a thread that answers monitors that miss samples or ask for the time."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock, Thread

import zmq

from agent.core.rate_limit import RepeatFilter, TokenBucket
from agent.wire.packets import encode_frames
from agent.wire.requests import FetchRequest, HelloReply, HelloRequest, decode_request
from agent.wire.requests import encode_channel_message as encode_reply
from model.errors import FrameError
from simulator.sent_buffer import SentBuffer

TICK_S = 0.01
REQUESTS_PER_TICK = 50
"""Requests answered in a tick: ZeroMQ takes them from all monitors in turn, and a flood waits in its own queue."""
PEER_TIMEOUT_S = 3.0
"""A monitor that has not said hello for this time is gone."""
MOST_PEERS = 4096
REQUESTS_PER_SECOND = 1000
"""Requests that one monitor may make in the long run."""
REQUEST_BURST = 2000
"""Requests that one monitor may make at once."""
REPORT_EVERY_S = 30.0


@dataclass(slots=True)
class _MonitorPeer:
    """A monitor: the requests it may still make, when it last said hello, whether it has all it wants."""

    requests: TokenBucket
    hello_s: float = -math.inf
    complete: bool = False

    def is_alive(self, now_s: float) -> bool:
        """Return whether it has said hello lately."""
        return now_s - self.hello_s < PEER_TIMEOUT_S


class BackfillServer:
    """Answers requests until it is closed."""

    def __init__(self, socket: "zmq.Socket[bytes]", sent: SentBuffer, unix: Callable[[], float] = time.time) -> None:
        """Takes over `socket`, a bound ROUTER. `unix`: the clock of the device."""
        self._socket = socket
        self._sent = sent
        self._unix = unix
        self._peers: dict[bytes, _MonitorPeer] = {}
        self._ignored = 0
        self._lock = Lock()
        """Guards what the thread changes and others read: the peers and the number of ignored requests."""
        self._reports = RepeatFilter(REPORT_EVERY_S, most_keys=1)
        self._closed = Event()
        self._thread = Thread(target=self._serve, name="backfill", daemon=True)
        self._thread.start()

    @property
    def awaited(self) -> bool:
        """Whether a monitor that is there still misses something."""
        now_s = time.monotonic()
        with self._lock:
            return any(peer.is_alive(now_s) and not peer.complete for peer in self._peers.values())

    def refusals(self) -> list[str]:
        """Report the requests that were not answered, every half minute at most."""
        with self._lock:
            if not self._ignored or not self._reports.admits("ignored", time.monotonic()):
                return []
            ignored = self._ignored
            self._ignored = 0
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
                if self._socket.poll(100) and not self._answer_waiting():
                    self._closed.wait(TICK_S)
        finally:
            self._socket.close()

    def _answer_waiting(self) -> bool:
        """Answer a tick's requests; return whether none is left."""
        for _ in range(REQUESTS_PER_TICK):
            try:
                identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return True
            self._answer(identity, frames)
        return False

    def _answer(self, identity: bytes, frames: list[bytes]) -> None:
        received = self._unix()
        request = self._accept(identity, frames, time.monotonic())
        if request is None:
            return
        if isinstance(request, HelloRequest):
            beds = len(self._sent)
            hello = HelloReply(id=request.id, asked=request.sent, received=received, sent=self._unix(), beds=beds)
            reply = [encode_reply(hello)]
        else:
            reply = self._fetch(request)
        self._socket.send_multipart([identity, *reply], zmq.NOBLOCK)  # ROUTER drops what a peer has no room for

    def _accept(self, identity: bytes, frames: list[bytes], now_s: float) -> HelloRequest | FetchRequest | None:
        """Return the request of a monitor; None, and counted, where it is malformed or one too many."""
        try:
            request = decode_request(frames)
        except FrameError:
            request = None
        with self._lock:
            peer = self._find_peer(identity, now_s)
            if request is None or peer is None or not peer.requests.take(now_s):
                self._ignored += 1
                return None
            if isinstance(request, HelloRequest):
                peer.hello_s = now_s
                peer.complete = request.complete
        return request

    def _fetch(self, request: FetchRequest) -> list[bytes]:
        reply, chunks = self._sent.fetch(request)
        return [encode_reply(reply), *(frame for chunk in chunks for frame in encode_frames(chunk))]

    def _find_peer(self, identity: bytes, now_s: float) -> _MonitorPeer | None:
        """Return what is known of a monitor; None where there are too many."""
        peer = self._peers.get(identity)
        if peer is not None:
            return peer
        if len(self._peers) >= MOST_PEERS:
            self._peers = {known: peer for known, peer in self._peers.items() if peer.is_alive(now_s)}
            if len(self._peers) >= MOST_PEERS:
                return None
        peer = self._peers[identity] = _MonitorPeer(TokenBucket(REQUEST_BURST, 1 / REQUESTS_PER_SECOND, now_s))
        return peer
