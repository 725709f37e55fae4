"""The measured beat with its calipers: where P wave, QRS complex and T wave begin and end."""

import numpy as np

from agent.report.beat_measurement import MeasuredBeat
from agent.report.ecg_paper import BIG_SQUARE, TYPICAL_GAINS, TYPICAL_SPEED, draw_paper_grid
from agent.report.picture import GREY, INK, MM, Picture
from agent.report.styles import BLUE, CLASS_COLOURS, RED
from model.intervals.aligned_beats import INTERVAL_FS

BEFORE_S = 0.4
"""Seconds before the R peak from which on it is drawn."""
SQUARES = 10
"""Big squares that are drawn: a second at 50 mm/s."""
WIDTH_OF_BEAT = SQUARES * BIG_SQUARE
TOP = 14.0
P_COLOUR, T_COLOUR = BLUE, "#7a5195"


def caliper_picture(measured: MeasuredBeat) -> Picture:
    """Draw the typical beat in its leads, one above the other, with a line at each onset and end."""
    typical = measured.aligned.typical()  # (n, leads)
    x = (np.arange(len(typical)) / INTERVAL_FS + BEFORE_S - measured.aligned.r_index / INTERVAL_FS) * TYPICAL_SPEED
    inside = (x >= 0) & (x <= WIDTH_OF_BEAT)
    columns = list(range(min(2, typical.shape[1])))
    spans = [_finite_span(typical[inside, column]) for column in columns]
    gain = next((g for g in TYPICAL_GAINS if sum(high - low for low, high in spans) * g <= 31), TYPICAL_GAINS[-1])
    millimetres = sum(5 * int(np.ceil(((high - low) * gain + 3) / 5)) for low, high in spans)
    height = min(35, max(20, millimetres)) * MM
    picture = Picture(TOP + height + 14, f"The typical {measured.name} beat with its onsets and ends.", WIDTH_OF_BEAT)
    draw_paper_grid(picture, 0.0, TOP, WIDTH_OF_BEAT, height)
    share = height / len(columns)
    for row, (column, (low, high)) in enumerate(zip(columns, spans, strict=True)):
        middle = TOP + (row + 0.5) * share
        y = np.clip(middle - (typical[:, column] - (low + high) / 2) * gain * MM, TOP, TOP + height)
        picture.path(x[inside], y[inside], CLASS_COLOURS[measured.name] if not row else INK, 1.2)
        picture.text(2, TOP + row * share + 8, measured.leads[column], 7, GREY)
    _draw_calipers(picture, measured, height)
    picture.text(0, picture.height - 2, f"50 mm/s   {gain} mm/mV", 6.5, GREY)
    return picture


def _finite_span(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    """Return the least and the greatest of values (n,), 0 and 0 if none is known."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)


def _draw_calipers(picture: Picture, measured: MeasuredBeat, height: float) -> None:
    found = measured.intervals
    waves = ((found.p_wave, "P", P_COLOUR), (found.qrs_complex, "QRS", RED), (found.t_wave, "end of T", T_COLOUR))
    for bounds, name, colour in waves:
        places = [(BEFORE_S + ms / 1000) * TYPICAL_SPEED for ms in (bounds.onset_ms, bounds.end_ms) if ms is not None]
        shown = [x for x in places if 0 <= x <= WIDTH_OF_BEAT]
        for x in shown:
            picture.line((x, TOP - 2, x, TOP + height), colour, 0.8, dash=(3, 2))
        if shown:
            picture.line((min(shown), TOP - 3, max(shown), TOP - 3), colour, 1.2)
            picture.text(sum(shown) / len(shown), TOP - 5, name, 7, colour, "middle", bold=True)
