"""Processes of `ecg-agent` that are forked off one that has loaded its libraries, rather than started.

    caller ── request, standard streams ─► fork server ── fork ─► helper ── fork ─► command

The helper ends at once, and its orphan, the command, becomes a child of the caller, as if that had started it. Each
command has a fork server of its own for the commands that it starts, and for the processes that `multiprocessing`
spawns for it. `python fork_server.py SOCKET` is the first one.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import importlib.util
import inspect
import io
import json
import multiprocessing.util
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, AnyStr

FORKED = ("agent", "agent.fleet.monitor_child", "benchmarks.stages")
"""The modules that are run as commands."""
LOADED = (
    "torch",
    "scipy.signal",
    "scipy.ndimage",
    "wfdb",
    "soundfile",
    "agent.cli.app",
    "agent.cli.monitor",
    "agent.batch.batch_run",
    "agent.evaluation.evaluate_command",
    "simulator.scheduler",
    "simulator.catalog",
    "agent.bridge.open_source",
    "agent.device.publisher_group",
    "agent.outputs.dashboard_sink",
    "agent.outputs.text_lines",
    "model.nets.compiled_net",
    *(["pydantic.type_adapter"] if importlib.util.find_spec("pydantic") else []),  # Typer may take it for options
)
"""What is imported before the first command: what most of them need."""
LOADED_FOR = {"train": ("torch._dynamo", "agent.training.report_run")}
"""What is imported before the first command of a name that needs more: an optimiser alone loads a compiler."""
LARGEST_REQUEST = 1 << 17
MOST_STREAMS = 32
SET_NAME, SET_CHILD_SUBREAPER = 15, 36
"""Requests to prctl: to name a process, and to make it adopt the orphans among its descendants."""
SPAWNED, SERVER = "spawn_main", "fork server"
"""Names of processes: of one that `multiprocessing` spawned, and of a fork server."""
PRCTL = ctypes.CDLL(None).prctl
READ_AT_START = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "TZ")
"""Beginnings of variables that are read when an interpreter or a library starts."""
READ_LATER = ("PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONIOENCODING")
"""Such variables that a forked command heeds all the same."""


START = subprocess.Popen._execute_child  # type: ignore[attr-defined]
SPAWN = multiprocessing.util.spawnv_passfds


class ForkServer:
    """The caller's end of a fork server."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._lock = threading.Lock()

    def start(self, request: Mapping[str, Any], streams: Sequence[int], passed: Sequence[int] = ()) -> int:
        """Have a command forked, with its three standard streams and others as they are; return its process ID."""
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        text = json.dumps({**request, "passed": passed, "interrupts_ignored": ignored}).encode()
        with self._lock:
            PRCTL(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._requests, [text], [*streams, *passed])
                return int(self._requests.recv(32))
            finally:
                PRCTL(SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def spawn(self, path: bytes, words: Sequence[Any], passed: Sequence[int]) -> int:
        """Do what `multiprocessing.util.spawnv_passfds` does, which starts a process that it spawns."""
        command = [os.fsdecode(word) for word in words]
        if SPAWNED not in command[-2]:
            return SPAWN(path, words, passed)
        request: dict[str, Any] = {"code": command[-2], "arguments": ["-c", command[-1]]}
        request |= {"environment": dict(os.environ), "folder": str(Path.cwd()), "new_session": False}
        return self.start(request, range(3), [int(number) for number in passed])

    def close(self) -> None:
        """Let it end."""
        self._requests.close()


class ForkedPopen(subprocess.Popen[AnyStr]):
    """A `subprocess.Popen` of which commands of ours are forked, where what they are to be allows it."""

    server: ForkServer | None = None

    def _execute_child(self, *given: Any) -> None:
        """Start the process: `Popen` calls this once it has opened the streams, which it wants to be closed here."""
        how = inspect.signature(START).bind(self, *given).arguments
        if self.server is None or not is_plain(how):
            START(self, *given)
            return
        request = {
            "module": how["args"][2],
            "arguments": how["args"][2:],
            "environment": dict(os.environ if how["env"] is None else how["env"]),
            "folder": str(how["cwd"] or Path.cwd()),
            "new_session": how["start_new_session"],
        }
        streams = [how[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        self.pid = self.server.start(request, [at if at >= 0 else own for own, at in enumerate(streams)])
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(how[name] for name in pipes))  # type: ignore[attr-defined]


def is_plain(how: Mapping[str, Any]) -> bool:
    """Return whether a process with these arguments of `_execute_child` is a command that can be forked."""
    odd = how["executable"] or how["preexec_fn"] or how["pass_fds"] or how["shell"] or how["process_group"] != -1
    words = how["args"]
    ours = not isinstance(words, str) and list(words[:2]) == [sys.executable, "-m"] and words[2] in FORKED
    return ours and not odd and (how["env"] is None or at_start(how["env"]) == at_start(os.environ))


def at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that an interpreter reads when it starts."""
    return {name: of for name, of in environment.items() if name.startswith(READ_AT_START) and name not in READ_LATER}


def serve_requests(requests: socket.socket) -> dict[str, Any]:
    """Fork a command for each request; return the request in the process of its command.

    A request is a dict as JSON, with the command's streams, of which the first three are the standard ones. The answer
    is the process ID as text.
    """
    while True:
        text, streams, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, MOST_STREAMS)
        if not text:
            os._exit(0)
        for name in LOADED_FOR.get(" ".join(json.loads(text)["arguments"][1:2]), ()):
            importlib.import_module(name)
        heard, told = os.pipe()
        if (helper := os.fork()) == 0:
            helper = os.getpid()
            if pid := os.fork():
                os.write(told, str(pid).encode())
                os._exit(0)
            request: dict[str, Any] = json.loads(text)
            place_streams(streams, [0, 1, 2, *request["passed"]], max(heard, told, requests.detach()) + 1)
            while os.getppid() == helper:
                time.sleep(0.0005)
            return request
        os.close(told)
        os.waitpid(helper, 0)
        requests.send(os.read(heard, 32))
        for number in (heard, *streams):
            os.close(number)


def place_streams(streams: Sequence[int], numbers: Sequence[int], stop: int) -> None:
    """Give streams these numbers, and close all others below `stop`."""
    beyond = max(stop, *streams, *numbers) + 1
    copies = [fcntl.fcntl(stream, fcntl.F_DUPFD, beyond) for stream in streams]
    os.closerange(3, beyond)
    for copy, number in zip(copies, numbers, strict=True):
        os.dup2(copy, number)
        os.close(copy)


def fork_server(closed: Sequence[int]) -> ForkServer:
    """Fork this process as a fork server for itself, which closes some streams; return the end for the caller."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ForkServer(ours)
    ours.close()
    PRCTL(SET_NAME, SERVER.encode(), 0, 0, 0)
    for number in closed:
        os.close(number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    os.close(nowhere)
    become_command(serve_requests(theirs))
    raise AssertionError("a command ends its process")


def become_command(request: dict[str, Any]) -> None:
    """Make this process what a new interpreter with `-m MODULE` is, and run it."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if request["new_session"]:
        os.setsid()
    PRCTL(SET_NAME, (SPAWNED if "code" in request else "ecg-agent").encode(), 0, 0, 0)
    server = fork_server(request["passed"])
    ForkedPopen.server = server
    subprocess.Popen = ForkedPopen  # type: ignore[misc]
    multiprocessing.util.spawnv_passfds = server.spawn  # type: ignore[assignment]
    signal.signal(signal.SIGINT, signal.SIG_IGN if request["interrupts_ignored"] else signal.default_int_handler)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = open_stream(number, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = request["arguments"]
    end_process(run_main(request))


def run_main(request: Mapping[str, Any]) -> int:
    """Run the module or the code of a request as the main one; return the exit code."""
    try:
        if "code" in request:
            sys.modules["__main__"] = main_module = ModuleType("__main__")
            exec(request["code"], main_module.__dict__)
        else:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201
            return 1
        return end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def end_process(code: int) -> None:
    """Wait for threads, do what is registered for the end, and end without taking two thousand modules apart."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def open_stream(number: int, like: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a standard stream as an interpreter opens it at its start."""
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    binary = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    at_once = bool(number and os.environ.get("PYTHONUNBUFFERED"))
    lines = number == 2 or raw.isatty()
    encoding = os.environ.get("PYTHONIOENCODING", like.encoding)
    return io.TextIOWrapper(binary, encoding, like.errors, line_buffering=lines, write_through=at_once)


def main() -> None:
    """Load, serve, and in the process of a command become that command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = socket.socket(fileno=int(sys.argv[1]))
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # a collection would copy what is shared with all commands
    # Python 3.12 warns of threads at a fork: those of OpenBLAS and Arrow, which see to their forks themselves
    warnings.filterwarnings("ignore", "This process .*is multi-threaded", DeprecationWarning)
    become_command(serve_requests(requests))


if __name__ == "__main__":
    main()
