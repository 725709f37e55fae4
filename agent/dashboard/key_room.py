"""Keys for whose page or tool there is no room, and the size of terminal that they need."""

from agent.core.views import BedView, WardSnapshot
from agent.dashboard.frame import LEAST_HEIGHT, LEAST_PAGE_HEIGHT, LEAST_PAGE_WIDTH, LEAST_WIDTH, second_lead_fits
from agent.dashboard.view import DashboardView, chosen_bed, is_overview

_WHOLE, _PAGE = (LEAST_WIDTH, LEAST_HEIGHT), (LEAST_PAGE_WIDTH, LEAST_PAGE_HEIGHT)
KEY_ROOM = {"t": _WHOLE, "A": _WHOLE, "c": _WHOLE, "?": _PAGE, "l": _PAGE}
"""Least columns and lines for what a key opens."""
MOST_FURTHER_LINES = 100
"""Further lines with which a terminal has room for a second lead, whatever stands above it."""
WARD_NOTE = "a second lead has room in one bed: enter"
ONE_LEAD_NOTE = "this bed has one lead"
STILL_NOTE = "there is one lead while you look back or measure"


def needed_size(view: DashboardView, key: str) -> str:
    """Return what to say of a key that the terminal has no room for, "" where it has."""
    columns, lines = KEY_ROOM.get(key, (0, 0))
    return f"{key} needs {columns}x{lines}" if view.columns < columns or view.lines < lines else ""


def why_no_second_lead(view: DashboardView, shown: WardSnapshot) -> str:
    """Return why no second lead can be seen, whether it is on or off; "" where it can."""
    if is_overview(view, shown):
        return WARD_NOTE
    bed = next((bed for bed in shown.beds if bed.bed == chosen_bed(view)), None)
    if bed is None or not bed.other_waves:
        return ONE_LEAD_NOTE
    if view.frozen is not None and (view.looking.back or view.looking.calipers):
        return STILL_NOTE
    columns, lines = _second_lead_size(view, shown, bed)
    if (columns, lines) == (view.columns, view.lines):
        return ""
    words = "no room for a second lead: needs" if view.columns >= LEAST_PAGE_WIDTH else "2 needs"
    return f"{words} {columns}x{lines}"


def _second_lead_size(view: DashboardView, shown: WardSnapshot, bed: BedView) -> tuple[int, int]:
    """Return columns and lines of this terminal, or of the next higher one, that hold a second lead."""
    columns, first = max(view.columns, LEAST_WIDTH), max(view.lines, LEAST_HEIGHT)
    last = first + MOST_FURTHER_LINES
    fitting = (lines for lines in range(first, last) if second_lead_fits(shown, view, bed, columns, lines))
    return columns, next(fitting, last)
