"""A frame as an SVG picture for documents: text as text; dots, blocks and backgrounds as shapes.

So every viewer shows the same picture: it loads no fonts, and the Braille dots do not depend on the reader's font.
"""

from xml.sax.saxutils import escape

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from agent.core.views import WardSnapshot
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.view import DashboardView

CELL_WIDTH, CELL_HEIGHT = 8.4, 18
PICTURE_MARGIN = 14
BACKGROUND, FOREGROUND = "#10151c", "#d5dce4"
SVG_COLOURS = {
    "green": "#5fd38a",
    "cyan": "#56c8e8",
    "red": "#ff6b6b",
    "magenta": "#d98bf0",
    "yellow": "#ecc257",
    "bright_black": "#56616f",
}
FONT_FAMILY = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
BRAILLE_PLACES = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and row of each bit of a Braille character."""
BLOCK_SHAPES = {"▀": (0.0, 1.0, 0.5), "▌": (0.0, 0.5, 1.0)}
BLOCK_SHAPES |= {char: (1 - (i + 1) / 8, 1.0, (i + 1) / 8) for i, char in enumerate("▁▂▃▄▅▆▇█")}
"""Top, width and height of block characters, in cells."""
RULE_THICKNESS = {"─": 1.0, "━": 3.5, "╸": 3.5}
"""Thickness of horizontal lines, in pixels."""


def draw_dashboard_svg(snapshot: WardSnapshot, view: DashboardView, width: int, height: int) -> str:
    """Draw the frame of a snapshot as an SVG document.

    Parameters
    ----------
    snapshot
        What to show, with the shown beds in full.
    view
        How to show it; it need not be laid out.
    width, height
        Size of the frame in cells and lines.

    Returns
    -------
    str
        The document, the same for the same arguments.
    """
    shapes = []
    view = layout_view(snapshot, view, width, height)
    for row, line in enumerate(render_frame(snapshot, view, width, height).lines):
        column = 0
        for segment in line:
            shapes += _segment_shapes(segment, column, row)
            column += cell_len(segment.text)
    wide, tall = width * CELL_WIDTH + 2 * PICTURE_MARGIN, height * CELL_HEIGHT + 2 * PICTURE_MARGIN
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {tall:g}" font-size="14" '
            f'font-family="{FONT_FAMILY}" xml:space="preserve">',
            f'<rect width="{wide:g}" height="{tall:g}" rx="8" fill="{BACKGROUND}"/>',
            f'<g transform="translate({PICTURE_MARGIN} {PICTURE_MARGIN})">',
            *shapes,
            "</g>\n</svg>\n",
        )
    )


def _segment_shapes(segment: Segment, column: int, row: int) -> list[str]:
    style = segment.style or Style()
    ink = SVG_COLOURS.get(style.color.name if style.color else "", FOREGROUND)
    x, y = column * CELL_WIDTH, row * CELL_HEIGHT
    shapes = []
    if style.reverse:
        length = cell_len(segment.text) * CELL_WIDTH
        shapes.append(f'<rect x="{x:g}" y="{y}" width="{length:g}" height="{CELL_HEIGHT}" rx="2" fill="{ink}"/>')
        ink = BACKGROUND
    path = "".join(
        _char_path(char, x + i * CELL_WIDTH, y) for i, char in enumerate(segment.text) if _is_drawn_char(char)
    )
    if path:
        shapes.append(f'<path d="{path}" fill="{ink}"/>')
    return shapes + _svg_words(segment.text, (x, y), ink, style)


def _svg_words(text: str, corner: tuple[float, float], ink: str, style: Style) -> list[str]:
    """Return the words of a text, each at its own place so that fonts of any width stay within their cells."""
    plain = "".join(" " * cell_len(char) if _is_drawn_char(char) else char for char in text)
    words = []
    start = 0
    for word in plain.split(" "):
        if word:
            x = corner[0] + cell_len(plain[:start]) * CELL_WIDTH
            length = cell_len(word) * CELL_WIDTH
            place = f'x="{x:.1f}" y="{corner[1] + 13.5:g}" textLength="{length:.1f}"'
            looks = ' font-weight="bold"' * bool(style.bold) + ' fill-opacity="0.5"' * bool(style.dim)
            words.append(f'<text {place} fill="{ink}"{looks}>{escape(word)}</text>')
        start += len(word) + 1
    return words


def _is_drawn_char(char: str) -> bool:
    return "\u2800" <= char <= "\u28ff" or char in BLOCK_SHAPES or char in RULE_THICKNESS


def _char_path(char: str, x: float, y: float) -> str:
    """Return the path of a character that is drawn as a shape."""
    if char in BLOCK_SHAPES:
        top, wide, tall = BLOCK_SHAPES[char]
        # Slightly larger than its cell, so that no gap shows between two rows
        return _box_path(x - 0.25, y + top * CELL_HEIGHT, wide * CELL_WIDTH + 0.5, tall * CELL_HEIGHT + 0.5)
    if char in RULE_THICKNESS:
        length = CELL_WIDTH / 2 if char == "╸" else CELL_WIDTH
        return _box_path(x, y + (CELL_HEIGHT - RULE_THICKNESS[char]) / 2, length, RULE_THICKNESS[char])
    bits = ord(char) - 0x2800
    return "".join(
        _box_path(x + (across + 0.5) * CELL_WIDTH / 2 - 1.3, y + (down + 0.5) * CELL_HEIGHT / 4 - 1.6, 2.6, 3.2)
        for bit, (across, down) in enumerate(BRAILLE_PLACES)
        if bits >> bit & 1
    )


def _box_path(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"
