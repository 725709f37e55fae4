"""A device under attack: `ecg-agent simulate record 208` as a process, and a subscriber that takes every packet."""

import contextlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import zmq

from agent.cli.device_process import find_free_endpoint
from agent.core.messages import Chunk
from agent.wire.packets import decode_frames
from agent.wire.requests import backfill_endpoint
from benchmarks.attack.hostile_device import AttackKeys
from benchmarks.attack.verdict import STRICT, AttackFigures, AttackLimits
from benchmarks.attack.watch import AttackScene, MemoryWatch, interrupt
from benchmarks.figures import ROOT
from model.errors import FrameError
from model.records.resample import FS

RECORD = "208"
WARM_S, SETTLED_S = 2.0, 4.0
"""Before the attack; and after it, by when the device has forgotten monitors that it would wait for at its end."""
STARTED_S = 60.0
UNDER_WAY_S = 0.3
"""What was due in this time before the end may still be on its way."""
MOST_SOCKETS = 5000
PACKET_SAMPLES = 5


class StrictSubscriber:
    """Notes when each packet came: `arrived_s[first sample]`, monotonic. `faults`: packets that were wrong."""

    def __init__(self, endpoint: str, keys: AttackKeys | None) -> None:
        self.arrived_s: dict[int, float] = {}
        self.faults: list[str] = []
        self.run = ""
        self._endpoint, self._keys = endpoint, keys
        self._next: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until_s = time.monotonic() + STARTED_S
        while not self.arrived_s:
            if time.monotonic() > until_s:
                raise SystemExit("the device sends nothing")
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        with context, context.socket(zmq.SUB) as subscriber:
            subscriber.set(zmq.LINGER, 0)
            subscriber.set(zmq.RCVHWM, 0)
            if self._keys is not None:
                self._keys.secure_client(subscriber)
            subscriber.subscribe(RECORD)
            subscriber.connect(self._endpoint)
            while not self._stop.is_set():
                if subscriber.poll(100):
                    self._note(subscriber.recv_multipart(), time.monotonic())

    def _note(self, frames: list[bytes], now_s: float) -> None:
        try:
            message = decode_frames(frames)
        except FrameError as error:
            self.faults.append(str(error))
            return
        if isinstance(message, Chunk):
            if self._next is not None and (message.run, message.first) != (self.run, self._next):
                self.faults.append(f"sample {message.first} after {self._next}")
            self.run, self._next = message.run, message.first + len(message.counts)
            self.arrived_s[message.first] = now_s


@dataclass(slots=True)
class DeviceScene(AttackScene):
    """What an attack on a device is given: its ports and run, and how long to go on."""

    endpoint: str
    run: str
    keys: AttackKeys | None
    context: "zmq.Context[zmq.Socket[bytes]]" = field(default_factory=zmq.Context)
    _sockets: "list[zmq.Socket[bytes]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set(zmq.MAX_SOCKETS, MOST_SOCKETS)

    def close(self) -> None:
        """Close all connections of the library."""
        for socket in self._sockets:
            socket.close(0)
        self.context.term()

    @property
    def channel(self) -> str:
        """The endpoint of the backfill channel."""
        return backfill_endpoint(self.endpoint, "")

    @property
    def ports(self) -> tuple[int, int]:
        """The ports of the stream and of the backfill channel."""
        port = int(self.endpoint.rpartition(":")[2])
        return port, port + 1

    def connect(self, kind: int, endpoint: str, identity: bytes = b"") -> "zmq.Socket[bytes]":
        """Return a socket of the library, with keys if the device asks for them. A SUB queues all that it wants."""
        socket = self.context.socket(kind)
        self._sockets.append(socket)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.SNDHWM, 0 if kind == zmq.SUB else 1000)
        if identity:
            socket.set(zmq.IDENTITY, identity)
        if self.keys is not None:
            self.keys.secure_client(socket)
        socket.connect(endpoint)
        return socket


