"""The trend of a bed: heart rate, V beats and what is missing, minute by minute, with its alarms on the time axis."""

import time

import numpy as np
from rich.segment import Segment

from agent.core.clock import format_local_clock
from agent.core.look_back import MINUTE_S, BedTrend, PastAlarm
from agent.core.messages import PRIORITIES
from agent.core.views import BedView, WardSnapshot
from agent.core.wording import PRIORITY_MARKS
from agent.dashboard import alarm_lines
from agent.dashboard.cell_overlay import overlay_cursor, overlay_text
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    elide_text,
    elide_words,
    fill_block_lines,
    spread_line,
    styled_line,
)
from agent.dashboard.styles import CLASS_STYLES, EVENT_STYLES, FAINT, NOTICE, PLAIN, STRONG, TITLE, GlyphSet
from agent.dashboard.trend_charts import TREND_GUTTER, ChartColumns, bar_lines, empty_gutter, nice_top, rate_lines
from agent.dashboard.view import DashboardView, chosen_bed

AXIS_STEPS_MIN = {1: 10, 2: 15, 6: 60, 12: 120, 24: 240}
"""Minutes between the labels of the time axis, by hours."""
NARROW = 100
"""Columns below which the labels are half as many."""
TREND_BANNERS = 3
"""Alarms of the bed that are said above its trend."""


