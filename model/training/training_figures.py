"""Pictures of a finished training run, from its report: SVG and PNG files, the same bytes for the same report.

Colours are those of Okabe & Ito (jfly.uni-koeln.de/color), which colour-blind readers can distinguish. matplotlib is
used through its objects, without pyplot, and its settings are restored.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from model.beats.dataset import TRAIN_NORMAL
from model.errors import RunError
from model.files import write_atomically
from model.nets.net_size import NetSize, block_samples_left
from model.records.wfdb_records import CLASSES

INK, GREY, PALE, FAINT = "#222222", "#6b6b6b", "#d9d9d9", "#f3f3f3"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "ecg-agent",
}
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
DPI = 150
WIDTH, HEIGHT = 5.2, 3.7
"""Inches of a picture, so that its text is readable at half the width of a page."""
CLASS_TITLES = ("normal  N", "supraventricular  S", "ventricular  V", "fusion  F", "paced, unknown  Q")
POOLING = "max-pool 5, stride 2"
TIMES_SIGN = "\N{MULTIPLICATION SIGN}"
PROTOCOL_TITLES = {"random": "random split", "inter-patient": "patients apart"}

ROW, BOX = 0.44, 0.29
"""Distance of two layers of the net, and height of a box, in inches."""
FEW_BEATS = 30
"""With fewer beats the accuracy of a bin is uncertain."""
CURVE_STYLES = ((BLUE, "-"), (ORANGE, "-"), (GREEN, "--"))
SKY, SAND, MINT = "#d6eaf6", "#fbe3d2", "#d3efe5"

Report = dict[str, Any]


def draw_training_figures(report: Report, folder: Path) -> list[Path]:
    """Draw all pictures of a report into `folder` and return the files. Raises RunError if it cannot be written."""
    paths = []
    with picture_style(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in PICTURES.items():
            paths += save_training_picture(picture(report), folder / name)
    return paths


@contextmanager
def picture_style(folder: Path) -> Iterator[None]:
    """Draw in the style of all pictures of trainings. Raises RunError if `folder` cannot be written."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own settings say
        matplotlib.rcParams.update(STYLE)
        try:
            yield
        except OSError as error:
            raise RunError(f"cannot write figures to {folder}: {error}; choose another folder") from error


def draw_train_distribution(report: Report) -> Figure:
    """Draw the number of training beats of each class."""
    left_out = report["training"]["drop_normal"] / TRAIN_NORMAL
    note = f", {_one_decimal_percent(left_out)} of N left out" if left_out else ""
    return _draw_class_bars(report, "Training beats by class", report["training"]["train_beats"], note)


def draw_test_distribution(report: Report) -> Figure:
    """Draw the number of test beats of each class."""
    return _draw_class_bars(report, "Test beats by class", report["training"]["test_beats"], "")


def draw_architecture(report: Report) -> Figure:
    """Draw the net from a beat to probabilities, with the shape after each layer, and one residual block in full."""
    size = msgspec.convert(report["size"], NetSize)
    layers = _layer_shapes(size)
    notes = _residual_block_notes(size, report["training"]["norm"])
    height = 1.0 + max(ROW * len(layers), ROW * 6 + 0.85 + 0.17 * len(notes))
    figure, axes = _blank_canvas(report, "Architecture", f"{report['parameters']:,} parameters", height)
    axes.text(2.3, height - 0.84, f"samples {TIMES_SIGN} channels", size=8, color=GREY, va="center")
    top = height - 0.92
    for i, (layer, shape, colour) in enumerate(layers):
        y = top - (i + 0.5) * ROW
        _draw_layer_box(axes, 1.15, y, 2.0, layer, colour)
        axes.text(2.3, y, shape, va="center", size=9)
        if i:
            _draw_layer_arrow(axes, (1.15, y + ROW - BOX / 2), (1.15, y + BOX / 2))
    _draw_residual_block(axes, f"convolution {size.kernel}", notes, top - 0.07)
    return figure


def draw_loss_curves(report: Report) -> Figure:
    """Draw the loss of both sides over the epochs."""
    curves = {"train_loss": "training", "test_loss": "test"}
    figure, axes = _draw_epoch_curves(report, "Loss over the epochs", "cross-entropy", curves)
    axes.set_ylim(0, max(1.05 * axes.dataLim.y1, 0.01))
    return figure


