"""Pages that a key opens in place of the ward or the bed: who draws the body of each."""

from collections.abc import Callable, Mapping

from agent.core.views import WardSnapshot
from agent.dashboard.alarm_pages import alarm_list_lines, strip_page_lines
from agent.dashboard.lines import StyledLine
from agent.dashboard.styles import GlyphSet
from agent.dashboard.trend_page import trend_lines
from agent.dashboard.view import DashboardView, PageName

PageDrawer = Callable[[WardSnapshot, DashboardView, tuple[int, int], GlyphSet], list[StyledLine]]
"""From what is shown, the view, and the width and height of the body to its lines."""

PAGE_DRAWERS: Mapping[PageName, PageDrawer] = {
    "trend": trend_lines,
    "alarms": alarm_list_lines,
    "strip": strip_page_lines,
}
"""Who draws each page but the ward and the bed; `agent.dashboard.key_bindings` has their keys."""
