"""ECG paper: strips at 25 mm/s and 10 mm/mV with their beats, and the typical beat of each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.core.messages import FloatArray
from agent.report.picture import GREY, INK, LINE, MM, WIDTH, Picture, TextAnchor, column_width
from agent.report.styles import CLASS_COLOURS, CLASS_NAMES, GRID, GRID_MAIN, GRID_PAPER, SHADE
from agent.report.typical_beats import BEFORE_S, TypicalBeat
from model.records.resample import FS

BIG_SQUARE = 5 * MM
LETTERS_HEIGHT = 8.5
"""Points above a row, for the class letters of its beats."""
FOOT_HEIGHT = 8.0
"""Points below a row, for the time at which it begins, and the scale below the last one."""
FLAG_SIZE, FLAG_HEIGHT = 6.5, 7.5
"""Size of the word beside a flag, and points of a line of such words above the letters."""
FLAG_GAP = 2.5
"""Points between a flag and its word."""
TYPICAL_SPEED = 50 * MM
"""Points a second of a typical beat."""
TYPICAL_GAINS = (10, 5)
TYPICAL_SQUARES = 7
"""Big squares of the typical beat of a class."""
TYPICAL_BEFORE_S = 0.25
"""Seconds before the R peak from which on the typical beat of a class is drawn."""


@dataclass(frozen=True, slots=True)
class StripScale:
    """How a strip is drawn: `speed` in millimetres a second, rows of `row_s` seconds, `least_mm` to `most_mm` high.

    `gains` in millimetres a millivolt: the first at which the signal fits, else the last. `letter` is the size of the
    letters above the beats.
    """

    speed: float
    row_s: float
    gains: tuple[float, ...]
    least_mm: int
    most_mm: int
    letter: float = 8.0

    @property
    def width(self) -> float:
        """Points of a whole row."""
        return self.row_s * self.speed * MM


FULL_SCALE = StripScale(25.0, 10.0, (10.0, 5.0, 2.5), 20, 30)
"""Ten seconds a row, at the usual scale on paper."""
HIGH_SCALE = StripScale(25.0, 10.0, (10.0, 5.0, 2.5), 15, 20)
"""The same, a little lower for two rows one above the other."""
HALF_SCALE = StripScale(12.5, column_width(WIDTH, 0.5, 2) / (12.5 * MM), (5.0, 2.5), 10, 20, 7.0)
THIRD_SCALE = StripScale(12.5, column_width(WIDTH, 1 / 3, 3) / (12.5 * MM), (5.0, 2.5), 10, 15, 6.5)
"""Half the usual scale, for two and three strips side by side."""


@dataclass(frozen=True, slots=True)
class StripFlag:
    """A marked moment of a strip: seconds from its start, and a word beside it."""

    at_s: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class _PlacedFlag:
    """A flag at `x` points, with its word in a line of words (0: the lowest), beside it to the right or left."""

    flag: StripFlag
    x: float
    level: int
    anchor: TextAnchor


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
    scale: StripScale = FULL_SCALE


def count_strip_rows(seconds: float, row_s: float) -> int:
    """Return the number of rows of a strip of this length."""
    return max(1, int(np.ceil(seconds / row_s - 1e-6)))


def strip_picture(strip: StripDrawing) -> Picture:
    """Draw a strip in rows."""
    scale = strip.scale
    known = strip.wave[np.isfinite(strip.wave)]
    # Quantiles, so that a spike does not decide the gain.
    low, high = (float(np.quantile(known, q)) for q in (0.001, 0.999)) if len(known) else (-1.0, 1.0)
    gain = next((g for g in scale.gains if (high - low) * g <= scale.most_mm - 2), scale.gains[-1])
    millimetres = min(scale.most_mm, max(scale.least_mm, 5 * int(np.ceil(((high - low) * gain + 3) / 5))))
    height = millimetres * MM
    rows = [
        _place_flags(strip, row * scale.row_s) for row in range(count_strip_rows(len(strip.wave) / FS, scale.row_s))
    ]
    words = [FLAG_HEIGHT * max((flag.level + 1 for flag in flags), default=0) for flags in rows]
    picture = Picture(sum(words) + len(rows) * (LETTERS_HEIGHT + height + FOOT_HEIGHT), strip.title, scale.width)
    top = 0.0
    for row, flags in enumerate(rows):
        top += words[row] + LETTERS_HEIGHT
        _draw_strip_row(picture, strip, row, top, (height, (low + high) / 2, gain))
        _draw_strip_flags(picture, flags, top, height)
        top += height + FOOT_HEIGHT
    note = f"{scale.speed:g} mm/s   {gain:g} mm/mV   lead {strip.lead}"
    right = min(scale.width, len(strip.wave) / FS * scale.speed * MM)
    picture.text(right, picture.height - 2, note, 6, GREY, "end")
    return picture


def _draw_strip_row(
    picture: Picture, strip: StripDrawing, row: int, top: float, vertical: tuple[float, float, float]
) -> None:
    """Draw a row below `top`; `vertical` are its height in points, the millivolts of its middle, and the gain."""
    height, middle, gain = vertical
    speed, begin = strip.scale.speed * MM, row * strip.scale.row_s
    seconds = min(strip.scale.row_s, len(strip.wave) / FS - begin)
    draw_paper_grid(picture, 0.0, top, seconds * speed, height)
    # One sample more than the row, so that the lines of two rows meet.
    part = strip.wave[round(begin * FS) : round((begin + strip.scale.row_s) * FS) + 1]
    _shade_missing_signal(picture, part, top, height, speed)
    y = top + height / 2 - (part.astype(np.float64) - middle) * gain * MM
    x = np.minimum(np.arange(len(part), dtype=np.float64) * (speed / FS), strip.scale.width)
    thick = 0.75 if strip.scale.speed == FULL_SCALE.speed else 0.6
    picture.path(x, np.clip(y, top, top + height).astype(np.float64), INK, thick)
    picture.line((0, top + height, seconds * speed, top + height), LINE, 0.3)
    _draw_beat_letters(picture, strip, begin, top)
    clock = strip.clocks[row] if row < len(strip.clocks) else ""
    picture.text(0, top + height + FOOT_HEIGHT - 2, clock, 6.5, GREY)


def typical_beat_picture(typical_beats: Sequence[TypicalBeat]) -> Picture:
    """Draw the typical beat of each class as a thick line on thin ones of some beats, all at the same scale."""
    width, gap = TYPICAL_SQUARES * BIG_SQUARE, 10.0
    # The whole typical beat has room, of the thin ones all but a few.
    low = min(min(float(np.quantile(beat.samples, 0.02)), float(beat.typical.min())) for beat in typical_beats)
    high = max(max(float(np.quantile(beat.samples, 0.98)), float(beat.typical.max())) for beat in typical_beats)
    gain = next((g for g in TYPICAL_GAINS if (high - low) * g <= 33), TYPICAL_GAINS[-1])
    millimetres = min(35, max(20, 5 * int(np.ceil(((high - low) * gain + 5) / 5))))
    height = millimetres * MM
    middle = (low + high) / 2
    names = ", ".join(f"{beat.name} {CLASS_NAMES[beat.name]}" for beat in typical_beats)
    picture = Picture(height + 36, f"Typical beats of the classes {names}.", len(typical_beats) * (width + gap) - gap)
    for i, beat in enumerate(typical_beats):
        left, top = i * (width + gap), 23.0
        picture.text(left, 9, beat.name, 10, CLASS_COLOURS[beat.name], bold=True)
        picture.text(left + 13, 9, CLASS_NAMES[beat.name], 8, INK)
        picture.text(left, 19, f"{beat.count:,} beats", 7.5, GREY)
        draw_paper_grid(picture, left, top, width, height)
        _draw_typical_waves(picture, beat, left, (top, height, middle, gain))
    picture.text(0, picture.height - 3, f"50 mm/s   {gain} mm/mV; the mark above is the R peak", 7, GREY)
    return picture


def _draw_typical_waves(
    picture: Picture, beat: TypicalBeat, left: float, vertical: tuple[float, float, float, float]
) -> None:
    """Draw the middle of a typical beat; `vertical` are top, height, millivolts of the middle, and gain."""
    top, height, middle, gain = vertical
    x = left + (np.arange(len(beat.typical)) / beat.fs - BEFORE_S + TYPICAL_BEFORE_S) * TYPICAL_SPEED
    inside = (x >= left) & (x <= left + TYPICAL_SQUARES * BIG_SQUARE)
    colour = CLASS_COLOURS[beat.name]
    for wave in (*beat.samples, beat.typical):
        y = np.clip(top + height / 2 - (wave - middle) * gain * MM, top, top + height).astype(np.float64)
        thick, opacity = (1.8, 1.0) if wave is beat.typical else (0.4, 0.35)
        picture.path(x[inside], y[inside], colour, thick, opacity=opacity)
    peak = left + TYPICAL_BEFORE_S * TYPICAL_SPEED
    picture.line((peak, top, peak, top + 4), GREY, 0.8)


def draw_paper_grid(picture: Picture, left: float, top: float, width: float, height: float) -> None:
    """Draw millimetre paper; each set of parallel lines is one wide dashed line, which keeps the files small."""
    picture.box((left, top, width, height), GRID_PAPER)
    for step, colour, thick in ((MM, GRID, 0.25), (BIG_SQUARE, GRID_MAIN, 0.45)):
        dash = (thick, step - thick)
        picture.line((left, top + height / 2, left + width + thick, top + height / 2), colour, height, dash)
        picture.line((left + width / 2, top, left + width / 2, top + height + thick), colour, width, dash)


def _shade_missing_signal(picture: Picture, part: FloatArray, top: float, height: float, speed: float) -> None:
    """Shade stretches without signal, and label those that are wide enough."""
    missing = np.concatenate([[False], np.isnan(part), [False]])
    edges = np.flatnonzero(missing[1:] != missing[:-1]).reshape(-1, 2)
    for start, stop in edges.tolist():
        left, width = start * speed / FS, max(0.6, (stop - start) * speed / FS)
        width = min(width, picture.width - left)
        picture.box((left, top, width, height), SHADE)
        if width > 60:
            picture.text(left + width / 2, top + height / 2 + 3, "no signal", 8, GREY, "middle")


def _draw_beat_letters(picture: Picture, strip: StripDrawing, begin: float, top: float) -> None:
    size = strip.scale.letter
    for at_s, name in strip.beats:
        if 0 <= at_s - begin < strip.scale.row_s:
            x = (at_s - begin) * strip.scale.speed * MM
            plain = name == "N" or name.islower()
            colour = GREY if name.islower() else CLASS_COLOURS[name]
            picture.text(x, top - 2, name, size - 1 if plain else size, colour, "middle", bold=not plain)


def _place_flags(strip: StripDrawing, begin: float) -> list[_PlacedFlag]:
    """Return the flags of the row that begins at second `begin`; their words cover neither each other nor a flag."""
    scale = strip.scale
    inside = sorted((flag for flag in strip.flags if 0 <= flag.at_s - begin < scale.row_s), key=lambda flag: flag.at_s)
    lines = [(flag.at_s - begin) * scale.speed * MM for flag in inside]
    taken: list[tuple[int, float, float]] = []
    placed = []
    for flag, x in zip(inside, lines, strict=True):
        # The mean width of a bold letter of Helvetica; no font is at hand here to measure with.
        width = 0.6 * FLAG_SIZE * len(flag.text)
        sides: tuple[tuple[TextAnchor, float], ...] = ("start", x + FLAG_GAP), ("end", x - FLAG_GAP - width)
        level, anchor, left = next(
            (level, anchor, left)
            for level in range(len(inside) + 1)
            for anchor, left in sides
            if left >= 0 and left + width <= scale.width and _has_room(taken, lines, level, (left, left + width))
        )
        taken.append((level, left, left + width))
        placed.append(_PlacedFlag(flag, x, level, anchor))
    return placed


def _has_room(
    taken: Sequence[tuple[int, float, float]], lines: Sequence[float], level: int, span: tuple[float, float]
) -> bool:
    """Return whether a word may stand in a span of a line of words; the lowest one is crossed by all flags."""
    low, high = span
    words = any(other == level and low < stop + 2 and start < high + 2 for other, start, stop in taken)
    return not words and (level > 0 or not any(low <= x <= high for x in lines))


def _draw_strip_flags(picture: Picture, flags: Sequence[_PlacedFlag], top: float, height: float) -> None:
    """Draw lines through the row, whose paper begins at `top`, and their words above its letters."""
    for placed in flags:
        x, colour = placed.x, placed.flag.colour
        words = top - LETTERS_HEIGHT - placed.level * FLAG_HEIGHT
        for ends in ((words - FLAG_HEIGHT + 1, top - LETTERS_HEIGHT), (top, top + height)):
            picture.line((x, ends[0], x, ends[1]), colour, 1.0, dash=(3, 2))  # not through the letter of a beat
        beside = x + (FLAG_GAP if placed.anchor == "start" else -FLAG_GAP)
        picture.text(beside, words - 1.5, placed.flag.text, FLAG_SIZE, colour, placed.anchor, bold=True)
