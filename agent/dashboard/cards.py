"""Small cards: many beds at once, each with rate, alarm or rhythm, and a wave.

All waves of a page are drawn in one call, which is what makes a page of a hundred beds quick.
"""

from collections.abc import Sequence

import numpy as np
from rich.segment import Segment

from agent.core.condition_names import short_condition
from agent.core.views import BedView, WardSnapshot
from agent.core.wording import PRIORITY_MARKS
from agent.dashboard import alarm_lines, wave_raster
from agent.dashboard.alarm_state import card_name_parts, card_pause_parts
from agent.dashboard.bed_line import is_past_by_loss
from agent.dashboard.fleet_place import fleet_card_lines
from agent.dashboard.frozen_picture import pictured_bed
from agent.dashboard.glance import rhythm_words, signal_words
from agent.dashboard.layout import SMALL_CARD, CardGrid
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    elide_text,
    elide_words,
    fill_block_lines,
    spread_line,
    styled_line,
)
from agent.dashboard.loss import find_loss, rate_style, rate_text, state_words
from agent.dashboard.status import behind_text
from agent.dashboard.styles import EVENT_STYLES, FAINT, NOTICE, PLAIN, SELECTED, STATE_STYLES, STRONG, WARN, GlyphSet
from agent.dashboard.trace import TraceSweep, class_inks, merge_styled_cells
from agent.dashboard.view import DashboardView, bed_window, chosen_bed, is_chosen, page_beds

CARD_NAME_WIDTH, RATE_WIDTH, WORDS_WIDTH = 9, 4, 15
"""Columns of a one-line card left of its wave, at least for the words; taller cards have the words on a second line."""
MOST_NAME_WIDTH = 24
"""Most columns for the name of a bed in a line of its own, and a third of the line."""
LEAST_REASON_WIDTH = 16
"""Least columns for the reason of an alarm."""
LEAST_PAST_WIDTH = 8
"""Least columns for an alarm that is over beside a present loss."""
CARD_SECONDS = 4
"""Seconds of a card's wave."""


