"""The keys of a still picture: looking back in it, and calipers on it."""

from dataclasses import replace

from agent.core.views import WardSnapshot
from agent.dashboard.key_codes import ESCAPE_KEY, FIRST_KEYS, LAST_KEYS, LEFT_KEYS, PAGE_STEPS, RIGHT_KEYS
from agent.dashboard.looking import Calipers, LookingBack
from agent.dashboard.still_extent import StillExtent, still_extent, still_range
from agent.dashboard.view import DashboardView, is_overview, seconds_across
from model.records.resample import FS

CALIPER_KEY, OTHER_CALIPER_KEYS = "c", ("\t", "\x1b[Z")
COARSE_LEFT, COARSE_RIGHT = "\x1b[1;2D", "\x1b[1;2C"
"""Arrows with Shift."""
COARSE = FS // 5
"""Samples of a coarse step of a caliper, 0.2 s."""
BACK_STEP = FS
"""Samples of a step back in time."""
NOTHING_NOTE = "nothing to freeze yet"
FREEZE_FIRST_NOTE = "open one bed first: enter"
NO_MORE_NOTE = "that is all there is: a monitor with --record keeps the whole signal"
RUN_NOTE = "that is where this run begins"


def press_still_key(view: DashboardView, key: str, shown: WardSnapshot) -> DashboardView | None:
    """Handle a key in a still picture, and the one that begins with calipers; None if it is none of these."""
    if key == CALIPER_KEY:
        return _press_caliper_key(view, shown)
    extent = still_extent(view, shown)
    if extent is None:
        return None
    steps = {**dict.fromkeys(LEFT_KEYS, 1), **dict.fromkeys(RIGHT_KEYS, -1)}
    if view.looking.calipers is not None:
        if key in OTHER_CALIPER_KEYS:
            calipers = replace(view.looking.calipers, active=1 - view.looking.calipers.active)
            return replace(view, looking=replace(view.looking, calipers=calipers))
        if key == ESCAPE_KEY:
            return replace(view, looking=replace(view.looking, calipers=None))
        steps |= {COARSE_LEFT: COARSE, COARSE_RIGHT: -COARSE}
        steps |= {known: -by * COARSE for known, by in PAGE_STEPS.items()}
        return move_caliper(view, extent, steps[key]) if key in steps else None
    steps = {known: by * BACK_STEP for known, by in steps.items()}
    steps |= {COARSE_LEFT: extent.length // 2, COARSE_RIGHT: -(extent.length // 2)}
    steps |= {known: -by * extent.length for known, by in PAGE_STEPS.items()}
    steps |= {**dict.fromkeys(FIRST_KEYS, 10**9), **dict.fromkeys(LAST_KEYS, -(10**9))}
    return look_back(view, extent, steps[key]) if key in steps else None


def look_back(view: DashboardView, extent: StillExtent, by: int) -> DashboardView:
    """Return the view `by` samples further back, as far as the picture goes."""
    most = max(0, extent.end - extent.oldest - extent.length)
    least = min(0, extent.end - extent.newest)
    back = min(max(view.looking.back + by, least), most)
    note = view.note
    if back == view.looking.back and by > 0:
        note = RUN_NOTE if extent.oldest < extent.piece.first else NO_MORE_NOTE
    return replace(view, note=note, looking=replace(view.looking, back=back))


def move_caliper(view: DashboardView, extent: StillExtent, by: int) -> DashboardView:
    """Return the view with the active caliper `by` samples further back; the picture follows it over its edge."""
    looking = view.looking
    calipers = looking.calipers or default_calipers(extent.length)
    active = calipers.active
    places = list(calipers.places)
    place = extent.end - min(max(extent.end - places[active] - by, extent.oldest), extent.newest - 1)
    places[active] = place
    first, stop = still_range(extent, looking)
    sample = extent.end - place
    over = min(0, sample - first) + max(0, sample - stop + 1)
    moved = replace(looking, calipers=Calipers((places[0], places[1]), active), back=looking.back - over)
    return replace(view, looking=moved)


def default_calipers(length: int, back: int = 0) -> Calipers:
    """Return calipers at one and two thirds of a picture of `length` samples."""
    return Calipers((back + 2 * length // 3, back + length // 3), active=1)


def _press_caliper_key(view: DashboardView, shown: WardSnapshot) -> DashboardView:
    """Turn calipers on or off; in a live picture freeze it first."""
    if view.page == "beds" and is_overview(view, shown):
        return replace(view, note=FREEZE_FIRST_NOTE)
    if view.looking.calipers is not None:
        return replace(view, looking=replace(view.looking, calipers=None))
    if not shown.index:
        return replace(view, note=NOTHING_NOTE)
    extent = still_extent(view, shown)
    if extent is None:  # the next frame freezes
        return replace(view, freezing=True, looking=_with_calipers(view.looking, view))
    return replace(view, looking=_with_calipers(view.looking, view, extent.length))


def _with_calipers(looking: LookingBack, view: DashboardView, length: int | None = None) -> LookingBack:
    length = length or seconds_across(view) * FS
    return replace(looking, calipers=default_calipers(length, looking.back))
