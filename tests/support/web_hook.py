"""A small web server of the tests that takes notifications, and fails as long as it is told to."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from typing import Any


class WebHook(ThreadingHTTPServer):
    """Takes JSON on a free port of this machine; `taken` what came while `status` was 200, `refused` how often not."""

    def __init__(self, status: int = 200, port: int = 0) -> None:
        self.status, self.taken, self.refused = status, list[dict[str, Any]](), 0
        super().__init__(("127.0.0.1", port), _HookHandler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of Apprise for it, with a secret in its path."""
        return f"json://127.0.0.1:{self.server_address[1]}/hidden-token"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _HookHandler(BaseHTTPRequestHandler):
    server: WebHook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.taken.append(json.loads(body))
        else:
            self.server.refused += 1
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def wait_for_news(sink: Any, condition: Callable[[list[Any]], object] = bool, seconds: float = 20.0) -> list[Any]:
    """Ask an output for its news until a condition holds of all of it; return it."""
    news: list[Any] = []

    def is_told() -> object:
        news.extend(sink.news())
        return condition(news)

    wait_until(is_told, seconds)
    return news


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a condition holds; fail the test if it never does."""
    end_s = monotonic() + seconds
    while not condition():
        assert monotonic() < end_s, "it did not happen in time"
        sleep(0.01)
