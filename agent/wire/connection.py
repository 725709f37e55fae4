"""Watches connections and explains in plain words why they fail, from the events that ZeroMQ reports of a socket.

Which events come for which fault was determined by experiment with libzmq 4.3.5; `docs/security.md` has the table.
"""

import contextlib
import errno
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from uuid import uuid4

import zmq
from zmq.utils.monitor import parse_monitor_message

from agent.core.config import SecurityConfig
from agent.core.rate_limit import RepeatFilter
from agent.wire.inflow_guard import SocketInflow

MonitoredSocket = zmq.Socket[bytes]
ClockFunction = Callable[[], float]

MOST_EVENTS_READ = 10_000
"""Events taken at once."""
EVENT_QUEUE_LENGTH = 100_000
"""Events that may wait for a reader. ZeroMQ's input and output stop while its queue of events is full, and by default
2,000 fill it, which a stranger could cause in a second; this number lasts for minutes."""
REPEAT_TROUBLE_S = 30.0
"""A trouble that persists is reported again after this time."""
MOST_TROUBLE_TEXTS = 32
"""Different troubles reported within that time."""
FIRST_REDIAL_PAUSE_S, LONGEST_REDIAL_PAUSE_S = 0.1, 2.0
"""Pauses before connecting again after a refusal; each is twice the one before."""
STEADY_CONNECTION_S = 5.0
"""After a connection that lasted this long pauses are short again."""
ORPHANED_AFTER_S = 0.5
"""ZeroMQ has tried again by then, or never will."""
ABSENT_DEVICE_S = 3.0
"""A device that is absent is reported after this time: it may just be starting."""

