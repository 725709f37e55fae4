"""A training of a sweep as a process of this machine: an ordinary `ecg-agent` command, which ends with who began it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from agent.cluster.groups import ItemFound
from agent.core.config import ENVIRONMENT_PREFIX, NON_SETTING_VARIABLES
from agent.training.run_folder import RUN_LOCK
from model.errors import RunError
from model.files import is_locked

POLL_S = 0.1
LOCKED_S = 30.0
"""How long the process of an earlier try may take to let go of the run folder."""
MESSAGE_START = "ecg-agent: "
LONGEST_TAIL = 4000
"""Bytes at the end of what a training printed in which its reason is looked for."""
THREADS_VARIABLE = "OMP_NUM_THREADS"
"""Ray sets it in its workers."""


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
    """How a training run ended: `failure` is its reason in a line, "" if it went well; `died`: something killed it."""

    task: TrainingTask
    failure: str
    died: bool = False


def run_trainings(threads: str | None, tasks: Sequence[TrainingTask]) -> Iterator[ItemFound[TrainingEnd]]:
    """Train one task after the other, each in a process of its own, and yield how it ended.

    `threads`: what THREADS_VARIABLE is where the sweep was started. Raises RunError if a log cannot be written.
    """
    for index, task in enumerate(tasks):
        yield ItemFound(index, _run_training(task, training_environment(os.environ, threads)))


def _run_training(task: TrainingTask, environment: Mapping[str, str]) -> TrainingEnd:
    """Train, and wait for the end; the process does not outlive this call."""
    until_s = time.monotonic() + LOCKED_S
    while is_locked(task.report.parent / RUN_LOCK) and time.monotonic() < until_s:
        time.sleep(POLL_S)
    command = [sys.executable, "-m", "agent", *task.arguments, "--child"]
    try:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("ab") as log:
            process, start = _start_process(command, log, environment), log.tell()
    except OSError as error:
        raise RunError(f"cannot train into {task.log.parent}: {error.strerror or error}") from error
    with process:
        try:
            code = process.wait()
        finally:
            process.kill()
    return TrainingEnd(task, describe_failure(code, task.log, start), died=code < 0)


def _start_process(command: list[str], log: IO[bytes], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a process that ends when this one lets go of its standard input, and that Ctrl-C does not reach."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def end_with_input() -> None:
    """End this process, in the middle of whatever it does, once who started it has let go of its standard input."""

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(1)

    Thread(target=wait_for_end, daemon=True).start()


def training_environment(environment: Mapping[str, str], threads: str | None) -> dict[str, str]:
    """Return an environment without settings: those of a training are all in its file.

    Its number of threads, None for no word of it, is that of the sweep, whatever a cluster sets.
    """
    kept = {name for name in environment if not name.startswith(ENVIRONMENT_PREFIX)}
    kept |= NON_SETTING_VARIABLES - {"ECG_AGENT_CONFIG"}
    kept -= {THREADS_VARIABLE}
    own = {} if threads is None else {THREADS_VARIABLE: threads}
    return {name: value for name, value in environment.items() if name in kept} | own


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
