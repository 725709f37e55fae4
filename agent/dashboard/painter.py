"""Frames become the bytes that bring a terminal from one to the next."""

from rich.console import Console

from agent.core.messages import WardSnapshot
from agent.dashboard.frame import render_frame
from agent.dashboard.view import DashboardView

BEGIN_UPDATE, END_UPDATE = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronised update: terminals that know it show a frame at once, others ignore it."""
CLEAR_SCREEN = "\x1b[0m\x1b[2J"


class FramePainter:
    """Remembers what a terminal shows, and says what to write for the next frame."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[str] = []
        self._size = (0, 0)

    def forget(self) -> None:
        """Draw everything anew the next time."""
        self._shown = []

    def paint(self, snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> str:
        """What to write for this frame: each line that changed at its place, empty where none did."""
        with self._console.capture() as captured:
            self._console.print(render_frame(snapshot, view, width, height), end="", crop=False, soft_wrap=True)
        lines = captured.get().split("\n")
        clear = (width, height) != self._size or not self._shown
        known = [""] * len(lines) if clear else self._shown
        changed = [f"\x1b[{i + 1}H{new}" for i, new in enumerate(lines) if new != known[i]]
        self._shown, self._size = lines, (width, height)
        return "".join((BEGIN_UPDATE, CLEAR_SCREEN if clear else "", *changed, END_UPDATE)) if changed else ""
