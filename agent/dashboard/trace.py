"""The trace of one bed: the class of each beat above, the wave over a faint grid, the seconds below."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment

from agent.core.messages import Beat, FloatArray
from agent.core.views import BedView
from agent.dashboard import wave_raster
from agent.dashboard.calibration import GUTTER_WIDTH, calibration_columns, with_calibration
from agent.dashboard.cell_overlay import overlay_text
from agent.dashboard.lines import StyledLine, class_letter, label_index, styled_line
from agent.dashboard.reference_lines import reference_marks_line
from agent.dashboard.styles import CLASS_STYLES, EVENT_STYLES, FAINT, PLAIN, GlyphSet
from model.records.resample import FS

LEAST_SCALE_COLUMNS = 60
"""Columns of a trace from which its foot says what the grid stands for."""
LEAST_STEP_COLUMNS = 2.0
"""Least columns between two dots of the grid."""
ERASED_SHARE = 0.03
"""Share of the sweep that is empty ahead of the newest sample."""
BEFORE_S = 0.14
AFTER_S = 0.40
"""Seconds before and after an R peak that have the colour of the beat's class."""
_TRACE_INKS = (FAINT, *CLASS_STYLES.values())
"""Styles of a trace's cells: the grid, then the classes in order (between beats the wave has the style of N)."""


