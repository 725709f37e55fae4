"""A monitor of the tests that serves the page and says what a test wants it to say, by the protocol of docs/web.md."""

import asyncio
import contextlib
import json
import threading
import time
from typing import Any
from uuid import uuid4

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from agent.web.application import SECURITY_HEADERS, read_page
from agent.web.browser_state import BEAT, BLOCK, FULL, HEADER, RESET
from model.records.resample import FS
from support.broker import free_port

TICK_S, WARD_S = 0.1, 0.5
RR = 100
"""Samples between two R peaks: 75 beats a minute."""
LETTERS, SURE = "NNVNS", (0.95, 0.95, 0.95, 0.95, 0.5)
"""Letters of the beats, over and over, and how sure the net is of them."""
Fields = dict[str, Any]


class StagedWard:
    """Beds with a synthetic ECG. `beds` are what is told of them, by name; `deeds` what browsers have done,
    `orders` what they said beside their name; `late_s`: all that is told is that old, as over a slow network;
    `is_starting`: no ward is told yet; `refusal`: why limits are not taken, "" if they are; `second_lead`: that of each
    bed by the heard one, as often in mV and so many mV higher."""

    def __init__(self, names: list[str], token: str = "") -> None:
        self.port, self.token, self.deeds = free_port(), token, list[tuple[str, str, str]]()
        self.orders = list[Fields]()
        self.late_s = 0.0
        self.is_starting = False
        self.refusal = ""
        self.second_lead = 1.0, 0.0
        self.stage(names)
        self._server: uvicorn.Server | None = None
        self.page = {path: (body, kind) for path, (body, kind) in read_page().items()}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def stage(self, names: list[str]) -> None:
        """Begin with these beds, as a monitor that has just been started."""
        self.start, self.began_s, self.version = uuid4().hex, time.monotonic(), 0
        self.beds = {name: self._new_bed(number, name) for number, name in enumerate(names, 1)}
        self.counts_of_waves = 0

    def open(self) -> None:
        """Serve until closed, in a thread."""
        routes = [
            *(Route(path, self._send_file) for path in self.page),
            Route("/api/beds/{number:int}/{what}", self._look_up),
            Route("/api/beds/{number:int}/strips/{key}", self._send_strip),
            Route("/api/beds/{number:int}/{deed}", self._act, methods=["POST"]),
            WebSocketRoute("/ws", self._watch),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            port=self.port,
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the staged ward does not start"
            time.sleep(0.01)

    def close(self) -> None:
        """End, as if killed: connections are cut."""
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join()
            self._server = None

    def tell(self, name: str, **fields: Any) -> None:
        """Change what is told of a bed, at once."""
        self.beds[name] |= fields
        self.version += 1

    def raise_alarm(self, name: str, priority: str, condition: str, short: str, text: str = "") -> None:
        """Raise an alarm of a bed, at once."""
        alarm = {
            "key": uuid4().hex[:16],
            "condition": condition,
            "short": short,
            "priority": priority,
            "text": text,
            "phase": "active",
            "since_s": time.time(),
            "ended_s": None,
            "acknowledged_s": None,
            "onset": 0,
        }
        self.tell(name, alarms=[alarm, *self.beds[name]["alarms"]])

    def _new_bed(self, number: int, name: str) -> Fields:
        return {
            "id": number,
            "bed": name,
            "patient": None,
            "place": None,
            "state": "ok",
            "rate": 75,
            "rr_ms": 800,
            "rmssd_ms": 21,
            "sdnn_ms": 35,
            "counts": [60, 20, 20, 0, 0],
            "rhythm": "",
            "rhythm_words": "no arrhythmia alarmed",
            "quality": 0.93,
            "lead": "II",
            "leads": [{"lead": "II", "quality": 0.93}, {"lead": "V5", "quality": 0.5}],
            "other_leads": ["V5"],
            "alarms": [],
            "silenced_until_s": None,
            "paused_until_s": None,
            "run": self.start,
            "head": 0,
            "last_heard_s": time.time(),
            "behind_s": 0.0,
            "limits": [{"name": "heart rate", "low": 50, "high": 130, "unit": "/min", "own": True}],
            "own_limits": [
                {"name": "rate_low_bpm", "own": None, "of_all": 50},
                {"name": "rate_high_bpm", "own": 130, "of_all": 120},
                {"name": "v_most_per_min", "own": None, "of_all": 10},
            ],
            "gaps": 0,
            "missing": 0,
            "latency": None,
            "ledger": {"sent": 1500, "analysed": 1400, "missing": 100, "open": 0},
        }

    def _name_of(self, number: int) -> str | None:
        return next((name for name, bed in self.beds.items() if bed["id"] == number), None)

    async def _send_file(self, request: Request) -> Response:
        body, kind = self.page[request.url.path]
        return Response(body, media_type=kind, headers=SECURITY_HEADERS)

    async def _look_up(self, request: Request) -> Response:
        bed = self.beds[self._name_of(request.path_params["number"]) or ""]
        if request.path_params["what"] == "alarms":
            return JSONResponse({"bed": bed["bed"], "alarms": bed["alarms"]})
        minutes = [60 * (time.time() // 60 - 59 + i) for i in range(60)]
        wave = [70 + 10 * np.sin(i / 9) for i in range(60)]
        return JSONResponse({"t_s": minutes, "rate": wave, "v": [2.0] * 59 + [None], "quality": [0.9] * 60})

    async def _send_strip(self, _request: Request) -> Response:
        counts = ecg_counts(0, 20 * FS).tolist()
        beats = [{"sample": i * RR, "label": LETTERS[i % 5], "confidence": SURE[i % 5]} for i in range(25)]
        return JSONResponse({"lead": "II", "first": 0, "announced": 10 * FS, "counts": counts, "beats": beats})

    async def _act(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"error": "the token is wrong"}, 401)
        name, deed = self._name_of(request.path_params["number"]) or "", request.path_params["deed"]
        order = await request.json()
        self.deeds.append((deed, name, order.pop("by")))
        self.orders.append(order)
        bed = self.beds[name]
        if deed == "acknowledge":
            shown = set(order["keys"])
            alarms = [{**one, "phase": "acknowledged"} if one["key"] in shown else one for one in bed["alarms"]]
            self.tell(name, alarms=alarms)
        elif deed == "limits" and self.refusal:
            return JSONResponse({"error": self.refusal}, 400)
        elif deed == "limits":
            if order["was"] != {row["name"]: row["own"] for row in bed["own_limits"] if row["name"] in order["was"]}:
                return JSONResponse({"error": "somebody has changed these limits meanwhile: look at them again"}, 409)
            rows = [{**row, "own": order["limits"].get(row["name"], row["own"])} for row in bed["own_limits"]]
            self.tell(name, own_limits=rows)
        else:
            until_s = {"silence": "silenced_until_s", "pause": "paused_until_s"}[deed]
            self.tell(name, **{until_s: time.time() + 120 if order["on"] else None})
        said = {until_s: bed[until_s] for until_s in ("silenced_until_s", "paused_until_s")}
        return JSONResponse({"done": True, **said})

    async def _watch(self, socket: WebSocket) -> None:
        await socket.accept()
        if self.token:
            await socket.send_text('{"type":"token"}')
            if (await socket.receive_json()).get("token") != self.token:
                await socket.close(4401, "the token is wrong")
                return
        viewer = _StagedViewer(socket, self)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            async with asyncio.TaskGroup() as both:
                sending = both.create_task(viewer.send())
                with contextlib.suppress(WebSocketDisconnect):
                    while True:
                        viewer.take(json.loads(await socket.receive_text()))
                sending.cancel()


class _StagedViewer:
    """One browser: what it shows, and what it was sent."""

    def __init__(self, socket: WebSocket, ward: StagedWard) -> None:
        self.socket, self.ward = socket, ward
        self.shown: list[int] = []
        self.watched: int | None = None
        self.sent: dict[tuple[int, int], int] = {}
        self.version, self.ward_due_s, self.tick, self.past_s = -1, 0.0, 0, 10

    def take(self, said: Fields) -> None:
        if "show" in said:
            self.shown, self.watched, self.version = said["show"], said.get("watch"), -1
            self.past_s = said.get("seconds", self.past_s)

    async def send(self) -> None:
        await self.socket.send_json(self._hello())
        while True:
            if self.version != self.ward.version or time.monotonic() >= self.ward_due_s:
                self.version, self.ward_due_s = self.ward.version, time.monotonic() + WARD_S
                await self.socket.send_json(self._starting() if self.ward.is_starting else self._ward())
            if self.ward.is_starting:
                await asyncio.sleep(TICK_S)
                continue
            await self.socket.send_bytes(self._waves())
            await asyncio.sleep(TICK_S)

    def _hello(self) -> Fields:
        return {
            "type": "hello",
            "version": 1,
            "start": self.ward.start,
            "now_s": time.time() - self.ward.late_s,
            "zone": "+05:30",
            "most_shown": 64,
            "may_act": bool(self.ward.token),
            "actions": ["acknowledge", "silence", "pause", "limits"],
            "conditions": [{"name": "no data", "short": "NO DATA", "priority": "medium", "technical": True}],
        }

    def _starting(self) -> Fields:
        return {"type": "starting", "now_s": time.time() - self.ward.late_s}

    def _ward(self) -> Fields:
        ranks = {"high": 3, "medium": 2, "low": 1}
        in_order = {name: sorted(bed["alarms"], key=_alarm_place) for name, bed in self.ward.beds.items()}
        beds = sorted(
            ({**bed, "alarms": in_order[name]} for name, bed in self.ward.beds.items()),
            key=lambda bed: -max((ranks[alarm["priority"]] for alarm in bed["alarms"]), default=0),
        )
        worst = {bed["bed"]: bed["alarms"][0] if bed["alarms"] else None for bed in beds}
        index = [_index_row(bed, worst[bed["bed"]]) for bed in beds]
        counts = {priority: sum(row[3] == priority for row in index) for priority in ranks}
        over = {priority: sum(row[3] == priority and row[7] for row in index) for priority in ranks}
        return {
            "type": "ward",
            "now_s": time.time() - self.ward.late_s,
            "index": index,
            "counts": {**counts, "over": over, "silenced": 0, "no_data": 0},
            "beds": [bed for bed in beds if bed["id"] in self.shown or bed["id"] == self.watched],
            "link": {"state": "connected", "trouble": ""},
            "recording": None,
            "events": [{"time": "2026-01-01T12:00:00Z", "bed": None, "kind": "link", "text": "connected"}],
            "ledger": {"sent": 1500, "analysed": 1400, "missing": 100, "open": 0},
            "weights": "live",
            "least_confidence": 0.8,
        }

    def _waves(self) -> bytes:
        head = round((time.monotonic() - self.ward.began_s) * FS) + 30 * FS
        blocks = [self._block(number, 0, 0, head, self.past_s) for number in self.shown]
        if self.watched is not None:
            blocks += [self._block(self.watched, lead, FULL, head, 30) for lead in (0, 1)]
        self.tick += 1
        return HEADER.pack(1, 1, len(blocks), self.tick, time.time(), time.time()) + b"".join(blocks)

    def _block(self, number: int, lead: int, flags: int, head: int, past_s: int) -> bytes:
        key = number, lead + flags
        first = self.sent.get(key)
        flags |= RESET if first is None else 0
        first = max(0, head - past_s * FS) if first is None else first
        self.sent[key] = head
        nearby = range(max(0, (first - FS) // RR), head // RR + 1) if lead == 0 else ()
        beats = [i for i in nearby if first <= i * RR + FS < head]  # known a second after their R peak
        packed = (BEAT.pack(i * RR, ord(LETTERS[i % 5]), round(100 * SURE[i % 5]), 0) for i in beats)
        return b"".join(
            [
                BLOCK.pack(number, lead, flags, first, head - first, len(beats), 20, 0),
                self._counts(lead, first, head - first).astype("<i2").tobytes(),
                *packed,
            ]
        )

    def _counts(self, lead: int, first: int, count: int) -> "np.ndarray[Any, np.dtype[np.int16]]":
        times, higher_mv = self.ward.second_lead if lead else (1.0, 0.0)
        millivolts = times * ecg_counts(first, count) / 200 + higher_mv
        counts: np.ndarray[Any, np.dtype[np.int16]] = np.rint(200 * millivolts).astype(np.int16)
        return counts


def ecg_counts(first: int, count: int) -> "np.ndarray[Any, np.dtype[np.int16]]":
    """Return (n,) int16 in 5 µV: a peak of 1 mV at each R peak, a T wave behind it."""
    phase = (first + np.arange(count)) % RR
    r_peak = np.exp(-((np.minimum(phase, RR - phase) / 1.8) ** 2))
    t_wave = 0.25 * np.exp(-(((phase - 32) / 8) ** 2))
    return np.rint(200 * (r_peak + t_wave)).astype(np.int16)


def _alarm_place(alarm: Fields) -> tuple[int, bool]:
    return ["high", "medium", "low"].index(alarm["priority"]), alarm["phase"] == "over"


def _index_row(bed: Fields, worst: Fields | None) -> list[Any]:
    priority = worst["priority"] if worst else None
    is_silenced = (bed["silenced_until_s"] or 0) > time.time()
    audible = priority if worst and worst["phase"] != "acknowledged" and not is_silenced else None
    of_it = [alarm["phase"] for alarm in bed["alarms"] if alarm["priority"] == priority]
    is_over = bool(of_it) and set(of_it) == {"over"}
    return [bed["id"], bed["bed"], bed["state"], priority, audible, is_silenced, False, is_over]
