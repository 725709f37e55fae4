"""ZMTP 3 by hand, without a library: frames cut from a stream of bytes, and a client that may send anything."""

import socket
import struct

GREETING_BYTES = 64
GREETING = (b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL").ljust(GREETING_BYTES, b"\0")
MORE, LONG, COMMAND = 1, 2, 4
"""Flags of a frame."""
CONNECT_S = 3.0


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return a frame with its header."""
    if len(body) < 256 and not flags & LONG:
        return bytes((flags, len(body))) + body
    return struct.pack(">BQ", flags | LONG, len(body)) + body


def header_bytes(data: bytes) -> int:
    """Return the length of the header of the frame that `data` begins with."""
    return 9 if data[0] & LONG else 2


class FrameCutter:
    """Cuts the bytes of one direction of a connection into the greeting, in pieces as it comes, and whole frames."""

    def __init__(self) -> None:
        self._greeting_left = GREETING_BYTES
        self._rest = b""

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """Take bytes; return those of the greeting, and the frames that are complete."""
        greeting, data = data[: self._greeting_left], data[self._greeting_left :]
        self._greeting_left -= len(greeting)
        rest, frames, at = self._rest + data, [], 0
        while len(rest) - at >= 2:
            size = header_bytes(rest[at : at + 1])
            if len(rest) - at < size:
                break
            size += struct.unpack_from(">Q", rest, at + 1)[0] if size == 9 else rest[at + 1]
            if len(rest) - at < size:
                break
            frames.append(rest[at : at + size])
            at += size
        self._rest = rest[at:]
        return greeting, frames


def connect_tcp(port: int) -> socket.socket:
    """Return a connection to a port of this machine. Raises OSError."""
    return socket.create_connection(("127.0.0.1", port), CONNECT_S)


def connect_zmtp(port: int, kind: bytes) -> socket.socket:
    """Return a connection as a socket of a `kind` such as b"SUB", its handshake without keys done. Raises OSError."""
    connection = connect_tcp(port)
    connection.sendall(GREETING)
    wanted = GREETING_BYTES
    while wanted and (part := connection.recv(wanted)):
        wanted -= len(part)
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    connection.sendall(frame(ready, COMMAND))
    connection.recv(1000)
    return connection
