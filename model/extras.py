"""Packages that only some commands need: they are extras of the installation, and loaded where they are used."""

from importlib import import_module
from typing import Any

from model.errors import ConfigError


def import_extra(module: str, extra: str) -> Any:
    """Return a module of an extra, such as "serial" of `serial`.

    Raises ConfigError, with the command that installs it, where it is not there or cannot be loaded.
    """
    try:
        return import_module(module)
    except (ImportError, OSError, RuntimeError) as error:  # a package without its shared library raises the latter two
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise ConfigError(f"{module.partition('.')[0]} {reason}: pip install 'ecg-agent[{extra}]'") from error
