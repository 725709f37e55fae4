"""Bounds the memory that a peer can fill: a thread cuts off connections that brought more than the program takes.

The high-water mark of ZeroMQ counts whole messages. The frames of a message that never ends, and what an XPUB socket is
told upstream, are counted by nobody, and no reader sees them. But Linux says of every TCP connection how many bytes
came. What was read from the kernel less what the program has taken is what waits in memory: where that passes a limit,
the connection is shut down, and ZeroMQ drops its half message with it.

Connections that are not TCP, and systems other than Linux, are not watched.
"""

import contextlib
import ctypes
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event, Lock, Thread

from agent.wire.tcp_connection import TcpConnection

CHECK_S, BUSY_CHECK_S = 0.05, 0.005
"""Pauses between two checks, the short one while much comes. libzmq takes some 300 MB/s from a connection, so that
about 15 MB come before the first check; a check takes 3 us for each connection."""
FEW_CHECK_S = 0.1
"""The longer one of a monitor, which has two connections and made both: to wake up is what its checks cost."""
BUSY_SHARE = 1 / 16
"""Much is this share of what a connection may bring."""
SPARE_BYTES = 4096
"""What a connection may bring even when others have used up what all may bring: a handshake and some subscriptions."""
GIVE_BACK_S = 1.0
"""Pause between two times that memory is given back to the system, up to twice this time after a connection was cut
off: ZeroMQ has dropped what it left by then."""
SHORT_HEADER_BYTES, LONG_HEADER_BYTES, LONGEST_SHORT_FRAME = 2, 9, 255
"""ZMTP puts these before a frame; the long one before those of more than 255 bytes."""
FRAME_MEMORY_BYTES = 64
"""Memory that ZeroMQ takes for a frame, however small."""
CURVE_FRAME_BYTES = 33
"""Bytes that CURVE adds to a frame."""
MOST_REPORTS = 64
"""Connections that were cut off and are not yet reported, at most."""


@dataclass(frozen=True, slots=True)
class InflowLimit:
    """What the connections of one socket may bring before they are cut off, with the `reason` that is reported.

    `connection_bytes`: waiting bytes of one connection; `total_bytes`: of all together, where the one with most is cut
    off; `refill_bytes_s`: bytes a second of each connection that nobody takes and that are forgiven, such as
    heartbeats; `most_connections`: the next one is cut off at once.

    `shared_bytes` at once and `renewed_bytes_s` in the long run are what all connections may bring together, whether it
    is taken or not, so that it is of no use to connect again; one of them may bring up to `connection_bytes` at once.
    """

    reason: str
    connection_bytes: int
    total_bytes: float = math.inf
    refill_bytes_s: float = 0.0
    most_connections: float = math.inf
    shared_bytes: float = math.inf
    renewed_bytes_s: float = 0.0


@dataclass(slots=True)
class _WatchedConnection:
    """A connection: `arrived` bytes came and were read from the kernel, `waiting` of them have not been taken."""

    tcp: TcpConnection
    arrived: int = 0
    acknowledged: int = 0
    waiting: float = 0.0
    kept: int = 0
    """Bytes that stay in memory: `waiting` never falls below."""
    recent: float = 0.0
    """Bytes that came, less `renewed_bytes_s` a second."""
    is_cut: bool = False


@dataclass(slots=True)
class _TakenBytes:
    """What was taken from a connection since the last check."""

    count: int = 0
    kept: int = 0
    everything: bool = False
    message_bytes: float = math.inf
    """What the message may have that is under way, where no other waits."""


