"""The WebSockets of the browsers: each is sent what is newest once its last message is out, never a queue."""

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from agent.core.rate_limit import TokenBucket
from agent.web.admission import Admission, RefusalError
from agent.web.browser_state import MOST_SHOWN, BrowserState, read_object
from agent.web.ward_mirror import WardMirror
from agent.web.ward_text import hello_fields, starting_fields

MESSAGES_AT_ONCE, MESSAGE_S = 100, 0.02
"""Messages of a browser at once, and the seconds that earn it another one."""
DISPLACED_S = 5.0
"""A browser that has not answered for so long gives way to a new one where all places are taken."""
CLOSE_S = 0.5
"""How long it may take to tell a browser why it is let go."""
TOKEN_S = 5.0
"""How long a browser may take to say the token."""
PATIENCE_S = 60.0
"""How long a browser may leave its messages unanswered."""
STARTING_S = 1.0
"""How often a browser is told that the monitor is starting, as long as there is no ward yet."""
LARGEST_TEXT = 8192
WRONG, ASLEEP, TOO_MUCH, FULL, GONE = 4400, 4408, 4429, 4503, 1001
"""Codes with which a connection is closed."""


class _Browser:
    """A WebSocket of a browser, and what it was sent."""

    def __init__(self, socket: WebSocket, mirror: WardMirror) -> None:
        self.socket, self.state = socket, BrowserState(mirror)
        self.news, self.displaced = asyncio.Event(), asyncio.Event()
        self.behind_since_s: float | None = None
        self.messages = TokenBucket(MESSAGES_AT_ONCE, MESSAGE_S, time.monotonic())
        self.sending_since_s: float | None = None
        """Since when a message is on its way out."""
        self.unanswered_since_s = 0.0
        """When it answered last, or was sent the first message since."""

    @property
    def silent_s(self) -> float:
        """How long it has read or answered nothing that it should."""
        now_s = time.monotonic()
        blocked_s = now_s - self.sending_since_s if self.sending_since_s is not None else 0.0
        is_waited_for = self.state.tick != self.state.answered
        return max(blocked_s, now_s - self.unanswered_since_s if is_waited_for else 0.0)

    async def send(self, message: str | bytes) -> None:
        """Send a text or bytes; wait until they are on their way."""
        self.sending_since_s = time.monotonic()
        await (self.socket.send_text(message) if isinstance(message, str) else self.socket.send_bytes(message))
        self.sending_since_s = None


class ViewerRoom:
    """All browsers that watch. Used in the thread of the server alone."""

    def __init__(
        self, mirror: WardMirror, admission: Admission, most: int, start: str, note: Callable[[object, bool], None]
    ) -> None:
        """`start` names this run of the monitor; `note` is told of each address whether a viewer has it now."""
        self._mirror, self._admission, self._most, self._start, self._note = mirror, admission, most, start, note
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
        if len(self._browsers) >= self._most and not self._displace():
            await socket.close(FULL, f"{self._most} browsers watch already (web.viewers)")
            return
        self._note(socket.scope.get("client"), True)
        await self._watch(socket)

    def _displace(self) -> bool:
        """Let the browser go that has been silent for longest; return False where all answer."""
        browser = max(self._browsers, key=lambda known: known.silent_s)
        if browser.silent_s <= DISPLACED_S:
            return False
        self._browsers.discard(browser)
        browser.displaced.set()
        return True

    async def _check_token(self, socket: WebSocket) -> None:
        """Ask for the token where there is one. Raises RefusalError."""
        if self._admission.access.token is None:
            return
        await socket.send_text('{"type":"token"}')
        try:
            async with asyncio.timeout(TOKEN_S):
                token = read_object(await _receive_text(socket)).get("token")
        except TimeoutError:
            token = None
        except ValueError:
            raise RefusalError(400, "not understood") from None
        client = socket.client.host if socket.client else ""
        await self._admission.check_token(token if isinstance(token, str) else None, client)

    async def _watch(self, socket: WebSocket) -> None:
        browser = _Browser(socket, self._mirror)
        self._browsers.add(browser)
        self._mirror.welcome()
        self._want()
        try:
            may_act = self._admission.access.token is not None
            hello = hello_fields(self._start, time.time(), may_act, MOST_SHOWN)
            await socket.send_text(msgspec.json.encode(hello).decode())
            browser.news.set()
            async with asyncio.TaskGroup() as all_three:
                leaving = all_three.create_task(_make_way(browser))
                sending = all_three.create_task(self._send(browser))
                await self._receive(browser)
                sending.cancel()
                leaving.cancel()
        except* (WebSocketDisconnect, RuntimeError):  # it left, or one of the two sent after the other had closed
            pass
        finally:
            self._browsers.discard(browser)
            self._note(socket.scope.get("client"), False)
            self._want()
        if browser.displaced.is_set():
            with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
                async with asyncio.timeout(CLOSE_S):
                    await socket.close(ASLEEP, "the page did not answer, and another one needed its place")

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
                if state.settle(time.monotonic()):
                    self._want()
                if (ward := state.ward_message()) is not None:
                    await browser.send(ward)
                elif self._mirror.ward is None:
                    await browser.send(msgspec.json.encode(starting_fields(time.time())).decode())
                was_answered = state.tick == state.answered
                if (waves := state.waves_message(time.time())) is not None:
                    if was_answered:
                        browser.unanswered_since_s = time.monotonic()
                    await browser.send(waves)
            try:
                async with asyncio.timeout(STARTING_S if self._mirror.ward is None else PATIENCE_S / 4):
                    await browser.news.wait()
            except TimeoutError:
                continue
            browser.news.clear()

    async def _receive(self, browser: _Browser) -> None:
        """Take what the browser says, until it leaves or says nonsense."""
        while True:
            text = await _receive_text(browser.socket)
            now_s, was_behind, answered = time.monotonic(), browser.state.is_behind, browser.state.answered
            if not browser.messages.take(now_s):
                await browser.socket.close(TOO_MUCH, "too many messages")
                return
            try:
                wants_others = browser.state.take(text, now_s)
            except ValueError:
                await browser.socket.close(WRONG, "not understood")
                return
            if browser.state.answered != answered:
                browser.unanswered_since_s = now_s
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


async def _make_way(browser: _Browser) -> None:
    """End a browser's tasks once another one has its place."""
    await browser.displaced.wait()
    raise WebSocketDisconnect(ASLEEP)


async def _receive_text(socket: WebSocket) -> str:
    """Return the next text, "" for anything else. Raises WebSocketDisconnect."""
    if socket.application_state != WebSocketState.CONNECTED:
        raise WebSocketDisconnect
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", GONE))
    return message.get("text") or ""
