"""A picture on the canvas of a PDF, and the fonts that have its letters.

The shapes are written as path operators: ReportLab's own path objects take several times as long, and a report has the
strips of up to 400 alarms.
"""

from functools import cache, lru_cache
from pathlib import Path

from reportlab.lib.colors import HexColor
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from agent.report.picture import BoxShape, PathShape, Picture, TextShape, blend_on_white, split_path_points

UNITS_PER_POINT = 20
HELVETICA = {False: "Helvetica", True: "Helvetica-Bold"}
OTHER_FONTS = {False: "DejaVuSans", True: "DejaVuSans-Bold"}
"""For letters that Helvetica does not have; matplotlib brings these."""


def draw_picture(canvas: Canvas, picture: Picture) -> None:
    """Draw a picture whose lower left corner is the origin of the canvas."""
    begin = f"q {1 / UNITS_PER_POINT} 0 0 {-1 / UNITS_PER_POINT} 0 {picture.height:.3f} cm"
    for shape in picture.shapes:
        if isinstance(shape, PathShape):
            canvas.addLiteral(f"{begin}\n{_path_operators(shape)}\nQ")
        elif isinstance(shape, TextShape):
            _draw_text(canvas, shape, picture.height - shape.y)
        else:
            _draw_box(canvas, shape, picture.height - shape.y - shape.height)


def _draw_box(canvas: Canvas, box: BoxShape, y: float) -> None:
    """Draw a rectangle whose lower edge is at `y` from below."""
    if box.fill:
        canvas.setFillColor(_parse_colour(blend_on_white(box.fill, box.opacity)))
    if box.stroke:
        canvas.setStrokeColor(_parse_colour(box.stroke))
        canvas.setLineWidth(0.5)
    style = {"stroke": bool(box.stroke), "fill": bool(box.fill)}
    if box.radius:
        radius = min(box.radius, box.width / 2, box.height / 2)
        canvas.roundRect(box.x, y, box.width, box.height, radius, **style)
    else:
        canvas.rect(box.x, y, box.width, box.height, **style)


def _draw_text(canvas: Canvas, shape: TextShape, y: float) -> None:
    """Draw a line of text whose base line is at `y` from below."""
    if not shape.text:
        return
    font, shown = choose_font(shape.text, shape.bold)
    canvas.setFont(font, shape.size)
    canvas.setFillColor(_parse_colour(shape.colour))
    draw = {"start": canvas.drawString, "middle": canvas.drawCentredString, "end": canvas.drawRightString}[shape.anchor]
    if not shape.turned:
        draw(shape.x, y, shown)
        return
    canvas.saveState()
    canvas.translate(shape.x, y)
    canvas.rotate(90)
    draw(0, 0, shown)
    canvas.restoreState()


_parse_colour = cache(HexColor)


@lru_cache(4096)
def choose_font(text: str, bold: bool) -> tuple[str, str]:
    """The font for a text, and the text with what that font has no letter for as question marks."""
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return _encode_in_other_font(text, bold)
    return HELVETICA[bold], text


def _encode_in_other_font(text: str, bold: bool) -> tuple[str, str]:
    font = _load_other_font(bold)
    if font is None:
        return HELVETICA[bold], text.encode("cp1252", "replace").decode("cp1252")
    known = font.face.charToGlyph
    return OTHER_FONTS[bold], "".join(c if ord(c) in known else "?" for c in text)


@cache
def _load_other_font(bold: bool) -> TTFont | None:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{OTHER_FONTS[bold]}.ttf"
    if not path.is_file():
        return None
    font = TTFont(OTHER_FONTS[bold], str(path))
    pdfmetrics.registerFont(font)
    return font


def _path_operators(path: PathShape) -> str:
    out: list[str] = []
    if path.stroke:
        colour = _rgb_operands(path.stroke, path.opacity)
        width = path.width * UNITS_PER_POINT
        out.append(f"{colour} RG {width:.2f} w {1 if path.round else 0} j")
        on, off = path.dash or (0.0, 0.0)
        out.append(f"[{on * UNITS_PER_POINT:.2f} {off * UNITS_PER_POINT:.2f}] 0 d" if path.dash else "[] 0 d")
    if path.fill:
        out.append(f"{_rgb_operands(path.fill, path.opacity)} rg")
    for piece in split_path_points(path.points, UNITS_PER_POINT):
        if len(piece) > 1:
            (x, y), *rest = piece.tolist()
            out.append(f"{x} {y} m " + " ".join([f"{x} {y} l" for x, y in rest]))
    out.append("B" if path.fill and path.stroke else "f" if path.fill else "S")
    return "\n".join(out)


@cache
def _rgb_operands(colour: str, opacity: float) -> str:
    shown = _parse_colour(blend_on_white(colour, opacity))
    return f"{shown.red:.3f} {shown.green:.3f} {shown.blue:.3f}"
