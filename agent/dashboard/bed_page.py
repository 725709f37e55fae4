"""The page of one bed: its trace, and its figures and lists around it."""

from agent.core.views import BedView, WardSnapshot
from agent.dashboard import alarm_lines, panels, status
from agent.dashboard.bed_trace import bed_trace_lines
from agent.dashboard.fleet_place import fleet_place_lines
from agent.dashboard.frozen_picture import pictured_bed
from agent.dashboard.lines import StyledLine, fill_block_lines, join_blocks, styled_line
from agent.dashboard.reference_lines import reference_score_line
from agent.dashboard.styles import GlyphSet
from agent.dashboard.view import DashboardView

LARGE_WIDTH, LARGE_HEIGHT = 100, 26
"""Least columns and lines, without header and footer, for the heart rate beside the trace instead of below it."""
LARGE_DIGITS_WIDTH = 150
"""Least width for digits of twice the size."""
LEAST_TRACE_ROWS = 15
"""Least lines of the trace and the empty line below it: all figures fit beside them."""
LEAST_SMALL_TRACE_ROWS = 10
"""Least lines of the trace of a small terminal: eight of the wave, its letters and its seconds."""
FIGURE_ROWS, LEAST_FIGURE_ROWS, LEAST_EVENT_ROWS, LEAST_ALARM_ROWS = 7, 4, 2, 5
"""Lines of the figures below the trace of a small terminal, and the least of them, the heart rate; the least lines of
events, and of the last alarms, which the last beats leave them."""
SPACED_LIST_ROWS = 13
"""Least lines of the lists below the trace of which one stays empty."""
VITALS_WIDTH, SIDE_WIDTH_SMALL, SIDE_WIDTH_LARGE = 19, 26, 36
"""Columns of the heart rate below the trace, and of the figures beside the trace."""


