"""A stretch of signal with one beat marked, drawn as the trace of the dashboard."""

import numpy as np
from rich.segment import Segment

from agent.core.messages import FloatArray
from agent.dashboard import wave_raster
from agent.dashboard.calibration import GUTTER_WIDTH, with_calibration
from agent.dashboard.lines import StyledLine, styled_line
from agent.dashboard.styles import FAINT, NOTICE, PLAIN, GlyphSet
from agent.dashboard.trace import TraceSweep, draw_trace_grid, voltage_labels, wave_lines
from model.records.resample import FS

BEAT_MARK = "?"
"""Stands above and below the beat that is asked for."""


def quiz_trace_lines(wave: FloatArray, marked: int, size: tuple[int, int], glyphs: GlyphSet) -> list[StyledLine]:
    """Return a wave (n,) float32 mV at 125 Hz, `size` columns and lines, with its sample `marked` marked."""
    width, height = size
    columns, rows = width - GUTTER_WIDTH, height - 2
    length = len(wave)
    sweep = TraceSweep(length, length, columns, 0)
    window = wave_raster.fit_window(wave)
    placed = np.asarray(wave, np.float32)
    body = wave_lines(placed, window, sweep, [], draw_trace_grid(window, rows, columns, length, glyphs.grid), glyphs)
    at = sweep.column(marked)
    mark = [Segment(" " * at, PLAIN), Segment(BEAT_MARK, NOTICE), Segment(" " * (columns - at - 1), PLAIN)]
    axis = [" "] * columns
    for second in range(length // FS):
        axis[sweep.column(second * FS)] = glyphs.tick
    axis[at] = BEAT_MARK
    return [
        [*styled_line(GUTTER_WIDTH, ("mV".rjust(GUTTER_WIDTH - 1), FAINT)), *mark],
        *with_calibration(body, voltage_labels(window, rows), window, 0, glyphs),
        [Segment(f"{f'{length // FS} s':>{GUTTER_WIDTH - 1}} ", FAINT), Segment("".join(axis), FAINT)],
    ]
