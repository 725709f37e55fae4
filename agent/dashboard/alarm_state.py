"""Alarms that are off or paused, and who lies in a bed: words, marks and colours that nothing hides.

Three states that must not be taken for each other (IEC 60601-1-8). AUDIO PAUSED: alarms are seen, and make no sound.
ALARMS PAUSED: none is told, for a while. ALARM OFF: one kind is never told, until a person turns it on.
"""

from collections.abc import Sequence
from typing import Literal

from rich.style import Style

from agent.core.views import BedSummary, BedView
from agent.dashboard.lines import StyledLine, StyledPart, cell_width, elide_text, elide_words, spread_line
from agent.dashboard.styles import FAINT, PLAIN, GlyphSet
from model.text import format_clock

QuietKind = Literal["audio paused", "alarms paused", "alarm off"]
QUIET_MARKS: dict[QuietKind, tuple[str, str]] = {
    "audio paused": ("♪", "[~]"),
    "alarms paused": ("◌", "[:]"),
    "alarm off": ("⊗", "[X]"),
}
"""The mark of each state, and that in ASCII: a broken ring for what ends by itself, a crossed one for what does not."""
QUIET_STYLES: dict[QuietKind, Style] = {
    "audio paused": Style(color="yellow"),
    "alarms paused": Style(color="magenta", bold=True, reverse=True),
    "alarm off": Style(color="magenta", bold=True),
}
LEAST_LABEL_CELLS = 4


def quiet_mark(kind: QuietKind, glyphs: GlyphSet) -> str:
    """Return the mark of a state."""
    return QUIET_MARKS[kind][glyphs.ascii]


def pause_left(bed: BedView | BedSummary, now_s: float) -> str:
    """Return for how long the alarms of a bed are paused, "" if they are not."""
    left_s = max(0, round(bed.paused_until_s - now_s))
    return format_clock(left_s, hour_digits=0) if bed.paused_until_s else ""


def bed_labels(bed: BedView | BedSummary, glyphs: GlyphSet) -> str:
    """Return who lies in a bed and where, "" if nobody said so."""
    settings = bed.settings
    return glyphs.clean("  ".join(label for label in (settings.patient, settings.place) if label))


def alarm_state_lines(bed: BedView, now_s: float, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return who lies in a bed, and what of its alarms is paused or off, in one line; no line if there is nothing."""
    right = _state_parts(bed, now_s, width, glyphs)
    taken = sum(cell_width(text) for text, _ in right)
    labels = bed_labels(bed, glyphs)
    if not (right or labels):
        return []
    left: list[StyledPart] = []
    if width - taken > LEAST_LABEL_CELLS + 2:
        left = [(f" {elide_text(labels, width - taken - 2, glyphs)}", PLAIN)]
    return [spread_line(width, left, right)]


def _state_parts(bed: BedView, now_s: float, width: int, glyphs: GlyphSet) -> list[StyledPart]:
    parts: list[StyledPart] = []
    if left := pause_left(bed, now_s):
        text = f" {quiet_mark('alarms paused', glyphs)} ALARMS PAUSED {left} "
        parts += [(text, QUIET_STYLES["alarms paused"]), (" ", PLAIN)]
    if off := bed.settings.off:
        mark, room = quiet_mark("alarm off", glyphs), width - sum(cell_width(text) for text, _ in parts) - 1
        words = f"{mark} ALARM OFF: {', '.join(off)}"
        words = words if cell_width(words) <= room * 2 // 3 else f"{mark} {len(off)} ALARMS OFF"
        parts.append((f"{elide_words(words, room, glyphs)} ", QUIET_STYLES["alarm off"]))
    return parts


def card_pause_parts(bed: BedView, now_s: float, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Return the pause of a bed's alarms for its card in `room` cells, nothing if there is none."""
    left, mark = pause_left(bed, now_s), quiet_mark("alarms paused", glyphs)
    texts = (f"{mark} ALARMS PAUSED {left}", f"{mark} PAUSED {left}", f"PAUSED {left}")
    text = next((text for text in texts if cell_width(text) <= room), texts[-1])
    return [(elide_words(text, room, glyphs), QUIET_STYLES["alarms paused"])] if left else []


def quiet_parts(bed: BedView, now_s: float, glyphs: GlyphSet) -> list[StyledPart]:
    """Return in few cells what of a bed's alarms is paused and how many are off; nothing if none is."""
    parts: list[StyledPart] = []
    if left := pause_left(bed, now_s):
        parts.append((f"PAUSED {left}", QUIET_STYLES["alarms paused"]))
    if off := bed.settings.off:
        parts.append((f"{quiet_mark('alarm off', glyphs)}{len(off)} OFF", QUIET_STYLES["alarm off"]))
    return parts


def card_name_parts(bed: BedView, name: str, style: Style, room: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Return the name of a bed for its card in `room` cells: behind it what is off, and who lies there if that fits."""
    mark = f" {quiet_mark('alarm off', glyphs)}{len(bed.settings.off)}" if bed.settings.off else ""
    name = elide_text(name, room - cell_width(mark), glyphs)
    labels, free = bed_labels(bed, glyphs), room - cell_width(name) - cell_width(mark) - 1
    labels = f" {elide_text(labels, free, glyphs)}" if labels and free >= LEAST_LABEL_CELLS else ""
    return [(name, style), (mark, QUIET_STYLES["alarm off"]), (labels, FAINT)]


def ward_state_parts(index: Sequence[BedSummary], glyphs: GlyphSet, is_short: bool = False) -> list[StyledPart]:
    """Return how many beds have their alarms paused, and how many have some off; nothing if none has.

    `is_short`: without words.
    """
    paused, off = sum(bed.paused_until_s > 0 for bed in index), sum(bool(bed.settings.off) for bed in index)
    parts: list[StyledPart] = []
    if paused:
        parts += [
            (
                f" {quiet_mark('alarms paused', glyphs)} {paused}{'' if is_short else ' paused'} ",
                QUIET_STYLES["alarms paused"],
            )
        ]
    if off:
        parts += [
            (
                f" {quiet_mark('alarm off', glyphs)} {off}{'' if is_short else ' with alarms off'} ",
                QUIET_STYLES["alarm off"],
            )
        ]
    return parts
