"""One bed in full: its trace and, around it, what the trace says."""

from agent.core.messages import BedView, Snapshot
from agent.dashboard import alarms, panels, status
from agent.dashboard.lines import Line, beside, fill, line
from agent.dashboard.styles import Glyphs
from agent.dashboard.trace import trace
from agent.dashboard.view import View, seconds_across, window_of

WIDE, TALL = 100, 26
"""Columns and lines without header and footer from which the heart rate stands beside the trace, else below it."""
ROOMY = 150
"""From this width on its figures are twice as large."""
LEAST_HIGH = 15
"""Lines of the trace and the empty one below it that hold all figures beside it."""
LEAST_LOW = 7
"""Lines of the trace of a small terminal and of the three below its lists that lists make way for."""
AIRY = 13
"""Lines of the lists below the trace from which one of them stays empty."""
FIGURES, SIDE_SMALL, SIDE_LARGE = 19, 26, 36
"""Columns of the heart rate below the trace, and of what stands beside it."""


def bed_lines(
    snapshot: Snapshot, bed: BedView, view: View, size: tuple[int, int], wide: bool, glyphs: Glyphs
) -> list[Line]:
    """The lines between header and footer: `size` columns and lines, in the layout of a large terminal if `wide`."""
    return (_wide if wide else _narrow)(snapshot, bed, view, size, glyphs)


def is_wide(size: tuple[int, int]) -> bool:
    """Whether these columns and lines hold the layout of a large terminal."""
    return size[0] >= WIDE and size[1] >= TALL


def _narrow(snapshot: Snapshot, bed: BedView, view: View, size: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    width, height = size
    low = max(7, min(10 + max(0, (height - 22) // 3), height - LEAST_LOW))
    left = 46 + max(0, width - 80) // 2
    right = width - left - 4
    figures = beside(
        [
            (panels.vitals(bed, snapshot, FIGURES, 1, glyphs), FIGURES),
            (panels.classes(bed, left - FIGURES - 2, glyphs), left - FIGURES - 2),
        ],
        7,
    )
    news = fill(panels.events(bed, snapshot, left, low - 7, glyphs), left, low - 7)
    written = status.recording_lines(snapshot.recording, right, glyphs) if snapshot.recording else []
    room = low - len(written)
    told = _told(bed, right, room // 2, glyphs)
    beats = room - len(told)
    last = [*fill(panels.last_beats(bed, right, beats, glyphs), right, beats), *told, *written]
    block = beside([(figures + news, left), (last, right)], low)
    state = status.monitor_short(bed, snapshot, width, glyphs)
    drawn = trace(bed, window_of(view, bed), seconds_across(view), (width - 1, height - low - len(state)), glyphs)
    return [*_pad(drawn, 0, 1), *_pad(block, 1, 1), *state]


def _wide(snapshot: Snapshot, bed: BedView, view: View, size: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    width, height = size
    low = min(10 + max(0, (height - 22) // 4), height - LEAST_HIGH)
    high = height - low - 1
    large = width >= ROOMY and high >= 18 and not glyphs.ascii
    side = SIDE_LARGE if large else SIDE_SMALL
    room = width - side - 4
    drawn = trace(bed, window_of(view, bed), seconds_across(view), (room, high), glyphs)
    rate = panels.vitals(bed, snapshot, side, 2 if large else 1, glyphs)
    space = [line(side)] if high > 14 else []
    figures = [*rate, *space, *panels.classes(bed, side, glyphs)]
    left = high - len(figures) - 2
    if left >= 3:
        figures += [line(side), *panels.intervals(bed, side, min(left, 6), glyphs)]
    top = beside([(drawn, room), (figures, side)], high)
    air = [line(width)] if low >= AIRY else []
    lists = _lists(snapshot, bed, (width - 2, low - 1 - len(air)), glyphs)
    return [*_pad(top, 0, 2), line(width), *_pad(lists, 1, 1), *air, status.ledger_line(bed, width)]


def _lists(snapshot: Snapshot, bed: BedView, size: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    """Last beats, alarms and events, and the monitor's own state side by side."""
    width, height = size
    beats, news = round(0.3 * width), round(0.38 * width)
    rest = width - beats - news - 4
    told = _told(bed, news, max(4, height * 3 // 5), glyphs)
    parts = [
        (panels.last_beats(bed, beats, height, glyphs), beats),
        (told + panels.events(bed, snapshot, news, height - len(told), glyphs), news),
        (status.monitor(bed, snapshot, rest, height, glyphs), rest),
    ]
    return beside(parts, height)


def _told(bed: BedView, width: int, most: int, glyphs: Glyphs) -> list[Line]:
    """The last alarms and an empty line, in at most so many lines; nothing where there were none."""
    count = len(alarms.history(bed))
    if not count:
        return []
    return [*alarms.last_alarms(bed, width, min(most - 1, count + 1), glyphs), line(width)]


def _pad(block: list[Line], left: int, right: int) -> list[Line]:
    return [line(left) + row + line(right) for row in block]
