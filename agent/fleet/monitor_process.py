"""A monitor in a process of its own, which is started again whenever it ends by itself or stands still."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

from model.text import make_printable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""Pauses before a monitor that has ended is started again: they double, until one has run for SETTLED_S."""
SETTLED_S = 60.0
STOPPED_TICKS = 3
"""After so many looks at a process that is stopped, a second apart, it is killed."""
END_S = 8.0
"""How long a monitor may take to tell all that it has when it is ended."""
KEPT_LINES = 20
LONGEST_LINE = 200
PREFIX = "ecg-agent: "


@dataclass(frozen=True, slots=True)
class MonitorState:
    """A monitor: its name in the store, its process (0: none now), its age in seconds, how often it was started again.

    `reason`: why it was the last time.
    """

    name: str
    pid: int
    age_s: float
    restarts: int
    reason: str = ""


class MonitorProcess:
    """`ecg-agent` with `arguments`, in a process group of its own; it ends with this process, however that ends.

    The thread that calls `tend` must live as long as the process: on Linux a child dies with the thread that began it.
    """

    def __init__(self, name: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        self._arguments, self._environment = list(arguments), environment
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._started_s = self._due_s = 0.0
        self._starts = self._failures = self._stopped_ticks = 0
        self._reason = ""
        self._is_over = False
        self._lock = Lock()

    def tend(self) -> None:
        """Start it if it does not run and may; kill it if it is stopped. Call it once a second."""
        with self._lock:
            process = self._process
            if self._is_over:
                return
            if process is not None and process.poll() is not None:
                self._note_end(process)
            elif process is not None:
                self._stopped_ticks = self._stopped_ticks + 1 if is_stopped(process.pid) else 0
                if self._stopped_ticks >= STOPPED_TICKS:
                    self._kill("it stood still")
            if self._process is None and time.monotonic() >= self._due_s:
                self._start()

    def kill(self, pid: int, reason: str) -> bool:
        """Kill the process with this id, if it is still the one that runs; `tend` starts the next."""
        with self._lock:
            if self._process is None or self._process.pid != pid or self._process.poll() is not None:
                return False
            self._kill(reason)
            return True

    def state(self) -> MonitorState:
        """Return how it is."""
        with self._lock:
            runs = self._process is not None and self._process.poll() is None
            pid = self._process.pid if self._process is not None and runs else 0
            return MonitorState(
                self.name, pid, time.monotonic() - self._started_s, max(0, self._starts - 1), self._reason
            )

    def begin_end(self) -> None:
        """Ask it to tell all that it has and to end; return at once."""
        with self._lock:
            self._is_over = True
            if self._process is not None:
                _signal_group(self._process, signal.SIGTERM)

    def wait_for_end(self) -> None:
        """Wait for its end; kill it if it takes too long."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        _signal_group(self._process, signal.SIGKILL)
        self._process.wait()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            child_command(self._arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=self._environment,
        )
        self._lines.clear()
        Thread(target=self._read_lines, args=(self._process,), daemon=True).start()
        self._started_s, self._stopped_ticks = time.monotonic(), 0
        self._starts += 1

    def _kill(self, reason: str) -> None:
        assert self._process is not None
        _signal_group(self._process, signal.SIGKILL)
        self._process.wait()
        self._note_end(self._process, reason)

    def _note_end(self, process: "subprocess.Popen[bytes]", reason: str = "") -> None:
        age_s = time.monotonic() - self._started_s
        self._failures = 0 if age_s >= SETTLED_S or reason or process.returncode < 0 else self._failures + 1
        self._reason = reason or _why_it_ended(process.returncode, self._lines)
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 30)) if self._failures else 0.0
        self._due_s = time.monotonic() + pause_s
        if process.stdin is not None:
            process.stdin.close()
        self._process = None

    def _read_lines(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for raw in lines:
                if line := raw.decode(errors="replace").strip():
                    self._lines.append(line)


def child_command(arguments: Sequence[str]) -> list[str]:
    """Return how to start `ecg-agent` with arguments as a process that ends with this one, by its standard input."""
    return [sys.executable, "-m", "agent.fleet.monitor_child", str(os.getpid()), *arguments]


def _why_it_ended(code: int, lines: Sequence[str]) -> str:
    if code < 0:
        return f"it was killed ({signal.strsignal(-code)})"
    said = lines[-1].removeprefix(PREFIX) if lines else "it says no reason"
    return make_printable(said, LONGEST_LINE)


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal to a process and those that it has begun, unless it was waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped by a signal or a debugger; False where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False
