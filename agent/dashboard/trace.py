"""One bed's trace: the class of each beat above it, the wave over a faint grid, the seconds below."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment

from agent.core.messages import Beat, BedView, FloatArray
from agent.dashboard import wave_raster
from agent.dashboard.lines import StyledLine, label_index, styled_line
from agent.dashboard.styles import CLASS_MARKS, CLASS_STYLES, EVENT_STYLES, FAINT, PLAIN, STATE_STYLES, GlyphSet
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

GUTTER_WIDTH = 5
"""Columns left of the trace for its millivolts."""
ERASED_SHARE = 0.03
"""Part of the sweep that is empty ahead of the newest sample."""
BEFORE_S, AFTER_S = 0.14, 0.40
"""Seconds before and after an R peak that bear the colour of the beat's class."""
_TRACE_INKS = (FAINT, *CLASS_STYLES.values())
"""Styles of a trace's cells: the grid, then the classes in order (the wave between beats is that of N)."""


@dataclass(frozen=True, slots=True)
class TraceSweep:
    """How samples lie on the screen: `head` the newest index + 1, `length` and `erased` in samples, `columns` wide."""

    head: int
    length: int
    columns: int
    erased: int

    @staticmethod
    def of(head: int, seconds: int, columns: int) -> "TraceSweep":
        """The sweep of so many seconds, with at least two empty columns ahead of the newest sample."""
        length = seconds * FS
        return TraceSweep(head, length, columns, max(2 * length // columns + 1, round(length * ERASED_SHARE)))

    def visible(self, beats: tuple[Beat, ...]) -> list[tuple[int, int]]:
        """Column and class index of each beat on the screen, newest first."""
        oldest, found = self.head - self.length + self.erased, []
        for beat in reversed(beats):
            if beat.sample < oldest:
                break
            if beat.sample < self.head:
                found.append((beat.sample % self.length * self.columns // self.length, label_index(beat.label)))
        return found


def trace_lines(
    bed: BedView, window: wave_raster.VoltageWindow, seconds: int, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Lines of a bed's trace, `size` columns and lines with the labels above and the time below it."""
    width, height = size
    sweep = TraceSweep.of(bed.head, seconds, width - GUTTER_WIDTH)
    rows = height - 2
    placed = wave_raster.place_sweep(bed.wave, bed.head, sweep.length, sweep.erased)
    beats = sweep.visible(bed.beats)
    grid = _draw_trace_grid(window, rows, sweep.columns, sweep.length, glyphs.grid)
    body = wave_lines(placed, window, sweep, beats, grid, glyphs)
    scale = _scale_labels(window, rows)
    margins = [Segment(f"{scale.get(row, ''):>{GUTTER_WIDTH - 1}} ", FAINT) for row in range(rows)]
    labels = [
        *styled_line(GUTTER_WIDTH, (f"{'mV':>{GUTTER_WIDTH - 1}}", FAINT)),
        *_beat_marks_line(beats, sweep.columns),
    ]
    below = _time_axis_line(bed, placed, sweep, seconds, glyphs)
    if bed.state not in ("ok", "learning"):
        body[rows // 2] = _state_notice_line(bed, sweep.columns)
    return [
        labels,
        *([margin, *row] for margin, row in zip(margins, body, strict=True)),
        [Segment(f"{f'{seconds} s':>{GUTTER_WIDTH - 1}} ", FAINT), *below],
    ]


def wave_lines(
    placed: FloatArray,
    window: wave_raster.VoltageWindow,
    sweep: TraceSweep,
    beats: list[tuple[int, int]],
    grid: wave_raster.CodePoints,
    glyphs: GlyphSet,
) -> list[StyledLine]:
    """A wave, coloured by the classes of its beats, over a (rows, columns) grid."""
    low, high = wave_raster.column_spans(placed, wave_raster.dots_across(sweep.columns, glyphs.ascii))
    codes = wave_raster.raster_trace(low, high, window, len(grid), glyphs.ascii)
    drawn = codes > 0
    points = np.where(drawn, wave_raster.to_code_points(codes, glyphs.ascii), grid)
    return merge_styled_cells(points, np.where(drawn, class_inks(beats, sweep), np.uint8(0)))


def _beat_marks_line(beats: list[tuple[int, int]], columns: int) -> StyledLine:
    """One line with the letter of each beat's class above its R peak."""
    found = dict(beats[::-1])
    made, at = [], 0
    for column in sorted(found):
        name = CLASSES[found[column]]
        made += [Segment(" " * (column - at), PLAIN), Segment(name, CLASS_MARKS[name])]
        at = column + 1
    return [*made, Segment(" " * (columns - at), PLAIN)]


def class_inks(beats: list[tuple[int, int]], sweep: TraceSweep) -> NDArray[np.uint8]:
    """(columns,) index into _INKS of the class whose beat is drawn there."""
    inks = np.ones(sweep.columns, dtype=np.uint8)
    a_second = FS * sweep.columns / sweep.length
    before, after = max(1, round(BEFORE_S * a_second)), max(1, round(AFTER_S * a_second))
    for column, index in reversed(beats):
        inks[max(0, column - before) : column + after] = index + 1
    return inks


def merge_styled_cells(points: wave_raster.CodePoints, inks: NDArray[np.uint8]) -> list[StyledLine]:
    """Lines of segments, of (rows, columns); a space takes the style before it, which saves most changes of style."""
    rows, columns = points.shape
    places = np.arange(rows * columns).reshape(rows, columns)
    seen = np.maximum.accumulate(np.where(points != ord(" "), places, places[:, :1]), axis=1)
    inks = inks.ravel()[seen]
    text = points.astype("<u4").tobytes().decode("utf-32-le")
    changes = np.ones((rows, columns), dtype=bool)
    np.not_equal(inks[:, 1:], inks[:, :-1], out=changes[:, 1:])
    starts = np.flatnonzero(changes)
    styles = inks.ravel()[starts].tolist()
    made: list[StyledLine] = [[] for _ in range(rows)]
    begins = starts.tolist()
    for begin, end, style in zip(begins, [*begins[1:], rows * columns], styles, strict=True):
        made[begin // columns].append(Segment(text[begin:end], _TRACE_INKS[style]))
    return made


def _grid_levels(window: wave_raster.VoltageWindow, rows: int) -> list[float]:
    """Millivolts of the grid's lines, at round values: at most six, and no closer than every other row."""
    most = min(6, rows // 2)
    step = next((step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if window.height / step <= most), 20.0)
    first = int(np.ceil(window.bottom / step))
    return [i * step for i in range(first, int(window.top / step) + 1)]


def _level_row(window: wave_raster.VoltageWindow, rows: int, level: float) -> int:
    return min(rows - 1, max(0, int((window.top - level) / window.height * rows)))


def _scale_labels(window: wave_raster.VoltageWindow, rows: int) -> dict[int, str]:
    labels = {_level_row(window, rows, level): f"{level:g}" for level in _grid_levels(window, rows)}
    return {row: label for row, label in labels.items() if len(label) < GUTTER_WIDTH}


@lru_cache(maxsize=64)
def _draw_trace_grid(
    window: wave_raster.VoltageWindow, rows: int, columns: int, length: int, dot: str
) -> wave_raster.CodePoints:
    """Points of the empty screen: dots at each grid line of voltage, every 0.2 s, and at each second on every row."""
    grid = np.full((rows, columns), ord(" "), dtype=np.uint32)
    fine = 0.2 if columns / (length / FS) >= 15 else 0.5
    lines = sorted({_level_row(window, rows, level) for level in _grid_levels(window, rows)})
    across = [int(i * fine * FS) * columns // length for i in range(round(length / FS / fine))]
    grid[np.ix_(lines, across)] = ord(dot)
    grid[:, [second * FS * columns // length for second in range(length // FS)]] = ord(dot)
    return grid


def _time_axis_line(bed: BedView, placed: FloatArray, sweep: TraceSweep, seconds: int, glyphs: GlyphSet) -> StyledLine:
    """A tick at each second, and a mark below every column whose samples are missing."""
    chars = [" "] * sweep.columns
    for second in range(seconds):
        chars[second * FS * sweep.columns // sweep.length] = glyphs.tick
    made: StyledLine = []
    lost = _missing_columns(bed, placed, sweep)
    for column in range(sweep.columns):
        style = EVENT_STYLES["gap"] if lost[column] else FAINT
        char = glyphs.missing if lost[column] else chars[column]
        if made and made[-1].style is style:
            made[-1] = Segment(made[-1].text + char, style)
        else:
            made.append(Segment(char, style))
    return made


def _missing_columns(bed: BedView, placed: FloatArray, sweep: TraceSweep) -> NDArray[np.bool_]:
    """Columns without a single value, though their time has come."""
    values = np.flatnonzero(~np.isnan(bed.wave))
    if not len(values):
        return np.zeros(sweep.columns, dtype=bool)
    since_first = np.ones(len(bed.wave) - values[0], dtype=np.float32)  # before it, nobody was listening
    due = ~np.isnan(wave_raster.place_sweep(since_first, bed.head, sweep.length, sweep.erased))
    known = ~np.isnan(placed)
    edges = np.arange(sweep.columns) * sweep.length // sweep.columns
    lost: NDArray[np.bool_] = np.logical_or.reduceat(due, edges) & ~np.logical_or.reduceat(known, edges)
    return lost


def _state_notice_line(bed: BedView, columns: int) -> StyledLine:
    """The line across the trace that says why there is nothing to go by."""
    text, style = STATE_STYLES[bed.state]
    text = f"  {text}  "
    left = max(0, (columns - len(text)) // 2)
    return styled_line(columns, (" " * left, PLAIN), (text, style))
