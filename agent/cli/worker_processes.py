"""`ecg-agent monitor --workers N`: as many monitors, each in a process, which share the beds of one device.

Each is `ecg-agent monitor --part K/N` with the same options. What they print comes out line by line; the lines of a bed
are all of one worker, and in order.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from threading import Lock, Thread
from typing import IO

from agent.cli.bridge import BridgeArguments
from agent.cli.monitor import MonitorOptions
from agent.cli.stop_signals import StopFlag
from agent.core.config import Config
from agent.fleet.monitor_process import PREFIX, STOPPED_TICKS, child_command, is_stopped
from agent.link.bed_part import WHOLE_WARD
from model.errors import ConfigError, EcgError

LOOK_S = 0.05
END_S = 15.0
"""How long a worker may take to end in order."""
READ_BYTES = 2**16
IN_A_TERMINAL = (
    "workers print lines; to see the ward, add --publish store:ward.db, and in another terminal: "
    "ecg-agent fleet watch store:ward.db"
)


def share_beds(config: Config, options: MonitorOptions, source: BridgeArguments | None, workers: int) -> None:
    """Monitor with so many workers until the end, a signal, or the failure of one.

    Raises ConfigError for what several processes cannot share, and else what `run_workers` raises.
    """
    if source is not None:
        raise ConfigError("--from has one bed: leave --workers out")
    of_one_process = {
        "--record": options.record,
        "--svg": options.svg,
        "--replica": options.replica,
        "--truth": options.truth,
        "--metrics": config.monitor.metrics,
        "--web": config.web.address,
    }
    for name, given in of_one_process.items():
        if given:
            raise ConfigError(
                f"{name} is of one process: leave --workers out, or start a monitor for each part (--part 1/{workers})"
            )
    if options.part != WHOLE_WARD:
        raise ConfigError("--workers makes the parts itself: leave --part or --workers out")
    if sys.stdout.isatty():
        print(f"{PREFIX}{IN_A_TERMINAL}", file=sys.stderr)  # noqa: T201  # for the person
    with StopFlag() as stop:
        run_workers(sys.argv[1:], workers, stop, may_end=options.until_end or options.seconds is not None)


def worker_arguments(arguments: Sequence[str], number: int, workers: int) -> list[str]:
    """Return the command line of a worker, after `ecg-agent`, from that of all of them.

    >>> worker_arguments(["monitor", "--workers", "2", "--json"], 1, 2)
    ['monitor', '--json', '--part', '1/2']
    """
    kept: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--workers":
            next(rest, None)
        elif not word.startswith("--workers="):
            kept.append(word)
    return [*kept, "--part", f"{number}/{workers}"]


def run_workers(arguments: Sequence[str], workers: int, stop: Callable[[], bool], may_end: bool) -> None:
    """Run workers until all have ended, or `stop`, or one has failed, with which all end.

    `arguments`: the command line of this process, after `ecg-agent`; `may_end`: they end by themselves, one by one.
    Raises EcgError if a worker was ended by somebody, SystemExit with the exit code of one that has said why it failed.
    """
    out = _SharedOutput()
    all_workers = [
        _WardWorker(number, worker_arguments(arguments, number, workers), out) for number in range(1, workers + 1)
    ]
    try:
        while any(worker.runs for worker in all_workers):
            if stop() or out.is_closed or any(worker.has_failed(may_end) for worker in all_workers):
                break
            for worker in all_workers:
                worker.watch()
            time.sleep(LOOK_S)
        is_over = stop() or out.is_closed
        failed = None if is_over else next((worker for worker in all_workers if worker.has_failed(may_end)), None)
    finally:
        for worker in all_workers:
            worker.begin_end()
        for worker in all_workers:
            worker.wait_for_end()
    if failed is not None:
        failed.tell_failure()


class _SharedOutput:
    """Standard output of all workers: whole lines, in any order of workers. `is_closed`: nobody reads it any more."""

    def __init__(self) -> None:
        self.is_closed = False
        self._lock = Lock()

    def write(self, lines: bytes) -> None:
        with self._lock:
            if self.is_closed:
                return
            try:
                sys.stdout.buffer.write(lines)
                sys.stdout.buffer.flush()
            except BrokenPipeError:  # the reader of the pipe has left, as `head` does
                self.is_closed = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _WardWorker:
    """A monitor in a process of its own, which ends with this one."""

    def __init__(self, number: int, arguments: Sequence[str], out: _SharedOutput) -> None:
        self._number = number
        self._watched_s, self._stopped_ticks, self._stands_still = time.monotonic(), 0, False
        self._process = subprocess.Popen(
            child_command(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = (
            Thread(target=_pass_lines, args=(self._process.stdout, out.write)),
            Thread(target=self._tell_lines, args=(self._process.stderr,)),
        )
        for reader in self._readers:
            reader.start()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def has_failed(self, may_end: bool) -> bool:
        """Return whether it has ended, and not in order; in order only if it `may_end`."""
        return self._process.poll() not in ((None, 0) if may_end else (None,))

    def watch(self) -> None:
        """Tell if it stands still for some seconds, and if it goes on; to be called often."""
        now_s = time.monotonic()
        if now_s - self._watched_s < 1.0:
            return
        self._watched_s = now_s
        self._stopped_ticks = self._stopped_ticks + 1 if is_stopped(self._process.pid) else 0
        if self._stands_still != (self._stopped_ticks >= STOPPED_TICKS):
            self._stands_still = not self._stands_still
            self._tell("stands still: its beds are not watched" if self._stands_still else "goes on")

    def begin_end(self) -> None:
        """Ask it to end, also if it stands still; return at once."""
        if self.runs:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)

    def wait_for_end(self) -> None:
        """Wait for its end and its last lines; kill it if it takes too long."""
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def tell_failure(self) -> None:
        """Raise why it ended, or, where it has said that itself, SystemExit with its exit code."""
        code = self._process.returncode
        if code > 0:
            raise SystemExit(code)
        how = f"was killed ({signal.strsignal(-code)})" if code else "has ended"
        raise EcgError(f"worker {self._number} {how}: all are ended, start the monitor again")

    def _tell_lines(self, lines: IO[bytes]) -> None:
        """Say on standard error what the worker says there, and which one it is."""
        with lines:
            for raw in lines:
                self._tell(raw.decode(errors="replace").rstrip("\n").removeprefix(PREFIX))

    def _tell(self, text: str) -> None:
        sys.stderr.write(f"{PREFIX}worker {self._number}: {text}\n")  # at once: other threads write there, too


def _pass_lines(source: IO[bytes], write: Callable[[bytes], None]) -> None:
    """Hand on whole lines, as many at once as there are."""
    begun = b""
    with source:
        while piece := source.read1(READ_BYTES):  # type: ignore[attr-defined]  # a pipe of Popen is buffered
            whole, newline, rest = piece.rpartition(b"\n")
            if newline:
                write(begun + whole + newline)
                begun = rest
            else:
                begun += piece
    if begun:
        write(begun)
