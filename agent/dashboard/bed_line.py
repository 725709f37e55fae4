"""One bed in a line, or in two: what matters most of it, as far as there is room."""

from rich.style import Style

from agent.core.views import BedView, WardSnapshot
from agent.dashboard.alarm_lines import (
    alarm_age_s,
    alarm_label,
    alarm_phase,
    alarm_style,
    format_age_clock,
    is_of_earlier_run,
    named_first,
    other_bed_alarm_parts,
)
from agent.dashboard.alarm_state import quiet_parts
from agent.dashboard.frozen_picture import shown_snapshot
from agent.dashboard.header import NAME_CELLS, RankedPart, fit_ranked_parts
from agent.dashboard.lines import StyledLine, StyledPart, cell_width, elide_text, elide_words, spread_line, styled_line
from agent.dashboard.loss import find_loss, rate_age, rate_style, rate_text, state_words
from agent.dashboard.styles import FAINT, PLAIN, SELECTED, STRONG, GlyphSet
from agent.dashboard.view import DashboardView


def alarm_words(bed: BedView, place: int, shown_s: float) -> str:
    """Return mark, short name, phase and age of an alarm of a bed, such as !!! VT 0:12."""
    alarm = named_first(bed.alarms)[place]
    ended = " earlier" if is_of_earlier_run(alarm, bed) else " over"
    phase = {"active": "", "acknowledged": " ack", "over": ended}[alarm_phase(alarm)]
    age = "" if alarm.ended is not None else f" {format_age_clock(alarm_age_s(bed, alarm, shown_s))}"
    return f"{alarm_label(alarm)}{phase}{age}"


def is_past_by_loss(bed: BedView, shown: WardSnapshot) -> bool:
    """Return whether nothing comes now, while all its alarms are over: then the loss is worth more."""
    is_troubled = find_loss(bed, shown) is not None or bed.state not in ("ok", "learning", "paused")
    return is_troubled and bool(bed.alarms) and all(alarm.ended is not None for alarm in bed.alarms)


def rate_part(bed: BedView, shown: WardSnapshot, aged: bool = True) -> StyledPart:
    """Return the rate in words, and if it is the last one before a loss with its age, unless that stands beside it."""
    rate = rate_text(bed, shown)
    age = rate_age(bed, shown, rate) if aged else ""
    return f"HR {rate}{f' ({age} old)' if age else ''}", rate_style(bed, shown, rate, STRONG)


def whole_bed_line(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, width: int, glyphs: GlyphSet
) -> StyledLine:
    """Return a bed in the only line that there is: alarm and rate, a loss, its name, other alarms."""
    shown, now_s = shown_snapshot(snapshot, view), snapshot.now_s
    parts = _urgent_parts(bed, shown, now_s, glyphs)
    # The counts of other beds have their own spaces
    others = other_bed_alarm_parts(snapshot.index, bed.bed, now_s)
    counts: list[RankedPart] = [(2, (text.strip(), style)) for text, style in others]
    free = width - sum(cell_width(text) + 1 for _, (text, _) in (*parts, *counts))
    name = elide_text(glyphs.clean(bed.bed), max(NAME_CELLS, free), glyphs)
    return _spaced_line([*parts, (3, (name, STRONG)), *counts], width)


def named_bed_line(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, widths: tuple[int, int], glyphs: GlyphSet
) -> StyledLine:
    """Return a bed of a ward in one line of `widths` cells: its name in the second of them, then alarm and rate."""
    width, name_width = widths
    shown = shown_snapshot(snapshot, view)
    name = elide_text(glyphs.clean(bed.bed), name_width - 1, glyphs)
    rest = _spaced_line(_urgent_parts(bed, shown, snapshot.now_s, glyphs), width - name_width)
    gap = " " * (name_width - cell_width(name))
    return styled_line(name_width, (name, _name_style(bed, view)), (gap, PLAIN)) + rest


def narrow_bed_lines(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, width: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return a bed of a ward in two lines: name and rate, then its alarm or its state."""
    shown = shown_snapshot(snapshot, view)
    rate, rate_ink = rate_part(bed, shown)
    name = elide_text(glyphs.clean(bed.bed), max(3, width - cell_width(rate) - 1), glyphs)
    text, style = state_words(bed, shown, link=True)
    style = FAINT if bed.state == "ok" and not find_loss(bed, shown) else style
    quiet = quiet_parts(bed, snapshot.now_s, glyphs)
    if quiet and not bed.alarms and bed.state == "ok" and not find_loss(bed, shown):
        text, style = quiet[0]
    if bed.alarms and not is_past_by_loss(bed, shown):
        text, style = alarm_words(bed, 0, shown.now_s), alarm_style(named_first(bed.alarms)[0], snapshot.now_s)
    return [
        spread_line(width, [(name, _name_style(bed, view))], [(f" {rate}", rate_ink)]),
        styled_line(width, (" ", PLAIN), (elide_words(text, max(1, width - 1), glyphs), style)),
    ]


def _urgent_parts(bed: BedView, shown: WardSnapshot, now_s: float, glyphs: GlyphSet) -> list[RankedPart]:
    """Return alarm, rate, loss and the number of further alarms; a loss that is alarmed is said once."""
    rate = rate_part(bed, shown, aged=not (bed.alarms and named_first(bed.alarms)[0].condition == "no data"))
    quiet = quiet_parts(bed, now_s, glyphs)
    parts: list[RankedPart] = [*([] if bed.paused_until_s > now_s else [(4, ("no alarm", FAINT))]), (0, rate)]
    is_past = is_past_by_loss(bed, shown)
    if bed.alarms:
        alarm = alarm_words(bed, 0, shown.now_s), alarm_style(named_first(bed.alarms)[0], now_s)
        parts = [(2 if is_past else 0, alarm), (1, rate)]
    parts += [(1 + place + bool(bed.alarms), part) for place, part in enumerate(quiet)]
    is_lost = find_loss(bed, shown) or bed.state not in ("ok", "learning")
    if is_lost and not (bed.alarms and named_first(bed.alarms)[0].condition == bed.state):
        rank = 0 if is_past else 2 if bed.alarms else 1 if rate_age(bed, shown, rate_text(bed, shown)) else 0
        parts.append((rank, state_words(bed, shown, link=True)))
    return parts + more_alarm_parts(bed, 1, now_s, ("", 4))


def more_alarm_parts(bed: BedView, named: int, now_s: float, lead: tuple[str, int]) -> list[RankedPart]:
    """Return what goes on behind a single alarm that is over by its name, and how many more than `named` there are.

    `lead`: what stands in front of each part, and the rank of the number.
    """
    before, rank = lead
    more, alarms = len(bed.alarms) - named, named_first(bed.alarms)
    parts: list[RankedPart] = []
    if more > 0 and named == 1 and alarms[0].ended is not None and alarms[1].ended is None:
        parts.append((2, (f"{before}{alarm_label(alarms[1])}", alarm_style(alarms[1], now_s))))
        more -= 1
    return [*parts, (rank, (f"{before}+{more}", STRONG))] if more > 0 else parts


def _spaced_line(parts: list[RankedPart], width: int) -> StyledLine:
    """Return the parts with a space between each two, without those that have to give way."""
    spaced = [(rank, (f"{text} ", style)) for rank, (text, style) in parts]
    return styled_line(width, *fit_ranked_parts(spaced, width + 1))


def _name_style(bed: BedView, view: DashboardView) -> Style:
    return SELECTED if bed.bed == view.bed else STRONG
