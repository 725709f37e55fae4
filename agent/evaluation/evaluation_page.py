"""The report of a beat evaluation as one HTML page that needs nothing else: tables, and pictures as inline SVG.

`templates/evaluation.html` is the page. It does not show the cost, so the same figures give the same bytes.
"""

from collections.abc import Callable
from functools import cache
from io import StringIO
from pathlib import Path

import matplotlib
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from agent.evaluation.beat_report import (
    BEAT_HEADS,
    CLASS_HEADS,
    CONFUSION_HEADS,
    MISMATCH_HEADS,
    RUN_HEADS,
    beat_report_heading,
    beat_rows,
    class_rows,
    confusion_rows,
    measurement_lines,
    mismatch_cells,
    run_rows,
)
from agent.evaluation.report_tables import EvaluationReport
from model.records.wfdb_records import CLASSES
from model.scoring.beat_scores import EC57_LABELS
from model.training.training_figures import BLUE, GREEN, GREY, INK, METADATA, ORANGE, STYLE

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
ERROR_COLOURS = (("missed", BLUE), ("extra", ORANGE), ("another class", GREEN))


def evaluation_page(report: EvaluationReport) -> str:
    """Return the page as text."""
    return _load_page_template().render(
        heading=beat_report_heading(report),
        measurements=measurement_lines(report | {"cost": None}),
        tables={
            "beats": (("records", *BEAT_HEADS), beat_rows(report)),
            "runs": (("", *RUN_HEADS), run_rows(report)),
            "classes": (("", *CLASS_HEADS), class_rows(report)),
            "confusion": (CONFUSION_HEADS, confusion_rows(report)),
            "skipped": (("record", "reason"), [[*record.values()] for record in report["skipped"]]),
        },
        pictures={
            "record_errors": _inline_svg(report, _draw_record_errors),
            "confusion_matrix": _inline_svg(report, _draw_confusion_matrix),
            "timing_errors": _inline_svg(report, _draw_timing_errors),
        },
        mismatch_heads=MISMATCH_HEADS,
        mismatches=[(mismatch_cells(mismatch), "\n".join(mismatch["wave"])) for mismatch in report["mismatches"] or ()],
    )


@cache
def _load_page_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("evaluation.html")


def _inline_svg(report: EvaluationReport, draw: Callable[[EvaluationReport], Figure]) -> Markup:
    """Draw a picture as an element of the page, with matplotlib settings of its own."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # A fixed salt gives the same ids, and so the same bytes, every time.
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": draw.__name__})
        file = StringIO()
        draw(report).savefig(file, format="svg", metadata=METADATA["svg"])
    text = file.getvalue()
    return Markup(text[text.index("<svg") :].strip())


def _new_axes(width: float, height: float, margins: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """Return a picture and its axes; size and margins (left, bottom, right, top) in inches."""
    left, bottom, right, top = margins
    figure = Figure(figsize=(width, height))
    place = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    return figure, figure.add_axes(place)


def _draw_record_errors(report: EvaluationReport) -> Figure:
    """Draw missed, extra and wrongly classified beats of each record as stacked bars."""
    figure, axes = _new_axes(9.0, 3.2, (0.7, 0.9, 0.1, 0.4))
    matrices = np.array(
        [
            [[record["beats"]["matrix"][true][label] for label in EC57_LABELS] for true in EC57_LABELS]
            for record in report["records"]
        ]
    )
    size = len(CLASSES)
    matched = matrices[:, :size, :size]
    counts = (
        matrices[:, :size, size:].sum(axis=(1, 2)),
        matrices[:, size:, :size].sum(axis=(1, 2)),
        matched.sum(axis=(1, 2)) - np.trace(matched, axis1=1, axis2=2),
    )
    places = np.arange(len(matrices))
    bottom = np.zeros(len(matrices))
    for (name, colour), beats in zip(ERROR_COLOURS, counts, strict=True):
        axes.bar(places, beats, 0.8, bottom, color=colour, label=name)
        bottom = bottom + beats
    axes.set_xticks(
        places, [record["record"] for record in report["records"]], rotation=90, fontsize=8, parse_math=False
    )
    axes.set(xlim=(-0.7, len(matrices) - 0.3), ylabel="beats")
    axes.grid(axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3)
    return figure


def _draw_confusion_matrix(report: EvaluationReport) -> Figure:
    """Draw matched beats by true and detected class, shaded by their share of the true class."""
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
    axes.set(xlabel="detected class", ylabel="true class")
    return figure


def _draw_timing_errors(report: EvaluationReport) -> Figure:
    """Draw how far detected R peaks lie from the annotated ones."""
    figure, axes = _new_axes(9.0, 2.8, (0.8, 0.6, 0.1, 0.1))
    histogram = report["groups"]["all"]["timing"]["histogram"]
    middle = histogram["from_ms"] + (np.arange(len(histogram["beats"])) + 0.5) * histogram["bin_ms"]
    axes.bar(middle, histogram["beats"], 0.9 * histogram["bin_ms"], color=BLUE)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="detected minus annotated R peak, ms", ylabel="beats (log)", xlim=(-152, 152), ylim=(0, None))
    axes.grid(axis="y")
    return figure
