"""How long an attack goes on, what it costs the process that is attacked, and how soon that ends."""

import contextlib
import itertools
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.processes import sample

SAMPLED_S = 0.05
ENDED_S = 60.0
"""A process that takes longer than this to end is killed."""
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(slots=True, kw_only=True)
class AttackScene:
    """What every attack is given: the `seconds` it lasts, unless it is ended before."""

    seconds: float
    _ended: threading.Event = field(default_factory=threading.Event)

    def end(self) -> None:
        """End the attack."""
        self._ended.set()

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the attack lasts."""
        self._ended.wait(seconds)

    def until_over(self) -> Iterator[int]:
        """Count from 0 until the time of the attack is over."""
        until_s = time.monotonic() + self.seconds
        for n in itertools.count():
            if self._ended.is_set() or time.monotonic() > until_s:
                return
            yield n


class MemoryWatch:
    """Resident megabytes of a process from the start of the context to its end."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._most_before = _peak_mb(pid)
        self.start_mb = self.end_mb = self.peak_mb = sample(self._process).rss_mb

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        most = _peak_mb(self._process.pid)  # of its whole life: of use where it rose
        if most > self._most_before:
            self.peak_mb = max(self.peak_mb, most)

    def _watch(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(psutil.Error):  # it may have ended
                if resident := sample(self._process).rss_mb:
                    self.end_mb = resident
                    self.peak_mb = max(self.peak_mb, resident)
            self._stop.wait(SAMPLED_S)


def interrupt(process: "subprocess.Popen[bytes]") -> float:
    """Send Ctrl-C; return the seconds until the process ended, which is killed after a minute."""
    began_s = time.monotonic()
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(ENDED_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return time.monotonic() - began_s


def _peak_mb(pid: int) -> float:
    """Return the most resident megabytes of a process so far as Linux knows them; 0 elsewhere."""
    with contextlib.suppress(OSError):
        found = PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
        return int(found[1]) * 1024 / 1e6 if found else 0.0
    return 0.0
