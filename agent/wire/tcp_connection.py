"""A TCP connection that belongs to ZeroMQ: what came on it, as Linux counts it, and its end.

ZeroMQ tells the descriptor of a connection and no more. It is borrowed for each question, never kept: a second
descriptor would keep the connection open for the peer.
"""

import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

DROPPED_BYTES, MOST_DROPS = 65_536, 256
"""Bytes that are dropped at once of what a connection still holds when it is cut off, and how often."""
TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
TCP_INFO_BYTES = 136
ACKNOWLEDGED_OFFSET = 120
"""Place in the kernel's `tcp_info` of the bytes that the peer has acknowledged; the bytes that came follow."""


@dataclass(frozen=True, slots=True)
class TcpConnection:
    """A connection by its descriptor and `names`, our address and the peer's: with others it is another connection."""

    fd: int
    family: int
    names: tuple[Any, Any]

    @classmethod
    def of(cls, fd: int) -> Self | None:
        """Return a descriptor as a connection; None where it is not TCP, or has ended, or nothing counts its bytes."""
        if TCP_INFO is None:
            return None
        try:
            borrowed = socket.socket(fileno=fd)
        except OSError:
            return None
        try:
            if borrowed.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            connection = cls(fd, borrowed.family, (borrowed.getsockname(), borrowed.getpeername()))
        except OSError:
            return None
        finally:
            borrowed.detach()
        return connection if connection.read_counters() is not None else None

    def read_counters(self) -> tuple[int, int] | None:
        """Return how many bytes were read from the kernel, and how many the peer acknowledged; None at its end.

        The former is a few too many where more comes meanwhile, so that it may be less the next time.
        """
        unread = self.count_unread()
        try:
            with self._borrow() as borrowed:
                if (borrowed.getsockname(), borrowed.getpeername()) != self.names:
                    return None
                info = borrowed.getsockopt(socket.IPPROTO_TCP, TCP_INFO or 0, TCP_INFO_BYTES)
        except OSError:
            return None
        if len(info) < TCP_INFO_BYTES:
            return None
        acknowledged, received = struct.unpack_from("=QQ", info, ACKNOWLEDGED_OFFSET)
        return received - unread, acknowledged

    def count_unread(self) -> int:
        """Return the bytes that came and that the kernel still holds; 0 where the connection has ended."""
        try:
            return int.from_bytes(fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    def shut_down(self) -> None:
        """End the connection, if it still is the one with this descriptor; ZeroMQ notices, and closes it."""
        try:
            with self._borrow() as borrowed:
                if (borrowed.getsockname(), borrowed.getpeername()) != self.names:
                    return
                borrowed.shutdown(socket.SHUT_RDWR)
                for _ in range(MOST_DROPS):  # else ZeroMQ would still read it
                    if not borrowed.recv(DROPPED_BYTES, socket.MSG_DONTWAIT):
                        break
        except OSError:  # it has ended by itself
            pass

    @contextmanager
    def _borrow(self) -> Iterator[socket.socket]:
        borrowed = socket.socket(self.family, socket.SOCK_STREAM, 0, self.fd)
        try:
            yield borrowed
        finally:
            borrowed.detach()
