"""Our own clock, and how a moment is written."""

import time
from datetime import UTC, datetime

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
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
