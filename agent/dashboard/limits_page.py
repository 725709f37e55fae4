"""The limits page of a bed: what it has of its own beside what holds for all, with its heart rate now."""

from agent.core.alarm_settings import AlarmConfig, extreme_rate_limits
from agent.core.bed_settings import limits_in_force
from agent.core.views import WardSnapshot
from agent.dashboard.alarm_state import QUIET_STYLES, quiet_mark
from agent.dashboard.limits_draft import LABELS, LIMITS, ROWS, LimitKind, LimitsDraft
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    elide_text,
    elide_words,
    fill_block_lines,
    styled_line,
    title_line,
)
from agent.dashboard.loss import rate_text
from agent.dashboard.styles import FAINT, GOOD, NOTICE, PLAIN, SELECTED, STRONG, GlyphSet
from agent.dashboard.view import DashboardView

WORDS_WIDTH, VALUE_WIDTH = 23, 12
NARROW_WIDTH, SHORT_WORDS_WIDTH = 60, 13
"""Columns below which a limit has short words, and stands beside that of all beds only."""
NOT_SWITCHED = "asystole, VF, VT and extreme heart rates cannot be off: P pauses all alarms for a while"


def limits_lines(shown: WardSnapshot, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet) -> list[StyledLine]:
    """Return the limits page in `size` columns and lines, the chosen row always in sight."""
    width, height = size
    draft, base = view.draft, shown.base_limits
    if draft is None or base is None:
        return fill_block_lines([styled_line(width, (" no limits are known", FAINT))], width, height)
    bed = next((bed for bed in shown.beds if bed.bed == draft.bed), None)
    rate = rate_text(bed, shown) if bed else "--"
    name = elide_text(glyphs.clean(draft.bed), max(4, width - 30), glyphs)
    heading = title_line(f" LIMITS OF {name}   heart rate now {rate}", width, glyphs)
    lines, chosen = _rows(draft, base, rate, width, glyphs)
    room = max(1, height - 1)
    first = min(max(0, chosen - room // 2), max(0, len(lines) - room))
    return fill_block_lines([heading, *lines[first:]][:height], width, height)


def _rows(
    draft: LimitsDraft, base: AlarmConfig, rate: str, width: int, glyphs: GlyphSet
) -> tuple[list[StyledLine], int]:
    """Return all rows with what stands between them, and the place of the chosen one."""
    lines: list[StyledLine] = []
    chosen = 0
    for row in range(len(ROWS)):
        if row == len(LABELS):
            lines.append(styled_line(width))
        if row == len(LABELS) + len(LIMITS):
            lines += [styled_line(width), title_line(" ALARMS", width, glyphs)]
        if row == draft.row:
            chosen = len(lines)
        lines.append(_row_line(draft, row, base, rate, width, glyphs))
    lines.append(styled_line(width, (f" {elide_words(NOT_SWITCHED, width - 2, glyphs)}", FAINT)))
    return lines, chosen


def _row_line(draft: LimitsDraft, row: int, base: AlarmConfig, rate: str, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return a row: cursor, words, value, and what belongs to it."""
    kind = ROWS[row]
    is_chosen = row == draft.row
    words_width = WORDS_WIDTH
    edge: StyledPart = (glyphs.cursor if is_chosen else " ", STRONG)
    if isinstance(kind, LimitKind):
        words, parts = kind.words, _limit_parts(draft, kind, base, rate, is_chosen)
        if width < NARROW_WIDTH:
            words, words_width, parts = (
                kind.short,
                SHORT_WORDS_WIDTH,
                [
                    *parts[:2],
                    *(part for part in parts[2:] if part[0].startswith("all beds")),
                ],
            )
    elif row < len(LABELS):
        text = glyphs.clean(getattr(draft.settings, kind))
        room = max(4, width - WORDS_WIDTH - 4)
        text = elide_text(text, room, glyphs) if cell_width(text) <= room else f"{glyphs.ellipsis}{text[1 - room :]}"
        words, parts = kind, [(text, SELECTED if is_chosen and text else STRONG), ("_" if is_chosen else "", NOTICE)]
    else:
        words, parts = kind, _switch_parts(kind in draft.settings.off, is_chosen, glyphs)
    changed = getattr(draft.settings, _name(kind), None) != getattr(draft.before, _name(kind), None)
    changed |= isinstance(kind, str) and (kind in draft.settings.off) != (kind in draft.before.off)
    mark: StyledPart = ("*" if changed else " ", NOTICE)
    return styled_line(width, edge, (f"{words:<{words_width - 2}}", PLAIN), mark, *parts)


def _name(kind: str | LimitKind) -> str:
    return kind.name if isinstance(kind, LimitKind) else kind


def _limit_parts(
    draft: LimitsDraft, kind: LimitKind, base: AlarmConfig, rate: str, is_chosen: bool
) -> list[StyledPart]:
    """Return the value of a limit, the rate beside it, what follows from it, and what holds for all beds."""
    own = getattr(draft.settings, kind.name)
    limits = limits_in_force(draft.settings, base)
    value = f"{getattr(limits, kind.name):g} {kind.unit}"
    style = SELECTED if is_chosen else STRONG if own is not None else PLAIN
    parts: list[StyledPart] = [(value, style), (" " * max(1, VALUE_WIDTH - len(value)), PLAIN)]
    if kind.name.startswith("rate_"):
        above, below = extreme_rate_limits(limits)
        parts.append((f"now {rate:>3}  ", GOOD if rate != "--" else FAINT))
        extreme = f"extreme above {above:g}" if kind.name == "rate_high_bpm" else f"extreme below {below:g}"
        parts.append((f"{extreme}  ", FAINT))
    if own is not None:
        parts.append((f"all beds {getattr(base, kind.name):g}{' s' if kind.unit == 's' else ''}", FAINT))
    return parts


def _switch_parts(is_off: bool, is_chosen: bool, glyphs: GlyphSet) -> list[StyledPart]:
    text = f"{quiet_mark('alarm off', glyphs)} ALARM OFF" if is_off else "on"
    return [(text, SELECTED if is_chosen else QUIET_STYLES["alarm off"] if is_off else PLAIN)]
