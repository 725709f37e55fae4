"""Datagrams of UDP as lines: one or more in each, whole. They come in no sure order, and nobody reports a lost one."""

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable

from model.errors import ConfigError, SourceError

LARGEST_DATAGRAM = 65_535
MOST_BYTES = 2**18
"""Bytes taken in one reading."""
RELEASE_S = 5.0
"""After this silence of the sender another one is heard."""
BIND_ERRORS = {
    errno.EADDRINUSE: "another program listens there: close it, or choose another port",
    errno.EADDRNOTAVAIL: "that is no address of this machine",
    errno.EACCES: "this user may not listen there: choose a port above 1023",
}


class DatagramSocket:
    """The datagrams that come to `place`, a port or HOST:PORT, from one sender at a time."""

    is_over = False

    def __init__(self, place: str, now: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError for a place that is none."""
        host, _, port = place.rpartition(":")
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
            raise ConfigError(f"udp:{place} makes no sense: give a port from 1 to 65535, such as udp:5005")
        self.name = f"udp:{place}"
        self._address, self._now = (host.strip("[]"), int(port)), now
        self._socket: socket.socket | None = None
        self._sender = ""
        self._heard_s = 0.0
        self._strangers: set[str] = set()

    def open(self) -> None:
        """Listen. Raises SourceError, with what to do."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.bind((host, port))
        except OSError as error:
            opened.close()
            reason = BIND_ERRORS.get(error.errno or 0, error.strerror or str(error))
            raise SourceError(f"cannot listen at {self.name}: {reason}") from error
        opened.setblocking(False)
        self._socket = opened

    def read(self, timeout_s: float) -> bytes:
        """Return the datagrams that have come, each ended by an end of line."""
        assert self._socket is not None
        if not select.select([self._socket], [], [], timeout_s)[0]:
            return b""
        parts: list[bytes] = []
        size = 0
        with contextlib.suppress(OSError):  # nothing more is there
            while size < MOST_BYTES:
                data, sender = self._socket.recvfrom(LARGEST_DATAGRAM)
                if self._is_heard(sender[0]):
                    parts += data, b"\n"
                    size += len(data)
        return b"".join(parts)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def remark(self) -> str:
        """Say who is not heard."""
        if not self._strangers:
            return ""
        return f"only {self._sender} is heard, not {', '.join(sorted(self._strangers)[:3])}"

    def _is_heard(self, sender: str) -> bool:
        now_s = self._now()
        if sender != self._sender:
            if self._sender and now_s - self._heard_s < RELEASE_S:
                if len(self._strangers) < 100:
                    self._strangers.add(sender)
                return False
            self._sender = sender
            self._strangers.clear()
        self._heard_s = now_s
        return True
