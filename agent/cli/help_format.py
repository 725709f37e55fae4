"""The help of the commands as readers of other programs expect it: no type behind a flag, arguments as they are typed.

Typer 0.2x writes `--json <bool>` and `{record} <str>`; older versions write nothing and `RECORD`.
"""

from collections.abc import Iterator
from typing import Any

import typer


def build_command(app: typer.Typer) -> Any:
    """Return the Click command of a Typer application, with plain help texts in it and all its subcommands."""
    root = typer.main.get_command(app)
    for command in _walk_commands(root):
        for parameter in command.get_params(typer.Context(command)):
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            elif parameter.param_type_name == "argument":
                _simplify_argument(parameter)
    return root


def _walk_commands(command: Any) -> Iterator[Any]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from _walk_commands(child)


def _simplify_argument(argument: Any) -> None:
    """Write an argument as RECORD, [RECORD] or [RECORD]..., without its type."""
    name = argument.metavar if argument.required else f"[{argument.metavar}]"
    usage = [name if argument.nargs == 1 else f"{name}..."]
    argument.get_usage_pieces = lambda _context: usage
    argument.display_type_rich = lambda **_context: ""
