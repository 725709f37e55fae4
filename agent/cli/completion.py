"""Values that the shell completes: records, weights, recipes, sets and leads.

Each press of the Tab key starts the program, so nothing here imports NumPy, PyTorch or WFDB.
"""

from collections.abc import Callable

import typer

from agent.core import config as configuration
from model.errors import EcgError

CompletionCallback = Callable[[str], list[str]]

SET_NAMES = ("all", "ds1", "ds2", "unpaced")
LEAD_NAMES = ("auto", "MLII", "V1", "V2", "V4", "V5")
"""`auto` and the leads of the embedded records."""


def complete_from(*choices: str) -> CompletionCallback:
    """Return a callback that completes these choices."""

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def complete_record(incomplete: str) -> list[str]:
    """Complete the name of an embedded record."""
    return complete_from(*_file_stems("model.records", "database/mitdb", ".hea"))(incomplete)


def complete_weights(incomplete: str) -> list[str]:
    """Complete the name of shipped weights."""
    return complete_from(*_file_stems("model.nets", "weights", ".safetensors"))(incomplete)


def complete_recipe(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a recipe, also of one in the file that `--config` names."""
    try:
        recipes = configuration.load_config(context.params.get("config")).recipe
    except EcgError:
        return []
    return complete_from(*recipes)(incomplete)


def _file_stems(package: str, folder: str, ending: str) -> list[str]:
    """Return the names, without ending, of the files in a package's folder."""
    from importlib.resources import files  # only for the completion: the help has no use for it

    names = (path.name for path in files(package).joinpath(folder).iterdir())
    return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))
