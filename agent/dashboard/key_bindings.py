"""Keys: a view and what was typed make the next view."""

import re
from collections.abc import Sequence
from dataclasses import replace

from agent.core.messages import WardSnapshot
from agent.dashboard.layout import CardGrid
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
"""Characters of a name that is looked for."""
CHOOSE_NOTE, THAW_NOTE = "choose a bed first: n, p or /", "the picture is frozen: space first"

_KEY_PATTERN = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_BED_STEPS = {"n": 1, "\t": 1, "p": -1, "\x1b[Z": -1}
_UP_KEYS, _DOWN_KEYS, _LEFT_KEYS, _RIGHT_KEYS = (("\x1b[" + key, "\x1bO" + key) for key in "ABDC")
_PAGE_STEPS = {"\x1b[6~": 1, "\x1b[5~": -1}
_FIRST_KEYS, _LAST_KEYS = ("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), ("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~")
_GAIN_STEPS = {"+": -1, "=": -1, "-": 1, "_": 1}
_TIME_STEPS = {"<": -1, ",": -1, "[": -1, ">": 1, ".": 1, "]": 1}
_TIME_STEPS |= dict.fromkeys(_LEFT_KEYS, -1) | dict.fromkeys(_RIGHT_KEYS, 1)


def press_keys(view: DashboardView, keys: str, snapshot: WardSnapshot) -> DashboardView:
    """The view after these keys; keys without a meaning change nothing but when a key was last pressed."""
    if not keys:
        return view
    view = order_view_beds(view, snapshot)
    for key in _KEY_PATTERN.findall(keys):
        one = _type_bed_name if view.typed is not None else _press_key
        view = one(replace(view, note=""), key, view.frozen or snapshot)
    return replace(view, touched_s=snapshot.now_s)


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
    if not names:
        return view
    if by or key in _FIRST_KEYS or key in _LAST_KEYS:
        lost = is_overview(view, shown) and not is_chosen(view) and key not in _PAGE_STEPS
        return replace(view, bed=_bed_after_step(view, by, lost) if by else names[-(key in _LAST_KEYS)])
    if key in _GAIN_STEPS:
        return _change_gain(view, shown, _GAIN_STEPS[key])
    if key in _TIME_STEPS:
        return replace(view, seconds=int(_next_step_value(SWEEP_SECONDS, seconds_across(view), _TIME_STEPS[key])))
    return _press_ward_key(view, key, shown)


def _press_ward_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """What looks at the ward, and what is done for a bed."""
    if key == "o":
        to = not is_overview(view, shown)
        return replace(view, overview=to, bed=view.bed if to else chosen_bed(view))
    if key in "\r\n":
        return replace(view, bed=chosen_bed(view), overview=False)
    if key == "s":
        if view.frozen:
            return replace(view, note=THAW_NOTE)
        said = "in the order of arrival" if view.by_urgency else "the most urgent first"
        return replace(view, by_urgency=not view.by_urgency, note=said)
    if key == "/":
        return replace(view, typed="", before=view.bed)
    return _press_alarm_key(view, key, shown) if key in "km" else view


def _press_alarm_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Acknowledge or silence: of a bed that is seen as it is now, and that somebody chose."""
    if view.frozen or view.freezing:
        return replace(view, note=THAW_NOTE)
    if is_overview(view, shown) and not is_chosen(view):
        return replace(view, note=CHOOSE_NOTE)
    bed = find_bed_summary(shown, chosen_bed(view))
    if key == "k":
        said = f"alarms of {bed.bed} acknowledged" if bed.priority else f"{bed.bed} has no alarm"
        return replace(view, asked=(*view.asked, BedAction("acknowledge", bed.bed)), note=said)
    said = f"{bed.bed} is no longer silenced" if bed.silenced else f"{bed.bed} silenced"
    return replace(view, asked=(*view.asked, BedAction("silence", bed.bed)), note=said)


def _type_bed_name(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
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
    found = match_bed_names(typed, [bed.bed for bed in shown.index])
    return replace(view, typed=typed, bed=found[0] if found else view.before)


def match_bed_names(typed: str, names: Sequence[str]) -> list[str]:
    """The beds a typed text may mean, the best first: so called, so beginning, so ending, or with it in the name."""
    text = typed.casefold()
    if not text:
        return []
    folded = [(name.casefold(), name) for name in names]
    fits = [(name == text, name.startswith(text), name.endswith(text), own) for name, own in folded if text in name]
    return [own for *_, own in sorted(fits, key=lambda fit: fit[:3], reverse=True)]


def _key_step(view: DashboardView, key: str, overview: bool) -> int:
    """By how many beds a key moves, 0 where it does not: by cards in the ward, one by one in the view of a bed."""
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


def _bed_after_step(view: DashboardView, by: int, lost: bool) -> str:
    """The bed so many places on: one by one around the end, by rows and pages as far as there are beds.

    `lost`: nobody chose the bed to move from, so that the move is to the first or the last.
    """
    names, last = view.order.names, len(view.order.names) - 1
    if lost:
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
