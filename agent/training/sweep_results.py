"""What a sweep found: one table, best first, on the terminal and as CSV, and the command that trains the best."""

import csv
import io
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from agent.training.sweep_plan import SweepPlan
from agent.training.sweep_run import SETTINGS_NAME, trial_folder
from agent.training.sweep_study import SweepTrial
from model.beats.dataset import SPLIT_PROTOCOLS
from model.files import open_output_file

TABLE_NAME = "trials.csv"
STATE_ORDER = ("done", "stopped", "failed", "open")
NOTHING = "-"


def rank_trials(trials: Iterable[SweepTrial]) -> list[SweepTrial]:
    """Return trials best first: those that are done by their objective, then stopped, failed and open ones."""
    return sorted(trials, key=lambda trial: (STATE_ORDER.index(trial.state), -(trial.objective() or 0), trial.number))


def build_sweep_table(plan: SweepPlan, ranked: Sequence[SweepTrial]) -> Table:
    """Build the table of the trials that have figures: mean over the folds, standard deviation, folds, settings."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for title in ("trial", plan.head.objective, "±", *(f"fold {fold}" for fold in plan.head.folds)):
        table.add_column(title, justify="right", no_wrap=title == "trial")
    for name in plan.space:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("")
    for trial in ranked:
        if trial.state in ("done", "stopped"):
            figures = (trial.objective(), trial.spread(), *(trial.folds.get(fold) for fold in plan.head.folds))
            settings = (format_value(trial.settings[name]) for name in plan.space)
            state = "" if trial.state == "done" else trial.state
            table.add_row(
                str(trial.number), *map(format_percent, figures), *settings, state, style=_row_style(trial, ranked)
            )
    return table


def write_trials_csv(plan: SweepPlan, ranked: Sequence[SweepTrial], folder: Path) -> Path:
    """Write all trials, best first, to `trials.csv` of the sweep's folder. Raises RunError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    folds = [f"fold_{fold}" for fold in plan.head.folds]
    writer.writerow(["trial", "state", "objective", "spread", *folds, *plan.space, "reason"])
    for trial in ranked:
        figures = (trial.objective(), trial.spread(), *(trial.folds.get(fold) for fold in plan.head.folds))
        settings = (trial.settings.get(name, "") for name in plan.space)
        shown = ["" if figure is None else f"{figure:.6f}" for figure in figures]
        writer.writerow([trial.number, trial.state, *shown, *settings, trial.reason])
    with open_output_file(folder / TABLE_NAME) as file:
        file.write(text.getvalue().encode())
    return folder / TABLE_NAME


def best_command(plan: SweepPlan, best: SweepTrial, folder: Path) -> str:
    """Return the command that trains with the settings of a trial on the whole training side."""
    settings = trial_folder(folder, best.number) / SETTINGS_NAME
    words = ["ecg-agent", plan.command, "--config", str(settings), "--run", str(folder / "best")]
    return shlex.join([*words, "--name", plan.head.name, *plan.arguments])


def describe_folds(plan: SweepPlan) -> str:
    """Return in words which beats a sweep is judged by."""
    folds = ", ".join(map(str, plan.head.folds))
    protocol = "inter-patient" if plan.command == "train-live" else plan.config.train.protocol
    sides = SPLIT_PROTOCOLS[protocol].partition(":")[0]
    return f"fold{'s' * (len(plan.head.folds) > 1)} {folds} of the training side, {sides}"


def describe_trial(trial: SweepTrial, objective: str) -> str:
    """Return a line about a trial that has ended."""
    settings = ", ".join(f"{name} {format_value(value)}" for name, value in trial.settings.items())
    if trial.state == "failed":
        return f"trial {trial.number} failed: {trial.reason} ({settings})"
    spread = f" ± {format_percent(trial.spread())}" if trial.spread() is not None else ""
    stopped = f", stopped {trial.reason}" if trial.state == "stopped" else ""
    return f"trial {trial.number}: {objective} {format_percent(trial.objective())}{spread} %{stopped} ({settings})"


def format_value(value: Any) -> str:
    """Return a setting as people read it: 0.00312, one-cycle, 32 32 48."""
    if isinstance(value, list | tuple):
        return " ".join(map(format_value, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_percent(share: float | None) -> str:
    """Return a share as per cent with two decimals, - for none."""
    return NOTHING if share is None else f"{100 * share:.2f}"


def _row_style(trial: SweepTrial, ranked: Sequence[SweepTrial]) -> str:
    return "bold" if trial is ranked[0] else "dim" if trial.state == "stopped" else ""
