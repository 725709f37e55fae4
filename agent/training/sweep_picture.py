"""One picture of a sweep: its objective against each setting, trial by trial, the best marked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from agent.training.sweep_plan import SweepPlan
from agent.training.sweep_results import describe_folds, format_value
from agent.training.sweep_space import SettingRange
from agent.training.sweep_study import SweepTrial
from model.training.training_figures import BLUE, GREY, ORANGE, PALE, picture_style, save_training_picture

PICTURE_NAME = "sweep"
COLUMNS = 3
WIDE, HIGH = 3.1, 2.5
"""Inches of the part of one setting."""
HEAD = 0.6
"""Inches of the headline."""
MOST_TICKS = 6
"""Values of a setting that are all named."""


def draw_sweep_picture(plan: SweepPlan, ranked: Sequence[SweepTrial], folder: Path) -> list[Path]:
    """Draw the trials, best first, into `folder` as SVG and PNG and return the files. Raises RunError."""
    shown = [trial for trial in ranked if trial.state in ("done", "stopped") and trial.objective() is not None]
    columns = min(COLUMNS, len(plan.space))
    rows = -(-len(plan.space) // columns)
    with picture_style(folder):
        width, height = max(5.2, WIDE * columns), HEAD + HIGH * rows
        figure = Figure(figsize=(width, height))
        figure.text(
            0.15 / width, 1 - 0.14 / height, f"{plan.head.objective} by setting", size=12, weight="bold", va="top"
        )
        below = f"{plan.head.name}  ·  {describe_folds(plan)}  ·  best: trial {ranked[0].number}"
        figure.text(0.15 / width, 1 - 0.4 / height, below, size=9, color=GREY, va="top", parse_math=False)
        for at, (name, values) in enumerate(plan.space.items()):
            row, column = divmod(at, columns)
            left, bottom = column * width / columns + 0.75, height - HEAD - (row + 1) * HIGH + 0.6
            size = (width / columns - 0.95, HIGH - 0.8)
            axes = figure.add_axes((left / width, bottom / height, size[0] / width, size[1] / height))
            _draw_setting(axes, name, values, shown)
            axes.set_ylabel(f"{plan.head.objective}, %" if column == 0 else "")
        return save_training_picture(figure, folder / PICTURE_NAME)


def _draw_setting(axes: Axes, name: str, values: SettingRange, trials: Sequence[SweepTrial]) -> None:
    """Draw the objective over one setting, in per cent, the best last so that nothing covers it."""
    for trial in reversed(trials):
        mean, spread = 100 * (trial.objective() or 0), 100 * (trial.spread() or 0)
        place = _place_of(trial.settings[name], values)
        best, stopped = trial is trials[0], trial.state == "stopped"
        if spread:
            axes.plot([place, place], [mean - spread, mean + spread], color=ORANGE if best else PALE, zorder=2)
        colour, size, shape = (ORANGE, 9, "*") if best else (BLUE, 5, "o")
        axes.plot(
            [place], [mean], shape, color=colour, markersize=size, fillstyle="none" if stopped else "full", zorder=3
        )
    axes.set_xlabel(name)
    if values.choices:
        axes.set_xticks(range(len(values.choices)), [format_value(choice) for choice in values.choices])
        axes.set_xlim(-0.5, len(values.choices) - 0.5)
    elif values.log:
        axes.set_xscale("log")
        axes.set_xlim(values.low / 1.1, values.high * 1.1)
    else:
        room = 0.04 * (values.high - values.low)
        axes.set_xlim(values.low - room, values.high + room)
        if values.count() <= MOST_TICKS:
            axes.set_xticks([values.low + at * (values.step or 1) for at in range(int(values.count()))])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=values.whole))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")


def _place_of(value: Any, values: SettingRange) -> float:
    return float(values.choices.index(value) if values.choices else value)
