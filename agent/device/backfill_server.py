"""The device's end of the backfill channel: a thread that answers monitors that miss samples or ask for the time.

A reply is made only when its monitor has room for it: until then the request waits, which takes less memory.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

import zmq

from agent.core.rate_limit import RepeatFilter, TokenBucket
from agent.device.sent_buffer import SentBuffer
from agent.wire.inflow_guard import InflowLimit, SocketInflow, count_wire_bytes
from agent.wire.packets import encode_frames
from agent.wire.requests import (
    ChannelRequest,
    FetchRequest,
    HelloReply,
    HelloRequest,
    ReplayReply,
    ReplayRequest,
    decode_request,
)
from agent.wire.requests import encode_channel_message as encode_reply
from model.errors import FrameError

TICK_S = 0.01
IDLE_POLL_MS, WAITING_POLL_MS = 100, 1
"""How long to wait for the next request: with replies that have no room it is short, since ZeroMQ does not say when one
of many connections has room."""
REQUESTS_PER_TICK = 50
"""Requests answered in a tick: ZeroMQ takes them from all monitors in turn, and a flood waits in its own queue."""
PEER_TIMEOUT_S = 3.0
"""A monitor that has not said hello for this time is gone."""
MOST_PEERS = 512
"""Monitors that are known, and connections."""
MOST_WAITING = 64
"""Requests of one monitor that wait for room for their replies; twice what a monitor has under way."""
REPLIES_AHEAD = 4
"""Replies that ZeroMQ holds for one monitor (its SNDHWM), so that some leave while the next are made: 60 KB of one
lead, and 40 MB for 512 monitors that read nothing."""
SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.001, 0.05
"""Pauses before a waiting reply is tried again. They grow with the time since the last one left."""
STALLED_S = 10.0
"""A monitor of whose waiting replies not a byte arrives for this time is cut off."""
REQUEST_INFLOW = InflowLimit(
    "it sent requests faster than they can be read, or one that never ends",
    connection_bytes=128 * 1024,
    total_bytes=2 * 1024 * 1024,
    refill_bytes_s=128.0,
    most_connections=MOST_PEERS,
)
"""64 requests of the largest size, 68 KB, wait for the server in ZeroMQ (RCVHWM). The frames of a message that never
ends take up to 32 times their size in memory, so 2 MiB of all connections cost 67 MB."""
REQUESTS_PER_SECOND = 1000
"""Requests that one monitor may make in the long run."""
REQUEST_BURST = 2000
"""Requests that one monitor may make at once."""
REPORT_EVERY_S = 30.0


ReplayHandler = Callable[[ReplayRequest], ReplayReply]
NO_REPLAY = "this device replays no record: it cannot be paused, moved or sped up"


def refuse_replay(request: ReplayRequest) -> ReplayReply:
    """Answer for a device that measures: there is nothing to pause."""
    return ReplayReply(id=request.id, done=False, reason=NO_REPLAY)


@dataclass(frozen=True, slots=True)
class _ReceivedRequest:
    """A request, and when it came by the device's clock."""

    request: ChannelRequest
    received: float


@dataclass(slots=True)
class _MonitorPeer:
    """A monitor: the requests it may still make, when it last said hello, whether it has all it wants.

    `waiting`: requests whose replies have no room yet; `tried_s`: when one was last tried; `progress_s`: when one was
    last taken, or bytes of one arrived, of which the other side has `acknowledged` so many.
    """

    requests: TokenBucket
    hello_s: float = -math.inf
    complete: bool = False
    connection: int = -1
    """The connection's descriptor, -1 where it has none."""
    waiting: deque[_ReceivedRequest] = field(default_factory=deque)
    tried_s: float = -math.inf
    progress_s: float = 0.0
    acknowledged: int = 0

    def is_alive(self, now_s: float) -> bool:
        """Return whether it has said hello lately."""
        return now_s - self.hello_s < PEER_TIMEOUT_S

    def is_due(self, now_s: float) -> bool:
        """Return whether to try a waiting reply again."""
        pause_s = min(max((now_s - self.progress_s) / 10, SHORTEST_RETRY_S), LONGEST_RETRY_S)
        return now_s - self.tried_s >= pause_s


