"""Sources of a bridge that go away and come back, again and again: how soon they are heard, and what is lost.

    python -m benchmarks.bridge_faults [--times 20] [--only lsl,polar,serial,mqtt] [--json results.json]

Record 100 is sent in real time through a bridge to a monitor by an LSL outlet that is killed and started again, a
virtual Polar H10 that goes out of range (it and its mock of Bluetooth are killed and started again), a microcontroller
whose cable is pulled and put in again, and an MQTT broker that restarts. Measured: from when the source is there again
until a new sample is at the monitor, the samples that were declared lost, the samples that are not accounted for, and
beats where none was sent.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agent.analysis.beat_classifier import load_beat_classifier
from agent.bridge.open_source import open_source
from agent.bridge.source_options import CountSize, SourceOptions
from benchmarks.figures import write_figures

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the outlet and the strap are those of the tests
if TYPE_CHECKING:
    from support.streamed import BridgedRun

RECORD = "100"
WHOLE_S, AWAY_S = 8.0, 1.0
"""How long the source is there, and not there, each time."""
LOWEST_QRS_UV = 700.0
Figures = dict[str, Any]


class FaultTimes:
    """When the source was there again, and when it was heard."""

    def __init__(self, times: int, leave: Callable[[], None], come_back: Callable[[], None]) -> None:
        self._times, self._leave, self._come_back = times, leave, come_back
        self._back_s: list[float] = []
        self._heard: list[tuple[float, int]] = []
        self._over_s = np.inf

    def pull(self) -> None:
        """Take the source away and bring it back, `times` times."""
        for _ in range(self._times):
            time.sleep(WHOLE_S)
            self._leave()
            time.sleep(AWAY_S)
            self._back_s.append(time.monotonic())
            self._come_back()
        self._over_s = time.monotonic() + WHOLE_S

    def is_over(self, run: "BridgedRun") -> bool:
        """Note what has been heard by now; return whether all is over."""
        self._heard.append((time.monotonic(), run.ledger.sent))
        return time.monotonic() > self._over_s

    def delays_s(self) -> list[float]:
        """Return for each fault the seconds until the monitor heard something new."""
        at_s, sent = np.array(self._heard).T
        news_s = at_s[1:][np.diff(sent) > 0]
        return [
            float(news_s[news_s > back_s][0] - back_s) if (news_s > back_s).any() else np.inf for back_s in self._back_s
        ]


def measure(
    source: str,
    signal: NDArray[np.int32],
    fs: float,
    gain: float,
    faults: FaultTimes,
    times: int,
    unit: CountSize | None = None,
) -> Figures:
    """Bridge a source whose first lead is `signal` (n,) at `fs` hertz, with `gain` counts a microvolt."""
    from support.streamed import bridge_to_monitor, count_false_beats

    seconds = (times + 2) * (WHOLE_S + AWAY_S + 5.0)
    classifier = load_beat_classifier("live", "cpu", 1)
    sensor = open_source(source, SourceOptions(fs=fs, unit=unit))
    run = bridge_to_monitor(sensor, classifier, faults.is_over, faults.pull, seconds)
    if run.error or run.status is None:
        raise SystemExit(f"the bridge ended: {run.error}")
    delays_s = faults.delays_s()
    return {
        "source": source.partition(":")[0],
        "times": times,
        "interruptions_seen": run.status.interruptions,
        "back_after_s_median": float(np.median(delays_s)),
        "back_after_s_longest": max(delays_s),
        "runs": len(run.runs()),
        "samples_sent": run.status.samples,
        "declared_lost": run.status.lost,
        "open": run.ledger.open,
        "beats": sum(len(run.beats(one)) for one in run.runs()),
        "false_beats": count_false_beats(run, signal, fs, LOWEST_QRS_UV * gain),
    }


def kill_outlets(times: int, folder: Path) -> Figures:
    """An LSL outlet that is killed and started again."""
    from support.lsl_outlet import OutletPlan, start_outlet, stay_on_loopback
    from support.streamed import record_at

    stay_on_loopback(folder)
    microvolts = record_at(RECORD, 60.0 + times * (WHOLE_S + AWAY_S + 5.0), 250)
    plan = OutletPlan(name="faults", source_id="faults", labels=("MLII", "V5"), began_s=time.time())
    outlets = [start_outlet(folder, microvolts, plan)]

    def leave() -> None:
        outlets[-1].kill()
        outlets[-1].wait()

    faults = FaultTimes(times, leave, lambda: outlets.append(start_outlet(folder, microvolts, plan)))
    try:
        return measure("lsl:faults", np.rint(microvolts[:, 0] * 10).astype(np.int32), 250.0, 10.0, faults, times)
    finally:
        leave()


def leave_range(times: int, folder: Path) -> Figures:
    """A strap that goes out of range and comes back."""
    from support.streamed import record_at
    from support.virtual_h10 import StrapPlan, VirtualBluetooth, find_missing_program

    if reason := find_missing_program():
        raise SystemExit(reason)
    microvolts = np.rint(record_at(RECORD, 60.0 + times * (WHOLE_S + AWAY_S + 5.0), 130)[:, 0]).astype(np.int32)
    with VirtualBluetooth(folder, microvolts, StrapPlan(began_s=time.monotonic())) as bluetooth:
        bluetooth.start()
        faults = FaultTimes(times, bluetooth.stop, bluetooth.start)
        return measure("polar:?adapter=hci0", microvolts, 130.0, 1.0, faults, times)


def pull_cables(times: int, folder: Path) -> Figures:
    """A microcontroller whose cable is pulled and put in again."""
    from support.bridged import Microcontroller, playing, record_numbers

    numbers = record_numbers(RECORD, 60.0 + times * (WHOLE_S + AWAY_S + 5.0)).astype(np.int32)
    device = Microcontroller(folder / "port")
    faults = FaultTimes(times, device.pull, device.plug)
    try:
        with playing(device, [b"%d\r\n" % number for number in numbers], 360.0):
            return measure(f"serial:{device.path}", numbers, 360.0, 0.2, faults, times, CountSize("uV", 5.0))
    finally:
        device.pull()


def restart_brokers(times: int, folder: Path) -> Figures:
    """An MQTT broker that restarts; what is due meanwhile is lost."""
    from support.broker import MOSQUITTO, NO_BROKER, Broker, publishing
    from support.streamed import record_at

    if MOSQUITTO is None:
        raise SystemExit(NO_BROKER)
    microvolts = np.rint(record_at(RECORD, 60.0 + times * (WHOLE_S + AWAY_S + 5.0), 250)[:, 0]).astype(np.int32)
    broker = Broker(folder / "broker")
    broker.start()
    faults = FaultTimes(times, broker.stop, broker.start)
    try:
        with publishing(broker.port, "bed", [b"%d" % value for value in microvolts], 250.0):
            address = f"mqtt://127.0.0.1:{broker.port}/bed"
            return measure(address, microvolts, 250.0, 1.0, faults, times, CountSize("uV", 1.0))
    finally:
        broker.stop()


KINDS = {"lsl": kill_outlets, "polar": leave_range, "serial": pull_cables, "mqtt": restart_brokers}


def main() -> None:
    """Take each source away many times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="how often each source goes away")
    parser.add_argument("--only", default=",".join(KINDS), help="the sources, such as lsl")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    options = parser.parse_args()
    results = []
    for kind in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            results.append(KINDS[kind](options.times, Path(folder)))
        print("\n".join(f"{key:24}{value:>12}" for key, value in results[-1].items()), end="\n\n", flush=True)
    if options.json:
        write_figures(options.json, results)


if __name__ == "__main__":
    main()
