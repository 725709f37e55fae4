"""Simulator and monitor as real processes over TCP: started, watched, ended, and what they cost."""

import contextlib
import fcntl
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import IO

import psutil
import zmq

from agent.cli.device_process import find_free_endpoint
from agent.core.messages import Chunk
from agent.wire.packets import decode_frames

SAMPLED_S = 0.25
"""How often memory and CPU of a process are sampled."""
PATIENCE_S = 120.0
"""How much longer than its signal a run may take on a busy machine."""
COLUMNS, ROWS = 120, 36
SUMMARY = re.compile(
    r"(?P<beds>\d+) beds?, (?P<beats>\d+) beats, (?P<gaps>\d+) gaps .*?"
    r"(?:p50 (?P<p50_ms>[\d.]+) ms, p99 (?P<p99_ms>[\d.]+) ms)?$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at `at_s` (monotonic): its CPU seconds so far and resident megabytes."""

    at_s: float
    cpu_s: float
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Run:
    """A monitor from start to end: its own summary, its whole CPU time, and samples of it on the way."""

    summary: dict[str, float]
    cpu_s: float
    wall_s: float
    samples: tuple[Sample, ...]

    def core_percent(self, since_s: float) -> float:
        """Return its share of one core, from `since_s` after its start to the end."""
        return core_percent([sample for sample in self.samples if sample.at_s >= self.samples[0].at_s + since_s])


def core_percent(samples: Sequence[Sample]) -> float:
    """Return the share of one core between the first and the last sample."""
    return 100 * (samples[-1].cpu_s - samples[0].cpu_s) / (samples[-1].at_s - samples[0].at_s)


def sample(process: psutil.Process, with_children: bool = False) -> Sample:
    """Return what a process has used by now, alone or with those that it has begun."""
    cpu_s = rss_mb = 0.0
    for one in (process, *(process.children(recursive=True) if with_children else ())):
        with one.oneshot():
            cpu = one.cpu_times()
            cpu_s, rss_mb = cpu_s + cpu.user + cpu.system, rss_mb + one.memory_info().rss / 1e6
    return Sample(time.monotonic(), cpu_s, rss_mb)


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator, its endpoint, and its process."""

    endpoint: str
    process: psutil.Process


@contextlib.contextmanager
def simulator(*arguments: str, at: str | None = None) -> Iterator[Simulator]:
    """Run a simulator on a free port, or `at` an endpoint, until the context ends."""
    endpoint = at or find_free_endpoint()
    command = [sys.executable, "-m", "agent", "simulate", *arguments, "--endpoint", endpoint]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Simulator(endpoint, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


def start(*arguments: str, out: int | IO[bytes], module: Sequence[str] = ("agent",)) -> subprocess.Popen[bytes]:
    """Start a monitor whose standard output is `out`; the descriptor of a terminal is its keyboard too.

    It is patient: a simulator that starts beside it may take long on a busy machine, or with thousands of beds.
    """
    keyboard = out if isinstance(out, int) and out >= 0 and os.isatty(out) else subprocess.DEVNULL
    environment = {"ECG_AGENT_MONITOR_TIMEOUT_S": f"{PATIENCE_S:g}"} | os.environ
    environment |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", *module, "monitor", *arguments]
    return subprocess.Popen(command, stdin=keyboard, stdout=out, stderr=subprocess.PIPE, env=environment)


class Reader:
    """Reads what a monitor writes, with the time of each line (monotonic seconds)."""

    def __init__(self, monitor: subprocess.Popen[bytes]) -> None:
        self.lines: list[tuple[float, str]] = []
        self._monitor = monitor
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._monitor.stdout is not None
        for line in self._monitor.stdout:
            self.lines.append((time.monotonic(), line.decode()))

    def join(self) -> None:
        """Wait for the last line of a monitor that has ended."""
        self._thread.join()

    def all(self, timeout_s: float) -> str:
        """Return every line, once the monitor has ended, by itself or by our signal."""
        self._monitor.wait(timeout_s)
        self.join()
        for stream in (self._monitor.stdout, self._monitor.stderr):
            if stream is not None:
                stream.close()
        return "".join(line for _, line in self.lines)

    def first_s(self, text: str, after_s: float = 0.0) -> float:
        """Return when the first line with `text` came after `after_s`; infinity if none did."""
        return next((at for at, line in self.lines if at > after_s and text in line), math.inf)

    def wait(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait for a line with `text`. Raise SystemExit if none comes, or the monitor has ended without it."""
        until_s = time.monotonic() + timeout_s
        while self.first_s(text) == math.inf:
            if time.monotonic() > until_s:
                raise SystemExit(f"the monitor did not write {text!r} within {timeout_s:g} s")
            if not self._thread.is_alive() and self.first_s(text) == math.inf:
                raise SystemExit(f"the monitor ended with {self._monitor.wait()} before it wrote {text!r}")
            time.sleep(0.02)


def follow(process: subprocess.Popen[bytes], with_workers: bool = False) -> Run:
    """Watch a monitor, and workers of it, until it ends. Counts are of all workers, delays those of the slowest."""
    seen, samples, began = psutil.Process(process.pid), [], time.monotonic()
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        with contextlib.suppress(psutil.Error):  # it may end in between
            samples.append(sample(seen, with_workers))
        time.sleep(SAMPLED_S)
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    assert process.stderr is not None
    with process.stderr:
        last_words = process.stderr.read().decode()
    said = [found.groupdict() for found in SUMMARY.finditer(last_words)]
    if process.returncode or not said:
        raise SystemExit(f"the monitor ended with {process.returncode}: {last_words.strip()}")
    values = {key: [float(one[key]) for one in said if one[key] is not None] for key in said[0]}
    summary = {key: max(of) if key.endswith("_ms") else sum(of) for key, of in values.items() if of}
    usage = ended[2]
    most = accumulate((one.cpu_s for one in samples), max)  # less than before is of workers that have ended
    alive = tuple(one for one, most_s in zip(samples, most, strict=True) if one.rss_mb > 0 and one.cpu_s >= most_s)
    return Run(summary, usage.ru_utime + usage.ru_stime, time.monotonic() - began, alive)


@contextlib.contextmanager
def terminal() -> Iterator[int]:
    """Open a pseudo-terminal that is read as fast as it is written; yield the descriptor for the program inside."""
    outside, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    reader = threading.Thread(target=_drain, args=(outside,), daemon=True)
    reader.start()
    try:
        yield inside
    finally:
        os.close(inside)
        reader.join()
        os.close(outside)


def _drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # the program inside has ended
        while os.read(descriptor, 2**16):
            pass


class Tap:
    """A subscriber that records when each sample was sent: `sent_s[bed][i]` of the packet that holds sample i."""

    def __init__(self, endpoint: str) -> None:
        self.sent_s: dict[str, dict[int, float]] = {}
        self._stop = threading.Event()
        self._endpoint = endpoint
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Tap":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
            subscriber.set(zmq.LINGER, 0)
            subscriber.set(zmq.RCVHWM, 0)
            subscriber.subscribe("")
            subscriber.connect(self._endpoint)
            while not self._stop.is_set():
                if subscriber.poll(100):
                    self._note(subscriber.recv_multipart())

    def _note(self, frames: list[bytes]) -> None:
        message = decode_frames(frames)
        if isinstance(message, Chunk):
            stamps = range(message.first, message.first + len(message.counts))
            self.sent_s.setdefault(message.bed, {}).update(dict.fromkeys(stamps, message.sent_s))
