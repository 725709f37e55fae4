"""Bad days, one after the other: kills, stops, bad networks, a whole day. Real processes over TCP.

    python -m benchmarks.soak [--json results.json] [--quick] [--only kills,device,network,day]

What a monitor tells is compared with the beats of an analysis without any disturbance, bit for bit, and every sample is
accounted for. A figure that must be 0 and is not is an error of ours. `benchmarks.cable` cuts a real cable.
"""

import argparse
import itertools
import json
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import zmq
from rich.console import Console
from rich.table import Table

from agent import config as configuration
from agent.classify import load
from agent.commands import free_endpoint
from agent.messages import Beat, Chunk
from agent.pipeline import Ward
from agent.service import Fetch, Fetched, decode_reply, encode, service_endpoint
from agent.sessions import Session, counts
from benchmarks.processes import sample, simulator, start
from benchmarks.proxy import Faults, Proxy
from model.resample import FS
from simulator.replay import Plan, Replay

RECORD = "208"
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How much is tried: kills, seconds that a side is stopped, seconds of signal through a bad network, hours."""

    kills: int
    stop_s: float
    network_s: float
    hours: float


FULL, QUICK = Lengths(100, 30.0, 120.0, 24.0), Lengths(5, 6.0, 40.0, 0.5)


@dataclass(slots=True)
class Told:
    """What a monitor told as JSON lines."""

    beats: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    ledgers: list[dict[str, Any]] = field(default_factory=list)

    def open(self) -> int:
        """Samples that are neither analysed nor declared missing."""
        return sum(ledger["open"] for ledger in self.ledgers)

    def missing(self) -> int:
        return int(sum(ledger["missing"] for ledger in self.ledgers))


def told(lines: str) -> Told:
    """JSON lines by their kind; the last one may be torn by a kill."""
    found = Told()
    for line in lines.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        {"beat": found.beats, "event": found.events, "ledger": found.ledgers}[one["type"]].append(one)
    return found


def undisturbed(plan: Plan) -> list[tuple[int, str, tuple[float, ...]]]:
    """Sample, class and probabilities of every beat, as the monitor tells them."""
    settings = configuration.load(None, {})
    torch.set_num_threads(1)
    ward = Ward(settings, load(settings.monitor.weights, "cpu", 1))
    found = [one for message in Replay(plan, 40.0) for one in ward.push([message])]
    return [
        (one.sample, one.label, tuple(round(p, 4) for p in one.probabilities)) for one in found if isinstance(one, Beat)
    ]


def as_told(beats: list[dict[str, Any]]) -> list[tuple[int, str, tuple[float, ...]]]:
    return [(beat["sample"], beat["class"], tuple(beat["probabilities"].values())) for beat in beats]


def differences(beats: list[dict[str, Any]], reference: list[tuple[int, str, tuple[float, ...]]]) -> int:
    """Beats that only one of both has, or that are not the same to the last digit, or not in order."""
    mine = as_told(beats)
    return len(set(mine) ^ set(reference)) + abs(len(mine) - len(set(mine))) + (sorted(mine) != mine)


def plan(seconds: float) -> Plan:
    return Plan(RECORD, RECORD, 0.0, seconds, True, None, 6.0, 0)


def arguments(seconds: float, speed: str) -> tuple[str, ...]:
    return ("record", RECORD, "--loop", "--duration", str(seconds), "--speed", speed)


def position(endpoint: str) -> int:
    """The sample after the last that a device has sent of the bed, as its second socket says."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.connect(service_endpoint(endpoint, ""))
        socket.send(encode(Fetch(id=1, bed=RECORD, run="?", first=0, stop=1)))
        if not socket.poll(10_000):
            raise SystemExit("the simulator does not answer")
        said, _ = decode_reply(socket.recv_multipart())
    assert isinstance(said, Fetched)
    return said.next


def recorded(folder: Path) -> tuple[np.ndarray[Any, np.dtype[np.int32]], int]:
    """All counts of the bed on disk, and how many samples are missing between its segments."""
    with Session(folder) as session:
        segments = session.segments(RECORD)
        parts = [counts(segment, 0, segment.count) for segment in segments]
    missing = sum(b.first - a.first - a.count for a, b in itertools.pairwise(segments))
    return np.concatenate(parts), missing


