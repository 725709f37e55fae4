"""Alarms as a person sees them: colour, mark and flash of each priority after IEC 60601-1-8, and the reason in words.

High is red and flashes at 2 Hz, medium yellow at 0.5 Hz, low cyan and steady, and !!! !! ! say the same without colour.
Flashing changes the background alone: the words can be read at any moment. An alarm that somebody acknowledged, and one
that is over and still has to be acknowledged, do not flash, and are said to be so.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from rich.style import Style

from agent.core.messages import Alarm, AlarmCondition, BedSummary, BedView, Priority
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

MARKS_BY_PRIORITY: dict[Priority, str] = {"high": "!!!", "medium": "!!", "low": "!"}
PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")
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
    "V rate high": "MANY V",
    "no data": "NO DATA",
    "gaps": "GAPS",
    "lead off": "LEAD OFF",
    "saturated": "SATURATED",
    "noise": "NOISE",
}
"""Each condition in at most nine letters."""
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
"""Alarms that stand above a bed's trace."""

AlarmPhase = Literal["active", "acknowledged", "over"]


def alarm_phase(alarm: Alarm) -> AlarmPhase:
    """Whether an alarm goes on unseen, was acknowledged, or is over."""
    if alarm.ended is not None:
        return "over"
    return "active" if alarm.acknowledged_s is None else "acknowledged"


def flash_style(priority: Priority, now_s: float) -> Style:
    """The style of an active alarm at this moment."""
    return FLASH_ON_STYLES[priority] if now_s * FLASHES_HZ[priority] % 1 < 0.5 else FLASH_OFF_STYLES[priority]


def alarm_style(alarm: Alarm, now_s: float) -> Style:
    """How an alarm is shown at this moment."""
    return flash_style(alarm.priority, now_s) if alarm_phase(alarm) == "active" else STEADY_STYLES[alarm.priority]


def alarm_label(alarm: Alarm) -> str:
    """Mark and name: !!! VT."""
    return f"{MARKS_BY_PRIORITY[alarm.priority]} {SHORT_CONDITIONS.get(alarm.condition, alarm.condition.upper())}"


def format_silence_left(until_s: float, now_s: float) -> str:
    """How long alarms are still silenced, "" where they are not."""
    left = round(until_s - now_s)
    return "" if left <= 0 else format_clock(left, hour_digits=0) if left < 3600 else f"{left // 3600} h"


