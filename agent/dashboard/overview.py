"""Many beds at once: a card each, in as many columns as fit, page by page."""

import numpy as np

from agent.dashboard import wave
from agent.dashboard.lines import Line, Part, beside, elide, fill, label_index, line, spread
from agent.dashboard.panels import rate_text
from agent.dashboard.status import behind, scaled
from agent.dashboard.styles import (
    CLASS_MARKS,
    CLASS_STYLES,
    EVENT_STYLES,
    FAINT,
    PLAIN,
    SELECTED,
    STATES,
    STRONG,
    WARN,
    Glyphs,
)
from agent.dashboard.trace import Sweep, wave_lines
from agent.dashboard.view import View, chosen, window_of
from agent.messages import BedView, Snapshot
from model.records import CLASSES

CARD = 78
"""Least width of a card."""
NAME, RATE_WIDTH, RIGHT = 17, 5, 27
"""Columns of a card's parts left and right of its trace."""
COMFORT, MOST = 5, 10
"""Lines of a card below which another column of cards is opened, and the most that a card has."""
LETTERS = 16
"""Beats whose letters a card shows."""
BETWEEN = 3
"""Columns between cards."""


def layout(beds: int, width: int, height: int) -> tuple[int, int, int]:
    """Columns of cards, lines of a card (with the empty one below it), and cards a page."""
    columns = next((few for few in range(1, width // CARD) if height * few // beds >= COMFORT), width // CARD)
    lines = max(2, min(MOST, height // -(-beds // columns)))
    return columns, lines, max(1, height // lines) * columns


def page(view: View, snapshot: Snapshot, width: int, height: int) -> tuple[int, int]:
    """First and last + 1 of the beds on the page with the chosen one."""
    per_page = layout(len(snapshot.beds), width, height)[2]
    first = chosen(view, snapshot) // per_page * per_page
    return first, min(first + per_page, len(snapshot.beds))


def overview_lines(snapshot: Snapshot, view: View, size: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    """The lines between header and footer: `size` columns and lines."""
    width, height = size
    columns, lines, _ = layout(len(snapshot.beds), width, height)
    first, last = page(view, snapshot, width, height)
    selected = chosen(view, snapshot)
    card_width = (width - BETWEEN * (columns - 1)) // columns
    rows: list[Line] = []
    for start in range(first, last, columns):
        cards = [
            (_card(snapshot, i, view, (card_width, lines), i == selected, glyphs), card_width)
            for i in range(start, min(start + columns, last))
        ]
        rows += [
            row + line(width - card_width * len(cards) - BETWEEN * (len(cards) - 1))
            for row in beside(cards, lines, BETWEEN)
        ]
    return fill(rows, width, height)


def _card(
    snapshot: Snapshot, index: int, view: View, size: tuple[int, int], selected: bool, glyphs: Glyphs
) -> list[Line]:
    width, lines = size
    bed = snapshot.beds[index]
    drawn = max(2, lines - 1)
    room = width - NAME - RATE_WIDTH - RIGHT - 2
    sweep = Sweep.of(bed.head, 4 if room < 60 else 8, room)
    placed = wave.sweep(bed.wave, bed.head, sweep.length, sweep.erased)
    empty = np.full((drawn, room), ord(" "), dtype=np.uint32)
    trace = wave_lines(placed, window_of(view, bed), sweep, sweep.visible(bed.beats), empty, glyphs)
    left = _left(bed, rate_text(bed, snapshot), behind(bed, snapshot), selected, glyphs)
    right = _right(bed, drawn)
    return [left[min(row, 2)] + trace[row] + line(2) + right[row] for row in range(drawn)]


def _left(bed: BedView, rate: str, late: str, selected: bool, glyphs: Glyphs) -> list[Line]:
    """Cursor, name and rate; lead and state, or how late the bed is; what stands left of further lines."""
    edge: Part = (glyphs.cursor if selected else " ", STRONG)
    name = elide(glyphs.clean(bed.bed), NAME - 3, glyphs)
    text, style = STATES[bed.state] if bed.state != "ok" else ("ok", FAINT)
    lead = elide(glyphs.clean(bed.lead), 5, glyphs)
    first = line(NAME, edge, (f"{name}", SELECTED if selected else STRONG))
    heart = line(RATE_WIDTH, (f"{rate:>{RATE_WIDTH - 2}}", STRONG))
    parts: list[Part] = [(f"{lead} ", FAINT), (text, style)]
    if late:
        state = elide(text, NAME + RATE_WIDTH - 2 - len(late), glyphs)
        parts = [parts[0] if bed.state in ("ok", "learning") else (f"{state} ", style), (late, WARN)]
    second = line(NAME + RATE_WIDTH, edge, *parts)
    return [first + heart, second, line(NAME + RATE_WIDTH, edge)]


def _right(bed: BedView, rows: int) -> list[Line]:
    """Letters of the last beats, and what is missing or else the gaps; counts of the classes; the gaps after all."""
    missing, style = bed.ledger.missing, EVENT_STYLES["gap"]
    gaps = f"gaps {_short(bed.gaps)}" if bed.gaps else ""
    lost = f"missing {_short(missing)}" if missing else gaps
    few = min(LETTERS, RIGHT - 1 - len(lost))
    letters = [CLASSES[label_index(beat.label)] for beat in bed.beats[-few:]]
    runs: list[Part] = []
    for letter in letters:
        if runs and runs[-1][1] is CLASS_MARKS[letter]:
            runs[-1] = (runs[-1][0] + letter, runs[-1][1])
        else:
            runs.append((letter, CLASS_MARKS[letter]))
    counts: list[Part] = []
    for name, count in zip(CLASSES, bed.rhythm.counts, strict=True):
        counts += [(name, CLASS_STYLES[name] if count else FAINT), (f"{_short(count)} ", PLAIN if count else FAINT)]
    made = [spread(RIGHT, runs, [(lost, style)]), line(RIGHT, *counts)]
    if rows > 2:
        empty = line(RIGHT)
        third = spread(RIGHT, [], [(gaps, style)]) if missing and gaps else empty
        made += [third, *[empty] * (rows - 3)]
    return made


def _short(count: int) -> str:
    """A count in at most four characters."""
    return str(count) if count < 10_000 else scaled(count).replace(" ", "")
