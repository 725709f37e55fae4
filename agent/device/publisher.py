"""The device's end of the wire: an XPUB socket that counts its subscribers, and the ROUTER of the backfill channel."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import inf
from types import TracebackType
from typing import Self

import zmq

from agent.core.config import Config
from agent.core.messages import Chunk, End
from agent.device.backfill_server import REPLIES_AHEAD, REQUEST_INFLOW, BackfillServer, ReplayHandler
from agent.device.bundle_writer import BundleWriter, P, send_each
from agent.device.sent_buffer import SentBuffer
from agent.wire.bundles import BUNDLE_TOPIC
from agent.wire.curve_security import ServerAuthenticator, check_endpoint, harden_socket
from agent.wire.endpoint_errors import endpoint_refusal
from agent.wire.inflow_guard import InflowLimit, SocketInflow
from agent.wire.packets import LARGEST_NAME_BYTES
from agent.wire.requests import backfill_endpoint
from model.errors import EndpointError

SEND_TIMEOUT_MS = 100
"""How long a lossless `send` waits for room before it returns to the caller."""
LINGER_S = 30.0
"""How long `close` waits for a subscriber that is slower than the stream, or still misses something."""
SHORT_LINGER_S = 5.0
"""The same in real time, where no subscriber delays the stream."""
SUBSCRIPTION_INFLOW = InflowLimit(
    "it sent more than a monitor has to subscribe to",
    connection_bytes=512 * 1024,
    total_bytes=1024 * 1024,
    refill_bytes_s=128.0,
    shared_bytes=64 * 1024,
    renewed_bytes_s=32 * 1024,
)
"""ZeroMQ keeps 64 bytes for every byte of a subscription. A monitor that names 4,096 beds of 64 bytes sends 450 KB with
keys; 512 KiB in the longest names cost 33 MB, and 1 MiB of all monitors 66 MB. Heartbeats of other programs, a few
bytes a second, are forgiven; subscriptions only when they are taken back. Whoever connects again and again costs time:
ZeroMQ searches all it keeps when a monitor leaves. So one monitor at a time may subscribe to thousands of beds; another
that is cut off meanwhile succeeds some seconds later."""
SUBSCRIPTION_COST = 48
"""Bytes that a subscription counts in addition to its name: short names cost time and memory too."""
MOST_TOPICS = 65_536
"""Subscriptions that are remembered."""
CHANGES_PER_CALL = 1000
"""Changes of subscriptions that are read at once."""
READ_CHANGES_S = 0.02
"""How often they are read while packets are sent: ZeroMQ keeps any number of them until then."""
DESCRIBE_S = 1.0
"""Pause between two descriptions of all runs; meanwhile there are no bundles for whoever asks again."""
LEAST_QUEUE = 100
"""Messages that wait for a subscriber, however many beds are in each."""
BIND_ATTEMPTS = 20
"""How often to look for a port whose neighbour is free, where any port will do."""

_WatchedSocket = tuple["zmq.Socket[bytes]", SocketInflow]


class PacketPublisher:
    """Sends messages to the subscribers of their bed, keeps the last minutes and sends them again on request.

    Real time (`lossless` False): a subscriber that falls too far behind loses packets, and the device is never delayed.
    `lossless`: nothing is lost on the way to a live subscriber; instead `send` has to be repeated until the slowest one
    has made room.

    `endpoint`: where it is bound, with the port that was chosen for `tcp://127.0.0.1:*`. `linger_s`: see `close`.
    """

    def __init__(
        self,
        config: Config,
        lossless: bool,
        unix: Callable[[], float] = time.time,
        replay: ReplayHandler | None = None,
    ) -> None:
        """`replay`: answers requests to pause or to move, in another thread; None refuses them.

        Raises EndpointError where an endpoint cannot be bound, ConfigError for one not allowed without keys.
        """
        link = config.link
        for endpoint in (link.endpoint, backfill_endpoint(link.endpoint, link.service)):
            check_endpoint(endpoint, config.security, bind=True)
        self.linger_s = LINGER_S if lossless else SHORT_LINGER_S
        self._topics: Counter[bytes] = Counter()
        self._changes_read_s = 0.0
        self._writer = BundleWriter() if link.bundles else None
        self._described_s = -inf
        self._describe = False
        """Whether a monitor is there that knows bundles, and none of the runs."""
        self._queue, self._beds_together = link.buffer_packets, 1
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        # Plain integers, and no send_multipart: its checks cost as much as the sending.
        self._last = 0 if lossless else int(zmq.NOBLOCK)
        self._more = self._last | int(zmq.SNDMORE)
        try:
            self._authenticator = ServerAuthenticator(self._context, config.security)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        try:
            (self._socket, self._inflow), router = self._bind_pair(
                link.endpoint, link.service, link.buffer_packets, lossless
            )
        except BaseException:
            self._destroy(0)
            raise
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        # The method below zmq.Socket.send: the options of the latter are a third of its cost, and not needed here.
        self._put = super(zmq.Socket, self._socket).send
        self._sent = SentBuffer(config.simulate.keep_s)
        self._backfill = BackfillServer(*router, self._sent, unix, replay)

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send one message. Return False, after 100 ms, where a lossless subscriber has no room: nothing was sent."""
        if (now_s := time.monotonic()) - self._changes_read_s >= READ_CHANGES_S:
            self._changes_read_s = now_s
            self._read_subscriptions()
        put, more = self._put, self._more
        *rest, last = frames
        try:
            for frame in rest:
                put(frame, more)
            put(last, self._last)
        except zmq.Again:  # for the first frame only: ZeroMQ takes a message as a whole
            return False
        return True

    def send_packets(self, packets: Sequence[P], sent_s: float) -> list[P]:
        """Send what is due together; return what has no room, for a lossless subscriber.

        Where every subscriber knows bundles, one message holds the packets of many beds.
        """
        settled = self._read_subscriptions()
        writer = self._writer
        if writer is None or not settled or not self._may_bundle(writer):
            self._limit_queue(0)
            return send_each(self.send, packets, sent_s)
        messages = list(writer.write(packets, sent_s))
        self._limit_queue(max(len(message.packets) for message in messages))
        while (description := writer.descriptions()) is not None:
            if not self.send(description):
                return list(packets)
            writer.note_described()
        for place, message in enumerate(messages):
            if not self.send(message.frames):
                return [packet for left in messages[place:] for packet in left.packets]
        return []

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        """Keep what was sent; see `agent.device.sent_buffer`."""
        self._sent.keep(message, stop, sent_s)

    def subscribed(self, beds: Iterable[str]) -> int:
        """Return how many of the beds have a subscriber."""
        self._read_subscriptions()
        topics = tuple(self._topics)
        return sum(bed.encode().startswith(topics) for bed in beds)

    def subscribers(self, bed: str) -> int:
        """Return how many subscriptions, which are prefixes of bed names, a bed's messages reach right now."""
        self._read_subscriptions()
        name = bed.encode()
        return sum(count for topic, count in self._topics.items() if name.startswith(topic))

    def refusals(self) -> list[str]:
        """Return who was not admitted, or not answered, since the last call, in words."""
        return self._backfill.refusals() + self._authenticator.read()

    @property
    def awaited(self) -> bool:
        """Whether a monitor is there that has not got everything yet."""
        return self._backfill.awaited

    def close(self) -> None:
        """Wait up to `linger_s` seconds for the last packets and for monitors that still miss some, then close."""
        until_s = time.monotonic() + self.linger_s
        while self._backfill.awaited and time.monotonic() < until_s:
            time.sleep(0.02)
        self._backfill.close()
        self._destroy(round(1000 * max(0.0, until_s - time.monotonic())))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind_pair(
        self, endpoint: str, service: str, queue: int, lossless: bool
    ) -> "tuple[_WatchedSocket, _WatchedSocket]":
        for _ in range(BIND_ATTEMPTS):
            publisher, router = self._context.socket(zmq.XPUB), self._context.socket(zmq.ROUTER)
            publisher.set(zmq.SNDHWM, queue)
            publisher.set(zmq.XPUB_VERBOSER, 1)  # reports every subscription, so that they can be counted
            if lossless:
                publisher.set(zmq.XPUB_NODROP, 1)
                publisher.set(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
            router.set(zmq.SNDHWM, REPLIES_AHEAD)
            router.set(zmq.ROUTER_MANDATORY, 1)  # says where a reply has no room, instead of dropping it
            wildcard = endpoint.endswith(":*")
            try:
                subscriptions = self._bind_socket(publisher, endpoint, SUBSCRIPTION_INFLOW)
                bound = publisher.getsockopt_string(zmq.LAST_ENDPOINT)
                requests = self._bind_socket(router, backfill_endpoint(bound, service), REQUEST_INFLOW)
            except EndpointError:
                publisher.close(linger=0)
                router.close(linger=0)
                if not wildcard:
                    raise
                continue
            return (publisher, subscriptions), (router, requests)
        raise EndpointError(f"endpoint {endpoint}: no two free ports in a row: choose one with --endpoint")

    def _bind_socket(self, socket: "zmq.Socket[bytes]", endpoint: str, limit: InflowLimit) -> SocketInflow:
        harden_socket(socket)
        inflow = self._authenticator.secure(socket, limit)
        socket.set(zmq.IPV6, "[" in endpoint)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise EndpointError(endpoint_refusal(endpoint, error)) from error
        return inflow

    def _destroy(self, linger_ms: int) -> None:
        self._authenticator.close()
        self._context.destroy(linger=linger_ms)

    def _may_bundle(self, writer: BundleWriter) -> bool:
        """Return whether every monitor follows all beds and knows bundles; then those of them know the runs, or will.

        A monitor of version 1 gets nothing but messages of version 1.
        """
        topics = self._topics
        if len(topics) != 2 or topics.get(b"", 0) != topics.get(BUNDLE_TOPIC):
            return False
        if self._describe:
            now_s = time.monotonic()
            if now_s - self._described_s < DESCRIBE_S:
                return False
            self._describe, self._described_s = False, now_s
            writer.describe_all()
        return True

    def _limit_queue(self, beds: int) -> None:
        """Let no more wait for a subscriber in messages of so many beds than in packets; of 0 as many as there are."""
        if beds > self._beds_together or (not beds and self._beds_together > 1):
            self._beds_together = max(1, beds)
            self._socket.set(zmq.SNDHWM, max(min(self._queue, LEAST_QUEUE), self._queue // self._beds_together))

    def _read_subscriptions(self) -> bool:
        """Count who subscribed (1, topic) and unsubscribed (0, topic) since the last call; return False if more did."""
        for _ in range(CHANGES_PER_CALL):
            try:
                frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return True
            message = frame.bytes
            change, topic = message[:1], message[1:]
            if change == b"\x01":
                self._note_kept(frame, len(message) + SUBSCRIPTION_COST)
                self._describe |= topic == BUNDLE_TOPIC
                if len(topic) <= LARGEST_NAME_BYTES and (topic in self._topics or len(self._topics) < MOST_TOPICS):
                    self._topics[topic] += 1
            elif change == b"\x00":
                self._note_kept(frame, -len(message) - SUBSCRIPTION_COST)
                if topic in self._topics:
                    self._topics[topic] -= 1
                    if not self._topics[topic]:
                        del self._topics[topic]
        return False

    def _note_kept(self, frame: zmq.Frame, count: int) -> None:
        """Note how much of what a monitor sent stays in memory as long as its connection."""
        with contextlib.suppress(zmq.ZMQError):  # the connection has ended, or is not TCP: then it has no descriptor
            self._inflow.keep(int(frame.get(zmq.SRCFD)), count)
