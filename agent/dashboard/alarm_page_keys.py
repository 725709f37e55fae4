"""The keys of the list of alarms, and of a strip."""

from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.alarm_pages import chosen_row
from agent.dashboard.bed_keys import press_bed_key
from agent.dashboard.key_codes import (
    DOWN_KEYS,
    ENTER_KEYS,
    ESCAPE_KEY,
    FIRST_KEYS,
    GAIN_STEPS,
    LAST_KEYS,
    PAGE_STEPS,
    TIME_STEPS,
    UP_KEYS,
)
from agent.dashboard.still_keys import press_still_key
from agent.dashboard.view import SWEEP_SECONDS, DashboardView
from model.records.resample import FS

PAGE_ROWS = 10
"""Rows of a list that a page key moves by."""
BED_PAGE_KEYS = "kmb"
"""Keys that do here what they do on the page of the bed."""


def press_alarm_list_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle a key in the list of alarms."""
    if key in (ESCAPE_KEY, "A"):
        return replace(view, page="beds", row=0, looking=replace(view.looking, alarm=None))
    alarms = shown.past.alarms if shown.past else ()
    last = max(0, len(alarms) - 1)
    steps = {**dict.fromkeys(DOWN_KEYS, 1), **dict.fromkeys(UP_KEYS, -1)}
    steps |= {known: by * PAGE_ROWS for known, by in PAGE_STEPS.items()}
    steps |= {**dict.fromkeys(FIRST_KEYS, -last), **dict.fromkeys(LAST_KEYS, last)}
    row = chosen_row(view, alarms) if alarms else 0
    if key in steps and alarms:
        row = min(max(row + steps[key], 0), last)
        return replace(view, row=row, looking=replace(view.looking, alarm=alarms[row].identity))
    if key in ENTER_KEYS and alarms:
        return _open_strip(view, shown, row)
    if key in "np":
        return replace(press_bed_key(view, key, shown), row=0, looking=replace(view.looking, alarm=None))
    return press_bed_key(view, key, shown) if key in BED_PAGE_KEYS else view


def press_strip_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle a key on a strip."""
    still = press_still_key(view, key, shown)
    if still is not None:
        return still
    if key == ESCAPE_KEY or key in ENTER_KEYS:
        return replace(view, page="alarms", looking=replace(view.looking, back=0, calipers=None))
    if key in "np":
        alarms = shown.past.alarms if shown.past else ()
        places = [i for i, past in enumerate(alarms) if past.identity == view.looking.alarm]
        place = (places[0] if places else 0) + (1 if key == "n" else -1)
        return _open_strip(view, shown, place) if 0 <= place < len(alarms) else view
    if key in TIME_STEPS:
        now = view.looking.strip_seconds
        place = min(range(len(SWEEP_SECONDS)), key=lambda i: abs(SWEEP_SECONDS[i] - now)) + TIME_STEPS[key]
        seconds = SWEEP_SECONDS[min(max(place, 0), len(SWEEP_SECONDS) - 1)]
        # The middle stays where it is
        back = max(0, view.looking.back + (now - seconds) * FS // 2)
        return replace(view, looking=replace(view.looking, strip_seconds=seconds, back=back))
    return press_bed_key(view, key, shown) if key in BED_PAGE_KEYS or key in GAIN_STEPS or key == "a" else view


def _open_strip(view: DashboardView, shown: WardSnapshot, place: int) -> DashboardView:
    """Open the strip of the alarm at a place of the list, the whole of it."""
    if shown.past is None:
        return view
    past = shown.past.alarms[place]
    looking = replace(view.looking, alarm=past.identity, back=0, calipers=None)
    return replace(view, page="strip", row=place, looking=looking)
