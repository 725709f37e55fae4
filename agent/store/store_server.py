"""The process that keeps a store for monitors on several hosts: `ecg-agent fleet store`.

One thread and one database: a monitor that stands still in the middle of a telling holds up nobody.
"""

import contextlib
from collections.abc import Callable

import msgspec
import zmq

from agent.core.config import SecurityConfig
from agent.store.fleet_store import FleetStore
from agent.store.store_messages import LARGEST_TELL_BYTES, Refusal, decode_store_request, encode_store_message
from agent.wire.curve_security import ServerAuthenticator, check_endpoint, harden_socket
from agent.wire.inflow_guard import InflowLimit, count_wire_bytes
from model.errors import EndpointError

POLL_MS = 100
MOST_MONITORS = 512
STORE_INFLOW = InflowLimit(
    "it sent more than the store can take",
    connection_bytes=3 * LARGEST_TELL_BYTES,
    total_bytes=16 * LARGEST_TELL_BYTES,
    refill_bytes_s=128.0,
    most_connections=MOST_MONITORS,
)
_FRAMES = 2
"""A request has a number, which its reply repeats, and its content."""


class StoreServer:
    """Answers requests at an endpoint. `note` takes a line for a person."""

    def __init__(self, store: FleetStore, endpoint: str, security: SecurityConfig, note: Callable[[str], None]) -> None:
        """Raises EndpointError for an address that cannot be bound, ConfigError for one not allowed without keys."""
        check_endpoint(endpoint, security, bind=True)
        self._store, self._note = store, note
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._authenticator: ServerAuthenticator | None = None
        try:
            self._authenticator = ServerAuthenticator(self._context, security)
            harden_socket(self._socket)
            self._socket.set(zmq.MAXMSGSIZE, LARGEST_TELL_BYTES)
            self._socket.set(zmq.RCVBUF, -1)
            self._socket.set(zmq.ROUTER_MANDATORY, 1)
            self._socket.set(zmq.IPV6, "[" in endpoint)
            self._inflow = self._authenticator.secure(self._socket, STORE_INFLOW)
            self._encrypted = self._authenticator.secured
            self._socket.bind(endpoint)
        except BaseException as error:
            self.close()
            if not isinstance(error, zmq.ZMQError):
                raise
            raise EndpointError(f"cannot bind {endpoint!r}: {error}; choose another address (--bind)") from error
        bound = self._socket.get(zmq.LAST_ENDPOINT)
        self.endpoint = bound.rstrip(b"\0").decode() if isinstance(bound, bytes) else endpoint

    def serve(self, stop: Callable[[], bool]) -> None:
        """Answer until `stop`."""
        assert self._authenticator is not None
        while not stop():
            if self._socket.poll(POLL_MS):
                self._answer_next()
            for text in self._authenticator.read():
                self._note(text)

    def close(self) -> None:
        """Close the socket and the database."""
        if self._authenticator is not None:
            self._authenticator.close()
        self._socket.close()
        self._context.term()
        self._store.close()

    def _answer_next(self) -> None:
        identity = self._socket.recv()
        frames: list[bytes] = []
        connection = -1
        while self._socket.get(zmq.RCVMORE):
            frame = self._socket.recv(copy=False)
            with contextlib.suppress(zmq.ZMQError):
                connection = int(frame.get(zmq.SRCFD))
            frames = [*frames[-_FRAMES:], frame.bytes]
            self._inflow.credit(count_wire_bytes(frames[-1:], self._encrypted), connection)
        if len(frames) != _FRAMES:
            return
        number, content = frames
        try:
            reply = self._store.answer(decode_store_request(content))
        except (msgspec.DecodeError, RecursionError) as error:
            reply = Refusal(f"a malformed request: {error}", for_good=True)
        with contextlib.suppress(zmq.ZMQError):  # it has gone, and asks again when it is back
            self._socket.send_multipart([identity, number, encode_store_message(reply)], zmq.NOBLOCK)
