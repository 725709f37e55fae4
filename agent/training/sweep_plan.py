"""A sweep file: what is tried, how often, on which folds, and by which figure of their beats it is judged.

A sweep sees the training side only. Each trial learns on four fifths of it and is judged on the other one, a fold.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from agent.core.config import RECIPE_NAME_PATTERN, RECIPE_PREFIX, Config
from agent.training.sweep_space import SearchSpace, apply_settings, read_search_space, suggest_name
from model.beats.dataset import FOLD_COUNT
from model.errors import ConfigError, RunError, clean_error_text
from model.records.wfdb_records import CLASSES

LARGEST_SWEEP_BYTES = 2**16
MOST_TRIALS = 1000
SweepCommand = Literal["train", "train-live"]

OBJECTIVES: dict[str, tuple[str, str | None]] = {
    "macro F1": ("macro_f1", None),
    "balanced accuracy": ("balanced_accuracy", None),
    "accuracy": ("accuracy", None),
    **{
        f"{name} {title}": (figure, name)
        for name in CLASSES
        for title, figure in (("F1", "f1"), ("Se", "recall"), ("+P", "precision"))
    },
}
"""What a trial may be judged by: the figure in a report, and its class. More is better in all of them."""


@dataclass(frozen=True, slots=True)
class SweepHead:
    """The table `[sweep]` of a sweep file; each of `folds` is a fifth of the training side, 0 to 4."""

    name: str
    trials: int
    objective: str
    folds: tuple[int, ...]
    seed: int = 0
    pruner: Literal["none", "median"] = "none"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """All that a sweep is: its head and its space, which command trains by which settings, and what else it is told.

    `recipe` holds the settings of the recipe before any is changed. `arguments` go to every training, such as
    ("--records", "svdb").
    """

    command: SweepCommand
    head: SweepHead
    space: SearchSpace
    config: Config
    recipe: Any
    arguments: tuple[str, ...] = field(default=())

    def settings_for(self, values: Mapping[str, Any]) -> Config:
        """Return the settings of a training with these values of the recipe. Raises ValueError if they cannot be."""
        recipe = apply_settings(self.recipe, values)
        if self.command == "train-live":
            return replace(self.config, live=recipe)
        train = replace(self.config.train, recipe=self.head.name)
        return replace(self.config, train=train, recipe=self.config.recipe | {self.head.name: recipe})

    def sections(self) -> tuple[str, ...]:
        """Return the sections of the settings that a training depends on."""
        own = ("signal", "live") if self.command == "train-live" else (f"{RECIPE_PREFIX}{self.head.name}",)
        return ("train", *own)

    def definition(self) -> dict[str, Any]:
        """Return all that decides the results, to be compared with an earlier start; `trials` may change."""
        train = msgspec.to_builtins(self.config.train)
        del train["recipe"]
        recipe = {key: value for key, value in msgspec.to_builtins(self.recipe).items() if key not in self.space}
        return {
            "command": self.command,
            "objective": self.head.objective,
            "folds": list(self.head.folds),
            "seed": self.head.seed,
            "pruner": self.head.pruner,
            **{f"space.{name}": msgspec.to_builtins(values) for name, values in self.space.items()},
            **{f"recipe.{name}": value for name, value in recipe.items()},
            **{f"train.{name}": value for name, value in train.items()},
            "signal": msgspec.to_builtins(self.config.signal) if self.command == "train-live" else None,
            "folders of records": list(self.arguments),
        }


def read_sweep_plan(path: Path, command: SweepCommand, config: Config, arguments: tuple[str, ...] = ()) -> SweepPlan:
    """Return the sweep that a file describes, of the recipe that `config` chooses.

    Raises ConfigError naming the file and what is wrong with it.
    """
    source = f"sweep {path}"
    tables = _read_sweep_file(path, source)
    for section in tables:
        if section not in ("sweep", "space"):
            raise ConfigError(f"{source}: unknown section {section!r}; valid are sweep, space")
    recipe = config.live if command == "train-live" else config.recipe[config.train.recipe]
    head = _read_sweep_head(tables.get("sweep"), source)
    space = tables.get("space", {})
    if not isinstance(space, dict):
        raise ConfigError(f"{source}: 'space' is a section: write [space] and its settings below")
    return SweepPlan(command, head, read_search_space(space, recipe, source), config, recipe, arguments)


def read_objective(report: Mapping[str, Any], objective: str, fold: int) -> float | None:
    """Return the figure, in 0..1, that a trial is judged by, from the report of its training on `fold`.

    None if the fold has no beats of its class. Raises RunError for a report of another fold, or of the test side.
    """
    if report["training"]["fold"] != fold:
        raise RunError(f"its report is not of fold {fold} of the training side")
    figure, name = OBJECTIVES[objective]
    test = report["test"]
    if name is None:
        return float(test[figure])
    return float(test[figure][name]) if name in test["classes_present"] else None


def _read_sweep_file(path: Path, source: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_SWEEP_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror}") from error
    if len(content) > LARGEST_SWEEP_BYTES:
        raise ConfigError(f"{source} is too large: over {LARGEST_SWEEP_BYTES} bytes")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is no valid TOML: {clean_error_text(error)}") from error


def _read_sweep_head(table: Any, source: str) -> SweepHead:
    """Return `[sweep]`, each entry checked. Raises ConfigError."""
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: it needs a section [sweep] with name, trials, folds and objective")
    valid = tuple(SweepHead.__dataclass_fields__)
    for key in table:
        if key not in valid:
            raise ConfigError(f"{source}: unknown key sweep.{clean_error_text(key)}; {suggest_name(key, valid)}")
    try:
        head = msgspec.convert(table, SweepHead)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: sweep: {clean_error_text(error)}") from error
    if not RECIPE_NAME_PATTERN.fullmatch(head.name):
        raise ConfigError(f"{source}: name a sweep with letters, digits, - and _, not {clean_error_text(head.name)!r}")
    if not 1 <= head.trials <= MOST_TRIALS:
        raise ConfigError(f"{source}: sweep.trials must be 1 to {MOST_TRIALS}")
    if not head.folds or len({*head.folds}) < len(head.folds) or not {*head.folds} <= {*range(FOLD_COUNT)}:
        raise ConfigError(
            f"{source}: sweep.folds are some of {[*range(FOLD_COUNT)]}, each a fifth of the training side"
        )
    if not 0 <= head.seed < 2**31:
        raise ConfigError(f"{source}: sweep.seed must be 0 to {2**31 - 1}")
    if head.objective not in OBJECTIVES:
        hint = suggest_name(head.objective, tuple(OBJECTIVES))
        raise ConfigError(f"{source}: no objective {clean_error_text(head.objective)!r}; {hint}")
    if head.pruner == "median" and len(head.folds) < 2:
        raise ConfigError(f"{source}: the pruner compares trials between folds: it needs two folds or more")
    return head
