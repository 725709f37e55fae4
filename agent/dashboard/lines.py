"""Lines of exact width, and blocks of lines put side by side."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from agent.dashboard.styles import FAINT, PLAIN, TITLE, Glyphs
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

Line = list[Segment]
Part = tuple[str, Style]
_INDICES = {label: index for index, label in enumerate(CLASSES)}


def size(text: str) -> int:
    """Terminal cells that a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def line(width: int, *parts: Part) -> Line:
    """The parts, cut or padded to exactly `width` cells."""
    made, room = [], width
    for text, style in parts:
        cells = len(text) if text.isascii() else cell_len(text)  # as `size`, without the call
        if cells > room:
            text, cells = set_cell_size(text, room), room
        if cells:
            made.append(Segment(text, style))
            room -= cells
    if room:
        made.append(Segment(" " * room, PLAIN))
    return made


def spread(width: int, left: Sequence[Part], right: Sequence[Part]) -> Line:
    """One line with a left and a right part; the right one is kept whole where both do not fit."""
    taken = min(width, sum(size(text) for text, _ in right))
    return line(width - taken, *left) + line(taken, *right)


def elide(text: str, width: int, glyphs: Glyphs) -> str:
    """`text` in at most `width` cells, with a mark where some of it is left out."""
    if size(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + glyphs.ellipsis


def title(text: str, width: int, glyphs: Glyphs) -> Line:
    """The heading of a block."""
    return line(width, (text, TITLE), (" ", PLAIN), (glyphs.rule * max(0, width - size(text) - 1), FAINT))


def fill(block: list[Line], width: int, height: int) -> list[Line]:
    """The block, cut or padded to exactly `height` lines of `width` cells."""
    return block[:height] + [line(width) for _ in range(height - len(block))]


def beside(blocks: Sequence[tuple[list[Line], int]], height: int, gap: int = 2) -> list[Line]:
    """Blocks, each with its width, side by side with `gap` empty columns between them."""
    filled = [fill(block, width, height) for block, width in blocks]
    space = line(gap)
    rows = []
    for parts in zip(*filled, strict=True):
        row = list(parts[0])
        for part in parts[1:]:
            row += space + part
        rows.append(row)
    return rows


def bar(share: float, width: int, style: Style, glyphs: Glyphs) -> list[Part]:
    """A bar of `width` cells, `share` (0..1) of it filled; any share above zero shows."""
    halves = min(2 * width, max(round(share * 2 * width), int(share > 0)))
    filled = glyphs.full * (halves // 2) + glyphs.half * (halves % 2)
    return [(filled, style), (glyphs.track * (width - len(filled)), FAINT)]


def clock(sample: int, tenths: bool = False) -> str:
    """Time of a sample since the start of its record, as hours:minutes:seconds."""
    seconds, rest = divmod(max(0, sample), FS)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{rest * 10 // FS}" if tenths else text


def label_index(label: str) -> int:
    """Position of a class in CLASSES; an unknown one counts as Q."""
    return _INDICES.get(label, len(CLASSES) - 1)
