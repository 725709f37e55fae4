"""A monitor under attack: `ecg-agent monitor --json` as a process, and a hostile device with one good bed."""

import contextlib
import itertools
import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from agent.cli.device_process import find_free_endpoint
from benchmarks.attack.frame_proxy import FrameProxy
from benchmarks.attack.hostile_device import GOOD, GOOD_RUN, AttackKeys, HostileDevice
from benchmarks.attack.packet_forms import BEAT_SAMPLES, R_AT, Frames
from benchmarks.attack.verdict import STRICT, AttackFigures, AttackLimits
from benchmarks.attack.watch import AttackScene, MemoryWatch, interrupt
from benchmarks.processes import Reader, start
from model.records.resample import FS

WARM_S = 4.0
"""Signal of the good bed before the attack, in which its delay without one is measured."""
SETTLED_S = 3.0
"""What goes on after the attack is looked at for so long."""
END_TOLD_S = 0.7
"""After the end of the good bed, and before Ctrl-C."""
UNDECIDED_S = 1.5
"""A beat this close to the end of the signal may not be decided yet."""
LAST_BEATS = 3
"""By these it is seen whether beats come in time again."""
NEAR_SAMPLES = 6
"""A beat is shown that is this close to its R peak."""
ASKED = "asked"
"""The bed of which an attack lets the monitor ask for samples."""
Line = dict[str, Any]


@dataclass(slots=True)
class MonitorScene(AttackScene):
    """What an attack is given: the device, how long to go on, and the proxies if the attack needs them."""

    device: HostileDevice
    proxies: Sequence[FrameProxy] = ()

    def send_for_ever(self, make: Callable[[int], Frames], pause_s: float = 0.0) -> None:
        """Send as many messages as the monitor takes until the time is over."""
        for n in self.until_over():
            if not self.device.send(make(n), 1.0):
                return
            if pause_s:
                self.pause(pause_s)


@dataclass(frozen=True, slots=True)
class MonitorAttack:
    """A kind of attack on a monitor.

    `proxied`: the connections go through proxies. `interrupts`: Ctrl-C comes in the middle of it. `in_the_clear`: it
    makes no sense with keys. `refuses`: the proxies take no connection any more when the monitor is to end.
    `fetched`: samples of the bed that it lets the monitor ask for, all of which must be analysed.
    """

    name: str
    begin: Callable[[MonitorScene], None]
    limits: AttackLimits = STRICT
    proxied: bool = False
    interrupts: bool = False
    in_the_clear: bool = False
    refuses: bool = False
    fetched: int = 0
    settled_s: float = SETTLED_S


