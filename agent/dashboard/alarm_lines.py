"""Alarms on the screen: colour, mark and flash of each priority after IEC 60601-1-8, and the reason in words.

High is red and flashes at 2 Hz, medium is yellow and flashes at 0.5 Hz, low is cyan and steady; the marks !!! !! ! say
the same without colour. Flashing changes only the background, so that the words can always be read. An alarm that was
acknowledged, or that is over but not acknowledged yet, is labelled so and does not flash.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from rich.style import Style

from agent.core.alarm_times import alarm_end_s, alarm_onset_s, is_end_timed
from agent.core.clock import format_local_clock, format_local_date
from agent.core.condition_names import short_condition
from agent.core.messages import PRIORITIES, Alarm, Priority
from agent.core.views import LOSSES, NOBODY_TELLS, BedSummary, BedView
from agent.core.wording import PRIORITY_MARKS
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    elide_text,
    elide_words,
    spread_line,
    styled_line,
    title_line,
)
from agent.dashboard.loss import format_age
from agent.dashboard.status import short_duration
from agent.dashboard.styles import ALARM, EVENT_STYLES, FAINT, NOTICE, PLAIN, STRONG, WARN, GlyphSet
from model.text import format_clock

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
LEAST_COURSE_WIDTH = 6
"""Least columns for how long an alarm has lasted, or that it is over."""
MOST_BANNERS = 3
"""Alarms that are shown above a bed's trace."""

OLD_LENGTH = re.compile(r" for \d+(\.\d+)? (s|min|h)$")
"""The length of a condition at its announcement, at the end of its reason."""
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
    return f"{PRIORITY_MARKS[alarm.priority]} {short_condition(alarm.condition)}"


def is_of_earlier_run(alarm: Alarm, bed: BedView) -> bool:
    """Return whether an alarm belongs to a run before the one that is monitored: the device has restarted since."""
    return bool(bed.run) and alarm.run != bed.run


def alarm_age_s(bed: BedView, alarm: Alarm, now_s: float) -> float:
    """Return for how long an alarm has lasted, or did last, by the clock: a stream that stops does not stop it.

    Where nobody is left who would tell of its end, it is the age when somebody last did.
    """
    onset_s, end_s = alarm_onset_s(alarm, bed), alarm_end_s(alarm, bed)
    if bed.state in NOBODY_TELLS and bed.arrived_s:
        now_s = min(now_s, bed.arrived_s)
    return max(0.0, (now_s if end_s is None else end_s) - onset_s)


def format_moment(at_s: float | None, now_s: float) -> str:
    """Return the local time of a moment, with its date unless that is of today."""
    clock = format_local_clock(at_s)
    if at_s is None or format_local_date(at_s) == format_local_date(now_s):
        return clock
    return f"{format_local_date(at_s)} {clock}"


def format_silence_left(until_s: float, now_s: float) -> str:
    """Return how long alarms are still silenced, "" if they are not."""
    rest_s = round(until_s - now_s)
    return "" if rest_s <= 0 else format_clock(rest_s, hour_digits=0) if rest_s < 3600 else f"{rest_s // 3600} h"


