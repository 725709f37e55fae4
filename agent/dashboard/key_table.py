"""All keys of the dashboard in one table, from which the bottom line, `monitor --help` and README.md have them.

The more important ones come first: the bottom line shows as many as fit.
"""

from dataclasses import dataclass
from typing import Literal

KeyBar = Literal["bed", "ward", "past", "replay"]
"""A picture with a bottom line of keys; replay: that of a bed or ward whose replay this monitor has started."""


@dataclass(frozen=True, slots=True)
class KeyHelp:
    """One key or several that belong together.

    keys, label
        What to press, and one word about it for the bottom line.
    meaning
        The whole of it, for help.
    bars
        Which bottom lines show it.
    others
        Further keys that do the same.
    """

    keys: str
    label: str
    meaning: str
    bars: tuple[KeyBar, ...] = ("bed", "ward", "past")
    others: str = ""


KEYS = (
    KeyHelp("q", "quit", "quit"),
    KeyHelp("?", "help", "help: all keys, marks and panels, and the limits of the bed"),
    KeyHelp("n p", "bed", "next and previous bed", others="arrows and page keys"),
    KeyHelp("k", "acknowledge", "acknowledge the alarms of a bed"),
    KeyHelp("m", "silence", "silence a bed for a while, or let it sound again"),
    KeyHelp("P", "pause", "pause all alarms of a bed for a while, or let them come again"),
    KeyHelp("l", "limits", "limits, labels and alarms that are off of a bed"),
    KeyHelp("enter", "open", "open the chosen bed", ("ward",)),
    KeyHelp("o", "ward", "the ward, or one bed", ("bed",)),
    KeyHelp("/", "find", "find a bed by its name", ("bed", "ward")),
    KeyHelp("s", "order", "order the beds by urgency or by arrival", ("ward",)),
    KeyHelp("space", "freeze", "freeze the picture, and go on", ("bed", "ward")),
    KeyHelp("b", "bell", "bell on or off"),
    KeyHelp("+ -", "gain", "height of the trace", ("bed",)),
    KeyHelp("< >", "time", "seconds across the screen", ("bed",)),
    KeyHelp("a", "auto", "height and seconds automatic", ("bed",)),
    KeyHelp("t", "trend", "the trend of a bed: heart rate, V and S beats, what is missing", ("bed",)),
    KeyHelp("A", "alarms", "the alarms of a bed, each with its strip", ("bed",)),
    KeyHelp("c", "calipers", "freeze, and measure with two cursors", ("bed",)),
    KeyHelp("2", "lead", "a second lead below the first", ("bed",)),
    KeyHelp("x", "pause replay", "of a replay that this command started: pause, and go on", ("replay",)),
    KeyHelp("{ }", "10 s", "of such a replay: ten seconds back or on", ("replay",)),
    KeyHelp("( )", "speed", "of such a replay: half or twice the speed", ("replay",)),
)

PAGE_BARS: dict[str, tuple[tuple[str, str], ...]] = {
    "help": (("esc", "back"), ("arrows", "move"), ("k", "acknowledge"), ("m", "silence"), ("P", "pause")),
    "limits": (
        ("enter", "apply"),
        ("esc", "leave"),
        ("up down", "choose"),
        ("left right", "change"),
        ("space", "off or on"),
        ("backspace", "as for all"),
        ("m", "silence"),
    ),
}
"""Keys and labels in the bottom line of the pages that a key opens."""
TYPING_BAR = (("enter", "apply"), ("esc", "leave"), ("esc, then m", "silence"), ("up down", "choose"))
"""The same where all characters belong to a label."""


def keys_sentence() -> str:
    """Return all keys in one sentence, for the help of a command."""
    parts = [f"{key.keys} {key.meaning}" + (f" (also {key.others})" if key.others else "") for key in KEYS]
    return f"Keys: {'; '.join(parts)}."


def keys_markdown() -> str:
    """Return all keys as the rows of a table in Markdown."""
    rows = []
    for key in KEYS:
        names = ", ".join(f"`{name}`" for name in key.keys.split())
        rows.append(f"| {names}{f', {key.others}' if key.others else ''} | {key.meaning} |")
    return "\n".join(["| key | what it does |", "|---|---|", *rows])
