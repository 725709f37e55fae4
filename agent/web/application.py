"""The pages and requests of the server: the page itself, look-ups, deeds, and the WebSocket."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import islice
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send

from agent.core.look_back import BedPast, PastRequest
from agent.monitor.ward_source import WardSource
from agent.web.admission import Admission, RefusalError, bearer_token
from agent.web.deeds import DEEDS, alarm_key, do_deed, read_wish
from agent.web.hand_over import HandOver, LoopQuestion
from agent.web.past_text import past_alarms_fields, strip_fields, trend_fields
from agent.web.viewers import ViewerRoom
from agent.web.ward_mirror import WardMirror
from model.errors import SourceError

LARGEST_BODY = 4096
ANSWER_S = 5.0
"""How long the loop may take to answer."""
READING_S, READING_PAUSE_S = 3.0, 0.1
"""How long a recording may be read before what is known by then is told."""
MOST_HOURS = 24
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
    "Connection": "close",
}
"""Of every answer. A connection serves one request: so its time is known, and none idles."""


def read_page() -> dict[str, tuple[bytes, str]]:
    """Return the files of the page by address, with their types: they are held, so that no path is ever opened."""
    found = dict(_read_files(files("agent.web") / "page", "/"))
    if "/index.html" in found:
        found["/"] = found["/index.html"]
    return found


def _read_files(folder: Traversable, address: str) -> Iterator[tuple[str, tuple[bytes, str]]]:
    for entry in folder.iterdir():
        kind = CONTENT_TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if entry.is_dir():
            yield from _read_files(entry, f"{address}{entry.name}/")
        elif kind:
            yield f"{address}{entry.name}", (entry.read_bytes(), kind)


class WardApplication:
    """Answers requests. Used in the thread of the server alone."""

    def __init__(self, mirror: WardMirror, hand_over: HandOver, admission: Admission, room: ViewerRoom) -> None:
        self._mirror, self._hand_over, self._admission = mirror, hand_over, admission
        self._page = read_page()
        routes = [
            WebSocketRoute("/ws", room.serve),
            Route("/api/beds", self._list_beds),
            Route("/api/beds/{bed}/alarms", self._tell_alarms),
            Route("/api/beds/{bed}/trend", self._tell_trend),
            Route("/api/beds/{bed}/strips/{key}", self._tell_strip),
            Route("/api/beds/{bed}/{deed}", self._act, methods=["POST"]),
            *(Route(path, self._send_file) for path in self._page),
        ]
        handlers: dict[Any, Any] = {RefusalError: _answer_refusal, HTTPException: _answer_http_error}
        self._routes = Starlette(routes=routes, exception_handlers=handlers)
        self._routes.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._routes(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._admission.check_head(scope)
            self._admission.check_host(headers)
            if scope["path"] not in self._page:  # a link may lead here from anywhere
                self._admission.check_origin(headers)
        except RefusalError as refusal:
            await _refusal_response(refusal.status, refusal.reason)(scope, receive, send_safely)
            return
        await self._routes(scope, receive, send_safely)

    async def _send_file(self, request: Request) -> Response:
        content, kind = self._page[request.url.path]
        return Response(content, media_type=kind)

    async def _tell_alarms(self, request: Request) -> Response:
        bed = await self._admit(request)
        return _json_response(past_alarms_fields(await self._look_back(PastRequest(bed, alarms=True))))

    async def _tell_trend(self, request: Request) -> Response:
        bed = await self._admit(request)
        hours = request.query_params.get("hours", "1")
        count = _read_number(hours)
        if count is None or not 1 <= count <= MOST_HOURS:
            raise RefusalError(400, f"hours are 1 to {MOST_HOURS}")
        past = await self._look_back(PastRequest(bed, hours=count))
        assert past.trend is not None
        return _json_response(trend_fields(past.trend))

    async def _tell_strip(self, request: Request) -> Response:
        bed, key = await self._admit(request), request.path_params["key"]
        alarms = (await self._look_back(PastRequest(bed, alarms=True))).alarms
        identity = next((past.identity for past in alarms if alarm_key(past.identity) == key), None)
        if identity is None:
            raise RefusalError(404, "there is no alarm of this key")
        strip = (await self._look_back(PastRequest(bed, strip=identity))).strip
        if strip is None:
            raise RefusalError(404, "there is no strip yet: it is cut 10 s after the alarm")
        return _json_response(strip_fields(strip))

    async def _look_back(self, request: PastRequest) -> BedPast:
        """Return a bed's past; what is in a recording is read meanwhile, for a few seconds at most."""
        until_s = time.monotonic() + READING_S
        while True:
            past: BedPast = await self._ask(lambda session: session.past(request, session.clock()))
            if not past.reading or time.monotonic() > until_s:
                return past
            await asyncio.sleep(READING_PAUSE_S)

    async def _act(self, request: Request) -> Response:
        """Do something about the alarms of a bed, in the name of a person."""
        self._admission.check_deed(request.headers)
        bed = await self._admit(request)
        deed = request.path_params["deed"]
        if deed not in DEEDS:
            raise RefusalError(404, "there is no such deed")
        wish = read_wish(deed, await _read_body(request))
        try:
            return _json_response(await self._ask(lambda session: do_deed(session.actions, deed, bed, wish)))
        except SourceError as error:  # the store of a fleet is away
            raise RefusalError(503, str(error)) from error

    async def _list_beds(self, request: Request) -> Response:
        await self._check_token(request)

        def look_up(session: WardSource) -> list[dict[str, Any]]:
            index = session.ward_snapshot(session.clock()).index
            return [
                {"id": number, "bed": bed.bed, "state": bed.state, "priority": bed.priority}
                for number, bed in enumerate(index)
            ]

        return _json_response({"beds": await self._ask(look_up)})

    async def _admit(self, request: Request) -> str:
        """Check the token of a request, and return the name of its bed. Raises RefusalError."""
        await self._check_token(request)
        number = _read_number(request.path_params["bed"])
        if number is None:
            raise RefusalError(404, "there is no bed of this id")
        # While nobody watches only the loop knows the beds; they are numbered by their arrival
        name: str | None = self._mirror.name_of(number) or await self._ask(
            lambda session: next(islice(_bed_names(session), number, None), None)
        )
        if name is None:
            raise RefusalError(404, "there is no bed of this id")
        return name

    async def _check_token(self, request: Request) -> None:
        client = request.client.host if request.client else ""
        await self._admission.check_token(bearer_token(request.headers), client)

    async def _ask(self, ask: Callable[[WardSource], Any]) -> Any:
        """Return what the loop answers. Raises RefusalError."""
        question = LoopQuestion(ask, Future())
        if not self._hand_over.put_question(question):
            raise RefusalError(503, "the monitor is busy: try again")
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.wrap_future(question.answer)
        except TimeoutError:
            raise RefusalError(503, "the monitor is busy: try again") from None


def _bed_names(session: WardSource) -> Iterator[str]:
    return (bed.bed for bed in session.ward_snapshot(session.clock()).index)


async def _read_body(request: Request) -> bytes:
    """Return the content of a request. Raises RefusalError where it is too large."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_BODY:
            raise RefusalError(413, f"the content is larger than {LARGEST_BODY} bytes")
    return content


def _read_number(text: str) -> int | None:
    """Return a whole number of at most six digits, None for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _json_response(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _refusal_response(status: int, reason: str) -> Response:
    response = _json_response({"error": reason}, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def _answer_refusal(_request: Request, refusal: RefusalError) -> Response:
    return _refusal_response(refusal.status, refusal.reason)


async def _answer_http_error(_request: Request, error: HTTPException) -> Response:
    return _refusal_response(error.status_code, error.detail)
