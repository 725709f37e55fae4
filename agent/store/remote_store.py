"""A store on another host, as `ecg-agent fleet store` serves it."""

import itertools
import time

import msgspec
import zmq

from agent.core.config import SecurityConfig
from agent.store.store_messages import (
    LARGEST_TELL_BYTES,
    StoreReply,
    StoreRequest,
    decode_store_reply,
    encode_store_message,
)
from agent.wire.connection import ConnectionMonitor
from agent.wire.curve_security import check_endpoint, harden_socket, secure_client
from model.errors import EndpointError, SourceError

ANSWER_S = 2.0
"""How long an answer is waited for."""
POLL_MS = 50
NO_STORE = "is no store of a fleet: check the address and its port"
STORE_WORDS = {
    "is not the stream of a device: check the port of --endpoint": NO_STORE,
    "is not an ecg-agent device: check --endpoint": NO_STORE,
    "is the device running": "is the store running (ecg-agent fleet store)",
    "the device": "the store",
    "that device's": "that store's",
}
"""What is said of a connection to a device, as it is said of one to a store."""


class RemoteStore:
    """A connection to the server of a store; each request is answered, or fails with SourceError within two seconds.

    Raises EndpointError or ConfigError for an address, or keys, that cannot be used.
    """

    def __init__(self, endpoint: str, security: SecurityConfig) -> None:
        check_endpoint(endpoint, security)
        self.shown = endpoint.replace("tcp://", "store://")
        self._endpoint, self._security = endpoint, security
        self._numbers = itertools.count(1)
        self._socket: zmq.Socket[bytes] | None = None
        self._connection: ConnectionMonitor | None = None
        self._open()

    def answer(self, request: StoreRequest) -> StoreReply:
        """Ask, and return the reply. Raises SourceError without one."""
        socket, connection = self._open()
        number = next(self._numbers).to_bytes(8)
        end_s = time.monotonic() + ANSWER_S
        try:
            socket.send_multipart([number, encode_store_message(request)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            self.close()
            raise SourceError(f"{self.shown}: {error}") from error
        while time.monotonic() < end_s:
            if not socket.poll(POLL_MS):
                connection.read()
                continue
            frames = socket.recv_multipart()
            if len(frames) == 2 and frames[0] == number:  # else it is the late reply to an earlier request
                try:
                    return decode_store_reply(frames[1])
                except (msgspec.DecodeError, RecursionError) as error:
                    self.close()
                    raise SourceError(f"{self.shown} is no store of this version: {error}") from error
        trouble = connection.trouble
        for of_device, of_store in STORE_WORDS.items():
            trouble = trouble.replace(of_device, of_store)
        self.close()  # with what is still to be sent: it is told again, together with what comes meanwhile
        raise SourceError(f"{self.shown}: {trouble or f'no answer within {ANSWER_S:g} s'}")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._connection = None

    def _open(self) -> tuple["zmq.Socket[bytes]", ConnectionMonitor]:
        if self._socket is not None and self._connection is not None:
            return self._socket, self._connection
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        socket = context.socket(zmq.DEALER)
        connection = ConnectionMonitor(socket, self._endpoint, self._security)
        self._socket, self._connection = socket, connection
        try:
            harden_socket(socket)
            socket.set(zmq.MAXMSGSIZE, LARGEST_TELL_BYTES)
            secure_client(socket, self._security)
            socket.set(zmq.IPV6, "[" in self._endpoint)
            socket.connect(self._endpoint)
        except BaseException as error:
            self.close()
            if not isinstance(error, zmq.ZMQError):
                raise
            raise EndpointError(f"cannot connect to {self.shown!r}: {error}") from error
        return socket, connection