class AttackedMonitor:
    """A monitor, its device, and what the monitor has written so far."""

    def __init__(self, keys: AttackKeys | None, proxied: bool) -> None:
        self._stack = contextlib.ExitStack()
        self.device = self._stack.enter_context(HostileDevice(keys))
        self.proxies: list[FrameProxy] = []
        endpoint = self.device.endpoint
        if proxied:
            endpoint = find_free_endpoint()
            ours, theirs = _port(endpoint), _port(self.device.endpoint)
            self.proxies = [self._stack.enter_context(FrameProxy(ours + i, theirs + i)) for i in range(2)]
        options = keys.monitor_options() if keys is not None else ()
        self.process = start("--endpoint", endpoint, "--json", *options, out=subprocess.PIPE)
        self._reader = Reader(self.process)
        self._parsed: list[tuple[float, Line]] = []
        self._read = 0
        self._usual_s = 0.0
        """The median delay without an attack."""

    def __enter__(self) -> Self:
        try:
            self.device.begin()
            time.sleep(WARM_S)
            self._usual_s = statistics.median(self._delays_s(0.0) or [0.0])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._reader.all(10.0)
        self._stack.close()

    def measure(self, attack: MonitorAttack, seconds: float) -> AttackFigures:
        """Attack for some seconds, look on for a while, and return the figures."""
        scene = MonitorScene(self.device, self.proxies, seconds=seconds)
        figures = AttackFigures(attack.name)
        began_s, first = time.monotonic(), self.device.good_stop
        thread = threading.Thread(target=_attack, args=(attack, scene, figures), daemon=True)
        with MemoryWatch(self.process.pid) as memory:
            thread.start()
            thread.join(seconds / 2 if attack.interrupts else seconds + 5.0)
            if attack.interrupts:
                self._end(figures)
            scene.end()
            thread.join(10.0)
            if not attack.interrupts:
                time.sleep(attack.settled_s)
        figures.alive = attack.interrupts or self.process.poll() is None
        figures.start_mb, figures.peak_mb, figures.end_mb = memory.start_mb, memory.peak_mb, memory.end_mb
        if thread.is_alive():
            figures.notes.append("the attack itself hangs")
        self._count_beats(figures, first, self.device.good_stop - round(UNDECIDED_S * FS), began_s)
        told = [line for at, line in self._lines() if at > began_s and line["type"] in ("event", "alarm")]
        figures.lines = len(told)
        return figures

    def finish(self, attack: MonitorAttack, figures: AttackFigures) -> None:
        """End the good bed and the monitor, and add what the end shows to the figures."""
        if not attack.interrupts:
            self.device.end_good()
            time.sleep(END_TOLD_S)
            if attack.refuses:
                for proxy in self.proxies:
                    proxy.refuse()
            self._end(figures)
        ledgers = [line for _, line in self._lines() if line["type"] == "ledger"]
        figures.open = sum(abs(line["sent"] - line["analysed"] - line["missing"]) for line in ledgers)
        good = next((line["sent"] for line in ledgers if line["bed"] == GOOD), 0)
        figures.sent_wrong = good - self.device.good_stop
        if not ledgers:
            figures.notes.append("no ledger")
        fetched = sum(line["analysed"] for line in ledgers if line["bed"] == ASKED)
        if attack.fetched and fetched != attack.fetched:
            figures.notes.append(f"{fetched} of {attack.fetched} samples fetched")

    def _end(self, figures: AttackFigures) -> None:
        figures.exit_s = interrupt(self.process)
        figures.exit_code = self.process.returncode or 0
        assert self.process.stderr is not None
        figures.said = self.process.stderr.read().decode(errors="replace").strip()
        self._reader.join()

    def _count_beats(self, figures: AttackFigures, first: int, stop: int, began_s: float) -> None:
        """Compare the beats of the good bed with its R peaks from sample `first` to `stop`."""
        due = range(first + (R_AT - first) % BEAT_SAMPLES, stop, BEAT_SAMPLES)
        beats = [(at, line) for at, line in self._lines() if line["type"] == "beat" and line["bed"] == GOOD]
        near = [line["sample"] for _, line in beats if due.start - BEAT_SAMPLES // 2 <= line["sample"] < stop]
        hit = {peak for peak in due for sample in near if abs(sample - peak) <= NEAR_SAMPLES}
        figures.due, figures.shown, figures.extra = len(due), len(hit), len(near) - len(hit)
        later = [delay_s - self._usual_s for delay_s in self._delays_s(began_s)]
        moments = [began_s, *(at for at, _ in beats if at > began_s), self._last_s(began_s)]
        figures.silence_s = max(b - a for a, b in itertools.pairwise(moments))
        figures.delay_s = max(later, default=figures.silence_s)
        figures.last_delay_s = max(later[-LAST_BEATS:], default=figures.silence_s)

    def _last_s(self, began_s: float) -> float:
        """Return when the last packet of the good bed that must be decided was ready."""
        ready_s = self.device.ready_s(max(0, self.device.good_stop - round(UNDECIDED_S * FS)))
        return max(began_s, ready_s or 0.0)

    def _delays_s(self, since_s: float) -> list[float]:
        """Return, for each beat shown, the seconds from the sending of the sample that decided it to its line."""
        delays = []
        for at, line in self._lines():
            if at > since_s and line["type"] == "beat" and line["bed"] == GOOD and line["run"] == GOOD_RUN:
                decided = line["sample"] + round(line["algorithmic_ms"] * FS / 1000)
                ready_s = self.device.ready_s(min(decided, self.device.good_stop - 1))
                if ready_s is not None:
                    delays.append(at - ready_s)
        return delays

    def _lines(self) -> list[tuple[float, Line]]:
        lines = self._reader.lines
        for at, line in lines[self._read : len(lines)]:
            with contextlib.suppress(ValueError):  # cut short by a kill
                self._parsed.append((at, json.loads(line)))
            self._read += 1
        return self._parsed


def attack_monitor(attack: MonitorAttack, seconds: float, keys: AttackKeys | None = None) -> AttackFigures:
    """Run one attack against a monitor of its own, to its end."""
    with AttackedMonitor(keys, attack.proxied) as monitor:
        figures = monitor.measure(attack, seconds)
        monitor.finish(attack, figures)
    return figures


def _attack(attack: MonitorAttack, scene: MonitorScene, figures: AttackFigures) -> None:
    """Attack in a thread, and note what went wrong with the attack itself."""
    try:
        attack.begin(scene)
    except Exception as error:
        figures.notes.append(f"the attack itself failed: {error!r}")


def _port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])
