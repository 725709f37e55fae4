"""What options and arguments do not take, refused in one line whichever part of the program finds it.

What is empty, as an unset variable of a shell leaves it, would be this folder, or any address.
"""

import re
from typing import Any

import typer

from model.errors import ConfigError

FILE_OPTIONS = ("--candidates", "--compare", "--config", "--devices", "--folder", "--out", "--record", "--records")
PLACE_OPTIONS = frozenset((*FILE_OPTIONS, "--rhythms", "--run", "--svg", "--sweep", "--from", "--metrics", "--web"))
"""Options whose value is a path or an address that none has."""
PLAIN_REASONS = (
    (r"Input should be greater than or equal to (\S+)", r"give \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"give \1 or less"),
    (r"Input should be a valid integer.*", "give a whole number"),
    (r"Input should be a valid number.*", "give a number"),
    (r"Value error, ", ""),
)
"""How Typer's own checks say what is wrong, and how we do."""


def check_given_values(parameter: Any) -> None:
    """Let a parameter of a command refuse by ConfigError what it does not take; what is missing is a usage error."""
    process = parameter.process_value

    def process_given(context: Any, value: Any) -> Any:
        name = parameter.opts[0] if parameter.param_type_name == "option" else f"argument {parameter.metavar}"
        given = value if isinstance(value, list | tuple) else (value,)
        if "" in given and (parameter.param_type_name == "argument" or name in PLACE_OPTIONS):
            raise ConfigError(f"{name} is empty: say what it is, or leave it out")
        try:
            return process(context, value)
        except typer.BadParameter as error:
            if value is None or not len(given):
                raise
            words = " ".join(str(word) or '""' for word in given)
            raise ConfigError(f"{name} {words} makes no sense: {_words_of_refusal(error.message)}") from error

    parameter.process_value = process_given


def _words_of_refusal(reason: str) -> str:
    """Return what Typer finds wrong with a value as what to give instead.

    >>> _words_of_refusal("Input should be greater than or equal to 1")
    'give 1 or more'
    """
    for pattern, words in PLAIN_REASONS:
        reason = re.sub(pattern, words, reason)
    return reason.removesuffix(".")
