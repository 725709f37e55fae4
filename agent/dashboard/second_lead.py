"""The answer to the key of the second lead: on or off, or why it cannot be seen."""

from collections.abc import Callable
from dataclasses import replace

from agent.core.views import BedView
from agent.dashboard.frozen_picture import pictured_bed
from agent.dashboard.view import DashboardView

MOST_FURTHER_LINES = 100
"""Further lines with which a terminal has room for a second lead, whatever stands above it."""
LEAST_SENTENCE_WIDTH = 40
"""Columns that hold the answer as a sentence."""
ONE_LEAD_NOTE = "this bed has one lead"
STILL_NOTE = "there is one lead while you look back or measure"


def answer_second_lead(
    view: DashboardView, bed: BedView, least: tuple[int, int], fits: Callable[[int, int], bool]
) -> DashboardView:
    """Return the view with the second lead turned on or off if that was asked; else, and where it cannot be seen, why.

    Parameters
    ----------
    view
        What is shown; its key asks for the second lead, and the next frame answers, since only that knows the bed.
    bed
        The bed on the screen.
    least
        Columns and lines of the smallest terminal that holds a page.
    fits
        Whether a terminal of these columns and lines has room for a second lead of the bed.
    """
    if not view.asks_second_lead:
        return view
    view = replace(view, asks_second_lead=False)
    if note := _why_not(view, bed, least, fits):
        return replace(view, note=note)
    on = not view.looking.second_lead
    note = "second lead on" if on else "second lead off"
    return replace(view, looking=replace(view.looking, second_lead=on), note=note)


def _why_not(view: DashboardView, bed: BedView, least: tuple[int, int], fits: Callable[[int, int], bool]) -> str:
    """Return why no second lead can be seen, whether it is on or off; "" where it can."""
    if not pictured_bed(view, bed).other_waves:
        return ONE_LEAD_NOTE
    if view.frozen is not None and (view.looking.back or view.looking.calipers):
        return STILL_NOTE
    columns, first = max(view.columns, least[0]), max(view.lines, least[1])
    last = first + MOST_FURTHER_LINES
    lines = next((lines for lines in range(first, last) if fits(columns, lines)), last)
    if (columns, lines) == (view.columns, view.lines):
        return ""
    words = "no room for a second lead: needs" if view.columns >= LEAST_SENTENCE_WIDTH else "2 needs"
    return f"{words} {columns}x{lines}"
