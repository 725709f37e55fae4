"""Trends as characters: the range and mean of a rate, and bars from zero, over the columns of the screen."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style

from agent.core.look_back import BedTrend
from agent.core.messages import FloatArray
from agent.dashboard import wave_raster
from agent.dashboard.lines import StyledLine
from agent.dashboard.styles import FAINT, PLAIN, GlyphSet

TREND_GUTTER = 6
"""Columns left of a chart for its scale."""
RATE_STEP = 20
"""Beats a minute to whose multiples the scale of heart rates is rounded."""
NICE_TOPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, slots=True)
class ChartColumns:
    """How `count` minutes lie on `columns` of characters."""

    count: int
    columns: int

    def column_of(self, minute: float) -> int:
        """Return the column of a minute, counted from the first; it may lie outside."""
        return int(minute * self.columns // self.count)


def rate_lines(trend: BedTrend, places: ChartColumns, rows: int, style: Style, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the heart rate: from lowest to highest faint, and its mean in `style` over it."""
    window = rate_window(trend)
    low, high = _dot_spans(trend.lowest, trend.highest, places, glyphs)
    mean, mean_top = _dot_spans(trend.heart_rate, trend.heart_rate, places, glyphs)
    span = wave_raster.raster_trace(low, high, window, rows, glyphs.ascii)
    line = wave_raster.raster_trace(mean, mean_top, window, rows, glyphs.ascii)
    # A character of the mean shows only the mean, or in ASCII the range could not be told from it
    codes = np.where(line > 0, line, span)
    points = np.where(codes > 0, wave_raster.to_code_points(codes, glyphs.ascii), ord(" "))
    block = _merge(points, line > 0, style)
    middle = window.bottom + window.height / 2
    labels = {0: f"{window.top:g}", rows - 1: f"{window.bottom:g}"} | ({rows // 2: f"{middle:g}"} if rows > 4 else {})
    return _with_gutter(block, labels)


def bar_lines(
    values: FloatArray, top: float, places: ChartColumns, shape: tuple[int, str], style: Style, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return bars from zero to values (n,); `shape`: rows, and the text of the value at the top."""
    rows, label = shape
    zeros = np.where(np.isnan(values), np.float32("nan"), np.float32(0))
    low, high = _dot_spans(zeros, values, places, glyphs)
    codes = wave_raster.raster_trace(low, high, wave_raster.VoltageWindow(0.0, top), rows, glyphs.ascii)
    points = np.where(codes > 0, wave_raster.to_code_points(codes, glyphs.ascii), ord(" "))
    return _with_gutter(_merge(points, codes > 0, style), {0: label, rows - 1: "0"} if rows > 1 else {0: label})


def rate_window(trend: BedTrend) -> wave_raster.VoltageWindow:
    """Return the heart rates from the bottom to the top of their chart."""
    low, high = trend.lowest[np.isfinite(trend.lowest)], trend.highest[np.isfinite(trend.highest)]
    if not len(low):
        return wave_raster.VoltageWindow(40.0, 80.0)
    bottom = float(np.floor((low.min() - 5) / RATE_STEP) * RATE_STEP)
    top = float(np.ceil((high.max() + 5) / RATE_STEP) * RATE_STEP)
    if (top - bottom) / RATE_STEP % 2:  # so that the middle is a round number, too
        top += RATE_STEP
    return wave_raster.VoltageWindow(max(0.0, bottom), top - max(0.0, bottom))


def nice_top(values: FloatArray, least: float) -> float:
    """Return a round number that is not below any of the values (n,), and not below `least`."""
    known = values[np.isfinite(values)]
    highest = max(least, float(known.max()) if len(known) else 0.0)
    return next((float(top) for top in NICE_TOPS if top >= highest), highest)


def _dot_spans(
    low: FloatArray, high: FloatArray, places: ChartColumns, glyphs: GlyphSet
) -> tuple[FloatArray, FloatArray]:
    """Return lowest and highest value of each column of dots, both (dots,), NaN where nothing is known."""
    dots = wave_raster.dots_across(places.columns, glyphs.ascii)
    count = len(low)
    if dots >= count:
        at = np.arange(dots) * count // dots
        return low[at], high[at]
    starts = -(-np.arange(dots) * count // dots)
    return np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)


def _merge(points: wave_raster.CodePoints, is_drawn: NDArray[np.bool_], style: Style) -> list[StyledLine]:
    """Return rows of characters, those that are drawn in the style, the others faint."""
    lines: list[StyledLine] = []
    for codes, drawn in zip(points, is_drawn, strict=True):
        text = "".join(map(chr, codes.tolist()))
        edges = [0, *(np.flatnonzero(np.diff(drawn)) + 1).tolist(), len(text)]
        lines.append([Segment(text[a:b], style if drawn[a] else FAINT) for a, b in pairwise(edges) if b > a])
    return lines


def _with_gutter(block: list[StyledLine], labels: dict[int, str]) -> list[StyledLine]:
    gutters = [Segment(f"{labels.get(row, ''):>{TREND_GUTTER - 1}} ", FAINT) for row in range(len(block))]
    return [[gutter, *line] for gutter, line in zip(gutters, block, strict=True)]


def empty_gutter() -> Segment:
    """Return the columns left of a line that has no scale."""
    return Segment(" " * TREND_GUTTER, PLAIN)
