"""A proxy on TCP that follows ZMTP frames: changes one byte, begins a message that never ends, or refuses everybody."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from benchmarks.attack.raw_zmtp import COMMAND, LONG, MORE, FrameCutter, frame, header_bytes

LEAST_CHANGED = 60
"""Bytes of a frame that is changed: headers, requests and replies have more, names fewer."""
ENDLESS_FRAME = frame(b"e" * 100_000, MORE)
ByteChange = Callable[[bytearray, int], bytes]
"""From a frame, and the length of its header, to what is sent in its place."""


def _flip(place: int, bits: int, in_body: bool = False) -> ByteChange:
    def change(data: bytearray, header: int) -> bytes:
        data[place + header * in_body] ^= bits
        return bytes(data)

    return change


def _add_length(more: int) -> ByteChange:
    def change(data: bytearray, header: int) -> bytes:
        data[header - 1] = (data[header - 1] + more) % 256
        return bytes(data)

    return change


def _make_huge(data: bytearray, _header: int) -> bytes:
    data[1] = 0xFF
    return bytes(data)


BYTE_CHANGES: dict[str, ByteChange] = {
    "more": _flip(0, MORE),
    "long": _flip(0, LONG),
    "command": _flip(0, COMMAND),
    "reserved": _flip(0, 0x80),
    "len+1": _add_length(1),
    "len-1": _add_length(-1),
    "lenhuge": _make_huge,
    "name": _flip(3, 0x20, in_body=True),
    "nonce": _flip(15, 1, in_body=True),
    "mac": _flip(20, 1, in_body=True),
    "drop": lambda _data, _header: b"",
    "twice": lambda data, _header: bytes(data) * 2,
}
"""What becomes of one frame. The places of name, nonce and mac are those in an encrypted frame."""


class FrameProxy:
    """Relays the connections to a port of this machine to another one.

    `change_next(name, up)` changes the next frame in one direction, once; `changed` counts such frames. `begin_endless`
    sends one message of endless frames to the monitor, over one connection, until that breaks or `end_endless`.
    """

    def __init__(self, port: int, target: int) -> None:
        self.changed = 0
        self.endless_bytes = 0
        self._target = target
        self._wanted: dict[bool, ByteChange] = {}
        self._endless = threading.Event()
        self._endless_taken = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=50)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    def change_next(self, name: str, up: bool) -> None:
        """Change the next long frame from the device, or with `up` the next one from the monitor."""
        self._wanted[up] = BYTE_CHANGES[name]

    def begin_endless(self) -> None:
        self._endless.set()

    def end_endless(self) -> None:
        self._endless.clear()

    def refuse(self) -> None:
        """Break all connections and take no more."""
        self._endless.clear()
        for connection in (self._listener, *self._sockets):
            _shut(connection)

    def _accept(self) -> None:
        while True:
            try:
                monitor, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                device = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                monitor.close()
                continue
            self._sockets = [known for known in self._sockets if known.fileno() >= 0] + [monitor, device]
            for source, sink, up in ((monitor, device, True), (device, monitor, False)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._relay, args=(source, sink, up), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        cutter = FrameCutter()
        with contextlib.suppress(OSError):
            while data := source.recv(2**20):
                greeting, frames = cutter.feed(data)
                sink.sendall(greeting + b"".join([self._pass_frame(one, up) for one in frames]))
                whole = bool(frames) and not frames[-1][0] & (MORE | COMMAND)
                if whole and not up and self._endless.is_set() and self._endless_taken.acquire(blocking=False):
                    self._send_endless(sink)
                    break
        _shut(source)
        _shut(sink)

    def _pass_frame(self, data: bytes, up: bool) -> bytes:
        if up not in self._wanted or len(data) < LEAST_CHANGED or data[0] & COMMAND:
            return data
        change = self._wanted.pop(up)
        self.changed += 1
        return change(bytearray(data), header_bytes(data))

    def _send_endless(self, sink: socket.socket) -> None:
        try:
            sink.settimeout(2.0)
            while self._endless.is_set():
                sink.sendall(ENDLESS_FRAME)
                self.endless_bytes += len(ENDLESS_FRAME)
        finally:
            self._endless.clear()
            self._endless_taken.release()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
