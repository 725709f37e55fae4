"""The calibration mark left of a trace, as on paper: a box one millivolt high and 0.2 s wide."""

import numpy as np
from rich.segment import Segment

from agent.dashboard import wave_raster
from agent.dashboard.lines import StyledLine
from agent.dashboard.styles import FAINT, GlyphSet
from model.records.resample import FS

GUTTER_WIDTH = 5
"""Columns left of a trace for its millivolts."""
BOX_S, BOX_MV = 0.2, 1.0
LEAST_TRACE_COLUMNS = 60
"""Columns of a trace from which it gives some to the box."""
MOST_BOX_COLUMNS = 12


def calibration_columns(length: int, columns: int, uncalibrated: bool) -> int:
    """Return the columns of the box beside `length` samples on `columns`; 0 for none: too little room, or no scale."""
    if uncalibrated or columns < LEAST_TRACE_COLUMNS:
        return 0
    needed = round(columns * BOX_S * FS / length) + 2
    return needed if needed <= MOST_BOX_COLUMNS else 0


def trace_gutter(length: int, width: int, uncalibrated: bool) -> int:
    """Return the cells left of a trace that is `width` cells wide with them: its millivolts, and the box."""
    return GUTTER_WIDTH + calibration_columns(length, width - GUTTER_WIDTH, uncalibrated)


def with_calibration(
    body: list[StyledLine], labels: dict[int, str], window: wave_raster.VoltageWindow, box: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the lines of a trace with the labels of its grid and a box of `box` columns left of them."""
    marks = _box_rows(window, len(body), box, glyphs) if box else [""] * len(body)
    return [
        [Segment(f"{labels.get(row, ''):>{GUTTER_WIDTH - 1}} {mark}", FAINT), *line]
        for row, (mark, line) in enumerate(zip(marks, body, strict=True))
    ]


def _box_rows(window: wave_raster.VoltageWindow, rows: int, box: int, glyphs: GlyphSet) -> list[str]:
    """Return the box as rows of `box` characters: from 0 mV up if that is inside, else in the middle."""
    height = BOX_MV if window.height > 1.25 * BOX_MV else 0.0
    if not height:  # higher than the screen
        return [" " * box] * rows
    base = 0.0 if window.bottom <= 0.0 <= window.top - height else window.bottom + (window.height - height) / 2
    dots = wave_raster.dots_across(box, glyphs.ascii)
    foot = 2 if glyphs.ascii else 3
    low = np.full(dots, base + height, np.float32)
    high = np.full(dots, base + height, np.float32)
    edge = 1
    low[:edge] = high[:edge] = base
    low[edge] = low[dots - foot] = base
    low[dots - foot + 1 :] = high[dots - foot + 1 :] = base
    low[-1] = high[-1] = np.nan  # a blank between box and trace
    codes = wave_raster.raster_trace(low, high, window, rows, glyphs.ascii)
    points = np.where(codes > 0, wave_raster.to_code_points(codes, glyphs.ascii), ord(" "))
    return ["".join(map(chr, row)) for row in points.tolist()]
