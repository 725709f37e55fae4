"""Pause, place and speed of a replay, which keys and requests over the backfill channel may change while it runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from threading import Lock
from typing import NamedTuple

from agent.core.replay_keys import FASTEST, SLOWEST
from agent.wire.requests import ReplayReply, ReplayRequest
from simulator.packet_schedule import MovableSource

NO_CONTROL = "this replay takes no orders: simulate.control is off"


class _Anchor(NamedTuple):
    """At `now_s` on the wall the schedule stood at `schedule_s`, and went on at `rate`: 0 while it is paused."""

    now_s: float
    schedule_s: float
    rate: float


@dataclass(frozen=True, slots=True)
class _BedPlace:
    """Where a bed was in its record, at `schedule_s` on the schedule."""

    source: MovableSource
    position_s: float
    schedule_s: float = 0.0

    def at(self, schedule_s: float) -> float:
        """Return the seconds of the record at a later time of the schedule."""
        position_s = self.position_s + max(0.0, schedule_s - self.schedule_s)
        length_s = self.source.length_s
        return position_s % length_s if self.source.loops else min(position_s, length_s)


class PlaybackControl:
    """How a replay goes on. Any thread may call `handle`; the rest is for the thread that sends.

    `speed`: times real time, None for as fast as it goes. `reached_s`: the instant of the schedule that was sent last.
    """

    def __init__(self, sources: Sequence[MovableSource], speed: float | None, now: Callable[[], float]) -> None:
        self.speed = speed
        self.reached_s = 0.0
        self._now = now
        self._lock = Lock()
        self._paused = self._started = False
        self._anchor = _Anchor(now(), 0.0, speed or inf)
        self._places = {source.bed: _BedPlace(source, source.start_s) for source in sources}
        self._moves: dict[str, float] = {}

    def start(self, now_s: float) -> None:
        """Begin the schedule now."""
        with self._lock:
            self._started = True
            self._anchor = self._anchor._replace(now_s=now_s)

    def wall_s(self, schedule_s: float) -> float:
        """Return when an instant of the schedule is due; never while the replay is paused."""
        now_s, anchor_s, rate = self._anchor
        return now_s + (schedule_s - anchor_s) / rate if rate else inf

    @property
    def has_moves(self) -> bool:
        """Whether a bed is to move now; one that is paused moves when it goes on."""
        return bool(self._moves) and not self._paused

    def take_moves(self, now_s: float) -> list[tuple[MovableSource, float]]:
        """Return the beds that are to move, and the seconds of their records from which they go on."""
        with self._lock:
            schedule_s = self._schedule_s(now_s)
            moves = [(self._places[bed].source, position_s) for bed, position_s in self._moves.items()]
            for source, position_s in moves:
                self._places[source.bed] = _BedPlace(source, position_s, schedule_s)
            self._moves.clear()
            return moves

    def handle(self, request: ReplayRequest) -> ReplayReply:
        """Do what a request asks for; say whether, and how the replay stands then."""
        with self._lock:
            now_s = self._now()
            reason = self._refusal(request) or self._obey(request, now_s)
            return self._reply(request, reason, now_s)

    def refuse(self, request: ReplayRequest) -> ReplayReply:
        """Only say how the replay stands."""
        with self._lock:
            return self._reply(request, "" if request.action == "status" else NO_CONTROL, self._now())

    def _refusal(self, request: ReplayRequest) -> str:
        """Return why a request makes no sense here, "" where it does."""
        if request.bed and request.bed not in self._places:
            return f"no bed {request.bed!r} here"
        if request.action == "speed" and not SLOWEST <= request.value <= FASTEST:
            return f"speed {request.value:g}: give {SLOWEST:g} to {FASTEST:g} times real time"
        if request.action == "speed" and self.speed is None:
            return "a replay at full speed has no other one: start it with --speed"
        return ""

    def _obey(self, request: ReplayRequest, now_s: float) -> str:
        """Change what is asked for; return why not, "" where it was done."""
        match request.action:
            case "pause" | "resume":
                self._set_rate(now_s, paused=request.action == "pause")
            case "speed":
                self.speed = request.value
                self._set_rate(now_s, paused=self._paused)
            case "seek" | "jump":
                return self._move(request, now_s)
        return ""

    def _set_rate(self, now_s: float, paused: bool) -> None:
        self._anchor = _Anchor(now_s, self._schedule_s(now_s), 0.0 if paused else self.speed or inf)
        self._paused = paused

    def _move(self, request: ReplayRequest, now_s: float) -> str:
        """Note where beds are to go on, all of them or none; return why none, "" where they will."""
        schedule_s = self._schedule_s(now_s)
        moves: dict[str, float] = {}
        for bed, place in self._places.items():
            if request.bed in ("", bed):
                here_s = place.at(schedule_s) if request.action == "seek" else 0.0
                moves[bed] = max(0.0, here_s + request.value)
                if problem := place.source.move_problem(moves[bed]):
                    return problem
        for bed, position_s in moves.items():
            self._places[bed] = replace(self._places[bed], position_s=position_s, schedule_s=schedule_s)
        self._moves |= moves
        return ""

    def _schedule_s(self, now_s: float) -> float:
        """Return how far the schedule is: at full speed as far as was sent, and nowhere before it has begun."""
        anchor = self._anchor
        if not self._started:
            return 0.0
        if anchor.rate == inf:
            return self.reached_s
        return anchor.schedule_s + (now_s - anchor.now_s) * anchor.rate

    def _reply(self, request: ReplayRequest, reason: str, now_s: float) -> ReplayReply:
        place = self._places.get(request.bed) or next(iter(self._places.values()), None)
        return ReplayReply(
            id=request.id,
            done=not reason,
            reason=reason,
            paused=self._paused,
            speed=self.speed or 0.0,
            position=place.at(self._schedule_s(now_s)) if place else 0.0,
            length=place.source.length_s if place else 0.0,
        )
