"""The keys of the ward and of the view of a bed: which bed, how it is drawn, and what becomes of its alarms."""

from collections.abc import Sequence
from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.frozen_picture import pictured_bed
from agent.dashboard.key_codes import (
    BED_STEPS,
    DOWN_KEYS,
    ENTER_KEYS,
    FIRST_KEYS,
    GAIN_STEPS,
    LAST_KEYS,
    LEFT_KEYS,
    PAGE_STEPS,
    RIGHT_KEYS,
    TIME_STEPS,
    UP_KEYS,
)
from agent.dashboard.layout import CardGrid
from agent.dashboard.limits_keys import open_limits
from agent.dashboard.lines import short_name
from agent.dashboard.past_keys import PAST_PAGES, open_past_page
from agent.dashboard.still_keys import NOTHING_NOTE, press_still_key
from agent.dashboard.view import (
    CHOOSE_NOTE,
    SWEEP_SECONDS,
    BedAction,
    DashboardView,
    bed_window,
    chosen_bed,
    find_bed_summary,
    is_chosen,
    is_overview,
    seconds_across,
    thaw_view,
)
from agent.dashboard.wave_raster import HEIGHTS_MV

WARD_NOTE = "a second lead has room in one bed: enter"
LIMITS_NOTE = "the limits are set at a monitor: they are not known here"
THAW_NOTE = "the picture is frozen: space first"


def press_bed_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle a key in the ward or in the view of a bed."""
    if (still := press_still_key(view, key, shown)) is not None:
        return still
    names = view.order.names
    by = _key_step(view, key, is_overview(view, shown))
    if key == "2":
        if is_overview(view, shown) or not shown.index:
            return replace(view, note=WARD_NOTE if shown.index else "no bed yet")
        return replace(view, asks_second_lead=not view.asks_second_lead)
    if key == " ":
        if view.frozen:
            return thaw_view(view)
        if not shown.index:
            return replace(view, note=NOTHING_NOTE)
        return replace(view, freezing=not view.freezing, looking=replace(view.looking, back=0, calipers=None))
    if key == "b":
        return replace(view, bell=not view.bell, note="bell off" if view.bell else "bell on")
    if key == "a":
        return replace(view, height_mv=None, seconds=None)
    if not names:
        return view
    if by or key in FIRST_KEYS or key in LAST_KEYS:
        unchosen = is_overview(view, shown) and not is_chosen(view) and key not in PAGE_STEPS
        looking = replace(view.looking, back=0, calipers=None)
        bed = _bed_after_step(view, by, unchosen) if by else names[-(key in LAST_KEYS)]
        return replace(view, bed=bed, looking=looking)
    if key in GAIN_STEPS:
        return _change_gain(view, shown, GAIN_STEPS[key])
    if key in TIME_STEPS:
        return replace(view, seconds=int(_next_step_value(SWEEP_SECONDS, seconds_across(view), TIME_STEPS[key])))
    return _press_ward_key(view, key, shown)


def _press_ward_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle the keys that switch between ward and bed, sort, search, or act on a bed."""
    if key == "o":
        overview = not is_overview(view, shown)
        return replace(view, overview=overview, bed=view.bed if overview else chosen_bed(view))
    if key in ENTER_KEYS:
        return replace(view, bed=chosen_bed(view), overview=False)
    if key == "s":
        if view.frozen:
            return replace(view, note=THAW_NOTE)
        note = "in the order of arrival" if view.by_urgency else "the most urgent first"
        return replace(view, by_urgency=not view.by_urgency, note=note)
    if key == "/":
        return replace(view, typed="", searched_from=view.bed)
    if key in PAST_PAGES:
        return open_past_page(view, key, shown)
    return _press_alarm_key(view, key, shown) if key in "kmPl" else view


def _press_alarm_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Acknowledge, silence or pause the alarms of the chosen bed, or open its limits unless the picture is frozen."""
    if key == "l" and (view.frozen or view.freezing):
        return replace(view, note=THAW_NOTE)
    if is_overview(view, shown) and not is_chosen(view):
        return replace(view, note=CHOOSE_NOTE)
    bed = find_bed_summary(shown, chosen_bed(view))
    if key == "l":
        return open_limits(view, bed) if shown.base_limits else replace(view, note=LIMITS_NOTE)
    name = short_name(bed.bed, view.ascii)
    if key == "P":
        note = f"alarms of {name} are on again" if bed.paused_until_s else f"ALARMS OF {name} PAUSED"
        return replace(view, actions=(*view.actions, BedAction("pause", bed.bed)), note=note)
    if key == "k":
        note = f"alarms of {name} acknowledged" if bed.priority else f"{name} has no alarm"
        return replace(view, actions=(*view.actions, BedAction("acknowledge", bed.bed)), note=note)
    note = f"{name} is no longer silenced" if bed.silenced else f"{name} silenced"
    return replace(view, actions=(*view.actions, BedAction("silence", bed.bed)), note=note)


def _key_step(view: DashboardView, key: str, overview: bool) -> int:
    """Return by how many beds a key moves: by cards in the ward, by one in the view of a bed; 0 if it does not."""
    grid = view.grid if overview else CardGrid()
    if key in PAGE_STEPS:
        return PAGE_STEPS[key] * view.grid.per_page
    if key in BED_STEPS:
        return BED_STEPS[key]
    if key in UP_KEYS or key in DOWN_KEYS:
        return grid.columns if key in DOWN_KEYS else -grid.columns
    if overview and (key in LEFT_KEYS or key in RIGHT_KEYS):
        return 1 if key in RIGHT_KEYS else -1
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
    window = bed_window(view, pictured_bed(view, bed)) if bed else window
    height = view.height_mv or (window.height if window else 2.0)
    return replace(view, height_mv=_next_step_value(HEIGHTS_MV, height, by))


def _next_step_value(steps: Sequence[float], now: float, by: int) -> float:
    nearest = min(range(len(steps)), key=lambda i: abs(steps[i] - now))
    return steps[min(max(nearest + by, 0), len(steps) - 1)]
