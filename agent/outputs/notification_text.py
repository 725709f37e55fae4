"""The words of a notification: bed, condition, reason, the time by the clock, and that it is no medical alarm."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from agent.core.messages import PRIORITIES, Alarm, Priority
from agent.core.wording import PRIORITY_MARKS

MOST_LINES = 10
"""Alarms that a message names; the others are only counted."""
URGENCIES: dict[Priority, str] = {"high": "failure", "medium": "warning", "low": "info"}
"""Apprise's types of a message: services choose colour, sound and urgency by them."""
NO_MEDICAL_ALARM = "This is not a medical alarm: ecg-agent is a research tool. Do not rely on it."


@dataclass(frozen=True, slots=True)
class PendingNotice:
    """An alarm that is to be told, as it stands. Unix times: its onset, and when the monitor knew of this.

    `since`: the latter by the clock that never steps.
    """

    alarm: Alarm
    onset_s: float
    noted_s: float
    since: float


class NoticeMessage(NamedTuple):
    """A message: its `title`, its `body`, and its `urgency` in the words of Apprise."""

    title: str
    body: str
    urgency: str


def compose_message(notices: Sequence[PendingNotice]) -> NoticeMessage:
    """Return a message about some alarms, at least one: the most urgent and latest first."""
    order = sorted(notices, key=lambda notice: (PRIORITIES.index(notice.alarm.priority), -notice.noted_s))
    first = order[0].alarm
    over = "over: " if first.ended is not None else ""
    more = f" and {len(order) - 1} more" if len(order) > 1 else ""
    title = f"{PRIORITY_MARKS[first.priority]} {_bed_text(first.bed)}: {over}{first.condition}{more}"
    lines = [_notice_line(notice) for notice in order[:MOST_LINES]]
    if len(order) > MOST_LINES:
        lines.append(f"and {len(order) - MOST_LINES} more alarms, not listed")
    urgency = "info" if first.ended is not None else URGENCIES[first.priority]
    return NoticeMessage(title, "\n".join([*lines, NO_MEDICAL_ALARM]), urgency)


def _notice_line(notice: PendingNotice) -> str:
    alarm = notice.alarm
    reason = f": {alarm.text}" if alarm.text != alarm.condition else ""
    over = "is over" if alarm.ended is not None else f"since {_local_time(notice.onset_s)}"
    seen = ", seen to" if alarm.acknowledged_s is not None else ""
    what = f"{PRIORITY_MARKS[alarm.priority]} {_bed_text(alarm.bed)}, {alarm.condition} ({alarm.priority} priority)"
    return f"{_local_time(notice.noted_s)} {what}{reason}; {over}{seen}"


def _bed_text(bed: str) -> str:
    """Name a bed: "bed 7", and not "bed bed 7"."""
    return bed if bed.lower().startswith("bed") else f"bed {bed}"


def _local_time(at_s: float) -> str:
    """Return a Unix time as the clock on the wall shows it here, with its offset from UTC."""
    try:
        return datetime.fromtimestamp(at_s).astimezone().isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):  # a device may claim any time
        return "an unknown time"
