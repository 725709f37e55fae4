"""When an alarm began and ended by the clock: by that of its run where it is known, the same on every screen and list.

Where no clock of the run is known, as of an earlier monitor, the arrival of the announcing samples says it.
"""

from agent.core.messages import Alarm
from agent.core.views import BedView
from model.records.resample import FS


def believed_start_s(alarm: Alarm, sample: int, at_s: float | None) -> float:
    """Return the Unix time of a sample of an alarm's run: `at_s`, if it is known and can be.

    No sample was measured after it arrived: of a record that is sent faster than real time, what announced the alarm
    arrived long before the recorded time.
    """
    latest_s = alarm.announced_s - (alarm.announced - sample) / FS
    return latest_s if at_s is None else min(at_s, latest_s)


def alarm_onset_s(alarm: Alarm, bed: BedView | None = None) -> float:
    """Return the Unix time at which the condition began, by the clock of its run as far as the bed knows it."""
    return believed_start_s(alarm, alarm.onset, None if bed is None else _sample_time_s(alarm, bed))


def alarm_end_s(alarm: Alarm, bed: BedView | None = None) -> float | None:
    """Return the Unix time at which the condition was over; None while it goes on."""
    return None if alarm.ended is None else alarm_onset_s(alarm, bed) + (alarm.ended - alarm.onset) / FS


def is_end_timed(alarm: Alarm) -> bool:
    """Return whether samples say when an alarm was over: without data none passes, so that its length is not known."""
    return alarm.ended is not None and alarm.condition != "no data"


def _sample_time_s(alarm: Alarm, bed: BedView) -> float | None:
    """Return the Unix time of the onset by the clock of the run, None where that is not known."""
    if alarm.run == bed.run and bed.head_s is not None:
        return bed.head_s - (bed.head - alarm.onset) / FS
    start_s = dict(bed.run_starts).get(alarm.run)
    return None if start_s is None else start_s + alarm.onset / FS
