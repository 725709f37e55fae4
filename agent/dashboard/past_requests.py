"""What the next frame needs of a bed's past."""

from agent.core.look_back import PastRequest
from agent.dashboard.view import DashboardView, chosen_bed


def wanted_past(view: DashboardView) -> PastRequest | None:
    """Return what to ask for, None if the frame shows nothing of the past."""
    bed = chosen_bed(view)
    if not bed:
        return None
    if view.page == "trend":
        return PastRequest(bed, hours=view.looking.hours)
    if view.page == "alarms":
        return PastRequest(bed, alarms=True)
    if view.page == "strip" and view.looking.alarm is not None:
        return PastRequest(bed, strip=view.looking.alarm)
    return None
