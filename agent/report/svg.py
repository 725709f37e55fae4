"""A picture as inline SVG."""

from html import escape

from agent.report.picture import BoxShape, PathShape, Picture, TextShape, blend_on_white, split_path_points

SCALE = 20
"""SVG units a point: all coordinates are whole numbers, which keeps the page small."""
MM_PER_POINT = 25.4 / 72


def render_svg(picture: Picture) -> str:
    """Return the element, with the description of the picture as its label."""
    width, height = round(picture.width * SCALE), round(picture.height * SCALE)
    shapes = "".join(_svg_shape(shape) for shape in picture.shapes)
    title = escape(picture.title)
    size = f"--w:{picture.width * MM_PER_POINT:.2f}mm"
    return (
        f'<svg viewBox="0 0 {width} {height}" style="{size}" role="img" aria-label="{title}">'
        f"<title>{title}</title>{shapes}</svg>"
    )


def _svg_shape(shape: PathShape | BoxShape | TextShape) -> str:
    if isinstance(shape, PathShape):
        return _svg_path(shape)
    return _svg_text(shape) if isinstance(shape, TextShape) else _svg_box(shape)


def _svg_path(path: PathShape) -> str:
    parts = [_svg_path_data(piece.tolist()) for piece in split_path_points(path.points, SCALE) if len(piece) > 1]
    if not parts:
        return ""
    fill = f' fill="{blend_on_white(path.fill, path.opacity)}"' if path.fill else ' fill="none"'
    stroke = ""
    if path.stroke:
        stroke = f' stroke="{blend_on_white(path.stroke, path.opacity)}" stroke-width="{_svg_number(path.width)}"'
        stroke += ' stroke-linejoin="round"' if path.round else ""
        if path.dash:
            stroke += f' stroke-dasharray="{_svg_number(path.dash[0])} {_svg_number(path.dash[1])}"'
    drawn = "".join(parts)
    return f'<path{fill}{stroke} d="{drawn}"/>'


def _svg_path_data(points: list[list[int]]) -> str:
    """Return the path with relative moves: their numbers are short, and a minus needs no space before it."""
    x, y = points[0]
    out = []
    begin = f"M{x} {y}"
    for next_x, next_y in points[1:]:
        out.append(f"{next_x - x} {next_y - y}")
        x, y = next_x, next_y
    if len(out) == 1:
        across, _, down = out[0].partition(" ")
        if across == "0" or down == "0":
            return f"{begin}v{down}" if across == "0" else f"{begin}h{across}"
    return f"{begin}l{' '.join(out)}".replace(" -", "-")


def _svg_box(box: BoxShape) -> str:
    place = [round(value * SCALE) for value in (box.x, box.y, box.width, box.height)]
    text = '<rect x="{}" y="{}" width="{}" height="{}"'.format(*place)
    text += f' rx="{_svg_number(box.radius)}"' if box.radius else ""
    fill = blend_on_white(box.fill, box.opacity) or "none"
    text += f' fill="{fill}"'
    text += f' stroke="{box.stroke}" stroke-width="{SCALE // 2}"' if box.stroke else ""
    return f"{text}><title>{escape(box.title)}</title></rect>" if box.title else f"{text}/>"


def _svg_text(text: TextShape) -> str:
    x, y = round(text.x * SCALE), round(text.y * SCALE)
    more = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    more += ' font-weight="bold"' if text.bold else ""
    more += f' transform="rotate(-90 {x} {y})"' if text.turned else ""
    attributes = f'font-size="{_svg_number(text.size)}" fill="{text.colour}"{more}'
    return f'<text x="{x}" y="{y}" {attributes}>{escape(text.text)}</text>'


def _svg_number(value: float) -> str:
    return f"{value * SCALE:.2f}".rstrip("0").rstrip(".")
