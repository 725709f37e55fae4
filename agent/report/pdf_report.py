"""The report as PDF: A4 landscape, so that ten seconds at 25 mm/s fit one line.

ReportLab's platypus breaks the blocks (`pdf_blocks.py`) into pages.
"""

from functools import partial
from io import BytesIO
from typing import BinaryIO

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Spacer,
    Table,
)

from agent.report.document import FigureGrid, ReportDocument, ReportNote, ReportSection
from agent.report.pdf_blocks import (
    BODY_SIZE,
    DrawnBlock,
    build_block_flowables,
    build_paragraph,
    cell_padding,
    is_breakable,
    shorten_text,
)
from agent.report.pdf_picture import HELVETICA, choose_font
from agent.report.picture import GREY, INK, LINE, WIDTH

PAGE_WIDTH, PAGE_HEIGHT = 841.89, 595.28
TOP_MARGIN, BOTTOM_MARGIN = 28.0, 36.0
SIDE_MARGIN = (PAGE_WIDTH - WIDTH) / 2
FRAME_HEIGHT = PAGE_HEIGHT - TOP_MARGIN - BOTTOM_MARGIN
SECTION_SPACE = 110.0
"""Points that a section needs which begins with a text or a long table; with less it begins on the next page."""
TITLE_HEIGHT, LEAST_TITLE_HEIGHT = 27.0, 20.0
"""Points of a section's title, and where blocks stand as close as they can."""
WARNING_RED = "#b3261e"
FOOTER_SIZE = 7.5
TOTAL_PAGES_X = SIDE_MARGIN + WIDTH - 18
"""Between the number of a page and the number of pages."""
TOTAL_PAGES_FORM = "total-pages"
"""The number of pages, which is known only at the end, as a form that every footer refers to."""
NEAR_EMPTY, HALF_EMPTY = 0.25, 0.6
"""A last page that is filled less is avoided by less space between the blocks, if that is enough."""
FEW_PAGES = 8
"""In a report of so few, one that is half empty is avoided as well."""
TIGHT_GAPS = (0.6, 0.3, 0.1)
"""Shares of the usual space between blocks, and of their rows, that are tried then."""


def write_pdf_document(document: ReportDocument, file: BinaryIO) -> tuple[float, ...]:
    """Write the report; the same document gives the same bytes. Raises OSError.

    Returns
    -------
    tuple of float
        The share of the height of each page down to the end of the last block on it.
    """
    content, filled = _lay_out_pages(document, 1.0)
    if len(filled) > 1 and filled[-1] < (HALF_EMPTY if len(filled) <= FEW_PAGES else NEAR_EMPTY):
        for gap in TIGHT_GAPS:
            tighter, fewer = _lay_out_pages(document, gap)
            if len(fewer) < len(filled):
                content, filled = tighter, fewer
                break
    file.write(content)
    return filled


def _lay_out_pages(document: ReportDocument, gap: float) -> tuple[bytes, tuple[float, ...]]:
    """Return the PDF, and how much of each page is filled; `gap` scales the space between blocks."""
    rl_config.useA85 = 0  # plain bytes: a fifth smaller, and a third of the time
    frame = Frame(SIDE_MARGIN, BOTTOM_MARGIN, WIDTH, FRAME_HEIGHT, 0, 0, 0, 0)
    filled: list[float] = []
    out = BytesIO()
    page = PageTemplate(
        frames=[frame],
        onPage=partial(_draw_page_footer, document.footer),
        onPageEnd=lambda _canvas, built: filled.append(_filled_share(built)),
    )
    template = BaseDocTemplate(
        out,
        pagesize=(PAGE_WIDTH, PAGE_HEIGHT),
        pageTemplates=[page],
        title=document.title,
        author="ecg-agent",
        subject="Report of an ECG recording; research tool, not a medical device",
        invariant=1,  # no date and no random id in the file
        pageCompression=1,
    )
    story = _document_head(document)
    for number, section in enumerate(document.sections):
        story += _section_flowables(section, number, gap)
    story.append(DrawnBlock(0.0, _define_total_pages))
    template.build(story)
    return out.getvalue(), tuple(filled)


