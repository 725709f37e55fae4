"""A snapshot and a view become a frame: lines of exact width, without clock, input or output."""

from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from agent.dashboard.bed import bed_lines, is_wide
from agent.dashboard.header import banners, header
from agent.dashboard.lines import Line, Part, elide, fill, line, size, spread
from agent.dashboard.overview import overview_lines, page
from agent.dashboard.status import DISCLAIMER, security
from agent.dashboard.styles import (
    ASCII,
    FAINT,
    NOTICE,
    PLAIN,
    STRONG,
    UNICODE,
    Glyphs,
)
from agent.dashboard.view import View, chosen, follow, is_overview
from agent.messages import Snapshot

LEAST_WIDTH, LEAST_HEIGHT = 80, 24
"""The smallest terminal that holds a frame."""
KEYS = (
    ("q", "quit"),
    ("space", "freeze"),
    ("n p", "bed"),
    ("+ -", "gain"),
    ("< >", "time"),
    ("o", "overview"),
    ("a", "auto"),
)
OVERVIEW_KEYS = (("q", "quit"), ("space", "freeze"), ("n p", "bed"), ("enter", "open"))


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of the dashboard as a rich renderable: its lines are exactly as wide as was asked."""

    lines: tuple[Line, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index, made in enumerate(self.lines):
            if index:
                yield Segment.line()
            yield from made


def render(snapshot: Snapshot, view: View, width: int, height: int) -> Frame:
    """The frame of a snapshot: `height` lines of `width` cells."""
    view = replace(view, columns=width)
    glyphs = ASCII if view.ascii else UNICODE
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        text = f"{width}x{height} is too small: the dashboard needs {LEAST_WIDTH}x{LEAST_HEIGHT}"
        return Frame(tuple(fill([line(width, (text, STRONG))], width, height)))
    shown = view.frozen or snapshot
    troubles = banners(snapshot, width, glyphs)
    room = (width, height - 2 - len(troubles))
    if not shown.beds:
        body = _waiting(snapshot, room, glyphs)
    elif is_overview(view, shown):
        body = overview_lines(shown, view, room, glyphs)
    else:
        wide = is_wide((width, height - 2))
        body = bed_lines(shown, shown.beds[chosen(view, shown)], view, room, wide, glyphs)
    top = (header(snapshot, view, room, glyphs), *troubles)
    return Frame((*top, *body, _footer(shown, view, width, height)))


def settle(snapshot: Snapshot, view: View, width: int, height: int) -> View:
    """The view made to fit this terminal and the waves that it shows of this snapshot."""
    shown = view.frozen or snapshot
    view = view if view.columns == width else replace(view, columns=width)
    if is_overview(view, shown):
        troubles = banners(snapshot, width, UNICODE)
        first, last = page(view, shown, width, height - 2 - len(troubles))
        return follow(view, shown.beds[first:last])
    index = chosen(view, shown)
    return follow(view, shown.beds[index : index + 1])


def _footer(shown: Snapshot, view: View, width: int, height: int) -> Line:
    """The keys, as many as there is room for, and what this is not."""
    overview = is_overview(view, shown)
    # The small layout of one bed has a place of its own for this line
    told = bool(shown.beds) and not overview and not is_wide((width, height - 2))
    right: list[Part] = [] if told else [(f"{DISCLAIMER} ", FAINT)]
    room = width - sum(size(text) for text, _ in right) - 1
    left: list[Part] = [(" ", PLAIN)]
    for key, meaning in OVERVIEW_KEYS if overview else KEYS:
        room -= len(key) + len(meaning) + 3
        if room >= 0:
            left += [(key, STRONG), (f" {meaning}  ", FAINT)]
    return spread(width, left, right)


def _waiting(snapshot: Snapshot, room: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    width, height = room
    endpoint = elide(glyphs.clean(snapshot.link.endpoint), width - 40, glyphs)
    said = "no bed yet" if snapshot.link.state == "connected" else "waiting for a stream"
    rows = [(said, NOTICE), (f"at {endpoint}, {security(snapshot.link)}", PLAIN)]
    middle = [line(width, (" " * max(0, (width - size(text)) // 2), PLAIN), (text, style)) for text, style in rows]
    return fill([line(width)] * (height // 2 - 1) + middle, width, height)