def draw_accuracy_curves(report: Report) -> Figure:
    """Draw the accuracy of both sides and the balanced accuracy of the test side over the epochs."""
    curves = {"train_accuracy": "training", "test_accuracy": "test", "test_balanced_accuracy": "test, balanced"}
    figure, axes = _draw_epoch_curves(report, "Accuracy over the epochs", "accuracy", curves)
    axes.set_ylim(1 - max(1.05 * (1 - axes.dataLim.y0), 0.01), 1)
    axes.yaxis.set_major_formatter(_percent_axis_formatter())
    return figure


def draw_test_confusion(report: Report) -> Figure:
    """Draw test beats by true and predicted class, as counts and as shares of the true class."""
    matrix = np.array(report["test"]["confusion"])
    total = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(total, 1)
    figure, axes = _figure_with_axes(
        report, "Confusion matrix of the test beats", f"{matrix.sum():,} beats", 4.6, (0.85, 0.7, 0.2, 0.75)
    )
    axes.imshow(
        shares, cmap=LinearSegmentedColormap.from_list("blue", ["#ffffff", BLUE]), vmin=0, vmax=1, aspect="auto"
    )
    for (row, column), beats in np.ndenumerate(matrix):
        colour = "#ffffff" if shares[row, column] > 0.75 else INK if beats else GREY
        if total[row, 0]:
            axes.text(
                column, row - 0.12, _one_decimal_percent(shares[row, column]), ha="center", va="center", color=colour
            )
        axes.text(column, row + 0.22, f"{beats:,}", ha="center", va="center", color=colour, size=8)
    axes.set_xticks(range(len(CLASSES)), CLASSES)
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set_xticks(np.arange(len(CLASSES) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(CLASSES) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="#ffffff", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure


def draw_test_calibration(report: Report) -> Figure:
    """Draw a reliability diagram: accuracy by confidence, and the share of beats with each confidence."""
    calibration, height = report["test"]["calibration"], 4.6
    bins = calibration["bins"]
    width = 1 / len(bins)
    centres = (np.arange(len(bins)) + 0.5) * width
    beats = np.array([entry["beats"] for entry in bins])
    confidences, accuracies = (np.array([entry[key] for entry in bins], float) for key in ("confidence", "accuracy"))
    note = f"expected calibration error {_one_decimal_percent(calibration['ece'])}"
    figure, axes = _figure_with_axes(report, "Calibration on the test beats", note, height, (0.85, 1.5, 0.3, 1.0))
    axes.bar(centres, np.nan_to_num(accuracies), 0.9 * width, color=SKY)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="ideal")
    for rows, fill, label in (
        (beats >= FEW_BEATS, BLUE, "accuracy of a bin"),
        (beats < FEW_BEATS, "#ffffff", f"under {FEW_BEATS} beats"),
    ):
        axes.plot(confidences[rows], accuracies[rows], "o", color=BLUE, mfc=fill, ms=5, label=label, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    axes.grid(axis="y")
    axes.tick_params(labelbottom=False)
    axes.yaxis.set_major_formatter(_percent_axis_formatter())
    _add_row_legend(axes)
    below = figure.add_axes((0.85 / WIDTH, 0.6 / height, (WIDTH - 1.15) / WIDTH, 0.7 / height), sharex=axes)
    below.bar(centres, beats / max(beats.sum(), 1), 0.9 * width, color=GREY)
    below.set(xlabel="confidence in the predicted class", ylabel="beats", ylim=(0, 1), yticks=[0, 0.5, 1])
    below.xaxis.set_major_formatter(_percent_axis_formatter())
    below.yaxis.set_major_formatter(_percent_axis_formatter())
    return figure


def draw_class_metrics(report: Report) -> Figure:
    """Draw recall, precision and F1 of each class that has test beats, with their 95 % intervals."""
    test, beats = report["test"], report["training"]["test_beats"]
    figure, axes = _figure_with_axes(report, "Recall, precision and F1 by class", "", HEIGHT, (0.85, 0.85, 0.2, 1.0))
    shown = [i for i, name in enumerate(CLASSES) if name in test["classes_present"]]
    rates = (("recall", BLUE, "o"), ("precision", ORANGE, "s"), ("f1", GREEN, "D"))
    for offset, (rate, colour, marker) in zip((-0.22, 0, 0.22), rates, strict=True):
        places = np.array(shown) + offset
        values = [test[rate][CLASSES[i]] for i in shown]
        low, high = np.array([test["intervals"][rate][CLASSES[i]] for i in shown]).reshape(-1, 2).T
        axes.vlines(places, low, high, color=colour, linewidth=2, alpha=0.6, clip_on=False)
        label = "F1" if rate == "f1" else rate
        axes.plot(places, values, marker, color=colour, markersize=5.5, label=label, clip_on=False)
    axes.set_xticks(range(len(CLASSES)), [f"{name}\n{beats[name]:,}" for name in CLASSES])
    axes.set(xlim=(-0.6, len(CLASSES) - 0.4), ylim=(0, 1), xlabel="class and its test beats; lines are 95 % intervals")
    axes.yaxis.set_major_formatter(_percent_axis_formatter())
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    _add_row_legend(axes)
    return figure


PICTURES: dict[str, Callable[[Report], Figure]] = {
    "train_distribution": draw_train_distribution,
    "test_distribution": draw_test_distribution,
    "architecture": draw_architecture,
    "loss": draw_loss_curves,
    "accuracy": draw_accuracy_curves,
    "confusion": draw_test_confusion,
    "calibration": draw_test_calibration,
    "classes": draw_class_metrics,
}


def save_training_picture(figure: Figure, path: Path) -> list[Path]:
    """Write a picture in both formats, each in one step."""
    paths = [path.with_suffix(f".{kind}") for kind in METADATA]
    for (kind, metadata), final in zip(METADATA.items(), paths, strict=True):
        with write_atomically(final) as partial:
            figure.savefig(partial, format=kind, dpi=DPI, metadata=metadata)
    return paths


def _figure_with_axes(
    report: Report, title: str, note: str, height: float, margins: tuple[float, float, float, float]
) -> tuple[Figure, Axes]:
    """Return a picture with its headline and one pair of axes; margins in inches: left, bottom, right, top."""
    figure = Figure(figsize=(WIDTH, height))
    figure.text(0.15 / WIDTH, 1 - 0.14 / height, title, size=12, weight="bold", va="top")
    fold = report["training"].get("fold")
    protocol = PROTOCOL_TITLES[report["training"]["protocol"]] + ("" if fold is None else f", fold {fold}")
    below = "  ·  ".join([report["name"], protocol, *([note] if note else [])])
    size = min(9, 9 * 74 / len(below))  # a long name stays inside
    figure.text(0.15 / WIDTH, 1 - 0.4 / height, below, size=size, color=GREY, va="top", parse_math=False)
    left, bottom, right, top = margins
    place = (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - bottom - top) / height)
    return figure, figure.add_axes(place)


def _blank_canvas(report: Report, title: str, note: str, height: float) -> tuple[Figure, Axes]:
    """Return an empty picture with its headline, whose axes are in inches."""
    figure, axes = _figure_with_axes(report, title, note, height, (0, 0, 0, 0))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.set_axis_off()
    return figure, axes


def _draw_class_bars(report: Report, title: str, beats: dict[str, int], note: str) -> Figure:
    total = sum(beats.values())
    figure, axes = _figure_with_axes(report, title, f"{total:,} beats{note}", 2.9, (1.65, 0.15, 0.2, 0.75))
    counts = [beats[name] for name in CLASSES]
    axes.barh(range(len(CLASSES)), counts, 0.62, color=BLUE)
    for row, count in enumerate(counts):
        axes.annotate(f"{count:,}", (count, row), (5, 0), textcoords="offset points", va="center", weight="bold")
        axes.annotate(
            _one_decimal_percent(count / max(total, 1)),
            (count, row),
            (52, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
        )
    axes.set_yticks(range(len(CLASSES)), CLASS_TITLES)
    axes.set(ylim=(len(CLASSES) - 0.5, -0.5), xlim=(0, 1.55 * max(*counts, 1)), xticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _draw_epoch_curves(report: Report, title: str, unit: str, curves: dict[str, str]) -> tuple[Figure, Axes]:
    """Curves of some figures of the epochs."""
    figure, axes = _figure_with_axes(report, title, "", HEIGHT, (0.92, 0.6, 0.2, 1.0))
    epochs = report["epochs"]
    numbers = [epoch["epoch"] for epoch in epochs]
    marker = "o" if len(epochs) == 1 else None
    for (key, label), (colour, dashes) in zip(curves.items(), CURVE_STYLES, strict=False):
        axes.plot(numbers, [epoch[key] for epoch in epochs], dashes, color=colour, label=label, marker=marker)
    axes.set(xlabel="epoch", ylabel=unit, xlim=(0, 1.02 * max(numbers)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.grid(axis="y")
    _add_row_legend(axes)
    return figure, axes


def _add_row_legend(axes: Axes) -> None:
    """Put the legend in a row above the axes."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, handletextpad=0.4, columnspacing=1.4)


def _layer_shapes(size: NetSize) -> list[tuple[str, str, str]]:
    """Return name, shape of the output and colour of each layer, in order."""
    left = block_samples_left(size)
    blocks = [
        (f"residual block {i}", f"{samples} {TIMES_SIGN} {width}", SKY)
        for i, (samples, width) in enumerate(zip(left, size.channels, strict=True), 1)
    ]
    return [
        ("beat", f"{size.samples} {TIMES_SIGN} 1", FAINT),
        (f"convolution {size.kernel}", f"{size.samples} {TIMES_SIGN} {size.channels[0]}", SAND),
        *blocks,
        ("flatten", f"{left[-1] * size.channels[-1]}", FAINT),
        ("dense, ReLU", f"{size.dense}", MINT),
        ("dense, ReLU", f"{size.dense}", MINT),
        ("dense, softmax", f"{size.classes}  ({' '.join(CLASSES)})", MINT),
    ]


def _residual_block_notes(size: NetSize, norm: bool) -> list[str]:
    """Return notes on what the picture of a residual block does not show."""
    notes = ["side path: convolution 1", "where the width changes"] if len(set(size.channels)) > 1 else []
    return notes + (["batch normalisation after", "convolutions as it trains"] if norm else [])


def _draw_residual_block(axes: Axes, convolution: str, notes: list[str], top: float) -> None:
    """Draw one residual block in full, in a panel at the right that starts at `top`."""
    steps = (convolution, SAND), ("ReLU", FAINT), (convolution, SAND), ("+", "#ffffff"), ("ReLU", FAINT), (POOLING, SKY)
    bottom = top - 0.75 - ROW * len(steps) - 0.17 * len(notes)
    corner, wide = (3.43, bottom), 1.62
    axes.add_patch(FancyBboxPatch(corner, wide, top - bottom, "round,pad=0,rounding_size=0.08", fc="#fafafa", ec=PALE))
    axes.text(3.43 + wide / 2, top - 0.17, "a residual block", ha="center", va="center", size=9, color=GREY)
    x, side, fork = 4.17, 4.94, top - 0.5
    rows = [top - 0.85 - i * ROW for i in range(len(steps))]
    _draw_layer_arrow(axes, (x, top - 0.36), (x, rows[0] + BOX / 2))
    axes.plot([x, side, side], [fork, fork, rows[3]], color=GREY, linewidth=1, solid_joinstyle="miter")
    _draw_layer_arrow(axes, (side, rows[3]), (x + BOX / 2, rows[3]))
    for y, (step, colour) in zip(rows, steps, strict=True):
        _draw_layer_box(axes, x, y, BOX if step == "+" else 1.34, step, colour)
        if y != rows[-1]:
            _draw_layer_arrow(axes, (x, y - BOX / 2), (x, y - ROW + BOX / 2))
    for i, note in enumerate(notes):
        axes.text(3.43 + wide / 2, rows[-1] - 0.36 - 0.17 * i, note, ha="center", va="center", size=8, color=GREY)


def _draw_layer_box(axes: Axes, x: float, y: float, wide: float, text: str, colour: str) -> None:
    corner = (x - wide / 2, y - BOX / 2)
    axes.add_patch(FancyBboxPatch(corner, wide, BOX, "round,pad=0,rounding_size=0.06", fc=colour, ec=GREY, lw=0.8))
    axes.text(x, y - 0.01, text, ha="center", va="center", size=9)


def _draw_layer_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, color=GREY, lw=1, shrinkA=0, shrinkB=0)
    )


def _percent_axis_formatter() -> FuncFormatter:
    return FuncFormatter(lambda share, _: f"{100 * share:.4g} %")


def _one_decimal_percent(share: float) -> str:
    """Format a share in per cent with one decimal: `82.8 %`."""
    return f"{100 * share:.1f} %"
