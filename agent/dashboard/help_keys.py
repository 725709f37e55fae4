"""The keys of the help page: it is scrolled, and left."""

from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.help_page import count_help_lines
from agent.dashboard.key_codes import (
    DOWN_KEYS,
    ENTER_KEYS,
    ESCAPE_KEY,
    FIRST_KEYS,
    LAST_KEYS,
    PAGE_STEPS,
    UP_KEYS,
)
from agent.dashboard.view import DashboardView

HELP_KEY = "?"
_STEPS = dict.fromkeys((*UP_KEYS, "p"), -1) | dict.fromkeys((*DOWN_KEYS, "n", *ENTER_KEYS), 1)


def press_help_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle a key of the help page."""
    if key in (ESCAPE_KEY, HELP_KEY):
        return replace(view, page="beds", row=0)
    body = max(1, view.lines - 3)
    pages = PAGE_STEPS | {" ": 1}
    by = _STEPS.get(key, 0) + pages.get(key, 0) * max(1, body - 2)
    last = max(0, count_help_lines(shown, view) - body)
    if key in FIRST_KEYS or key in LAST_KEYS:
        return replace(view, row=0 if key in FIRST_KEYS else last)
    return replace(view, row=min(max(view.row + by, 0), last))
