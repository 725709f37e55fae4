"""All beds at once: wide cards while they fit on a page, else small ones, page by page."""

import numpy as np

from agent.core.messages import BedView, WardSnapshot
from agent.dashboard import alarm_lines, wave_raster
from agent.dashboard.cards import card_page_lines, placeholder_card_line
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    elide_text,
    fill_block,
    join_blocks,
    label_index,
    spread_line,
    styled_line,
)
from agent.dashboard.panels import rate_text
from agent.dashboard.status import behind_text, format_scaled_count
from agent.dashboard.styles import (
    CLASS_MARKS,
    CLASS_STYLES,
    EVENT_STYLES,
    FAINT,
    NOTICE,
    PLAIN,
    SELECTED,
    STATE_STYLES,
    STRONG,
    WARN,
    GlyphSet,
)
from agent.dashboard.trace import TraceSweep, wave_lines
from agent.dashboard.view import DashboardView, bed_window, chosen_bed, is_chosen, page_beds
from model.records.wfdb_records import CLASSES

NAME_WIDTH, RATE_WIDTH, RIGHT_WIDTH = 17, 5, 27
"""Columns of a wide card's parts left and right of its trace."""
MOST_LETTERS = 16
"""Beats whose letters a card shows."""


def overview_lines(
    shown: WardSnapshot, view: DashboardView, now_s: float, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """The lines between header and footer: `size` columns and lines. Alarms flash by `now_s`."""
    if not view.grid.wide:
        return card_page_lines(shown, view, now_s, size, glyphs)
    (width, height), grid, names = size, view.grid, page_beds(view)
    views = {bed.bed: bed for bed in shown.beds}
    selected = chosen_bed(view) if is_chosen(view) else None
    rows: list[StyledLine] = []
    for start in range(0, len(names), grid.columns):
        row = []
        for name in names[start : start + grid.columns]:
            if name in views:
                card = _wide_card_lines(views[name], shown, view, now_s, name == selected, glyphs)
            else:
                card = [placeholder_card_line(name, grid.width, glyphs)]
            row.append((card, grid.width))
        rest = width - len(row) * (grid.width + grid.between) + grid.between
        rows += [whole + styled_line(rest) for whole in join_blocks(row, grid.lines, grid.between)]
    return fill_block(rows, width, height)


def _wide_card_lines(
    bed: BedView, shown: WardSnapshot, view: DashboardView, now_s: float, selected: bool, glyphs: GlyphSet
) -> list[StyledLine]:
    width, lines = view.grid.width, view.grid.lines
    drawn = max(2, lines - 1)
    room = width - NAME_WIDTH - RATE_WIDTH - RIGHT_WIDTH - 2
    sweep = TraceSweep.of(bed.head, 4 if room < 60 else 8, room)
    placed = wave_raster.place_sweep(bed.wave, bed.head, sweep.length, sweep.erased)
    empty = np.full((drawn, room), ord(" "), dtype=np.uint32)
    trace = wave_lines(placed, bed_window(view, bed), sweep, sweep.visible(bed.beats), empty, glyphs)
    left = _card_left_lines(bed, shown, now_s, drawn, selected, glyphs)
    right = _card_right_lines(bed, drawn, glyphs)
    return [left[row] + trace[row] + styled_line(2) + right[row] for row in range(drawn)]


def _card_left_lines(
    bed: BedView, shown: WardSnapshot, now_s: float, rows: int, selected: bool, glyphs: GlyphSet
) -> list[StyledLine]:
    """Cursor, name and rate; the alarm; lead and state, or how late the bed is; what stands left of further lines."""
    edge: StyledPart = (glyphs.cursor if selected else " ", STRONG)
    width = NAME_WIDTH + RATE_WIDTH
    name = elide_text(glyphs.clean(bed.bed), NAME_WIDTH - 3, glyphs)
    heart = styled_line(RATE_WIDTH, (f"{rate_text(bed, shown):>{RATE_WIDTH - 2}}", STRONG))
    made = [styled_line(NAME_WIDTH, edge, (name, SELECTED if selected else STRONG)) + heart]
    if bed.alarms:
        made.append(styled_line(width, edge, *alarm_lines.urgent_alarm_parts(bed, now_s, width - 3, glyphs)))
    made.append(styled_line(width, edge, *_card_state_parts(bed, behind_text(bed, shown), width - 2, glyphs)))
    silent = alarm_lines.format_silence_left(bed.silenced_until_s, now_s)
    if silent and not bed.alarms:
        made.append(styled_line(width, edge, (f"silenced {silent}", FAINT)))
    return [*made[:rows], *[styled_line(width, edge)] * (rows - len(made))]


def _card_state_parts(bed: BedView, late: str, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Lead and rhythm, or what is wrong, and how late the bed is."""
    text, style = STATE_STYLES[bed.state] if bed.state != "ok" else ("ok", FAINT)
    if bed.state == "ok" and (bed.rhythm_name or bed.suspended):
        text, style = (glyphs.clean(bed.rhythm_name), NOTICE) if bed.rhythm_name else ("noise", FAINT)
    lead: StyledPart = (f"{elide_text(glyphs.clean(bed.lead), 5, glyphs)} ", FAINT)
    if late:
        state = elide_text(text, room - len(late), glyphs)
        return [lead if bed.state in ("ok", "learning") else (f"{state} ", style), (late, WARN)]
    return [lead, (text, style)]


def _card_right_lines(bed: BedView, rows: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Letters of the last beats, and what is missing or else the gaps; why there is an alarm; counts; gaps after all.

    Where there are two rows the reason of an alarm stands in the place of the counts.
    """
    missing, style = bed.ledger.missing, EVENT_STYLES["gap"]
    gaps = f"gaps {_format_short_count(bed.gaps)}" if bed.gaps else ""
    lost = f"missing {_format_short_count(missing)}" if missing else gaps
    few = min(MOST_LETTERS, RIGHT_WIDTH - 1 - len(lost))
    letters = [CLASSES[label_index(beat.label)] for beat in bed.beats[-few:]]
    runs: list[StyledPart] = []
    for letter in letters:
        if runs and runs[-1][1] is CLASS_MARKS[letter]:
            runs[-1] = (runs[-1][0] + letter, runs[-1][1])
        else:
            runs.append((letter, CLASS_MARKS[letter]))
    counts: list[StyledPart] = []
    for name, count in zip(CLASSES, bed.rhythm.counts, strict=True):
        counts += [
            (name, CLASS_STYLES[name] if count else FAINT),
            (f"{_format_short_count(count)} ", PLAIN if count else FAINT),
        ]
    made = [spread_line(RIGHT_WIDTH, runs, [(lost, style)])]
    if bed.alarms:
        made.append(
            styled_line(RIGHT_WIDTH, (elide_text(glyphs.clean(bed.alarms[0].text), RIGHT_WIDTH, glyphs), PLAIN))
        )
    made.append(styled_line(RIGHT_WIDTH, *counts))
    if missing and gaps:
        made.append(spread_line(RIGHT_WIDTH, [], [(gaps, style)]))
    return fill_block(made, RIGHT_WIDTH, rows)


def _format_short_count(count: int) -> str:
    """A count in at most four characters."""
    return str(count) if count < 10_000 else format_scaled_count(count).replace(" ", "")
