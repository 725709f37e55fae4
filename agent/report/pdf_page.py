"""A page of a PDF to draw on: text, shapes and pictures, in points from the left margin and from the top."""

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path as FilePath
from typing import BinaryIO, ClassVar

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from agent.report.picture import (
    INK,
    WIDTH,
    BoxShape,
    PathShape,
    Picture,
    TextAnchor,
    TextShape,
    blend_on_white,
    split_path_points,
)

SCALE = 20
FONTS = {False: "Helvetica", True: "Helvetica-Bold"}
OTHER_FONTS = {False: "DejaVuSans", True: "DejaVuSans-Bold"}
"""For letters that the first do not have: matplotlib brings them."""
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
MOST_CHARACTERS = 2000
"""Of a line or paragraph."""


class PdfPage:
    """The page that is drawn on: A4, across."""

    width: ClassVar[float] = 841.89
    height: ClassVar[float] = 595.28
    left: ClassVar[float] = (841.89 - WIDTH) / 2

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        colour: str = INK,
        anchor: TextAnchor = "start",
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """A line of text whose base line is at `y`."""
        if not text:
            return
        font, text = choose_font(text, bold)
        canvas = self._canvas
        canvas.setFont(font, size)
        canvas.setFillColor(colour)
        x, y = self.left + x, self.height - y
        if turned:
            canvas.saveState()
            canvas.translate(x, y)
            canvas.rotate(90)
            x = y = 0.0
        {"start": canvas.drawString, "middle": canvas.drawCentredString, "end": canvas.drawRightString}[anchor](
            x, y, text
        )
        if turned:
            canvas.restoreState()

    def width_of(self, text: str, size: float, bold: bool = False) -> float:
        return measure_text_width(text, size, bold)

    def line(self, x: float, y: float, right: float, colour: str) -> None:
        """A thin line across."""
        self._canvas.setStrokeColor(colour)
        self._canvas.setLineWidth(0.6)
        self._canvas.line(self.left + x, self.height - y, self.left + right, self.height - y)

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle."""
        self._canvas.setFillColor(colour)
        self._canvas.roundRect(self.left + x, self.height - y - height, width, height, 2, stroke=0, fill=1)

    def frame(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A rectangle."""
        self._canvas.setStrokeColor(colour)
        self._canvas.setLineWidth(0.7)
        self._canvas.roundRect(self.left + x, self.height - y - height, width, height, 3, stroke=1, fill=0)

    def picture(self, picture: Picture, top: float) -> None:
        """A picture, from the left margin on."""
        canvas = self._canvas
        begin = f"q {1 / SCALE} 0 0 {-1 / SCALE} {self.left:.3f} {self.height - top:.3f} cm"
        drawn: list[str] = []
        for shape in picture.shapes:
            if isinstance(shape, TextShape):
                if drawn:
                    canvas.addLiteral("\n".join([begin, *drawn, "Q"]))
                    drawn = []
                look = shape.size, shape.colour, shape.anchor, shape.bold, shape.turned
                self.text(shape.x, top + shape.y, shape.text, *look)
            else:
                drawn.append(_pdf_path_operators(shape) if isinstance(shape, PathShape) else _pdf_box_operators(shape))
        if drawn:
            canvas.addLiteral("\n".join([begin, *drawn, "Q"]))


DrawOnPage = Callable[[PdfPage, float], None]


class PdfWriter:
    """A PDF file, page by page; the same pages give the same bytes."""

    def __init__(self, file: BinaryIO, title: str) -> None:
        self._canvas = Canvas(file, pagesize=(PdfPage.width, PdfPage.height), invariant=1, pageCompression=1)
        self._canvas.setTitle(title)
        self._canvas.setAuthor("ecg-agent")
        self._canvas.setSubject("Report of an ECG recording; research tool, not a medical device")
        self.sheet = PdfPage(self._canvas)
        self._marks = 0

    def mark(self, name: str) -> None:
        """A section begins on this page."""
        self._marks += 1
        key = f"section-{self._marks}"
        self._canvas.bookmarkPage(key)
        self._canvas.addOutlineEntry(name, key)

    def next_page(self) -> None:
        self._canvas.showPage()

    def close(self) -> None:
        """Write the file. Raises OSError."""
        self._canvas.save()


