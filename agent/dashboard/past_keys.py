"""The keys that open a page of the past."""

from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.looking import LookingBack
from agent.dashboard.view import CHOOSE_NOTE, DashboardView, PageName, chosen_bed, is_chosen, is_overview, thaw_view

PAST_PAGES: dict[str, PageName] = {"t": "trend", "A": "alarms"}


def open_past_page(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Open the page of a key for the chosen bed; a frozen picture goes on, since the past is read live."""
    if is_overview(view, shown) and not is_chosen(view):
        return replace(view, note=CHOOSE_NOTE)
    view = thaw_view(view) if view.frozen or view.freezing else view
    looking = replace(LookingBack(), hours=view.looking.hours, second_lead=view.looking.second_lead)
    return replace(view, bed=chosen_bed(view), page=PAST_PAGES[key], row=0, looking=looking)