def urgent_alarm_parts(bed: BedView, now_s: float, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    """The most urgent alarm of a bed in `room` cells: name, what became of it, how many more, for how long silenced."""
    alarm = bed.alarms[0]
    words = {"active": "", "acknowledged": " ack", "over": " over"}[alarm_phase(alarm)]
    silent = format_silence_left(bed.silenced_until_s, now_s)
    more = f" +{len(bed.alarms) - 1}" if len(bed.alarms) > 1 else ""
    name, tail = elide_text(alarm_label(alarm), room - cell_width(words), glyphs), words
    for extra in (more, f" quiet {silent}" if silent else ""):
        tail += extra if cell_width(name) + cell_width(tail) + cell_width(extra) <= room else ""
    return [(name, alarm_style(alarm, now_s)), (tail, STEADY_STYLES[alarm.priority])]


def alarm_banner_lines(bed: BedView, now_s: float, width: int, most: int, glyphs: GlyphSet) -> list[StyledLine]:
    """The alarms of a bed across the screen, at most so many lines, and how long they are silenced; mostly none."""
    silent = format_silence_left(bed.silenced_until_s, now_s)
    quiet: list[StyledPart] = [(f" silenced {silent} ", WARN)] if silent else []
    shown = bed.alarms[: max(1, min(most, MOST_BANNERS))]
    if not shown:
        return [spread_line(width, [(" no alarm", FAINT)], quiet)] if silent else []
    rows = []
    for i, alarm in enumerate(shown):
        more = len(bed.alarms) - len(shown) if i == len(shown) - 1 else 0
        right: list[StyledPart] = [(f" +{more} more ", STRONG)] if more else []
        right += [(f" {_alarm_course_text(bed, alarm)} ", PLAIN), *(quiet if i == 0 else [])]
        room = width - sum(cell_width(text) for text, _ in right)
        name, words = f" {alarm_label(alarm)} ", f" {glyphs.clean(alarm.text)} "
        style = FLASH_OFF_STYLES[alarm.priority] if alarm_phase(alarm) == "active" else STEADY_STYLES[alarm.priority]
        text = elide_text(words, max(0, room - cell_width(name)), glyphs) if room > cell_width(name) else ""
        rows.append(spread_line(width, [(name, alarm_style(alarm, now_s)), (text, style)], right))
    return rows


def _alarm_course_text(bed: BedView, alarm: Alarm) -> str:
    """What became of an alarm: since when it goes on, whether it was acknowledged, when it was over."""
    if alarm.ended is not None:
        return f"{format_sample_clock(alarm.onset)} over at {format_sample_clock(alarm.ended)}"
    lasts = f"{format_sample_clock(alarm.onset)} {_rough_duration(max(0, bed.head - alarm.onset))}"
    return lasts if alarm.acknowledged_s is None else f"acknowledged  {lasts}"


def _rough_duration(samples: int) -> str:
    seconds = samples // FS
    return f"{seconds} s" if seconds < 100 else f"{seconds // 60} min" if seconds < 6000 else f"{seconds // 3600} h"


def merge_recent_alarms(bed: BedView) -> list[Alarm]:
    """The last alarms of a bed as they stand now, the newest first."""
    known = {(alarm.run, alarm.condition, alarm.onset): alarm for alarm in (*bed.last_alarms, *bed.alarms)}
    return sorted(known.values(), key=lambda alarm: alarm.announced_s, reverse=True)


def last_alarm_lines(bed: BedView, width: int, height: int, glyphs: GlyphSet) -> list[StyledLine]:
    """The last alarms, the newest first: when each began and ended, and when after its announcement it was seen to."""
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
        seen = (
            ""
            if alarm.acknowledged_s is None
            else _rough_duration(round(FS * (alarm.acknowledged_s - alarm.announced_s)))
        )
        over = None if alarm.ended is None else format_sample_clock(alarm.ended)
        style = FLASH_OFF_STYLES[alarm.priority] if alarm_phase(alarm) == "active" else STEADY_STYLES[alarm.priority]
        left: list[StyledPart] = [(f"{format_sample_clock(alarm.onset)} ", FAINT), (alarm_label(alarm), style)]
        if wide:
            right = f"{over or 'goes on':>8}  {f'+{seen}' if seen else '--':>7}"
        else:
            right = "goes on" if alarm.ended is None else short_duration(max(0, alarm.ended - alarm.onset) / FS)
            right += " ack" if seen else ""
        rows.append(spread_line(width, left, [(f" {right}", PLAIN if over else STRONG)]))
    return rows


def count_ward_alarms(index: Sequence[BedSummary]) -> Counter[str]:
    """Beds by the priority of their most urgent alarm, those that are silenced, and those without data."""
    found = Counter[str](bed.priority for bed in index if bed.priority)
    found["silenced"] = sum(bed.silenced for bed in index)
    found["no data"] = sum(bed.state == "no data" for bed in index)
    return found


def unacknowledged_priorities(index: Sequence[BedSummary]) -> set[Priority]:
    """The priorities of which some bed's most urgent alarm nobody has acknowledged."""
    return {bed.priority for bed in index if bed.priority and (bed.silenced or bed.audible == bed.priority)}


def ward_alarm_parts(index: Sequence[BedSummary], now_s: float) -> list[StyledPart]:
    """How many beds have alarms, by priority, are silenced, or have no data."""
    found, waiting = count_ward_alarms(index), unacknowledged_priorities(index)
    made: list[StyledPart] = []
    for priority in PRIORITIES:
        count = found[priority]
        style = FAINT if not count else flash_style(priority, now_s) if priority in waiting else STEADY_STYLES[priority]
        made += [(f" {MARKS_BY_PRIORITY[priority]} {count} {priority} ", style), (" ", PLAIN)]
    made.append((f"{found['silenced']} silenced  ", PLAIN if found["silenced"] else FAINT))
    return [*made, (f"{found['no data']} no data ", EVENT_STYLES["gap"] if found["no data"] else FAINT)]


def other_bed_alarm_parts(index: Sequence[BedSummary], bed: str, now_s: float) -> list[StyledPart]:
    """The alarms of the beds that are not looked at, without words; none where there are none."""
    others = [one for one in index if one.bed != bed]
    found, waiting = count_ward_alarms(others), unacknowledged_priorities(others)
    styles = {one: flash_style(one, now_s) if one in waiting else STEADY_STYLES[one] for one in PRIORITIES}
    return [(f" {MARKS_BY_PRIORITY[one]} {found[one]} ", styles[one]) for one in PRIORITIES if found[one]]
