"""A link whose sockets are queues in this process: thousands of monitors a second, and the same ones each time."""

import struct
from collections import deque
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import zmq

from agent.core.config import Config
from agent.link.link_receiver import LinkReceiver

CONNECTED = [struct.pack("=hi", zmq.EVENT_HANDSHAKE_SUCCEEDED, 0), b"queue"]
"""What ZeroMQ reports of a socket whose handshake is done."""


class QueuedFrame:
    """A received frame, as pyzmq gives it."""

    __slots__ = ("bytes", "more")

    def __init__(self, content: bytes, more: bool) -> None:
        self.bytes, self.more = content, more


class QueueSocket:
    """As much of `zmq.Socket` as a link uses. `arrived`: messages to be received; `sent`: those that were sent."""

    closed = False

    def __init__(self, context: "QueueContext", kind: int) -> None:
        self.context, self.type = context, kind
        self.arrived: deque[Sequence[bytes]] = deque([CONNECTED] if kind == zmq.PAIR else [])
        self.sent: deque[bytes] = deque()
        self._frames: deque[QueuedFrame] = deque()

    def recv(self, _flags: int = 0, copy: bool = True) -> Any:
        """Return the next frame of a message. Raises zmq.Again if there is none."""
        if not self._frames:
            frames = self._next()
            self._frames.extend(QueuedFrame(frame, i + 1 < len(frames)) for i, frame in enumerate(frames))
        frame = self._frames.popleft()
        return frame.bytes if copy else frame

    def recv_multipart(self, _flags: int = 0, copy: bool = True) -> list[Any]:
        """Return the next message. Raises zmq.Again if there is none."""
        frames = self._next()
        return list(frames) if copy else [QueuedFrame(frame, i + 1 < len(frames)) for i, frame in enumerate(frames)]

    def send(self, frame: bytes, _flags: int = 0) -> None:
        self.sent.append(frame)

    def poll(self, _timeout: int = 0) -> int:
        """Return whether a message has arrived."""
        return int(bool(self.arrived))

    def get(self, _option: int) -> int:
        return 0

    def getsockopt(self, option: int) -> int:
        """Return whether a message has arrived, as `zmq.EVENTS` says it; 0 of all else."""
        return zmq.POLLIN if option == zmq.EVENTS and self.arrived else 0

    def _ignore(self, *_: Any) -> None:
        """Do nothing: options, addresses and subscriptions mean nothing to a queue."""

    set = setsockopt = subscribe = unsubscribe = connect = disconnect = monitor = _ignore  # the names of zmq.Socket

    def close(self, *_: Any) -> None:
        self.closed = True

    def _next(self) -> Sequence[bytes]:
        if not self.arrived:
            raise zmq.Again
        return self.arrived.popleft()


class QueueContext:
    """Makes queues for sockets and keeps the stream's and the backfill channel's."""

    def __init__(self) -> None:
        self.sockets: dict[int, QueueSocket] = {}

    def socket(self, kind: int) -> QueueSocket:
        """Return a new socket."""
        self.sockets[kind] = QueueSocket(self, kind)
        return self.sockets[kind]


def open_queued_link(settings: Config, beds: Sequence[str] = ()) -> tuple[LinkReceiver, QueueSocket, QueueSocket]:
    """Return a link to these beds, or all, the queue of its stream, and that of its backfill channel."""
    context = QueueContext()
    with patch.object(zmq.Context, "instance", lambda: context):
        link = LinkReceiver(settings, beds)
    return link, context.sockets[zmq.SUB], context.sockets[zmq.DEALER]