HANDSHAKE_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
HANDSHAKE_OUTCOMES = HANDSHAKE_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class SocketEvents:
    """The connection events of a socket, as an iterator that never waits."""

    def __init__(self, socket: MonitoredSocket, wanted: int) -> None:
        # Not get_monitor_socket(): its queue cannot be made longer.
        address = f"inproc://events-{uuid4().hex}"
        socket.monitor(address, wanted)
        self.socket = socket
        self._pair = socket.context.socket(zmq.PAIR)
        self._pair.set(zmq.RCVHWM, EVENT_QUEUE_LENGTH)
        self._pair.set(zmq.LINGER, 0)
        self._pair.connect(address)

    def read(self) -> Iterator[tuple[int, int]]:
        """Yield event and value of those that have come. Never waits."""
        for _ in range(MOST_EVENTS_READ):
            try:
                message = parse_monitor_message(self._pair.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            yield message["event"], message["value"]

    def close(self) -> None:
        """Stop the events. The socket stays open."""
        if not self.socket.closed:
            self.socket.monitor(None, 0)
        self._pair.close()


def make_trouble_filter() -> RepeatFilter:
    """Return a filter that reports each trouble once in half a minute."""
    return RepeatFilter(REPEAT_TROUBLE_S, MOST_TROUBLE_TEXTS)


class ConnectionMonitor:
    """Watches, and keeps up, the connection of a socket to `endpoint`; to be made before the socket connects.

    After some refusals ZeroMQ never tries again, after others ten times a second for ever. The monitor breaks off both
    and connects again after pauses that grow to 2 s, so that a fault that is mended is soon forgotten. For that it has
    to be read often, in the thread of the socket.

    `connected`: the handshake is done. `trouble`: why there is no connection, as far as is known; "" where all is well.
    `refused`: number of connections that failed in their handshake.
    """

    def __init__(
        self,
        socket: MonitoredSocket,
        endpoint: str,
        security: SecurityConfig | None = None,
        clock: ClockFunction = time.monotonic,
        inflow: SocketInflow | None = None,
    ) -> None:
        """`inflow`: to be told of the connection, and to say when it was cut off."""
        self.connected = False
        self.trouble = ""
        self.refused = 0
        self._socket = socket
        self._endpoint = endpoint
        self._clock = clock
        self._key = Path(security.key).name.removesuffix("_secret") if security and security.key else "its file"
        self._pinned = f" ({security.server_key})" if security and security.server_key else ""
        wanted = HANDSHAKE_OUTCOMES | zmq.EVENT_CONNECTED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_CLOSED
        self._events = SocketEvents(socket, wanted)
        self._inflow = inflow
        self._repeats = make_trouble_filter()
        self._texts: list[str] = []
        self._failure: tuple[int, int] = (0, 0)
        """Event and value of the last failed handshake."""
        self._broken = False
        self._probe: _HandshakeProbe | None = None
        self._pause_s = FIRST_REDIAL_PAUSE_S
        self._redial_s: float | None = None
        """When to connect again, after the connection was broken off."""
        self._orphaned_s: float | None = None
        self._absent_s: float | None = None
        self._connected_s = 0.0

    def read(self) -> list[str]:
        """Return the troubles worth reporting, each once in 30 s. Never waits."""
        now_s = self._clock()
        for event, value in self._events.read():
            if self._redial_s is None:  # what comes later is of the connection that was broken off
                self._handle_event(event, value, now_s)
        if self._inflow is not None and (reports := self._inflow.take_reports()):
            self.redial(f"{self._endpoint}: {reports[-1]}")
        if self._probe is not None and (greeting := self._probe.read(now_s)) is not None:
            self._close_probe()
            if not self.connected:
                self._report(self._explain_mechanism(greeting))
        if self._orphaned_s is not None and now_s - self._orphaned_s >= ORPHANED_AFTER_S:
            self._report(
                f"{self._endpoint} sent what no ecg-agent device sends (too large, or malformed): "
                "the connection was closed and is made again"
            )
            self._broken = True
        self._redial(now_s)
        texts, self._texts = self._texts, []
        return [text for text in texts if self._repeats.admits(text, now_s)]

    def redial(self, reason: str) -> None:
        """Break off a connection that stands, and make it again; `reason` is reported."""
        self.connected = False
        self._broken = True
        if self._clock() - self._connected_s >= STEADY_CONNECTION_S:
            self._pause_s = FIRST_REDIAL_PAUSE_S
        self._report(reason)

    def close(self) -> None:
        """Stop watching. The socket stays open."""
        self._close_probe()
        self._events.close()

    def _handle_event(self, event: int, value: int, now_s: float) -> None:
        if event & zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.connected = True
            self.trouble = ""
            self._connected_s = now_s
            self._absent_s = None
            self._close_probe()
        elif event & HANDSHAKE_FAILED and self.connected:
            # libzmq 4.3.5 reports a frame that does not decrypt like this, and the connection hangs for good.
            self.redial(f"the connection to {self._endpoint} was damaged on its way: it is made again")
        elif event & HANDSHAKE_FAILED:
            self._failure = event, value
        elif event & zmq.EVENT_CONNECTED:
            if self._inflow is not None:
                self._inflow.open(value)
            self._broken = False
            self._orphaned_s = None
            self._failure = (0, 0)
        elif event & zmq.EVENT_CONNECT_RETRIED:
            self._orphaned_s = None
        elif event & zmq.EVENT_DISCONNECTED and self.connected:
            self.connected = False
            self._orphaned_s = now_s
            self.trouble = f"the connection to {self._endpoint} broke: connecting again"
            if now_s - self._connected_s >= STEADY_CONNECTION_S:
                self._pause_s = FIRST_REDIAL_PAUSE_S
        elif event & zmq.EVENT_DISCONNECTED:
            self._broken = True
            self.refused += 1
            self._absent_s = None
            self._explain(now_s)
        elif event & zmq.EVENT_CLOSED:  # nobody took the connection
            self._absent_s = now_s if self._absent_s is None else self._absent_s
            self.trouble = f"nothing answers at {self._endpoint}: is the device running, and the address right?"
            if now_s - self._absent_s >= ABSENT_DEVICE_S:
                self._texts.append(self.trouble)

    def _explain(self, now_s: float) -> None:
        """Report why a handshake failed; where the event does not say, ask the other side what it is."""
        event, value = self._failure
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._report(
                f"the device at {self._endpoint} refuses this monitor's key: is {self._key} in its folder of clients?"
                if value == 400
                else f"the device at {self._endpoint} cannot check keys now (status {value})"
            )
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and value == errno.EAGAIN:
            self._report(f"{self._endpoint} takes connections but does not answer: does the device hang?")
        elif (event, value) == (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC):
            self._report(self._explain_mechanism(b"CURVE"))
        elif self._probe is None:
            self._probe = _HandshakeProbe(self._socket, self._endpoint, now_s)

    def _explain_mechanism(self, mechanism: bytes) -> str:
        """Say why a handshake failed with a peer of this mechanism, "" where that is not known."""
        keys = self._socket.get(zmq.MECHANISM) == zmq.CURVE
        if mechanism == b"CURVE" and keys:
            return (
                f"the device at {self._endpoint} does not have the key that is pinned{self._pinned}: "
                "is it a copy of that device's NAME.key, and the port right?"
            )
        if mechanism == b"CURVE":
            return f"the device at {self._endpoint} lets nobody in without keys: give --key and --server-key"
        if mechanism == b"NULL" and keys:
            return (
                f"the device at {self._endpoint} has no keys, so it is not trusted: start it with --key and --clients"
            )
        if mechanism == b"NULL":
            return f"what answers at {self._endpoint} is not the stream of a device: check the port of --endpoint"
        if mechanism:
            return f"what answers at {self._endpoint} is not an ecg-agent device: check --endpoint"
        if not keys:
            return f"{self._endpoint} takes connections and closes them at once: is the device running behind it?"
        return f"{self._endpoint} broke off the handshake: do both sides have keys, and the right ones?"

    def _report(self, text: str) -> None:
        self.trouble = text
        self._texts.append(text)

    def _redial(self, now_s: float) -> None:
        """Break off a connection that was refused; connect again when the pause is over."""
        if self._broken:
            self._broken = False
            self._orphaned_s = None
            self._redial_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_REDIAL_PAUSE_S)
            # A poll makes SUB read the first frame of a message. If the others can no longer come, libzmq 4.3.5 ends
            # the process (`Assertion failed: !_more`).
            with contextlib.suppress(zmq.ZMQError):
                self._socket.recv_multipart(zmq.NOBLOCK)
            with contextlib.suppress(zmq.ZMQError):  # it may have ended by itself
                self._socket.disconnect(self._endpoint)
        elif self._redial_s is not None and now_s >= self._redial_s:
            self._redial_s = None
            self._socket.connect(self._endpoint)

    def _close_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None


