"""A report as PDF: A4 across, so that ten seconds at 25 mm/s fit a line; what it says flows from page to page."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

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
from agent.report.pdf_page import DrawOnPage, PdfPage, PdfWriter, fit_text_line, measure_text_width, wrap_paragraph
from agent.report.picture import GREY, INK, LINE, PALE, WIDTH

TOP, BOTTOM = 30.0, 40.0
LEAST_LEFT = 110.0
"""A section begins on the next page where less is left of one."""
ROW, TEXT, SMALL, TITLE = 13.8, 9.0, 8.0, 9.5
TILES, TILE, GAP = 4, 50.0, 7.0


@dataclass(frozen=True, slots=True)
class PagePiece:
    """Something that is not cut: its height, how it is drawn, what goes before it where it begins a page.

    `kept`: it is not the last on a page.
    """

    height: float
    draw: DrawOnPage
    head: "PagePiece | None" = None
    kept: bool = False


def write_pdf_document(document: ReportDocument, file: BinaryIO) -> None:
    """Write all of it to a file. Raises OSError."""
    pages = list(_lay_out_pages(document, PdfPage.height - TOP - BOTTOM))
    writer = PdfWriter(file, document.title)
    for number, (placed, sections) in enumerate(pages, start=1):
        for section in sections:
            writer.mark(section)
        for top, piece in placed:
            piece.draw(writer.sheet, top)
        _pdf_foot(writer.sheet, document, number, len(pages))
        writer.next_page()
    writer.close()


_PlacedPage = tuple[list[tuple[float, PagePiece]], list[str]]


def _lay_out_pages(document: ReportDocument, room: float) -> Iterator[_PlacedPage]:
    """Pieces with their places, and the sections that begin, page by page."""
    placed: list[tuple[float, PagePiece]] = []
    sections: list[str] = []
    used = 0.0

    for section, pieces in [
        (None, list(_pdf_head(document))),
        *((one, list(_pdf_section(one))) for one in document.sections),
    ]:
        if section is not None:
            if placed and (section.anew or room - used < LEAST_LEFT):
                yield placed, sections
                placed, sections, used = [], [], 0.0
            sections.append(section.title)
        for i, piece in enumerate(pieces):
            needed = _kept_height(pieces, i)
            if placed and used + needed > room:
                yield placed, sections
                placed, sections, used = [], [], 0.0
                if piece.head is not None:
                    placed.append((TOP, piece.head))
                    used = piece.head.height
            placed.append((TOP + used, piece))
            used += piece.height
    yield placed, sections


def _kept_height(pieces: list[PagePiece], first: int) -> float:
    """The height of a piece with all that it is kept with."""
    height = 0.0
    for piece in pieces[first:]:
        height += piece.height
        if not piece.kept:
            break
    return height


def _pdf_head(document: ReportDocument) -> Iterator[PagePiece]:
    def title(sheet: PdfPage, top: float) -> None:
        text = fit_text_line(document.title, 20, WIDTH - 250, bold=True)
        sheet.text(0, top + 18, text, 20, INK, bold=True)
        width = sheet.width_of(document.warning, 8.5, bold=True) + 16
        sheet.frame(WIDTH - width, top + 3, width, 17, "#b3261e")
        sheet.text(WIDTH - width / 2, top + 14.5, document.warning, 8.5, "#b3261e", "middle", bold=True)

    yield PagePiece(30, title)
    facts = document.facts
    for i in range(0, len(facts), 2):
        yield PagePiece(13, _pdf_facts(facts[i : i + 2]))
    yield PagePiece(6, lambda _sheet, _top: None)


def _pdf_facts(pair: tuple[tuple[str, str], ...]) -> DrawOnPage:
    def draw(sheet: PdfPage, top: float) -> None:
        for x, (name, value) in zip((0.0, WIDTH / 2), pair, strict=False):
            sheet.text(x, top + 9, name, TEXT, GREY)
            sheet.text(x + 84, top + 9, fit_text_line(value, TEXT, WIDTH / 2 - 96), TEXT)

    return draw


def _pdf_section(section: ReportSection) -> Iterator[PagePiece]:
    def title(sheet: PdfPage, top: float) -> None:
        sheet.line(0, top + 4, WIDTH, LINE)
        sheet.text(0, top + 21, section.title, 13, INK, bold=True)

    yield PagePiece(29, title, kept=True)
    for block in section.blocks:
        yield from _pdf_block(block)


def _pdf_block(block: ReportBlock) -> Iterator[PagePiece]:
    if isinstance(block, ReportNote):
        yield from _pdf_lines(block.text, TEXT, INK, after=5)
    elif isinstance(block, ReportTable):
        yield from _pdf_table(block)
    elif isinstance(block, SummaryTiles):
        for i in range(0, len(block.tiles), TILES):
            yield PagePiece(TILE + GAP, _pdf_tiles(block.tiles[i : i + TILES]))
    else:
        yield _pdf_figure(block)


def _pdf_lines(text: str, size: float, colour: str, after: float = 0.0) -> Iterator[PagePiece]:
    lines = wrap_paragraph(text, size, WIDTH)
    for i, line in enumerate(lines):
        last = i == len(lines) - 1
        yield PagePiece(size * 1.4 + after * last, _pdf_line(line, size, colour), kept=not last)


def _pdf_line(line: str, size: float, colour: str) -> DrawOnPage:
    return lambda sheet, top: sheet.text(0, top + size, line, size, colour)


def _pdf_tiles(tiles: tuple[SummaryTile, ...]) -> DrawOnPage:
    width = (WIDTH - GAP * (TILES - 1)) / TILES

    def draw(sheet: PdfPage, top: float) -> None:
        for i, tile in enumerate(tiles):
            x = i * (width + GAP)
            sheet.frame(x, top, width, TILE, LINE)
            sheet.text(x + 9, top + 13, fit_text_line(tile.name, SMALL, width - 18), SMALL, GREY)
            value = fit_text_line(tile.value, 17, width - 18, bold=True)
            sheet.text(x + 9, top + 32, value, 17, tile.colour or INK, bold=True)
            sheet.text(x + 9, top + 45, fit_text_line(tile.note, SMALL, width - 18), SMALL, GREY)

    return draw


def _pdf_figure(figure: ReportFigure) -> PagePiece:
    room = WIDTH - 90 - measure_text_width(figure.title, TITLE, bold=True)
    beside = bool(figure.title) and measure_text_width(figure.details, SMALL) <= room
    details = wrap_paragraph(figure.details, SMALL, WIDTH) if figure.details and not beside else []
    title = 14.0 if figure.title else 0.0
    above = title + 11 * len(details) + 2

    def draw(sheet: PdfPage, top: float) -> None:
        x = 0.0
        if figure.letter:
            width = sheet.width_of(figure.letter, SMALL, bold=True) + 8
            sheet.box(0, top + 2, width, 11, figure.colour)
            sheet.text(width / 2, top + 10.3, figure.letter, SMALL, "#ffffff", "middle", bold=True)
            x = width + 5
        if figure.title:
            sheet.text(x, top + 11, fit_text_line(figure.title, TITLE, WIDTH - x, bold=True), TITLE, INK, bold=True)
        if beside:
            sheet.text(WIDTH, top + 11, figure.details, SMALL, GREY, "end")
        for i, line in enumerate(details):
            sheet.text(0, top + title + 9 + 11 * i, line, SMALL, GREY)
        sheet.picture(figure.picture, top + above)

    return PagePiece(above + figure.picture.height + 7, draw)


def _pdf_table(table: ReportTable) -> Iterator[PagePiece]:
    total = sum(table.widths)
    widths = [WIDTH * min(1.0, total) * share / total for share in table.widths]

    def row(cells: tuple[str, ...], head: bool) -> DrawOnPage:
        def draw(sheet: PdfPage, top: float) -> None:
            x = 0.0
            for cell, width, side in zip(cells, widths, table.aligned, strict=True):
                text = fit_text_line(cell, SMALL, width - 6, head)
                anchored = ("end", x + width - 4) if side == "r" else ("start", x + 2)
                sheet.text(anchored[1], top + 10, text, SMALL, INK, anchored[0], bold=head)  # type: ignore[arg-type]
                x += width
            sheet.line(0, top + ROW, sum(widths), GREY if head else PALE)

        return draw

    if table.caption:
        yield PagePiece(17, lambda sheet, top: sheet.text(0, top + 12, table.caption, TEXT, INK, bold=True), kept=True)
    head = PagePiece(ROW, row(table.heads, True), kept=True)
    yield head
    for i, cells in enumerate(table.rows):
        piece = PagePiece(ROW, row(cells, False), head=head)
        yield piece if i < len(table.rows) - 1 else replace(piece, height=ROW + 8)


def _pdf_foot(sheet: PdfPage, document: ReportDocument, number: int, pages: int) -> None:
    y = PdfPage.height - 24
    sheet.line(0, y - 9, WIDTH, LINE)
    sheet.text(0, y, fit_text_line(document.footer, 7.5, WIDTH - 80), 7.5, GREY)
    sheet.text(WIDTH, y, f"{number} / {pages}", 7.5, GREY, "end")