def _filled_share(template: BaseDocTemplate) -> float:
    # Platypus knows where the next block would go, but has no public name for it.
    left: float = vars(template.frame)["_y"] - BOTTOM_MARGIN
    return 1 - left / FRAME_HEIGHT


def _document_head(document: ReportDocument) -> list[Flowable]:
    """The title with the warning beside it, and the facts in two columns."""
    warning = Table([[build_paragraph(document.warning, 8.5, 170, WARNING_RED, bold=True)]], [172])
    warning.setStyle([*cell_padding(8, 4, 2, 4), ("BOX", (0, 0), (-1, -1), 0.7, HexColor(WARNING_RED))])
    title = Table([[build_paragraph(document.title, 18, WIDTH - 185, bold=True), warning]], [WIDTH - 172, 172])
    title.setStyle([*cell_padding(0, 0, 0, 3), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    value_width = WIDTH / 2 - 84
    cells: list[Flowable] = [
        cell
        for name, value in document.facts
        for cell in (build_paragraph(name, BODY_SIZE, 84, GREY), build_paragraph(value, BODY_SIZE, value_width))
    ]
    rows = [cells[i : i + 4] for i in range(0, len(cells), 4)]
    rows[-1] += [Spacer(0, 0)] * (4 - len(rows[-1]))
    facts = Table(rows, [84, value_width] * 2)
    facts.setStyle([*cell_padding(0, 6, 0.5, 0.5), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return [title, Spacer(0, 2), facts, Spacer(0, 2)]


def _section_flowables(section: ReportSection, number: int, gap: float) -> list[Flowable]:
    """A section; its title is never the last thing on a page, and small blocks are kept whole."""
    height = LEAST_TITLE_HEIGHT + gap * (TITLE_HEIGHT - LEAST_TITLE_HEIGHT)
    title = DrawnBlock(height, partial(_draw_section_title, section.title, f"section-{number}", height))
    first, *others = section.blocks
    blocks = build_block_flowables(first, gap=gap)
    # Of figures in rows the first row stays with the title; of a table as much as SECTION_SPACE holds.
    whole = isinstance(first, ReportNote) or not is_breakable(first)
    kept = 1 if isinstance(first, FigureGrid) else len(blocks) if whole else 0
    # Flat, since a KeepTogether inside another one counts as taller than any page.
    story: list[Flowable] = [KeepTogether([title, *blocks[:kept]])] if kept else [CondPageBreak(SECTION_SPACE), title]
    story += blocks[kept:]
    for block in others:
        flowables = build_block_flowables(block, gap=gap)
        story += flowables if is_breakable(block) else [KeepTogether(flowables)]
    return story


def _draw_section_title(title: str, key: str, height: float, canvas: Canvas) -> None:
    """A rule, the title below it, and an entry of the outline that leads here."""
    canvas.bookmarkPage(key)
    canvas.addOutlineEntry(title, key)
    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(0.6)
    canvas.line(0, height - 4, WIDTH, height - 4)
    canvas.setFont(HELVETICA[True], 12.5)
    canvas.setFillColor(INK)
    canvas.drawString(0, 0.25 * height, title)


def _draw_page_footer(text: str, canvas: Canvas, _template: BaseDocTemplate) -> None:
    y = 20.0
    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(0.6)
    canvas.line(SIDE_MARGIN, y + 9, SIDE_MARGIN + WIDTH, y + 9)
    font, shown = choose_font(shorten_text(text, FOOTER_SIZE, WIDTH - 80, most_lines=1), bold=False)
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
    canvas.drawString(TOTAL_PAGES_X + 2, 20, str(canvas.getPageNumber()))
    canvas.endForm()
