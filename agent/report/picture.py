"""A drawing for both HTML and PDF: shapes in points, measured from the left and from the top."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
TextAnchor = Literal["start", "middle", "end"]
INK, GREY, LINE, PALE = "#1d2a35", "#64717d", "#c9d1d8", "#eef1f4"
MM = 72 / 25.4
"""Points in a millimetre."""
WIDTH = 250 * MM
"""Width of a page's pictures: ten seconds at 25 mm/s."""
COLUMN_GAP = 14.0
"""Points between columns that stand side by side."""


@dataclass(frozen=True, slots=True, eq=False)
class PathShape:
    """A line through points (n, 2), broken by NaN; closed and filled if it has a `fill`."""

    points: Points
    stroke: str = ""
    width: float = 1.0
    fill: str = ""
    opacity: float = 1.0
    dash: tuple[float, float] | None = None
    round: bool = False


@dataclass(frozen=True, slots=True)
class BoxShape:
    """A rectangle; `title` is its tooltip on an HTML page."""

    x: float
    y: float
    width: float
    height: float
    fill: str = ""
    stroke: str = ""
    radius: float = 0.0
    opacity: float = 1.0
    title: str = ""


@dataclass(frozen=True, slots=True)
class TextShape:
    """A line of text whose base line is at `y`; `turned` reads upwards."""

    x: float
    y: float
    text: str
    size: float = 8.0
    colour: str = INK
    anchor: TextAnchor = "start"
    bold: bool = False
    turned: bool = False


Shape = PathShape | BoxShape | TextShape


def blend_on_white(colour: str, opacity: float) -> str:
    """Return a colour as it looks on white, so that nothing is transparent: printers handle that badly."""
    if opacity >= 1 or not colour:
        return colour
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - opacity * (255 - part)):02x}" for part in parts)


def split_path_points(points: Points, scale: float) -> list[NDArray[np.int64]]:
    """Return the unbroken pieces (k, 2) of a path's points (n, 2), in whole numbers of 1 / scale points."""
    broken: NDArray[np.bool_] = np.isnan(points[:, 0]) | np.isnan(points[:, 1])
    if not broken.any():
        return [np.rint(points * scale).astype(np.int64)]
    edges = np.flatnonzero(np.diff(np.concatenate([[True], broken, [True]]).astype(np.int8)))
    whole = np.rint(np.where(broken[:, None], 0.0, points) * scale).astype(np.int64)
    return [whole[start:stop] for start, stop in edges.reshape(-1, 2).tolist()]


@dataclass(slots=True)
class Picture:
    """A list of shapes; `title` describes the picture for readers who cannot see it."""

    height: float
    title: str
    width: float = WIDTH
    shapes: list[Shape] = field(default_factory=list)

    def line(
        self,
        ends: tuple[float, float, float, float],
        stroke: str = LINE,
        width: float = 0.5,
        dash: tuple[float, float] | None = None,
    ) -> None:
        """Draw a straight line; `ends` are x, y, x, y."""
        self.shapes.append(PathShape(np.array(ends, np.float64).reshape(2, 2), stroke, width, dash=dash))

    def lines(self, ends: Points, stroke: str, width: float, opacity: float = 1.0) -> None:
        """Draw straight lines; `ends` (n, 4) are x, y, x, y of each."""
        broken = np.full((len(ends), 3, 2), np.nan)  # one path for all lines, NaN between them
        broken[:, :2] = ends.reshape(-1, 2, 2)
        self.shapes.append(PathShape(broken.reshape(-1, 2), stroke, width, opacity=opacity))

    def path(
        self,
        x: Points,
        y: Points,
        stroke: str = "",
        width: float = 1.0,
        fill: str = "",
        opacity: float = 1.0,
        dash: tuple[float, float] | None = None,
    ) -> None:
        """Draw a line through the points `x` (n,) and `y` (n,)."""
        points = np.stack([x, y], axis=1).astype(np.float64)
        self.shapes.append(PathShape(points, stroke, width, fill, opacity, dash, round=True))

    def box(
        self,
        place: tuple[float, float, float, float],
        fill: str = "",
        stroke: str = "",
        radius: float = 0.0,
        opacity: float = 1.0,
        title: str = "",
    ) -> None:
        """Draw a rectangle; `place` is x, y, width and height."""
        self.shapes.append(BoxShape(*place, fill, stroke, radius, opacity, title))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 8.0,
        colour: str = INK,
        anchor: TextAnchor = "start",
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """Write a line of text whose base line is at `y`."""
        self.shapes.append(TextShape(x, y, text, size, colour, anchor, bold, turned))


def column_width(width: float, share: float, columns: int) -> float:
    """Return the points of one of some columns side by side that has a share of the width, less the gaps."""
    return share * (width - COLUMN_GAP * (columns - 1))


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers between two ends, about `most` of them at most."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, most)
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10, 20) if factor * power >= raw * (1 - 1e-9))
    # A relative billionth of tolerance: 0.3 / 0.1 is not quite 3.
    first = np.ceil(low / step - 1e-9)
    return [float(round((first + i) * step, 10)) for i in range(int((high - first * step) / step + 1e-9) + 1)]


def extend_to_ticks(low: float, high: float, most: int) -> tuple[float, float]:
    """Return the span between two values, extended to round numbers."""
    marks = round_ticks(low, high, most)
    step = marks[1] - marks[0] if len(marks) > 1 else (high - low) or 1.0
    return float(np.floor(low / step + 1e-9) * step), float(np.ceil(high / step - 1e-9) * step)


def draw_colour_legend(
    picture: Picture, x: float, y: float, items: Sequence[tuple[str, str]], size: float = 7.5
) -> None:
    """Draw colours with their meaning in a row that begins at `x`."""
    for colour, text in items:
        picture.box((x, y - size * 0.75, size, size * 0.8), colour)
        picture.text(x + size + 3, y, text, size, GREY)
        # The mean width of a letter of Helvetica; no font is at hand here to measure with.
        x += size + 14 + 0.52 * size * len(text)