def measure_text_width(text: str, size: float, bold: bool = False) -> float:
    """Points that a line takes."""
    font, text = choose_font(text, bold)
    return float(pdfmetrics.stringWidth(text, font, size))


def fit_text_line(text: str, size: float, width: float, bold: bool = False) -> str:
    """A line, cut where it is too long for a width."""
    text = text[:MOST_CHARACTERS]
    if measure_text_width(text, size, bold) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if measure_text_width(text[:middle].rstrip() + ELLIPSIS, size, bold) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + ELLIPSIS


def wrap_paragraph(text: str, size: float, width: float) -> list[str]:
    """A paragraph as lines; a word that is too long for one is cut."""
    lines: list[str] = []
    line = ""
    for word in text[:MOST_CHARACTERS].split():
        longer = f"{line} {word}" if line else word
        if line and measure_text_width(longer, size) > width:
            lines.append(line)
            line = fit_text_line(word, size, width)
        else:
            line = fit_text_line(longer, size, width)
    return [*lines, line] if line else lines


@lru_cache(4096)
def choose_font(text: str, bold: bool) -> tuple[str, str]:
    """The font for a text, and the text with what that font has no letter for as question marks."""
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return _encode_in_other_font(text, bold)
    return FONTS[bold], text


def _encode_in_other_font(text: str, bold: bool) -> tuple[str, str]:
    font = _load_other_font(bold)
    if font is None:
        return FONTS[bold], text.encode("cp1252", "replace").decode("cp1252")
    known = font.face.charToGlyph
    return OTHER_FONTS[bold], "".join(c if ord(c) in known else "?" for c in text)


@cache
def _load_other_font(bold: bool) -> TTFont | None:
    import matplotlib

    path = FilePath(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{OTHER_FONTS[bold]}.ttf"
    if not path.is_file():
        return None
    font = TTFont(OTHER_FONTS[bold], str(path))
    pdfmetrics.registerFont(font)
    return font


def _pdf_path_operators(path: PathShape) -> str:
    out: list[str] = []
    if path.stroke:
        out.append(
            f"{_rgb_operands(path.stroke, path.opacity)} RG {path.width * SCALE:.2f} w {1 if path.round else 0} j"
        )
        on, off = path.dash or (0.0, 0.0)
        out.append(f"[{on * SCALE:.2f} {off * SCALE:.2f}] 0 d" if path.dash else "[] 0 d")
    if path.fill:
        out.append(f"{_rgb_operands(path.fill, path.opacity)} rg")
    for piece in split_path_points(path.points, SCALE):
        if len(piece) > 1:
            (x, y), *rest = piece.tolist()
            out.append(f"{x} {y} m " + " ".join([f"{x} {y} l" for x, y in rest]))
    out.append("B" if path.fill and path.stroke else "f" if path.fill else "S")
    return "\n".join(out)


def _pdf_box_operators(box: BoxShape) -> str:
    x, y, width, height = (round(value * SCALE) for value in (box.x, box.y, box.width, box.height))
    out = [f"{_rgb_operands(box.fill, box.opacity)} rg"] if box.fill else []
    if box.stroke:
        out.append(f"{_rgb_operands(box.stroke, 1.0)} RG {SCALE // 2} w [] 0 d")
    if box.radius:
        out.append(_rounded_box_operators(x, y, width, height, min(round(box.radius * SCALE), width // 2, height // 2)))
    else:
        out.append(f"{x} {y} {width} {height} re")
    out.append("B" if box.fill and box.stroke else "f" if box.fill else "S")
    return " ".join(out)


def _rounded_box_operators(x: int, y: int, width: int, height: int, r: int) -> str:
    k = round(0.4477 * r)
    right, bottom = x + width, y + height
    return (
        f"{x + r} {y} m {right - r} {y} l {right - k} {y} {right} {y + k} {right} {y + r} c "
        f"{right} {bottom - r} l {right} {bottom - k} {right - k} {bottom} {right - r} {bottom} c "
        f"{x + r} {bottom} l {x + k} {bottom} {x} {bottom - k} {x} {bottom - r} c "
        f"{x} {y + r} l {x} {y + k} {x + k} {y} {x + r} {y} c h"
    )


@cache
def _rgb_operands(colour: str, opacity: float) -> str:
    shown = blend_on_white(colour, opacity)
    return " ".join(f"{int(shown[i : i + 2], 16) / 255:.3f}" for i in (1, 3, 5))
