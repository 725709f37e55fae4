"""ECG paper: strips at 25 mm/s and 10 mm/mV with their beats, and the typical beat of each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.core.messages import FloatArray
from agent.report.picture import GREY, INK, LINE, MM, WIDTH, Picture, TextAnchor
from agent.report.styles import CLASS_COLOURS, CLASS_NAMES, GRID, GRID_MAIN, GRID_PAPER, SHADE
from agent.report.typical_beats import BEFORE_S, TypicalBeat
from model.records.resample import FS

PAPER_SPEED = 25 * MM
"""Points a second."""
ROW_S = 10.0
BIG_SQUARE = 5 * MM
LEAST_MM, MOST_MM = 20, 35
"""Least and greatest height of a row."""
PAPER_GAINS = (10, 5)
"""Millimetres a millivolt; the second one if the signal does not fit at the first."""
LETTERS_HEIGHT = 8.5
"""Points above a row, for the class letters of its beats."""
ROW_SPACE = 2.0
FLAG_WIDTH = 52.0
"""Points that the word beside a flag may take."""
FLAG_ANCHORS: tuple[TextAnchor, TextAnchor] = ("end", "start")


@dataclass(frozen=True, slots=True)
class StripFlag:
    """A marked moment of a strip: seconds from its start, and a word beside it."""

    at_s: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True, eq=False)
class StripDrawing:
    """A strip to draw: `wave` (n,) float32 mV at 125 Hz, `beats` as seconds from its start and class, `flags`.

    The class of a doubtful beat is a small letter. `clocks` are the times of day at which its rows begin, as text.
    """

    wave: FloatArray
    beats: Sequence[tuple[float, str]]
    flags: Sequence[StripFlag]
    clocks: Sequence[str]
    lead: str
    title: str


def count_strip_rows(seconds: float) -> int:
    """Return the number of rows of a strip of this length."""
    return max(1, int(np.ceil(seconds / ROW_S - 1e-6)))


def strip_picture(strip: StripDrawing) -> Picture:
    """Draw a strip in rows of ten seconds."""
    known = strip.wave[np.isfinite(strip.wave)]
    # Quantiles, so that a spike does not decide the gain.
    low, high = (float(np.quantile(known, q)) for q in (0.001, 0.999)) if len(known) else (-1.0, 1.0)
    gain = next((g for g in PAPER_GAINS if (high - low) * g <= MOST_MM - 2), PAPER_GAINS[-1])
    millimetres = min(MOST_MM, max(LEAST_MM, 5 * int(np.ceil(((high - low) * gain + 3) / 5))))
    height = millimetres * MM
    middle = (low + high) / 2
    rows = count_strip_rows(len(strip.wave) / FS)
    picture = Picture(rows * (LETTERS_HEIGHT + height + ROW_SPACE) + 7, strip.title)
    for row in range(rows):
        top = row * (LETTERS_HEIGHT + height + ROW_SPACE) + LETTERS_HEIGHT
        begin = row * ROW_S
        seconds = min(ROW_S, len(strip.wave) / FS - begin)
        _draw_paper_grid(picture, 0.0, top, seconds * PAPER_SPEED, height)
        # One sample more than the row, so that the lines of two rows meet.
        part = strip.wave[round(begin * FS) : round((begin + ROW_S) * FS) + 1]
        _shade_missing_signal(picture, part, top, height)
        y = top + height / 2 - (part.astype(np.float64) - middle) * gain * MM
        x = np.arange(len(part), dtype=np.float64) * (PAPER_SPEED / FS)
        picture.path(x, np.clip(y, top, top + height).astype(np.float64), INK, 0.75)
        _draw_beat_letters(picture, strip, begin, top)
        _draw_strip_flags(picture, strip, begin, top, height)
        picture.text(2, top + 7, strip.clocks[row] if row < len(strip.clocks) else "", 6.5, GREY)
    note = f"25 mm/s   {gain} mm/mV   lead {strip.lead}"
    picture.text(min(WIDTH, len(strip.wave) / FS * PAPER_SPEED), picture.height - 1, note, 6.5, GREY, "end")
    return picture


def typical_beat_picture(typical_beats: Sequence[TypicalBeat]) -> Picture:
    """Draw the typical beat of each class as a thick line on thin ones of some beats, all at the same scale."""
    width, gap = 8 * BIG_SQUARE, 10.0
    low = min(float(np.quantile(beat.samples, 0.02)) for beat in typical_beats)
    high = max(float(np.quantile(beat.samples, 0.98)) for beat in typical_beats)
    gain = next((g for g in PAPER_GAINS if (high - low) * g <= 50), PAPER_GAINS[-1])
    millimetres = min(60, max(25, 5 * int(np.ceil(((high - low) * gain + 5) / 5))))
    height = millimetres * MM
    middle = (low + high) / 2
    names = ", ".join(f"{beat.name} {CLASS_NAMES[beat.name]}" for beat in typical_beats)
    picture = Picture(height + 40, f"Typical beats of the classes {names}.")
    for i, beat in enumerate(typical_beats):
        left = i * (width + gap)
        picture.text(left, 10, beat.name, 10, CLASS_COLOURS[beat.name], bold=True)
        picture.text(left + 13, 10, CLASS_NAMES[beat.name], 8, INK)
        picture.text(left, 20, f"{beat.count:,} beats", 7.5, GREY)
        top = 25.0
        _draw_paper_grid(picture, left, top, width, height)
        x = left + (2 * PAPER_SPEED / FS) * np.arange(len(beat.typical), dtype=np.float64)
        inside = x <= left + width
        for wave in (*beat.samples, beat.typical):
            y = np.clip(top + height / 2 - (wave - middle) * gain * MM, top, top + height)
            typical = wave is beat.typical
            picture.path(
                x[inside],
                y[inside].astype(np.float64),
                CLASS_COLOURS[beat.name],
                1.8 if typical else 0.4,
                opacity=1.0 if typical else 0.35,
            )
        peak = left + BEFORE_S * 2 * PAPER_SPEED
        picture.line((peak, top, peak, top + 4), GREY, 0.8)
    picture.text(0, picture.height - 3, f"50 mm/s   {gain} mm/mV; the mark above is the R peak", 7, GREY)
    return picture


def _draw_paper_grid(picture: Picture, left: float, top: float, width: float, height: float) -> None:
    """Draw millimetre paper; each set of parallel lines is one wide dashed line, which keeps the files small."""
    picture.box((left, top, width, height), GRID_PAPER)
    for step, colour, thick in ((MM, GRID, 0.25), (BIG_SQUARE, GRID_MAIN, 0.45)):
        dash = (thick, step - thick)
        picture.line((left, top + height / 2, left + width + thick, top + height / 2), colour, height, dash)
        picture.line((left + width / 2, top, left + width / 2, top + height + thick), colour, width, dash)


def _shade_missing_signal(picture: Picture, part: FloatArray, top: float, height: float) -> None:
    """Shade stretches without signal, and label those that are wide enough."""
    missing = np.concatenate([[False], np.isnan(part), [False]])
    edges = np.flatnonzero(missing[1:] != missing[:-1]).reshape(-1, 2)
    for start, stop in edges.tolist():
        left, width = start * PAPER_SPEED / FS, max(0.6, (stop - start) * PAPER_SPEED / FS)
        width = min(width, WIDTH - left)
        picture.box((left, top, width, height), SHADE)
        if width > 60:
            picture.text(left + width / 2, top + height / 2 + 3, "no signal", 8, GREY, "middle")


def _draw_beat_letters(picture: Picture, strip: StripDrawing, begin: float, top: float) -> None:
    for at_s, name in strip.beats:
        if 0 <= at_s - begin < ROW_S:
            x = (at_s - begin) * PAPER_SPEED
            plain = name == "N" or name.islower()
            colour = GREY if name.islower() else CLASS_COLOURS[name]
            picture.text(x, top - 2, name, 7 if plain else 8, colour, "middle", bold=not plain)


def _draw_strip_flags(picture: Picture, strip: StripDrawing, begin: float, top: float, height: float) -> None:
    taken: list[tuple[float, float]] = []
    for flag in strip.flags:
        if 0 <= flag.at_s - begin < ROW_S:
            x = (flag.at_s - begin) * PAPER_SPEED
            picture.line((x, top, x, top + height), flag.colour, 1.0, dash=(3, 2))
            right = x > WIDTH - 50
            beside, anchor = (x - 3, FLAG_ANCHORS[0]) if right else (x + 3, FLAG_ANCHORS[1])
            y = top + height - 2.5
            # Words of flags near each other stand above each other.
            while any(abs(x - other) < FLAG_WIDTH and abs(y - level) < 1 for other, level in taken):
                y -= 8
            taken.append((x, y))
            picture.text(beside, y, flag.text, 7, flag.colour, anchor, bold=True)
    picture.line((0, top + height, min(ROW_S * PAPER_SPEED, WIDTH), top + height), LINE, 0.3)
