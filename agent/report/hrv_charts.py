"""Charts of heart-rate variability: histogram of the NN intervals, their spectrum, and the Poincaré plot."""

import numpy as np

from agent.report.axes import ChartAxes, draw_chart_heading
from agent.report.charts import draw_chart_cells
from agent.report.picture import INK, LINE, WIDTH, Picture, column_width, round_ticks
from agent.report.styles import BLUE, RED, number_or_dash
from model.rhythm.hrv import BIN_S, FREQUENCIES, HRV_BANDS, NNIntervals, NNSpectrum, PoincarePlot

HISTOGRAM, SPECTRUM = (40.0, 200.0), (250.0, 540.0)
"""Left and right ends of the panels, in points."""
POINCARE_LEFT, POINCARE_SECOND_LEFT = 592.0, 241.0
"""Left end of the square Poincaré plot as the third panel, and as the second where there is no spectrum."""
TOP, BOTTOM = 20.0, 116.0
BAND_COLOURS = {"VLF": "#d8dee4", "LF": "#bdd5e6", "HF": "#cfe5d6"}
POINCARE_CELL = 1.5


def hrv_picture(nn: NNIntervals, power: NNSpectrum | None, cloud: PoincarePlot | None) -> Picture:
    """Draw the panels side by side: histogram, spectrum where there is one, and Poincaré plot."""
    picture = Picture(
        BOTTOM + 28,
        "Heart-rate variability: histogram of NN intervals, power spectrum, and each interval against the next.",
        column_width(WIDTH, 0.5, 2) if power is None else WIDTH,
    )
    lowest, highest = (1000 * float(np.quantile(nn.nn_s, q)) for q in (0.001, 0.999))
    span = (max(0.0, lowest - 60), highest + 60)
    _draw_nn_histogram(picture, nn, span)
    if power is not None:
        _draw_nn_spectrum(picture, power)
    _draw_poincare_plot(picture, nn, cloud, span, POINCARE_SECOND_LEFT if power is None else POINCARE_LEFT)
    return picture


def _draw_nn_histogram(picture: Picture, nn: NNIntervals, span: tuple[float, float]) -> None:
    draw_chart_heading(picture, 0, 10, "NN histogram", "bins of 1/128 s")
    counts = np.bincount((nn.nn_s / BIN_S).astype(np.int64))
    axes = ChartAxes(picture, *HISTOGRAM, TOP, BOTTOM, span, (0.0, 1.08 * float(counts.max())))
    axes.frame("intervals", 4)
    axes.numbers("NN interval, ms", round_ticks(*span, 6))
    place = np.flatnonzero(counts)
    x = axes.x(1000 * BIN_S * (place.astype(np.float64) + 0.5))
    inside = (x >= axes.left) & (x <= axes.right)
    bottom = np.full(len(x), axes.bottom)
    width = max(0.6, (axes.right - axes.left) * 1000 * BIN_S / (span[1] - span[0]) - 0.3)
    picture.lines(np.stack([x, bottom, x, axes.y(counts[place].astype(float))], axis=1)[inside], BLUE, width)
    picture.line((axes.left, axes.bottom, axes.right, axes.bottom), LINE, 0.8)


def _draw_nn_spectrum(picture: Picture, power: NNSpectrum) -> None:
    draw_chart_heading(picture, SPECTRUM[0] - 40, 10, "Spectrum", f"mean of {power.segments} segments of 5 min")
    root = np.sqrt(power.density)
    axes = ChartAxes(
        picture,
        *SPECTRUM,
        TOP,
        BOTTOM,
        (0.0, 0.4),
        (0.0, 1.08 * (float(root.max()) or 1.0)),
    )
    for name, (low, high) in HRV_BANDS.items():
        left, right = axes.at_x(low), axes.at_x(high)
        picture.box((left, axes.top, right - left, axes.bottom - axes.top), BAND_COLOURS[name], opacity=0.55)
        picture.text((left + right) / 2, axes.top + 9, name, 7.5, INK, "middle", bold=True)
    axes.frame("ms per root hertz", 4)
    axes.numbers("hertz", (0.0, 0.1, 0.2, 0.3, 0.4))
    picture.path(axes.x(FREQUENCIES), axes.y(root), BLUE, 1.1)
    picture.line((axes.left, axes.bottom, axes.right, axes.bottom), LINE, 0.8)


def _draw_poincare_plot(
    picture: Picture, nn: NNIntervals, cloud: PoincarePlot | None, span: tuple[float, float], left: float
) -> None:
    more = f"SD1 {number_or_dash(cloud.sd1)}, SD2 {number_or_dash(cloud.sd2)} ms" if cloud else ""
    draw_chart_heading(picture, left - 40, 10, "Poincaré plot", more)
    side = BOTTOM - TOP
    axes = ChartAxes(picture, left, left + side, TOP, BOTTOM, span, span)
    marks = round_ticks(*span, 5)
    axes.frame("next NN, ms", marks=marks)
    axes.numbers("NN interval, ms", marks)
    picture.line((axes.left, axes.bottom, axes.right, axes.top), LINE, 0.6, dash=(2, 2))
    second = np.flatnonzero(nn.follows)
    grid = int(side / POINCARE_CELL)
    scale = grid / (span[1] - span[0])
    x, y = ((1000 * nn.nn_s[at] - span[0]) * scale for at in (second - 1, second))
    inside = (x >= 0) & (x < grid) & (y >= 0) & (y < grid)
    number_of = x[inside].astype(np.int64) * grid + y[inside].astype(np.int64)
    counts = np.bincount(number_of, minlength=grid * grid).reshape(grid, grid)
    levels = (1, 3, 12, 50)
    for i, least in enumerate(levels):
        most = levels[i + 1] if i + 1 < len(levels) else counts.max() + 1
        draw_chart_cells(
            axes, (counts >= least) & (counts < most), POINCARE_CELL, POINCARE_CELL, BLUE, (0.25, 0.45, 0.7, 1.0)[i]
        )
    if cloud is not None:
        _draw_sd_ellipse(axes, nn, cloud)


def _draw_sd_ellipse(axes: ChartAxes, nn: NNIntervals, cloud: PoincarePlot) -> None:
    """Draw one standard deviation along and across the line of identity."""
    turn = np.linspace(0, 2 * np.pi, 73)
    along, across = cloud.sd2 * np.cos(turn), cloud.sd1 * np.sin(turn)
    mean = 1000 * float(nn.nn_s.mean())
    x, y = mean + (along - across) / np.sqrt(2), mean + (along + across) / np.sqrt(2)
    low, high = axes.x_span
    axes.picture.path(axes.x(np.clip(x, low, high)), axes.y(np.clip(y, low, high)), RED, 1.0)
