"""A still trace: a piece of signal from left to right, its beats above, local times below, and calipers on it."""

from collections.abc import Sequence

import numpy as np

from agent.core.clock import format_local_clock
from agent.core.look_back import SignalPiece
from agent.dashboard import wave_raster
from agent.dashboard.calibration import GUTTER_WIDTH, calibration_columns, with_calibration
from agent.dashboard.cell_overlay import overlay_cursor, overlay_text
from agent.dashboard.lines import StyledLine, StyledPart, spread_line, styled_line
from agent.dashboard.looking import Calipers
from agent.dashboard.styles import EVENT_STYLES, FAINT, NOTICE, PLAIN, STRONG, GlyphSet
from agent.dashboard.trace import (
    TraceSweep,
    axis_chars,
    beat_marks_line,
    draw_trace_grid,
    grid_words,
    voltage_labels,
    wave_lines,
)
from model.records.resample import FS

LEAST_CLOCK_COLUMNS = 60
"""Columns from which the local times stand at both ends of the time axis."""
ONE_LINE_COLUMNS = 118
"""Columns from which what the calipers measure is one line."""


def still_trace_lines(
    piece: SignalPiece,
    window: wave_raster.VoltageWindow,
    size: tuple[int, int],
    least_confidence: float,
    glyphs: GlyphSet,
    cursors: tuple[tuple[int, int], int] | None = None,
) -> list[StyledLine]:
    """Return a piece of signal, `size` columns and lines; `cursors`: samples of both calipers, and which is active."""
    width, height = size
    words = caliper_lines(piece, cursors, width, glyphs) if cursors else []
    rows = height - 2 - len(words)
    box = calibration_columns(len(piece.wave), width - GUTTER_WIDTH, piece.uncalibrated)
    columns = width - GUTTER_WIDTH - box
    length = len(piece.wave)
    sweep = TraceSweep(length, length, columns, 0)
    marked = [
        ((beat.sample - piece.first) * columns // length, beat)
        for beat in reversed(piece.beats)
        if piece.first <= beat.sample < piece.stop
    ]
    grid = draw_trace_grid(window, rows, columns, length, glyphs.grid)
    body = wave_lines(piece.wave, window, sweep, marked, grid, glyphs)
    letters = beat_marks_line(marked, columns, least_confidence, glyphs)
    places = [(sample - piece.first) * columns // length for sample in (cursors[0] if cursors else ())]
    axis = _still_axis(piece, columns, grid_words(length, columns, window, rows), places, glyphs)
    for number, column in enumerate(places):
        active = cursors is not None and cursors[1] == number
        char = ("|" if active else ":") if glyphs.ascii else ("┃" if active else "│")
        style = NOTICE if active else STRONG
        body = overlay_cursor(body, column, char, style)
        axis = overlay_text(axis, column, str(number + 1), style)
    about = glyphs.about if piece.uncalibrated else ""
    labels = voltage_labels(window, rows)
    return [
        [*styled_line(GUTTER_WIDTH + box, (f"{about}mV".rjust(GUTTER_WIDTH - 1), FAINT)), *letters],
        *with_calibration(body, labels, window, box, glyphs),
        [*styled_line(GUTTER_WIDTH + box, (f"{length // FS} s".rjust(GUTTER_WIDTH - 1), FAINT)), *axis],
        *words,
    ]


def _still_axis(piece: SignalPiece, columns: int, scale: str, taken: Sequence[int], glyphs: GlyphSet) -> StyledLine:
    """Return ticks as the grid has them, marks where nothing is known, and the local times of both ends.

    Words at a column that is `taken`, by the number of a cursor, are left out.
    """
    length = len(piece.wave)
    axis = styled_line(columns, (axis_chars(length, columns, glyphs), FAINT))
    values = np.flatnonzero(~np.isnan(piece.wave))
    edges = np.arange(columns) * length // columns
    known = np.zeros(columns, np.bool_)
    known[np.searchsorted(edges, values, side="right") - 1] = True
    for column in np.flatnonzero(~known).tolist() if columns <= length else ():
        axis = overlay_text(axis, column, glyphs.missing, EVENT_STYLES["gap"])
    if columns >= LEAST_CLOCK_COLUMNS:
        begin, end = format_local_clock(piece.first_s), _clock_at(piece, length)
        words = [(0, f"{begin} ", PLAIN), (columns - len(end) - 1, f" {end}", PLAIN)]
        if known.all():
            words.append((columns - len(end) - len(scale) - 4, f" {scale} ", FAINT))
        for place, text, style in words:
            if not any(place <= column < place + len(text) for column in taken):
                axis = overlay_text(axis, place, text, style)
    return axis


def caliper_lines(
    piece: SignalPiece, cursors: tuple[tuple[int, int], int], width: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return what two calipers measure: time and value at each, and the difference of both."""
    (one, two), active = cursors
    ends: list[StyledPart] = []
    for number, sample in enumerate((one, two)):
        value = value_words(piece, sample)
        style = NOTICE if number == active else STRONG
        ends += [(f" {number + 1} ", style), (f"{_clock_at(piece, sample - piece.first, 3)} {value} ", PLAIN)]
    apart = abs(two - one)
    delta = "dt" if glyphs.ascii else "Δt"
    parts: list[StyledPart] = [(f" {delta} {1000 * apart // FS} ms", STRONG)]
    parts.append((f"  {60 * FS / apart:.0f}/min" if apart else "  --/min", STRONG))
    parts.append((f"  {_difference_words(piece, one, two, glyphs)}", PLAIN))
    keys: StyledPart = (" arrows 8 ms, shift 0.2 s, tab other, c off ", FAINT)
    if width >= ONE_LINE_COLUMNS:
        return [styled_line(width, *ends, *parts), styled_line(width, keys)]
    return [styled_line(width, *ends), spread_line(width, parts, [keys] if width >= 76 else [])]


def value_words(piece: SignalPiece, sample: int) -> str:
    """Say the value of a sample: millivolts, that nothing is known, or that the lead is uncalibrated."""
    if piece.uncalibrated:
        return "uncalibrated"
    value = _value_at(piece, sample)
    return "   -- mV" if np.isnan(value) else f"{value:+5.2f} mV"


def _difference_words(piece: SignalPiece, one: int, two: int, glyphs: GlyphSet) -> str:
    if piece.uncalibrated:
        return ""
    difference = _value_at(piece, two) - _value_at(piece, one)
    mark = "d" if glyphs.ascii else "Δ"
    return f"{mark} -- mV" if np.isnan(difference) else f"{mark} {difference:+.2f} mV"


def _value_at(piece: SignalPiece, sample: int) -> float:
    place = sample - piece.first
    return float(piece.wave[place]) if 0 <= place < len(piece.wave) else float("nan")


def _clock_at(piece: SignalPiece, place: int, decimals: int = 0) -> str:
    return format_local_clock(None if piece.first_s is None else piece.first_s + place / FS, decimals)


def caliper_samples(calipers: Calipers, end: int) -> tuple[tuple[int, int], int]:
    """Return the samples of both calipers of a still picture that ends before sample `end`."""
    return (end - calipers.places[0], end - calipers.places[1]), calipers.active
