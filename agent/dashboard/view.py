"""What a person chose to look at: settings that a key, or the next frame, makes anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal

from agent.core.messages import BedSummary, BedView, WardSnapshot
from agent.dashboard.bed_order import HOLD_S, IDLE_S, BedOrder, restrict_order, update_order
from agent.dashboard.layout import CardGrid
from agent.dashboard.wave_raster import VoltageWindow, fit_window
from model.records.resample import FS

REFIT_TURNS = 5
"""Windows of the many waves of a ward are fitted in so many turns."""
SWEEP_SECONDS = (2, 3, 4, 6, 8, 10, 15, 20, 30)
"""Seconds that the width of the screen may stand for."""


@dataclass(frozen=True, slots=True)
class BedAction:
    """What a person asked the monitor to do for a bed; silencing a silenced bed ends it."""

    kind: Literal["acknowledge", "silence"]
    bed: str


@dataclass(frozen=True, slots=True)
class DashboardView:
    """Settings of the view.

    `bed` the chosen one ("": none), `overview` of all beds (None: where there is more than one), `order` of the beds
    and `by_urgency` how it is wanted, `grid` of the ward's cards. `frozen` the snapshot shown instead of the live one,
    `freezing`: the next frame will be. `height_mv` and `seconds` what the screen's height and width stand for (None:
    chosen automatically), `columns` the width of the terminal, `windows` the millivolts last shown of each bed. `typed`
    the name that is looked for (None: nobody types), `before` the bed chosen before that. `touched_s` when a key was
    last pressed, `note` what was said about it. `asked` what the monitor is still to do, `bell`: it may ring.
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
    before: str = ""
    touched_s: float = -inf
    note: str = ""
    asked: tuple[BedAction, ...] = ()
    bell: bool = False


def chosen_bed(view: DashboardView) -> str:
    """Name of the bed looked at: the first of the order where none is chosen, or one that is gone; "" without beds."""
    return view.bed if is_chosen(view) else next(iter(view.order.names), "")


def is_chosen(view: DashboardView) -> bool:
    """Whether a person chose a bed that is there."""
    return view.bed in view.order.places


def is_overview(view: DashboardView, shown: WardSnapshot) -> bool:
    """Whether all beds are shown at once."""
    return len(shown.index) > 1 if view.overview is None else view.overview and bool(shown.index)


def is_held(view: DashboardView, now_s: float) -> bool:
    """Whether a key was pressed so lately that no bed may change its place."""
    return 0 <= now_s - view.touched_s < HOLD_S


def page_range(view: DashboardView) -> tuple[int, int]:
    """First and last + 1 of the places in the order that are on the page: that of the chosen bed."""
    first = view.order.places.get(view.bed, 0) // view.grid.per_page * view.grid.per_page
    return first, min(first + view.grid.per_page, len(view.order.names))


def page_beds(view: DashboardView) -> tuple[str, ...]:
    """Names of the beds on the page."""
    first, last = page_range(view)
    return view.order.names[first:last]


def needed_beds(view: DashboardView, snapshot: WardSnapshot) -> Sequence[str]:
    """The beds of which the next frame needs all: none where the picture is frozen."""
    if view.frozen or not snapshot.index:
        return ()
    overview = is_overview(view, snapshot)
    names = page_beds(view) if overview or view.freezing else ()
    return names if overview else tuple(dict.fromkeys((chosen_bed(view), *names)))


def find_bed_summary(shown: WardSnapshot, bed: str) -> BedSummary:
    """The bed of this name as the index has it."""
    return next((one for one in shown.index if one.bed == bed), BedSummary(bed))


def order_view_beds(view: DashboardView, snapshot: WardSnapshot) -> DashboardView:
    """The view with the beds in their order; see `agent.dashboard.bed_order` for what moves them and what does not."""
    if view.frozen:
        return view
    now_s = snapshot.now_s
    order = update_order(view.order, snapshot.index, now_s, view.by_urgency, is_held(view, now_s))
    if order is not view.order:
        view = replace(view, order=order)
    if view.overview is False:  # what is looked at stays, whatever becomes more urgent
        return view if is_chosen(view) or not order.names else replace(view, bed=order.names[0])
    idle = view.by_urgency and IDLE_S <= now_s - view.touched_s < inf
    return replace(view, bed="") if idle and page_range(view)[0] > 0 else view


def freeze_view(view: DashboardView, snapshot: WardSnapshot) -> DashboardView:
    """The view with this snapshot held: of the beds only those that it has in full."""
    names = {bed.bed for bed in snapshot.beds}
    held = replace(snapshot, index=tuple(bed for bed in snapshot.index if bed.bed in names))
    bed = view.bed if view.bed in names else ""
    return replace(view, frozen=held, freezing=False, order=restrict_order(view.order, tuple(names)), bed=bed)


def thaw_view(view: DashboardView) -> DashboardView:
    """The view of what is now."""
    return replace(view, frozen=None, freezing=False, order=BedOrder())


def seconds_across(view: DashboardView) -> int:
    """Seconds of one sweep: what was chosen, else what the screen can show well."""
    return view.seconds or (6 if view.columns < 110 else 8 if view.columns < 150 else 10)


def bed_window(view: DashboardView, bed: BedView) -> VoltageWindow:
    """The millivolts to show of a bed: those last shown, until `refit_windows` finds them unfit."""
    known = view.windows.get(bed.bed)
    return known if known and view.height_mv in (None, known.height) else _fit_bed_window(view, bed)


def refit_windows(view: DashboardView, beds: Sequence[BedView], turn: int | None = None) -> DashboardView:
    """The view with windows that hold the waves of these beds, as steady as they allow.

    `turn` (any number that counts frames): of the beds whose windows are known only those whose turn it is.
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
