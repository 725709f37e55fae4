"""The folder of a training run: the name of its checkpoint, its lock, and the message after Ctrl-C."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from model.errors import ConfigError, RunError
from model.files import lock_folder

RUN_LOCK = "run.lock"


def check_checkpoint_name(name: str) -> None:
    """Raise ConfigError for a checkpoint name that would leave its folder."""
    if name in ("", ".", "..") or set(name) & set("/\\"):
        raise ConfigError(f"{name!r} is no name of a checkpoint: choose one without slashes (--name)")


def lock_run_folder(folder: Path) -> None:
    """Create the run folder and reserve it for this process until it ends. Raise RunError if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock_folder(folder / RUN_LOCK)
    except BlockingIOError:
        raise RunError(f"another process trains in {folder}: wait for it or choose another folder (--run)") from None
    except OSError as error:
        raise RunError(f"cannot use run folder {folder}: {error.strerror}; choose another folder (--run)") from error


@contextlib.contextmanager
def explain_interruption(command: str, resumable: bool) -> Iterator[None]:
    """On Ctrl-C print one line to standard error: what is kept, and the command that goes on from there."""
    try:
        yield
    except KeyboardInterrupt:
        kept = "every complete epoch is kept. Continue" if resumable else "an unfinished run keeps nothing. Start again"
        sys.stderr.write(f"\nInterrupted: {kept} with: {command}\n")
        raise
