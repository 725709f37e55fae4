"""When an alarm began and ended by the clock, also one of an earlier run, of which no clock is known any more."""

from agent.core.messages import Alarm
from model.records.resample import FS


def alarm_onset_s(alarm: Alarm) -> float:
    """Return the Unix time at which the condition began: as long before it was announced as the samples say."""
    return alarm.announced_s - (alarm.announced - alarm.onset) / FS


def alarm_end_s(alarm: Alarm) -> float | None:
    """Return the Unix time at which the condition was over; None while it goes on."""
    return None if alarm.ended is None else alarm_onset_s(alarm) + (alarm.ended - alarm.onset) / FS
