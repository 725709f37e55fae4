"""Charts of heart-rate variability: histogram of the NN intervals, their spectrum, and each against the next."""

import numpy as np

from agent.report.axes import Axes, heading
from agent.report.charts import cells
from agent.report.picture import GREY, INK, LINE, WIDTH, Picture, ticks
from agent.report.styles import BLUE, RED, number
from model.rhythm.hrv import BANDS, BIN_S, FREQUENCIES, Intervals, Poincare, Spectrum

GAP = 40.0
PANEL = (WIDTH - 2 * GAP - 40.0) / 3
TOP, BOTTOM = 22.0, 150.0
BAND_COLOURS = {"VLF": "#d8dee4", "LF": "#bdd5e6", "HF": "#cfe5d6"}
SQUARE = 1.5


def hrv_picture(nn: Intervals, power: Spectrum | None, cloud: Poincare | None) -> Picture:
    """Three panels side by side."""
    picture = Picture(
        178, "Heart-rate variability: histogram of NN intervals, power spectrum, and each interval against the next."
    )
    lowest, highest = (1000 * float(np.quantile(nn.nn_s, q)) for q in (0.001, 0.999))
    span = (max(0.0, lowest - 60), highest + 60)
    _histogram(picture, nn, span)
    if power is not None:
        _spectrum(picture, power)
    else:
        heading(picture, _left(1) - 40, 10, "Spectrum")
        picture.text(_left(1), 60, "no five minutes of NN intervals in a row", 8, GREY)
    _cloud(picture, nn, cloud, span)
    return picture


def _left(panel: int) -> float:
    return 40.0 + panel * (PANEL + GAP)


def _histogram(picture: Picture, nn: Intervals, span: tuple[float, float]) -> None:
    heading(picture, 0, 10, "NN histogram", "bins of 1/128 s")
    counts = np.bincount((nn.nn_s / BIN_S).astype(np.int64))
    axes = Axes(picture, _left(0), _left(0) + PANEL, TOP, BOTTOM, span, (0.0, 1.08 * float(counts.max())))
    axes.frame("intervals", 4)
    axes.numbers("NN interval, ms", ticks(*span, 6))
    place = np.flatnonzero(counts)
    x = axes.x(1000 * BIN_S * (place.astype(np.float64) + 0.5))
    inside = (x >= axes.left) & (x <= axes.right)
    bottom = np.full(len(x), axes.bottom)
    width = max(0.6, (axes.right - axes.left) * 1000 * BIN_S / (span[1] - span[0]) - 0.3)
    picture.lines(np.stack([x, bottom, x, axes.y(counts[place].astype(float))], axis=1)[inside], BLUE, width)
    picture.line((axes.left, axes.bottom, axes.right, axes.bottom), LINE, 0.8)


def _spectrum(picture: Picture, power: Spectrum) -> None:
    heading(picture, _left(1) - 40, 10, "Spectrum", f"mean of {power.segments} times 5 min")
    root = np.sqrt(power.density)
    axes = Axes(picture, _left(1), _left(1) + PANEL, TOP, BOTTOM, (0.0, 0.4), (0.0, 1.08 * (float(root.max()) or 1.0)))
    for name, (low, high) in BANDS.items():
        left, right = axes.at_x(low), axes.at_x(high)
        picture.box((left, axes.top, right - left, axes.bottom - axes.top), BAND_COLOURS[name], opacity=0.55)
        picture.text((left + right) / 2, axes.top + 9, name, 7.5, INK, "middle", bold=True)
    axes.frame("ms per root hertz", 4)
    axes.numbers("hertz", (0.0, 0.1, 0.2, 0.3, 0.4))
    picture.path(axes.x(FREQUENCIES), axes.y(root), BLUE, 1.1)
    picture.line((axes.left, axes.bottom, axes.right, axes.bottom), LINE, 0.8)


def _cloud(picture: Picture, nn: Intervals, cloud: Poincare | None, span: tuple[float, float]) -> None:
    more = f"SD1 {number(cloud.sd1)} ms, SD2 {number(cloud.sd2)} ms" if cloud else ""
    heading(picture, _left(2) - 40, 10, "Poincaré plot", more)
    side = BOTTOM - TOP
    axes = Axes(picture, _left(2), _left(2) + side, TOP, BOTTOM, span, span)
    marks = ticks(*span, 5)
    axes.frame("next NN, ms", marks=marks)
    axes.numbers("NN interval, ms", marks)
    picture.line((axes.left, axes.bottom, axes.right, axes.top), LINE, 0.6, dash=(2, 2))
    second = np.flatnonzero(nn.follows)
    grid = int(side / SQUARE)
    scale = grid / (span[1] - span[0])
    x, y = ((1000 * nn.nn_s[at] - span[0]) * scale for at in (second - 1, second))
    inside = (x >= 0) & (x < grid) & (y >= 0) & (y < grid)
    number_of = x[inside].astype(np.int64) * grid + y[inside].astype(np.int64)
    counts = np.bincount(number_of, minlength=grid * grid).reshape(grid, grid)
    levels = (1, 3, 12, 50)
    for i, least in enumerate(levels):
        most = levels[i + 1] if i + 1 < len(levels) else counts.max() + 1
        cells(axes, (counts >= least) & (counts < most), SQUARE, SQUARE, BLUE, (0.25, 0.45, 0.7, 1.0)[i])
    if cloud is not None:
        _ellipse(axes, nn, cloud)


def _ellipse(axes: Axes, nn: Intervals, cloud: Poincare) -> None:
    """One standard deviation along and across the line of identity."""
    turn = np.linspace(0, 2 * np.pi, 73)
    along, across = cloud.sd2 * np.cos(turn), cloud.sd1 * np.sin(turn)
    mean = 1000 * float(nn.nn_s.mean())
    x, y = mean + (along - across) / np.sqrt(2), mean + (along + across) / np.sqrt(2)
    low, high = axes.x_span
    axes.picture.path(axes.x(np.clip(x, low, high)), axes.y(np.clip(y, low, high)), RED, 1.0)
