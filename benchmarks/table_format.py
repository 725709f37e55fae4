"""Markdown of the tables of figures."""

from collections.abc import Iterable, Sequence
from typing import Any

Results = dict[str, Any]


def build_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table of a head line and rows of cells."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("|" + "|".join(_cell(cell) for cell in line) + "|\n" for line in lines)


def _cell(text: str) -> str:
    return text if set(text) == {"-"} else f" {text} " if text else " "


def format_memory(megabytes: float) -> str:
    """Return megabytes with their unit, a thousand and more as gigabytes."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def source_line(figures: Results) -> str:
    """Return the line below a table that says when, with which version and where it was measured."""
    about = figures["about"]
    machine = about["machine"]
    where = f"{machine['cores']} cores, {machine['processor']}, Python {about['python']}"
    load = "" if machine["load"] is None else f", load average {machine['load']:g}"
    return f"\n*`{about['command']}`, {about['date']}, version {about['version']}; {where}{load}.*\n"