def bed_lines(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], wide: bool, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the lines between header and footer, `size` columns and lines, in the large layout if `wide`."""
    layout_lines = _large_layout_lines if wide else _small_layout_lines
    if bed.reference is None:
        return layout_lines(snapshot, bed, view, size, glyphs)
    score = reference_score_line(bed.reference, size[0], glyphs)
    return [score, *layout_lines(snapshot, bed, view, (size[0], size[1] - 1), glyphs)]


def fits_large_layout(size: tuple[int, int]) -> bool:
    """Return whether these columns and lines hold the large layout."""
    return size[0] >= LARGE_WIDTH and size[1] >= LARGE_HEIGHT


def count_trace_rows(bed: BedView, height: int, wide: bool) -> int:
    """Return how many of `height` lines between header and footer the trace has, in the large layout if `wide`."""
    height -= bed.reference is not None
    if wide:
        return _large_layout_rows(height)[1]
    low, told = _small_layout_rows(bed, height)
    return height - low - told


def _small_layout_lines(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    width, height = size
    low, told = _small_layout_rows(bed, height)
    state = status.monitor_summary_lines(bed, snapshot, (width, told), glyphs)
    left = 46 + max(0, width - 80) // 2
    right = width - left - 4
    figures = join_blocks(
        [
            (panels.vitals_panel(bed, snapshot, VITALS_WIDTH, 1, glyphs), VITALS_WIDTH),
            (panels.class_panel(bed, snapshot.class_trust, left - VITALS_WIDTH - 2, glyphs), left - VITALS_WIDTH - 2),
        ],
        FIGURE_ROWS,
    )
    rest = max(0, low - FIGURE_ROWS)
    events = fill_block_lines(panels.events_panel(bed, snapshot, left, rest, glyphs), left, rest)
    recording = status.recording_lines(snapshot.recording, right, glyphs) if snapshot.recording else []
    room = max(0, low - len(recording))
    alarms = _last_alarm_block(bed, right, max(room // 2, min(LEAST_ALARM_ROWS, room - LEAST_EVENT_ROWS)), glyphs)
    beats = room - len(alarms)
    latest = panels.last_beats_panel(pictured_bed(view, bed), snapshot.least_confidence, right, beats, glyphs)
    last = [*fill_block_lines(latest, right, beats), *alarms, *recording]
    block = join_blocks([(figures + events, left), (last, right)], low)
    shape = width - 1, height - low - len(state)
    trace = _trace_block(snapshot, bed, view, shape, glyphs)
    return [*_pad_columns(trace, 0, 1), *_pad_columns(block, 1, 1), *state]


def _small_layout_rows(bed: BedView, height: int) -> tuple[int, int]:
    """Return the lines of figures and lists below the trace, and how many lines of the monitor's state there are.

    Both give way for the trace, down to the heart rate and one line. The letters of a reference have a line more.
    """
    least = LEAST_SMALL_TRACE_ROWS + (bed.reference is not None)
    told = max(1, min(3, height - least - FIGURE_ROWS - LEAST_EVENT_ROWS))
    low = min(10 + max(0, (height - 22) // 3), height - least - told)
    return max(LEAST_FIGURE_ROWS, low), told


def _large_layout_lines(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    width, height = size
    low, high = _large_layout_rows(height)
    large = width >= LARGE_DIGITS_WIDTH and high >= 18 and not glyphs.ascii
    side = SIDE_WIDTH_LARGE if large else SIDE_WIDTH_SMALL
    room = width - side - 4
    trace = _trace_block(snapshot, bed, view, (room, high), glyphs)
    rate = panels.vitals_panel(bed, snapshot, side, 2 if large else 1, glyphs)
    space = [styled_line(side)] if high > 14 else []
    figures = [*rate, *space, *panels.class_panel(bed, snapshot.class_trust, side, glyphs)]
    free = high - len(figures) - 2
    if free >= 3:
        figures += [styled_line(side), *panels.rr_panel(pictured_bed(view, bed), side, min(free, 6), glyphs)]
    top = join_blocks([(trace, room), (figures, side)], high)
    margin = [styled_line(width)] if low >= SPACED_LIST_ROWS else []
    lists = _bed_list_columns(snapshot, bed, view, (width - 2, low - 1 - len(margin)), glyphs)
    return [
        *_pad_columns(top, 0, 2),
        styled_line(width),
        *_pad_columns(lists, 1, 1),
        *margin,
        status.bed_ledger_line(bed, width),
    ]


def _large_layout_rows(height: int) -> tuple[int, int]:
    """Return the lines of the lists below the trace, and those of the trace."""
    low = min(10 + max(0, (height - 22) // 4), height - LEAST_TRACE_ROWS)
    return low, height - low - 1


def _bed_list_columns(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the last beats, alarms and events, and the state of the monitor, side by side."""
    width, height = size
    beats_width = round(0.3 * width)
    events_width = round(0.38 * width)
    rest = width - beats_width - events_width - 4
    alarms = _last_alarm_block(bed, events_width, max(5, height * 3 // 5), glyphs)
    beats = panels.last_beats_panel(pictured_bed(view, bed), snapshot.least_confidence, beats_width, height, glyphs)
    parts = [
        (beats, beats_width),
        (alarms + panels.events_panel(bed, snapshot, events_width, height - len(alarms), glyphs), events_width),
        (status.monitor_panel(bed, snapshot, rest, height, glyphs), rest),
    ]
    return join_blocks(parts, height)


def _trace_block(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the trace of a bed, or what stands in its place where there is none."""
    if bed.fleet is not None:
        return fleet_place_lines(bed, size, glyphs)
    return bed_trace_lines(snapshot, bed, view, size, glyphs)


def _last_alarm_block(bed: BedView, width: int, most: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the last alarms and an empty line in at most `most` lines; nothing if there were no alarms."""
    count = len(alarm_lines.merge_recent_alarms(bed))
    if not count:
        return []
    return [*alarm_lines.last_alarm_lines(bed, width, min(most - 1, count + 1), glyphs), styled_line(width)]


def _pad_columns(block: list[StyledLine], left: int, right: int) -> list[StyledLine]:
    return [styled_line(left) + row + styled_line(right) for row in block]
