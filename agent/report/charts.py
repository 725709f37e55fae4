"""Charts over the time of a recording: rate, RR intervals, classes, alarms, signal quality."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import PRIORITIES, Alarm
from agent.report.axes import LEFT, RIGHT, ChartAxes, draw_chart_heading, make_time_axes
from agent.report.bed_recording import BedRecording
from agent.report.findings import BeatFindings, TimeBins, bin_extremes, count_by_bin
from agent.report.picture import (
    GREY,
    PALE,
    WIDTH,
    Picture,
    Points,
    column_width,
    draw_colour_legend,
    extend_to_ticks,
)
from agent.report.signal_quality import MINUTE_S, NOISY_UV, SignalQuality
from agent.report.styles import (
    BAND,
    BLUE,
    CLASS_COLOURS,
    CLASS_NAMES,
    PRIORITY_COLOURS,
    RED,
    number_or_dash,
    share_in_percent,
)
from model.records.wfdb_records import CLASSES

COLUMN_WIDTH = 1.5
"""Points; a column of a chart that holds many values."""
CELL_ROW_HEIGHT = 1.25
"""Points; a row of the tachogram."""
CELL_SHADES = ((1, 0.35), (4, 0.65), (16, 1.0))
"""Least number of intervals in a cell, and the opacity it has from there on."""
FEW_INTERVALS, FEW_CELL = 3000, 2.0
"""Up to this number of intervals each has the colour of its beat, and this size in points."""
HALF_WIDTH = column_width(WIDTH, 0.5, 2)
"""Points of two charts side by side."""
FREE_BAND = 0.25
"""Share of the range of the rates that is left free above and below them."""
MOST_LANES = 10
SHARES_HEIGHT, NOISE_HEIGHT = 70.0, 78.0
"""Points of the two panels of the signal."""
LEAST_SHOWN_PERCENT = 0.05
"""With less of the signal missing, flat and at the rails there is nothing to draw."""


def rate_chart(recording: BedRecording, findings: BeatFindings, height: float) -> Picture:
    """Draw least, mean and greatest rate over the whole recording, in a picture of a height in points."""
    rate, at_s = findings.rate, recording.beats.at_s
    picture = Picture(height, "Heart rate over time: the range in each moment, and its mean.", HALF_WIDTH)
    draw_chart_heading(picture, 0, 10, "Heart rate", "per minute, averaged: range (band) and mean (line)")
    known = rate[np.isfinite(rate)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (40.0, 120.0)
    # A free band above and below the curve has the words of its extremes.
    band = max(5.0, FREE_BAND * (high - low))
    axes = make_time_axes(
        picture, 18, height - 16, recording.length_s, extend_to_ticks(max(0.0, low - band), high + band, 5)
    )
    axes.frame("per minute", 5)
    axes.clocks(recording.started_s)
    if len(known):
        columns = int((axes.right - axes.left) / COLUMN_WIDTH)
        bins = TimeBins(np.linspace(0, axes.x_span[1], columns + 1), axes.x_span[1] / columns)
        least, mean, most = bin_extremes(rate, at_s, bins)
        middle = (bins.edges[:-1] + bins.edges[1:]) / 2
        filled = np.isfinite(mean)
        few = len(known) < 2 * columns  # then a line through every beat is clearer than means
        x, top, bottom = axes.x(middle), axes.y(most), axes.y(least)
        # Columns overlap a little, or viewers show seams between them.
        picture.lines(np.stack([x, top - 0.3, x, bottom + 0.3], axis=1)[filled], BAND, COLUMN_WIDTH + 0.1)
        line = (axes.x(at_s), axes.y(rate)) if few else (x, axes.y(mean))
        picture.path(*line, BLUE, 1.1)
        _draw_extreme_rate(axes, findings.fastest, recording, rate, above=True)
        _draw_extreme_rate(axes, findings.slowest, recording, rate, above=False)
    return picture


def _draw_extreme_rate(axes: ChartAxes, index: int | None, recording: BedRecording, rate: Points, above: bool) -> None:
    """Mark the fastest or slowest rate."""
    if index is None:
        return
    at_s, value = float(recording.beats.at_s[index]), float(rate[index])
    x, y = axes.at_x(at_s), axes.at_y(value)
    axes.picture.box((x - 1.8, y - 1.8, 3.6, 3.6), RED, radius=1.8)
    text = f"{'max' if above else 'min'} {value:.0f} at {recording.clock_text(at_s)}"
    right = x > axes.right - 100
    level = min(y - 4, axes.top + 7) if above else max(y + 8, axes.bottom - 2)
    axes.picture.text(x + (-4 if right else 4), level, text, 7.5, RED, "end" if right else "start")


def tachogram_chart(recording: BedRecording, height: float) -> Picture:
    """Draw every RR interval as a dot in a picture of a height in points.

    Of few each has the colour of the beat that ends it; of many a dot is darker where many lie.
    """
    rr = recording.beats.rr_s
    picture = Picture(height, "Tachogram: all RR intervals over the recording.", HALF_WIDTH)
    known = np.isfinite(rr)
    few = known.sum() <= FEW_INTERVALS
    draw_chart_heading(
        picture, 0, 10, "RR intervals", "seconds, by class" if few else "seconds; darker where many lie together"
    )
    # A few pauses must not squeeze all other intervals; they are marked at the upper edge.
    top = float(np.clip(np.quantile(rr[known], 0.999) * 1.25, 1.2, 4.0)) if known.any() else 1.6
    axes = make_time_axes(picture, 18, height - 16, recording.length_s, (0.0, top))
    axes.frame("seconds", 5)
    axes.clocks(recording.started_s)
    if not known.any():
        return picture
    if few:
        _draw_class_intervals(axes, recording, known)
    else:
        counts = _count_cells(axes, recording, known, (COLUMN_WIDTH, CELL_ROW_HEIGHT))
        for i, (least, opacity) in enumerate(CELL_SHADES):
            most = CELL_SHADES[i + 1][0] if i + 1 < len(CELL_SHADES) else counts.max() + 1
            draw_chart_cells(axes, (counts >= least) & (counts < most), COLUMN_WIDTH, CELL_ROW_HEIGHT, BLUE, opacity)
    over = known & (rr > top)
    if over.any():
        x = axes.x(recording.beats.at_s[over])
        picture.lines(np.stack([x, np.full(len(x), axes.top), x, np.full(len(x), axes.top + 6)], axis=1), RED, 1.2)
        text = f"{over.sum()} longer than {top:.1f} s, marked at the top"
        picture.text(axes.right, axes.top + 14, text, 7.5, RED, "end")
    return picture


def _draw_class_intervals(axes: ChartAxes, recording: BedRecording, known: NDArray[np.bool_]) -> None:
    """Draw known intervals (n,) in the colours of their beats, and a legend of the classes above."""
    shown = [name for name in CLASSES if (known & recording.beats.of(name)).any()]
    draw_colour_legend(axes.picture, 160, 10, [(CLASS_COLOURS[name], name) for name in shown])
    for name in shown:
        counts = _count_cells(axes, recording, known & recording.beats.of(name), (FEW_CELL, FEW_CELL))
        draw_chart_cells(axes, counts > 0, FEW_CELL, FEW_CELL, CLASS_COLOURS[name], 1.0)


def _count_cells(
    axes: ChartAxes, recording: BedRecording, chosen: NDArray[np.bool_], cell: tuple[float, float]
) -> NDArray[np.int64]:
    """Return how many of the chosen intervals (n,) lie in each cell (columns, rows) of a size in points."""
    columns, rows = int((axes.right - axes.left) / cell[0]), int((axes.bottom - axes.top) / cell[1])
    at_s, rr = recording.beats.at_s[chosen], recording.beats.rr_s[chosen]
    column = np.clip((at_s / axes.x_span[1] * columns).astype(np.int64), 0, columns - 1)
    row = np.clip((rr / axes.y_span[1] * rows).astype(np.int64), 0, rows - 1)
    return np.bincount(column * rows + row, minlength=columns * rows).reshape(columns, rows)


def draw_chart_cells(
    axes: ChartAxes, chosen: NDArray[np.bool_], width: float, height: float, colour: str, opacity: float
) -> None:
    """Draw the chosen cells (columns, rows), rows from below; adjoining cells of a column become one line."""
    # Each column of cells alternates between starts and ends of its filled stretches.
    padded = np.pad(chosen.astype(np.int8), ((0, 0), (1, 1)))
    turns = np.argwhere(np.diff(padded, axis=1) != 0)
    if not len(turns):
        return
    column, starts, stops = turns[::2, 0], turns[::2, 1], turns[1::2, 1]
    x = axes.left + (column + 0.5) * width
    ends = np.stack([x, axes.bottom - starts * height, x, axes.bottom - stops * height], axis=1)
    axes.picture.lines(ends.astype(np.float64), colour, width, opacity)


def class_chart(recording: BedRecording, findings: BeatFindings, bins: TimeBins) -> Picture:
    """Draw the beats of each class in each part of the time: all beats, and beside them those other than N."""
    counts = count_by_bin(recording.beats, bins)
    picture = Picture(102, "Beats of each class over the recording, stacked: all, and those other than normal.")
    span = "hour" if bins.step_s == 3600 else _bin_width_text(bins.step_s)
    draw_chart_heading(picture, 0, 10, "Beats by class", f"in each {span}; right: other than normal")
    items = [
        (CLASS_COLOURS[name], f"{name} {CLASS_NAMES[name]} {findings.counts[i]:,}") for i, name in enumerate(CLASSES)
    ]
    draw_colour_legend(picture, 250, 10, items)
    half = column_width(WIDTH, 0.5, 2)
    for left, right, first in ((LEFT, half, 0), (WIDTH - half + LEFT, WIDTH - RIGHT, 1)):
        stack = counts[:, first:]
        high = extend_to_ticks(0.0, max(1.0, float(stack.sum(axis=1).max())), 4)
        axes = ChartAxes(picture, left, right, 18, 86, (0.0, max(recording.length_s, 1.0)), high)
        axes.frame("beats", 4)
        axes.clocks(recording.started_s)
        _draw_class_stacks(axes, stack, bins, CLASSES[first:], recording)
    return picture


def _draw_class_stacks(
    axes: ChartAxes, counts: NDArray[np.int64], bins: TimeBins, names: Sequence[str], recording: BedRecording
) -> None:
    for i in range(len(bins)):
        left, right = (axes.at_x(min(max(edge, 0.0), axes.x_span[1])) for edge in bins.edges[i : i + 2].tolist())
        base = 0.0
        begin = recording.clock_text(max(0.0, float(bins.edges[i])), seconds=False)
        for name, count in zip(names, counts[i].tolist(), strict=True):
            if count:
                low, high = axes.at_y(base), axes.at_y(base + count)
                width = max(0.8, right - left - 1.2)
                title = f"from {begin}: {count:,} {name} ({CLASS_NAMES[name]})"
                axes.picture.box((left + 0.6, high, width, low - high), CLASS_COLOURS[name], title=title)
                if low - high > 9 and width > 9:
                    axes.picture.text(left + 0.6 + width / 2, (low + high) / 2 + 2.5, name, 7, "#ffffff", "middle")
                base += count


def alarm_chart(recording: BedRecording, alarms: Sequence[Alarm]) -> Picture:
    """Draw when each alarm condition stood, one lane for each condition."""
    order = sorted(alarms, key=lambda alarm: (PRIORITIES.index(alarm.priority), alarm.condition))
    lanes = [(key, list(group)) for key, group in groupby(order, key=lambda alarm: (alarm.priority, alarm.condition))]
    shown = lanes[:MOST_LANES]
    width = column_width(WIDTH, 0.5, 2)
    title = "Alarms over the recording, a lane for each condition, by priority."
    picture = Picture(36 + 13 * len(shown), title, width)
    draw_chart_heading(picture, 0, 10, "Alarms over time", "onset to end; H high, M medium, L low priority")
    whole = make_time_axes(picture, 18, 20 + 13 * len(shown), recording.length_s, (0.0, 1.0))
    axes = ChartAxes(picture, 140, whole.right, whole.top, whole.bottom, whole.x_span, whole.y_span)
    axes.clocks(recording.started_s)
    for i, ((priority, condition), group) in enumerate(shown):
        y = 20 + 13 * i
        colour = PRIORITY_COLOURS[priority]
        picture.text(0, y + 9, priority[0].upper(), 8, colour, bold=True)
        picture.text(12, y + 9, condition[:24], 8)
        picture.text(134, y + 9, f"{len(group):,}", 8, GREY, "end")
        picture.line((axes.left, y + 12, axes.right, y + 12), PALE, 0.5)
        picture.lines(_lay_out_alarm_bars(axes, group, recording, y + 6.0), colour, 7.0)
    if len(lanes) > len(shown):
        picture.text(axes.right, 10, f"{len(lanes) - len(shown)} more in the table", 7.5, GREY, "end")
    return picture


def _lay_out_alarm_bars(axes: ChartAxes, alarms: Sequence[Alarm], recording: BedRecording, y: float) -> Points:
    """Return the bars (n, 4) of a lane from onset to end, wide enough to be seen; bars that touch become one."""
    spans = []
    for alarm in alarms:
        begin = recording.time_of(alarm.run, alarm.onset)
        end = recording.time_of(alarm.run, alarm.announced if alarm.ended is None else alarm.ended)
        if begin is not None and end is not None:
            left = min(max(axes.at_x(begin), axes.left), axes.right - 1.2)
            spans.append((left, min(max(axes.at_x(end), left + 1.2), axes.right)))
    joined: list[tuple[float, float]] = []
    for left, right in sorted(spans):
        if joined and left <= joined[-1][1] + 0.3:
            joined[-1] = joined[-1][0], max(joined[-1][1], right)
        else:
            joined.append((left, right))
    return np.array([(left, y, right, y) for left, right in joined], np.float64).reshape(-1, 4)


def quality_chart(recording: BedRecording, quality: SignalQuality) -> Picture:
    """Draw which share of each moment was recorded, flat or at the rails, where not all is good, and the noise."""
    lost = max(0.0, recording.length_s - quality.recorded_s)
    total = max(recording.length_s, 1e-9)
    percents = [100 * seconds / total for seconds in (lost, quality.flat.sum(), quality.saturated.sum())]
    title = "Signal quality over the recording: missing, flat and saturated signal, and noise."
    whole = not any(percent > LEAST_SHOWN_PERCENT for percent in percents)
    picture = Picture(NOISE_HEIGHT + (0 if whole else SHARES_HEIGHT), title, column_width(WIDTH, 0.5, 2))
    if not whole:
        colours = (BAND, RED, PRIORITY_COLOURS["medium"], "#7a5195")
        names = ("recorded", "missing", "flat", "at the rails")
        shown = [share_in_percent(percent) for percent in (100 - percents[0], *percents)]
        items = [(colour, f"{name} {share}") for colour, name, share in zip(colours, names, shown, strict=True)]
        draw_chart_heading(picture, 0, 10, "Signal")
        draw_colour_legend(picture, 46, 10, items, 7.0)
        axes = make_time_axes(picture, 18, 52, recording.length_s, (0.0, 1.0))
        axes.frame("share", marks=(0.0, 0.5, 1.0))
        _draw_shares(axes, recording, quality, colours)
        axes.clocks(recording.started_s)
    _draw_noise_panel(picture, recording, quality)
    return picture


def _draw_shares(axes: ChartAxes, recording: BedRecording, quality: SignalQuality, colours: Sequence[str]) -> None:
    """Draw the shares of good, missing, flat and saturated signal of each column of the chart on top of each other."""
    parts = len(quality.recorded)
    columns = int(min((axes.right - axes.left) / COLUMN_WIDTH, parts))
    # Each column is some whole parts, and stands where they are; the last part is rarely a whole one.
    edges = np.minimum(np.arange(parts + 1) * quality.part_s, max(recording.length_s, 1e-9))
    firsts = -(-np.arange(columns + 1) * parts // columns)
    lasts = np.diff(edges)
    whole, missing, flat, saturated = (
        np.add.reduceat(part, firsts[:-1])
        for part in (lasts, np.maximum(0.0, lasts - quality.recorded), quality.flat, quality.saturated)
    )
    missing, flat, saturated = (np.divide(part, whole) for part in (missing, flat, saturated))
    x = axes.x(edges[firsts])
    base = np.zeros(columns)
    for share, colour in zip(
        (np.clip(1 - missing - flat - saturated, 0, 1), missing, flat, saturated), colours, strict=True
    ):
        top = np.minimum(1.0, base + share)
        for i in np.flatnonzero(share > 1e-6).tolist():
            upper, lower = axes.at_y(float(top[i])), axes.at_y(float(base[i]))
            # Columns overlap a little, or viewers show seams between them.
            axes.picture.box((float(x[i]), upper, float(x[i + 1] - x[i]) + 0.1, lower - upper), colour)
        base = top


def _draw_noise_panel(picture: Picture, recording: BedRecording, quality: SignalQuality) -> None:
    known = quality.noise_uv[np.isfinite(quality.noise_uv)]
    more = f"µV rms by minute, median {number_or_dash(_median_or_none(known))}; above the line no rate is taken"
    begin = picture.height - NOISE_HEIGHT
    draw_chart_heading(picture, 0, begin + 10, "Noise", more)
    high = NOISY_UV * 1.25
    axes = make_time_axes(picture, begin + 18, begin + 62, recording.length_s, (0.0, high))
    axes.frame("µV", marks=(0, 50, NOISY_UV))
    axes.clocks(recording.started_s)
    limit = axes.at_y(NOISY_UV)
    picture.line((axes.left, limit, axes.right, limit), RED, 0.6, dash=(4, 3))
    # A step for each minute, which stands where the minute is.
    edges = np.minimum(np.arange(len(quality.noise_uv) + 1) * MINUTE_S, recording.length_s)
    x, value = axes.x(np.repeat(edges, 2)[1:-1]), np.repeat(np.minimum(quality.noise_uv, high), 2)
    picture.path(x, axes.y(value), GREY, 0.8)


def _median_or_none(values: Points) -> float | None:
    return float(np.median(values)) if len(values) else None


def _bin_width_text(step_s: float) -> str:
    for unit_s, name in ((604_800, "weeks"), (86_400, "days"), (3600, "hours"), (60, "minutes")):
        if step_s >= unit_s:
            count = round(step_s / unit_s)
            return name[:-1] if count == 1 else f"{count} {name}"
    return f"{step_s:.0f} seconds"
