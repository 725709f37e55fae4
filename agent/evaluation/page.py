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

from agent.evaluation.report import (
    BEAT_HEADS,
    CLASS_HEADS,
    RUN_HEADS,
    beat_rows,
    class_rows,
    clock,
    confusion_rows,
    heading,
    measures,
    named,
    run_rows,
)
from model.records.wfdb_records import CLASSES
from model.scoring.beat_scores import LABELS
from model.training.figures import BLUE, GREEN, GREY, INK, METADATA, ORANGE, STYLE

Report = dict[str, Any]

CSS = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #e5e5e5 }
th { border-bottom: 1px solid #888; font-weight: 600 }
th:first-child, td:first-child { text-align: left }
.wide { overflow-x: auto } svg { max-width: 100%; height: auto } pre { margin: 0; line-height: 1.1; text-align: left }
"""
WRONG = (("missed", BLUE), ("extra", ORANGE), ("another class", GREEN))


def page(report: Report) -> str:
    """The page as text."""
    parts = [
        "<h1>Evaluation of ecg-agent</h1>",
        *(f"<p>{escape(line)}</p>" for line in heading(report)),
        "<h2>Beats</h2><p>Se: sensitivity, +P: positive predictivity, both in percent.</p>",
        _table(("records", *BEAT_HEADS), beat_rows(report)),
        "<h2>Errors of each record</h2>",
        _picture(report, _errors),
        "<h2>Runs of ectopic beats, gross</h2>",
        _table(("", *RUN_HEADS), run_rows(report)),
        "<h2>Classes of matched beats</h2>",
        _table(("", *CLASS_HEADS), class_rows(report)),
        _picture(report, _confusion),
        _table(("true \\ said", *map(named, LABELS)), confusion_rows(report)),
        "<h2>Time and rate</h2>",
        *(f"<p>{escape(line)}</p>" for line in measures(report | {"cost": None})),
        _picture(report, _timing),
    ]
    if report["skipped"]:
        parts += ["<h2>Skipped</h2>", _table(("record", "reason"), ([*one.values()] for one in report["skipped"]))]
    if report["mismatches"]:
        parts += ["<h2>Mismatches</h2>", _mismatches(report["mismatches"])]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Evaluation of ecg-agent</title>'
        f"<style>{CSS}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _mismatches(mismatches: Sequence[Report]) -> str:
    rows = (
        f"<tr><td>{escape(one['record'])}</td><td>{clock(one['time_s'])}</td>"
        + "".join(f"<td>{escape(named(one[key]))}</td>" for key in ("true", "said"))
        + f"<td><pre>{escape(chr(10).join(one['wave']))}</pre></td></tr>"
        for one in mismatches
    )
    head = "<tr><th>record</th><th>time</th><th>true</th><th>said</th><th>signal</th></tr>"
    return f"<table><thead>{head}</thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _picture(report: Report, draw: Callable[[Report], Figure]) -> str:
    """A picture as an element of the page, in settings of its own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": draw.__name__})
        file = StringIO()
        draw(report).savefig(file, format="svg", metadata=METADATA["svg"])
    return file.getvalue()[file.getvalue().index("<svg") :].strip()


def _axes(width: float, height: float, margins: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """A picture and its axes; size and margins (left, bottom, right, top) in inches."""
    left, bottom, right, top = margins
    figure = Figure(figsize=(width, height))
    place = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    return figure, figure.add_axes(place)


def _errors(report: Report) -> Figure:
    """Missed, extra and wrongly classified beats of each record, as bars on each other."""
    figure, axes = _axes(9.0, 3.2, (0.7, 0.9, 0.1, 0.4))
    matrices = np.array(
        [[[one["beats"]["matrix"][true][said] for said in LABELS] for true in LABELS] for one in report["records"]]
    )
    size = len(CLASSES)
    matched = matrices[:, :size, :size]
    counts = (
        matrices[:, :size, size:].sum(axis=(1, 2)),
        matrices[:, size:, :size].sum(axis=(1, 2)),
        matched.sum(axis=(1, 2)) - np.trace(matched, axis1=1, axis2=2),
    )
    places, bottom = np.arange(len(matrices)), np.zeros(len(matrices))
    for (name, colour), beats in zip(WRONG, counts, strict=True):
        axes.bar(places, beats, 0.8, bottom, color=colour, label=name)
        bottom = bottom + beats
    axes.set_xticks(places, [one["record"] for one in report["records"]], rotation=90, fontsize=8, parse_math=False)
    axes.set(xlim=(-0.7, len(matrices) - 0.3), ylabel="beats")
    axes.grid(axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3)
    return figure


def _confusion(report: Report) -> Figure:
    """Matched beats by true class and by what was said, shaded by their share of the true class."""
    figure, axes = _axes(6.0, 3.6, (0.8, 0.6, 0.1, 0.1))
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


def _timing(report: Report) -> Figure:
    """How far the found R peaks lie from the annotated ones."""
    figure, axes = _axes(9.0, 2.8, (0.8, 0.6, 0.1, 0.1))
    histogram = report["groups"]["all"]["timing"]["histogram"]
    middle = histogram["from_ms"] + (np.arange(len(histogram["beats"])) + 0.5) * histogram["bin_ms"]
    axes.bar(middle, histogram["beats"], 0.9 * histogram["bin_ms"], color=BLUE)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="found minus annotated R peak, ms", ylabel="beats (log)", xlim=(-152, 152), ylim=(0, None))
    axes.grid(axis="y")
    return figure
