"""The agent's end of the second socket: says hello, compares the clocks, asks for missed samples."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from agent.core.clock import SteadyClock
from agent.core.config import SecurityConfig
from agent.wire.curve_security import ConnectionMonitor, harden_socket, secure_client
from agent.wire.requests import FetchReply, FetchRequest, HelloReply, HelloRequest, decode_reply, encode_channel_message
from model.errors import FrameError

HELLO_INTERVAL_S = 0.5
REPLY_TIMEOUT_S = 1.0
"""After so long without a reply a request is given up, and may be made again."""
MOST_OPEN_REQUESTS = 32
"""Requests under way at most."""
MOST_BED_REQUESTS = 2
"""... and of one bed, whose runs may change more quickly than answers come."""
MOST_REPLIES_READ = 8
"""Replies taken at once, up to a minute of signal each."""
CLOCK_EXCHANGES = 8
"""Latest exchanges of which the quickest tells the offset of the clocks, as in NTP."""


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """What was asked, what the device said, and the frames of the packets it sent again."""

    asked: FetchRequest
    said: FetchReply
    packets: list[Sequence[bytes]]


class BackfillClient:
    """A DEALER socket. A device that has no second socket is never heard of (`alive`)."""

    def __init__(self, endpoint: str, security: SecurityConfig, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        """Raises zmq.ZMQError where the endpoint makes no sense, ConfigError for keys that cannot be used."""
        self.socket = context.socket(zmq.DEALER)
        self._watcher = ConnectionMonitor(self.socket, endpoint, security)
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
        # Of its own, for the time that the loop passes around may be old by a tick, and clocks are compared closer.
        self._clock = SteadyClock()
        self.heard_s: float | None = None
        self.rejected: list[str] = []
        self._clocks: deque[tuple[float, float]] = deque(maxlen=CLOCK_EXCHANGES)
        self._asked: dict[int, tuple[FetchRequest, float]] = {}
        self._id = 0
        self._hello_s = 0.0
        self._complete = False

    def close(self) -> None:
        """Let go of the socket."""
        self._watcher.close()
        self.socket.close()

    def watch(self) -> None:
        """Make a connection that was refused anew; to be called ten times a second. The link tells why."""
        self._watcher.read()

    @property
    def offset_s(self) -> float | None:
        """The device's clock less ours; None until it has answered."""
        return min(self._clocks)[1] if self._clocks else None

    @property
    def round_trip_s(self) -> float | None:
        """The quickest of the latest exchanges."""
        return min(self._clocks)[0] if self._clocks else None

    def greet(self, now_s: float, complete: bool) -> None:
        """Say hello where it is time to; at once when `complete` has changed."""
        if now_s - self._hello_s < HELLO_INTERVAL_S and complete == self._complete:
            return
        if self._send(HelloRequest(id=self._next_id(), sent=self._clock(), complete=complete)):
            self._hello_s, self._complete = now_s, complete

    def ask(self, bed: str, run: str, first: int, stop: int, now_s: float) -> bool:
        """Ask for samples of a run; False where that is not possible now."""
        of_bed = sum(asked.bed == bed for asked, _ in self._asked.values())
        if len(self._asked) >= MOST_OPEN_REQUESTS or of_bed >= MOST_BED_REQUESTS:
            return False
        request = FetchRequest(id=self._next_id(), bed=bed, run=run, first=first, stop=stop)
        if not self._send(request):
            return False
        self._asked[request.id] = (request, now_s)
        return True

    def expired(self, now_s: float) -> list[FetchRequest]:
        """Requests that have waited too long; an answer that still comes is not taken."""
        late = [asked for asked, sent_s in self._asked.values() if now_s - sent_s > REPLY_TIMEOUT_S]
        for asked in late:
            del self._asked[asked.id]
        return late

    def receive(self, now_s: float) -> list[BackfillResult]:
        """The answers that have come. Malformed ones are dropped and their reasons left in `rejected`."""
        answers: list[BackfillResult] = []
        for _ in range(MOST_REPLIES_READ):
            try:
                said, packets = decode_reply(self.socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                break
            except FrameError as error:
                self.rejected.append(str(error))
                continue
            self.heard_s = now_s
            if isinstance(said, HelloReply):
                self._compare(said)
            elif (asked := self._asked.pop(said.id, None)) is not None:
                answers.append(BackfillResult(asked[0], said, packets))
        return answers

    def _compare(self, said: HelloReply) -> None:
        back_s = self._clock()
        round_trip_s = (back_s - said.asked) - (said.sent - said.received)
        if 0 <= round_trip_s <= REPLY_TIMEOUT_S:
            self._clocks.append((round_trip_s, ((said.received - said.asked) + (said.sent - back_s)) / 2))

    def _next_id(self) -> int:
        self._id += 1
        return self._id

    def _send(self, request: HelloRequest | FetchRequest) -> bool:
        # Nothing is queued for a device that is not there. ZMQ_IMMEDIATE would do that too, but with it libzmq 4.3 ends
        # the process when a device goes away in the middle of a reply.
        if not self._watcher.connected:
            return False
        try:
            self.socket.send(encode_channel_message(request), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