class _HandshakeProbe:
    """Reads the greeting of a TCP endpoint: the events of a refused handshake do not say which side has keys."""

    GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\x03"
    """The first bytes of ZMTP 3: the peer's mechanism follows its own."""
    LENGTH = 64
    SILENCE_S = 0.3
    """ZMTP speaks first; a peer that is silent for this time is greeted."""
    PATIENCE_S = 1.0
    """A peer that says nothing is given up after this time."""

    def __init__(self, socket: MonitoredSocket, endpoint: str, now_s: float) -> None:
        self._since_s = now_s
        self._peer = b""
        self._greeted = False
        self._received = b""
        self._stream = socket.context.socket(zmq.STREAM)
        self._stream.set(zmq.LINGER, 0)
        self._stream.set(zmq.RECONNECT_IVL, 60_000)  # not -1: what was sent before a hang-up would be lost
        self._stream.set(zmq.IPV6, socket.get(zmq.IPV6))
        with contextlib.suppress(zmq.ZMQError):  # not TCP
            self._stream.connect(endpoint)

    def read(self, now_s: float) -> bytes | None:
        """Return the peer's mechanism: NULL, CURVE, "?" if it does not speak ZMTP, "" if unknown; None: wait."""
        with contextlib.suppress(zmq.ZMQError):  # nothing more has come, or nobody is there to be greeted
            while True:
                known_peer = self._peer
                self._peer, data = self._stream.recv_multipart(zmq.NOBLOCK)
                self._received += data
                if known_peer and not data:  # it has hung up
                    self._since_s = -math.inf
                elif self._received.startswith(b"\xff"):
                    self._greet()
        if self._received and self._received[0] != self.GREETING[0]:
            return b"?"
        if len(self._received) >= self.LENGTH:
            return self._received[12:32].rstrip(b"\0") or b"?"
        if self._peer and now_s - self._since_s >= self.SILENCE_S:
            with contextlib.suppress(zmq.ZMQError):
                self._greet()
        return b"" if now_s - self._since_s >= self.PATIENCE_S else None

    def _greet(self) -> None:
        if not self._greeted:
            self._greeted = True
            self._stream.send_multipart([self._peer, self.GREETING], zmq.NOBLOCK)

    def close(self) -> None:
        """Close the connection of the probe."""
        self._stream.close()


