"""The report of an evaluation as one HTML page that needs nothing else: tables, and pictures as SVG inside it.

The page is a function of the report without its cost: the same figures give the same bytes.
"""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from io import StringIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from agent.evaluation.beat_report import (
    BEAT_HEADS,
    CLASS_HEADS,
    RUN_HEADS,
    beat_report_heading,
    beat_rows,
    class_rows,
    confusion_rows,
    format_clock_time,
    label_text,
    measurement_lines,
    run_rows,
)
from model.records.wfdb_records import CLASSES
from model.scoring.beat_scores import EC57_LABELS
from model.training.training_figures import BLUE, GREEN, GREY, INK, METADATA, ORANGE, STYLE

PageReport = dict[str, Any]

PAGE_CSS = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #e5e5e5 }
th { border-bottom: 1px solid #888; font-weight: 600 }
th:first-child, td:first-child { text-align: left }
.wide { overflow-x: auto } svg { max-width: 100%; height: auto } pre { margin: 0; line-height: 1.1; text-align: left }
"""
ERROR_COLOURS = (("missed", BLUE), ("extra", ORANGE), ("another class", GREEN))


def evaluation_page(report: PageReport) -> str:
    """The page as text."""
    parts = [
        "<h1>Evaluation of ecg-agent</h1>",
        *(f"<p>{escape(line)}</p>" for line in beat_report_heading(report)),
        "<h2>Beats</h2><p>Se: sensitivity, +P: positive predictivity, both in percent.</p>",
        _html_table(("records", *BEAT_HEADS), beat_rows(report)),
        "<h2>Errors of each record</h2>",
        _inline_svg(report, _draw_record_errors),
        "<h2>Runs of ectopic beats, gross</h2>",
        _html_table(("", *RUN_HEADS), run_rows(report)),
        "<h2>Classes of matched beats</h2>",
        _html_table(("", *CLASS_HEADS), class_rows(report)),
        _inline_svg(report, _draw_confusion_matrix),
        _html_table(("true \\ said", *map(label_text, EC57_LABELS)), confusion_rows(report)),
        "<h2>Time and rate</h2>",
        *(f"<p>{escape(line)}</p>" for line in measurement_lines(report | {"cost": None})),
        _inline_svg(report, _draw_timing_errors),
    ]
    if report["skipped"]:
        parts += ["<h2>Skipped</h2>", _html_table(("record", "reason"), ([*one.values()] for one in report["skipped"]))]
    if report["mismatches"]:
        parts += ["<h2>Mismatches</h2>", _html_mismatches(report["mismatches"])]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Evaluation of ecg-agent</title>'
        f"<style>{PAGE_CSS}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _html_table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _html_mismatches(mismatches: Sequence[PageReport]) -> str:
    rows = (
        f"<tr><td>{escape(one['record'])}</td><td>{format_clock_time(one['time_s'])}</td>"
        + "".join(f"<td>{escape(label_text(one[key]))}</td>" for key in ("true", "said"))
        + f"<td><pre>{escape(chr(10).join(one['wave']))}</pre></td></tr>"
        for one in mismatches
    )
    head = "<tr><th>record</th><th>time</th><th>true</th><th>said</th><th>signal</th></tr>"
    return f"<table><thead>{head}</thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _inline_svg(report: PageReport, draw: Callable[[PageReport], Figure]) -> str:
    """A picture as an element of the page, in settings of its own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": draw.__name__})
        file = StringIO()
        draw(report).savefig(file, format="svg", metadata=METADATA["svg"])
    return file.getvalue()[file.getvalue().index("<svg") :].strip()


def _new_axes(width: float, height: float, margins: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """A picture and its axes; size and margins (left, bottom, right, top) in inches."""
    left, bottom, right, top = margins
    figure = Figure(figsize=(width, height))
    place = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    return figure, figure.add_axes(place)


def _draw_record_errors(report: PageReport) -> Figure:
    """Missed, extra and wrongly classified beats of each record, as bars on each other."""
    figure, axes = _new_axes(9.0, 3.2, (0.7, 0.9, 0.1, 0.4))
    matrices = np.array(
        [
            [[one["beats"]["matrix"][true][said] for said in EC57_LABELS] for true in EC57_LABELS]
            for one in report["records"]
        ]
    )
    size = len(CLASSES)
    matched = matrices[:, :size, :size]
    counts = (
        matrices[:, :size, size:].sum(axis=(1, 2)),
        matrices[:, size:, :size].sum(axis=(1, 2)),
        matched.sum(axis=(1, 2)) - np.trace(matched, axis1=1, axis2=2),
    )
    places, bottom = np.arange(len(matrices)), np.zeros(len(matrices))
    for (name, colour), beats in zip(ERROR_COLOURS, counts, strict=True):
        axes.bar(places, beats, 0.8, bottom, color=colour, label=name)
        bottom = bottom + beats
    axes.set_xticks(places, [one["record"] for one in report["records"]], rotation=90, fontsize=8, parse_math=False)
    axes.set(xlim=(-0.7, len(matrices) - 0.3), ylabel="beats")
    axes.grid(axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3)
    return figure


def _draw_confusion_matrix(report: PageReport) -> Figure:
    """Matched beats by true class and by what was said, shaded by their share of the true class."""
    figure, axes = _new_axes(6.0, 3.6, (0.8, 0.6, 0.1, 0.1))
    matrix = np.array(report["groups"]["all"]["classes"]["confusion"])
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shades = LinearSegmentedColormap.from_list("blue", ["#ffffff", BLUE])
    axes.pcolormesh(shares, cmap=shades, vmin=0, vmax=1, edgecolors="#ffffff", linewidth=2)
    axes.invert_yaxis()
    for (row, column), beats in np.ndenumerate(matrix):
        colour = "#ffffff" if shares[row, column] > 0.6 else INK if beats else GREY
        text = f"{beats:,}\n{100 * shares[row, column]:.1f} %" if beats else "0"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour, fontsize=9)
    middle = np.arange(len(CLASSES)) + 0.5
    axes.set_xticks(middle, CLASSES)
    axes.set_yticks(middle, CLASSES)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="class said", ylabel="true class")
    return figure


def _draw_timing_errors(report: PageReport) -> Figure:
    """How far the found R peaks lie from the annotated ones."""
    figure, axes = _new_axes(9.0, 2.8, (0.8, 0.6, 0.1, 0.1))
    histogram = report["groups"]["all"]["timing"]["histogram"]
    middle = histogram["from_ms"] + (np.arange(len(histogram["beats"])) + 0.5) * histogram["bin_ms"]
    axes.bar(middle, histogram["beats"], 0.9 * histogram["bin_ms"], color=BLUE)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="found minus annotated R peak, ms", ylabel="beats (log)", xlim=(-152, 152), ylim=(0, None))
    axes.grid(axis="y")
    return figure