def named_first(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Return the alarms of a bed as a card names them: the most urgent first, as the counts above the ward have it.

    Behind one that is over comes the most urgent one that goes on, so that what was does not hide what is.
    """
    first, rest = list(alarms[:1]), list(alarms[1:])
    if first and first[0].ended is not None:
        lasting = [alarm for alarm in rest if alarm.ended is None][:1]
        first, rest = first + lasting, [alarm for alarm in rest if alarm not in lasting]
    return first + rest


def _urgent_first(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Return alarms by priority, of each those that go on before those that are over, else in their order."""
    return sorted(alarms, key=lambda alarm: (PRIORITIES.index(alarm.priority), alarm.ended is not None))


def shown_reason(alarm: Alarm) -> str:
    """Return the reason of an alarm without its length when it was announced: beside it stands how long it lasts now.

    >>> from types import SimpleNamespace
    >>> shown_reason(SimpleNamespace(text="RR irregular for 33 s"))  # type: ignore[arg-type]
    'RR irregular'
    """
    return OLD_LENGTH.sub("", alarm.text)


def urgent_alarm_parts(bed: BedView, now_s: float, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Return the most urgent alarm of a bed in `room` cells: name, phase, age, how many more, rest of a silence.

    Behind one that is over stands the name of the most urgent one that goes on, where there is room for it.
    """
    alarm, *others = named_first(bed.alarms)
    phase = alarm_phase(alarm)
    ended = " earlier" if is_of_earlier_run(alarm, bed) else " over"
    tail = {"active": "", "acknowledged": " ack", "over": ended}[phase]
    steady = STEADY_STYLES[alarm.priority]
    name = elide_text(alarm_label(alarm), room - cell_width(tail), glyphs)
    parts = [(name, alarm_style(alarm, now_s)), (tail, steady)]
    lasting, more = alarm, len(others)
    if phase == "over" and others and others[0].ended is None:
        label, free = alarm_label(others[0]), room - _cells(parts)
        if gap := " " * min(2, free - cell_width(label)):
            lasting, more = others[0], more - 1
            parts.append((gap + label, alarm_style(lasting, now_s)))
    age = "" if lasting.ended is not None else f" {format_age_clock(alarm_age_s(bed, lasting, now_s))}"
    silence = format_silence_left(bed.silenced_until_s, now_s)
    # What does not fit is left out: the name is worth most
    for extra in (age, f" +{more}" if more else "", f" quiet {silence}" if silence else ""):
        if extra and _cells(parts) + cell_width(extra) <= room:
            parts.append((extra, STEADY_STYLES[lasting.priority]))
    return parts


def format_age_clock(seconds: float) -> str:
    """Return an age as m:ss, from an hour on as h:mm:ss, from a hundred hours on in days."""
    if seconds >= 360_000:
        return format_age(seconds)
    return format_clock(int(seconds), hour_digits=0 if seconds < 3600 else 1)


def alarm_banner_lines(
    bed: BedView,
    now_s: float,
    width: int,
    most: int,
    glyphs: GlyphSet,
    is_chosen: bool = True,
) -> list[StyledLine]:
    """Return the alarms of a bed in at most `most` lines across the screen, with the rest of a silence, or its key.

    `is_chosen`: a key would mean this bed.
    """
    shown = bed.alarms[:1] if most <= 1 else _urgent_first(bed.alarms)[: min(most, MOST_BANNERS)]
    rows = []
    for i, alarm in enumerate(shown):
        # The last line counts the alarms that have no line of their own
        more = len(bed.alarms) - len(shown) if i == len(shown) - 1 else 0
        left: list[StyledPart] = [(f" +{more} more ", STRONG)] if more else []
        end = _silence_parts(bed, now_s, is_chosen) if i == 0 else []
        # What is pressed, and how many more there are, is worth less than what it is
        named = cell_width(alarm_label(alarm)) + 2
        end = end if _cells([*left, *end]) + named + LEAST_COURSE_WIDTH <= width else []
        left = left if _cells([*left, *end]) + named <= width else []
        name, reason, course = _fit_banner_texts(bed, alarm, now_s, width - _cells([*left, *end]), glyphs)
        right: list[StyledPart] = [*left, (course, PLAIN), *end]
        style = FLASH_OFF_STYLES[alarm.priority] if alarm_phase(alarm) == "active" else STEADY_STYLES[alarm.priority]
        rows.append(spread_line(width, [(name, alarm_style(alarm, now_s)), (reason, style)], right))
    return rows


def _cells(parts: Sequence[StyledPart]) -> int:
    return sum(cell_width(text) for text, _ in parts)


def _fit_banner_texts(bed: BedView, alarm: Alarm, now_s: float, room: int, glyphs: GlyphSet) -> tuple[str, str, str]:
    """Return name, reason and course of an alarm in `room` cells: an abbreviation spelt out, or words left out."""
    name, reason = f" {alarm_label(alarm)} ", f" {glyphs.clean(shown_reason(alarm))} "
    course = f" {alarm_course_text(bed, alarm, now_s)} "
    room -= cell_width(name)
    is_abbreviated = alarm.condition.upper() != short_condition(alarm.condition)
    if is_abbreviated and cell_width(f" {alarm.condition}:{reason}{course}") <= room:
        return name, f" {alarm.condition}:{reason}", course
    if cell_width(reason) + cell_width(course) > room:
        course = course.replace("since ", "")
    short = f" {_short_course(bed, alarm, now_s)} "
    course = course if cell_width(course) <= room else short if cell_width(short) <= room else ""
    room -= cell_width(course)
    return name, elide_words(reason, room, glyphs) if room > 0 else "", course


def _short_course(bed: BedView, alarm: Alarm, now_s: float) -> str:
    """Return in few cells how long an alarm has lasted, or that it is over."""
    return "over" if alarm.ended is not None else format_age_clock(alarm_age_s(bed, alarm, now_s))


def _silence_parts(bed: BedView, now_s: float, is_chosen: bool) -> list[StyledPart]:
    """Return the rest of a silence, else the key that begins one where an alarm sounds."""
    if silence := format_silence_left(bed.silenced_until_s, now_s):
        return [(f" silenced {silence} ", WARN)]
    sounds = any(alarm.acknowledged_s is None for alarm in bed.alarms)
    return [("m", STRONG), (" silence ", FAINT)] if sounds and is_chosen else []


def alarm_course_text(bed: BedView, alarm: Alarm, now_s: float) -> str:
    """Return by the clock since when an alarm has lasted, or from when to when, and whether it was acknowledged."""
    run = "earlier run, " if is_of_earlier_run(alarm, bed) else ""
    onset_s, end_s = alarm_onset_s(alarm, bed), alarm_end_s(alarm, bed)
    if end_s is not None and not is_end_timed(alarm):
        return f"over: {run}since {format_moment(onset_s, now_s)}"
    if end_s is not None:
        return f"over: {run}{format_moment(onset_s, now_s)} to {format_local_clock(end_s)}"
    lasts = f"since {format_moment(onset_s, now_s)} ({format_age(alarm_age_s(bed, alarm, now_s))})"
    return f"{run}{lasts}" if alarm.acknowledged_s is None else f"{run}acknowledged, {lasts}"


def merge_recent_alarms(bed: BedView) -> list[Alarm]:
    """Return the last alarms of a bed in their present state, newest first."""
    # An alarm that is still shown replaces the state in which it was announced
    latest = {(alarm.run, alarm.condition, alarm.onset): alarm for alarm in (*bed.last_alarms, *bed.alarms)}
    return sorted(latest.values(), key=lambda alarm: alarm_onset_s(alarm, bed), reverse=True)


def last_alarm_lines(bed: BedView, width: int, height: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the last alarms by the clock, newest first: onset, end, and the time until each was acknowledged."""
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
        rows.append(_last_alarm_line(bed, alarm, wide, width, glyphs))
    return rows


def _last_alarm_line(bed: BedView, alarm: Alarm, wide: bool, width: int, glyphs: GlyphSet) -> StyledLine:
    delay = "" if alarm.acknowledged_s is None else format_age(alarm.acknowledged_s - alarm.announced_s)
    end_s, is_timed = alarm_end_s(alarm, bed), is_end_timed(alarm)
    style = FLASH_OFF_STYLES[alarm.priority] if alarm_phase(alarm) == "active" else STEADY_STYLES[alarm.priority]
    left: list[StyledPart] = [(f"{format_local_clock(alarm_onset_s(alarm, bed))} ", FAINT), (alarm_label(alarm), style)]
    earlier = is_of_earlier_run(alarm, bed)
    if wide:
        right = "goes on" if end_s is None else format_local_clock(end_s) if is_timed else "over"
        right = f"{right:>8}  {f'+{delay}' if delay else '--':>7}"
    else:
        room = width - _cells(left) - 1
        lasted = short_duration(alarm_age_s(bed, alarm, 0.0)) if is_timed else "over"
        right = "goes on" if end_s is None else lasted
        right += " ack" if delay else ""
        if earlier:
            right = "earlier run" if len("earlier run") <= room else "earlier"
    if wide and earlier:
        left.append((elide_text(" earlier run", width - _cells(left) - len(right) - 1, glyphs), FAINT))
    return spread_line(width, left, [(f" {right}", STRONG if end_s is None else PLAIN)])


def count_ward_alarms(index: Sequence[BedSummary]) -> Counter[str]:
    """Count the beds by the priority of their most urgent alarm, the silenced ones, and those without data."""
    counts = Counter[str](bed.priority for bed in index if bed.priority)
    counts["silenced"] = sum(bed.silenced for bed in index)
    counts.update({state: sum(bed.state == state for bed in index) for state in LOSSES})
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
    lost = [(f" {counts[state]} {LOSSES[state]} ", ALARM) for state in ("no monitor", "store away") if counts[state]]
    return [*parts, (f"{counts['no data']} no data ", EVENT_STYLES["gap"] if counts["no data"] else FAINT), *lost]


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
