"""The ward: all beds at once, on wide cards if they fit on one page, else on pages of small ones."""

from collections.abc import Sequence

import numpy as np
from rich.segment import Segment

from agent.core.class_trust import ClassTrust, rate_of_100
from agent.core.messages import Beat
from agent.core.views import BedView, WardSnapshot
from agent.dashboard import alarm_lines, wave_raster
from agent.dashboard.alarm_state import card_name_parts, card_pause_parts
from agent.dashboard.bed_line import is_past_by_loss
from agent.dashboard.cards import card_page_lines, card_rate_part, placeholder_card_line
from agent.dashboard.fleet_place import fleet_card_lines
from agent.dashboard.frozen_picture import pictured_bed
from agent.dashboard.glance import signal_words
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    class_letter,
    elide_text,
    elide_words,
    fill_block_lines,
    join_blocks,
    spread_line,
    styled_line,
)
from agent.dashboard.loss import find_loss, state_words, wrap_whole
from agent.dashboard.status import behind_text, format_scaled_count
from agent.dashboard.styles import (
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
from agent.dashboard.view import DashboardView, bed_window, page_beds
from model.records.wfdb_records import CLASSES

NAME_WIDTH, RATE_WIDTH, RIGHT_WIDTH = 17, 5, 27
"""Columns of a wide card's parts left and right of its trace."""
MOST_LETTERS = 16
"""Most beats whose letters a card shows."""


def overview_lines(
    shown: WardSnapshot, view: DashboardView, now_s: float, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the lines between header and footer, `size` columns and lines; alarms flash by `now_s`."""
    if not view.grid.wide:
        return card_page_lines(shown, view, now_s, size, glyphs)
    width, height = size
    grid, names = view.grid, page_beds(view)
    views = {bed.bed: bed for bed in shown.beds}
    rows: list[StyledLine] = []
    for start in range(0, len(names), grid.columns):
        row = []
        for name in names[start : start + grid.columns]:
            if name in views:
                card = _wide_card_lines(views[name], shown, view, now_s, glyphs)
            else:
                card = [placeholder_card_line(name, grid.width, glyphs)]
            row.append((card, grid.width))
        rest = width - len(row) * (grid.width + grid.between) + grid.between
        rows += [whole + styled_line(rest) for whole in join_blocks(row, grid.lines, grid.between)]
    return fill_block_lines(rows, width, height)


def _wide_card_lines(
    bed: BedView, shown: WardSnapshot, view: DashboardView, now_s: float, glyphs: GlyphSet
) -> list[StyledLine]:
    width, lines = view.grid.width, view.grid.lines
    rows = max(2, lines - 1)
    room = width - NAME_WIDTH - RATE_WIDTH - RIGHT_WIDTH - 2
    pictured = pictured_bed(view, bed)
    sweep = TraceSweep.of(pictured.head, 4 if room < 60 else 8, room)
    placed = wave_raster.place_sweep(pictured.wave, pictured.head, sweep.length, sweep.erased)
    empty = np.full((rows, room), ord(" "), dtype=np.uint32)
    # The wave of a bed that sends nothing stands still, and is dim
    moves = find_loss(bed, shown) is None
    trace = wave_lines(placed, bed_window(view, pictured), sweep, sweep.visible(pictured.beats), empty, glyphs)
    trace = trace if moves else [[Segment(segment.text, FAINT) for segment in line] for line in trace]
    if bed.fleet is not None:
        trace = fleet_card_lines(bed, (room, rows), glyphs)
    left = _card_left_lines(bed, shown, now_s, rows, bed.bed == view.bed, glyphs)
    right = _card_right_lines(bed, pictured.beats, shown, rows, glyphs)
    return [left[row] + trace[row] + styled_line(2) + right[row] for row in range(rows)]


def _card_left_lines(
    bed: BedView, shown: WardSnapshot, now_s: float, rows: int, selected: bool, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the left part of a card: cursor, name and rate; the alarm; lead and state or delay; a silence."""
    edge: StyledPart = (glyphs.cursor if selected else " ", STRONG)
    width = NAME_WIDTH + RATE_WIDTH
    name = card_name_parts(bed, glyphs.clean(bed.bed), SELECTED if selected else STRONG, NAME_WIDTH - 3, glyphs)
    heart = styled_line(RATE_WIDTH, card_rate_part(bed, shown, RATE_WIDTH - 2))
    lines = [styled_line(NAME_WIDTH, edge, *name) + heart]
    if paused := card_pause_parts(bed, now_s, width - 3, glyphs):
        lines.append(styled_line(width, edge, *paused))
    elif bed.alarms and not is_past_by_loss(bed, shown):
        lines.append(styled_line(width, edge, *alarm_lines.urgent_alarm_parts(bed, now_s, width - 3, glyphs)))
    lines.append(styled_line(width, edge, *_card_state_parts(bed, shown, width - 2, glyphs)))
    if is_past_by_loss(bed, shown) and not paused:
        lines.append(styled_line(width, edge, *alarm_lines.urgent_alarm_parts(bed, now_s, width - 3, glyphs)))
    silence = alarm_lines.format_silence_left(bed.silenced_until_s, now_s)
    if silence and not bed.alarms:
        lines.append(styled_line(width, edge, (f"silenced {silence}", FAINT)))
    return [*lines[:rows], *[styled_line(width, edge)] * (rows - len(lines))]


def _card_state_parts(bed: BedView, shown: WardSnapshot, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Return the lead and the rhythm, or the trouble, and how far the bed lies behind or how long nothing came."""
    behind, loss = behind_text(bed, shown), find_loss(bed, shown)
    text, style = state_words(bed, shown, link=True)
    if bed.state == "ok" and not loss:
        text, style = f"signal {signal_words(bed, shown)[0]}", FAINT
    if bed.state == "ok" and not loss and (bed.rhythm_name or bed.suspended):
        text, style = (glyphs.clean(bed.rhythm_name), NOTICE) if bed.rhythm_name else ("noise", FAINT)
    lead: StyledPart = (f"{elide_text(glyphs.clean(bed.lead), 5, glyphs)} ", FAINT)
    if behind:
        state = elide_words(text, room - len(behind), glyphs)
        return [lead if bed.state in ("ok", "learning") else (f"{state} ", style), (behind, WARN)]
    return [lead, (text, style)]


def _card_right_lines(
    bed: BedView, beats: Sequence[Beat], shown: WardSnapshot, rows: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the right part of a card: letters and missing samples or gaps; reason of alarm or refusal; counts; gaps.

    With two rows only, the reason of an alarm takes the place of the counts.
    """
    missing = bed.ledger.missing
    style = EVENT_STYLES["gap"]
    gaps = f"gaps {_format_short_count(bed.gaps)}" if bed.gaps else ""
    lost = f"missing {_format_short_count(missing)}" if missing else gaps
    most = min(MOST_LETTERS, RIGHT_WIDTH - 1 - len(lost))
    letters: list[StyledPart] = []
    # Neighbours of the same style become one part, which saves bytes on the terminal
    for letter, mark in (class_letter(beat, shown.least_confidence, glyphs) for beat in beats[-most:]):
        if letters and letters[-1][1] is mark:
            letters[-1] = (letters[-1][0] + letter, mark)
        else:
            letters.append((letter, mark))
    lines = [spread_line(RIGHT_WIDTH, letters, [(lost, style)])]
    if bed.state == "refused" and bed.refusal:
        reason = wrap_whole(glyphs.clean(bed.refusal), RIGHT_WIDTH, max(1, rows - 1), glyphs)
        lines += [styled_line(RIGHT_WIDTH, (row, STATE_STYLES["refused"][1])) for row in reason]
    elif bed.alarms:
        lines.append(styled_line(RIGHT_WIDTH, (elide_words(_reason_text(bed, glyphs), RIGHT_WIDTH, glyphs), PLAIN)))
    lines.append(styled_line(RIGHT_WIDTH, *_card_count_parts(bed.rhythm.counts, shown.class_trust)))
    if missing and gaps:
        lines.append(spread_line(RIGHT_WIDTH, [], [(gaps, style)]))
    return fill_block_lines(lines, RIGHT_WIDTH, rows)


def _reason_text(bed: BedView, glyphs: GlyphSet) -> str:
    return glyphs.clean(alarm_lines.shown_reason(bed.alarms[0]))


def _card_count_parts(counts: tuple[int, ...], trust: ClassTrust) -> list[StyledPart]:
    """Return the counts of the classes, S with the share of such beats that the net found in tests.

    Where all of them do not fit, classes without beats are left out.
    """
    found = trust.sensitivity.get("S")
    by_class: list[list[StyledPart]] = []
    for name, count in zip(CLASSES, counts, strict=True):
        mark = f"({rate_of_100(found)}%) " if name == "S" and count and found is not None else " "
        style = PLAIN if count else FAINT
        by_class.append(
            [(name, CLASS_STYLES[name] if count else FAINT), (f"{_format_short_count(count)}{mark}", style)]
        )
    if sum(cell_width(text) for parts in by_class for text, _ in parts) > RIGHT_WIDTH + 1:
        by_class = [parts for parts, count in zip(by_class, counts, strict=True) if count]
    return [part for parts in by_class for part in parts]


def _format_short_count(count: int) -> str:
    """Return a count in at most four characters."""
    return str(count) if count < 10_000 else format_scaled_count(count).replace(" ", "")
