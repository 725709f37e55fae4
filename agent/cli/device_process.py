"""A device in a process of its own, for one command that runs it and its monitor together."""

import contextlib
import secrets
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from threading import Thread
from types import TracebackType
from typing import Self

from agent.core.events import DeviceNote, Event
from model.errors import EcgError, SimulatorError

SETTLED_S = 0.5
"""Seconds by which a line is held back: the last one before a failure is its reason, and is said as such, once."""
KEPT_LINES = 100
"""Lines of a device that wait to be shown."""
MESSAGE_PREFIX = "ecg-agent: "
FREE_PORTS = range(20_000, 32_000)
"""Ports that no system hands out by itself: those of Linux begin at 32,768, of others at 49,152."""


class DeviceProcess:
    """`ecg-agent` with `arguments` such as ("simulate", "record", "208"), sending to a free `endpoint` of this machine.

    It ends with the context, or with this process. `reads_input`: it takes our standard input.
    """

    def __init__(self, arguments: Sequence[str], reads_input: bool = False) -> None:
        self.endpoint = find_free_endpoint()
        # On a free port of this machine a device needs no keys, whatever the settings say
        added = ("--endpoint", self.endpoint, "--child", "--key", "", "--clients", "")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agent", *arguments, *added],
            stdin=None if reads_input else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._lines: deque[tuple[float, str]] = deque(maxlen=KEPT_LINES)
        self._last = ""
        self._reader = Thread(target=self._read_lines, daemon=True)
        self._reader.start()

    def has_failed(self) -> bool:
        """Return whether it has ended by itself, and not in order."""
        return self._process.poll() not in (None, 0)

    def news(self) -> list[Event]:
        """Return what it said since the last call, but for why it failed: that is raised at the end."""
        if self.has_failed():
            return []
        settled = time.monotonic() - SETTLED_S
        lines = []
        while self._lines and self._lines[0][0] <= settled:
            lines.append(self._lines.popleft()[1])
        return [DeviceNote(line.removeprefix(MESSAGE_PREFIX)) for line in lines if line.startswith(MESSAGE_PREFIX)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it. Raises its error where it ended by itself: bad input has the exit code that it would have alone."""
        self._process.terminate()
        self._process.wait()
        self._reader.join(timeout=1)
        if self._process.returncode > 0 and (kind is None or issubclass(kind, EcgError)):
            raise device_error(self._process.returncode, self._last) from None

    def _read_lines(self) -> None:
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            line = raw.decode(errors="replace").strip()
            if line:
                self._last = line
                self._lines.append((time.monotonic(), line))


def device_error(code: int, line: str) -> EcgError:
    """Return the error that a device wrote as its last `line` before it ended with this exit code."""
    reason = line.removeprefix(MESSAGE_PREFIX) or "no reason given"
    kinds = {kind.exit_code: kind for kind in EcgError.__subclasses__()}
    return kinds[code](reason) if code in kinds else SimulatorError(f"the device ended: {reason}")


def find_free_endpoint() -> str:
    """Return an endpoint of this machine whose port and the next one are free.

    They are none that the system hands out: another program could be given them before they are used.
    """
    while True:
        port = secrets.choice(FREE_PORTS)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return f"tcp://127.0.0.1:{port}"
