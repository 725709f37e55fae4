"""The server of the ward: a thread with its own event loop, a bounded number of connections, a bounded time for each.

uvicorn speaks HTTP and WebSocket; connections are accepted here, since it bounds neither their number nor the time of a
request that never ends.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import threading
import time
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.core.output_settings import WebConfig
from agent.web.admission import LARGEST_HEAD, Admission
from agent.web.application import WardApplication
from agent.web.hand_over import HandOver
from agent.web.viewers import LARGEST_TEXT, ViewerRoom
from agent.web.ward_mirror import WardMirror
from agent.web.web_address import WebAccess
from model.errors import EndpointError

REQUEST_S = 10.0
"""How long a connection that is no viewer's may last."""
HANDSHAKE_S = 5.0
SWEEP_S = 0.5
"""How often connections are looked through."""
MORE_CONNECTIONS = 54
"""Connections beside those of the viewers: beyond them the oldest one that is no viewer's gives way."""
LARGEST_BACKLOG = 4 * 2**20
"""Bytes that may wait for a browser: beyond them it is cut off."""
CLOSE_S = 0.3
"""How long the end waits for browsers to be told."""


class _Connection:
    """A connection, with its `transport` once the handshake of TLS is over; `is_viewer` once it is let in."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket, self.since_s = accepted, time.monotonic()
        self.transport: asyncio.Transport | None = None
        self.is_viewer = False
        self.task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self.socket.fileno() >= 0

    @property
    def is_overdue(self) -> bool:
        if self.transport is not None and self.transport.get_write_buffer_size() > LARGEST_BACKLOG:
            return True
        return not self.is_viewer and time.monotonic() - self.since_s > REQUEST_S

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()

    def settle(self, _task: object) -> None:
        """Close what did not come about: a handshake that failed, or was not waited for."""
        if self.transport is None:
            self.socket.close()


class WebServer:
    """Serves the ward until closed. Raises EndpointError if the address cannot be had."""

    def __init__(self, access: WebAccess, hand_over: HandOver, config: WebConfig) -> None:
        self._access, self._hand_over = access, hand_over
        self._socket = _listen(access)
        self._socket.setblocking(False)
        self.host, self.port = self._socket.getsockname()[:2]
        mirror, admission = WardMirror(hand_over), Admission(access)
        self._room = ViewerRoom(mirror, admission, config.viewers, secrets.token_hex(8), self._set_viewer)
        self._application = WardApplication(mirror, hand_over, admission, self._room)
        self._most = config.viewers + MORE_CONNECTIONS
        self._connections: dict[object, _Connection] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # a client's fault is no news
        self._ended = asyncio.Event()
        hand_over.wake = self._wake
        self._thread = threading.Thread(target=self._work, name="web", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Return the address for a browser."""
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{self._access.scheme}://{host}:{self.port}/"

    @property
    def viewers(self) -> int:
        """Return how many browsers watch."""
        return self._room.count

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._connections)

    def close(self) -> None:
        """Serve no more; closed again, do nothing."""
        with contextlib.suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._hand_over.wanted = None

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._room.take_news)

    def _work(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
            self._socket.close()

    async def _serve(self) -> None:
        config = uvicorn.Config(
            cast(Any, self._application),
            http=H11Protocol,
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            ws_max_size=LARGEST_TEXT,
            ws_per_message_deflate=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        config.load()
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[]))  # it keeps the date, and ends what is open
        sweeping = asyncio.create_task(self._sweep())
        self._loop.add_reader(self._socket, self._accept, config, server)
        await self._ended.wait()
        self._loop.remove_reader(self._socket)
        sweeping.cancel()
        server.should_exit = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await serving
        for connection in self._connections.values():
            connection.abort()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the next turn

    def _accept(self, config: uvicorn.Config, server: uvicorn.Server) -> None:
        """Take the connections that wait."""
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    accepted, peer = self._socket.accept()
                except BlockingIOError:
                    raise
                except OSError:  # no more open files: those that are overdue will free some
                    self._loop.remove_reader(self._socket)
                    self._loop.call_later(SWEEP_S, self._loop.add_reader, self._socket, self._accept, config, server)
                    return
                if not self._make_room():
                    accepted.close()
                    continue
                accepted.setblocking(False)
                connection = self._connections[peer] = _Connection(accepted)
                connection.task = self._loop.create_task(self._connect(connection, config, server))
                connection.task.add_done_callback(connection.settle)

    async def _connect(self, connection: _Connection, config: uvicorn.Config, server: uvicorn.Server) -> None:
        """Give a connection to uvicorn, after the handshake of TLS."""
        tls = self._access.tls
        with contextlib.suppress(OSError):
            connection.transport, _ = await self._loop.connect_accepted_socket(
                lambda: H11Protocol(config, server.server_state, {}, self._loop),
                connection.socket,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_S if tls else None,
            )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._drop_overdue()

    def _drop_overdue(self) -> None:
        for peer, connection in list(self._connections.items()):
            if connection.is_overdue:
                connection.abort()
            if not connection.is_open:
                del self._connections[peer]

    def _make_room(self) -> bool:
        """Make room for another connection; return False where all are viewers."""
        if len(self._connections) >= self._most:
            self._drop_overdue()
        if len(self._connections) < self._most:
            return True
        oldest = next((peer for peer, known in self._connections.items() if not known.is_viewer), None)
        if oldest is None:
            return False
        self._connections.pop(oldest).abort()
        return True

    def _set_viewer(self, peer: object, is_viewer: bool) -> None:
        """Note whether the connection from this address is a viewer's."""
        for known, connection in self._connections.items():
            if isinstance(known, tuple) and known[:2] == tuple(cast(Any, peer) or ())[:2]:
                connection.is_viewer = is_viewer


def _listen(access: WebAccess) -> socket.socket:
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(access.host, access.port, type=socket.SOCK_STREAM)
        return socket.create_server(address[:2], family=family, backlog=64)
    except (OSError, UnicodeError) as error:
        reason = "no such host"
        if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
            reason = os.strerror(error.errno) if error.errno else str(error)
        where = f"{access.host}:{access.port}"
        raise EndpointError(f"the ward cannot be served at {where}: {reason}; choose another (--web)") from error
