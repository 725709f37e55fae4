"""Axes of the charts: they turn values into points of a picture, and draw grid lines, numbers and names."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.report.picture import GREY, INK, LINE, PALE, WIDTH, Picture, Points, round_ticks
from agent.report.styles import day_of_month, is_same_day, time_of_day

LEFT, RIGHT = 46.0, 8.0
"""Points left and right of a chart of the whole width."""
_CLOCK_STEPS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600),
    *(7200, 10_800, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_419_200),
)
MOST_CLOCKS = 16


@dataclass(frozen=True, slots=True)
class ChartAxes:
    """An area of a picture, in points, for values within `x_span` and `y_span`."""

    picture: Picture
    left: float
    right: float
    top: float
    bottom: float
    x_span: tuple[float, float]
    y_span: tuple[float, float]

    def x(self, value: Points) -> Points:
        """Return the places (n,) in points of values (n,) of the horizontal axis."""
        low, high = self.x_span
        return self.left + (np.asarray(value, np.float64) - low) / ((high - low) or 1.0) * (self.right - self.left)

    def y(self, value: Points) -> Points:
        """Return the places (n,) in points, from the top, of values (n,) of the vertical axis."""
        low, high = self.y_span
        return self.bottom - (np.asarray(value, np.float64) - low) / ((high - low) or 1.0) * (self.bottom - self.top)

    def at_x(self, value: float) -> float:
        """Return the place of one value of the horizontal axis."""
        return float(self.x(np.array(value)))

    def at_y(self, value: float) -> float:
        """Return the place of one value of the vertical axis."""
        return float(self.y(np.array(value)))

    def frame(self, name: str, most: int = 4, marks: Sequence[float] | None = None) -> None:
        """Draw horizontal lines with their numbers, and the name of the axis."""
        for value in round_ticks(*self.y_span, most) if marks is None else marks:
            y = self.at_y(value)
            self.picture.line((self.left, y, self.right, y), PALE if value != self.y_span[0] else LINE, 0.6)
            self.picture.text(self.left - 4, y + 2.6, _format_tick(value), 7.5, GREY, "end")
        self.picture.text(self.left - 34, (self.top + self.bottom) / 2, name, 7.5, GREY, "middle", turned=True)

    def numbers(self, name: str, marks: Sequence[float]) -> None:
        """Draw numbers below the area, and the name of the axis."""
        for value in marks:
            x = self.at_x(value)
            self.picture.line((x, self.bottom, x, self.bottom + 3), LINE, 0.6)
            self.picture.text(x, self.bottom + 11, _format_tick(value), 7.5, GREY, "middle")
        self.picture.text((self.left + self.right) / 2, self.bottom + 22, name, 7.5, GREY, "middle")

    def clocks(self, started_s: float | None) -> None:
        """Draw times of day below the area (or hours from the start), with faint lines through it."""
        zero = started_s or 0.0
        low, high = self.x_span
        # As many as have room: a chart of half a page has half of them.
        most = max(2, round(MOST_CLOCKS * (self.right - self.left) / WIDTH))
        step = next((s for s in _CLOCK_STEPS_S if (high - low) / s <= most), (high - low) / most)
        # Ticks lie on round times of the clock, not of the recording.
        first = np.ceil((zero + low) / step) * step
        for i in range(MOST_CLOCKS + 2):
            at = first + i * step - zero
            if at > high + 1e-6:
                break
            x = self.at_x(at)
            self.picture.line((x, self.top, x, self.bottom), PALE, 0.6)
            self.picture.line((x, self.bottom, x, self.bottom + 3), LINE, 0.6)
            tick = _format_time_tick(zero + at, step, is_same_day(zero + low, zero + high))
            # The last one stays inside the picture; a letter of Helvetica is about half as wide as high.
            middle = min(x, self.picture.width - 0.28 * 7.5 * len(tick))
            self.picture.text(middle, self.bottom + 11, tick, 7.5, GREY, "middle")
        self.picture.line((self.left, self.bottom, self.right, self.bottom), LINE, 0.8)


def make_time_axes(
    picture: Picture, top: float, bottom: float, length_s: float, y_span: tuple[float, float]
) -> ChartAxes:
    """Return axes of the whole width over the whole recording."""
    return ChartAxes(picture, LEFT, picture.width - RIGHT, top, bottom, (0.0, max(length_s, 1.0)), y_span)


def draw_chart_heading(picture: Picture, x: float, y: float, text: str, more: str = "") -> None:
    """Write the title of a chart, with an explanation beside it."""
    picture.text(x, y, text, 9, INK, bold=True)
    if more:
        picture.text(x + 5.5 * len(text) + 9, y, more, 7.5, GREY)


def _format_tick(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def _format_time_tick(unix_s: float, step: float, one_day: bool) -> str:
    if step >= 86_400 or (not one_day and round(unix_s) % 86_400 == 0):  # midnight has the name of the day
        return day_of_month(unix_s)
    return time_of_day(unix_s, seconds=step < 60)
