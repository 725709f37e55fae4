"""Terminals that hold no whole page, down to one line: the worst alarm and the heart rate stay, whatever the size.

What does not fit is left out, the least important first. A ward shows its most urgent bed first.
"""

from agent.core.condition_names import short_condition
from agent.core.views import LOSSES, BedView, WardSnapshot
from agent.dashboard import panels
from agent.dashboard.alarm_lines import (
    alarm_banner_lines,
    alarm_style,
    count_ward_alarms,
    format_silence_left,
    last_alarm_lines,
    named_first,
    other_bed_alarm_parts,
    shown_reason,
)
from agent.dashboard.alarm_state import quiet_parts
from agent.dashboard.bed_line import (
    alarm_words,
    is_past_by_loss,
    more_alarm_parts,
    named_bed_line,
    narrow_bed_lines,
    rate_part,
    whole_bed_line,
)
from agent.dashboard.calibration import trace_gutter
from agent.dashboard.digits import large_digit_rows
from agent.dashboard.frozen_picture import pictured_bed, shown_snapshot
from agent.dashboard.glance import rhythm_words, signal_words
from agent.dashboard.header import RankedPart, clock_parts, fit_ranked_parts
from agent.dashboard.layout import SMALL_CARD, CardGrid, choose_card_grid
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    elide_text,
    elide_words,
    fill_block_lines,
    join_blocks,
    spread_line,
    styled_line,
)
from agent.dashboard.loss import cover_trace, find_loss, rate_age, rate_style, rate_text, state_words
from agent.dashboard.overview import overview_lines
from agent.dashboard.status import DISCLAIMER_SHORT, failing_parts, link_words, stream_clock_part
from agent.dashboard.styles import (
    EVENT_STYLES,
    FAINT,
    GOOD,
    NOTICE,
    PLAIN,
    SELECTED,
    STRONG,
    WARN,
    GlyphSet,
)
from agent.dashboard.trace import trace_lines
from agent.dashboard.view import DashboardView, bed_window, is_chosen, page_beds, seconds_across
from model.records.resample import FS

PAGE_HEIGHT = 6
"""Least lines for large digits, and for the cards of a ward."""
FOOTER_HEIGHT = 8
"""Least lines of which the last names the keys."""
DIGITS_WIDTH, DIGITS_ROWS = 17, 3
"""Columns and lines of three large digits."""
BESIDE_WIDTH = 66
"""Least columns for the trace beside the digits instead of below them."""
FIGURES_WIDTH = 26
"""Columns of digits and words beside a trace."""
BESIDE_DIGITS_WIDTH = 16
"""Least columns for words beside the digits instead of below them."""
LEAST_TRACE_WIDTH, LEAST_TRACE_ROWS, MOST_TRACE_ROWS = 34, 5, 24
"""Columns and lines of a trace, its letters and its time axis."""
NAMED_WIDTH = 30
"""Least columns of a ward for a bed in one line, its name in front; else each has two lines."""
LEAST_LIST_ROWS = 3
"""Least lines of a list."""


