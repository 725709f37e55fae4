"""The keys: turn a view and the typed characters into the next view. Each page has a file of keys of its own."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.alarm_page_keys import press_alarm_list_key, press_strip_key
from agent.dashboard.bed_keys import press_bed_key
from agent.dashboard.find_keys import press_find_key
from agent.dashboard.frozen_picture import shown_snapshot
from agent.dashboard.help_keys import HELP_KEY, press_help_key
from agent.dashboard.key_codes import GAIN_STEPS, INTERRUPT_KEY, KEY_PATTERN, LEFT_KEYS, RIGHT_KEYS, TIME_STEPS
from agent.dashboard.key_room import needed_size
from agent.dashboard.limits_keys import is_typing, press_limits_key
from agent.dashboard.quit_keys import QUIT_KEYS, ask_to_quit
from agent.dashboard.replay_control import REPLAY_KEYS, press_replay_key
from agent.dashboard.trend_keys import press_trend_key
from agent.dashboard.view import DashboardView, PageName, order_view_beds

KeyHandler = Callable[[DashboardView, str, WardSnapshot], DashboardView]
"""From a view, a key and the snapshot that is shown to the next view; an unknown key gives the same view."""

PAGE_KEYS: Mapping[PageName, KeyHandler] = {
    "beds": press_bed_key,
    "trend": press_trend_key,
    "alarms": press_alarm_list_key,
    "strip": press_strip_key,
    "help": press_help_key,
    "limits": press_limits_key,
}
"""Who handles the keys of each page."""
TRACE_KEYS = frozenset((" ", "c", "2", "a", "t", *GAIN_STEPS, *TIME_STEPS)).difference(LEFT_KEYS, RIGHT_KEYS)
"""Keys that are about a trace, or what was measured of one; arrows choose beds, too."""
NO_TRACE_NOTE = "there is no trace here: it is at the monitors"
ALARM_KEYS = "kmP"
"""Keys that do on every page what they do on the page of the bed."""


def press_keys(view: DashboardView, keys: str, snapshot: WardSnapshot) -> DashboardView:
    """Return the view after these keys; an unknown key changes only the time of the last key."""
    if not keys:
        return view
    view = order_view_beds(view, snapshot)
    for key in KEY_PATTERN.findall(keys):
        view = _press_key(replace(view, note=""), key, shown_snapshot(snapshot, view))
    return replace(view, last_key_s=snapshot.now_s)


def _press_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    if key == INTERRUPT_KEY:
        return replace(view, quit=True)
    if view.typed is not None:
        return press_find_key(view, key, shown)
    if view.leaving and key not in QUIT_KEYS:  # the answer to the question, whatever the key means elsewhere
        return replace(view, leaving=False)
    if view.page == "beds" and shown.link.is_store and key in TRACE_KEYS:
        return replace(view, note=NO_TRACE_NOTE)
    if view.page == "beds" and (needed := needed_size(view, key)):
        return replace(view, note=needed)
    if key == HELP_KEY and view.page == "beds":
        return replace(view, page="help", row=0)
    if key in QUIT_KEYS and not is_typing(view):
        return ask_to_quit(view, shown)
    if view.page == "beds" and key in REPLAY_KEYS:
        return press_replay_key(view, key)
    if view.page in ("help", "limits") and key in ALARM_KEYS and not is_typing(view):
        return press_bed_key(replace(view, bed=view.draft.bed) if view.draft else view, key, shown)
    return PAGE_KEYS[view.page](view, key, shown)
