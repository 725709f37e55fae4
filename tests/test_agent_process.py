"""Commands that are forked off are like commands that are started."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.agent_process import AgentProcess, run_agent

WAITING = ("simulate", "record", "208", "--wait", "--endpoint", "tcp://127.0.0.1:*")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["config", "show"],
        ["evaluate", "--nonsense"],
        ["report", "nowhere"],
        ["check", "-", "--fs", "360"],
    ],
)
def test_the_same_as_a_fresh_start(arguments: list[str], tmp_path: Path) -> None:
    """Exit code and output are those of a new interpreter, in a folder and an environment of their own."""
    own: dict[str, Any] = {"cwd": tmp_path, "env": os.environ | {"ECG_AGENT_LINK__WINDOW_S": "3.5", "COLUMNS": "70"}}
    forked, fresh = (run_agent(arguments, "0.1\n0.2\n", fresh=start, **own) for start in (False, True))
    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)
    assert forked.stdout or forked.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_signals(number: signal.Signals, code: int) -> None:
    """A command is a child of ours, which signals reach, and whose end we see."""
    with AgentProcess[str](WAITING, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "tcp://127.0.0.1:" in process.stderr.readline()
        assert psutil.Process(process.pid).ppid() == os.getpid()
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(20) == code


def test_streams_end_with_the_command() -> None:
    """A command's end is the end of its pipes, whatever other commands run: these do not hold them."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with AgentProcess[bytes](WAITING, **pipes) as first, AgentProcess[bytes](WAITING, **pipes) as second:
        assert first.stderr is not None
        assert first.stderr.readline()
        first.kill()
        assert first.stderr.read() == b""
        assert second.poll() is None
        second.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do it")
def test_what_starts_alone() -> None:
    """What has to be new at the start of an interpreter makes a command start one."""
    hashing = os.environ | {"PYTHONHASHSEED": "1"}
    unlike: list[dict[str, Any]] = [{}, {"fresh": True}, {"env": hashing}, {"preexec_fn": os.getpid}]
    for options in unlike:
        with AgentProcess[bytes](WAITING, stderr=subprocess.DEVNULL, **options) as process:
            is_forked = b"fork_server" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.kill()
        assert is_forked == (not options)