class RejectedConnections:
    """The connections that a bound socket accepts and refuses; `secured`: it asks for keys.

    The guard's thread follows the events, twenty times a second, and hands connections on to the guard; any thread may
    take the explanations. Unknown keys are reported by `curve_security.ServerAuthenticator`, which checks them.
    """

    def __init__(self, socket: MonitoredSocket, secured: bool) -> None:
        self._events = SocketEvents(socket, HANDSHAKE_OUTCOMES | zmq.EVENT_ACCEPTED)
        self._secured = secured
        self._in_handshake: set[int] = set()
        """Connections in their handshake, as far as is known."""
        self._explained = False
        self._texts: dict[str, None] = {}
        """Explanations, each once; there are few different ones."""
        self._lock = Lock()
        """Guards the explanations."""

    @property
    def is_over(self) -> bool:
        """Whether the socket was closed."""
        return self._events.socket.closed

    def follow(self, inflow: SocketInflow) -> None:
        """Read the events that have come, and open and close their connections in `inflow`. Never waits."""
        out: list[str] = []
        for event, value in self._events.read():
            if event & zmq.EVENT_ACCEPTED:
                self._in_handshake.add(value)
                inflow.open(value)
            elif event & (zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH):
                self._in_handshake.clear()  # the event does not say whose: nothing is reported of the others
            elif event & HANDSHAKE_FAILED:
                self._explained = True
                out += _explain_refusal(event, value, self._secured)
            else:  # disconnected, by itself where no failure was reported just before
                if value in self._in_handshake and not self._explained:
                    out.append("something that is not a monitor connected and was cut off")
                self._in_handshake.discard(value)
                self._explained = False
                inflow.close(value)
        with self._lock:
            self._texts.update(dict.fromkeys(out))

    def take_texts(self) -> list[str]:
        """Return why connections were refused since the last call."""
        with self._lock:
            texts, self._texts = list(self._texts), {}
        return texts

    def close(self) -> None:
        """Stop watching, once nobody follows any more. The socket stays open."""
        self._events.close()


def _explain_refusal(event: int, value: int, secured: bool) -> list[str]:
    """Say why a device refused a handshake; nothing where the peer left by itself."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        unfinished = "connections that did not finish their handshake were closed"
        return [unfinished] if value == errno.EAGAIN else []  # else the peer left: nothing was refused
    if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        return [
            "a monitor without keys was refused: it needs --key and --server-key"
            if secured
            else "a monitor that expects keys was refused: this device has none (--key and --clients)"
        ]
    if value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
        return [
            "a handshake that this device's key does not open was refused: "
            "a monitor that has pinned another device's key, or a forged or repeated one"
        ]
    return ["a malformed handshake was refused"]
