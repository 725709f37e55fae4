"""The keys: turn a view and the typed characters into the next view."""

import re
from collections.abc import Sequence
from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.layout import CardGrid
from agent.dashboard.replay_control import REPLAY_KEYS, press_replay_key
from agent.dashboard.view import (
    SWEEP_SECONDS,
    BedAction,
    DashboardView,
    bed_window,
    chosen_bed,
    find_bed_summary,
    is_chosen,
    is_overview,
    order_view_beds,
    seconds_across,
    thaw_view,
)
from agent.dashboard.wave_raster import HEIGHTS_MV

LONGEST_NAME = 40
"""Most characters of a name that is searched."""
CHOOSE_NOTE = "choose a bed first: n, p or /"
THAW_NOTE = "the picture is frozen: space first"

# An escape sequence, as arrow and page keys send it in either mode of a terminal, else a single character
_KEY_PATTERN = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_BED_STEPS = {"n": 1, "\t": 1, "p": -1, "\x1b[Z": -1}
_UP_KEYS, _DOWN_KEYS, _LEFT_KEYS, _RIGHT_KEYS = (("\x1b[" + key, "\x1bO" + key) for key in "ABDC")
_PAGE_STEPS = {"\x1b[6~": 1, "\x1b[5~": -1}
_FIRST_KEYS, _LAST_KEYS = ("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), ("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~")
# Keys without Shift count, too: = is on the key of +, and [ ] are where < > are hard to type
_GAIN_STEPS = {"+": -1, "=": -1, "-": 1, "_": 1}
_TIME_STEPS = {"<": -1, ",": -1, "[": -1, ">": 1, ".": 1, "]": 1}
_TIME_STEPS |= dict.fromkeys(_LEFT_KEYS, -1) | dict.fromkeys(_RIGHT_KEYS, 1)


def press_keys(view: DashboardView, keys: str, snapshot: WardSnapshot) -> DashboardView:
    """Return the view after these keys; an unknown key changes only the time of the last key."""
    if not keys:
        return view
    view = order_view_beds(view, snapshot)
    for key in _KEY_PATTERN.findall(keys):
        respond = _type_bed_name if view.typed is not None else _press_key
        view = respond(replace(view, note=""), key, view.frozen or snapshot)
    return replace(view, last_key_s=snapshot.now_s)


def _press_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    names = view.order.names
    by = _key_step(view, key, is_overview(view, shown))
    if key in ("q", "Q", "\x03"):
        return replace(view, quit=True)
    if key == " ":
        return thaw_view(view) if view.frozen else replace(view, freezing=not view.freezing)
    if key == "b":
        return replace(view, bell=not view.bell, note="bell off" if view.bell else "bell on")
    if key == "a":
        return replace(view, height_mv=None, seconds=None)
    if key in REPLAY_KEYS:
        return press_replay_key(view, key)
    if not names:
        return view
    if by or key in _FIRST_KEYS or key in _LAST_KEYS:
        unchosen = is_overview(view, shown) and not is_chosen(view) and key not in _PAGE_STEPS
        return replace(view, bed=_bed_after_step(view, by, unchosen) if by else names[-(key in _LAST_KEYS)])
    if key in _GAIN_STEPS:
        return _change_gain(view, shown, _GAIN_STEPS[key])
    if key in _TIME_STEPS:
        return replace(view, seconds=int(_next_step_value(SWEEP_SECONDS, seconds_across(view), _TIME_STEPS[key])))
    return _press_ward_key(view, key, shown)


def _press_ward_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle the keys that switch between ward and bed, sort, search, or act on a bed."""
    if key == "o":
        overview = not is_overview(view, shown)
        return replace(view, overview=overview, bed=view.bed if overview else chosen_bed(view))
    if key in "\r\n":
        return replace(view, bed=chosen_bed(view), overview=False)
    if key == "s":
        if view.frozen:
            return replace(view, note=THAW_NOTE)
        note = "in the order of arrival" if view.by_urgency else "the most urgent first"
        return replace(view, by_urgency=not view.by_urgency, note=note)
    if key == "/":
        return replace(view, typed="", searched_from=view.bed)
    return _press_alarm_key(view, key, shown) if key in "km" else view


def _press_alarm_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Acknowledge or silence the chosen bed of a live picture."""
    if view.frozen or view.freezing:
        return replace(view, note=THAW_NOTE)
    if is_overview(view, shown) and not is_chosen(view):
        return replace(view, note=CHOOSE_NOTE)
    bed = find_bed_summary(shown, chosen_bed(view))
    if key == "k":
        note = f"alarms of {bed.bed} acknowledged" if bed.priority else f"{bed.bed} has no alarm"
        return replace(view, actions=(*view.actions, BedAction("acknowledge", bed.bed)), note=note)
    note = f"{bed.bed} is no longer silenced" if bed.silenced else f"{bed.bed} silenced"
    return replace(view, actions=(*view.actions, BedAction("silence", bed.bed)), note=note)


def _type_bed_name(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle a key while the user types a name; choose the first bed that matches at once."""
    typed = view.typed or ""
    if key == "\x03":
        return replace(view, quit=True)
    if key in "\r\n":
        return replace(view, typed=None)
    if key == "\x1b":
        return replace(view, typed=None, bed=view.searched_from)
    if key in "\x7f\b":
        typed = typed[:-1]
    elif key.isprintable() and len(typed) < LONGEST_NAME:
        typed += key
    else:
        return view
    matches = match_bed_names(typed, [bed.bed for bed in shown.index])
    return replace(view, typed=typed, bed=matches[0] if matches else view.searched_from)


def match_bed_names(typed: str, names: Sequence[str]) -> list[str]:
    """Return the names that contain a text, exact matches first, then those that begin or end with it."""
    text = typed.casefold()
    if not text:
        return []
    folded = [(name.casefold(), name) for name in names]
    ranked = [(key == text, key.startswith(text), key.endswith(text), name) for key, name in folded if text in key]
    return [name for *_, name in sorted(ranked, key=lambda match: match[:3], reverse=True)]


def _key_step(view: DashboardView, key: str, overview: bool) -> int:
    """Return by how many beds a key moves: by cards in the ward, by one in the view of a bed; 0 if it does not."""
    grid = view.grid if overview else CardGrid()
    if key in _PAGE_STEPS:
        return _PAGE_STEPS[key] * view.grid.per_page
    if key in _BED_STEPS:
        return _BED_STEPS[key]
    if key in _UP_KEYS or key in _DOWN_KEYS:
        return grid.columns if key in _DOWN_KEYS else -grid.columns
    if overview and (key in _LEFT_KEYS or key in _RIGHT_KEYS):
        return 1 if key in _RIGHT_KEYS else -1
    return 0


def _bed_after_step(view: DashboardView, by: int, unchosen: bool) -> str:
    """Return the bed `by` places on: single steps wrap around, rows and pages stop at the first and last bed.

    If the user has not chosen a bed to move from (`unchosen`), move to the first or the last.
    """
    names = view.order.names
    last = len(names) - 1
    if unchosen:
        return names[0 if by > 0 else last]
    place = view.order.places[chosen_bed(view)] + by
    return names[place % len(names)] if abs(by) == 1 else names[min(max(place, 0), last)]


def _change_gain(view: DashboardView, shown: WardSnapshot, by: int) -> DashboardView:
    window = view.windows.get(chosen_bed(view)) or next(iter(view.windows.values()), None)
    bed = next((bed for bed in shown.beds if bed.bed == chosen_bed(view)), None)
    window = bed_window(view, bed) if bed else window
    height = view.height_mv or (window.height if window else 2.0)
    return replace(view, height_mv=_next_step_value(HEIGHTS_MV, height, by))


def _next_step_value(steps: Sequence[float], now: float, by: int) -> float:
    nearest = min(range(len(steps)), key=lambda i: abs(steps[i] - now))
    return steps[min(max(nearest + by, 0), len(steps) - 1)]
