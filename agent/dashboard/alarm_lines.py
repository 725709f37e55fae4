"""Alarms on the screen: colour, mark and flash of each priority after IEC 60601-1-8, and the reason in words.

High is red and flashes at 2 Hz, medium is yellow and flashes at 0.5 Hz, low is cyan and steady; the marks !!! !! ! say
the same without colour. Flashing changes only the background, so that the words can always be read. An alarm that was
acknowledged, or that is over but not acknowledged yet, is labelled so and does not flash.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from rich.style import Style

from agent.core.messages import PRIORITIES, Alarm, AlarmCondition, Priority
from agent.core.views import BedSummary, BedView
from agent.core.wording import PRIORITY_MARKS
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    elide_text,
    format_sample_clock,
    spread_line,
    styled_line,
    title_line,
)
from agent.dashboard.status import short_duration
from agent.dashboard.styles import ALARM, EVENT_STYLES, FAINT, NOTICE, PLAIN, STRONG, WARN, GlyphSet
from model.records.resample import FS
from model.text import format_clock

SHORT_CONDITIONS: dict[AlarmCondition, str] = {
    "asystole": "ASYSTOLE",
    "ventricular fibrillation": "VF",
    "ventricular tachycardia": "VT",
    "extreme tachycardia": "TACHY",
    "extreme bradycardia": "BRADY",
    "heart rate high": "HR HIGH",
    "heart rate low": "HR LOW",
    "V run": "V RUN",
    "pause": "PAUSE",
    "atrial fibrillation": "AF",
    "couplet": "COUPLET",
    "bigeminy": "BIGEMINY",
    "trigeminy": "TRIGEMINY",
    "R-on-T": "R-ON-T",
    "V rate high": "V RATE",
    "no data": "NO DATA",
    "two devices": "TWO DEV",
    "gaps": "GAPS",
    "lead off": "LEAD OFF",
    "saturated": "SATURATED",
    "noise": "NOISE",
}
"""Each condition in at most nine letters, an abbreviation of its name."""
FLASH_ON_STYLES: dict[Priority, Style] = {"high": ALARM, "medium": WARN, "low": NOTICE}
FLASH_OFF_STYLES: dict[Priority, Style] = {
    "high": Style(color="red", bold=True),
    "medium": Style(color="yellow", bold=True),
    "low": NOTICE,
}
STEADY_STYLES: dict[Priority, Style] = {
    "high": Style(color="red"),
    "medium": Style(color="yellow"),
    "low": Style(color="cyan"),
}
FLASHES_HZ: dict[Priority, float] = {"high": 2.0, "medium": 0.5, "low": 0.0}
MOST_BANNERS = 3
"""Alarms that are shown above a bed's trace."""

AlarmPhase = Literal["active", "acknowledged", "over"]


def alarm_phase(alarm: Alarm) -> AlarmPhase:
    """Return whether an alarm is active and unacknowledged, acknowledged, or over."""
    if alarm.ended is not None:
        return "over"
    return "active" if alarm.acknowledged_s is None else "acknowledged"


def flash_style(priority: Priority, now_s: float) -> Style:
    """Return the style of an active alarm at this moment."""
    return FLASH_ON_STYLES[priority] if now_s * FLASHES_HZ[priority] % 1 < 0.5 else FLASH_OFF_STYLES[priority]


def alarm_style(alarm: Alarm, now_s: float) -> Style:
    """Return the style of an alarm at this moment."""
    return flash_style(alarm.priority, now_s) if alarm_phase(alarm) == "active" else STEADY_STYLES[alarm.priority]


def alarm_label(alarm: Alarm) -> str:
    """Return mark and name, such as !!! VT."""
    return f"{PRIORITY_MARKS[alarm.priority]} {SHORT_CONDITIONS.get(alarm.condition, alarm.condition.upper())}"


def format_silence_left(until_s: float, now_s: float) -> str:
    """Return how long alarms are still silenced, "" if they are not."""
    rest_s = round(until_s - now_s)
    return "" if rest_s <= 0 else format_clock(rest_s, hour_digits=0) if rest_s < 3600 else f"{rest_s // 3600} h"


