"""Hands of a sweep: who runs its trainings, each an ordinary `ecg-agent` command in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import IO, Protocol, Self

from agent.core.config import ENVIRONMENT_PREFIX
from model.errors import RunError

POLL_S = 0.1
MESSAGE_START = "ecg-agent: "
LONGEST_TAIL = 4000
"""Bytes at the end of what a training printed in which its reason is looked for."""


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """One training run: the number of its trial, its arguments behind `ecg-agent`, and where it leaves what.

    `log` gets what it prints, `report` is there once it has ended well.
    """

    trial: int
    arguments: tuple[str, ...]
    log: Path
    report: Path


@dataclass(frozen=True, slots=True)
class TrainingEnd:
    """How a training run ended: `failure` is its reason in a line, "" if it went well."""

    task: TrainingTask
    failure: str


class TrainingHands(Protocol):
    """Who trains: several tasks at once, which end in any order."""

    def has_room(self) -> bool:
        """Return whether another task would begin at once."""
        ...

    def submit(self, task: TrainingTask) -> None:
        """Begin a task. Raises RunError if it cannot begin."""
        ...

    def wait(self) -> list[TrainingEnd]:
        """Wait until at least one of the tasks has ended, and return those that have."""
        ...


class TrainingProcesses:
    """At most `jobs` processes of this machine. They end with the context, and with this process however it ends."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._running: dict[subprocess.Popen[bytes], tuple[TrainingTask, int]] = {}

    def has_room(self) -> bool:
        """Return whether a process is free."""
        return len(self._running) < self._jobs

    def submit(self, task: TrainingTask) -> None:
        """Start a process. Raises RunError if the file for what it prints cannot be written."""
        command = [sys.executable, "-m", "agent", *task.arguments, "--child"]
        try:
            task.log.parent.mkdir(parents=True, exist_ok=True)
            with task.log.open("ab") as log:
                self._running[_start_process(command, log)] = (task, log.tell())
        except OSError as error:
            raise RunError(f"cannot train into {task.log.parent}: {error.strerror or error}") from error

    def wait(self) -> list[TrainingEnd]:
        """Wait for the end of a process."""
        while not (ended := [process for process in self._running if process.poll() is not None]):
            time.sleep(POLL_S)
        ends = []
        for process in ended:
            task, start = self._running.pop(process)
            assert process.stdin is not None
            process.stdin.close()
            ends.append(TrainingEnd(task, describe_failure(process.returncode, task.log, start)))
        return ends

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still runs: every complete epoch is kept."""
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def _start_process(command: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a process that ends when this one lets go of its standard input, and that Ctrl-C does not reach."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=training_environment(os.environ),
        start_new_session=True,
    )


def end_with_input() -> None:
    """End this process, in the middle of whatever it does, once who started it has let go of its standard input."""

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(1)

    Thread(target=wait_for_end, daemon=True).start()


def training_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without settings: those of a training are all in its file."""
    kept = {name for name in environment if not name.startswith(ENVIRONMENT_PREFIX)} | {f"{ENVIRONMENT_PREFIX}CACHE"}
    return {name: value for name, value in environment.items() if name in kept}


def describe_failure(code: int, log: Path, start: int) -> str:
    """Return in a line why a training with this exit code failed, "" if it did not.

    The reason is the message that it left in `log` behind byte `start`, or the last line.
    """
    if code == 0:
        return ""
    if code < 0:
        return f"its process was killed by signal {-code}, as it is when there is too little memory"
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - LONGEST_TAIL))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    said = [line.removeprefix(MESSAGE_START) for line in lines if line.startswith(MESSAGE_START)] or lines
    return said[-1] if said else f"it ended with exit code {code}"
