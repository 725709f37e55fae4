"""All beds at once: wide cards while they fit on a page, else small ones, page by page."""

import numpy as np

from agent.core.messages import BedView, Snapshot
from agent.dashboard import alarms, wave
from agent.dashboard.cards import cards, unseen_card
from agent.dashboard.lines import Line, Part, beside, elide, fill, label_index, line, spread
from agent.dashboard.panels import rate_text
from agent.dashboard.status import behind, scaled
from agent.dashboard.styles import (
    CLASS_MARKS,
    CLASS_STYLES,
    EVENT_STYLES,
    FAINT,
    NOTICE,
    PLAIN,
    SELECTED,
    STATES,
    STRONG,
    WARN,
    Glyphs,
)
from agent.dashboard.trace import Sweep, wave_lines
from agent.dashboard.view import View, chosen, is_chosen, on_page, window_of
from model.records.wfdb_records import CLASSES

NAME, RATE_WIDTH, RIGHT = 17, 5, 27
"""Columns of a wide card's parts left and right of its trace."""
LETTERS = 16
"""Beats whose letters a card shows."""


def overview_lines(shown: Snapshot, view: View, now_s: float, size: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    """The lines between header and footer: `size` columns and lines. Alarms flash by `now_s`."""
    if not view.grid.wide:
        return cards(shown, view, now_s, size, glyphs)
    (width, height), grid, names = size, view.grid, on_page(view)
    views = {bed.bed: bed for bed in shown.beds}
    selected = chosen(view) if is_chosen(view) else None
    rows: list[Line] = []
    for start in range(0, len(names), grid.columns):
        row = []
        for name in names[start : start + grid.columns]:
            if name in views:
                card = _card(views[name], shown, view, now_s, name == selected, glyphs)
            else:
                card = [unseen_card(name, grid.width, glyphs)]
            row.append((card, grid.width))
        rest = width - len(row) * (grid.width + grid.between) + grid.between
        rows += [whole + line(rest) for whole in beside(row, grid.lines, grid.between)]
    return fill(rows, width, height)


def _card(bed: BedView, shown: Snapshot, view: View, now_s: float, selected: bool, glyphs: Glyphs) -> list[Line]:
    width, lines = view.grid.width, view.grid.lines
    drawn = max(2, lines - 1)
    room = width - NAME - RATE_WIDTH - RIGHT - 2
    sweep = Sweep.of(bed.head, 4 if room < 60 else 8, room)
    placed = wave.sweep(bed.wave, bed.head, sweep.length, sweep.erased)
    empty = np.full((drawn, room), ord(" "), dtype=np.uint32)
    trace = wave_lines(placed, window_of(view, bed), sweep, sweep.visible(bed.beats), empty, glyphs)
    left = _left(bed, shown, now_s, drawn, selected, glyphs)
    right = _right(bed, drawn, glyphs)
    return [left[row] + trace[row] + line(2) + right[row] for row in range(drawn)]


def _left(bed: BedView, shown: Snapshot, now_s: float, rows: int, selected: bool, glyphs: Glyphs) -> list[Line]:
    """Cursor, name and rate; the alarm; lead and state, or how late the bed is; what stands left of further lines."""
    edge: Part = (glyphs.cursor if selected else " ", STRONG)
    width = NAME + RATE_WIDTH
    name = elide(glyphs.clean(bed.bed), NAME - 3, glyphs)
    heart = line(RATE_WIDTH, (f"{rate_text(bed, shown):>{RATE_WIDTH - 2}}", STRONG))
    made = [line(NAME, edge, (name, SELECTED if selected else STRONG)) + heart]
    if bed.alarms:
        made.append(line(width, edge, *alarms.parts(bed, now_s, width - 3, glyphs)))
    made.append(line(width, edge, *_state(bed, behind(bed, shown), width - 2, glyphs)))
    silent = alarms.remaining(bed.silenced_until_s, now_s)
    if silent and not bed.alarms:
        made.append(line(width, edge, (f"silenced {silent}", FAINT)))
    return [*made[:rows], *[line(width, edge)] * (rows - len(made))]


def _state(bed: BedView, late: str, room: int, glyphs: Glyphs) -> list[Part]:
    """Lead and rhythm, or what is wrong, and how late the bed is."""
    text, style = STATES[bed.state] if bed.state != "ok" else ("ok", FAINT)
    if bed.state == "ok" and (bed.rhythm_name or bed.suspended):
        text, style = (glyphs.clean(bed.rhythm_name), NOTICE) if bed.rhythm_name else ("noise", FAINT)
    lead: Part = (f"{elide(glyphs.clean(bed.lead), 5, glyphs)} ", FAINT)
    if late:
        state = elide(text, room - len(late), glyphs)
        return [lead if bed.state in ("ok", "learning") else (f"{state} ", style), (late, WARN)]
    return [lead, (text, style)]


def _right(bed: BedView, rows: int, glyphs: Glyphs) -> list[Line]:
    """Letters of the last beats, and what is missing or else the gaps; why there is an alarm; counts; gaps after all.

    Where there are two rows the reason of an alarm stands in the place of the counts.
    """
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
    made = [spread(RIGHT, runs, [(lost, style)])]
    if bed.alarms:
        made.append(line(RIGHT, (elide(glyphs.clean(bed.alarms[0].text), RIGHT, glyphs), PLAIN)))
    made.append(line(RIGHT, *counts))
    if missing and gaps:
        made.append(spread(RIGHT, [], [(gaps, style)]))
    return fill(made, RIGHT, rows)


def _short(count: int) -> str:
    """A count in at most four characters."""
    return str(count) if count < 10_000 else scaled(count).replace(" ", "")
