"""The help of the commands as other programs have it: no type behind a flag, arguments as the user types them.

Typer has its own copy of Click since 0.2x, which writes `--json <bool>` and `{record} <str>` where Click writes
`--json` and `RECORD`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import typer

from agent.cli.given_values import check_given_values


def build_command(app: typer.Typer, arguments: Sequence[str]) -> Any:
    """Return the Click command of a Typer application, with a plain help of the commands that the arguments name.

    What these do not take they refuse as everything else here does.
    """
    root = typer.main.get_command(app)
    for command in _named_commands(root, arguments):
        for parameter in command.get_params(typer.Context(command)):
            check_given_values(parameter)
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            elif parameter.param_type_name == "argument":
                _simplify_argument(parameter)
    return root


def _named_commands(command: Any, arguments: Sequence[str]) -> Iterator[Any]:
    """Yield a command, its subcommand among the arguments, and so on: to change all of them would cost 7 ms."""
    yield command
    for argument in arguments:
        children = getattr(command, "commands", {})
        if argument in children:
            command = children[argument]
            yield command


def _simplify_argument(argument: Any) -> None:
    """Write an argument as RECORD, [RECORD] or [RECORD]..., without its type."""
    name = argument.metavar if argument.required else f"[{argument.metavar}]"
    usage = [name if argument.nargs == 1 else f"{name}..."]
    argument.get_usage_pieces = lambda _context: usage
    argument.display_type_rich = lambda **_context: ""
