"""A picture as SVG that stands inside a page."""

from html import escape

from agent.report.picture import Box, Path, Picture, Text, blended, pieces

SCALE = 20
"""Units of a point: all places are whole numbers."""
MM_PER_POINT = 25.4 / 72


def svg(picture: Picture) -> str:
    """The element, with what it shows in words."""
    width, height = round(picture.width * SCALE), round(picture.height * SCALE)
    shapes = "".join(_shape(shape) for shape in picture.shapes)
    title = escape(picture.title)
    size = f"width:{picture.width * MM_PER_POINT:.2f}mm"
    return (
        f'<svg viewBox="0 0 {width} {height}" style="{size}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{shapes}</svg>"
    )


def _shape(shape: Path | Box | Text) -> str:
    if isinstance(shape, Path):
        return _path(shape)
    return _text(shape) if isinstance(shape, Text) else _box(shape)


def _path(path: Path) -> str:
    parts = [_piece(piece.tolist()) for piece in pieces(path.points, SCALE) if len(piece) > 1]
    if not parts:
        return ""
    fill = f' fill="{blended(path.fill, path.opacity)}"' if path.fill else ' fill="none"'
    stroke = ""
    if path.stroke:
        stroke = f' stroke="{blended(path.stroke, path.opacity)}" stroke-width="{_number(path.width)}"'
        stroke += ' stroke-linejoin="round"' if path.round else ""
        if path.dash:
            stroke += f' stroke-dasharray="{_number(path.dash[0])} {_number(path.dash[1])}"'
    drawn = "".join(parts)
    return f'<path{fill}{stroke} d="{drawn}"/>'


def _piece(points: list[list[int]]) -> str:
    """Moves are told from the point before: short numbers, and a minus needs no space before it."""
    (x, y), out = points[0], []
    begin = f"M{x} {y}"
    for next_x, next_y in points[1:]:
        out.append(f"{next_x - x} {next_y - y}")
        x, y = next_x, next_y
    if len(out) == 1:
        across, _, down = out[0].partition(" ")
        if across == "0" or down == "0":
            return f"{begin}v{down}" if across == "0" else f"{begin}h{across}"
    return f"{begin}l{' '.join(out)}".replace(" -", "-")


def _box(box: Box) -> str:
    place = [round(value * SCALE) for value in (box.x, box.y, box.width, box.height)]
    text = '<rect x="{}" y="{}" width="{}" height="{}"'.format(*place)
    text += f' rx="{_number(box.radius)}"' if box.radius else ""
    fill = blended(box.fill, box.opacity) or "none"
    text += f' fill="{fill}"'
    text += f' stroke="{box.stroke}" stroke-width="{SCALE // 2}"' if box.stroke else ""
    return f"{text}><title>{escape(box.title)}</title></rect>" if box.title else f"{text}/>"


def _text(text: Text) -> str:
    x, y = round(text.x * SCALE), round(text.y * SCALE)
    more = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    more += ' font-weight="bold"' if text.bold else ""
    more += f' transform="rotate(-90 {x} {y})"' if text.turned else ""
    look = f'font-size="{_number(text.size)}" fill="{text.colour}"{more}'
    return f'<text x="{x}" y="{y}" {look}>{escape(text.text)}</text>'


def _number(value: float) -> str:
    return f"{value * SCALE:.2f}".rstrip("0").rstrip(".")