def kills(lengths: Lengths) -> Figures:
    """The monitor is killed at random moments while it records, and started again each time."""
    chance, speed = random.Random(0), 10.0
    lost_s: list[float] = []
    unreadable = holes = 0
    seconds = 10.0 * lengths.kills * speed
    with tempfile.TemporaryDirectory() as root, simulator(*arguments(seconds, str(speed))) as source:
        folder, lines = Path(root) / "session", ""
        for _ in range(lengths.kills):
            monitor = start("--endpoint", source.endpoint, "--json", "--record", str(folder), out=subprocess.PIPE)
            assert monitor.stdout is not None
            first = monitor.stdout.readline()  # it has begun
            time.sleep(chance.uniform(0.0, 4.0))
            sent = position(source.endpoint)
            monitor.kill()
            lines += (first + monitor.communicate()[0]).decode(errors="replace")
            try:
                on_disk, missing = recorded(folder)
                holes += missing
                lost_s.append((sent - len(on_disk)) / FS / speed)
            except Exception as error:  # whatever it is, it is what this looks for
                print(f"not readable after a kill: {error}")
                unreadable += 1
        last = start("--endpoint", source.endpoint, "--json", "--record", str(folder), out=subprocess.PIPE)
        time.sleep(8.0)
        stop = position(source.endpoint)
        source.process.terminate()
        final = told(last.communicate(timeout=60)[0].decode() if not last.wait(60) else "")
        on_disk, missing = recorded(folder)
        truth = truth_of(len(on_disk))
        with Session(folder) as session:
            beats = [(beat.sample, beat.label) for beat in session.beats(RECORD)]
    reference = [(at, label) for at, label, _ in undisturbed(plan(len(on_disk) / FS))]
    return {
        "kills": lengths.kills,
        "not_readable": unreadable,
        "not_on_disk_s_median": float(np.median(lost_s)),
        "not_on_disk_s_most": max(lost_s),
        "recorded_s": len(on_disk) / FS,
        "not_recorded_at_the_end": max(0, stop - len(on_disk)),
        "missing_in_recording": holes + missing,
        "wrong_samples": int((on_disk != truth).any(axis=1).sum()),
        "ledger_open": final.open(),
        "beats_recorded": len(beats),
        "beats_twice": len(beats) - len({at for at, _ in beats}),
        "beats_undisturbed": len(reference),
        "beats_not_the_same": len(set(beats) ^ set(reference)),
    }


