"""A snapshot and a view become a frame: lines of exact width, without clock, input or output."""

from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from agent.core.messages import Snapshot
from agent.dashboard import alarms
from agent.dashboard.bed import bed_lines, is_wide
from agent.dashboard.header import banners, header, ward_line
from agent.dashboard.keys import matches
from agent.dashboard.layout import layout, resized
from agent.dashboard.lines import Line, Part, elide, fill, line, size, spread
from agent.dashboard.overview import overview_lines
from agent.dashboard.status import DISCLAIMER, DISCLAIMER_SHORT, security
from agent.dashboard.styles import ASCII, FAINT, NOTICE, PLAIN, STRONG, UNICODE, Glyphs
from agent.dashboard.view import View, arrange, chosen, follow, freeze, is_overview, on_page

LEAST_WIDTH, LEAST_HEIGHT = 80, 24
"""The smallest terminal that holds a frame."""
LEAST_BODY = 15
"""Lines of a bed's view that lines of its alarms leave to it."""
KEYS = (
    ("q", "quit"),
    ("n p", "bed"),
    ("o", "ward"),
    ("k", "acknowledge"),
    ("m", "silence"),
    ("space", "freeze"),
    ("+ -", "gain"),
    ("< >", "time"),
    ("a", "auto"),
    ("b", "bell"),
    ("/", "find"),
)
OVERVIEW_KEYS = (
    ("q", "quit"),
    ("n p", "bed"),
    ("enter", "open"),
    ("k", "acknowledge"),
    ("m", "silence"),
    ("/", "find"),
    ("s", "order"),
    ("space", "freeze"),
    ("b", "bell"),
)
TURNS_HZ = 11.3
"""Turns of `follow` a second; no multiple of a frame rate, at which some beds would never have theirs."""
NOTE_S = 4.0
"""How long what was said about a key stays."""


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
    glyphs = ASCII if view.ascii else UNICODE
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return Frame(tuple(_too_small(width, height)))
    view = arranged(snapshot, view, width, height)
    shown = view.frozen or snapshot
    top = [header(snapshot, view, width, glyphs), *banners(snapshot, width, glyphs)]
    bed = next((bed for bed in shown.beds if bed.bed == chosen(view)), None)
    if is_overview(view, shown):
        top.insert(1, ward_line(snapshot, view, width))
        body = overview_lines(shown, view, snapshot.now_s, (width, height - 1 - len(top)), glyphs)
    elif bed is None:
        body = _waiting(snapshot, (width, height - 1 - len(top)), glyphs)
    else:
        wide = is_wide((width, height - 2))
        top += alarms.banner(bed, snapshot.now_s, width, height - 1 - len(top) - LEAST_BODY, glyphs)
        body = bed_lines(shown, bed, view, (width, height - 1 - len(top)), wide, glyphs)
    return Frame((*top, *body, _footer(snapshot, view, width, height)))


def arranged(snapshot: Snapshot, view: View, width: int, height: int) -> View:
    """The view with the beds in their order, and cards that fit this terminal; for this no bed is needed in full."""
    shown = view.frozen or snapshot
    view = view if view.columns == width else replace(view, columns=width)
    room = height - 3 - len(banners(snapshot, width, UNICODE))
    beds = len(shown.index)
    grid = resized(view.grid, beds, width, room) if view.frozen else layout(beds, width, room)
    view = view if view.grid == grid else replace(view, grid=grid)
    return arrange(view, snapshot)


def settle(snapshot: Snapshot, view: View, width: int, height: int) -> View:
    """The view made to fit this terminal and the waves that it shows of this snapshot."""
    view = arranged(snapshot, view, width, height)
    view = freeze(view, snapshot) if view.freezing else view
    shown = view.frozen or snapshot
    if not is_overview(view, shown):
        return follow(view, [bed for bed in shown.beds if bed.bed == chosen(view)])
    names = set(on_page(view))
    return follow(view, [bed for bed in shown.beds if bed.bed in names], int(TURNS_HZ * snapshot.now_s))


def _footer(snapshot: Snapshot, view: View, width: int, height: int) -> Line:
    """What is typed, what was said about a key, or the keys, as many as there is room for; and what this is not."""
    shown = view.frozen or snapshot
    overview = is_overview(view, shown)
    # The small layout of one bed has a place of its own for this line
    told = bool(shown.beds) and not overview and not is_wide((width, height - 2))
    glyphs = ASCII if view.ascii else UNICODE
    said = DISCLAIMER if width > LEAST_WIDTH + 15 else DISCLAIMER_SHORT
    right: list[Part] = [] if told else [(f"{said} ", FAINT)]
    if view.typed is not None:
        return spread(width, _search(shown, view, glyphs), right)
    if view.note and 0 <= snapshot.now_s - view.touched_s < NOTE_S:
        text = elide(glyphs.clean(view.note), width - 40, glyphs)
        return spread(width, [(f" {text}", NOTICE)], right)
    room = width - sum(size(text) for text, _ in right) - 1
    left: list[Part] = [(" ", PLAIN)]
    for key, meaning in OVERVIEW_KEYS if overview else KEYS:
        room -= len(key) + len(meaning) + 3
        if room < (0 if right else -2):  # the last one needs no space behind it
            break
        left += [(key, STRONG), (f" {meaning}  ", FAINT)]
    return spread(width, left, right)


def _search(shown: Snapshot, view: View, glyphs: Glyphs) -> list[Part]:
    """The name that is being typed, and how many beds it fits."""
    typed = view.typed or ""
    found = len(matches(typed, [bed.bed for bed in shown.index]))
    said = f"  {found} {'bed' if found == 1 else 'beds'}  enter ends, esc goes back" if typed else "  type a bed's name"
    return [(" /", STRONG), (glyphs.clean(typed), STRONG), ("_", NOTICE), (said, FAINT)]


def _too_small(width: int, height: int) -> list[Line]:
    """In a line where there is room for it; else in two, the size that is needed first on its own."""
    texts = [f"{width}x{height} is too small", f"{LEAST_WIDTH}x{LEAST_HEIGHT} is needed"]
    whole = ": ".join(texts)
    rows = [whole] if size(whole) <= width else texts
    return fill([line(width, (text, STRONG)) for text in rows], width, height)


def _waiting(snapshot: Snapshot, room: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    width, height = room
    endpoint = elide(glyphs.clean(snapshot.link.endpoint), width - 40, glyphs)
    said = "no bed yet" if snapshot.link.state == "connected" else "waiting for a stream"
    rows = [(said, NOTICE), (f"at {endpoint}, {security(snapshot.link)}", PLAIN)]
    middle = [line(width, (" " * max(0, (width - size(text)) // 2), PLAIN), (text, style)) for text, style in rows]
    return fill([line(width)] * (height // 2 - 1) + middle, width, height)
