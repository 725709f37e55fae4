"""The HTTP server of the metrics: one thread, a bounded time for each request and a bounded number of connections.

Any program on the machine, or beyond it if the address allows it, can connect. Whoever sends a request byte by byte,
none at all, or never reads its answer is dropped after REQUEST_S, and the monitor never waits for it.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

REQUEST_S = 5.0
"""How long a request and its answer may take together."""
MOST_CONNECTIONS = 64
"""Connections at once: beyond it the oldest one gives way, so that a new scrape is still answered."""
LARGEST_REQUEST = 16_384
"""Bytes of the request line and the headers."""
_END_OF_HEAD = b"\r\n\r\n"
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application, which is given method, path, query, and the headers of a request."""


class MetricsServer:
    """Serves an application in a thread until closed. Raises OSError or UnicodeError if the address cannot be had."""

    def __init__(self, host: str, port: int, application: Application) -> None:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._socket = socket.create_server(address[:2], family=family, backlog=MOST_CONNECTIONS)
        self.host, self.port = self._socket.getsockname()[:2]
        self._application = application
        self._requests: dict[asyncio.Task[Any], None] = {}
        """Those under way, the oldest first."""
        self._ended = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # a client's fault is no news
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """Return how many requests are under way."""
        return len(self._requests)

    def close(self) -> None:
        """Serve no more; requests under way are dropped."""
        with contextlib.suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _work(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(
            self._handle, sock=self._socket, limit=LARGEST_REQUEST, backlog=MOST_CONNECTIONS
        )
        await self._ended.wait()
        server.close()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the one request of a connection, in time or not at all."""
        task = asyncio.current_task()
        assert task is not None
        self._requests[task] = None
        if len(self._requests) > MOST_CONNECTIONS:
            oldest = next(iter(self._requests))
            del self._requests[oldest]
            oldest.cancel()
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(_END_OF_HEAD)
                writer.transport.set_write_buffer_limits(0)  # wait until all of the answer is with the system
                writer.write(_answer_request(head, self._application))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, asyncio.LimitOverrunError):  # a time that is over is an OSError too
            pass
        finally:
            self._requests.pop(task, None)
            writer.transport.abort()


def _answer_request(head: bytes, application: Application) -> bytes:
    """Return the answer to a request, by its request line and headers."""
    lines: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        lines.extend([f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)])

    try:
        body = b"".join(application(_parse_request(head), start_response))
    except Exception:  # whatever a client sends is its own fault
        lines, body = [f"HTTP/1.1 {HTTPStatus.BAD_REQUEST.value} {HTTPStatus.BAD_REQUEST.phrase}"], b""
    lines += [f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(lines).encode("latin-1", "replace") + _END_OF_HEAD + body


def _parse_request(head: bytes) -> dict[str, Any]:
    """Return a request as WSGI has it. Raises ValueError."""
    first, *rest = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"a request of version {version!r}")
    path, _, query = target.partition("?")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_ACCEPT": headers.get("accept"),
        "HTTP_ACCEPT_ENCODING": headers.get("accept-encoding"),
    }
