"""The WebSockets of the browsers: each is sent what is newest once its last message is out, never a queue."""

import asyncio
import time
from collections.abc import Callable

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from agent.web.admission import Admission, RefusalError
from agent.web.browser_state import MOST_SHOWN, BrowserState
from agent.web.ward_mirror import WardMirror
from agent.web.ward_text import hello_fields

TOKEN_S = 5.0
"""How long a browser may take to say the token."""
PATIENCE_S = 60.0
"""How long a browser may leave its messages unanswered."""
LARGEST_TEXT = 8192
WRONG, ASLEEP, FULL, GONE = 4400, 4408, 4503, 1001
"""Codes with which a connection is closed."""


class _Browser:
    """A WebSocket of a browser, and what it was sent."""

    def __init__(self, socket: WebSocket, mirror: WardMirror) -> None:
        self.socket, self.state = socket, BrowserState(mirror)
        self.news = asyncio.Event()
        self.behind_since_s: float | None = None


class ViewerRoom:
    """All browsers that watch. Used in the thread of the server alone."""

    def __init__(
        self, mirror: WardMirror, admission: Admission, most: int, start: str, admit: Callable[[object], None]
    ) -> None:
        """`start` names this run of the monitor; `admit` is told the address of each connection that is let in."""
        self._mirror, self._admission, self._most, self._start, self._admit = mirror, admission, most, start, admit
        self._browsers: set[_Browser] = set()

    @property
    def count(self) -> int:
        """Return how many browsers watch."""
        return len(self._browsers)

    def take_news(self) -> None:
        """Take in what the loop handed over, and let each browser have it."""
        version = self._mirror.ward_version
        self._mirror.take()
        if self._browsers and version != self._mirror.ward_version:
            self._want()  # the first beds in order may be others now
        for browser in self._browsers:
            browser.news.set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one browser until it leaves."""
        try:
            self._admission.check_host(socket.headers)
            self._admission.check_origin(socket.headers)
        except RefusalError:
            await socket.close()  # before it is accepted: HTTP 403
            return
        await socket.accept()
        try:
            await self._check_token(socket)
        except RefusalError as refusal:
            await socket.close(4000 + refusal.status, refusal.reason)
            return
        if len(self._browsers) >= self._most:
            await socket.close(FULL, f"{self._most} browsers watch already (web.viewers)")
            return
        self._admit(socket.scope.get("client"))
        await self._watch(socket)

    async def _check_token(self, socket: WebSocket) -> None:
        """Ask for the token where there is one. Raises RefusalError."""
        if self._admission.access.token is None:
            return
        await socket.send_text('{"type":"token"}')
        try:
            async with asyncio.timeout(TOKEN_S):
                said = msgspec.json.decode(await _receive_text(socket))
        except (TimeoutError, ValueError):
            said = None
        token = said.get("token") if isinstance(said, dict) else None
        client = socket.client.host if socket.client else ""
        self._admission.check_token(token if isinstance(token, str) else None, client)

    async def _watch(self, socket: WebSocket) -> None:
        browser = _Browser(socket, self._mirror)
        self._browsers.add(browser)
        self._want()
        try:
            may_act = self._admission.access.token is not None
            hello = hello_fields(self._start, time.time(), may_act, MOST_SHOWN)
            await socket.send_text(msgspec.json.encode(hello).decode())
            browser.news.set()
            async with asyncio.TaskGroup() as both:
                sending = both.create_task(self._send(browser))
                await self._receive(browser)
                sending.cancel()
        except* (WebSocketDisconnect, RuntimeError):  # it left, or one of the two sent after the other had closed
            pass
        finally:
            self._browsers.discard(browser)
            self._want()

    async def _send(self, browser: _Browser) -> None:
        """Send what is newest, then wait for more."""
        socket, state = browser.socket, browser.state
        while True:
            if state.is_behind:
                browser.behind_since_s = browser.behind_since_s or time.monotonic()
                if time.monotonic() - browser.behind_since_s > PATIENCE_S:
                    await socket.close(ASLEEP, "the page does not answer")
                    return
            else:
                browser.behind_since_s = None
                if (ward := state.ward_message()) is not None:
                    await socket.send_text(ward)
                if (waves := state.waves_message(time.time())) is not None:
                    await socket.send_bytes(waves)
            try:
                async with asyncio.timeout(PATIENCE_S / 4):
                    await browser.news.wait()
            except TimeoutError:
                continue
            browser.news.clear()

    async def _receive(self, browser: _Browser) -> None:
        """Take what the browser says, until it leaves or says nonsense."""
        while True:
            text = await _receive_text(browser.socket)
            was_behind = browser.state.is_behind
            try:
                wants_others = browser.state.take(text)
            except ValueError:
                await browser.socket.close(WRONG, "not understood")
                return
            if wants_others:
                self._want()
            if wants_others or was_behind:
                browser.news.set()

    def _want(self) -> None:
        """Let the loop know which beds are seen."""
        if self._browsers:
            self._mirror.want(key for browser in self._browsers for key in browser.state.seen())
        else:
            self._mirror.rest()


async def _receive_text(socket: WebSocket) -> str:
    """Return the next text, "" for anything else. Raises WebSocketDisconnect."""
    if socket.application_state != WebSocketState.CONNECTED:
        raise WebSocketDisconnect
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", GONE))
    return message.get("text") or ""
