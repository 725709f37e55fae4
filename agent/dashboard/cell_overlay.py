"""Characters put over lines that are drawn already: cursors, marks, labels."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style

from agent.dashboard.lines import StyledLine, cell_width


def overlay_text(line: StyledLine, column: int, text: str, style: Style) -> StyledLine:
    """Return a line with a text from a column on, cut at both ends of the line; all characters are one cell wide."""
    width = sum(cell_width(part.text) for part in line)
    begin, end = max(0, column), min(width, column + len(text))
    if end <= begin:
        return line
    middle = Segment(text[begin - column : end - column], style)
    return [*_cut(line, 0, begin), middle, *_cut(line, end, width)]


def overlay_cursor(block: Sequence[StyledLine], column: int, char: str, style: Style) -> list[StyledLine]:
    """Return lines with a vertical line where a column is blank; what is drawn there keeps its character."""
    lines = []
    for line in block:
        known = "".join(part.text for part in _cut(line, column, column + 1))
        lines.append(overlay_text(line, column, char if known in (" ", "·", "") else known, style))
    return lines


def _cut(line: StyledLine, begin: int, end: int) -> StyledLine:
    """Return the cells from `begin` to before `end`."""
    out: StyledLine = []
    at = 0
    for part in line:
        first, last = max(begin - at, 0), min(end - at, len(part.text))
        if last > first:
            out.append(Segment(part.text[first:last], part.style))
        at += len(part.text)
    return out
