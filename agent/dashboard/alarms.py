"""Alarms as a person sees them: colour, mark and flash of each priority after IEC 60601-1-8, and the reason in words.

High is red and flashes at 2 Hz, medium yellow at 0.5 Hz, low cyan and steady, and !!! !! ! say the same without colour.
Flashing changes the background alone: the words can be read at any moment. An alarm that somebody acknowledged, and one
that is over and still has to be acknowledged, do not flash, and are said to be so.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from rich.style import Style

from agent.core.messages import Alarm, BedView, Condition, Glance, Priority
from agent.dashboard.lines import Line, Part, clock, elide, line, size, spread, title
from agent.dashboard.status import span
from agent.dashboard.styles import ALARM, EVENT_STYLES, FAINT, NOTICE, PLAIN, STRONG, WARN, Glyphs
from model.records.resample import FS

MARKS: dict[Priority, str] = {"high": "!!!", "medium": "!!", "low": "!"}
PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")
SHORT: dict[Condition, str] = {
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
LIT: dict[Priority, Style] = {"high": ALARM, "medium": WARN, "low": NOTICE}
UNLIT: dict[Priority, Style] = {
    "high": Style(color="red", bold=True),
    "medium": Style(color="yellow", bold=True),
    "low": NOTICE,
}
QUIET: dict[Priority, Style] = {
    "high": Style(color="red"),
    "medium": Style(color="yellow"),
    "low": Style(color="cyan"),
}
FLASHES_HZ: dict[Priority, float] = {"high": 2.0, "medium": 0.5, "low": 0.0}
MOST_BANNERS = 3
"""Alarms that stand above a bed's trace."""

Standing = Literal["active", "acknowledged", "over"]


def standing(alarm: Alarm) -> Standing:
    """Whether an alarm goes on unseen, was acknowledged, or is over."""
    if alarm.ended is not None:
        return "over"
    return "active" if alarm.acknowledged_s is None else "acknowledged"


def flashing(priority: Priority, now_s: float) -> Style:
    """The style of an active alarm at this moment."""
    return LIT[priority] if now_s * FLASHES_HZ[priority] % 1 < 0.5 else UNLIT[priority]


def style_of(alarm: Alarm, now_s: float) -> Style:
    """How an alarm is shown at this moment."""
    return flashing(alarm.priority, now_s) if standing(alarm) == "active" else QUIET[alarm.priority]


def named(alarm: Alarm) -> str:
    """Mark and name: !!! VT."""
    return f"{MARKS[alarm.priority]} {SHORT.get(alarm.condition, alarm.condition.upper())}"


def remaining(until_s: float, now_s: float) -> str:
    """How long alarms are still silenced, "" where they are not."""
    left = round(until_s - now_s)
    return "" if left <= 0 else f"{left // 60}:{left % 60:02}" if left < 3600 else f"{left // 3600} h"


def parts(bed: BedView, now_s: float, room: int, glyphs: Glyphs) -> list[Part]:
    """The most urgent alarm of a bed in `room` cells: name, what became of it, how many more, for how long silenced."""
    alarm = bed.alarms[0]
    words = {"active": "", "acknowledged": " ack", "over": " over"}[standing(alarm)]
    silent = remaining(bed.silenced_until_s, now_s)
    more = f" +{len(bed.alarms) - 1}" if len(bed.alarms) > 1 else ""
    name, tail = elide(named(alarm), room - size(words), glyphs), words
    for extra in (more, f" quiet {silent}" if silent else ""):
        tail += extra if size(name) + size(tail) + size(extra) <= room else ""
    return [(name, style_of(alarm, now_s)), (tail, QUIET[alarm.priority])]


def banner(bed: BedView, now_s: float, width: int, most: int, glyphs: Glyphs) -> list[Line]:
    """The alarms of a bed across the screen, at most so many lines, and how long they are silenced; mostly none."""
    silent = remaining(bed.silenced_until_s, now_s)
    quiet: list[Part] = [(f" silenced {silent} ", WARN)] if silent else []
    shown = bed.alarms[: max(1, min(most, MOST_BANNERS))]
    if not shown:
        return [spread(width, [(" no alarm", FAINT)], quiet)] if silent else []
    rows = []
    for i, alarm in enumerate(shown):
        more = len(bed.alarms) - len(shown) if i == len(shown) - 1 else 0
        right: list[Part] = [(f" +{more} more ", STRONG)] if more else []
        right += [(f" {_since(bed, alarm)} ", PLAIN), *(quiet if i == 0 else [])]
        room = width - sum(size(text) for text, _ in right)
        name, words = f" {named(alarm)} ", f" {glyphs.clean(alarm.text)} "
        style = UNLIT[alarm.priority] if standing(alarm) == "active" else QUIET[alarm.priority]
        text = elide(words, max(0, room - size(name)), glyphs) if room > size(name) else ""
        rows.append(spread(width, [(name, style_of(alarm, now_s)), (text, style)], right))
    return rows