def urgent_alarm_parts(bed: BedView, now_s: float, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Return the most urgent alarm of a bed in `room` cells: name, phase, how many more, rest of a silence."""
    alarm = bed.alarms[0]
    tail = {"active": "", "acknowledged": " ack", "over": " over"}[alarm_phase(alarm)]
    silence = format_silence_left(bed.silenced_until_s, now_s)
    more = f" +{len(bed.alarms) - 1}" if len(bed.alarms) > 1 else ""
    name = elide_text(alarm_label(alarm), room - cell_width(tail), glyphs)
    # What does not fit is left out: the name is worth most
    for extra in (more, f" quiet {silence}" if silence else ""):
        tail += extra if cell_width(name) + cell_width(tail) + cell_width(extra) <= room else ""
    return [(name, alarm_style(alarm, now_s)), (tail, STEADY_STYLES[alarm.priority])]


def alarm_banner_lines(bed: BedView, now_s: float, width: int, most: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the alarms of a bed in at most `most` lines across the screen, and the rest of a silence."""
    silence = format_silence_left(bed.silenced_until_s, now_s)
    silence_parts: list[StyledPart] = [(f" silenced {silence} ", WARN)] if silence else []
    shown = bed.alarms[: max(1, min(most, MOST_BANNERS))]
    if not shown:
        return [spread_line(width, [(" no alarm", FAINT)], silence_parts)] if silence else []
    rows = []
    for i, alarm in enumerate(shown):
        # The last line counts the alarms that have no line of their own
        more = len(bed.alarms) - len(shown) if i == len(shown) - 1 else 0
        right: list[StyledPart] = [(f" +{more} more ", STRONG)] if more else []
        right += [(f" {_alarm_course_text(bed, alarm, now_s)} ", PLAIN), *(silence_parts if i == 0 else [])]
        room = width - sum(cell_width(text) for text, _ in right)
        name = f" {alarm_label(alarm)} "
        reason = f" {glyphs.clean(alarm.text)} "
        style = FLASH_OFF_STYLES[alarm.priority] if alarm_phase(alarm) == "active" else STEADY_STYLES[alarm.priority]
        text = elide_text(reason, max(0, room - cell_width(name)), glyphs) if room > cell_width(name) else ""
        rows.append(spread_line(width, [(name, alarm_style(alarm, now_s)), (text, style)], right))
    return rows


def _alarm_course_text(bed: BedView, alarm: Alarm, now_s: float) -> str:
    """Return when an alarm began and ended, or for how long it has lasted, and whether it was acknowledged.

    Without data the bed's own clock stands still: then it is ours that counts.
    """
    if alarm.ended is not None:
        return f"{format_sample_clock(alarm.onset)} over at {format_sample_clock(alarm.ended)}"
    samples = round(FS * (now_s - alarm.announced_s)) if alarm.condition == "no data" else bed.head - alarm.onset
    lasts = f"{format_sample_clock(alarm.onset)} {_rough_duration(max(0, samples))}"
    return lasts if alarm.acknowledged_s is None else f"acknowledged  {lasts}"


def _rough_duration(samples: int) -> str:
    seconds = samples // FS
    return f"{seconds} s" if seconds < 100 else f"{seconds // 60} min" if seconds < 6000 else f"{seconds // 3600} h"


def merge_recent_alarms(bed: BedView) -> list[Alarm]:
    """Return the last alarms of a bed in their present state, newest first."""
    # An alarm that is still shown replaces the state in which it was announced
    latest = {(alarm.run, alarm.condition, alarm.onset): alarm for alarm in (*bed.last_alarms, *bed.alarms)}
    return sorted(latest.values(), key=lambda alarm: alarm.announced_s, reverse=True)


def last_alarm_lines(bed: BedView, width: int, height: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the last alarms, newest first: onset, end, and the time from announcement to acknowledgement."""
    wide = width >= 43
    heading = "LAST ALARMS"
    rows = [title_line(heading, width, glyphs)]
    if wide:
        columns = f"{'over':>8}  {'seen':>7}"
        rows = [
            title_line(heading, width - len(columns) - 1, glyphs)
            + styled_line(len(columns) + 1, (f" {columns}", FAINT))
        ]
    for alarm in merge_recent_alarms(bed)[: max(0, height - 1)]:
        delay = (
            ""
            if alarm.acknowledged_s is None
            else _rough_duration(round(FS * (alarm.acknowledged_s - alarm.announced_s)))
        )
        end = None if alarm.ended is None else format_sample_clock(alarm.ended)
        style = FLASH_OFF_STYLES[alarm.priority] if alarm_phase(alarm) == "active" else STEADY_STYLES[alarm.priority]
        left: list[StyledPart] = [(f"{format_sample_clock(alarm.onset)} ", FAINT), (alarm_label(alarm), style)]
        if wide:
            right = f"{end or 'goes on':>8}  {f'+{delay}' if delay else '--':>7}"
        else:
            right = "goes on" if alarm.ended is None else short_duration(max(0, alarm.ended - alarm.onset) / FS)
            right += " ack" if delay else ""
        rows.append(spread_line(width, left, [(f" {right}", PLAIN if end else STRONG)]))
    return rows


def count_ward_alarms(index: Sequence[BedSummary]) -> Counter[str]:
    """Count the beds by the priority of their most urgent alarm, the silenced ones, and those without data."""
    counts = Counter[str](bed.priority for bed in index if bed.priority)
    counts["silenced"] = sum(bed.silenced for bed in index)
    counts["no data"] = sum(bed.state == "no data" for bed in index)
    return counts


def unacknowledged_priorities(index: Sequence[BedSummary]) -> set[Priority]:
    """Return the priorities that a bed's most urgent alarm has without being acknowledged."""
    return {bed.priority for bed in index if bed.priority and (bed.silenced or bed.audible == bed.priority)}


def ward_alarm_parts(index: Sequence[BedSummary], now_s: float) -> list[StyledPart]:
    """Return the number of beds with alarms by priority, of silenced beds, and of beds without data."""
    counts = count_ward_alarms(index)
    waiting = unacknowledged_priorities(index)
    parts: list[StyledPart] = []
    for priority in PRIORITIES:
        count = counts[priority]
        style = FAINT if not count else flash_style(priority, now_s) if priority in waiting else STEADY_STYLES[priority]
        parts += [(f" {PRIORITY_MARKS[priority]} {count} {priority} ", style), (" ", PLAIN)]
    parts.append((f"{counts['silenced']} silenced  ", PLAIN if counts["silenced"] else FAINT))
    return [*parts, (f"{counts['no data']} no data ", EVENT_STYLES["gap"] if counts["no data"] else FAINT)]


def other_bed_alarm_parts(index: Sequence[BedSummary], bed: str, now_s: float) -> list[StyledPart]:
    """Return the number of other beds with alarms by priority, as marks without words; nothing if there are none."""
    others = [summary for summary in index if summary.bed != bed]
    counts = count_ward_alarms(others)
    waiting = unacknowledged_priorities(others)
    return [
        (
            f" {PRIORITY_MARKS[priority]} {counts[priority]} ",
            flash_style(priority, now_s) if priority in waiting else STEADY_STYLES[priority],
        )
        for priority in PRIORITIES
        if counts[priority]
    ]
