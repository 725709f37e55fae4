"""The keys of the trend page."""

from dataclasses import replace

from agent.core.look_back import TREND_HOURS
from agent.core.views import WardSnapshot
from agent.dashboard.bed_keys import press_bed_key
from agent.dashboard.key_codes import (
    ENTER_KEYS,
    ESCAPE_KEY,
    FIRST_KEYS,
    GAIN_STEPS,
    LAST_KEYS,
    LEFT_KEYS,
    PAGE_STEPS,
    RIGHT_KEYS,
)
from agent.dashboard.view import DashboardView

COARSE_SHARE = 12
"""A page key moves the cursor by this part of the span."""


def press_trend_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView:
    """Handle a key on the trend page: its span and cursor; what it does not know is a key of the bed."""
    looking = view.looking
    minutes = looking.hours * 60
    if key in (ESCAPE_KEY, "t", *ENTER_KEYS):
        return replace(view, page="beds", looking=replace(looking, minutes_back=None))
    if key in GAIN_STEPS:
        place = min(range(len(TREND_HOURS)), key=lambda i: abs(TREND_HOURS[i] - looking.hours)) + GAIN_STEPS[key]
        hours = TREND_HOURS[min(max(place, 0), len(TREND_HOURS) - 1)]
        back = None if looking.minutes_back is None else min(looking.minutes_back, 60 * hours - 1)
        return replace(view, looking=replace(looking, hours=hours, minutes_back=back))
    steps = {**dict.fromkeys(LEFT_KEYS, 1), **dict.fromkeys(RIGHT_KEYS, -1)}
    # One step moves by what a dot of the screen stands for, at least
    fine = max(1, minutes // (2 * view.columns))
    steps = {known: by * fine for known, by in steps.items()}
    steps |= {known: -by * (minutes // COARSE_SHARE) for known, by in PAGE_STEPS.items()}
    steps |= {**dict.fromkeys(FIRST_KEYS, minutes), **dict.fromkeys(LAST_KEYS, -minutes)}
    if key in steps:
        back = (looking.minutes_back if looking.minutes_back is not None else -fine) + steps[key]
        return replace(view, looking=replace(looking, minutes_back=min(max(back, 0), minutes - 1)))
    return press_bed_key(view, key, shown) if key in "kmnpb/" else view
