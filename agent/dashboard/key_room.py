"""Keys whose page or tool a small terminal does not hold, and the size that it needs."""

from agent.dashboard.frame import LEAST_HEIGHT, LEAST_PAGE_HEIGHT, LEAST_PAGE_WIDTH, LEAST_WIDTH
from agent.dashboard.view import DashboardView

_WHOLE, _PAGE = (LEAST_WIDTH, LEAST_HEIGHT), (LEAST_PAGE_WIDTH, LEAST_PAGE_HEIGHT)
KEY_ROOM = {"t": _WHOLE, "A": _WHOLE, "c": _WHOLE, "?": _PAGE, "l": _PAGE}
"""Least columns and lines for what a key opens."""


def needed_size(view: DashboardView, key: str) -> str:
    """Return what to say of a key that the terminal has no room for, "" where it has."""
    columns, lines = KEY_ROOM.get(key, (0, 0))
    return f"{key} needs {columns}x{lines}" if view.columns < columns or view.lines < lines else ""
