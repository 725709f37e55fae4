"""What the next frame needs of a bed's past."""

from agent.core.look_back import PastRequest
from agent.core.views import WardSnapshot
from agent.dashboard.frozen_picture import shown_snapshot
from agent.dashboard.still_extent import recorded_block, still_extent
from agent.dashboard.view import DashboardView, chosen_bed


def wanted_past(view: DashboardView, snapshot: WardSnapshot) -> PastRequest | None:
    """Return what to ask for, None if the frame shows nothing of the past.

    `snapshot` with what was shown last of it: a strip has to be there before the signal around it is known.
    """
    bed = chosen_bed(view)
    if not bed:
        return None
    if view.page == "trend":
        return PastRequest(bed, hours=view.looking.hours)
    if view.page == "alarms":
        return PastRequest(bed, alarms=True)
    shown = shown_snapshot(snapshot, view)
    extent = still_extent(view, shown)
    block = recorded_block(extent, view.looking) if extent else None
    lead = extent.piece.lead if extent else ""
    if view.page == "strip":
        return PastRequest(bed, alarms=True, strip=view.looking.alarm, signal=block, lead=lead)
    return PastRequest(bed, signal=block, lead=lead) if block else None
