"""Turn frames into the text that changes a terminal from one frame to the next."""

from rich.console import Console

from agent.core.views import WardSnapshot
from agent.dashboard.frame import render_frame
from agent.dashboard.view import DashboardView

BEGIN_UPDATE, END_UPDATE = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronised update: terminals that support it show a frame at once, others ignore it."""
CLEAR_SCREEN = "\x1b[0m\x1b[2J"


class FramePainter:
    """Keeps what a terminal shows, and finds what to write for the next frame."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[str] = []
        self._size = (0, 0)

    def forget(self) -> None:
        """Redraw everything the next time."""
        self._shown = []

    def paint(self, snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> str:
        """Return what to write for a laid-out view: each changed line at its place, "" if none changed."""
        with self._console.capture() as captured:
            self._console.print(render_frame(snapshot, view, width, height), end="", crop=False, soft_wrap=True)
        lines = captured.get().split("\n")
        # After a change of size the contents of the terminal are unknown
        clear = (width, height) != self._size or not self._shown
        before = [""] * len(lines) if clear else self._shown
        changed = [f"\x1b[{i + 1}H{line}" for i, line in enumerate(lines) if line != before[i]]
        self._shown = lines
        self._size = (width, height)
        return "".join((BEGIN_UPDATE, CLEAR_SCREEN if clear else "", *changed, END_UPDATE)) if changed else ""
