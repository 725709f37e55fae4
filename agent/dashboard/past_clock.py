"""Moments of the past as people say them: the time of the day, and the date if it is another day."""

import time

from agent.core.clock import LARGEST_TIME, format_local_clock


def past_moment(at_s: float | None, now_s: float) -> str:
    """Return the local time of the day, with the date before it if that is not the day of `now_s`."""
    clock = format_local_clock(at_s)
    if at_s is None or not 0 < at_s < LARGEST_TIME:
        return clock
    then, now = time.localtime(at_s), time.localtime(now_s)
    same = (then.tm_year, then.tm_yday) == (now.tm_year, now.tm_yday)
    return clock if same else f"{time.strftime('%d %b', then)} {clock}"