class BackfillServer:
    """Answers requests until it is closed."""

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        inflow: SocketInflow,
        sent: SentBuffer,
        unix: Callable[[], float] = time.time,
        replay: ReplayHandler | None = None,
    ) -> None:
        """Takes over `socket`, a bound ROUTER with ROUTER_MANDATORY.

        `unix`: the clock of the device. `replay`: answers requests to pause or move, in this server's thread; None
        refuses them.
        """
        self._socket = socket
        self._inflow = inflow
        self._encrypted = socket.get(zmq.MECHANISM) == zmq.CURVE
        self._sent = sent
        self._unix = unix
        self._replay = replay or refuse_replay
        self._peers: dict[bytes, _MonitorPeer] = {}
        self._waiting: dict[bytes, _MonitorPeer] = {}
        """Those of whom requests wait; only the thread looks at it."""
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
                self._answer_waiting(time.monotonic())
                poll_ms = WAITING_POLL_MS if self._waiting else IDLE_POLL_MS
                if self._socket.poll(poll_ms) and not self._answer_new():
                    self._closed.wait(TICK_S)
        finally:
            self._socket.close()

    def _answer_waiting(self, now_s: float) -> None:
        """Send the replies for which there is room by now; cut off who takes none for too long."""
        for identity, peer in list(self._waiting.items()):
            if not peer.is_due(now_s):
                continue
            peer.tried_s = now_s
            while peer.waiting and self._reply(identity, peer.waiting[0]):
                peer.waiting.popleft()
                peer.progress_s = now_s
            if (acknowledged := self._inflow.acknowledged(peer.connection)) != peer.acknowledged:
                peer.acknowledged = acknowledged
                peer.progress_s = now_s
            if now_s - peer.progress_s >= STALLED_S:
                self._inflow.cut(peer.connection, f"it took no reply for {STALLED_S:g} s")
                peer.waiting.clear()
            if not peer.waiting:
                del self._waiting[identity]

    def _answer_new(self) -> bool:
        """Answer a tick's requests; return whether none is left."""
        for _ in range(REQUESTS_PER_TICK):
            try:
                identity = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return True
            self._answer(identity, *self._receive_frames())
        return False

    def _receive_frames(self) -> tuple[list[bytes], int]:
        """Return the frames of a message, two at most of how many there may be, and its connection (-1: not TCP)."""
        frame = self._socket.recv(copy=False)
        connection = -1
        with contextlib.suppress(zmq.ZMQError):
            connection = int(frame.get(zmq.SRCFD))
        frames = [frame.bytes]
        size = count_wire_bytes(frames, self._encrypted)
        while self._socket.get(zmq.RCVMORE):
            frames[1:] = [self._socket.recv()]
            size += count_wire_bytes(frames[1:], self._encrypted)
        self._inflow.credit(size, connection)
        return frames, connection

    def _answer(self, identity: bytes, frames: list[bytes], connection: int) -> None:
        received = self._unix()
        now_s = time.monotonic()
        request = self._accept(identity, frames, now_s, connection)
        if request is None:
            return
        peer = self._peers[identity]
        call = _ReceivedRequest(request, received)
        if not peer.waiting and self._reply(identity, call):
            return
        if len(peer.waiting) >= MOST_WAITING:
            with self._lock:
                self._ignored += 1
            return
        if not peer.waiting:
            peer.tried_s = peer.progress_s = now_s
            self._waiting[identity] = peer
        peer.waiting.append(call)

    def _reply(self, identity: bytes, call: _ReceivedRequest) -> bool:
        """Answer a request, or drop it where its monitor has gone; return False where there is no room for it."""
        try:
            self._socket.send(identity, zmq.NOBLOCK | zmq.SNDMORE)  # the reply has a place, or this fails
        except zmq.Again:
            return False
        except zmq.ZMQError:  # it has gone
            return True
        request = call.request
        if isinstance(request, HelloRequest):
            beds = len(self._sent)
            sent = self._unix()
            hello = HelloReply(id=request.id, asked=request.sent, received=call.received, sent=sent, beds=beds)
            self._socket.send(encode_reply(hello), zmq.NOBLOCK)
        elif isinstance(request, ReplayRequest):
            self._socket.send(encode_reply(self._replay(request)), zmq.NOBLOCK)
        else:
            self._socket.send_multipart(self._fetch(request), zmq.NOBLOCK)
        return True

    def _accept(
        self, identity: bytes, frames: list[bytes], now_s: float, connection: int = -1
    ) -> ChannelRequest | None:
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
            peer.connection = connection
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
            self._peers = {known: peer for known, peer in self._peers.items() if peer.waiting or peer.is_alive(now_s)}
            if len(self._peers) >= MOST_PEERS:
                return None
        peer = self._peers[identity] = _MonitorPeer(TokenBucket(REQUEST_BURST, 1 / REQUESTS_PER_SECOND, now_s))
        return peer
