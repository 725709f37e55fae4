"""`ecg-agent` in this process, where a test is not about the process: nothing has to be started and imported again."""

import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import cast

import pytest

from agent.cli.app import run_command_line

RunHere = Callable[..., "CompletedProcess[str]"]


def make_run_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunHere:
    """Return a function that runs a command with its arguments and its standard input, as `subprocess.run` would."""

    def run_here(*arguments: object, text: str = "") -> "CompletedProcess[str]":
        words = ["ecg-agent", *map(str, arguments)]
        capfd.readouterr()
        with monkeypatch.context() as patch, tempfile.TemporaryFile() as typed:
            patch.setattr(sys, "argv", words)
            typed.write(text.encode())
            typed.seek(0)
            before = os.dup(0)
            handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            os.dup2(typed.fileno(), 0)
            patch.setattr(sys, "stdin", io.TextIOWrapper(os.fdopen(os.dup(0), "rb")))
            try:
                run_command_line()
                code = 0
            except SystemExit as end:
                code = cast(int, end.code or 0)
            finally:
                sys.stdin.close()
                os.dup2(before, 0)
                os.close(before)
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return CompletedProcess(words, code, *capfd.readouterr())

    return run_here
