"""Colours and formats of the report: the colours of the dashboard, dark enough for paper."""

from datetime import UTC, datetime

from agent.core.clock import LARGEST_TIME
from agent.core.messages import Priority
from model.records.wfdb_records import CLASSES

CLASS_COLOURS = dict(zip(CLASSES, ("#3d8b5a", "#1391a6", "#c8352b", "#963b9c", "#a87a00"), strict=True))
CLASS_NAMES = dict(
    zip(CLASSES, ("normal", "supraventricular", "ventricular", "fusion", "paced or unknown"), strict=True)
)
PRIORITY_COLOURS: dict[Priority, str] = {"high": "#b3261e", "medium": "#b56b00", "low": "#2f6f93"}
BLUE, BAND, RED, SHADE = "#1f5f8b", "#bdd5e6", "#b3261e", "#e4e8ec"
GREY_INK = "#4a5660"
GRID, GRID_MAIN, GRID_PAPER = "#f3d3d0", "#e5a9a4", "#fffaf9"
"""ECG paper: lines of one and of five millimetres, and the background."""
UNDATED_YEAR = 1970
"""The year in which the times of a recording without a date begin."""
DASH = "\N{EN DASH}"
NONE = "\N{EM DASH}"


def time_of_day(unix_s: float, seconds: bool = True) -> str:
    """Return a Unix time as a time of day, UTC."""
    return f"{_calendar_date(unix_s):{'%H:%M:%S' if seconds else '%H:%M'}}"


def date_and_time(unix_s: float) -> str:
    """Return a Unix time as date and time of day, UTC; one of 1970 comes from no clock, and is a day from 1 on."""
    at = _calendar_date(unix_s)
    return f"day {at.timetuple().tm_yday}, {at:%H:%M:%S}" if at.year == UNDATED_YEAR else f"{at:%Y-%m-%d %H:%M:%S}"


def day_of_month(unix_s: float) -> str:
    """Return a Unix time as day and month, UTC; of one without a date the number of the day."""
    at = _calendar_date(unix_s)
    return f"day {at.timetuple().tm_yday}" if at.year == UNDATED_YEAR else f"{at:%d %b}"


def _calendar_date(unix_s: float) -> datetime:
    """Return the date, or the nearest one that a calendar has."""
    return datetime.fromtimestamp(min(max(0.0, unix_s), LARGEST_TIME), UTC)


def is_same_day(first_s: float, last_s: float) -> bool:
    """Return whether two Unix times lie on one day of the calendar, UTC."""
    return _calendar_date(first_s).date() == _calendar_date(last_s).date()


def duration_in_words(seconds: float) -> str:
    """Return a length of time as 23 h 05 min, 4 min 10 s or 7.2 s."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def number_or_dash(value: float | None, digits: int = 0, unit: str = "") -> str:
    """Return a number with its unit, a dash for None or NaN."""
    return NONE if value is None or value != value else f"{value:,.{digits}f}{' ' * bool(unit)}{unit}"


def share_in_percent(share: float) -> str:
    """Return a percentage as text; it reads 0 or 100 only if it is exactly that."""
    if 0 < share < 0.05:
        return "< 0.1 %"
    if 99.95 <= share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %"
