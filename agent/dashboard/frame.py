"""Turn a snapshot and a view into a frame: lines of exact width, without clock, input or output.

A frame takes three steps. `fit_view` orders the beds and chooses the size of their cards, for which the index of a
snapshot is enough; `fit_waves` follows the waves of the beds that the frame shows; `render_frame` draws them.
"""

from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from agent.core.events import DeviceNote
from agent.core.views import BedView, WardSnapshot
from agent.dashboard import alarm_lines
from agent.dashboard.alarm_state import alarm_state_lines
from agent.dashboard.bed_page import bed_lines, count_trace_rows, fits_large_layout
from agent.dashboard.bed_trace import LEAST_ROWS_FOR_TWO, refit_second_window
from agent.dashboard.frozen_picture import pictured_bed, shown_snapshot, thaw_for_alarm
from agent.dashboard.glance import glance_line
from agent.dashboard.header import header_line, trouble_banners, ward_line
from agent.dashboard.key_bar import answer_line, bottom_line
from agent.dashboard.layout import choose_card_grid, resize_card_grid
from agent.dashboard.limits_keys import is_typing
from agent.dashboard.lines import (
    StyledLine,
    cell_width,
    elide_text,
    elide_words,
    fill_block_lines,
    styled_line,
)
from agent.dashboard.overview import overview_lines
from agent.dashboard.pages import PAGE_DRAWERS
from agent.dashboard.second_lead import answer_second_lead
from agent.dashboard.small_screen import choose_small_grid, small_screen_lines
from agent.dashboard.status import DISCLAIMER, DISCLAIMER_SHORT, security_text
from agent.dashboard.styles import ASCII_GLYPHS, NOTICE, PLAIN, UNICODE_GLYPHS, GlyphSet
from agent.dashboard.view import (
    PAST_PAGE_NAMES,
    DashboardView,
    PageName,
    chosen_bed,
    freeze_view,
    is_overview,
    order_view_beds,
    page_beds,
    refit_windows,
)

LEAST_WIDTH, LEAST_HEIGHT = 80, 24
"""The smallest terminal that holds a whole page."""
SMALL_PAGES: tuple[PageName, ...] = ("help", "limits")
LEAST_PAGE_WIDTH, LEAST_PAGE_HEIGHT = 40, 10
"""Pages that a smaller terminal holds as well, and the smallest that does."""
LEAST_BODY = 15
"""Lines of a bed's page that its alarms leave free."""
LOW_HEIGHT, LOW_BANNERS = 26, 2
"""Most lines of a terminal with few lines of alarms above the trace; the last of these counts the others."""
LEAST_BANNER_WIDTH = 66
"""Least columns for the alarms of a bed with reason, course and key."""
REFIT_TURNS_HZ = 11.3
"""Turns of `refit_windows` per second: no multiple of a frame rate, at which some beds would never have a turn."""