def trend_lines(
    snapshot: WardSnapshot, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the page of a trend, `size` columns and lines."""
    width, height = size
    name = chosen_bed(view)
    top = bed_banner_lines(snapshot, name, width, glyphs)
    past = snapshot.past
    trend = past.trend if past and past.bed == name else None
    if trend is None:
        waiting = styled_line(width, ("  no bed" if not name else "  reading", FAINT))
        return fill_block_lines([*top, waiting], width, height)
    rows = height - len(top)
    return fill_block_lines([*top, *_trend_body(trend, view, (width, rows), glyphs)], width, height)


def bed_banner_lines(snapshot: WardSnapshot, name: str, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the alarms of a bed as its own page shows them: they are never out of sight."""
    bed: BedView | None = next((bed for bed in snapshot.beds if bed.bed == name), None)
    return alarm_lines.alarm_banner_lines(bed, snapshot.now_s, width, TREND_BANNERS, glyphs) if bed else []


def _trend_body(trend: BedTrend, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet) -> list[StyledLine]:
    width, height = size
    places = ChartColumns(len(trend), width - TREND_GUTTER - 1)
    tall, low = _chart_rows(height)
    v_top = nice_top(trend.v_beats, 5)
    charts = [
        _chart_title("HEART RATE", "lowest to highest, mean bright; beats a minute", width),
        *rate_lines(trend, places, tall, CLASS_STYLES["N"], glyphs),
        _chart_title("V BEATS", "a minute", width),
        *bar_lines(trend.v_beats, v_top, places, (low, f"{v_top:g}"), CLASS_STYLES["V"], glyphs),
    ]
    if height >= 24:
        s_top = nice_top(trend.s_beats, 5)
        charts += [
            _chart_title("S BEATS", "a minute", width),
            *bar_lines(trend.s_beats, s_top, places, (low, f"{s_top:g}"), CLASS_STYLES["S"], glyphs),
        ]
    charts += [
        _chart_title("MISSING", "share of the samples", width),
        *bar_lines(trend.missing, 1.0, places, (max(1, low - 1), "100%"), EVENT_STYLES["gap"], glyphs),
    ]
    charts = [_exact(line, width) for line in charts]
    minute = _cursor_minute(trend, view)
    if minute is not None:
        char = "|" if glyphs.ascii else "│"
        charts = overlay_cursor(charts, TREND_GUTTER + places.column_of(minute), char, NOTICE)
    return [
        _title(trend, view, width, glyphs),
        *charts,
        _alarm_line(trend, places, width, glyphs),
        *_hour_axis(trend, places, width, glyphs),
        *_words_lines(trend, minute, width, glyphs),
    ]


def _chart_rows(height: int) -> tuple[int, int]:
    """Return the lines of the heart rate, and those of each lower chart."""
    low = 2 if height < 30 else 3
    others = 3 * (low + 1) - 1 if height >= 24 else 2 * (low + 1) - 1
    return max(4, height - 1 - 1 - others - 1 - 2 - 2), low


def _title(trend: BedTrend, view: DashboardView, width: int, glyphs: GlyphSet) -> StyledLine:
    hours = view.looking.hours
    left: list[StyledPart] = [
        (" TREND ", TITLE),
        (f" {elide_text(glyphs.clean(trend.bed), 30, glyphs)}  ", STRONG),
        (f"last {hours} {'hour' if hours == 1 else 'hours'}", PLAIN),
    ]
    if trend.is_filling:
        left.append(("  reading the recording", NOTICE))
    return spread_line(width, left, [("+ - hours   arrows cursor   esc back ", FAINT)])


def _chart_title(name: str, meaning: str, width: int) -> StyledLine:
    return styled_line(width, (" " * TREND_GUTTER, PLAIN), (name, TITLE), (f"  {meaning}", FAINT))


def _exact(line: StyledLine, width: int) -> StyledLine:
    used = sum(len(part.text) for part in line)
    return [*line, Segment(" " * (width - used), PLAIN)] if used < width else line


def _cursor_minute(trend: BedTrend, view: DashboardView) -> int | None:
    """Return the minute under the cursor, counted from the first; None without cursor."""
    back = view.looking.minutes_back
    return None if back is None else max(0, len(trend) - 1 - back)


def _alarm_line(trend: BedTrend, places: ChartColumns, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return the alarms at their times, the most urgent of each column by the number of its marks."""
    found: dict[int, PastAlarm] = {}
    for past in trend.alarms:
        column = places.column_of(past.onset_s / MINUTE_S - trend.first_minute)
        known = found.get(column)
        if known is None or PRIORITIES.index(past.alarm.priority) < PRIORITIES.index(known.alarm.priority):
            found[column] = past
    marks = {"high": "3", "medium": "2", "low": "1"} if glyphs.ascii else {"high": "▲", "medium": "△", "low": "·"}
    line: StyledLine = [Segment(f"{'alarm':>{TREND_GUTTER - 1}} ", FAINT)]
    line = _exact(line, width)
    for column, past in found.items():
        if 0 <= column < places.columns:
            style = alarm_lines.STEADY_STYLES[past.alarm.priority]
            line = overlay_text(line, TREND_GUTTER + column, marks[past.alarm.priority], style)
    return line


def _hour_axis(trend: BedTrend, places: ChartColumns, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return ticks, and the local time below each of them."""
    step = AXIS_STEPS_MIN.get(len(trend) // 60, 60) * (2 if width < NARROW else 1)
    ticks, labels = _exact([empty_gutter()], width), _exact([empty_gutter()], width)
    for minute in range(len(trend)):
        local = time.localtime((trend.first_minute + minute) * MINUTE_S)
        if (local.tm_hour * 60 + local.tm_min) % step == 0:
            column = TREND_GUTTER + places.column_of(minute)
            ticks = overlay_text(ticks, column, glyphs.tick, FAINT)
            text = f"{local.tm_hour:02}:{local.tm_min:02}"
            if column + len(text) - 2 < width:
                labels = overlay_text(labels, column - 2, text, FAINT)
    return [ticks, labels]


def _words_lines(trend: BedTrend, minute: int | None, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return what the cursor stands on in words, in two lines; without cursor the whole span."""
    if minute is None:
        return [styled_line(width, (f" {text}", PLAIN)) for text in _span_texts(trend)]
    at_s = (trend.first_minute + minute) * MINUTE_S
    known = [past for past in trend.alarms if at_s <= past.onset_s < at_s + MINUTE_S]
    alarms = "; ".join(f"{alarm_lines.alarm_label(past.alarm)} {format_local_clock(past.onset_s)}" for past in known)
    texts = [f"{format_local_clock(at_s)[:5]}  {minute_words(trend, minute)}", alarms or "no alarm began"]
    return [styled_line(width, (f" {elide_words(glyphs.clean(text), width - 2, glyphs)}", STRONG)) for text in texts]


def minute_words(trend: BedTrend, minute: int) -> str:
    """Say what is known of a minute of a trend."""
    rate, missing, quality = trend.heart_rate[minute], trend.missing[minute], trend.quality[minute]
    if np.isnan(missing) and np.isnan(rate):
        return "nothing is known of this minute"
    parts = ["no heart rate"]
    if np.isfinite(rate):
        parts = [f"heart rate {rate:.0f} ({trend.lowest[minute]:.0f} to {trend.highest[minute]:.0f})"]
    for letter, values in (("V", trend.v_beats), ("S", trend.s_beats)):
        if np.isfinite(values[minute]):
            parts.append(f"{letter} {values[minute]:.0f} a minute")
    if np.isfinite(missing):
        parts.append(f"{missing:.0%} missing" if missing >= 0.005 or missing == 0 else "under 1% missing")
    if np.isfinite(quality):
        parts.append(f"quality {quality:.0%}")
    return ", ".join(parts)


def _span_texts(trend: BedTrend) -> list[str]:
    known = np.isfinite(trend.heart_rate)
    counts = {
        mark: sum(past.alarm.priority == priority for past in trend.alarms) for priority, mark in PRIORITY_MARKS.items()
    }
    told = ", ".join(f"{count} {mark}" for mark, count in counts.items() if count)
    alarms = f"alarms: {told}" if told else "no alarms"
    if not known.any():
        return ["no heart rate in this time", alarms]
    rates = trend.heart_rate[known]
    text = f"heart rate {rates.mean():.0f}, from {np.nanmin(trend.lowest):.0f} to {np.nanmax(trend.highest):.0f}"
    v_beats = trend.v_beats[np.isfinite(trend.v_beats)]
    more = f", V {v_beats.mean():.1f} a minute" if len(v_beats) else ""
    return [f"{text}{more}, known of {known.sum()} of {len(trend)} minutes", alarms]
