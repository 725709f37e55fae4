"""A sweep as it runs: trials are drawn, their folds trained one after the other, and judged by their reports.

All that counts is in the sweep's folder: the study, and a run folder for each fold of each trial. Whoever starts the
sweep again goes on from there, after Ctrl-C as after a kill.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.core.config import format_config_toml
from agent.training.sweep_plan import SweepPlan, read_objective
from agent.training.sweep_study import SweepStudy, SweepTrial, TrialState
from agent.training.training_hands import TrainingHands
from agent.training.training_process import TrainingEnd, TrainingTask
from model.errors import RunError, clean_error_text
from model.files import open_output_file

SETTINGS_NAME = "settings.toml"
CANDIDATES_NAME = "candidates"
"""The folder of what the trials of a live sweep have in common, until it has ended."""
OnTrial = Callable[[SweepTrial], object]
"""Is told each trial that has ended."""


class SweepRun:
    """The trials of a sweep that are under way, and what becomes of them."""

    def __init__(
        self, plan: SweepPlan, study: SweepStudy, folder: Path, hands: TrainingHands, on_trial: OnTrial
    ) -> None:
        self._plan, self._study, self._folder, self._hands, self._on_trial = plan, study, folder, hands, on_trial
        self._training: dict[int, SweepTrial] = {}

    def run(self) -> None:
        """Go on with the open trials, then with new ones, to the last. Raises RunError if the folder cannot be used."""
        waiting = [trial for trial in self._study.trials() if trial.state == "open"]
        while True:
            while self._hands.has_room() and (trial := waiting.pop(0) if waiting else self._study.draw_trial()):
                self._go_on(trial)
            if not self._training:
                return
            for end in self._hands.wait():
                self._take_back(end)

    def _go_on(self, trial: SweepTrial) -> None:
        """Begin the next fold of a trial, or close the trial."""
        for fold in self._plan.head.folds:
            if fold in trial.folds:
                continue
            if self._study.is_hopeless(trial):
                return self._close(trial, "stopped", f"after {len(trial.folds)} of {len(self._plan.head.folds)} folds")
            if not report_path(self._folder, trial.number, fold).exists():
                self._training[trial.number] = trial
                return self._hands.submit(self._describe_task(trial, fold))
            try:
                report = read_report(report_path(self._folder, trial.number, fold))
                trial = self._study.keep_fold(trial, fold, read_objective(report, self._plan.head.objective, fold))
            except RunError as error:
                return self._close(trial, "failed", str(error))
        if trial.objective() is None:
            return self._close(trial, "failed", f"no fold has beats to measure {self._plan.head.objective}")
        return self._close(trial, "done")

    def _take_back(self, end: TrainingEnd) -> None:
        """Go on with a trial whose training has ended."""
        trial = self._training.pop(end.task.trial)
        if end.failure:
            self._close(trial, "failed", clean_error_text(end.failure))
        elif not end.task.report.exists():
            self._close(trial, "failed", f"its training left no {end.task.report.name}")
        else:
            self._go_on(trial)

    def _close(self, trial: SweepTrial, state: TrialState, reason: str = "") -> None:
        self._study.close_trial(trial, state, reason)
        self._on_trial(SweepTrial(trial.number, trial.settings, state, trial.folds, reason))

    def _describe_task(self, trial: SweepTrial, fold: int) -> TrainingTask:
        """Write the settings of a trial, and return the command that trains it for one fold."""
        folder = trial_folder(self._folder, trial.number)
        config = self._plan.settings_for(trial.settings)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot write {folder}: {error.strerror or error}") from error
        with open_output_file(folder / SETTINGS_NAME) as file:
            file.write(format_config_toml(config, self._plan.sections()).encode())
        run = fold_folder(self._folder, trial.number, fold)
        named = ("--config", str(folder / SETTINGS_NAME), "--run", str(run), "--name", self._plan.head.name)
        common = ("--candidates", str(self._folder / CANDIDATES_NAME)) if self._plan.command == "train-live" else ()
        arguments = (self._plan.command, *named, "--fold", str(fold), *common, *self._plan.arguments)
        return TrainingTask(trial.number, arguments, run.with_suffix(".log"), run / "report.json")


def trial_folder(folder: Path, number: int) -> Path:
    """Return the folder of a trial: its settings, and a run for each fold."""
    return folder / f"trial-{number:04d}"


def fold_folder(folder: Path, number: int, fold: int) -> Path:
    """Return the run folder of one fold of a trial."""
    return trial_folder(folder, number) / f"fold-{fold}"


def report_path(folder: Path, number: int, fold: int) -> Path:
    """Return where the training of a fold leaves its report once it has ended well."""
    return fold_folder(folder, number, fold) / "report.json"


def read_report(path: Path) -> dict[str, Any]:
    """Return the report of a training. Raises RunError."""
    try:
        report: dict[str, Any] = json.loads(path.read_bytes())
        report["training"]["fold"], report["test"]["classes_present"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"cannot read {path}: {clean_error_text(error)}") from error
    return report