@dataclass(frozen=True, slots=True, eq=False)
class DashboardFrame:
    """One picture of the dashboard as a rich renderable, whose lines are exactly as wide as the terminal."""

    lines: tuple[StyledLine, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index, line in enumerate(self.lines):
            if index:
                yield Segment.line()
            yield from line


def fits_small_page(view: DashboardView, width: int, height: int) -> bool:
    """Return whether a page is open that a terminal of this size can hold, though it is small."""
    return view.page in SMALL_PAGES and width >= LEAST_PAGE_WIDTH and height >= LEAST_PAGE_HEIGHT


def is_small(width: int, height: int) -> bool:
    """Return whether a terminal holds no whole page."""
    return width < LEAST_WIDTH or height < LEAST_HEIGHT


def fit_view(snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> DashboardView:
    """Return the view with the beds in order and cards that fit a terminal of `width` cells and `height` lines."""
    shown = shown_snapshot(snapshot, view)
    view = view if (view.columns, view.lines) == (width, height) else replace(view, columns=width, lines=height)
    # Header, ward line and footer take three lines, each trouble those that it needs
    room = height - 3 - len(trouble_banners(snapshot, width, UNICODE_GLYPHS))
    beds = len(shown.index)
    if is_small(width, height):
        grid = choose_small_grid(beds, width, height)
        return order_view_beds(view if view.grid == grid else replace(view, grid=grid), snapshot)
    grid = resize_card_grid(view.grid, beds, width, room) if view.frozen else choose_card_grid(beds, width, room)
    view = view if view.grid == grid else replace(view, grid=grid)
    return order_view_beds(view, snapshot)


def fit_waves(snapshot: WardSnapshot, view: DashboardView) -> DashboardView:
    """Return a fitted view with windows that fit the waves it shows, frozen if the user asked for it."""
    if (thawed := thaw_for_alarm(view, snapshot)) is not view:
        view = fit_view(snapshot, thawed, view.columns, view.lines)
    view = freeze_view(view, snapshot) if view.freezing else view
    shown = shown_snapshot(snapshot, view)
    if not is_overview(view, shown):
        bed = next((bed for bed in shown.beds if bed.bed == chosen_bed(view)), None)
        if bed is None:
            return view
        view = _answer_keys(snapshot, view, bed)
        pictured = pictured_bed(view, bed)
        return refit_second_window(refit_windows(view, [pictured]), pictured)
    names = set(page_beds(view))
    return refit_windows(
        view, [pictured_bed(view, bed) for bed in shown.beds if bed.bed in names], int(REFIT_TURNS_HZ * snapshot.now_s)
    )


def _answer_keys(snapshot: WardSnapshot, view: DashboardView, bed: BedView) -> DashboardView:
    def fits(columns: int, lines: int) -> bool:
        return second_lead_fits(snapshot, view, bed, columns, lines)

    return answer_second_lead(view, bed, (LEAST_WIDTH, LEAST_HEIGHT), fits)


def layout_view(snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> DashboardView:
    """Return the view fitted to a terminal and to the waves of this snapshot, ready for `render_frame`."""
    return fit_waves(snapshot, fit_view(snapshot, view, width, height))


def render_frame(snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> DashboardFrame:
    """Draw one frame of a snapshot.

    Parameters
    ----------
    snapshot
        What to show; of its beds only those that `needed_beds` names have to be there in full.
    view
        How to show it, as `layout_view` returned it for the same snapshot and size.
    width, height
        Size of the terminal in cells and lines.

    Returns
    -------
    DashboardFrame
        `height` lines of exactly `width` cells; in a terminal under 80 by 24 what matters most.
    """
    glyphs = ASCII_GLYPHS if view.ascii else UNICODE_GLYPHS
    shown = shown_snapshot(snapshot, view)
    bed = next((bed for bed in shown.beds if bed.bed == chosen_bed(view)), None)
    if is_small(width, height) and not fits_small_page(view, width, height):
        only = None if is_overview(view, shown) else bed
        small = small_screen_lines(snapshot, view, (width, height), only, glyphs)
        answer = answer_line(snapshot, view, width, "")
        return DashboardFrame((*small[:-1], answer) if answer else tuple(small))
    top = _top_lines(snapshot, view, bed, (width, height), glyphs)
    room = width, max(0, height - 1 - len(top))
    if (draw_page := PAGE_DRAWERS.get(view.page)) is not None:
        body = draw_page(shown, view, room, glyphs)
    elif is_overview(view, shown):
        body = overview_lines(shown, view, snapshot.now_s, room, glyphs)
    elif bed is None:
        body = _no_bed_lines(snapshot, room, glyphs)
    else:
        body = bed_lines(shown, bed, view, room, fits_large_layout((width, height - 2)), glyphs)
    return DashboardFrame((*top, *body, _footer_line(snapshot, view, width, height)))


def second_lead_fits(snapshot: WardSnapshot, view: DashboardView, bed: BedView, width: int, height: int) -> bool:
    """Return whether the page of a bed has room for a second lead, below what now stands above its trace."""
    top = _top_lines(snapshot, view, bed, (width, height), UNICODE_GLYPHS)
    wide = fits_large_layout((width, height - 2))
    return count_trace_rows(bed, height - 1 - len(top), wide) >= LEAST_ROWS_FOR_TWO


def _top_lines(
    snapshot: WardSnapshot, view: DashboardView, bed: BedView | None, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return what stands above the body in a terminal of `size`: header, troubles, and the ward or the alarms of a bed.

    Pages of the past say the alarms of the bed themselves.
    """
    width, height = size
    shown = shown_snapshot(snapshot, view)
    top = [header_line(snapshot, view, width, glyphs), *trouble_banners(snapshot, width, glyphs)]
    if is_overview(view, shown) and view.page not in PAST_PAGE_NAMES:
        top.insert(1, ward_line(snapshot, view, width))
    elif bed is not None and view.page not in PAST_PAGE_NAMES:
        top += alarm_state_lines(bed, snapshot.now_s, width, glyphs)
        most = height - 2 - len(top) - LEAST_BODY
        most = min(most, LOW_BANNERS) if height <= LOW_HEIGHT else most
        top += _banner_rows(snapshot, view, bed, width, most, glyphs)
        top += [glance_line(bed, shown, snapshot.now_s, width, glyphs)] if view.page == "beds" else []
    return top


def _banner_rows(
    snapshot: WardSnapshot, view: DashboardView, bed: BedView, width: int, most: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the alarms of the shown bed; on a narrow page the most urgent one in a line, its name first."""
    now_s = snapshot.now_s
    if width < LEAST_BANNER_WIDTH and bed.alarms:
        return [styled_line(width, (" ", PLAIN), *alarm_lines.urgent_alarm_parts(bed, now_s, width - 2, glyphs))]
    return alarm_lines.alarm_banner_lines(bed, now_s, width, most, glyphs, is_chosen=not is_typing(view))


def _footer_line(snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> StyledLine:
    shown = shown_snapshot(snapshot, view)
    # The small layout of one bed has the disclaimer in a line of its own
    bed_page = view.page == "beds" and bool(shown.beds) and not is_overview(view, shown)
    small_layout = bed_page and not fits_large_layout((width, height - 2))
    disclaimer = "" if small_layout else DISCLAIMER if width > LEAST_WIDTH + 15 else DISCLAIMER_SHORT
    return bottom_line(snapshot, view, width, disclaimer)


def _no_bed_lines(snapshot: WardSnapshot, room: tuple[int, int], glyphs: GlyphSet) -> list[StyledLine]:
    width, height = room
    endpoint = elide_text(glyphs.clean(snapshot.link.endpoint), width - 40, glyphs)
    state = "no bed yet" if snapshot.link.state == "connected" else "waiting for a stream"
    if snapshot.link.is_store:
        rows = [("no bed yet: no monitor has told the store of one", NOTICE), (f"at {endpoint}", PLAIN)]
    else:
        rows = [(state, NOTICE), (f"at {endpoint}, {security_text(snapshot.link)}", PLAIN)]
    told = [logged.event.text for logged in snapshot.events if isinstance(logged.event, DeviceNote)]
    rows += [(elide_words(glyphs.clean(text), width, glyphs), PLAIN) for text in told[-1:]]
    middle = [
        styled_line(width, (" " * max(0, (width - cell_width(text)) // 2), PLAIN), (text, style))
        for text, style in rows
    ]
    return fill_block_lines([styled_line(width)] * (height // 2 - 1) + middle, width, height)
