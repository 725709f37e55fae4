"""The blocks of the report as flowables of ReportLab's platypus, which places them on the pages.

No block that cannot be broken is much higher than a third of a page, so that no page is left near-empty before one.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Flowable, Paragraph, Spacer, Table

from agent.report.document import (
    FigureGrid,
    NamedSentences,
    PlainBlock,
    ReportBlock,
    ReportFigure,
    ReportNote,
    ReportTable,
    SideBySide,
    SummaryTile,
    SummaryTiles,
)
from agent.report.pdf_picture import HELVETICA, choose_font, draw_picture
from agent.report.picture import COLUMN_GAP, GREY, INK, LINE, PALE, WIDTH, Picture, column_width

TABLE_SPACE = 62.0
"""Points that a table needs below it on the page; with less it begins on the next page."""
HIGHEST_PICTURE = 465.0
"""A picture that is higher is made smaller: platypus raises an error for what fits no page."""
BODY_SIZE, SMALL_SIZE, TITLE_SIZE, DETAIL_SIZE = 9.0, 8.0, 9.5, 6.8
TILES_PER_ROW = 8
TILE_GAP = 5.0
TILE_PADDING = 5.0
MOST_KEPT_ROWS = 10
"""Rows of a table that is never broken."""
MOST_CELL_LINES = 8
"""Lines of average letters that a cell may take: a row higher than a page could not be placed."""
MOST_DETAIL_LINES = 2
"""Lines below the title of a small figure."""
SENTENCE_NAME_WIDTH = 128.0
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

TextAlignment = Literal["l", "r"]
TableStyleCommand = tuple[str, tuple[int, int], tuple[int, int], float]


class DrawnBlock(Flowable):
    """A block of fixed size; `draw_on` gets the canvas with the origin at the block's lower left corner."""

    def __init__(self, height: float, draw_on: Callable[[Canvas], None], width: float = WIDTH) -> None:
        super().__init__()
        self.width, self.height = width, height
        self._draw_on = draw_on

    def draw(self) -> None:
        """Draw the block; platypus calls this once its place is known."""
        self._draw_on(self.canv)


def build_block_flowables(block: ReportBlock, width: float = WIDTH, gap: float = 1.0) -> list[Flowable]:
    """Return a block as flowables that belong together; `gap` scales the space below it, and of its rows."""
    if isinstance(block, ReportNote):
        size = SMALL_SIZE - 0.5 if block.small else BODY_SIZE
        return [build_paragraph(block.text, size, width, most_lines=40), Spacer(0, 5 * gap)]
    if isinstance(block, ReportTable):
        return _table_flowables(block, width, gap)
    if isinstance(block, SummaryTiles):
        rows = [block.tiles[i : i + TILES_PER_ROW] for i in range(0, len(block.tiles), TILES_PER_ROW)]
        return [_tile_row(row, width, gap) for row in rows]
    if isinstance(block, NamedSentences):
        return [_sentence_table(block), Spacer(0, 5 * gap)]
    if isinstance(block, FigureGrid):
        rows_of = [block.figures[i : i + block.per_row] for i in range(0, len(block.figures), block.per_row)]
        return [flowable for row in rows_of for flowable in _figure_row(row, block.per_row, width, gap)]
    if isinstance(block, SideBySide):
        return [_column_table(block, width, gap), Spacer(0, 4 * gap)]
    return _figure_flowables(block, width, gap)


def is_breakable(block: ReportBlock) -> bool:
    """Return whether a block may go on over several pages."""
    if isinstance(block, ReportTable):
        return len(block.rows) > MOST_KEPT_ROWS
    return isinstance(block, FigureGrid | NamedSentences | ReportNote)


def build_paragraph(
    text: str,
    size: float,
    width: float,
    colour: str = INK,
    bold: bool = False,
    side: TextAlignment = "l",
    most_lines: int = MOST_CELL_LINES,
) -> Paragraph:
    """Return a paragraph, cut where it would take more than about `most_lines` lines."""
    shown = shorten_text(text, size, width, most_lines)
    return Paragraph(_text_markup(shown, size, colour, bold), _paragraph_style(size, side))


def shorten_text(text: str, size: float, width: float, most_lines: int = MOST_CELL_LINES) -> str:
    """Return the text, cut where it would take more than about `most_lines`: letters are half as wide as high."""
    most = int(most_lines * width / (0.5 * size))
    return text if len(text) <= most else text[: most - 1].rstrip() + ELLIPSIS


def cell_padding(left: float, right: float, top: float, bottom: float) -> list[TableStyleCommand]:
    """Return the style of a table whose cells all have this padding, in points."""
    values = {"LEFTPADDING": left, "RIGHTPADDING": right, "TOPPADDING": top, "BOTTOMPADDING": bottom}
    return [(name, (0, 0), (-1, -1), value) for name, value in values.items()]


