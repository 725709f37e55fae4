"""Small cards: many beds at once, each with rate, alarm or rhythm, and a wave; all waves of a page drawn together."""

from collections.abc import Sequence

import numpy as np
from rich.segment import Segment

from agent.core.messages import BedView, Snapshot
from agent.dashboard import alarms, wave
from agent.dashboard.layout import SMALL, Grid
from agent.dashboard.lines import Line, Part, elide, fill, line, size, spread
from agent.dashboard.panels import rate_text
from agent.dashboard.status import behind
from agent.dashboard.styles import FAINT, NOTICE, PLAIN, SELECTED, STATES, STRONG, WARN, Glyphs
from agent.dashboard.trace import Sweep, class_inks, runs
from agent.dashboard.view import View, chosen, is_chosen, on_page, window_of
from model.records.resample import FS

NAME, RATE, WORDS = 9, 4, 15
"""Columns of a card of one line left of its wave, the words at least; more lines have name and rate above the words."""
LEAST_REASON = 16
"""Columns below which the reason of an alarm is left out."""
SECONDS = 4
"""Of a wave."""


def cards(shown: Snapshot, view: View, now_s: float, size: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    """A page of small cards, `size` columns and lines, and below it one bed in words; alarms flash by `now_s`."""
    (width, height), grid, names = size, view.grid, on_page(view)
    views = {bed.bed: bed for bed in shown.beds}
    there = [views[name] for name in names if name in views]
    waves = dict(zip((bed.bed for bed in there), _waves(there, view, grid, glyphs), strict=True))
    selected = chosen(view) if is_chosen(view) else None
    made: list[Line] = []
    space = [Segment(" " * grid.between, PLAIN)]
    for start in range(0, len(names), grid.columns):
        row: list[Line] = [[] for _ in range(grid.lines)]
        for name in names[start : start + grid.columns]:
            if name in views:
                card = _card(views[name], waves[name], shown, now_s, grid, name == selected, glyphs)
            else:
                card = fill([unseen_card(name, grid.width, glyphs)], grid.width, grid.lines)
            for at, part in enumerate(card):
                row[at] += (space if row[at] else []) + part
        left = width - len(names[start : start + grid.columns]) * (grid.width + grid.between) + grid.between
        made += [[*whole, *line(left)] for whole in row]
    return [*fill(made, width, height - 1), _in_words(views, shown, view, now_s, width, glyphs)]


def unseen_card(name: str, width: int, glyphs: Glyphs) -> Line:
    """The first line of the card of a bed that is not there in full: the terminal grew since the page was asked for."""
    return line(width, (f" {elide(glyphs.clean(name), NAME, glyphs)}", FAINT))


def _card(
    bed: BedView, drawn: list[Line], shown: Snapshot, now_s: float, grid: Grid, selected: bool, glyphs: Glyphs
) -> list[Line]:
    """Name and rate, what is to be said, and the wave beside them."""
    edge: Part = (glyphs.cursor if selected else " ", STRONG)
    bold = SELECTED if selected else STRONG
    rate = (f"{rate_text(bed, shown):>{RATE}}", STRONG)
    left = _left(grid)
    if grid.lines == 1:
        name = elide(glyphs.clean(bed.bed), NAME - 1, glyphs)
        gap = " " * (NAME - size(name))
        first = line(1 + NAME + RATE + 1, edge, (name, bold), (gap, PLAIN), rate)
        room = left - 1 - NAME - RATE - 1
        return [first + line(room, *_words(bed, shown, now_s, room - 1, glyphs)) + drawn[0]]
    name = elide(glyphs.clean(bed.bed), left - RATE - 3, glyphs)
    said = line(left, edge, *_words(bed, shown, now_s, left - 2, glyphs))
    text = [spread(left - 1, [edge, (name, bold)], [rate]) + line(1), said]
    if grid.lines > 2:
        text.append(line(left, edge, *(_rest(bed, left - 2, glyphs) if bed.alarms else [])))
    filled = fill(text, left, grid.lines), fill(drawn, grid.width - left, grid.lines)
    return [words + part for words, part in zip(*filled, strict=True)]


def _left(grid: Grid) -> int:
    """Columns of a card left of its wave."""
    spare = (grid.width - SMALL) * 2 // 5
    return 1 + NAME + RATE + 1 + WORDS + spare if grid.lines == 1 else 19 + spare


def _words(bed: BedView, shown: Snapshot, now_s: float, room: int, glyphs: Glyphs) -> list[Part]:
    """The most urgent alarm, else what is wrong with the bed, else its rhythm."""
    if bed.alarms:
        said = alarms.parts(bed, now_s, room, glyphs)
        left = room - sum(size(text) for text, _ in said) - 1
        reason = elide(glyphs.clean(bed.alarms[0].text), left, glyphs) if left >= LEAST_REASON else ""
        return [*said, (f" {reason}", PLAIN)]
    return _rest(bed, room, glyphs) or _late(bed, shown, room, glyphs) or _calm(bed, now_s, room, glyphs)


def _rest(bed: BedView, room: int, glyphs: Glyphs) -> list[Part]:
    if bed.state == "ok":
        return [(elide(glyphs.clean(bed.rhythm_name), room, glyphs), NOTICE)] if bed.rhythm_name else []
    text, style = STATES[bed.state]
    return [(elide(text, room, glyphs), style)]


def _late(bed: BedView, shown: Snapshot, room: int, glyphs: Glyphs) -> list[Part]:
    late = behind(bed, shown)
    return [(elide(late, room, glyphs), WARN)] if late else []


def _calm(bed: BedView, now_s: float, room: int, glyphs: Glyphs) -> list[Part]:
    silent = alarms.remaining(bed.silenced_until_s, now_s)
    text = f"silenced {silent}" if silent else "noise" if bed.suspended else glyphs.clean(bed.lead)
    return [(elide(text, room, glyphs), FAINT)]


def _waves(beds: Sequence[BedView], view: View, grid: Grid, glyphs: Glyphs) -> list[list[Line]]:
    """The waves of all cards at once."""
    if not beds:
        return []
    columns = grid.width - _left(grid)
    rows = max(1, grid.lines - (grid.lines > 2))
    sweeps = [Sweep.of(bed.head, SECONDS, columns) for bed in beds]
    pairs = list(zip(beds, sweeps, strict=True))
    placed = np.stack([wave.sweep(bed.wave, at.head, at.length, at.erased) for bed, at in pairs])
    low, high = wave.spans(placed, wave.dots_across(columns, glyphs.ascii))
    codes = wave.rasters(low, high, [window_of(view, bed) for bed in beds], rows, glyphs.ascii)
    inks = np.stack([class_inks(at.visible(bed.beats), at) for bed, at in pairs])
    inks = np.where(codes > 0, inks[:, np.newaxis], np.uint8(0))
    made = runs(wave.points(codes, glyphs.ascii).reshape(-1, columns), inks.reshape(-1, columns))
    return [made[start : start + rows] for start in range(0, len(made), rows)]


def _in_words(views: dict[str, BedView], shown: Snapshot, view: View, now_s: float, width: int, glyphs: Glyphs) -> Line:
    """The alarm of the chosen bed, else of the most urgent one, in a whole line."""
    if not shown.index:
        return line(width)
    bed = views.get(chosen(view))
    if bed is None or not (bed.alarms or is_chosen(view)):
        return line(width, (" no alarm", FAINT)) if not any(one.priority for one in shown.index) else line(width)
    name = f" {elide(glyphs.clean(bed.bed), 24, glyphs)}  "
    if bed.alarms:
        return line(size(name), (name, STRONG)) + alarms.banner(bed, now_s, width - size(name), 1, glyphs)[0]
    text, style = STATES[bed.state]
    rhythm = f"  {glyphs.clean(bed.rhythm_name)}" if bed.rhythm_name else ""
    seconds = f"  {glyphs.clean(bed.lead)}, {bed.head // FS} s"
    return line(width, (name, STRONG), (text, style), (rhythm, NOTICE), (seconds, FAINT))
