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
    operators: list[str] = []
    for shape in picture.shapes:
        if isinstance(shape, TextShape):
            if operators:
                canvas.addLiteral("\n".join([begin, *operators, "Q"]))
                operators = []
            _draw_text(canvas, shape, picture.height - shape.y)
        else:
            operators.append(_path_operators(shape) if isinstance(shape, PathShape) else _box_operators(shape))
    if operators:
        canvas.addLiteral("\n".join([begin, *operators, "Q"]))


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
        colour, width = _rgb_operands(path.stroke, path.opacity), path.width * UNITS_PER_POINT
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


def _box_operators(box: BoxShape) -> str:
    x, y, width, height = (round(value * UNITS_PER_POINT) for value in (box.x, box.y, box.width, box.height))
    out = [f"{_rgb_operands(box.fill, box.opacity)} rg"] if box.fill else []
    if box.stroke:
        out.append(f"{_rgb_operands(box.stroke, 1.0)} RG {UNITS_PER_POINT // 2} w [] 0 d")
    if box.radius:
        out.append(
            _rounded_box_operators(
                x, y, width, height, min(round(box.radius * UNITS_PER_POINT), width // 2, height // 2)
            )
        )
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
