"""The words of a notification: bed, condition, reason, the time by the clock, and that it is no medical alarm."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.core.messages import PRIORITIES, Alarm
from agent.core.wording import PRIORITY_MARKS

MOST_LINES = 10
"""Alarms that a message names; the others are only counted."""
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


def compose_message(notices: Sequence[PendingNotice]) -> tuple[str, str]:
    """Return title and body of a message about some alarms, at least one: the most urgent and latest first."""
    order = sorted(notices, key=lambda notice: (PRIORITIES.index(notice.alarm.priority), -notice.noted_s))
    first = order[0].alarm
    over = "over: " if first.ended is not None else ""
    more = f" and {len(order) - 1} more" if len(order) > 1 else ""
    title = f"{PRIORITY_MARKS[first.priority]} bed {first.bed}: {over}{first.condition}{more}"
    lines = [_notice_line(notice) for notice in order[:MOST_LINES]]
    if len(order) > MOST_LINES:
        lines.append(f"and {len(order) - MOST_LINES} more alarms, not listed")
    return title, "\n".join([*lines, NO_MEDICAL_ALARM])


def _notice_line(notice: PendingNotice) -> str:
    alarm = notice.alarm
    reason = f": {alarm.text}" if alarm.text != alarm.condition else ""
    over = "is over" if alarm.ended is not None else f"since {_local_time(notice.onset_s)}"
    seen = ", seen to" if alarm.acknowledged_s is not None else ""
    what = f"{PRIORITY_MARKS[alarm.priority]} bed {alarm.bed}, {alarm.condition} ({alarm.priority} priority)"
    return f"{_local_time(notice.noted_s)} {what}{reason}; {over}{seen}"


def _local_time(at_s: float) -> str:
    """Return a Unix time as the clock on the wall shows it here, with its offset from UTC."""
    try:
        return datetime.fromtimestamp(at_s).astimezone().isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):  # a device may claim any time
        return "an unknown time"
