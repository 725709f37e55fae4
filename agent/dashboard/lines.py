"""Lines of exact width, and blocks of lines side by side."""

from collections.abc import Sequence
from textwrap import wrap

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from agent.core.messages import Beat
from agent.dashboard.styles import (
    ASCII_GLYPHS,
    CLASS_MARKS,
    DOUBTFUL_MARKS,
    FAINT,
    PLAIN,
    TITLE,
    UNICODE_GLYPHS,
    GlyphSet,
)
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.text import format_clock

StyledLine = list[Segment]
StyledPart = tuple[str, Style]
SENTENCE_NAME_CELLS = 24
"""Most cells of the name of a bed within a sentence."""
_CLASS_INDICES = {label: index for index, label in enumerate(CLASSES)}


def cell_width(text: str) -> int:
    """Return the number of terminal cells of a text."""
    return len(text) if text.isascii() else cell_len(text)


def styled_line(width: int, *parts: StyledPart) -> StyledLine:
    """Return the parts as a line, cut or padded to exactly `width` cells."""
    line = []
    room = width
    for text, style in parts:
        cells = len(text) if text.isascii() else cell_len(text)  # as `cell_width`, without the call
        if cells > room:
            text, cells = set_cell_size(text, room), room
        if cells:
            line.append(Segment(text, style))
            room -= cells
    if room:
        line.append(Segment(" " * room, PLAIN))
    return line


def spread_line(width: int, left: Sequence[StyledPart], right: Sequence[StyledPart]) -> StyledLine:
    """Return a line with a left and a right part; the right one stays whole if both do not fit."""
    taken = min(width, sum(cell_width(text) for text, _ in right))
    return styled_line(width - taken, *left) + styled_line(taken, *right)


def elide_text(text: str, width: int, glyphs: GlyphSet) -> str:
    """Return `text` in at most `width` cells, with an ellipsis if it is cut."""
    if cell_width(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + glyphs.ellipsis


def elide_words(text: str, width: int, glyphs: GlyphSet) -> str:
    """Return a sentence in at most `width` cells, with an ellipsis behind the last whole word if it is cut.

    A first word that does not fit is cut by itself.
    """
    elided = elide_text(text, width, glyphs)
    kept = elided.removesuffix(glyphs.ellipsis)
    if elided == text or text.startswith(f"{kept} "):
        return elided
    whole = kept.rpartition(" ")[0].rstrip()
    return f"{whole}{glyphs.ellipsis}" if whole else elided


def short_name(name: str, ascii_only: bool) -> str:
    """Return the name of a bed within a sentence, without control characters and cut where it is overlong."""
    glyphs = ASCII_GLYPHS if ascii_only else UNICODE_GLYPHS
    return elide_text(glyphs.clean(name), SENTENCE_NAME_CELLS, glyphs)


def wrap_text(text: str, width: int, taken: int, lines: int, glyphs: GlyphSet) -> list[str]:
    """Return a text as up to `lines` lines of at most `width` cells, broken at words where that can be.

    `taken`: cells of the first line that something else has.
    """
    if lines == 1:
        return [elide_words(text, max(1, width - taken), glyphs)]
    indent = "\N{NO-BREAK SPACE}" * taken
    first, *more = wrap(text, width, initial_indent=indent, max_lines=lines, placeholder=f" {glyphs.ellipsis}") or [""]
    return [elide_words(first[taken:], width - taken, glyphs), *(elide_words(line, width, glyphs) for line in more)]


def title_line(text: str, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return the heading of a block."""
    return styled_line(width, (text, TITLE), (" ", PLAIN), (glyphs.rule * max(0, width - cell_width(text) - 1), FAINT))


def fill_block_lines(block: list[StyledLine], width: int, height: int) -> list[StyledLine]:
    """Return the block, cut or padded to exactly `height` lines of `width` cells."""
    return block[:height] + [styled_line(width) for _ in range(height - len(block))]


def join_blocks(blocks: Sequence[tuple[list[StyledLine], int]], height: int, gap: int = 2) -> list[StyledLine]:
    """Return blocks, each with its width, side by side with `gap` empty columns between them."""
    filled = [fill_block_lines(block, width, height) for block, width in blocks]
    space = styled_line(gap)
    rows = []
    for parts in zip(*filled, strict=True):
        row = list(parts[0])
        for part in parts[1:]:
            row += space + part
        rows.append(row)
    return rows


def bar_parts(share: float, width: int, style: Style, glyphs: GlyphSet) -> list[StyledPart]:
    """Return a bar of `width` cells with `share` (0 to 1) of it filled; any share above zero shows."""
    halves = min(2 * width, max(round(share * 2 * width), int(share > 0)))
    filled = glyphs.full * (halves // 2) + glyphs.half * (halves % 2)
    return [(filled, style), (glyphs.track * (width - len(filled)), FAINT)]


def format_sample_clock(sample: int, tenths: bool = False) -> str:
    """Return the time of a sample at 125 Hz since the start of its record, as hours:minutes:seconds.

    Examples
    --------
    >>> format_sample_clock(125 * 3725)
    '01:02:05'
    """
    shown_s = max(0, sample) * 10 // FS / 10 if tenths else max(0, sample) // FS
    return format_clock(shown_s, decimals=int(tenths), hour_digits=2)


def label_index(label: str) -> int:
    """Return the position of a class in CLASSES; an unknown class counts as Q."""
    return _CLASS_INDICES.get(label, len(CLASSES) - 1)


def class_letter(beat: Beat, least_confidence: float, glyphs: GlyphSet) -> StyledPart:
    """Return the letter of a beat's class: dim, and small in ASCII, if the net was less sure than that."""
    name = CLASSES[label_index(beat.label)]
    if beat.confidence >= least_confidence:
        return name, CLASS_MARKS[name]
    return name.lower() if glyphs.ascii else name, DOUBTFUL_MARKS[name]
