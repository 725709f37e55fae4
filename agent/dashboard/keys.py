"""Keys: a view and what was typed make the next view."""

import re
from collections.abc import Sequence
from dataclasses import replace

from agent.core.messages import Snapshot
from agent.dashboard.layout import Grid
from agent.dashboard.view import (
    SECONDS,
    Action,
    View,
    arrange,
    chosen,
    glance,
    is_chosen,
    is_overview,
    seconds_across,
    thaw,
    window_of,
)
from agent.dashboard.wave import HEIGHTS_MV

LONGEST_NAME = 40
"""Characters of a name that is looked for."""
CHOOSE, THAW = "choose a bed first: n, p or /", "the picture is frozen: space first"

_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_MOVES = {"n": 1, "\t": 1, "p": -1, "\x1b[Z": -1}
_UP, _DOWN, _LEFT, _RIGHT = (("\x1b[" + key, "\x1bO" + key) for key in "ABDC")
_PAGES = {"\x1b[6~": 1, "\x1b[5~": -1}
_FIRST, _LAST = ("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), ("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~")
_GAINS = {"+": -1, "=": -1, "-": 1, "_": 1}
_TIMES = {"<": -1, ",": -1, "[": -1, ">": 1, ".": 1, "]": 1}
_TIMES |= dict.fromkeys(_LEFT, -1) | dict.fromkeys(_RIGHT, 1)


def press(view: View, keys: str, snapshot: Snapshot) -> View:
    """The view after these keys; keys without a meaning change nothing but when a key was last pressed."""
    if not keys:
        return view
    view = arrange(view, snapshot)
    for key in _KEY.findall(keys):
        one = _typing if view.typed is not None else _press_one
        view = one(replace(view, note=""), key, view.frozen or snapshot)
    return replace(view, touched_s=snapshot.now_s)


def _press_one(view: View, key: str, shown: Snapshot) -> View:
    names = view.order.names
    by = _step_of(view, key, is_overview(view, shown))
    if key in ("q", "Q", "\x03"):
        return replace(view, quit=True)
    if key == " ":
        return thaw(view) if view.frozen else replace(view, freezing=not view.freezing)
    if key == "b":
        return replace(view, bell=not view.bell, note="bell off" if view.bell else "bell on")
    if key == "a":
        return replace(view, height_mv=None, seconds=None)
    if not names:
        return view
    if by or key in _FIRST or key in _LAST:
        lost = is_overview(view, shown) and not is_chosen(view) and key not in _PAGES
        return replace(view, bed=_moved(view, by, lost) if by else names[-(key in _LAST)])
    if key in _GAINS:
        return _with_gain(view, shown, _GAINS[key])
    if key in _TIMES:
        return replace(view, seconds=int(_next(SECONDS, seconds_across(view), _TIMES[key])))
    return _of_ward(view, key, shown)


def _of_ward(view: View, key: str, shown: Snapshot) -> View:
    """What looks at the ward, and what is done for a bed."""
    if key == "o":
        to = not is_overview(view, shown)
        return replace(view, overview=to, bed=view.bed if to else chosen(view))
    if key in "\r\n":
        return replace(view, bed=chosen(view), overview=False)
    if key == "s":
        if view.frozen:
            return replace(view, note=THAW)
        said = "in the order of arrival" if view.by_urgency else "the most urgent first"
        return replace(view, by_urgency=not view.by_urgency, note=said)
    if key == "/":
        return replace(view, typed="", before=view.bed)
    return _act(view, key, shown) if key in "km" else view


def _act(view: View, key: str, shown: Snapshot) -> View:
    """Acknowledge or silence: of a bed that is seen as it is now, and that somebody chose."""
    if view.frozen or view.freezing:
        return replace(view, note=THAW)
    if is_overview(view, shown) and not is_chosen(view):
        return replace(view, note=CHOOSE)
    bed = glance(shown, chosen(view))
    if key == "k":
        said = f"alarms of {bed.bed} acknowledged" if bed.priority else f"{bed.bed} has no alarm"
        return replace(view, asked=(*view.asked, Action("acknowledge", bed.bed)), note=said)
    said = f"{bed.bed} is no longer silenced" if bed.silenced else f"{bed.bed} silenced"
    return replace(view, asked=(*view.asked, Action("silence", bed.bed)), note=said)


def _typing(view: View, key: str, shown: Snapshot) -> View:
    """A key while a name is typed; the first bed that fits is chosen at once."""
    typed = view.typed or ""
    if key == "\x03":
        return replace(view, quit=True)
    if key in "\r\n":
        return replace(view, typed=None)
    if key == "\x1b":
        return replace(view, typed=None, bed=view.before)
    if key in "\x7f\b":
        typed = typed[:-1]
    elif key.isprintable() and len(typed) < LONGEST_NAME:
        typed += key
    else:
        return view
    found = matches(typed, [bed.bed for bed in shown.index])
    return replace(view, typed=typed, bed=found[0] if found else view.before)


def matches(typed: str, names: Sequence[str]) -> list[str]:
    """The beds a typed text may mean, the best first: so called, so beginning, so ending, or with it in the name."""
    text = typed.casefold()
    if not text:
        return []
    folded = [(name.casefold(), name) for name in names]
    fits = [(name == text, name.startswith(text), name.endswith(text), own) for name, own in folded if text in name]
    return [own for *_, own in sorted(fits, key=lambda fit: fit[:3], reverse=True)]


def _step_of(view: View, key: str, overview: bool) -> int:
    """By how many beds a key moves, 0 where it does not: by cards in the ward, one by one in the view of a bed."""
    grid = view.grid if overview else Grid()
    if key in _PAGES:
        return _PAGES[key] * view.grid.per_page
    if key in _MOVES:
        return _MOVES[key]
    if key in _UP or key in _DOWN:
        return grid.columns if key in _DOWN else -grid.columns
    if overview and (key in _LEFT or key in _RIGHT):
        return 1 if key in _RIGHT else -1
    return 0


def _moved(view: View, by: int, lost: bool) -> str:
    """The bed so many places on: one by one around the end, by rows and pages as far as there are beds.

    `lost`: nobody chose the bed to move from, so that the move is to the first or the last.
    """
    names, last = view.order.names, len(view.order.names) - 1
    if lost:
        return names[0 if by > 0 else last]
    place = view.order.places[chosen(view)] + by
    return names[place % len(names)] if abs(by) == 1 else names[min(max(place, 0), last)]


def _with_gain(view: View, shown: Snapshot, by: int) -> View:
    window = view.windows.get(chosen(view)) or next(iter(view.windows.values()), None)
    bed = next((bed for bed in shown.beds if bed.bed == chosen(view)), None)
    window = window_of(view, bed) if bed else window
    height = view.height_mv or (window.height if window else 2.0)
    return replace(view, height_mv=_next(HEIGHTS_MV, height, by))


def _next(steps: Sequence[float], now: float, by: int) -> float:
    nearest = min(range(len(steps)), key=lambda i: abs(steps[i] - now))
    return steps[min(max(nearest + by, 0), len(steps) - 1)]
