"""Colours and characters of the dashboard: each meaning has one colour, and can be read without colour, too."""

from dataclasses import dataclass

from rich.style import Style

from agent.core.views import LOSSES, BedStatus
from model.records.wfdb_records import CLASSES
from model.text import make_printable

PLAIN = Style()
STRONG = Style(bold=True)
FAINT = Style(color="bright_black")
TITLE = Style(color="bright_black", bold=True)
GOOD = Style(color="green")
NOTICE = Style(color="cyan", bold=True)
WARN = Style(color="yellow", bold=True, reverse=True)
ALARM = Style(color="red", bold=True, reverse=True)
SELECTED = Style(bold=True, reverse=True)

CLASS_COLOURS = dict(zip(CLASSES, ("green", "cyan", "red", "magenta", "yellow"), strict=True))
CLASS_STYLES = {name: Style(color=colour) for name, colour in CLASS_COLOURS.items()}
"""Style of the wave and bar of a class."""
CLASS_MARKS = {
    name: Style(color=colour, bold=name != "N", reverse=name in "VF") for name, colour in CLASS_COLOURS.items()
}
"""Style of the letter of a class: abnormal beats stand out, with colour or without."""

DOUBTFUL_MARKS = {name: Style(color=colour, dim=True) for name, colour in CLASS_COLOURS.items()}
"""Style of the letter of a class of which the net is not sure."""

STATE_STYLES: dict[BedStatus, tuple[str, Style]] = {
    "ok": ("monitoring", GOOD),
    "learning": ("learning", NOTICE),
    "lead off": ("LEAD OFF", WARN),
    "saturated": ("SATURATED", WARN),
    "no signal": ("NO SIGNAL", WARN),
    "no data": (LOSSES["no data"], WARN),
    "no monitor": (LOSSES["no monitor"], ALARM),
    "store away": (LOSSES["store away"], ALARM),
    "refused": ("REFUSED", ALARM),
    "ended": ("ENDED", SELECTED),
    "paused": ("PAUSED", SELECTED),
}
STORE_STYLES = {
    "waiting": ("waiting", NOTICE),
    "connected": ("fleet", GOOD),
    "lost": (LOSSES["store away"], ALARM),
}
"""The link to the store of a fleet."""
LINK_STYLES = {
    "waiting": ("waiting", NOTICE),
    "connected": ("connected", GOOD),
    "lost": ("LINK LOST", ALARM),
}
EVENT_STYLES = {
    "start": GOOD,
    "gap": Style(color="yellow"),
    "backfill": Style(color="cyan"),
    "signal": Style(color="yellow"),
    "refused": Style(color="red", bold=True),
    "alarm": PLAIN,
    "frame": Style(color="yellow"),
    "link": Style(color="cyan"),
    "record": Style(color="cyan"),
    "notify": Style(color="cyan"),
    "output": Style(color="yellow"),
    "end": FAINT,
}


@dataclass(frozen=True, slots=True)
class GlyphSet:
    """The characters to draw with; `ascii` for terminals that have no others."""

    ascii: bool
    rule: str
    full: str
    half: str
    track: str
    grid: str
    tick: str
    missing: str
    on: str
    off: str
    ellipsis: str
    bullet: str
    cursor: str
    steps: str
    about: str
    fine_tick: str

    def clean(self, text: str) -> str:
        """Return a text from outside without control characters, and in ASCII if the terminal has nothing else."""
        return make_printable(text, ascii_only=self.ascii)


UNICODE_GLYPHS = GlyphSet(False, "─", "━", "╸", "─", "·", "╵", "×", "●", "○", "…", "·", "▌", " ▁▂▃▄▅▆▇█", "≈", "·")  # noqa: RUF001 - the multiplication sign is meant
ASCII_GLYPHS = GlyphSet(True, "-", "=", "=", ".", " ", "|", "x", "*", "o", "~", "|", ">", " .:|", "~", ".")