def card_page_lines(
    shown: WardSnapshot, view: DashboardView, now_s: float, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return a page of small cards, `size` columns and lines, and one bed in words below; alarms flash by `now_s`."""
    width, height = size
    grid, names = view.grid, page_beds(view)
    views = {bed.bed: bed for bed in shown.beds}
    present = [views[name] for name in names if name in views]
    drawn = _draw_card_waves(present, shown, view, grid, glyphs)
    name_width = _name_width(present, glyphs)
    waves = dict(zip((bed.bed for bed in present), drawn, strict=True))
    shape = grid.width - _card_text_width(grid), max(1, grid.lines - (grid.lines > 2))
    waves |= {bed.bed: fleet_card_lines(bed, shape, glyphs) for bed in present if bed.fleet}
    lines: list[StyledLine] = []
    space = [Segment(" " * grid.between, PLAIN)]
    for start in range(0, len(names), grid.columns):
        row: list[StyledLine] = [[] for _ in range(grid.lines)]
        for name in names[start : start + grid.columns]:
            if name in views:
                card = _draw_small_card(views[name], waves[name], shown, view, now_s, name_width, glyphs)
            else:
                card = fill_block_lines([placeholder_card_line(name, grid.width, glyphs)], grid.width, grid.lines)
            for line, part in enumerate(card):
                row[line] += (space if row[line] else []) + part
        rest = width - len(names[start : start + grid.columns]) * (grid.width + grid.between) + grid.between
        lines += [[*whole, *styled_line(rest)] for whole in row]
    words = _alarm_lines(views, shown, view, now_s, (width, max(1, height - 1 - len(lines))), glyphs)
    return fill_block_lines(lines, width, height - len(words)) + words


def placeholder_card_line(name: str, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return the first line of the card of a bed that the snapshot does not hold in full."""
    return styled_line(width, (f" {elide_text(glyphs.clean(name), CARD_NAME_WIDTH, glyphs)}", FAINT))


def _draw_small_card(
    bed: BedView,
    wave: list[StyledLine],
    shown: WardSnapshot,
    view: DashboardView,
    now_s: float,
    name_width: int,
    glyphs: GlyphSet,
) -> list[StyledLine]:
    """Return a card: name and rate, the message, and the wave beside them; `name_width` of a card of one line."""
    grid = view.grid
    selected = bed.bed == view.bed
    edge: StyledPart = (glyphs.cursor if selected else " ", STRONG)
    bold = SELECTED if selected else STRONG
    rate = card_rate_part(bed, shown, RATE_WIDTH)
    left = _card_text_width(grid)
    if grid.lines == 1:
        name = card_name_parts(bed, glyphs.clean(bed.bed), bold, name_width - 1, glyphs)
        gap = " " * (name_width - sum(cell_width(text) for text, _ in name))
        first = styled_line(1 + name_width + RATE_WIDTH + 1, edge, *name, (gap, PLAIN), rate)
        room = left - 1 - name_width - RATE_WIDTH - 1
        return [first + styled_line(room, *_card_message_parts(bed, shown, now_s, room - 1, glyphs)) + wave[0]]
    name = card_name_parts(bed, glyphs.clean(bed.bed), bold, left - RATE_WIDTH - 3, glyphs)
    message = styled_line(left, edge, *_card_message_parts(bed, shown, now_s, left - 2, glyphs))
    text = [spread_line(left - 1, [edge, *name], [rate]) + styled_line(1), message]
    below = _card_more_parts(bed, shown, now_s, left - 2, glyphs)
    text += [styled_line(left, edge, part) for part in below[: grid.lines - 2]]
    text += [styled_line(left, edge)] * (grid.lines - len(text))
    filled = fill_block_lines(text, left, grid.lines), fill_block_lines(wave, grid.width - left, grid.lines)
    return [words + part for words, part in zip(*filled, strict=True)]


def _card_text_width(grid: CardGrid) -> int:
    """Return the columns of a card left of its wave."""
    spare = (grid.width - SMALL_CARD) * 2 // 5
    return 1 + CARD_NAME_WIDTH + RATE_WIDTH + 1 + WORDS_WIDTH + spare if grid.lines == 1 else 19 + spare


def _name_width(beds: Sequence[BedView], glyphs: GlyphSet) -> int:
    """Return the columns for the names of one-line cards: less where all names are short, for the words beside them."""
    names = [card_name_parts(bed, glyphs.clean(bed.bed), PLAIN, CARD_NAME_WIDTH - 1, glyphs) for bed in beds]
    return 1 + max((sum(cell_width(text) for text, _ in parts) for parts in names), default=CARD_NAME_WIDTH - 1)


def _card_message_parts(
    bed: BedView, shown: WardSnapshot, now_s: float, room: int, glyphs: GlyphSet
) -> list[StyledPart]:
    """Return the most urgent alarm, else the trouble of the bed, else its rhythm."""
    if paused := card_pause_parts(bed, now_s, room, glyphs):
        return paused
    if bed.alarms:
        if is_past_by_loss(bed, shown):
            state = _state_or_rhythm_parts(bed, shown, room, glyphs)
            rest = room - sum(cell_width(text) for text, _ in state) - 1
            if rest > LEAST_PAST_WIDTH:
                past = alarm_lines.urgent_alarm_parts(bed, now_s, rest, glyphs)
                if past[0][0] != alarm_lines.alarm_label(bed.alarms[0]):  # no part of a word, but how urgent it was
                    past = [(PRIORITY_MARKS[bed.alarms[0].priority], past[0][1])]
                return [*state, (" ", PLAIN), *past]
        alarm = alarm_lines.urgent_alarm_parts(bed, now_s, room, glyphs)
        rest = room - sum(cell_width(text) for text, _ in alarm) - 1
        is_one = len(bed.alarms) == 1 or bed.alarms[0].ended is None
        reason = _reason(bed, rest, glyphs) if is_one and rest >= LEAST_REASON_WIDTH else ""
        return [*alarm, (f" {reason}", PLAIN)]
    return (
        _state_or_rhythm_parts(bed, shown, room, glyphs)
        or _behind_parts(bed, shown, room, glyphs)
        or _silence_mark(bed, now_s, room, glyphs)
        or [_signal_part(bed, shown, room, glyphs)]
    )


def _card_more_parts(bed: BedView, shown: WardSnapshot, now_s: float, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Return what stands below the message of a higher card, a line each: beside an alarm rhythm and reason; signal."""
    parts: list[StyledPart] = []
    if bed.alarms:
        above = short_condition(bed.alarms[0].condition)
        state = _state_or_rhythm_parts(bed, shown, room, glyphs)
        is_named = bed.state == "ok" and bed.rhythm_name.upper() == above and find_loss(bed, shown) is None
        parts += state if state and not is_named else [(_reason(bed, room, glyphs), PLAIN)]
    signal = _signal_part(bed, shown, room, glyphs)
    is_said = not bed.alarms and signal in _card_message_parts(bed, shown, now_s, room, glyphs)
    return parts if is_said or bed.state != "ok" or find_loss(bed, shown) else [*parts, signal]


def _reason(bed: BedView, room: int, glyphs: GlyphSet) -> str:
    return elide_words(glyphs.clean(alarm_lines.shown_reason(bed.alarms[0])), room, glyphs)


def _signal_part(bed: BedView, shown: WardSnapshot, room: int, glyphs: GlyphSet) -> StyledPart:
    """Return the lead and how good its signal is, in as many words as fit; of a good one the lead is worth more."""
    (words, is_good), lead = signal_words(bed, shown), glyphs.clean(bed.lead)
    word = words.split(" ")[0]
    texts = [f"{lead} signal {words}", f"{lead} signal {word}", *([] if is_good else [f"signal {word}", word])]
    text = next((text for text in texts if cell_width(text) <= room), lead if is_good else word)
    return elide_words(text, room, glyphs), FAINT if is_good or bed.state == "learning" else EVENT_STYLES["signal"]


def _state_or_rhythm_parts(bed: BedView, shown: WardSnapshot, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    text, style = state_words(bed, shown, link=True)
    if bed.state == "ok" and text == STATE_STYLES["ok"][0]:
        return [(elide_text(glyphs.clean(bed.rhythm_name), room, glyphs), NOTICE)] if bed.rhythm_name else []
    if bed.state == "refused" and bed.refusal:
        text = f"{text}: {glyphs.clean(bed.refusal)}"
    return [(elide_words(text, room, glyphs), style)]


def card_rate_part(bed: BedView, shown: WardSnapshot, width: int) -> StyledPart:
    """Return the heart rate on the right of `width` cells, dim if it is the last one before a loss."""
    rate = rate_text(bed, shown)
    return f"{rate:>{width}}", STRONG if rate == "--" else rate_style(bed, shown, rate, STRONG)


def _behind_parts(bed: BedView, shown: WardSnapshot, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    text = behind_text(bed, shown)
    return [(elide_words(text, room, glyphs), WARN)] if text else []


def _silence_mark(bed: BedView, now_s: float, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    silence = alarm_lines.format_silence_left(bed.silenced_until_s, now_s)
    return [(elide_words(f"silenced {silence}", room, glyphs), FAINT)] if silence else []


def _draw_card_waves(
    beds: Sequence[BedView], shown: WardSnapshot, view: DashboardView, grid: CardGrid, glyphs: GlyphSet
) -> list[list[StyledLine]]:
    """Draw the waves of all cards at once; those that stand still are dim."""
    if not beds:
        return []
    moves = np.array([find_loss(bed, shown) is None for bed in beds])[:, np.newaxis, np.newaxis]
    beds = [pictured_bed(view, bed) for bed in beds] if view.frozen else beds
    columns = grid.width - _card_text_width(grid)
    rows = max(1, grid.lines - (grid.lines > 2))
    sweeps = [TraceSweep.of(bed.head, CARD_SECONDS, columns) for bed in beds]
    pairs = list(zip(beds, sweeps, strict=True))
    placed = np.stack(
        [wave_raster.place_sweep(bed.wave, sweep.head, sweep.length, sweep.erased) for bed, sweep in pairs]
    )
    # One call for all cards: the overhead of a NumPy call is larger than the work for a single wave
    low, high = wave_raster.column_spans(placed, wave_raster.dots_across(columns, glyphs.ascii))
    codes = wave_raster.raster_traces(low, high, [bed_window(view, bed) for bed in beds], rows, glyphs.ascii)
    inks = np.stack([class_inks(sweep.visible(bed.beats), sweep) for bed, sweep in pairs])
    inks = np.where((codes > 0) & moves, inks[:, np.newaxis], np.uint8(0))
    lines = merge_styled_cells(
        wave_raster.to_code_points(codes, glyphs.ascii).reshape(-1, columns), inks.reshape(-1, columns)
    )
    return [lines[start : start + rows] for start in range(0, len(lines), rows)]


def _alarm_lines(
    views: dict[str, BedView],
    shown: WardSnapshot,
    view: DashboardView,
    now_s: float,
    size: tuple[int, int],
    glyphs: GlyphSet,
) -> list[StyledLine]:
    """Return alarms in whole lines, at most as many as `size` has: of the chosen bed, then of others of the page."""
    width, most = size
    named = (views[name] for name in page_beds(view) if name in views and name != chosen_bed(view))
    alarmed = [bed for bed in named if bed.alarms][: most - 1]
    first = _chosen_alarm_line(views, shown, view, now_s, width, glyphs)
    return [first, *(_bed_alarm_line(bed, now_s, width, glyphs, False) for bed in alarmed)]


def _bed_alarm_line(bed: BedView, now_s: float, width: int, glyphs: GlyphSet, chosen: bool) -> StyledLine:
    name = f" {elide_text(glyphs.clean(bed.bed), min(MOST_NAME_WIDTH, width // 3), glyphs)}  "
    banner = alarm_lines.alarm_banner_lines(bed, now_s, width - cell_width(name), 1, glyphs, chosen)[0]
    return styled_line(cell_width(name), (name, STRONG)) + banner


def _chosen_alarm_line(
    views: dict[str, BedView], shown: WardSnapshot, view: DashboardView, now_s: float, width: int, glyphs: GlyphSet
) -> StyledLine:
    """Return the alarm of the chosen bed, else of the most urgent one, in a whole line."""
    if not shown.index:
        return styled_line(width)
    bed = views.get(chosen_bed(view))
    if bed is None or not (bed.alarms or is_chosen(view)):
        return (
            styled_line(width, (" no alarm", FAINT))
            if not any(summary.priority for summary in shown.index)
            else styled_line(width)
        )
    if bed.alarms:
        return _bed_alarm_line(bed, now_s, width, glyphs, is_chosen(view))
    name = f" {elide_text(glyphs.clean(bed.bed), MOST_NAME_WIDTH, glyphs)}  "
    text, style = state_words(bed, shown, link=True)
    if bed.state == "refused" and bed.refusal:
        text = f"{text}: {elide_words(glyphs.clean(bed.refusal), width - cell_width(name) - len(text) - 2, glyphs)}"
    rhythm, is_alarmed = rhythm_words(bed, shown)
    signal = f"   signal {signal_words(bed, shown)[0]}   {glyphs.clean(bed.lead)}"
    parts = [(name, STRONG), (text, style), ("   rhythm ", FAINT), (rhythm, NOTICE if is_alarmed else PLAIN)]
    return styled_line(width, *parts, (signal, FAINT))
