"""The report as PDF: A4 landscape, so that ten seconds at 25 mm/s fit one line.

ReportLab's platypus breaks the paragraphs, tables and pictures into pages.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import BinaryIO, Literal
from xml.sax.saxutils import escape

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from agent.report.document import (
    ReportBlock,
    ReportDocument,
    ReportFigure,
    ReportNote,
    ReportSection,
    ReportTable,
    SummaryTile,
    SummaryTiles,
)
from agent.report.pdf_picture import HELVETICA, choose_font, draw_picture
from agent.report.picture import GREY, INK, LINE, PALE, WIDTH, Picture

PAGE_WIDTH, PAGE_HEIGHT = 841.89, 595.28
TOP_MARGIN, BOTTOM_MARGIN = 30.0, 40.0
SIDE_MARGIN = (PAGE_WIDTH - WIDTH) / 2
FRAME_HEIGHT = PAGE_HEIGHT - TOP_MARGIN - BOTTOM_MARGIN
SECTION_SPACE, TABLE_SPACE = 110.0, 62.0
"""Points a section or a table needs below it on the page; with less it begins on the next page."""
BODY_SIZE, SMALL_SIZE, TITLE_SIZE = 9.0, 8.0, 9.5
TILES_PER_ROW = 4
TILE_GAP = 7.0
MOST_KEPT_ROWS = 12
"""Rows of a table that is never broken."""
MOST_CELL_LINES = 8
"""Lines of average letters that a cell may take: a row higher than a page could not be placed."""
WARNING_RED = "#b3261e"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
FOOTER_SIZE = 7.5
TOTAL_PAGES_X = SIDE_MARGIN + WIDTH - 18
"""Between the number of a page and the number of pages."""
TOTAL_PAGES_FORM = "total-pages"
"""The number of pages, which is known only at the end, as a form that every footer refers to."""

TextAlignment = Literal["l", "r"]


class DrawnBlock(Flowable):
    """A block of fixed size; `draw_on` gets the canvas with the origin at the block's lower left corner."""

    def __init__(self, height: float, draw_on: Callable[[Canvas], None], width: float = WIDTH) -> None:
        super().__init__()
        self.width, self.height = width, height
        self._draw_on = draw_on

    def draw(self) -> None:
        """Draw the block; platypus calls this once its place is known."""
        self._draw_on(self.canv)


def write_pdf_document(document: ReportDocument, file: BinaryIO) -> None:
    """Write the report; the same document gives the same bytes. Raises OSError."""
    rl_config.useA85 = 0  # plain bytes: a fifth smaller, and a third of the time
    frame = Frame(SIDE_MARGIN, BOTTOM_MARGIN, WIDTH, FRAME_HEIGHT, 0, 0, 0, 0)
    template = BaseDocTemplate(
        file,
        pagesize=(PAGE_WIDTH, PAGE_HEIGHT),
        pageTemplates=[PageTemplate(frames=[frame], onPage=partial(_draw_page_footer, document.footer))],
        title=document.title,
        author="ecg-agent",
        subject="Report of an ECG recording; research tool, not a medical device",
        invariant=1,  # no date and no random id in the file
        pageCompression=1,
    )
    story = _document_head(document)
    for number, section in enumerate(document.sections):
        story += _section_flowables(section, number)
    story.append(DrawnBlock(0.0, _define_total_pages))
    template.build(story)


