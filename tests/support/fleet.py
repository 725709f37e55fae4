"""A small fleet of real processes: one simulated ward, monitors that are replicas, and one that nobody disturbs."""

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from test_cli import REPOSITORY, environment

from benchmarks.fleet_ward import KEPT, read_status
from support.agent_process import AgentProcess
from support.broker import free_port

LONG_S = 150.0
"""Longer than the ward lasts at ten times real time, if nobody ends it."""


class StoreProcess:
    """`ecg-agent fleet store` on a port of its own, which it keeps when it is started again."""

    def __init__(self, path: Path) -> None:
        self._path, self._bind = path, "tcp://127.0.0.1:*"
        self.process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def address(self) -> str:
        """Where monitors find it."""
        return self._bind.replace("tcp://", "store://")

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = ["fleet", "store", str(self._path), "--bind", self._bind]
        self.process = AgentProcess[str](command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment())
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"store(://127\.0\.0\.1:\d+)", line)
        assert found is not None, line
        self._bind = f"tcp{found.group(1)}"

    def kill(self) -> None:
        """Kill it."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()


class Fleet:
    """Monitors of one simulated ward, all in the background, each with what it prints in a file.

    They come first, and the ward once all of them wait for it: so none of them misses anything, however slow it is.
    """

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self._folder, self._options = folder, options
        self._endpoint = f"tcp://127.0.0.1:{free_port()}"
        self.monitors: dict[str, subprocess.Popen[str]] = {}
        self._ward: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Let the ward send."""
        command = ["simulate", "ward", *self._options, "--endpoint", self._endpoint, "--wait"]
        self._ward = AgentProcess[bytes](command, stderr=subprocess.DEVNULL, cwd=REPOSITORY, env=environment(**KEPT))

    def start(self, name: str, store: str) -> None:
        """Start a monitor that tells a store."""
        command = ["monitor", "--endpoint", self._endpoint, "--json", "--until-end"]
        with (self._folder / name).open("w") as out:
            self.monitors[name] = AgentProcess[str](
                [*command, "--publish", store, "--replica", name],
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=REPOSITORY,
                env=environment(ECG_AGENT_MONITOR_TIMEOUT_S="1000", **KEPT),
            )

    def end_ward(self) -> None:
        """Let the ward send no more: it tells the end of every bed, and goes."""
        assert self._ward is not None
        assert self._ward.poll() is None, "the machine is too slow: the ward is over"
        self._ward.send_signal(signal.SIGINT)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a monitor."""
        self.monitors[name].send_signal(number)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; if it never is, tell what the monitors have printed."""
        end = time.monotonic() + LONG_S
        while not is_so():
            assert time.monotonic() < end, "\n".join(f"{name}: {self.output(name)[-4000:]}" for name in self.monitors)
            time.sleep(0.05)

    def output(self, name: str) -> str:
        """What a monitor has printed."""
        return (self._folder / name).read_text()

    def wait_for_end(self, *names: str) -> None:
        """Wait for the end of these monitors."""
        for name in names:
            assert self.monitors[name].wait(LONG_S) == 0, self.output(name)

    def close(self) -> None:
        """Kill what is still there."""
        for process in self.monitors.values():
            process.kill()
            process.wait()
        if self._ward is not None:
            self._ward.kill()
            self._ward.wait()


@contextlib.contextmanager
def simulated_fleet(folder: Path, *options: str) -> Iterator[Fleet]:
    """A ward with these options of `simulate ward`, which has not begun, and no monitor yet."""
    fleet = Fleet(folder, options)
    try:
        yield fleet
    finally:
        fleet.close()


def has_replicas(store: str, *names: str) -> bool:
    """Return whether these replicas have told something: they load no more, and are about to listen."""
    status = read_status(store)
    return status is not None and {replica.name for replica in status.replicas} >= set(names)


def is_told(store: str, seconds: float, beds: int, speaker: str | None = None, listeners: int = 1) -> bool:
    """Return whether all beds are told so far, by this speaker, and so many replicas listen."""
    status = read_status(store)
    return (
        status is not None
        and len(status.beds) == beds
        and all(
            bed.told_s >= seconds and bed.listeners >= listeners and speaker in (None, bed.speaker)
            for bed in status.beds
        )
    )
