"""Our own clock, and how a moment is written: by ISO 8601 for programs, as the clock on the wall for people."""

import time
from datetime import UTC, datetime
from functools import lru_cache

LARGEST_TIME = 253_402_300_799.0
"""The end of the year 9999, in Unix time: a device may claim anything."""


class SteadyClock:
    """Unix time that never steps: read once, then carried on by the monotonic clock."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()


def format_wall_time(at_s: float | None) -> str | None:
    """Return a Unix time by ISO 8601, to the millisecond, with its offset from UTC; None where it is no such time.

    >>> format_wall_time(1735689600.25)
    '2025-01-01T00:00:00.250+00:00'
    """
    if at_s is None or not 0 < at_s < LARGEST_TIME:
        return None
    second = int(at_s)
    microsecond = round(1_000_000 * (at_s - second))  # a datetime rounds to these, and cuts milliseconds off
    if microsecond == 1_000_000:
        second, microsecond = second + 1, 0
    return f"{_format_second(second)}.{microsecond // 1000:03d}+00:00"


@lru_cache(maxsize=64)
def _format_second(second: int) -> str:
    """Return date and time of a second: most of what a wall time costs, and the beats of a ward share it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_local_clock(at_s: float | None, decimals: int = 0) -> str:
    """Return a Unix time as the clock on the wall shows it here, as hh:mm:ss; dashes where it is no such time.

    Tenths are cut off and not rounded, as a clock does it.
    """
    if at_s is None or not 0 < at_s < LARGEST_TIME:
        return "--:--:--" + (f".{'-' * decimals}" if decimals else "")
    # `localtime` is a few times as quick as a datetime, and a screen shows a hundred times in a frame
    fraction = f"{at_s % 1:.6f}"[1 : 2 + decimals] if decimals else ""
    return time.strftime("%H:%M:%S", time.localtime(at_s)) + fraction


def format_local_date(at_s: float) -> str:
    """Return the date of a Unix time here, as yyyy-mm-dd; dashes where it is no such time."""
    return time.strftime("%Y-%m-%d", time.localtime(at_s)) if 0 < at_s < LARGEST_TIME else "----------"


def format_local_time(at_s: float | None) -> str:
    """Return a Unix time here by ISO 8601, to the millisecond, with its offset from UTC; "-" where it is no such time.

    For people, who read the time of the place where they are; programs get `format_wall_time`.
    """
    if at_s is None or not 0 < at_s < LARGEST_TIME:
        return "-"
    return datetime.fromtimestamp(at_s, UTC).astimezone().isoformat(timespec="milliseconds")
