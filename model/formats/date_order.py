"""Dates such as 03/11/2024: which of the numbers is the day, all of a file decide."""

import re
from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from pathlib import Path

from model.errors import RecordError
from model.formats.file_options import LONGEST_GAP_S

_DAY_AND_MONTH = re.compile(r"(?<!\d)(\d\d?)([-/.])(\d\d?)\2(\d{4})")


def is_date_unclear(text: str) -> bool:
    """Whether a text has a date whose day may come before or after its month: neither 2024-03-11 nor 11.3.2024."""
    found = _DAY_AND_MONTH.search(text)
    return found is not None and found[2] != "." and not text.startswith("[")


def find_date_order(path: Path, texts: Iterable[str]) -> bool | None:
    """Return whether the day comes first in dates, by those of a recording in order.

    None where nothing says it, and only the date of the beginning rests on it.

    Raises
    ------
    RecordError
        They are no dates, or the length of the recording rests on what nothing says.
    """
    matches = (_DAY_AND_MONTH.search(text) for text in texts)
    dates = list(dict.fromkeys((int(found[1]), int(found[3]), int(found[4])) for found in matches if found))
    possible = {day_first: days for day_first in (True, False) if (days := _read_days(dates, day_first))}
    if len(possible) > 1 and len(dates) == 1:
        return True if dates[0][0] == dates[0][1] else None
    if len(possible) > 1:
        longest = LONGEST_GAP_S / 86_400
        possible = {
            day_first: days
            for day_first, days in possible.items()
            if all(0 <= (later - earlier).days <= longest for earlier, later in pairwise(days))
        }
    if len(possible) != 1:
        day, month, year = dates[0] if dates else (0, 0, 0)
        raise RecordError(
            f"{path.name} has dates such as {day:02}/{month:02}/{year}, which do not say what is the day: "
            "write them as 2024-12-31"
        )
    return next(iter(possible))


def _read_days(dates: list[tuple[int, int, int]], day_first: bool) -> list[date]:
    """Return the days that dates are, none if one of them is no date."""
    try:
        return [date(year, second, first) if day_first else date(year, first, second) for first, second, year in dates]
    except ValueError:
        return []
