"""The settings of the view, which each key and each frame replace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from agent.core.bed_settings import NO_SETTINGS, BedSettings
from agent.core.views import BedSummary, BedView, WardSnapshot
from agent.dashboard.bed_order import HOLD_S, IDLE_S, BedOrder, restrict_order, update_order
from agent.dashboard.layout import CardGrid
from agent.dashboard.limits_draft import LimitsDraft
from agent.dashboard.looking import LookingBack
from agent.dashboard.wave_raster import VoltageWindow, fit_window
from model.records.resample import FS

REFIT_TURNS = 5
"""The windows of a ward's waves are fitted in this many turns, a part of the beds in each."""
CHOOSE_NOTE = "choose a bed first: n, p or /"
NOTE_S = 4.0
"""Seconds for which the answer to a key is shown."""
SWEEP_SECONDS = (2, 3, 4, 6, 8, 10, 15, 20, 30)
"""Seconds of signal that the width of the screen may show."""

PageName = Literal["beds", "trend", "alarms", "strip", "help", "limits"]
"""What the body of the screen shows: the ward or a bed, or a page that was opened by a key."""
PAST_PAGE_NAMES: tuple[PageName, ...] = ("trend", "alarms", "strip")
"""Pages of the past, which say their keys and the alarms of the bed themselves."""


@dataclass(frozen=True, slots=True)
class BedAction:
    """What the user wants the monitor to do for a bed; `silence` ends an earlier silence, `pause` an earlier pause."""

    kind: Literal["acknowledge", "silence", "pause", "settings"]
    bed: str
    settings: BedSettings = NO_SETTINGS


@dataclass(frozen=True, slots=True)
class ReplayWish:
    """What the user wants of the replay: `pause` it or go on, `seek` by seconds, change its `speed` by steps."""

    kind: Literal["pause", "seek", "speed"]
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class DashboardView:
    """Settings of the view.

    bed
        Name of the chosen bed, "" if none is.
    overview
        Whether to show all beds; None shows them if there is more than one.
    order, by_urgency
        Order of the beds, and whether it is by urgency or by arrival.
    grid
        Cards of the ward.
    frozen, freezing
        The snapshot whose waves and beats are shown instead of the live ones, and whether the next frame freezes.
    height_mv, seconds
        What the height and the width of the trace stand for, None for automatic.
    columns
        Width of the terminal in cells.
    windows
        The millivolts last shown of each bed.
    typed, searched_from
        The name that the user is typing, None if not, and the bed that was chosen before.
    last_key_s, note
        When a key was last pressed, and the answer to it.
    actions
        What the monitor still has to do.
    bell
        Whether the bell may ring.
    page, row
        The page that is open, and its chosen or first row.
    looking
        What is chosen of the past.
    replays, wishes
        Whether the device is a replay that may be paused, and what the user still wants of it.
    lines
        Height of the terminal.
    draft
        Limits that the user is changing, None if not.
    leaving
        Whether the user was asked if all is to end.
    asks_second_lead
        Whether the next frame is to turn the second lead on or off, or to say why it cannot be seen.
    """

    bed: str = ""
    overview: bool | None = None
    order: BedOrder = field(default_factory=BedOrder)
    by_urgency: bool = True
    grid: CardGrid = field(default_factory=CardGrid)
    frozen: WardSnapshot | None = None
    freezing: bool = False
    height_mv: float | None = None
    seconds: int | None = None
    columns: int = 80
    ascii: bool = False
    quit: bool = False
    windows: Mapping[str, VoltageWindow] = field(default_factory=dict)
    typed: str | None = None
    searched_from: str = ""
    last_key_s: float = -inf
    note: str = ""
    actions: tuple[BedAction, ...] = ()
    bell: bool = False
    page: PageName = "beds"
    row: int = 0
    looking: LookingBack = field(default_factory=LookingBack)
    replays: bool = False
    wishes: tuple[ReplayWish, ...] = ()
    lines: int = 24
    draft: LimitsDraft | None = None
    leaving: bool = False
    asks_second_lead: bool = False


def chosen_bed(view: DashboardView) -> str:
    """Return the name of the chosen bed, else of the first in order; "" without beds."""
    return view.bed if is_chosen(view) else next(iter(view.order.names), "")


def is_chosen(view: DashboardView) -> bool:
    """Return whether the chosen bed exists."""
    return view.bed in view.order.places


def is_overview(view: DashboardView, shown: WardSnapshot) -> bool:
    """Return whether all beds are shown at once."""
    return len(shown.index) > 1 if view.overview is None else view.overview and bool(shown.index)