class SocketInflow:
    """What came on the connections of one socket and has not been taken. Any thread may call any method.

    Connections are named by their descriptor, which is the value of ZeroMQ's events EVENT_ACCEPTED and EVENT_CONNECTED
    and `frame.get(zmq.SRCFD)` of a received frame. One that is not known is ignored.
    """

    def __init__(
        self,
        limit: InflowLimit,
        read_events: Callable[["SocketInflow"], None] | None = None,
        opened: Callable[[], None] = lambda: None,
        encrypted: bool = False,
    ) -> None:
        """`read_events`: called before every check in the guard's thread, to open and close connections.

        `opened`: called when a connection is watched, to begin the checks. `encrypted`: see `credit_frames`.
        """
        self._limit = limit
        self._connection_bytes: float = limit.connection_bytes
        self._opened = opened
        self._frame_bytes = SHORT_HEADER_BYTES + CURVE_FRAME_BYTES * encrypted
        self._read_events = read_events
        self._connections: dict[int, _WatchedConnection] = {}
        self._notes: defaultdict[int | None, _TakenBytes] = defaultdict(_TakenBytes)
        """What was told since the last check, by connection; None stands for each connection."""
        self._reports: deque[str] = deque(maxlen=MOST_REPORTS)
        self._lock = Lock()
        self._checked_s = time.monotonic()
        self._recent = 0.0
        """Bytes that came on all connections, also those that have ended, less `renewed_bytes_s` a second."""
        self.is_busy = False
        """Whether much came before the last check."""
        self._weight = 1.0
        """Bytes of memory for each byte that waits, as it was in what was taken: small frames take more."""

    def open(self, fd: int) -> None:
        """Watch a connection that was made: its bytes count from the first one, however late this is called."""
        tcp = TcpConnection.of(fd)
        with self._lock:
            if tcp is None:
                self._recent += SPARE_BYTES  # it may have brought something before it ended
                return
            connection = self._connections[fd] = _WatchedConnection(tcp)
            if sum(not known.is_cut for known in self._connections.values()) > self._limit.most_connections:
                self._cut(connection, f"{self._limit.most_connections} connections are the most")
        self._opened()

    def close(self, fd: int) -> None:
        """Forget a connection that has ended."""
        with self._lock:
            self._connections.pop(fd, None)

    def credit(self, count: int, fd: int | None = None) -> None:
        """Note that `count` bytes (see `count_wire_bytes`) were taken; without `fd` of the only connection."""
        with self._lock:
            self._notes[fd].count += count

    def credit_frames(self, size: int, frames: int) -> None:
        """Note that so many frames of `size` bytes together were taken of the only connection.

        Counted as if all were short: what long ones take beside their bytes is too little to matter until `reset`.
        """
        wire = size + self._frame_bytes * frames
        with self._lock:
            self._notes[None].count += wire
            self._weight = (size + FRAME_MEMORY_BYTES * frames) / wire

    def allow(self, connection_bytes: int) -> None:
        """Let a connection bring so many bytes from now on before it is cut off."""
        self._connection_bytes = connection_bytes

    def reset(self, fd: int | None = None) -> None:
        """Note that everything that has come up to now was taken; without `fd` on each connection."""
        with self._lock:
            self._notes[fd].everything = True

    def note_empty(self, message_bytes: int) -> None:
        """Note that no whole message waits: what has come is part of one, which may have `message_bytes` so far."""
        with self._lock:
            self._notes[None].message_bytes = message_bytes

    def keep(self, fd: int, count: int) -> None:
        """Note that `count` bytes more, or less, of what came stay in memory: they are never forgiven."""
        with self._lock:
            self._notes[fd].kept += count

    def cut(self, fd: int, reason: str) -> None:
        """Cut off a connection, and report it with the reason."""
        with self._lock:
            if (connection := self._connections.get(fd)) is not None and not connection.is_cut:
                self._cut(connection, reason)

    def acknowledged(self, fd: int) -> int:
        """Return how many bytes the peer's system had received at the last check; 0 where that is not known."""
        with self._lock:
            connection = self._connections.get(fd)
            return connection.acknowledged if connection is not None else 0

    def has_unread(self) -> bool:
        """Return whether bytes have come that ZeroMQ has not read from the system yet."""
        with self._lock:
            return any(connection.tcp.count_unread() for connection in self._connections.values())

    @property
    def has_reports(self) -> bool:
        """Whether a connection was cut off since the last call of `take_reports`."""
        return bool(self._reports)

    def take_reports(self) -> list[str]:
        """Return whom was cut off since the last call, and why."""
        return [self._reports.popleft() for _ in range(len(self._reports))]

    def check(self, now_s: float) -> bool:
        """Cut off the connections that are beyond the limit; return whether any was cut off since the last check."""
        with self._lock:  # before the bytes that came are read, so that no more is taken than has come
            notes, self._notes = self._notes, defaultdict(_TakenBytes)
        if self._read_events is not None:
            self._read_events(self)
        with self._lock:
            pause_s = now_s - self._checked_s
            self._checked_s = now_s
            self._recent = self._renew(self._recent, pause_s)
            came = 0
            for connection in list(self._connections.values()):
                count = self._update(connection, notes, pause_s)
                if count is None:
                    del self._connections[connection.tcp.fd]
                else:
                    came += count
            self._recent += came
            self.is_busy = came > BUSY_SHARE * self._connection_bytes
            return self._enforce()

    def _renew(self, recent: float, pause_s: float) -> float:
        return max(0.0, recent - self._limit.renewed_bytes_s * pause_s)

    def _update(
        self, connection: _WatchedConnection, notes: dict[int | None, _TakenBytes], pause_s: float
    ) -> int | None:
        """Count what came and what was taken; return how much came, None where the connection is no longer there."""
        counters = connection.tcp.read_counters()
        if counters is None:
            return None
        came = max(0, counters[0] - connection.arrived)
        connection.arrived += came
        connection.acknowledged = counters[1]
        connection.recent = self._renew(connection.recent, pause_s) + came
        waiting = connection.waiting + came - self._limit.refill_bytes_s * pause_s
        for note in (notes.get(connection.tcp.fd), notes.get(None)):
            if note is not None:
                if connection.waiting - note.count > note.message_bytes:  # it had come before the owner looked
                    waiting = math.inf
                waiting = 0.0 if note.everything else waiting - note.count
                connection.kept = max(0, connection.kept + note.kept)
        connection.waiting = max(waiting, connection.kept)
        return came

    def _enforce(self) -> bool:
        """Cut off who is beyond a limit; return whether there is a connection that was cut off and has not ended."""
        limit = self._limit
        watched = [known for known in self._connections.values() if not known.is_cut]
        total = sum(known.waiting for known in watched) * self._weight
        busiest = max(watched, key=lambda known: known.recent, default=None)
        used_up = self._recent > limit.shared_bytes
        for connection in sorted(watched, key=lambda known: -known.waiting):
            beyond = connection.waiting * self._weight > self._connection_bytes or total > limit.total_bytes
            if beyond or (used_up and connection.recent > SPARE_BYTES and not self._is_excused(connection, busiest)):
                total -= connection.waiting * self._weight
                self._cut(connection, limit.reason)
        return any(known.is_cut for known in self._connections.values())

    def _is_excused(self, connection: _WatchedConnection, busiest: _WatchedConnection | None) -> bool:
        """Return whether a connection may bring more though all together have brought too much."""
        return connection is busiest and self._recent <= self._connection_bytes

    def _cut(self, connection: _WatchedConnection, reason: str) -> None:
        connection.is_cut = True
        connection.tcp.shut_down()
        peer = connection.tcp.names[1]
        self._reports.append(f"a connection from {peer[0]} was cut off: {reason}")


