"""Tables, numbers and times as both evaluation reports show them."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from model.text import format_clock

EvaluationReport = dict[str, Any]
"""A report as plain data: everything that is shown or written as JSON comes from it."""


def build_report_table(heads: Sequence[str | Column], rows: Iterable[Sequence[str]], section_rows: int = 0) -> Table:
    """Return a table for the terminal: the first column is text, the others are numbers unless given as a Column.

    A line follows the first `section_rows` rows.
    """
    columns = [
        head
        if isinstance(head, Column)
        else Column(head, justify="right", no_wrap=True)
        if place
        else Column(head, overflow="fold")
        for place, head in enumerate(heads)
    ]
    table = Table(*columns, box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for number, row in enumerate(rows, start=1):
        table.add_row(*row, end_section=number == section_rows)
    return table


def format_figure(value: float | None, digits: int = 2) -> str:
    """Return a number with a fixed number of decimals, "-" if it is not defined."""
    return "-" if value is None else f"{value:.{digits}f}"


def format_record_count(evaluated: int, skipped: int) -> str:
    """Return how many records were evaluated and skipped, in words."""
    return f"{evaluated} record{'' if evaluated == 1 else 's'}{f', {skipped} skipped' if skipped else ''}"


def format_clock_time(seconds: float, digits: int | None = None) -> str:
    """Return seconds as m:ss, with `digits` decimals; without `digits`, with three only if there is a fraction."""
    digits = (0 if seconds == int(seconds) else 3) if digits is None else digits
    return format_clock(seconds, digits, hour_digits=0)
