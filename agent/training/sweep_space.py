"""What the settings of a recipe may be in a sweep: the table `[space]` of a sweep file, checked against the recipe."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod
from typing import Any, get_type_hints

import msgspec

from model.errors import ConfigError

RANGE_KEYS = ("low", "high", "step", "log", "choices")
NEAR_ENOUGH = 0.6
"""Likeness of two names, 0..1, from which one may be meant by the other."""


@dataclass(frozen=True, slots=True)
class SettingRange:
    """What one setting may be: `low` to `high`, in steps of `step` or on a logarithmic scale; or one of `choices`.

    `whole`: it is a whole number. Without choices, `step` 0 is none.
    """

    low: float
    high: float
    step: float
    log: bool
    whole: bool
    choices: tuple[Any, ...]

    def count(self) -> float:
        """Return how many values there are, infinity for a number with any decimals."""
        if self.choices:
            return len(self.choices)
        step = self.step or self.whole
        return round((self.high - self.low) / step) + 1 if step else float("inf")


SearchSpace = dict[str, SettingRange]


def count_combinations(space: SearchSpace) -> float:
    """Return how many combinations of settings there are; it may be infinite."""
    return prod(values.count() for values in space.values())


def read_search_space(tables: Mapping[str, Any], recipe: Any, source: str) -> SearchSpace:
    """Return the ranges of the settings of `recipe`, a TrainingRecipe or ContextRecipe.

    Raises ConfigError naming `source`, the setting and what is wrong with it; for an unknown one also the nearest name.
    """
    if not tables:
        raise ConfigError(f"{source}: [space] names no setting; those of the recipe are {', '.join(_settings(recipe))}")
    space = {}
    for name, table in tables.items():
        if name not in _settings(recipe):
            raise ConfigError(f"{source}: the recipe has no setting {name!r}; {suggest_name(name, _settings(recipe))}")
        space[name] = _read_range(table, name, recipe, f"{source}: space.{name}")
    return space


def apply_settings(recipe: Any, settings: Mapping[str, Any]) -> Any:
    """Return a recipe with other settings. Raises ValueError if one of them cannot be."""
    return msgspec.convert(msgspec.to_builtins(recipe) | dict(settings), type(recipe))


def suggest_name(name: str, valid: tuple[str, ...]) -> str:
    """Return, for a message, which name may be meant, or all that are valid."""
    near = get_close_matches(name.lower(), {of.lower(): of for of in valid}, 1, NEAR_ENOUGH)
    meant = next((of for of in valid if near and of.lower() == near[0]), None)
    return f"did you mean {meant!r}?" if meant else f"valid are {', '.join(valid)}"


def _settings(recipe: Any) -> tuple[str, ...]:
    return tuple(msgspec.to_builtins(recipe))


def _read_range(table: Any, name: str, recipe: Any, where: str) -> SettingRange:
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"{where}: write {{ low = …, high = … }} or {{ choices = […] }}")
    for key in table:
        if key not in RANGE_KEYS:
            raise ConfigError(f"{where}: unknown key {key!r}; {suggest_name(key, RANGE_KEYS)}")
    if "choices" in table:
        if len(table) > 1:
            raise ConfigError(f"{where}: either choices, or low and high, not both")
        return _read_choices(table["choices"], name, recipe, where)
    kind = get_type_hints(type(recipe))[name]
    if kind not in (int, float):
        raise ConfigError(f"{where}: this is no number: write {{ choices = […] }}")
    return _read_numbers(table, name, recipe, where)


def _read_choices(choices: Any, name: str, recipe: Any, where: str) -> SettingRange:
    if not isinstance(choices, list) or len(choices) < 2:
        raise ConfigError(f"{where}: choices are a list of two or more values")
    for choice in choices:
        _check_value(choice, name, recipe, where)
    if len({json.dumps(choice) for choice in choices}) < len(choices):
        raise ConfigError(f"{where}: a choice is there twice")
    return SettingRange(0, 0, 0, False, False, tuple(choices))


def _read_numbers(table: Mapping[str, Any], name: str, recipe: Any, where: str) -> SettingRange:
    whole = get_type_hints(type(recipe))[name] is int
    if missing := [key for key in ("low", "high") if key not in table]:
        raise ConfigError(f"{where}: {missing[0]} is missing")
    for key in ("low", "high", "step"):
        if key in table and (isinstance(table[key], bool) or not isinstance(table[key], int if whole else int | float)):
            raise ConfigError(f"{where}: {key} must be a {'whole ' if whole else ''}number")
    low, high, step, log = table["low"], table["high"], table.get("step", 0), table.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log must be true or false")
    _check_value(low, name, recipe, where)
    _check_value(high, name, recipe, where)
    if not low < high:
        raise ConfigError(f"{where}: low must be below high")
    if "step" in table:
        if not step > 0 or step > high - low:
            raise ConfigError(f"{where}: step must be above 0, and at most high less low")
        if log:
            raise ConfigError(f"{where}: either step or log, not both")
        if abs((high - low) / step - round((high - low) / step)) > 1e-6:
            raise ConfigError(f"{where}: high is no whole number of steps above low")
    if log and not low > 0:
        raise ConfigError(f"{where}: with log, low must be above 0")
    return SettingRange(low, high, step, log, whole, ())


def _check_value(value: Any, name: str, recipe: Any, where: str) -> None:
    try:
        apply_settings(recipe, {name: value})
    except ValueError as error:
        reason = str(error).partition(" - at `$.")[0]
        raise ConfigError(f"{where}: {json.dumps(value, default=str)} cannot be: {reason}") from error
