"""A frozen picture: its waves and beats stand still, while alarms, rates and states around them are those of now."""

from dataclasses import replace

from agent.core.condition_names import short_condition
from agent.core.messages import Alarm
from agent.core.views import BedView, WardSnapshot
from agent.dashboard.lines import short_name
from agent.dashboard.view import DashboardView, chosen_bed, is_overview, thaw_view


def shown_snapshot(snapshot: WardSnapshot, view: DashboardView) -> WardSnapshot:
    """Return what a frame shows: all that is live; of a frozen picture only its beds, and these as they are now."""
    if view.frozen is None:
        return snapshot
    live, index = {bed.bed: bed for bed in snapshot.beds}, {bed.bed: bed for bed in snapshot.index}
    return replace(
        snapshot,
        beds=tuple(live.get(bed.bed, bed) for bed in view.frozen.beds),
        index=tuple(index.get(bed.bed, bed) for bed in view.frozen.index),
    )


def pictured_bed(view: DashboardView, bed: BedView) -> BedView:
    """Return the bed whose wave and beats are drawn: the one that was frozen, else the live one."""
    if view.frozen is None:
        return bed
    return next((frozen for frozen in view.frozen.beds if frozen.bed == bed.bed), bed)


def thaw_for_alarm(view: DashboardView, snapshot: WardSnapshot) -> DashboardView:
    """Return the live view, with a note, if a high alarm of the bed on the screen began after the picture was frozen.

    A frozen ward stays: its cards show the alarms of now.
    """
    alarm = _new_high_alarm(view, snapshot)
    if alarm is None:
        return view
    note = f"{short_condition(alarm.condition)} of {short_name(alarm.bed, view.ascii)}: the picture goes on"
    return replace(thaw_view(view), note=note, last_key_s=snapshot.now_s)


def _new_high_alarm(view: DashboardView, snapshot: WardSnapshot) -> Alarm | None:
    if view.frozen is None or is_overview(view, view.frozen):
        return None
    known = {alarm.identity for bed in view.frozen.beds for alarm in bed.alarms}
    waiting = (alarm for bed in snapshot.beds if bed.bed == chosen_bed(view) for alarm in bed.alarms)
    return next((alarm for alarm in waiting if _is_urgent(alarm) and alarm.identity not in known), None)


def _is_urgent(alarm: Alarm) -> bool:
    return alarm.priority == "high" and alarm.ended is None and alarm.acknowledged_s is None