def truth_of(samples: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """What the simulator sends of the bed, in this process."""
    sent = [message.counts for message in Replay(plan(samples / FS), 40.0) if isinstance(message, Chunk)]
    return np.concatenate(sent)


def device(lengths: Lengths) -> Figures:
    """The device is killed and started again; each side is stopped for a while."""
    figures: Figures = {}
    seconds = 2 * lengths.stop_s + 20
    reference = undisturbed(plan(seconds))

    endpoint = free_endpoint()
    with simulator(*arguments(seconds, "1"), at=endpoint) as source:
        monitor = start("--endpoint", endpoint, "--json", "--until-end", out=subprocess.PIPE)
        _until_line(monitor)
        time.sleep(10)
        source.process.kill()
        time.sleep(5)
    with simulator(*arguments(seconds, "1"), at=endpoint):
        found = told(monitor.communicate(timeout=seconds + 60)[0].decode())
    begin = [i for i, beat in enumerate(found.beats[1:], 1) if beat["sample"] < found.beats[i - 1]["sample"]]
    figures["device_killed_open"] = found.open()
    figures["device_killed_missing"] = found.missing()
    figures["device_killed_other_beats_after"] = differences(found.beats[begin[0] :], reference)
    figures["device_killed_noticed_s"] = _lost_after_s(found)

    for side in ("simulator", "monitor"):
        with simulator(*arguments(seconds, "1")) as source:
            monitor = start("--endpoint", source.endpoint, "--json", "--until-end", out=subprocess.PIPE)
            first = _until_line(monitor)
            time.sleep(5)
            stopped = source.process if side == "simulator" else psutil.Process(monitor.pid)
            stopped.send_signal(signal.SIGSTOP)
            time.sleep(lengths.stop_s)
            stopped.send_signal(signal.SIGCONT)
            found = told(first + monitor.communicate(timeout=seconds + 120)[0].decode())
        figures[f"{side}_stopped_open"] = found.open()
        figures[f"{side}_stopped_missing"] = found.missing()
        figures[f"{side}_stopped_other_beats"] = differences(found.beats, reference)
    return figures


def _until_line(monitor: "subprocess.Popen[bytes]") -> str:
    """The first line of a monitor: it is under way."""
    assert monitor.stdout is not None
    return monitor.stdout.readline().decode()


def _lost_after_s(found: Told) -> float:
    """How many times the link was said to be lost: each within `monitor.lost_s` of the last packet."""
    return sum(event["kind"] == "link" and "no packets" in event["text"] for event in found.events)


NETWORKS = {
    "loss_1": Faults(loss=0.01),
    "loss_10": Faults(loss=0.1),
    "loss_30": Faults(loss=0.3),
    "twice": Faults(twice=0.5),
    "jitter_200_ms": Faults(jittered=0.5, jitter_s=0.2),
    "all": Faults(loss=0.1, twice=0.2, jittered=0.3, jitter_s=0.2),
}


def network(lengths: Lengths) -> Figures:
    """Packets lost, repeated and out of order on the way."""
    figures: Figures = {}
    reference = undisturbed(plan(lengths.network_s))
    for name, faults in NETWORKS.items():
        with simulator(*arguments(lengths.network_s, "4"), "--wait") as source:
            endpoint = free_endpoint()
            with Proxy(source.endpoint, endpoint, faults) as proxy:
                monitor = start("--endpoint", endpoint, "--json", "--until-end", out=subprocess.PIPE)
                found = told(monitor.communicate(timeout=lengths.network_s + 120)[0].decode())
                harmed = proxy.lost + proxy.repeated + proxy.delayed
        figures |= {
            f"{name}_packets_harmed": harmed,
            f"{name}_open": found.open(),
            f"{name}_missing": found.missing(),
            f"{name}_other_beats": differences(found.beats, reference),
        }
    return figures


def day(lengths: Lengths) -> Figures:
    """A day of signal at full speed, recorded: memory, samples, beats."""
    seconds = 3600 * lengths.hours
    with tempfile.TemporaryDirectory() as root, simulator(*arguments(seconds, "max"), "--wait") as source:
        folder = Path(root) / "session"
        lines = (Path(root) / "lines").open("w+b")
        began = time.monotonic()
        options = ("--endpoint", source.endpoint, "--json", "--until-end", "--record", str(folder))
        monitor = start(*options, out=lines)
        seen, rss = psutil.Process(monitor.pid), list[float]()
        while monitor.poll() is None:
            rss.append(sample(seen).rss_mb)
            time.sleep(0.5)
        wall_s = time.monotonic() - began
        lines.seek(0)
        found = told(lines.read().decode())
        lines.close()
        with Session(folder) as session:
            on_disk = sum(segment.count for segment in session.segments(RECORD))
    steady = [one for one in rss[len(rss) // 10 :] if one]
    return {
        "hours": lengths.hours,
        "wall_s": wall_s,
        "samples_sent": seconds * FS,
        "ledger_sent": sum(ledger["sent"] for ledger in found.ledgers),
        "ledger_missing": found.missing(),
        "ledger_open": found.open(),
        "recorded": on_disk,
        "beats": len(found.beats),
        "rss_at_10_percent_mb": steady[0],
        "rss_at_the_end_mb": steady[-1],
        "rss_change_percent": 100 * (steady[-1] / steady[0] - 1),
        "rss_most_mb": max(steady),
    }


MUST_BE_0 = ("open", "missing", "other_beats", "wrong_samples", "not_readable", "twice")
PARTS: dict[str, Callable[[Lengths], Figures]] = {"kills": kills, "device": device, "network": network, "day": day}


def report(part: str, figures: Figures) -> Table:
    """A part's figures, and those that must be 0 and are not."""
    made = Table("figure", "value", "", title=part, title_justify="left")
    for key, value in figures.items():
        wrong = value != 0 and any(key.endswith(f"_{word}") or key == word for word in MUST_BE_0)
        made.add_row(key, f"{value:,.2f}".removesuffix(".00"), "NOT 0" if wrong else "")
    return made


def main() -> None:
    """Go through the parts and print each as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    options = parser.parse_args()
    results = {}
    for part in options.only.split(","):
        results[part] = PARTS[part](QUICK if options.quick else FULL)
        Console().print(report(part, results[part]))
        if options.json:
            options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
