"""The memory of a sweep: Optuna's study in an SQLite file, whose sampler chooses the settings of each trial.

What a trial is given depends on its number, the seed and the trials before it, not on when the sweep was stopped and
started again. A process that dies leaves open trials, which the next one takes up.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.training.sweep_plan import MOST_TRIALS, SweepPlan
from agent.training.sweep_space import SearchSpace, count_combinations
from model.errors import RunError
from model.extras import import_extra

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

STUDY_NAME = "study.db"
DEFINITION, FOLDS, REASON = "definition", "folds", "reason"
"""Names under which the study and its trials keep what Optuna does not know."""
MOST_DRAWS = 200
"""Draws of settings that were tried before, after which the sweep looks for nothing new."""
SEEDS = 2**32
TrialState = Literal["open", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class SweepTrial:
    """A trial: its number, the values of its settings, its state, and the objective by fold, None without such beats.

    `reason` says why it failed.
    """

    number: int
    settings: dict[str, Any]
    state: TrialState
    folds: dict[int, float | None]
    reason: str

    def objective(self) -> float | None:
        """Return the mean of the objective over the folds so far."""
        figures = [figure for figure in self.folds.values() if figure is not None]
        return sum(figures) / len(figures) if figures else None

    def spread(self) -> float | None:
        """Return the standard deviation over the folds, of two or more."""
        figures = [figure for figure in self.folds.values() if figure is not None]
        if len(figures) < 2:
            return None
        mean = sum(figures) / len(figures)
        return float((sum((figure - mean) ** 2 for figure in figures) / (len(figures) - 1)) ** 0.5)


class SweepStudy:
    """The trials of a sweep, kept in `folder`: a new sweep, or one that goes on."""

    def __init__(self, plan: SweepPlan, folder: Path) -> None:
        """Raises ConfigError without Optuna, RunError if the file cannot be used or holds another sweep."""
        self._optuna = import_extra("optuna", "sweep")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._plan, self._folder = plan, folder
        self._path = folder / STUDY_NAME
        with self._explained():
            pruners = self._optuna.pruners
            self._storage = self._optuna.storages.RDBStorage(f"sqlite:///{self._path.resolve()}")
            self._study = self._optuna.create_study(
                storage=self._storage,
                study_name=plan.head.name,
                direction="maximize",
                load_if_exists=True,
                pruner=pruners.MedianPruner() if plan.head.pruner == "median" else pruners.NopPruner(),
            )
            self._compare_definitions()

    def trials(self) -> list[SweepTrial]:
        """Return all trials, in order of their numbers."""
        with self._explained():
            return [self._read_trial(trial) for trial in self._study.get_trials(deepcopy=False)]

    def draw_trial(self) -> SweepTrial | None:
        """Return a new trial, or None once there are enough, or nothing is left to try.

        It is drawn in memory and then written at once, so that no trial is ever without some of its settings.
        """
        before = self.trials()
        tried = {_settings_key(trial.settings) for trial in before}
        if len(before) >= self._plan.head.trials or len(tried) >= count_combinations(self._plan.space):
            return None
        with self._explained():
            for attempt in range(MOST_DRAWS):
                drawn, settings = self._draw(len(before), attempt)
                if _settings_key(settings) not in tried:
                    states = self._optuna.trial
                    given, ranges = drawn.params, drawn.distributions
                    self._study.add_trial(
                        states.create_trial(state=states.TrialState.RUNNING, params=given, distributions=ranges)
                    )
                    return SweepTrial(len(before), settings, "open", {}, "")
        return None

    def keep_fold(self, trial: SweepTrial, fold: int, figure: float | None) -> SweepTrial:
        """Keep the objective of one fold and return the trial as it is now."""
        folds = trial.folds | {fold: figure}
        now = SweepTrial(trial.number, trial.settings, trial.state, folds, "")
        with self._explained():
            kept = self._trial(trial.number)
            kept.set_user_attr(FOLDS, {str(key): value for key, value in folds.items()})
            if (mean := now.objective()) is not None:
                kept.report(mean, len(folds) - 1)
        return now

    def is_hopeless(self, trial: SweepTrial) -> bool:
        """Return whether the pruner would stop a trial after the folds so far."""
        if self._plan.head.pruner == "none" or trial.objective() is None:
            return False
        with self._explained():
            return bool(self._trial(trial.number).should_prune())

    def close_trial(self, trial: SweepTrial, state: TrialState, reason: str = "") -> None:
        """Keep how a trial ended: "done" with its objective, "stopped" by the pruner, "failed" for a reason."""
        with self._explained():
            if state == "done":
                self._study.tell(trial.number, trial.objective())
                return
            self._trial(trial.number).set_user_attr(REASON, reason)
            self._study.tell(trial.number, state=self._state("PRUNED" if state == "stopped" else "FAIL"))

    def _trial(self, number: int) -> "Trial":
        """Return a trial that is open, as Optuna has it."""
        study = self._storage.get_study_id_from_name(self._plan.head.name)
        trial = self._storage.get_trial_id_from_study_id_trial_number(study, number)
        found: Trial = self._optuna.trial.Trial(self._study, trial)
        return found

    def _draw(self, number: int, attempt: int) -> tuple["Trial", dict[str, Any]]:
        """Return trial `number`, drawn in memory, and its settings. Choices are kept as JSON: some are lists."""
        seed = (self._plan.head.seed * 1_000_003 + number + attempt * 7919 * MOST_TRIALS) % SEEDS
        sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        memory = self._optuna.create_study(direction="maximize", sampler=sampler)
        memory.add_trials(self._study.get_trials(deepcopy=False))
        trial = memory.ask()
        settings: dict[str, Any] = {}
        for name, of in self._plan.space.items():
            if of.choices:
                chosen = trial.suggest_categorical(name, [json.dumps(choice) for choice in of.choices])
                settings[name] = json.loads(chosen)
            elif of.whole:
                settings[name] = trial.suggest_int(name, int(of.low), int(of.high), step=int(of.step) or 1, log=of.log)
            else:
                settings[name] = trial.suggest_float(name, of.low, of.high, step=of.step or None, log=of.log)
        return trial, settings

    def _read_trial(self, trial: "FrozenTrial") -> SweepTrial:
        states: dict[str, TrialState] = {"COMPLETE": "done", "PRUNED": "stopped", "FAIL": "failed"}
        folds = {int(fold): figure for fold, figure in trial.user_attrs.get(FOLDS, {}).items()}
        settings = _decode_settings(trial.params, self._plan.space)
        reason = trial.user_attrs.get(REASON, "")
        return SweepTrial(trial.number, settings, states.get(trial.state.name, "open"), folds, reason)

    def _state(self, name: str) -> Any:
        return self._optuna.trial.TrialState[name]

    def _compare_definitions(self) -> None:
        """Keep what the sweep is, or compare it with what it was when it was begun. Raises RunError."""
        now = json.loads(json.dumps(self._plan.definition()))
        before = self._study.user_attrs.get(DEFINITION)
        if before is None:
            self._study.set_user_attr(DEFINITION, now)
        elif changed := sorted(key for key in {*now, *before} if now.get(key) != before.get(key)):
            raise RunError(
                f"the sweep in {self._folder} was begun with other {', '.join(changed)}: "
                "give the changed one another name, or choose another folder (--run)"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what Optuna and its storage raise into one line."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, self._optuna.exceptions.OptunaError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
            raise RunError(f"cannot use {self._path}: {reason}; choose another folder (--run)") from error


def _decode_settings(given: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    return {name: json.loads(given[name]) if of.choices else given[name] for name, of in space.items() if name in given}


def _settings_key(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)