@dataclass(frozen=True, slots=True)
class DeviceAttack:
    """A kind of attack on a device."""

    name: str
    begin: Callable[[DeviceScene], None]
    limits: AttackLimits = STRICT


class AttackedDevice:
    """A simulator as a process, and its strict subscriber."""

    def __init__(self, keys: AttackKeys | None) -> None:
        self._keys = keys
        self._endpoint = find_free_endpoint()
        options = keys.device_options() if keys is not None else ()
        command = [sys.executable, "-m", "agent", "simulate", "record", RECORD, "--loop", "--wait"]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the device
        self.process = subprocess.Popen(
            [*command, "--endpoint", self._endpoint, *options],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )
        self._subscriber = StrictSubscriber(self._endpoint, keys)

    def __enter__(self) -> Self:
        try:
            self._subscriber.__enter__()
        except BaseException:
            self.process.kill()
            raise
        time.sleep(WARM_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._subscriber.__exit__(None, None, None)
        self._said.close()

    def measure(self, attack: DeviceAttack, seconds: float) -> AttackFigures:
        """Attack for some seconds, look on for a while, and return the figures."""
        subscriber = self._subscriber
        scene = DeviceScene(self._endpoint, subscriber.run, self._keys, seconds=seconds)
        figures = AttackFigures(attack.name)
        faults = len(subscriber.faults)
        began_s, first = time.monotonic(), max(subscriber.arrived_s)
        thread = threading.Thread(target=_attack, args=(attack, scene, figures), daemon=True)
        with MemoryWatch(self.process.pid) as memory:
            thread.start()
            thread.join(seconds + 5.0)
            scene.end()
            thread.join(10.0)
            scene.close()
            time.sleep(SETTLED_S)
        figures.alive = self.process.poll() is None
        figures.exit_code = self.process.returncode or 0
        figures.said = self._read_said()
        figures.start_mb, figures.peak_mb, figures.end_mb = memory.start_mb, memory.peak_mb, memory.end_mb
        figures.notes += subscriber.faults[faults : faults + 3]
        figures.lines = figures.said.count("\n")
        self._count_packets(figures, first, began_s)
        return figures

    def finish(self, figures: AttackFigures) -> None:
        """End the device, and add what the end shows to the figures."""
        figures.exit_s = interrupt(self.process)
        figures.exit_code = self.process.returncode or 0
        figures.said = self._read_said()

    def _count_packets(self, figures: AttackFigures, first: int, began_s: float) -> None:
        arrived = dict(self._subscriber.arrived_s)
        due_s = time.monotonic() - UNDER_WAY_S - began_s
        due = range(first, first + round(due_s * FS), PACKET_SAMPLES)
        lag = {sample: at - sample / FS for sample, at in arrived.items()}
        usual_s = statistics.median(lag[sample] for sample in sorted(lag) if arrived[sample] <= began_s)
        during = [sample for sample in due if sample in arrived]
        figures.due, figures.shown = len(due), len(during)
        figures.delay_s = max((lag[sample] - usual_s for sample in during), default=due_s)
        moments = [began_s, *sorted(arrived[sample] for sample in during), began_s + due_s]
        figures.silence_s = max(b - a for a, b in itertools.pairwise(moments))

    def _read_said(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace")


def attack_device(attack: DeviceAttack, seconds: float, keys: AttackKeys | None = None) -> AttackFigures:
    """Run one attack against a device of its own, to its end."""
    with AttackedDevice(keys) as device:
        figures = device.measure(attack, seconds)
        if figures.alive:
            device.finish(figures)
    return figures


def _attack(attack: DeviceAttack, scene: DeviceScene, figures: AttackFigures) -> None:
    """Attack in a thread; a connection that the device breaks off ends the attack."""
    try:
        with contextlib.suppress(OSError, zmq.ZMQError):
            attack.begin(scene)
    except Exception as error:
        figures.notes.append(f"the attack itself failed: {error!r}")
