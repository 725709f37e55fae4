"""Moments of the past as the clock on the wall had them, in local time."""

import time

from agent.core.clock import LARGEST_TIME


def past_clock(at_s: float | None, decimals: int = 0, seconds: bool = True) -> str:
    """Return a Unix time as local time of the day, to `decimals` of a second; dashes where it is not known.

    >>> past_clock(None), past_clock(None, seconds=False)
    ('--:--:--', '--:--')
    """
    if at_s is None or not 0 < at_s < LARGEST_TIME:
        return "--:--:--" if seconds else "--:--"
    at_s = round(at_s, decimals)
    text = time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(at_s))
    return f"{text}{at_s % 1:.{decimals}f}".replace("0.", ".", 1) if decimals else text


def past_moment(at_s: float | None, now_s: float) -> str:
    """Return the local time of the day, with the date before it if that is not the day of `now_s`."""
    clock = past_clock(at_s)
    if at_s is None or not 0 < at_s < LARGEST_TIME:
        return clock
    then, now = time.localtime(at_s), time.localtime(now_s)
    same = (then.tm_year, then.tm_yday) == (now.tm_year, now.tm_yday)
    return clock if same else f"{time.strftime('%d %b', then)} {clock}"
