"""Charts of two recordings over each other: rates from their starts on, and NN intervals."""

from collections.abc import Sequence

import numpy as np

from agent.report.axes import LEFT, RIGHT, ChartAxes, draw_chart_heading
from agent.report.bed_recording import BedRecording
from agent.report.charts import COLUMN_WIDTH
from agent.report.findings import TimeBins, bin_extremes, count_by_bin
from agent.report.picture import WIDTH, Picture, Points, column_width, draw_colour_legend, extend_to_ticks, round_ticks
from agent.report.styles import BLUE
from agent.report.summary_content import ReportFindings
from model.records.wfdb_records import CLASSES
from model.rhythm.hrv import BIN_S, NNIntervals

PAIR_COLOURS = (BLUE, "#c45a00")
MOST_MINUTES = 180.0
"""A longer recording has hours below its charts."""
TREND_COLUMNS = 60
"""Points of a trend at most, each of a minute or more."""


def rate_comparison_chart(pair: Sequence[tuple[str, BedRecording, ReportFindings]]) -> Picture:
    """Draw the mean rates of recordings over each other, each from its own start on."""
    picture = Picture(150, "Heart rates of both recordings, each from its start on.")
    draw_chart_heading(picture, 0, 10, "Heart rate", "per minute, mean; from the start of each recording")
    draw_colour_legend(picture, 330, 10, [(PAIR_COLOURS[i], name) for i, (name, _, _) in enumerate(pair)])
    curves = [_mean_rates(recording, found) for _, recording, found in pair]
    known = np.concatenate([values[np.isfinite(values)] for _, values in curves])
    low, high = (float(known.min()), float(known.max())) if len(known) else (40.0, 120.0)
    axes = _time_axes(picture, pair, (20.0, 122.0), extend_to_ticks(max(0.0, low - 5), high + 5, 5))
    axes.frame("per minute", 5)
    for (at_s, values), colour in zip(curves, PAIR_COLOURS, strict=True):
        picture.path(axes.x(at_s), axes.y(values), colour, 1.1)
    return picture


def ectopy_comparison_chart(pair: Sequence[tuple[str, BedRecording, ReportFindings]]) -> Picture:
    """Draw the V beats a minute of recordings over each other, each from its own start on."""
    picture = Picture(140, "V beats a minute in both recordings.", column_width(WIDTH, 0.5, 2))
    draw_chart_heading(picture, 0, 10, "V beats", "a minute")
    longest = max(recording.length_s for _, recording, _ in pair)
    columns = int(np.clip(longest // 60, 1, TREND_COLUMNS))
    bins = TimeBins(np.linspace(0.0, longest, columns + 1), longest / columns)
    rates = [60 * count_by_bin(recording.beats, bins)[:, CLASSES.index("V")] / bins.step_s for _, recording, _ in pair]
    high = max(1.0, *(float(rate.max()) for rate in rates))
    axes = _time_axes(picture, pair, (20.0, 112.0), extend_to_ticks(0.0, high, 4))
    axes.frame("a minute", 4)
    for (_, recording, _), rate, colour in zip(pair, rates, PAIR_COLOURS, strict=True):
        inside = bins.edges[:-1] < recording.length_s
        picture.path(axes.x((bins.edges[:-1] + bins.edges[1:])[inside] / 2), axes.y(rate[inside]), colour, 1.2)
    return picture


def nn_comparison_chart(nn: Sequence[NNIntervals]) -> Picture:
    """Draw the histograms of NN intervals over each other, as shares."""
    picture = Picture(140, "NN intervals of both recordings.", column_width(WIDTH, 0.5, 2))
    draw_chart_heading(picture, 0, 10, "NN intervals", "share of them, percent, in bins of 1/128 s")
    every = np.concatenate([1000 * one.nn_s for one in nn])
    if not len(every):
        return picture
    low, high = (float(np.quantile(every, q)) for q in (0.001, 0.999))
    span = max(0.0, low - 60), high + 60
    shares = [100 * np.bincount((one.nn_s / BIN_S).astype(np.int64)) / max(1, len(one)) for one in nn]
    top = max(float(share.max()) for share in shares if len(share))
    axes = ChartAxes(picture, LEFT, picture.width - RIGHT, 20, 112, span, (0.0, 1.08 * top))
    axes.frame("percent", 4)
    axes.numbers("NN interval, ms", round_ticks(*span, 6))
    for share, colour in zip(shares, PAIR_COLOURS, strict=True):
        x = 1000 * BIN_S * (np.arange(len(share)) + 0.5)
        inside = (x >= span[0]) & (x <= span[1])
        picture.path(axes.x(np.asarray(x[inside], np.float64)), axes.y(share[inside]), colour, 1.2)
    return picture


def _mean_rates(recording: BedRecording, found: ReportFindings) -> tuple[Points, Points]:
    """Return times (n,) in seconds and the mean rate (n,) around each, NaN where it is not known."""
    columns = max(1, int((WIDTH - LEFT - RIGHT) / COLUMN_WIDTH))
    length = max(recording.length_s, 1.0)
    bins = TimeBins(np.linspace(0.0, length, columns + 1), length / columns)
    if np.isfinite(found.beats.rate).sum() < 2 * columns:  # few beats: a line through each of them
        return recording.beats.at_s, found.beats.rate
    mean = bin_extremes(found.beats.rate, recording.beats.at_s, bins)[1]
    return (bins.edges[:-1] + bins.edges[1:]) / 2, mean


def _time_axes(
    picture: Picture,
    pair: Sequence[tuple[str, BedRecording, ReportFindings]],
    ends: tuple[float, float],
    y_span: tuple[float, float],
) -> ChartAxes:
    """Return axes between two heights over the longer recording, with minutes or hours below."""
    longest = max(1.0, *(recording.length_s for _, recording, _ in pair))
    unit_s, name = (60.0, "minutes") if longest <= 60 * MOST_MINUTES else (3600.0, "hours")
    axes = ChartAxes(picture, LEFT, picture.width - RIGHT, *ends, (0.0, longest), y_span)
    numbers = ChartAxes(picture, axes.left, axes.right, *ends, (0.0, longest / unit_s), y_span)
    numbers.numbers(f"{name} from the start", round_ticks(0.0, longest / unit_s, 10))
    return axes