def _column_table(block: SideBySide, width: float, gap: float) -> Flowable:
    """Columns of blocks as one row of a table that is never broken."""
    cells: list[list[Flowable]] = []
    widths: list[float] = []
    for column, share in zip(block.columns, block.shares, strict=True):
        inner = column_width(width, share, len(block.columns))
        cells += [[flowable for one in column for flowable in _column_flowables(one, inner, gap)], []]
        widths += [inner, COLUMN_GAP]
    table = Table([cells[:-1]], widths[:-1], hAlign="LEFT")
    table.setStyle([*cell_padding(0, 0, 0, 0), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return table


def _column_flowables(block: PlainBlock, width: float, gap: float) -> list[Flowable]:
    # A break cannot be inside a column.
    return [flow for flow in build_block_flowables(block, width, gap) if not isinstance(flow, CondPageBreak)]


def _sentence_table(block: NamedSentences) -> Flowable:
    width = WIDTH - SENTENCE_NAME_WIDTH
    rows = [
        [
            build_paragraph(name, BODY_SIZE, SENTENCE_NAME_WIDTH - 8, bold=True),
            build_paragraph(text, BODY_SIZE, width - 4),
        ]
        for name, text in block.rows
    ]
    table = Table(rows, [SENTENCE_NAME_WIDTH, width], hAlign="LEFT")
    table.setStyle([*cell_padding(0, 4, 0.8, 1.6), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return table


def _tile_row(tiles: tuple[SummaryTile, ...], whole: float, gap: float) -> Flowable:
    """Framed tiles side by side, with empty columns as the gaps between them."""
    width = (whole - TILE_GAP * (TILES_PER_ROW - 1)) / TILES_PER_ROW
    columns = range(0, 2 * len(tiles), 2)
    cells: list[list[Flowable] | str] = [""] * (2 * len(tiles) - 1)
    for column, tile in zip(columns, tiles, strict=True):
        cells[column] = [
            build_paragraph(tile.name, DETAIL_SIZE, width - 2 * TILE_PADDING, GREY),
            build_paragraph(tile.value, 13, width - 2 * TILE_PADDING, tile.colour or INK, bold=True),
            build_paragraph(tile.note, DETAIL_SIZE, width - 2 * TILE_PADDING, GREY),
        ]
    widths = [width if column in columns else TILE_GAP for column in range(len(cells))]
    row = Table([cells], widths, hAlign="LEFT", spaceAfter=TILE_GAP * gap)
    frames = [("BOX", (column, 0), (column, 0), 0.7, HexColor(LINE)) for column in columns]
    row.setStyle([*cell_padding(TILE_PADDING, TILE_PADDING, 2, 3), *frames, ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return row


def _figure_flowables(figure: ReportFigure, width: float, gap: float) -> list[Flowable]:
    """A caption and the picture below it."""
    caption = []
    if figure.letter:
        chip = _text_markup(f" {figure.letter} ".replace(" ", "\N{NO-BREAK SPACE}"), SMALL_SIZE, "#ffffff", bold=True)
        caption.append(f'<font backColor="{figure.colour}">{chip}</font>')
    if figure.title:
        caption.append(_text_markup(shorten_text(figure.title, TITLE_SIZE, width), TITLE_SIZE, INK, bold=True))
    if figure.details:
        caption.append(_text_markup(shorten_text(figure.details, SMALL_SIZE, width), SMALL_SIZE, GREY))
    scale = min(1.0, width / figure.picture.width, HIGHEST_PICTURE / figure.picture.height)
    height = scale * figure.picture.height
    picture = DrawnBlock(height, partial(_draw_scaled_picture, figure.picture, scale), width)
    parts: list[Flowable] = [picture, Spacer(0, 6 * gap)]
    if caption:
        space = "\N{NO-BREAK SPACE} "
        parts.insert(0, Paragraph(space.join(caption), _paragraph_style(TITLE_SIZE, "l", 3.0)))
    return parts


def _figure_row(figures: Sequence[ReportFigure], per_row: int, whole: float, gap: float) -> list[Flowable]:
    """Small figures side by side, drawn at once: hundreds of paragraphs would take several times as long."""
    width = column_width(whole, 1 / per_row, per_row)
    details = [
        simpleSplit(figure.details, HELVETICA[False], DETAIL_SIZE, width)[:MOST_DETAIL_LINES] if figure.details else []
        for figure in figures
    ]
    caption = 11.5 + (DETAIL_SIZE + 1.2) * max(map(len, details))
    tallest = max(figure.picture.height for figure in figures)
    height = caption + tallest

    def draw(canvas: Canvas) -> None:
        for i, figure in enumerate(figures):
            canvas.saveState()
            canvas.translate(i * (width + COLUMN_GAP), height)
            _draw_small_caption(canvas, figure, details[i], width)
            canvas.translate(0, -caption - figure.picture.height)
            draw_picture(canvas, figure.picture)
            canvas.restoreState()

    return [DrawnBlock(height, draw, whole), Spacer(0, 5 * gap)]


def _draw_small_caption(canvas: Canvas, figure: ReportFigure, details: Sequence[str], width: float) -> None:
    """Draw the letter, the title and the details below the origin."""
    x = 0.0
    if figure.letter:
        chip = pdfmetrics.stringWidth(figure.letter, HELVETICA[True], DETAIL_SIZE) + 5
        canvas.setFillColor(HexColor(figure.colour))
        canvas.rect(0, -9.5, chip, 9, stroke=0, fill=1)
        canvas.setFillColor(HexColor("#ffffff"))
        canvas.setFont(HELVETICA[True], DETAIL_SIZE)
        canvas.drawString(2.5, -7.4, figure.letter)
        x = chip + 4
    _draw_fitting_text(canvas, (x, -8.0), figure.title, width - x, bold=True)
    canvas.setFillColor(HexColor(GREY))
    for number, line in enumerate(details):
        font, shown = choose_font(line, bold=False)
        canvas.setFont(font, DETAIL_SIZE)
        canvas.drawString(0, -8.0 - (number + 1) * (DETAIL_SIZE + 1.2), shown)


def _draw_fitting_text(canvas: Canvas, at: tuple[float, float], text: str, width: float, bold: bool) -> None:
    """Write a line of text, cut where it is wider than there is room."""
    font, shown = choose_font(text, bold)
    if pdfmetrics.stringWidth(shown, font, SMALL_SIZE) > width:
        shown = shorten_text(shown, SMALL_SIZE, width, 1)
        while len(shown) > 1 and pdfmetrics.stringWidth(shown, font, SMALL_SIZE) > width:
            shown = shown[:-2] + ELLIPSIS
    canvas.setFillColor(HexColor(INK))
    canvas.setFont(font, SMALL_SIZE)
    canvas.drawString(*at, shown)


def _table_flowables(table: ReportTable, whole: float, gap: float) -> list[Flowable]:
    """A table whose head is repeated on every page, and whose rows are whole."""
    total = sum(table.widths)
    widths = [whole * min(1.0, total) * share / total for share in table.widths]
    sides: list[TextAlignment] = ["r" if side == "r" else "l" for side in table.aligned]
    rows = [
        [
            build_table_cell(cell, width, side, bold=row is table.heads)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ]
        for row in (table.heads, *table.rows)
    ]
    shown = Table(rows, widths, repeatRows=1, hAlign="LEFT", spaceAfter=7 * gap)
    shown.setStyle(
        [
            *cell_padding(2, 4, 0.7 + 0.6 * gap, 1.2 + 1.1 * gap),
            ("FONT", (0, 0), (-1, -1), "Helvetica", SMALL_SIZE, 1.2 * SMALL_SIZE),
            ("FONT", (0, 0), (-1, 0), "Helvetica-Bold"),
            ("TEXTCOLOR", (0, 0), (-1, -1), HexColor(INK)),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("VALIGN", (0, 1), (-1, -1), "TOP"),
            ("LINEBELOW", (0, 1), (-1, -1), 0.6, HexColor(PALE)),
            ("LINEBELOW", (0, 0), (-1, 0), 0.6, HexColor(GREY)),
            *(("ALIGN", (i, 0), (i, -1), "RIGHT") for i, side in enumerate(sides) if side == "r"),
        ]
    )
    caption = [build_paragraph(table.caption, BODY_SIZE, whole, bold=True), Spacer(0, 2)] if table.caption else []
    room = [CondPageBreak(TABLE_SPACE)] if is_breakable(table) else []
    return [*room, *caption, shown]


def build_table_cell(text: str, width: float, side: TextAlignment, bold: bool) -> Flowable | str:
    """Return plain text where it fits one line, which is much faster to draw; else a paragraph that wraps."""
    font, shown = choose_font(text, bold)
    if font in HELVETICA.values() and pdfmetrics.stringWidth(shown, font, SMALL_SIZE) <= width - 6:
        return shown
    return build_paragraph(text, SMALL_SIZE, width - 6, bold=bold, side=side)


@cache
def _paragraph_style(size: float, side: TextAlignment, space_after: float = 0.0) -> ParagraphStyle:
    return ParagraphStyle(
        f"{size:g} {side}",
        fontName=HELVETICA[False],
        fontSize=size,
        leading=1.25 * size,
        alignment=TA_RIGHT if side == "r" else TA_LEFT,
        spaceAfter=space_after,
    )


def _text_markup(text: str, size: float, colour: str, bold: bool = False) -> str:
    """A text as markup of a platypus paragraph, in a font that has its letters."""
    font, shown = choose_font(text, bold)
    return f'<font name="{font}" size="{size:g}" color="{colour}">{escape(shown)}</font>'


def _draw_scaled_picture(picture: Picture, scale: float, canvas: Canvas) -> None:
    if scale < 1:
        canvas.scale(scale, scale)
    draw_picture(canvas, picture)