def small_screen_lines(
    snapshot: WardSnapshot, view: DashboardView, size: tuple[int, int], bed: BedView | None, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return all lines of a small terminal, `size` columns and lines: of a bed, of the ward, or that none is there."""
    width, height = size
    shown = shown_snapshot(snapshot, view)
    is_ward = bed is None and bool(shown.index)
    footer = [_key_line(is_ward, is_chosen(view) or not is_ward, width)] if height >= FOOTER_HEIGHT else []
    room = width, height - len(footer)
    if bed is not None:
        lines = _bed_page(snapshot, bed, view, room, glyphs)
    elif shown.index:
        lines = _ward_page(snapshot, view, room, glyphs)
    else:
        lines = _waiting_lines(snapshot, width, glyphs)
    return fill_block_lines(fill_block_lines(lines, width, room[1]) + footer, width, height)


def _key_line(is_ward: bool, has_bed: bool, width: int) -> StyledLine:
    """Return the keys that matter most; the disclaimer where there is room. `has_bed`: keys would mean a bed."""
    keys = [("q", "quit"), *([("m", "silence"), ("k", "ack")] if has_bed else [])]
    keys += [("n", "bed" if has_bed else "choose a bed"), ("enter", "open")] if is_ward else []
    left: list[StyledPart] = [(" ", PLAIN)]
    room = width - 1
    for key, meaning in keys:
        room -= len(key) + len(meaning) + 3
        if room < -2:
            break
        left += [(key, STRONG), (f" {meaning}  ", FAINT)]
    right: list[StyledPart] = [(f"{DISCLAIMER_SHORT} ", FAINT)] if room > len(DISCLAIMER_SHORT) else []
    return spread_line(width, left, right)


def _waiting_lines(snapshot: WardSnapshot, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return that no bed is there yet, and why if that is known."""
    text, style = link_words(snapshot.link)
    rows: list[StyledPart] = [("no bed yet", STRONG), (f"link {text}", style)]
    trouble = glyphs.clean(snapshot.link.trouble or snapshot.link.endpoint)
    rows.append((trouble, PLAIN))
    return [styled_line(width, (elide_words(row, width, glyphs), style)) for row, style in rows]


def _bed_page(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return one bed, from a single line to a small page with large digits and a trace."""
    width, height = size
    shown = shown_snapshot(snapshot, view)
    if height < PAGE_HEIGHT or width < DIGITS_WIDTH:
        return _bed_rows(snapshot, bed, view, size, glyphs)
    most = max(1, height // 5)
    top = [_bed_heading_line(snapshot, bed, view, width, glyphs)]
    top += _alarm_rows(bed, shown, snapshot.now_s, width, most, glyphs)
    room = width, height - len(top)
    if width >= BESIDE_WIDTH and room[1] >= LEAST_TRACE_ROWS - 1:
        figures = _figure_rows(bed, shown, FIGURES_WIDTH - 2, room[1], glyphs)
        across = width - FIGURES_WIDTH - 1
        trace = _trace_rows(bed, shown, view, (across, min(room[1], MOST_TRACE_ROWS)), glyphs)
        trace += _list_rows(bed, shown, across, room[1] - len(trace), glyphs)
        body = join_blocks([(figures, FIGURES_WIDTH - 2), (trace, across)], room[1])
        return top + [row + styled_line(width - FIGURES_WIDTH - across) for row in body]
    body = _figure_rows(bed, shown, width, min(room[1], DIGITS_ROWS + 2), glyphs)
    rest = room[1] - len(body)
    if width >= LEAST_TRACE_WIDTH and rest >= LEAST_TRACE_ROWS:
        body += _trace_rows(bed, shown, view, (width, min(rest, MOST_TRACE_ROWS)), glyphs)
    body += _list_rows(bed, shown, width, room[1] - len(body), glyphs)
    return top + body


def _bed_heading_line(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, width: int, glyphs: GlyphSet
) -> StyledLine:
    """Return the name of the bed and its state; alarms of other beds, and the time."""
    shown = shown_snapshot(snapshot, view)
    text, style = _loss_or_state(snapshot, bed, view)
    right: list[RankedPart] = [(1, part) for part in other_bed_alarm_parts(snapshot.index, bed.bed, snapshot.now_s)]
    if view.frozen:
        right.append((0, (f" FROZEN {max(0, round(snapshot.now_s - view.frozen.now_s))} s ", SELECTED)))
    right += [(2, part) for part in failing_parts(snapshot.failing, glyphs)]
    right += [(rank + 1, part) for rank, part in clock_parts(snapshot)]
    right.append((4, stream_clock_part(bed, shown)))
    name = glyphs.clean(bed.bed)
    state: StyledPart = (f" {text} ", style)
    least = min(cell_width(name), 6) + 2 + (len(text) + 2 if style is WARN else 0)
    kept = fit_ranked_parts(right, width - least)
    room = width - sum(cell_width(part) for part, _ in kept)
    if cell_width(name) + 2 + len(state[0]) > room and style is not WARN:
        state = ("", PLAIN)
    name = elide_text(name, max(1, room - 2 - len(state[0])), glyphs)
    return spread_line(width, [(f" {name} ", STRONG), state], kept)


def _loss_or_state(snapshot: WardSnapshot, bed: BedView, view: DashboardView) -> StyledPart:
    """Return the state of a bed with the age of a loss; a lost link goes before all."""
    return state_words(bed, shown_snapshot(snapshot, view), link=True)


def _alarm_rows(
    bed: BedView, shown: WardSnapshot, now_s: float, width: int, most: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the alarms in at most `most` lines: banners where there is room for them, else name and age."""
    silence = format_silence_left(bed.silenced_until_s, now_s)
    marks: list[StyledPart] = [(f" {text}", style) for text, style in quiet_parts(bed, now_s, glyphs)]
    if not bed.alarms:
        quiet: list[RankedPart] = [(2, (" no alarm", FAINT))] if not bed.paused_until_s > now_s else []
        quiet += [(2 * place, part) for place, part in enumerate(marks)]
        quiet += [(1, (f" silenced {silence}", WARN))] if silence else []
        return [styled_line(width, *fit_ranked_parts(quiet, width))]
    if width >= BESIDE_WIDTH:
        banners = alarm_banner_lines(bed, now_s, width, most, glyphs)
        return [styled_line(width, *marks), *banners] if marks else banners
    rows = []
    for place, alarm in enumerate(named_first(bed.alarms)[:most]):
        last = place == min(most, len(bed.alarms)) - 1
        lost = state_words(bed, shown, link=True) if not place and is_past_by_loss(bed, shown) else None
        words = f" {alarm_words(bed, place, shown.now_s)} ", alarm_style(alarm, now_s)
        parts: list[RankedPart] = [(1 if lost else 0, words)]
        if lost is not None:
            parts.insert(0, (0, (f" {lost[0]}", lost[1])))
        parts.append((3, (f" {glyphs.clean(shown_reason(alarm))}", PLAIN)))
        parts += more_alarm_parts(bed, most, now_s, (" ", 1)) if last else []
        parts += [(1, part) for part in marks] if not place else []
        parts += [(2, (f" quiet {silence}", WARN))] if silence and not place else []
        rows.append(styled_line(width, *fit_ranked_parts(parts, width)))
    return rows


def _figure_rows(bed: BedView, shown: WardSnapshot, width: int, most: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the rate in large digits, and rhythm and signal in words beside or below them."""
    rate = rate_text(bed, shown)
    style, age = rate_style(bed, shown, rate), rate_age(bed, shown, rate)
    digits = [
        styled_line(min(width, DIGITS_WIDTH), (row, style)) for row in large_digit_rows(f"{rate:>3}", 1, glyphs.ascii)
    ]
    rhythm, is_alarmed = rhythm_words(bed, shown)
    signal, is_good = signal_words(bed, shown)
    beside = width - DIGITS_WIDTH - 2
    rhythm = glyphs.clean(rhythm)
    if is_alarmed and cell_width(rhythm) > (beside if beside >= BESIDE_DIGITS_WIDTH else width):
        rhythm = short_condition(rhythm)
    words: list[StyledPart] = [
        (f"HR {rate} /min{f', {age} old' if age else ''}", style if age else FAINT),
        (rhythm, NOTICE if is_alarmed else PLAIN),
        (f"signal {signal}", GOOD if is_good else EVENT_STYLES["signal"]),
    ]
    if beside >= BESIDE_DIGITS_WIDTH:
        rows = [styled_line(beside, (elide_words(text, beside, glyphs), ink)) for text, ink in words]
        digits = join_blocks([(digits, DIGITS_WIDTH), (rows, beside)], DIGITS_ROWS)
        return digits[:most]
    below = [styled_line(width, (elide_words(text, width, glyphs), ink)) for text, ink in words]
    if not (glyphs.ascii or age):
        del below[0]  # the digits say it
    return [fill_line(row, width) for row in [*digits, *below]][:most]


def fill_line(row: StyledLine, width: int) -> StyledLine:
    """Return a line padded to `width` cells."""
    rest = width - sum(cell_width(segment.text) for segment in row)
    return row + styled_line(rest) if rest > 0 else row


def _trace_rows(
    bed: BedView, shown: WardSnapshot, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return a trace with letters above and seconds below."""
    bed, shown = pictured_bed(view, bed), view.frozen or shown
    trace = trace_lines(bed, bed_window(view, bed), seconds_across(view), size, shown.least_confidence, glyphs)
    return cover_trace(trace, bed, shown, trace_gutter(seconds_across(view) * FS, size[0], bed.uncalibrated), glyphs)


def _list_rows(bed: BedView, shown: WardSnapshot, width: int, height: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the last alarms and the events, as far as there is room for them."""
    rows: list[StyledLine] = []
    if height >= LEAST_LIST_ROWS and bed.last_alarms:
        rows = last_alarm_lines(bed, width, max(LEAST_LIST_ROWS, height // 2), glyphs)
    if height - len(rows) >= LEAST_LIST_ROWS and width >= 30:
        rows += panels.events_panel(bed, shown, width, height - len(rows), glyphs)
    return rows


def _bed_rows(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return one bed in up to five lines without large digits: alarm, rate, bed and others, then rhythm and signal."""
    width, height = size
    shown = shown_snapshot(snapshot, view)
    if height == 1:
        return [whole_bed_line(snapshot, bed, view, width, glyphs)]
    alarm = _alarm_rows(bed, shown, snapshot.now_s, width, 1, glyphs)[0]
    if not bed.alarms and height == 2:
        return [_bed_heading_line(snapshot, bed, view, width, glyphs), _rate_line(snapshot, bed, view, width, glyphs)]
    rate = _rate_line(snapshot, bed, view, width, glyphs)
    rows = [alarm, rate]
    if height > 2:
        rows.append(_bed_heading_line(snapshot, bed, view, width, glyphs))
    rhythm, is_alarmed = rhythm_words(bed, shown)
    signal, _ = signal_words(bed, shown)
    more: list[StyledPart] = [(glyphs.clean(rhythm), NOTICE if is_alarmed else PLAIN), (f"signal {signal}", PLAIN)]
    rows += [styled_line(width, (f" {elide_words(text, max(1, width - 1), glyphs)}", ink)) for text, ink in more]
    return rows


def _rate_line(snapshot: WardSnapshot, bed: BedView, view: DashboardView, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return the rate, then the state of the bed where it is not well, or the rhythm."""
    shown = shown_snapshot(snapshot, view)
    parts: list[RankedPart] = [(0, rate_part(bed, shown))]
    if bed.alarms and bed.paused_until_s > snapshot.now_s:
        parts += [(1, (f" {text}", style)) for text, style in quiet_parts(bed, snapshot.now_s, glyphs)[:1]]
    if find_loss(bed, shown) or bed.state != "ok":
        text, style = state_words(bed, shown, link=True)
        parts.append((1, (f" {text} ", style)))
    else:
        rhythm, is_alarmed = rhythm_words(bed, shown)
        parts.append((2, (f"  {glyphs.clean(rhythm)}", NOTICE if is_alarmed else FAINT)))
    return styled_line(width, (" " if width > 8 else "", PLAIN), *fit_ranked_parts(parts, width - 1))


def _ward_page(
    snapshot: WardSnapshot, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return a ward: how many beds have alarms, and its beds, the most urgent first, on cards where they fit."""
    width, height = size
    shown = shown_snapshot(snapshot, view)
    views = {bed.bed: bed for bed in shown.beds}
    names = page_beds(view)
    worst = next((views[name] for name in names if name in views), None)
    if height == 1:
        return (
            [whole_bed_line(snapshot, worst, view, width, glyphs)]
            if worst
            else [_ward_counts_line(snapshot, view, width, glyphs)]
        )
    top = [_ward_counts_line(snapshot, view, width, glyphs)]
    if _has_cards(width, height - 1):
        return top + overview_lines(shown, view, snapshot.now_s, (width, height - 1), glyphs)
    rows: list[StyledLine] = []
    for name in names:
        if name in views and width < NAMED_WIDTH:
            single = [whole_bed_line(snapshot, views[name], view, width, glyphs)]
            rows += single if height == 2 else narrow_bed_lines(snapshot, views[name], view, width, glyphs)
        elif name in views:
            widths = width, max(8, min(16, width // 3))
            rows.append(named_bed_line(snapshot, views[name], view, widths, glyphs))
        else:
            rows.append(styled_line(width, (elide_text(glyphs.clean(name), width, glyphs), FAINT)))
    return top + rows


def choose_small_grid(beds: int, width: int, height: int) -> CardGrid:
    """Return the cards of a ward in a small terminal, or one line a bed."""
    lines = height - (height >= FOOTER_HEIGHT) - 1
    if _has_cards(width, lines):
        return choose_card_grid(beds, width, lines)
    per_bed = 2 if width < NAMED_WIDTH else 1
    return CardGrid(1, per_bed, width, max(1, lines // per_bed), wide=False)


def _has_cards(width: int, lines: int) -> bool:
    return width >= SMALL_CARD and lines >= PAGE_HEIGHT - 1


def _ward_counts_line(snapshot: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return how many beds there are, and how many have alarms or send nothing, live even if the picture is frozen."""
    counts, beds = count_ward_alarms(snapshot.index), len(snapshot.index)
    parts: list[RankedPart] = [(3, (f"{beds} {'bed' if beds == 1 else 'beds'} ", FAINT))]
    parts += [(0, part) for part in other_bed_alarm_parts(snapshot.index, "", snapshot.now_s)]
    if not any(bed.priority for bed in snapshot.index):
        parts.append((0, ("no alarm ", FAINT)))
    lost = [(2 - (state != "no data"), (f" {counts[state]} {state} ", WARN)) for state in LOSSES if counts[state]]
    parts += lost
    text, style = link_words(snapshot.link)
    if snapshot.link.state == "lost":
        parts.append((1, (f" {text} ", style)))
    if view.frozen:
        parts.append((1, (" FROZEN ", SELECTED)))
    parts += [(2, part) for part in failing_parts(snapshot.failing, glyphs)]
    kept = fit_ranked_parts(parts, width)
    room = width - sum(cell_width(part) for part, _ in kept)
    clock = clock_parts(snapshot)[-1][1]
    return spread_line(width, kept, [clock] if cell_width(clock[0]) <= room else [])
