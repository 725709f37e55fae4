"""The agent's end of the backfill channel: says hello, compares the clocks, requests missed samples."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from agent.core.clock import SteadyClock
from agent.core.config import SecurityConfig
from agent.link.silence_watch import SilenceWatch
from agent.wire.connection import ConnectionMonitor
from agent.wire.curve_security import harden_socket, secure_client
from agent.wire.inflow_guard import InflowGuard, InflowLimit
from agent.wire.requests import (
    ChannelRequest,
    FetchReply,
    FetchRequest,
    HelloReply,
    HelloRequest,
    ReplayAction,
    ReplayReply,
    ReplayRequest,
    decode_reply,
    encode_channel_message,
)
from model.errors import FrameError

HELLO_INTERVAL_S = 0.5
GOODBYE_MS = 200
"""How long the last hello may take to leave: longer is of no use to a device that waits for it."""
REPLY_TIMEOUT_S = 1.0
"""A request without a reply is given up after this time, and may be made again."""
CHANNEL_ABSENT_S = 1.0
"""A device that has not answered for this time is taken for one without a backfill channel."""
MOST_UNANSWERED, DEAF_S = 3, 10.0
"""After so many requests for samples without a reply the device is taken to answer none, and asked this much later."""
REPLAY_RETRY_S = 10.0
"""A device that does not say whether it is paused, or that replays nothing, is asked again after this time."""
MOST_REPLAY_REQUESTS = 8
"""The latest requests to a replay, whose replies are taken."""
PAUSE_HOLDS_S = 2.0
"""A device that was paused counts as paused for this time after it has said so last."""
MOST_OPEN_REQUESTS = 32
"""Requests under way at most."""
MOST_REQUESTED_BYTES = 3 * 2**20
"""Bytes of missing samples that are under way at most, unless one request alone asks for more."""
MOST_BED_REQUESTS = 2
"""Requests of one bed, whose runs may change more quickly than replies come."""
MOST_REPLIES_READ = 8
"""Replies taken at once, up to a minute of signal each."""
SPARE_REPLY_BYTES = 3 * 2**18
"""Bytes of replies beyond the missing samples that were requested: a minute in packets of 40 ms has room."""
REPLY_INFLOW = InflowLimit("it sent more than was requested", connection_bytes=MOST_REQUESTED_BYTES + SPARE_REPLY_BYTES)
CLOCK_EXCHANGES = 8
"""The quickest of the latest exchanges gives the offset of the clocks, as in NTP."""


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """A request, the reply of the device, and the frames of the packets that it sent again."""

    request: FetchRequest
    reply: FetchReply
    packets: list[Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class _OpenRequest:
    """A request under way, when it was sent, and about how many bytes it asks for."""

    request: FetchRequest
    sent_s: float
    size: float


class BackfillClient:
    """A DEALER socket. For a device without a backfill channel `replied_s` stays None.

    `replied_s`: when the last reply came. `malformed`: reasons of replies that were dropped, for the caller to take.
    """

    def __init__(
        self, endpoint: str, security: SecurityConfig, context: "zmq.Context[zmq.Socket[bytes]]", guard: InflowGuard
    ) -> None:
        """Raises zmq.ZMQError where the endpoint makes no sense, ConfigError for keys that cannot be used."""
        self.socket = context.socket(zmq.DEALER)
        self._hello_s, self._complete = 0.0, False
        """When hello was said last, and whether nothing was missing then."""
        self._inflow = guard.watch(REPLY_INFLOW, encrypted=bool(security.key))
        self._connection = ConnectionMonitor(self.socket, endpoint, security, inflow=self._inflow)
        try:
            harden_socket(self.socket)
            secure_client(self.socket, security)
            self.socket.set(zmq.SNDHWM, 2 * MOST_OPEN_REQUESTS)
            self.socket.set(zmq.RCVHWM, 2 * MOST_OPEN_REQUESTS)
            self.socket.set(zmq.IPV6, "[" in endpoint)
            self.socket.connect(endpoint)
        except BaseException:
            self.close()
            raise
        # A clock of its own: the time that the loop passes around may be a tick old, and offsets are smaller than that.
        self._clock = SteadyClock()
        self._silence = SilenceWatch(self._connection, f"backfill channel {endpoint}")
        self.replied_s: float | None = None
        self.malformed: list[str] = []
        self._exchanges: deque[tuple[float, float]] = deque(maxlen=CLOCK_EXCHANGES)
        """Round trip and offset of the clocks, both in seconds."""
        self._open: dict[int, _OpenRequest] = {}
        """Requests under way by id."""
        self._unanswered = 0
        """Requests for samples in a row that were not answered in time, the last of them sent at `_fetched_s`."""
        self._fetched_s = 0.0
        self._last_id = 0
        self.replay: ReplayReply | None = None
        """What a device that replays records said last of how it stands, at `replay_s`."""
        self.replay_s = 0.0
        self._replay_asked_s = -REPLAY_RETRY_S
        self._replay_ids: deque[int] = deque(maxlen=MOST_REPLAY_REQUESTS)

    def close(self) -> None:
        """Say goodbye, so that a device that ends does not wait for this monitor, and close the socket."""
        if self._hello_s and not self._complete:
            self._send(self._hello(complete=True))
        self._connection.close()
        self.socket.close(linger=GOODBYE_MS)

    def keep_connected(self, attentive_s: float, now_s: float) -> list[str]:
        """Reconnect after a refusal, damage or silence; to be called ten times a second. Return what is to be reported.

        `attentive_s`: since when replies could have been taken. What the stream's own socket reports as well is left
        out: why a connection is refused.
        """
        was_connected = self._connection.connected
        if self._hello_s:
            self._silence.check(max(self.replied_s or 0.0, attentive_s), now_s)
        troubles = self._connection.read()
        return troubles if was_connected else []

    @property
    def offset_s(self) -> float | None:
        """The device's clock less ours; None until it has answered."""
        return min(self._exchanges)[1] if self._exchanges else None

    @property
    def round_trip_s(self) -> float | None:
        """The quickest of the latest exchanges; None until there is one."""
        return min(self._exchanges)[0] if self._exchanges else None

    def is_answering(self, now_s: float) -> bool:
        """Return whether a reply came lately."""
        return self.replied_s is not None and now_s - self.replied_s < CHANNEL_ABSENT_S

    def say_hello(self, now_s: float, complete: bool) -> None:
        """Say hello where it is due, and at once where `complete` has changed."""
        if now_s - self._hello_s < HELLO_INTERVAL_S and complete == self._complete:
            return
        if self._send(self._hello(complete)):
            self._hello_s = now_s
            self._complete = complete

    def ask_replay(self, action: ReplayAction, value: float, now_s: float) -> bool:
        """Ask a device that replays records to pause, to move, or how it stands; return False where that cannot be."""
        request = ReplayRequest(id=self._next_id(), action=action, value=value)
        if not self._send(request):
            return False
        self._replay_asked_s = now_s
        self._replay_ids.append(request.id)
        return True

    def watch_replay(self, now_s: float) -> None:
        """Ask a silent device whether it is paused: twice a second while it answers, else once in ten seconds."""
        answered = self.replay is not None and self.replay.length and self.replay_s >= self._replay_asked_s
        if now_s - self._replay_asked_s >= (HELLO_INTERVAL_S if answered else REPLAY_RETRY_S):
            self.ask_replay("status", 0.0, now_s)

    def is_paused(self, now_s: float) -> bool:
        """Return whether the device has said lately that it is paused."""
        return self.replay is not None and self.replay.paused and now_s - self.replay_s < PAUSE_HOLDS_S

    def request_samples(self, bed: str, run: str, first: int, stop: int, size: float, now_s: float) -> bool:
        """Request samples `first` to `stop` of a run; return False where that cannot be now.

        `size`: about how many bytes the reply will have; 0 where nothing is known to be missing.
        """
        if len(self._open) >= MOST_OPEN_REQUESTS:
            return False
        if sum(opened.request.bed == bed for opened in self._open.values()) >= MOST_BED_REQUESTS:
            return False
        if self._open and size + self._requested_bytes() > MOST_REQUESTED_BYTES:
            return False
        request = FetchRequest(id=self._next_id(), bed=bed, run=run, first=first, stop=stop)
        if not self._send(request):
            return False
        self._open[request.id] = _OpenRequest(request, now_s, size)
        self._fetched_s = now_s
        self._inflow.allow(SPARE_REPLY_BYTES + max(MOST_REQUESTED_BYTES, self._requested_bytes()))
        return True

    def expire_requests(self, now_s: float) -> list[FetchRequest]:
        """Give up the requests that have waited too long and return them; a reply that still comes is ignored."""
        late = [opened.request for opened in self._open.values() if now_s - opened.sent_s > REPLY_TIMEOUT_S]
        for request in late:
            del self._open[request.id]
        self._unanswered += len(late)
        return late

    def is_deaf(self, now_s: float) -> bool:
        """Return whether the device says hello, and answers no request for samples; every ten seconds one is tried."""
        unheard = self._unanswered >= MOST_UNANSWERED and now_s - self._fetched_s < DEAF_S
        return unheard and self.is_answering(now_s)

    def receive_replies(self, now_s: float) -> list[BackfillResult]:
        """Return the replies that have come. Never waits."""
        results: list[BackfillResult] = []
        for place in range(MOST_REPLIES_READ):
            if not int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:  # costs half of what zmq.Again does
                if place:
                    self._inflow.reset()
                else:
                    self._inflow.note_empty(SPARE_REPLY_BYTES + self._requested_bytes())
                break
            frames = self.socket.recv_multipart(zmq.NOBLOCK)
            self._inflow.credit_frames(sum(map(len, frames)), len(frames))
            try:
                reply, packets = decode_reply(frames)
            except FrameError as error:
                self.malformed.append(str(error))
                continue
            self.replied_s = now_s
            if isinstance(reply, HelloReply):
                self._compare_clocks(reply)
            elif isinstance(reply, ReplayReply):
                if reply.id in self._replay_ids:
                    self.replay, self.replay_s = reply, now_s
            elif (opened := self._open.pop(reply.id, None)) is not None:
                results.append(BackfillResult(opened.request, reply, packets))
                self._unanswered = 0
        return results

    def _compare_clocks(self, reply: HelloReply) -> None:
        back_s = self._clock()
        round_trip_s = (back_s - reply.asked) - (reply.sent - reply.received)
        if 0 <= round_trip_s <= REPLY_TIMEOUT_S:
            self._exchanges.append((round_trip_s, ((reply.received - reply.asked) + (reply.sent - back_s)) / 2))

    def _requested_bytes(self) -> int:
        return round(sum(opened.size for opened in self._open.values()))

    def _hello(self, complete: bool) -> HelloRequest:
        return HelloRequest(id=self._next_id(), sent=self._clock(), complete=complete)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _send(self, request: ChannelRequest) -> bool:
        # Nothing is queued for a device that is not there. ZMQ_IMMEDIATE would do that too, but with it libzmq 4.3 ends
        # the process when a device goes away in the middle of a reply.
        if not self._connection.connected:
            return False
        try:
            self.socket.send(encode_channel_message(request), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
