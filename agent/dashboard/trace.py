"""One bed's trace: the class of each beat above it, the wave over a faint grid, the seconds below."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment

from agent.core.messages import Beat, BedView, Floats
from agent.dashboard import wave
from agent.dashboard.lines import Line, label_index, line
from agent.dashboard.styles import CLASS_MARKS, CLASS_STYLES, EVENT_STYLES, FAINT, PLAIN, STATES, Glyphs
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

GUTTER = 5
"""Columns left of the trace for its millivolts."""
ERASED = 0.03
"""Part of the sweep that is empty ahead of the newest sample."""
BEFORE_S, AFTER_S = 0.14, 0.40
"""Seconds before and after an R peak that bear the colour of the beat's class."""
_INKS = (FAINT, *CLASS_STYLES.values())
"""Styles of a trace's cells: the grid, then the classes in order (the wave between beats is that of N)."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """How samples lie on the screen: `head` the newest index + 1, `length` and `erased` in samples, `columns` wide."""

    head: int
    length: int
    columns: int
    erased: int

    @staticmethod
    def of(head: int, seconds: int, columns: int) -> "Sweep":
        """The sweep of so many seconds, with at least two empty columns ahead of the newest sample."""
        length = seconds * FS
        return Sweep(head, length, columns, max(2 * length // columns + 1, round(length * ERASED)))

    def visible(self, beats: tuple[Beat, ...]) -> list[tuple[int, int]]:
        """Column and class index of each beat on the screen, newest first."""
        oldest, found = self.head - self.length + self.erased, []
        for beat in reversed(beats):
            if beat.sample < oldest:
                break
            if beat.sample < self.head:
                found.append((beat.sample % self.length * self.columns // self.length, label_index(beat.label)))
        return found


def trace(bed: BedView, window: wave.Window, seconds: int, size: tuple[int, int], glyphs: Glyphs) -> list[Line]:
    """Lines of a bed's trace, `size` columns and lines with the labels above and the time below it."""
    width, height = size
    sweep = Sweep.of(bed.head, seconds, width - GUTTER)
    rows = height - 2
    placed = wave.sweep(bed.wave, bed.head, sweep.length, sweep.erased)
    beats = sweep.visible(bed.beats)
    grid = _grid(window, rows, sweep.columns, sweep.length, glyphs.grid)
    body = wave_lines(placed, window, sweep, beats, grid, glyphs)
    scale = _scale(window, rows)
    margins = [Segment(f"{scale.get(row, ''):>{GUTTER - 1}} ", FAINT) for row in range(rows)]
    labels = [*line(GUTTER, (f"{'mV':>{GUTTER - 1}}", FAINT)), *_marks(beats, sweep.columns)]
    below = _axis(bed, placed, sweep, seconds, glyphs)
    if bed.state not in ("ok", "learning"):
        body[rows // 2] = _notice(bed, sweep.columns)
    return [
        labels,
        *([margin, *row] for margin, row in zip(margins, body, strict=True)),
        [Segment(f"{f'{seconds} s':>{GUTTER - 1}} ", FAINT), *below],
    ]


def wave_lines(
    placed: Floats, window: wave.Window, sweep: Sweep, beats: list[tuple[int, int]], grid: wave.Points, glyphs: Glyphs
) -> list[Line]:
    """A wave, coloured by the classes of its beats, over a (rows, columns) grid."""
    low, high = wave.spans(placed, wave.dots_across(sweep.columns, glyphs.ascii))
    codes = wave.raster(low, high, window, len(grid), glyphs.ascii)
    drawn = codes > 0
    points = np.where(drawn, wave.points(codes, glyphs.ascii), grid)
    return runs(points, np.where(drawn, class_inks(beats, sweep), np.uint8(0)))


def _marks(beats: list[tuple[int, int]], columns: int) -> Line:
    """One line with the letter of each beat's class above its R peak."""
    found = dict(beats[::-1])
    made, at = [], 0
    for column in sorted(found):
        name = CLASSES[found[column]]
        made += [Segment(" " * (column - at), PLAIN), Segment(name, CLASS_MARKS[name])]
        at = column + 1
    return [*made, Segment(" " * (columns - at), PLAIN)]


def class_inks(beats: list[tuple[int, int]], sweep: Sweep) -> NDArray[np.uint8]:
    """(columns,) index into _INKS of the class whose beat is drawn there."""
    inks = np.ones(sweep.columns, dtype=np.uint8)
    a_second = FS * sweep.columns / sweep.length
    before, after = max(1, round(BEFORE_S * a_second)), max(1, round(AFTER_S * a_second))
    for column, index in reversed(beats):
        inks[max(0, column - before) : column + after] = index + 1
    return inks


def runs(points: wave.Points, inks: NDArray[np.uint8]) -> list[Line]:
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
    made: list[Line] = [[] for _ in range(rows)]
    begins = starts.tolist()
    for begin, end, style in zip(begins, [*begins[1:], rows * columns], styles, strict=True):
        made[begin // columns].append(Segment(text[begin:end], _INKS[style]))
    return made


def _levels(window: wave.Window, rows: int) -> list[float]:
    """Millivolts of the grid's lines, at round values: at most six, and no closer than every other row."""
    most = min(6, rows // 2)
    step = next((step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if window.height / step <= most), 20.0)
    first = int(np.ceil(window.bottom / step))
    return [i * step for i in range(first, int(window.top / step) + 1)]


def _row(window: wave.Window, rows: int, level: float) -> int:
    return min(rows - 1, max(0, int((window.top - level) / window.height * rows)))


def _scale(window: wave.Window, rows: int) -> dict[int, str]:
    labels = {_row(window, rows, level): f"{level:g}" for level in _levels(window, rows)}
    return {row: label for row, label in labels.items() if len(label) < GUTTER}


@lru_cache(maxsize=64)
def _grid(window: wave.Window, rows: int, columns: int, length: int, dot: str) -> wave.Points:
    """Points of the empty screen: dots at each grid line of voltage, every 0.2 s, and at each second on every row."""
    grid = np.full((rows, columns), ord(" "), dtype=np.uint32)
    fine = 0.2 if columns / (length / FS) >= 15 else 0.5
    lines = sorted({_row(window, rows, level) for level in _levels(window, rows)})
    across = [int(i * fine * FS) * columns // length for i in range(round(length / FS / fine))]
    grid[np.ix_(lines, across)] = ord(dot)
    grid[:, [second * FS * columns // length for second in range(length // FS)]] = ord(dot)
    return grid


def _axis(bed: BedView, placed: Floats, sweep: Sweep, seconds: int, glyphs: Glyphs) -> Line:
    """A tick at each second, and a mark below every column whose samples are missing."""
    chars = [" "] * sweep.columns
    for second in range(seconds):
        chars[second * FS * sweep.columns // sweep.length] = glyphs.tick
    made: Line = []
    lost = _missing(bed, placed, sweep)
    for column in range(sweep.columns):
        style = EVENT_STYLES["gap"] if lost[column] else FAINT
        char = glyphs.missing if lost[column] else chars[column]
        if made and made[-1].style is style:
            made[-1] = Segment(made[-1].text + char, style)
        else:
            made.append(Segment(char, style))
    return made


def _missing(bed: BedView, placed: Floats, sweep: Sweep) -> NDArray[np.bool_]:
    """Columns without a single value, though their time has come."""
    values = np.flatnonzero(~np.isnan(bed.wave))
    if not len(values):
        return np.zeros(sweep.columns, dtype=bool)
    since_first = np.ones(len(bed.wave) - values[0], dtype=np.float32)  # before it, nobody was listening
    due = ~np.isnan(wave.sweep(since_first, bed.head, sweep.length, sweep.erased))
    known = ~np.isnan(placed)
    edges = np.arange(sweep.columns) * sweep.length // sweep.columns
    lost: NDArray[np.bool_] = np.logical_or.reduceat(due, edges) & ~np.logical_or.reduceat(known, edges)
    return lost


def _notice(bed: BedView, columns: int) -> Line:
    """The line across the trace that says why there is nothing to go by."""
    text, style = STATES[bed.state]
    text = f"  {text}  "
    left = max(0, (columns - len(text)) // 2)
    return line(columns, (" " * left, PLAIN), (text, style))