class InflowGuard:
    """A thread that checks the connections of sockets once there is one, `check_s` apart; one a process."""

    def __init__(self, check_s: float = CHECK_S) -> None:
        self._check_s = check_s
        self._inflows: list[SocketInflow] = []
        self._lock = Lock()
        """Held during a check, so that a socket which has been forgotten is no longer touched."""
        self._gave_back_s = time.monotonic()
        self._give_back_until_s = 0.0
        self._closed = Event()
        self._thread: Thread | None = None

    def watch(
        self,
        limit: InflowLimit,
        read_events: Callable[[SocketInflow], None] | None = None,
        encrypted: bool = False,
    ) -> SocketInflow:
        """Watch the connections of one more socket, which are opened and closed by `read_events` or its owner."""
        inflow = SocketInflow(limit, read_events, self._start, encrypted)
        with self._lock:
            self._inflows.append(inflow)
        if read_events is not None:
            self._start()
        return inflow

    def forget(self, inflow: SocketInflow) -> None:
        """Watch a socket no longer: when this returns, its events are not being read."""
        with self._lock:
            self._inflows.remove(inflow)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="inflow guard", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pause_s = self._check_s
        while not self._closed.wait(pause_s):
            now_s = time.monotonic()
            with self._lock:
                cut = [inflow.check(now_s) for inflow in self._inflows]
                pause_s = BUSY_CHECK_S if any(inflow.is_busy for inflow in self._inflows) else self._check_s
            if any(cut):
                self._give_back_until_s = now_s + 2 * GIVE_BACK_S
            if self._gave_back_s < min(now_s - GIVE_BACK_S, self._give_back_until_s):
                self._gave_back_s = now_s
                Thread(target=_give_memory_back, daemon=True).start()  # which may take long


def count_wire_bytes(frames: Iterable[bytes], encrypted: bool) -> int:
    """Return how many bytes of a connection a message of these frames took, with keys (`encrypted`) or without.

    >>> count_wire_bytes([b"hello"], encrypted=False), count_wire_bytes([bytes(256)], encrypted=True)
    (7, 298)
    """
    sizes = [len(frame) + CURVE_FRAME_BYTES * encrypted for frame in frames]
    return sum(size + (SHORT_HEADER_BYTES if size <= LONGEST_SHORT_FRAME else LONG_HEADER_BYTES) for size in sizes)


def _give_memory_back() -> None:
    """Give freed memory back to the system, where the C library can."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