def _since(bed: BedView, alarm: Alarm) -> str:
    """What became of an alarm: since when it goes on, whether it was acknowledged, when it was over."""
    if alarm.ended is not None:
        return f"{clock(alarm.onset)} over at {clock(alarm.ended)}"
    lasts = f"{clock(alarm.onset)} {_long(max(0, bed.head - alarm.onset))}"
    return lasts if alarm.acknowledged_s is None else f"acknowledged  {lasts}"


def _long(samples: int) -> str:
    seconds = samples // FS
    return f"{seconds} s" if seconds < 100 else f"{seconds // 60} min" if seconds < 6000 else f"{seconds // 3600} h"


def history(bed: BedView) -> list[Alarm]:
    """The last alarms of a bed as they stand now, the newest first."""
    known = {(alarm.run, alarm.condition, alarm.onset): alarm for alarm in (*bed.last_alarms, *bed.alarms)}
    return sorted(known.values(), key=lambda alarm: alarm.announced_s, reverse=True)


def last_alarms(bed: BedView, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """The last alarms, the newest first: when each began and ended, and when after its announcement it was seen to."""
    wide = width >= 43
    heading = "LAST ALARMS"
    rows = [title(heading, width, glyphs)]
    if wide:
        columns = f"{'over':>8}  {'seen':>7}"
        rows = [title(heading, width - len(columns) - 1, glyphs) + line(len(columns) + 1, (f" {columns}", FAINT))]
    for alarm in history(bed)[: max(0, height - 1)]:
        seen = "" if alarm.acknowledged_s is None else _long(round(FS * (alarm.acknowledged_s - alarm.announced_s)))
        over = None if alarm.ended is None else clock(alarm.ended)
        style = UNLIT[alarm.priority] if standing(alarm) == "active" else QUIET[alarm.priority]
        left: list[Part] = [(f"{clock(alarm.onset)} ", FAINT), (named(alarm), style)]
        if wide:
            right = f"{over or 'goes on':>8}  {f'+{seen}' if seen else '--':>7}"
        else:
            right = "goes on" if alarm.ended is None else span(max(0, alarm.ended - alarm.onset) / FS)
            right += " ack" if seen else ""
        rows.append(spread(width, left, [(f" {right}", PLAIN if over else STRONG)]))
    return rows


def counts(index: Sequence[Glance]) -> Counter[str]:
    """Beds by the priority of their most urgent alarm, those that are silenced, and those without data."""
    found = Counter[str](bed.priority for bed in index if bed.priority)
    found["silenced"] = sum(bed.silenced for bed in index)
    found["no data"] = sum(bed.state == "no data" for bed in index)
    return found


def unseen(index: Sequence[Glance]) -> set[Priority]:
    """The priorities of which some bed's most urgent alarm nobody has acknowledged."""
    return {bed.priority for bed in index if bed.priority and (bed.silenced or bed.audible == bed.priority)}


def ward_parts(index: Sequence[Glance], now_s: float) -> list[Part]:
    """How many beds have alarms, by priority, are silenced, or have no data."""
    found, waiting = counts(index), unseen(index)
    made: list[Part] = []
    for priority in PRIORITIES:
        count = found[priority]
        style = FAINT if not count else flashing(priority, now_s) if priority in waiting else QUIET[priority]
        made += [(f" {MARKS[priority]} {count} {priority} ", style), (" ", PLAIN)]
    made.append((f"{found['silenced']} silenced  ", PLAIN if found["silenced"] else FAINT))
    return [*made, (f"{found['no data']} no data ", EVENT_STYLES["gap"] if found["no data"] else FAINT)]


def elsewhere(index: Sequence[Glance], bed: str, now_s: float) -> list[Part]:
    """The alarms of the beds that are not looked at, without words; none where there are none."""
    others = [one for one in index if one.bed != bed]
    found, waiting = counts(others), unseen(others)
    styles = {one: flashing(one, now_s) if one in waiting else QUIET[one] for one in PRIORITIES}
    return [(f" {MARKS[one]} {found[one]} ", styles[one]) for one in PRIORITIES if found[one]]
