"""The device's end of the wire: an XPUB socket that knows its subscribers, and beside it a ROUTER that answers."""

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

import zmq

from agent.core.config import Config
from agent.core.messages import Chunk, End
from agent.wire.curve_security import ServerAuthenticator, check_endpoint, harden_socket
from agent.wire.requests import backfill_endpoint
from model.errors import EndpointError
from simulator.backfill_server import BackfillServer
from simulator.sent_buffer import SentBuffer

SEND_TIMEOUT_MS = 100
"""How long a lossless `send` waits for room before it lets the caller look around."""
LINGER_S = 30.0
"""How long `close` waits for a subscriber that is slower than the stream, or still misses something."""
SHORT_LINGER_S = 5.0
MOST_REPLIES = 32
"""Replies that wait for one monitor at most."""
MOST_TOPICS, CHANGES_PER_CALL = 65_536, 1000
"""Subscriptions that are remembered, and changes of them that are taken note of at once."""
BIND_ATTEMPTS = 20
"""How often a port whose neighbour is free is looked for, where any port will do."""

BIND_ERRORS = {
    errno.EADDRINUSE: "is in use: another simulator running? Choose another one with --endpoint",
    errno.EADDRNOTAVAIL: "is not an address of this machine: try tcp://127.0.0.1:5555",
    errno.ENODEV: "is not an address of this machine: try tcp://127.0.0.1:5555",
    errno.EACCES: "may not be bound by this user: choose a port above 1023 with --endpoint",
    errno.EINVAL: "is malformed: write it like tcp://127.0.0.1:5555",
    errno.EPROTONOSUPPORT: "names a transport that is not supported: write it like tcp://127.0.0.1:5555",
}


class PacketPublisher:
    """Sends messages to whoever subscribes to their bed, keeps the last minutes and sends them again when asked.

    Real time (`lossless` False): a subscriber that falls too far behind loses packets, and the device is never held up.
    `lossless`: nothing is lost on the way to a live subscriber; instead `send` has to be repeated until the slowest one
    has made room.

    `endpoint`: where it is bound, with the port that was chosen for `tcp://127.0.0.1:*`. `linger_s`: see `close`.
    """

    def __init__(self, config: Config, lossless: bool, unix: Callable[[], float] = time.time) -> None:
        """Raises EndpointError where an endpoint cannot be bound, ConfigError for one not allowed without keys."""
        link = config.link
        for endpoint in (link.endpoint, backfill_endpoint(link.endpoint, link.service)):
            check_endpoint(endpoint, config.security, bind=True)
        self.linger_s = LINGER_S if lossless else SHORT_LINGER_S
        self._topics: Counter[bytes] = Counter()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._guard: ServerAuthenticator | None = None
        # Plain integers, and no send_multipart: its checks cost as much as the sending.
        self._last = 0 if lossless else int(zmq.NOBLOCK)
        self._more = self._last | int(zmq.SNDMORE)
        try:
            self._guard = ServerAuthenticator(self._context, config.security)
            self._socket, router = self._bind(link.endpoint, link.service, link.buffer_packets, lossless)
        except BaseException:
            self._shut(0)
            raise
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        # What stands below zmq.Socket.send, whose options nobody asks for here: they are a third of its cost.
        self._put = super(zmq.Socket, self._socket).send
        self._memory = SentBuffer(config.simulate.keep_s)
        self._service = BackfillServer(router, self._memory, unix)

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send one message. False, after 100 ms, where a lossless subscriber has no room: nothing was sent then."""
        put, more = self._put, self._more
        *rest, last = frames
        try:
            for frame in rest:
                put(frame, more)
            put(last, self._last)
        except zmq.Again:  # for the first frame only: ZeroMQ takes a message as a whole
            return False
        return True

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        """Remember what was sent; see `simulator.sent_buffer`."""
        self._memory.keep(message, stop, sent_s)

    def subscribed(self, beds: Iterable[str]) -> int:
        """How many of the beds somebody listens to."""
        self._listen()
        topics = tuple(self._topics)
        return sum(bed.encode().startswith(topics) for bed in beds)

    def subscribers(self, bed: str) -> int:
        """Subscriptions that a bed's messages reach right now; they are prefixes of its name."""
        self._listen()
        name = bed.encode()
        return sum(count for topic, count in self._topics.items() if name.startswith(topic))

    def refusals(self) -> list[str]:
        """Who was not let in, or not answered, since the last call, in words."""
        return self._service.refusals() + (self._guard.read() if self._guard is not None else [])

    @property
    def awaited(self) -> bool:
        """Whether a monitor is there that has not got everything yet."""
        return self._service.awaited

    def close(self) -> None:
        """Give the last packets, and monitors that still miss some, `linger_s` seconds, then close."""
        until_s = time.monotonic() + self.linger_s
        while self._service.awaited and time.monotonic() < until_s:
            time.sleep(0.02)
        self._service.close()
        self._shut(round(1000 * max(0.0, until_s - time.monotonic())))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind(
        self, endpoint: str, service: str, queue: int, lossless: bool
    ) -> "tuple[zmq.Socket[bytes], zmq.Socket[bytes]]":
        for _ in range(BIND_ATTEMPTS):
            publisher, router = self._context.socket(zmq.XPUB), self._context.socket(zmq.ROUTER)
            publisher.set(zmq.SNDHWM, queue)
            publisher.set(zmq.XPUB_VERBOSER, 1)  # tells of every subscription, so that they can be counted
            if lossless:
                publisher.set(zmq.XPUB_NODROP, 1)
                publisher.set(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
            router.set(zmq.SNDHWM, MOST_REPLIES)
            wildcard = endpoint.endswith(":*")
            try:
                self._bind_one(publisher, endpoint)
                bound = publisher.getsockopt_string(zmq.LAST_ENDPOINT)
                self._bind_one(router, backfill_endpoint(bound, service))
            except EndpointError:
                publisher.close(linger=0)
                router.close(linger=0)
                if not wildcard:
                    raise
                continue
            return publisher, router
        raise EndpointError(f"endpoint {endpoint}: no two free ports in a row: choose one with --endpoint")

    def _bind_one(self, socket: "zmq.Socket[bytes]", endpoint: str) -> None:
        harden_socket(socket)
        if self._guard is not None:
            self._guard.secure(socket)
        socket.set(zmq.IPV6, "[" in endpoint)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise EndpointError(
                f"endpoint {endpoint} {BIND_ERRORS.get(error.errno or 0, f'fails: {error}')}"
            ) from error

    def _shut(self, linger_ms: int) -> None:
        if self._guard is not None:
            self._guard.close()
        self._context.destroy(linger=linger_ms)

    def _listen(self) -> None:
        """Take note of who subscribed (1, topic) and unsubscribed (0, topic) since the last call."""
        for _ in range(CHANGES_PER_CALL):
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            change, topic = message[:1], message[1:]
            if change == b"\x01":
                if topic in self._topics or len(self._topics) < MOST_TOPICS:
                    self._topics[topic] += 1
            elif change == b"\x00" and topic in self._topics:
                self._topics[topic] -= 1
                if not self._topics[topic]:
                    del self._topics[topic]
