"""The keys of a replay that this monitor has started itself: pause, place and speed; and what they answer."""

from dataclasses import replace

from agent.core.replay_keys import SHORT_STEP_S, next_speed
from agent.dashboard.view import DashboardView, ReplayWish
from agent.wire.requests import ReplayAction, ReplayReply
from model.text import format_clock

PAUSE_KEY = "x"
SEEK_STEPS_S = {"{": -SHORT_STEP_S, "}": SHORT_STEP_S}
SPEED_STEPS = {"(": -1, ")": 1}
REPLAY_KEYS = (PAUSE_KEY, *SEEK_STEPS_S, *SPEED_STEPS)
NO_REPLAY_NOTE = "x { } ( ) are for a replay of our own: demo, monitor --from"


def press_replay_key(view: DashboardView, key: str) -> DashboardView:
    """Return the view with the wish that a key stands for."""
    if not view.replays:
        return replace(view, note=NO_REPLAY_NOTE)
    if key == PAUSE_KEY:
        wish = ReplayWish("pause")
    elif key in SEEK_STEPS_S:
        wish = ReplayWish("seek", SEEK_STEPS_S[key])
    else:
        wish = ReplayWish("speed", SPEED_STEPS[key])
    return replace(view, wishes=(*view.wishes, wish))


def wish_request(wish: ReplayWish, known: ReplayReply | None) -> tuple[ReplayAction, float]:
    """Return the action and the value to ask the device for, by what it said last of how it stands."""
    if wish.kind == "pause":
        return "resume" if known is not None and known.paused else "pause", 0.0
    if wish.kind == "speed":
        return "speed", next_speed(known.speed if known is not None and known.speed else 1.0, int(wish.value))
    return "seek", wish.value


def replay_note(reply: ReplayReply) -> str:
    """Return the answer of the device in words."""
    if not reply.done:
        return reply.reason
    here, end = (format_clock(seconds, hour_digits=0) for seconds in (reply.position, reply.length))
    speed = f"{reply.speed:g}x" if reply.speed else "full speed"
    return f"replay {'paused ' * reply.paused}at {here} of {end}, {speed}{': x goes on' * reply.paused}"
