"""`ecg-agent` in a process of its own, soon: forked from one that has loaded its libraries, where that can be done.

An interpreter that imports PyTorch takes two seconds of a CPU to start. What is forked has its own process ID, signals,
exit code and standard streams, and nothing of the test's process. It is no new interpreter: hashes have the same seed
in all of them. What is about the start itself, or about two processes that hash differently, starts one with `fresh`.
"""

import atexit
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, AnyStr

from support.fork_server import ForkedPopen, ForkServer

REPOSITORY = Path(__file__).parents[2]
AGENT = [sys.executable, "-m", "agent"]
LONG_S = 120.0


class AgentProcess(ForkedPopen[AnyStr]):
    """A `subprocess.Popen` of `ecg-agent` with these arguments."""

    def __init__(self, arguments: Sequence[str], *, fresh: bool = False, **options: Any) -> None:
        self.server = None if fresh else find_fork_server()
        super().__init__([*AGENT, *arguments], **options)


def run_agent(
    arguments: Sequence[str], typed: AnyStr | None = None, *, timeout: float = LONG_S, **options: Any
) -> "subprocess.CompletedProcess[AnyStr]":
    """Run `ecg-agent` in a process until it ends, with what is typed to it; its output is caught, as text or bytes."""
    streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE) | {"text": not isinstance(typed, bytes)}
    source = {} if typed is None else {"stdin": subprocess.PIPE}
    with AgentProcess[AnyStr](arguments, **streams | source | options) as process:
        try:
            out, said = process.communicate(typed, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, said)


@cache
def find_fork_server() -> ForkServer | None:
    """Return the fork server of this process, started if need be, which ends with it; None where there can be none."""
    if sys.platform != "linux":
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(theirs.fileno())]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=environment)
    server = ForkServer(ours)
    atexit.register(process.wait)
    atexit.register(server.close)
    return server