def is_held(view: DashboardView, now_s: float) -> bool:
    """Return whether a key was pressed so recently that no bed may move."""
    return 0 <= now_s - view.last_key_s < HOLD_S


def page_range(view: DashboardView) -> tuple[int, int]:
    """Return the first place on the page of the chosen bed, and the place after its last."""
    first = view.order.places.get(view.bed, 0) // view.grid.per_page * view.grid.per_page
    return first, min(first + view.grid.per_page, len(view.order.names))


def page_beds(view: DashboardView) -> tuple[str, ...]:
    """Return the names of the beds on the page."""
    first, last = page_range(view)
    return view.order.names[first:last]


def needed_beds(view: DashboardView, snapshot: WardSnapshot) -> Sequence[str]:
    """Return the names of the beds that the next frame needs in full, also of a frozen picture: its alarms live."""
    if not snapshot.index:
        return ()
    if view.frozen:
        known = {summary.bed for summary in snapshot.index}
        names = page_beds(view) if is_overview(view, view.frozen) else (chosen_bed(view),)
        return tuple(name for name in names if name in known)
    overview = is_overview(view, snapshot)
    names = page_beds(view) if overview or view.freezing else ()
    names = (view.draft.bed, *names) if view.draft else names
    return tuple(dict.fromkeys(names if overview else (chosen_bed(view), *names)))


def find_bed_summary(shown: WardSnapshot, bed: str) -> BedSummary:
    """Return the summary of a bed in the index, an empty one if it is not there."""
    return next((summary for summary in shown.index if summary.bed == bed), BedSummary(bed))


def order_view_beds(view: DashboardView, snapshot: WardSnapshot) -> DashboardView:
    """Return the view with the beds in order, by the rules of `agent.dashboard.bed_order`."""
    if view.frozen:
        return view
    now_s = snapshot.now_s
    order = update_order(view.order, snapshot.index, now_s, view.by_urgency, is_held(view, now_s))
    if order is not view.order:
        view = replace(view, order=order)
    if view.overview is False:  # the shown bed stays, whatever becomes more urgent
        return view if is_chosen(view) or not order.names else replace(view, bed=order.names[0])
    idle = view.by_urgency and IDLE_S <= now_s - view.last_key_s < inf
    return replace(view, bed="") if idle and page_range(view)[0] > 0 else view


def freeze_view(view: DashboardView, snapshot: WardSnapshot) -> DashboardView:
    """Return the view with this snapshot frozen, and only the beds that it holds in full."""
    names = {bed.bed for bed in snapshot.beds}
    frozen = replace(snapshot, index=tuple(bed for bed in snapshot.index if bed.bed in names))
    bed = view.bed if view.bed in names else ""
    return replace(view, frozen=frozen, freezing=False, order=restrict_order(view.order, tuple(names)), bed=bed)


def thaw_view(view: DashboardView) -> DashboardView:
    """Return the live view."""
    looking = replace(view.looking, back=0, calipers=None)
    return replace(view, frozen=None, freezing=False, order=BedOrder(), looking=looking)


def seconds_across(view: DashboardView) -> int:
    """Return the seconds of one sweep: as chosen, else what the width of the screen shows well."""
    return view.seconds or (6 if view.columns < 110 else 8 if view.columns < 150 else 10)


def bed_window(view: DashboardView, bed: BedView) -> VoltageWindow:
    """Return the millivolts to show of a bed: those last shown, until `refit_windows` replaces them."""
    known = view.windows.get(bed.bed)
    return known if known and view.height_mv in (None, known.height) else _fit_bed_window(view, bed)


def refit_windows(view: DashboardView, beds: Sequence[BedView], turn: int | None = None) -> DashboardView:
    """Return the view with windows that hold the waves of these beds, changed as little as possible.

    If `turn` is given, a number that counts frames, refit only one bed in REFIT_TURNS, and those without a window.
    """
    windows = {}
    for i, bed in enumerate(beds):
        known = view.windows.get(bed.bed)
        if (
            turn is None
            or known is None
            or i % REFIT_TURNS == turn % REFIT_TURNS
            or view.height_mv not in (None, known.height)
        ):
            windows[bed.bed] = _fit_bed_window(view, bed)
    if all(view.windows.get(name) == window for name, window in windows.items()):
        return view
    return replace(view, windows={**view.windows, **windows})


def _fit_bed_window(view: DashboardView, bed: BedView) -> VoltageWindow:
    shown = bed.wave[-seconds_across(view) * FS :]
    return fit_window(shown, view.windows.get(bed.bed), view.height_mv)
