"""A bridge and a monitor in one process for tests, joined by real sockets; microcontrollers on pseudo-terminals."""

import contextlib
import os
import pty
import threading
import time
import tty
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.analysis.beat_classifier import BeatClassifier
from agent.bridge.bridge_loop import BridgeLoop, BridgeStatus
from agent.bridge.device_stream import DeviceStream
from agent.bridge.sensor_source import SensorSource
from agent.core.config import Config, override_config
from agent.core.messages import Beat, Ledger, Result
from agent.device.publisher import PacketPublisher
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from model.errors import EcgError
from model.records.wfdb_records import open_record, read_record_samples

BED = "bed"
PATIENCE_S = 60.0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds."""
    until_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until_s, f"{what}: not within {seconds:g} s"
        time.sleep(0.01)


class RunningBridge:
    """A bridge of a source in a thread of its own; `said`: what it told; `endpoint`: where it sends."""

    def __init__(self, config: Config, source: SensorSource, patient: bool = False) -> None:
        config = override_config(config, "link", endpoint="tcp://127.0.0.1:*")
        self.publisher = PacketPublisher(config, lossless=False)
        self.endpoint = self.publisher.endpoint
        self.said: list[str] = []
        self.error: EcgError | None = None
        self.final: BridgeStatus | None = None
        self.stream = DeviceStream(self.publisher, BED, config.simulate.keep_s)
        self.loop = BridgeLoop(source, self.stream, config.bridge, self.said.append, patient)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.final = self.loop.run(self._stop.is_set, lambda _: None)
        except EcgError as error:
            self.error = error

    def __enter__(self) -> "RunningBridge":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.publisher.linger_s = 0.0
        self.publisher.close()

    def stop(self) -> None:
        """End the run."""
        self._stop.set()
        self.join()

    def join(self) -> None:
        """Wait for the end of the source."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@dataclass
class Watched:
    """What a monitor made of a bed."""

    results: list[Result] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def beats(self) -> list[tuple[int, str]]:
        """R peak and class of every beat."""
        return [(item.sample, item.label) for item in self.results if isinstance(item, Beat)]


class RunningMonitor:
    """A monitor of one bed in a thread of its own, from now until the End of a run."""

    def __init__(self, config: Config, classifier: BeatClassifier, endpoint: str) -> None:
        config = override_config(config, "link", endpoint=endpoint)
        self.link = LinkReceiver(config, ())
        self.session = MonitorSession(self.link, classifier, config)
        self.watched = Watched()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        until_s = time.monotonic() + 3 * PATIENCE_S
        beds = self.session.pipeline.beds
        while time.monotonic() < until_s and not self._ended:
            self.link.wait(0.02)
            self._step()
            self._ended = BED in beds and beds[BED].ended and not self.ledger.open
        now_s = time.time()
        self.watched.results += self.session.step(self.link.finish(now_s), now_s, ended=True)
        self.watched.ledger = self.ledger
        self.link.close()

    def _step(self) -> None:
        now_s = time.time()
        self.watched.results += self.session.step(self.link.receive(now_s), now_s)

    @property
    def ledger(self) -> Ledger:
        """What became of the samples until now."""
        return self.session.ledger(BED) if BED in self.session.pipeline.beds else Ledger()

    def result(self) -> Watched:
        """Return all, once the run has ended."""
        self._thread.join(3 * PATIENCE_S)
        assert self._ended, "no End came"
        return self.watched


class Microcontroller:
    """The other end of a serial cable at `path`, a link to a pseudo-terminal that can be pulled and plugged in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._main = self._port = -1
        self._cable = threading.Lock()
        self.halted = threading.Event()
        self.plug()

    def plug(self) -> None:
        """Put the cable in."""
        self._main, self._port = pty.openpty()
        tty.setraw(self._port)
        os.set_blocking(self._main, False)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.path.symlink_to(os.ttyname(self._port))

    def pull(self) -> None:
        """Pull the cable out: the port is gone."""
        with self._cable:
            if self._main >= 0:
                self.path.unlink()
                os.close(self._main)
                os.close(self._port)
                self._main = self._port = -1

    def write(self, data: bytes) -> None:
        """Send bytes; with no cable, or where nobody reads, they are lost."""
        with self._cable, contextlib.suppress(OSError):
            os.write(self._main, data)

    def write_all(self, data: bytes) -> None:
        """Send bytes as fast as they are read."""
        until_s = time.monotonic() + PATIENCE_S
        while data and time.monotonic() < until_s:
            try:
                data = data[os.write(self._main, data[:4096]) :]
            except BlockingIOError:
                time.sleep(0.001)
        assert not data

    def read(self) -> bytes:
        """Return what was sent to it."""
        try:
            return os.read(self._main, 1000)
        except (BlockingIOError, OSError):
            return b""

    def play(self, lines: Iterable[bytes], fs: float, begin_s: float | None = None) -> None:
        """Send each line when it is due; what is due while nobody reads is lost."""
        begin_s = time.monotonic() if begin_s is None else begin_s
        for number, line in enumerate(lines):
            if (wait_s := begin_s + number / fs - time.monotonic()) > 0 and self.halted.wait(wait_s):
                return
            self.write(line)


@contextlib.contextmanager
def playing(device: Microcontroller, lines: Iterable[bytes], fs: float) -> Iterator[threading.Thread]:
    """Let a microcontroller send lines in a thread."""
    thread = threading.Thread(target=device.play, args=(lines, fs), daemon=True)
    thread.start()
    yield thread
    device.halted.set()
    thread.join(PATIENCE_S)


def record_numbers(name: str, seconds: float) -> NDArray[np.int64]:
    """Return (n,) int64: what the converter of an embedded record said of its first lead at 360 Hz, 200 to a mV."""
    x = read_record_samples(open_record(name), 0, round(seconds * 360))[:, 0]
    return np.rint(x * 200).astype(np.int64) + 1024