@dataclass(frozen=True, slots=True)
class TraceSweep:
    """How samples lie on the screen: `head` is the newest index + 1, `length` and `erased` are in samples."""

    head: int
    length: int
    columns: int
    erased: int

    @staticmethod
    def of(head: int, seconds: int, columns: int) -> "TraceSweep":
        """Return a sweep of `seconds`, with at least two empty columns ahead of the newest sample."""
        length = seconds * FS
        return TraceSweep(head, length, columns, max(2 * length // columns + 1, round(length * ERASED_SHARE)))

    def visible(self, beats: tuple[Beat, ...]) -> list[tuple[int, Beat]]:
        """Return column and beat of each beat on the screen, newest first."""
        oldest = self.head - self.length + self.erased
        places = []
        for beat in reversed(beats):
            if beat.sample < oldest:
                break
            if beat.sample < self.head:
                places.append((self.column(beat.sample), beat))
        return places

    def column(self, sample: int) -> int:
        """Return the column in which a sample lies."""
        return sample % self.length * self.columns // self.length


def trace_lines(
    bed: BedView,
    window: wave_raster.VoltageWindow,
    seconds: int,
    size: tuple[int, int],
    least_confidence: float,
    glyphs: GlyphSet,
) -> list[StyledLine]:
    """Return the trace of a bed, `size` columns and lines including the letters above and the time axis below."""
    width, height = size
    box = calibration_columns(seconds * FS, width - GUTTER_WIDTH, bed.uncalibrated)
    sweep = TraceSweep.of(bed.head, seconds, width - GUTTER_WIDTH - box)
    rows = height - (2 if bed.reference is None else 3)
    placed = wave_raster.place_sweep(bed.wave, bed.head, sweep.length, sweep.erased)
    beats = sweep.visible(bed.beats)
    grid = draw_trace_grid(window, rows, sweep.columns, sweep.length, glyphs.grid)
    body = wave_lines(placed, window, sweep, beats, grid, glyphs)
    about = glyphs.about if bed.uncalibrated else ""
    labels = [
        *styled_line(GUTTER_WIDTH + box, (f"{about}mV".rjust(GUTTER_WIDTH - 1), FAINT)),
        *beat_marks_line(beats, sweep.columns, least_confidence, glyphs),
    ]
    axis = _time_axis_line(bed, placed, sweep, grid_words(sweep.length, sweep.columns, window, rows), glyphs)
    return [
        labels,
        *_reference_lines(bed, sweep, GUTTER_WIDTH + box),
        *with_calibration(body, voltage_labels(window, rows), window, box, glyphs),
        [*styled_line(GUTTER_WIDTH + box, (f"{seconds} s".rjust(GUTTER_WIDTH - 1), FAINT)), *axis],
    ]


def _reference_lines(bed: BedView, sweep: TraceSweep, gutter: int) -> list[StyledLine]:
    """Return the line below the letters of the beats with those of the reference; none without a reference."""
    if bed.reference is None:
        return []
    oldest = sweep.head - sweep.length + sweep.erased
    marks = enumerate(bed.reference.marks)
    places = [(sweep.column(mark.sample), i) for i, mark in marks if oldest <= mark.sample < sweep.head]
    title = styled_line(gutter, ("ref".rjust(GUTTER_WIDTH - 1), FAINT))
    return [[*title, *reference_marks_line(bed.reference, places, sweep.columns)]]


def wave_lines(
    placed: FloatArray,
    window: wave_raster.VoltageWindow,
    sweep: TraceSweep,
    beats: list[tuple[int, Beat]],
    grid: wave_raster.CodePoints,
    glyphs: GlyphSet,
) -> list[StyledLine]:
    """Draw a wave, coloured by the classes of its beats, over a grid.

    Parameters
    ----------
    placed : ndarray, shape (sweep.length,), float32
        Samples in mV at their places in the sweep, NaN where nothing is drawn.
    window
        The millivolts from the bottom to the top of the grid.
    sweep
        How samples lie on the screen.
    beats
        Column and beat of each beat, newest first.
    grid : ndarray, shape (rows, sweep.columns), uint32
        Code points of the characters behind the wave.
    glyphs
        The characters to draw with.

    Returns
    -------
    list of StyledLine
        One line of `sweep.columns` cells per row of the grid.
    """
    low, high = wave_raster.column_spans(placed, wave_raster.dots_across(sweep.columns, glyphs.ascii))
    codes = wave_raster.raster_trace(low, high, window, len(grid), glyphs.ascii)
    drawn = codes > 0
    points = np.where(drawn, wave_raster.to_code_points(codes, glyphs.ascii), grid)
    return merge_styled_cells(points, np.where(drawn, class_inks(beats, sweep), np.uint8(0)))


def beat_marks_line(
    beats: list[tuple[int, Beat]], columns: int, least_confidence: float, glyphs: GlyphSet
) -> StyledLine:
    """Return a line with the letter of each beat's class above its R peak."""
    shown = dict(beats[::-1])  # of several beats in one column the newest is shown
    line = []
    end = 0
    for column in sorted(shown):
        letter = class_letter(shown[column], least_confidence, glyphs)
        line += [Segment(" " * (column - end), PLAIN), Segment(*letter)]
        end = column + 1
    return [*line, Segment(" " * (columns - end), PLAIN)]


def class_inks(beats: list[tuple[int, Beat]], sweep: TraceSweep) -> NDArray[np.uint8]:
    """Return (columns,) uint8, the index into _TRACE_INKS of the class whose beat is drawn in each column."""
    inks = np.ones(sweep.columns, dtype=np.uint8)
    columns_per_s = FS * sweep.columns / sweep.length
    before = max(1, round(BEFORE_S * columns_per_s))
    after = max(1, round(AFTER_S * columns_per_s))
    # Oldest first, so that the newer of two overlapping beats sets the colour
    for column, beat in reversed(beats):
        inks[max(0, column - before) : column + after] = label_index(beat.label) + 1
    return inks


def merge_styled_cells(points: wave_raster.CodePoints, inks: NDArray[np.uint8]) -> list[StyledLine]:
    """Turn code points and inks, both (rows, columns), into one line of segments per row.

    A space takes the style of the character before it, which saves most changes of style.
    """
    rows, columns = points.shape
    places = np.arange(rows * columns).reshape(rows, columns)
    # For each cell the place of the last cell before it that is not a space
    seen = np.maximum.accumulate(np.where(points != ord(" "), places, places[:, :1]), axis=1)
    inks = inks.ravel()[seen]
    text = points.astype("<u4").tobytes().decode("utf-32-le")
    changes = np.ones((rows, columns), dtype=bool)
    np.not_equal(inks[:, 1:], inks[:, :-1], out=changes[:, 1:])
    starts = np.flatnonzero(changes)
    styles = inks.ravel()[starts].tolist()
    lines: list[StyledLine] = [[] for _ in range(rows)]
    begins = starts.tolist()
    for begin, end, style in zip(begins, [*begins[1:], rows * columns], styles, strict=True):
        lines[begin // columns].append(Segment(text[begin:end], _TRACE_INKS[style]))
    return lines


def _voltage_step(window: wave_raster.VoltageWindow, rows: int) -> float:
    """Return the millivolts between two lines of the grid."""
    most = min(6, rows // 2)
    return next((step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if window.height / step <= most), 20.0)


def _time_step(length: int, columns: int) -> float:
    """Return the seconds between two dots of the grid: 0.2, as between the thick lines of paper, if there is room."""
    columns_per_s = columns / (length / FS)
    return next((step for step in (0.2, 0.5) if columns_per_s * step >= LEAST_STEP_COLUMNS), 1.0)


def grid_words(length: int, columns: int, window: wave_raster.VoltageWindow, rows: int) -> str:
    """Say what the grid of a trace stands for; "" if there is too little room."""
    if columns < LEAST_SCALE_COLUMNS:
        return ""
    return f"grid {_time_step(length, columns):g} s, {_voltage_step(window, rows):g} mV"


@lru_cache(maxsize=64)
def axis_chars(length: int, columns: int, glyphs: GlyphSet) -> str:
    """Return the characters of a time axis: a tick at each second, smaller ones between them as the grid has them."""
    chars = [" "] * columns
    step = _time_step(length, columns)
    for i in range(round(length / FS / step)):
        chars[int(i * step * FS) * columns // length] = glyphs.fine_tick
    for second in range(-(-length // FS)):
        chars[second * FS * columns // length] = glyphs.tick
    return "".join(chars)


def _grid_levels(window: wave_raster.VoltageWindow, rows: int) -> list[float]:
    """Return the millivolts of the grid's lines: at most six round values, at most one in two rows."""
    step = _voltage_step(window, rows)
    first = int(np.ceil(window.bottom / step))
    return [i * step for i in range(first, int(window.top / step) + 1)]


def _level_row(window: wave_raster.VoltageWindow, rows: int, level: float) -> int:
    return min(rows - 1, max(0, int((window.top - level) / window.height * rows)))


def voltage_labels(window: wave_raster.VoltageWindow, rows: int) -> dict[int, str]:
    labels = {_level_row(window, rows, level): f"{level:g}" for level in _grid_levels(window, rows)}
    return {row: label for row, label in labels.items() if len(label) < GUTTER_WIDTH}


@lru_cache(maxsize=64)
def draw_trace_grid(
    window: wave_raster.VoltageWindow, rows: int, columns: int, length: int, dot: str
) -> wave_raster.CodePoints:
    """Return the code points (rows, columns) of the grid: dots on lines of voltage, and at each second."""
    grid = np.full((rows, columns), ord(" "), dtype=np.uint32)
    fine = _time_step(length, columns)
    lines = sorted({_level_row(window, rows, level) for level in _grid_levels(window, rows)})
    across = [int(i * fine * FS) * columns // length for i in range(round(length / FS / fine))]
    grid[np.ix_(lines, across)] = ord(dot)
    grid[:, [second * FS * columns // length for second in range(length // FS)]] = ord(dot)
    return grid


def _time_axis_line(bed: BedView, placed: FloatArray, sweep: TraceSweep, scale: str, glyphs: GlyphSet) -> StyledLine:
    """Return a line with the ticks of the grid, and a mark below each column whose samples are missing.

    At its end it says the `scale`, unless something is missing there.
    """
    chars = axis_chars(sweep.length, sweep.columns, glyphs)
    lost = _missing_columns(bed, placed, sweep)
    edges = [0, *(np.flatnonzero(lost[1:] != lost[:-1]) + 1).tolist(), sweep.columns]
    line = [
        Segment(glyphs.missing * (end - begin), EVENT_STYLES["gap"])
        if lost[begin]
        else Segment(chars[begin:end], FAINT)
        for begin, end in pairwise(edges)
    ]
    end = sweep.columns - len(scale) - 2
    return line if not scale or lost[end:].any() else overlay_text(line, end, f" {scale} ", FAINT)


def _missing_columns(bed: BedView, placed: FloatArray, sweep: TraceSweep) -> NDArray[np.bool_]:
    """Return (columns,) bool, whether a column has no value though it lies between the first sample and the newest."""
    values = np.flatnonzero(~np.isnan(bed.wave))
    if not len(values):
        return np.zeros(sweep.columns, dtype=bool)
    since_first = np.ones(
        len(bed.wave) - values[0], dtype=np.float32
    )  # before the first value the monitor was not yet connected
    due = ~np.isnan(wave_raster.place_sweep(since_first, bed.head, sweep.length, sweep.erased))
    known = ~np.isnan(placed)
    edges = np.arange(sweep.columns) * sweep.length // sweep.columns
    lost: NDArray[np.bool_] = np.logical_or.reduceat(due, edges) & ~np.logical_or.reduceat(known, edges)
    return lost
