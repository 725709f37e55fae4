"""Sweeps whose trainings take no time: each leaves a report with figures that follow from its settings."""

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.core import config as configuration
from agent.core.config import Config
from agent.training.sweep_plan import SweepPlan, read_sweep_plan
from agent.training.sweep_run import SweepRun
from agent.training.sweep_study import SweepStudy, SweepTrial
from agent.training.training_process import TrainingEnd, TrainingTask
from model.records.wfdb_records import CLASSES

SETTINGS = configuration.load_config(None, {})
SWEEP = """
[sweep]
name = "rates"
trials = 6
objective = "S F1"
folds = [0, 3]
seed = 5
[space]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
dense = { low = 8, high = 64, step = 8 }
channels = { choices = [[8, 8], [16, 16, 16]] }
"""


def plan_of(
    folder: Path, text: str = SWEEP, command: str = "train", config: Config = SETTINGS, arguments: tuple[str, ...] = ()
) -> SweepPlan:
    """Return the plan of a sweep file with this text."""
    path = folder / "sweep.toml"
    path.write_text(text)
    assert command in ("train", "train-live")
    return read_sweep_plan(path, "train" if command == "train" else "train-live", config, arguments)


class InstantHands:
    """Hands that train at once, as many tasks at a time as `room`; the latest ends first.

    `broken` are trials whose training fails, and after `most` tasks comes Ctrl-C. `empty` are folds without S beats.
    """

    def __init__(
        self, room: int = 1, broken: tuple[int, ...] = (), most: int = 10**6, empty: tuple[int, ...] = ()
    ) -> None:
        self.tasks: list[TrainingTask] = []
        self._room, self._broken, self._most, self._empty = room, broken, most, empty
        self._waiting: list[TrainingTask] = []

    def has_room(self) -> bool:
        return len(self._waiting) < self._room

    def submit(self, task: TrainingTask) -> None:
        self._waiting.append(task)

    def wait(self) -> list[TrainingEnd]:
        if len(self.tasks) >= self._most:
            raise KeyboardInterrupt
        task = self._waiting.pop()
        self.tasks.append(task)
        if task.trial in self._broken:
            return [TrainingEnd(task, "no\nroom")]
        task.report.parent.mkdir(parents=True)
        task.report.write_text(json.dumps(instant_report(task, self._empty)))
        return [TrainingEnd(task, "")]


class CommandHands:
    """Hands that run each training at once: `train` gets its arguments, and returns what was wrong."""

    def __init__(self, train: Callable[[Sequence[str]], str]) -> None:
        self._train = train
        self._ends: list[TrainingEnd] = []

    def has_room(self) -> bool:
        return not self._ends

    def submit(self, task: TrainingTask) -> None:
        self._ends.append(TrainingEnd(task, self._train(task.arguments)))

    def wait(self) -> list[TrainingEnd]:
        ends, self._ends = self._ends, []
        return ends


def option_of(task: TrainingTask, name: str) -> str:
    """Return the value of an option of a task."""
    return task.arguments[task.arguments.index(name) + 1]


def instant_report(task: TrainingTask, empty: tuple[int, ...]) -> dict[str, object]:
    """Return the report of a training: its S F1 is best at a learning rate of 0.001, and lower in later folds."""
    settings = tomllib.loads(Path(option_of(task, "--config")).read_text())
    recipe = settings["recipe"][settings["train"]["recipe"]] if task.arguments[0] == "train" else settings["live"]
    fold = int(option_of(task, "--fold"))
    score = 0.9 - 10 * abs(recipe["learning_rate"] - 0.001) - 0.01 * fold
    present = [name for name in CLASSES if name != "S" or fold not in empty]
    test = {"f1": dict.fromkeys(CLASSES, score), "macro_f1": score / 2, "classes_present": present}
    return {"training": {"fold": fold}, "test": test}


def run_sweep(plan: SweepPlan, folder: Path, hands: InstantHands) -> list[SweepTrial]:
    """Run a sweep, or go on with it, and return its trials."""
    folder.mkdir(parents=True, exist_ok=True)
    study = SweepStudy(plan, folder)
    SweepRun(plan, study, folder, hands, lambda _: None).run()
    return study.trials()
