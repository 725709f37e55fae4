"""The end: asked once more where a recording or the view of a ward would end."""

from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.view import DashboardView

QUIT_KEYS = ("q", "Q")


def ask_to_quit(view: DashboardView, shown: WardSnapshot) -> DashboardView:
    """Return the view that ends, that asks whether to, or that leaves a page."""
    if view.page != "beds":
        return replace(view, page="beds", draft=None)
    if view.leaving or not quit_question(shown):
        return replace(view, quit=True)
    return replace(view, leaving=True)


def quit_question(shown: WardSnapshot) -> str:
    """Return what a person is asked before the end, "" if nothing is lost by it."""
    if shown.recording is not None:
        return f"stop recording {shown.recording.folder}?"
    return f"stop watching {len(shown.index)} beds?" if len(shown.index) > 1 else ""
