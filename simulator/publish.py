"""The device's end of the wire: a ZeroMQ XPUB socket that knows its subscribers."""

import errno
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import zmq

from model.errors import EndpointError

QUEUE = 4096
"""Packets that wait for one subscriber at most, about a megabyte."""
PATIENCE_MS = 100
"""How long a lossless `send` waits for room before it lets the caller look around."""
LINGER_S = 30.0
"""How long `close` waits for a subscriber that is slower than the stream to take the last packets."""

REASONS = {
    errno.EADDRINUSE: "is in use: another simulator running? Choose another one with --endpoint",
    errno.EADDRNOTAVAIL: "is not an address of this machine: try tcp://127.0.0.1:5555",
    errno.ENODEV: "is not an address of this machine: try tcp://127.0.0.1:5555",
    errno.EACCES: "may not be bound by this user: choose a port above 1023 with --endpoint",
    errno.EINVAL: "is malformed: write it like tcp://127.0.0.1:5555",
    errno.EPROTONOSUPPORT: "names a transport that is not supported: write it like tcp://127.0.0.1:5555",
}


class Publisher:
    """Sends messages to whoever subscribes to their bed.

    Real time (`lossless` False): a subscriber that falls more than `queue` packets behind loses packets, and the device
    is never held up. `lossless`: nothing is lost on the way to a live subscriber; instead `send` has to be repeated
    until the slowest one has made room.

    `endpoint`: where it is bound, with the port that was chosen for `tcp://127.0.0.1:*`. `linger_s`: see `close`.
    """

    def __init__(self, endpoint: str, lossless: bool, queue: int = QUEUE) -> None:
        """Raises EndpointError where the endpoint cannot be bound."""
        self.linger_s = LINGER_S if lossless else 1.0
        self._topics: Counter[bytes] = Counter()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, queue)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # tells of every subscription, so that they can be counted
        self._socket.setsockopt(zmq.IPV6, "[" in endpoint)
        # Plain integers, and no send_multipart: its checks cost as much as the sending.
        self._last = 0 if lossless else int(zmq.NOBLOCK)
        self._more = self._last | int(zmq.SNDMORE)
        if lossless:
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
            self._socket.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
        try:
            if not _port_exists(endpoint):
                raise zmq.ZMQError(errno.EINVAL)
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise EndpointError(f"endpoint {endpoint} {REASONS.get(error.errno or 0, f'fails: {error}')}") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send one message. False, after 100 ms, where a lossless subscriber has no room: nothing was sent then."""
        *rest, last = frames
        try:
            for frame in rest:
                self._socket.send(frame, self._more)
            self._socket.send(last, self._last)
        except zmq.Again:  # for the first frame only: ZeroMQ takes a message as a whole
            return False
        return True

    def subscribers(self, bed: str) -> int:
        """Subscriptions that a bed's messages reach right now; they are prefixes of its name."""
        self._listen()
        name = bed.encode()
        return sum(count for topic, count in self._topics.items() if name.startswith(topic))

    def close(self) -> None:
        """Give the last packets `linger_s` seconds to leave, then close."""
        self._context.destroy(linger=round(self.linger_s * 1000))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        """Take note of who subscribed (1, topic) and unsubscribed (0, topic) since the last call."""
        while self._socket.poll(0, zmq.POLLIN):
            message = self._socket.recv()
            change, topic = message[:1], message[1:]
            if change == b"\x01":
                self._topics[topic] += 1
            elif change == b"\x00":
                self._topics[topic] -= 1
                self._topics += Counter()  # forgets what is no longer subscribed


def _port_exists(endpoint: str) -> bool:
    """False for a TCP port above 65535, which ZeroMQ would quietly bind to another one."""
    port = endpoint.rpartition(":")[2]
    return not (endpoint.startswith("tcp://") and port.isdecimal() and int(port) > 65_535)