def _document_head(document: ReportDocument) -> list[Flowable]:
    """The title with the warning beside it, and the facts in two columns."""
    warning = Table([[_paragraph(document.warning, 8.5, 170, WARNING_RED, bold=True)]], [172])
    warning.setStyle([*_cell_padding(8, 4, 2, 4), ("BOX", (0, 0), (-1, -1), 0.7, HexColor(WARNING_RED))])
    title = Table([[_paragraph(document.title, 20, WIDTH - 185, bold=True), warning]], [WIDTH - 172, 172])
    title.setStyle([*_cell_padding(0, 0, 0, 4), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    value_width = WIDTH / 2 - 84
    cells: list[Flowable] = [
        cell
        for name, value in document.facts
        for cell in (_paragraph(name, BODY_SIZE, 84, GREY), _paragraph(value, BODY_SIZE, value_width))
    ]
    rows = [cells[i : i + 4] for i in range(0, len(cells), 4)]
    rows[-1] += [Spacer(0, 0)] * (4 - len(rows[-1]))
    facts = Table(rows, [84, value_width] * 2)
    facts.setStyle([*_cell_padding(0, 6, 1, 1), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return [title, Spacer(0, 4), facts, Spacer(0, 4)]


def _section_flowables(section: ReportSection, number: int) -> list[Flowable]:
    """A section; its title is never the last thing on a page."""
    title = DrawnBlock(29.0, partial(_draw_section_title, section.title, f"section-{number}"))
    first, *others = section.blocks
    story: list[Flowable] = [CondPageBreak(FRAME_HEIGHT - 1 if section.new_page else SECTION_SPACE)]
    if isinstance(first, ReportTable):
        story += [title, *_block_flowables(first)]
    else:  # flat, since a KeepTogether inside another one counts as taller than any page
        story.append(KeepTogether([title, *_block_flowables(first)]))
    for block in others:
        flowables = _block_flowables(block)
        story += [KeepTogether(flowables)] if isinstance(block, ReportFigure) else flowables
    return story


def _block_flowables(block: ReportBlock) -> list[Flowable]:
    if isinstance(block, ReportNote):
        return [_paragraph(block.text, BODY_SIZE, WIDTH, most_lines=40), Spacer(0, 5)]
    if isinstance(block, ReportTable):
        return _table_flowables(block)
    if isinstance(block, SummaryTiles):
        tiles = block.tiles
        return [_tile_row(tiles[i : i + TILES_PER_ROW]) for i in range(0, len(tiles), TILES_PER_ROW)]
    return _figure_flowables(block)


def _tile_row(tiles: tuple[SummaryTile, ...]) -> Flowable:
    """Framed tiles side by side, with empty columns as the gaps between them."""
    width = (WIDTH - TILE_GAP * (TILES_PER_ROW - 1)) / TILES_PER_ROW
    columns = range(0, 2 * len(tiles), 2)
    cells: list[list[Flowable] | str] = [""] * (2 * len(tiles) - 1)
    for column, tile in zip(columns, tiles, strict=True):
        cells[column] = [
            _paragraph(tile.name, SMALL_SIZE, width - 18, GREY),
            _paragraph(tile.value, 17, width - 18, tile.colour or INK, bold=True),
            _paragraph(tile.note, SMALL_SIZE, width - 18, GREY),
        ]
    widths = [width if column in columns else TILE_GAP for column in range(len(cells))]
    row = Table([cells], widths, hAlign="LEFT", spaceAfter=TILE_GAP)
    frames = [("BOX", (column, 0), (column, 0), 0.7, HexColor(LINE)) for column in columns]
    row.setStyle([*_cell_padding(9, 9, 3, 5), *frames, ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return row


def _figure_flowables(figure: ReportFigure) -> list[Flowable]:
    """A caption and the picture below it; a picture taller than a page is made smaller."""
    caption = []
    if figure.letter:
        chip = _text_markup(f" {figure.letter} ".replace(" ", "\N{NO-BREAK SPACE}"), SMALL_SIZE, "#ffffff", bold=True)
        caption.append(f'<font backColor="{figure.colour}">{chip}</font>')
    if figure.title:
        caption.append(_text_markup(_shorten_text(figure.title, TITLE_SIZE, WIDTH), TITLE_SIZE, INK, bold=True))
    if figure.details:
        caption.append(_text_markup(_shorten_text(figure.details, SMALL_SIZE, WIDTH), SMALL_SIZE, GREY))
    # Room for the caption; platypus raises an error for what fits no page.
    scale = min(1.0, (FRAME_HEIGHT - 60) / figure.picture.height)
    picture = DrawnBlock(scale * figure.picture.height, partial(_draw_scaled_picture, figure.picture, scale))
    parts: list[Flowable] = [picture, Spacer(0, 7)]
    if caption:
        gap = "\N{NO-BREAK SPACE} "
        parts.insert(0, Paragraph(gap.join(caption), _paragraph_style(TITLE_SIZE, "l", 4.0)))
    return parts


def _table_flowables(table: ReportTable) -> list[Flowable]:
    """A table whose head is repeated on every page."""
    total = sum(table.widths)
    widths = [WIDTH * min(1.0, total) * share / total for share in table.widths]
    sides: list[TextAlignment] = ["r" if side == "r" else "l" for side in table.aligned]
    rows = [
        [
            _table_cell(cell, width, side, bold=row is table.heads)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ]
        for row in (table.heads, *table.rows)
    ]
    shown = Table(rows, widths, repeatRows=1, hAlign="LEFT", spaceAfter=8)
    shown.setStyle(
        [
            *_cell_padding(2, 4, 1.6, 2.6),
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
    caption = [_paragraph(table.caption, BODY_SIZE, WIDTH, bold=True), Spacer(0, 3)] if table.caption else []
    if len(table.rows) <= MOST_KEPT_ROWS:
        return [KeepTogether([*caption, shown])]
    return [CondPageBreak(TABLE_SPACE), *caption, shown]


def _table_cell(text: str, width: float, side: TextAlignment, bold: bool) -> Flowable | str:
    """Plain text where it fits one line, which is much faster to draw; else a paragraph that wraps."""
    font, shown = choose_font(text, bold)
    if font in HELVETICA.values() and pdfmetrics.stringWidth(shown, font, SMALL_SIZE) <= width - 6:
        return shown
    return _paragraph(text, SMALL_SIZE, width - 6, bold=bold, side=side)


def _paragraph(
    text: str,
    size: float,
    width: float,
    colour: str = INK,
    bold: bool = False,
    side: TextAlignment = "l",
    most_lines: int = MOST_CELL_LINES,
) -> Paragraph:
    shown = _shorten_text(text, size, width, most_lines)
    return Paragraph(_text_markup(shown, size, colour, bold), _paragraph_style(size, side))


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


def _shorten_text(text: str, size: float, width: float, most_lines: int = MOST_CELL_LINES) -> str:
    """The text, cut where it would take more than about `most_lines` lines: letters are half as wide as high."""
    most = int(most_lines * width / (0.5 * size))
    return text if len(text) <= most else text[: most - 1].rstrip() + ELLIPSIS


def _text_markup(text: str, size: float, colour: str, bold: bool = False) -> str:
    """A text as markup of a platypus paragraph, in a font that has its letters."""
    font, shown = choose_font(text, bold)
    return f'<font name="{font}" size="{size:g}" color="{colour}">{escape(shown)}</font>'


def _cell_padding(
    left: float, right: float, top: float, bottom: float
) -> list[tuple[str, tuple[int, int], tuple[int, int], float]]:
    values = {"LEFTPADDING": left, "RIGHTPADDING": right, "TOPPADDING": top, "BOTTOMPADDING": bottom}
    return [(name, (0, 0), (-1, -1), value) for name, value in values.items()]


def _draw_scaled_picture(picture: Picture, scale: float, canvas: Canvas) -> None:
    if scale < 1:
        canvas.scale(scale, scale)
    draw_picture(canvas, picture)


def _draw_section_title(title: str, key: str, canvas: Canvas) -> None:
    """A rule, the title below it, and an entry of the outline that leads here."""
    canvas.bookmarkPage(key)
    canvas.addOutlineEntry(title, key)
    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(0.6)
    canvas.line(0, 25, WIDTH, 25)
    canvas.setFont(HELVETICA[True], 13)
    canvas.setFillColor(INK)
    canvas.drawString(0, 8, title)


def _draw_page_footer(text: str, canvas: Canvas, _template: BaseDocTemplate) -> None:
    y = 24.0
    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(0.6)
    canvas.line(SIDE_MARGIN, y + 9, SIDE_MARGIN + WIDTH, y + 9)
    font, shown = choose_font(_shorten_text(text, FOOTER_SIZE, WIDTH - 80, most_lines=1), bold=False)
    canvas.setFont(font, FOOTER_SIZE)
    canvas.setFillColor(GREY)
    canvas.drawString(SIDE_MARGIN, y, shown)
    canvas.setFont(HELVETICA[False], FOOTER_SIZE)
    canvas.drawRightString(TOTAL_PAGES_X, y, f"{canvas.getPageNumber()} /")
    canvas.doForm(TOTAL_PAGES_FORM)  # defined on the last page


def _define_total_pages(canvas: Canvas) -> None:
    """Define the form that the footers show, in the coordinates of the page; this is drawn on the last page."""
    canvas.beginForm(TOTAL_PAGES_FORM, 0, 0, PAGE_WIDTH, PAGE_HEIGHT)
    canvas.setFont(HELVETICA[False], FOOTER_SIZE)
    canvas.setFillColor(GREY)
    canvas.drawString(TOTAL_PAGES_X + 2, 24, str(canvas.getPageNumber()))
    canvas.endForm()
