"""Bad days, one after the other: kills, stops, bad networks, a whole day. Real processes over TCP.

    python -m benchmarks.soak [--json results.json] [--quick] [--only kills,device,network,day]

Compares the beats that a monitor writes with those of an undisturbed analysis, bit for bit, and accounts for every
sample. A figure marked "NOT 0" is an error of ours. `benchmarks.cable` cuts a real cable.
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
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from agent.analysis.beat_classifier import load_beat_classifier
from agent.cli.device_process import find_free_endpoint
from agent.core import config as configuration
from agent.core.messages import Beat, Chunk
from agent.pipeline.pipeline import Pipeline
from agent.recording.recorded_segments import read_segment_counts
from agent.recording.sessions import RecordedSession
from benchmarks.figures import write_figures
from benchmarks.processes import PATIENCE_S, Reader, sample, simulator, start
from benchmarks.proxy import Faults, Proxy
from model.records.resample import FS
from simulator.record_replay import RecordReplay, ReplayPlan

RECORD = "208"
Figures = dict[str, float]
BeatKey = tuple[int, str, tuple[float, ...]]
"""Sample, class and probabilities of a beat."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How much is tried: kills, seconds that a side is stopped, seconds of signal through a bad network, hours."""

    kills: int
    stop_s: float
    network_s: float
    hours: float


FULL, QUICK = Lengths(100, 30.0, 120.0, 24.0), Lengths(30, 6.0, 40.0, 0.5)


@dataclass(slots=True)
class MonitorOutput:
    """The JSON lines of a monitor, by their type."""

    beats: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    ledgers: list[dict[str, Any]] = field(default_factory=list)

    def open(self) -> int:
        """Samples that are neither analysed nor declared missing."""
        return sum(ledger["open"] for ledger in self.ledgers)

    def analysed(self) -> int:
        """The sample after the last one on which a beat was decided."""
        decided = (beat["sample"] + round(beat["algorithmic_ms"] * FS / 1000) + 1 for beat in self.beats)
        return max(decided, default=0)

    def end(self) -> int:
        """Where the run ended."""
        return max((event["sample"] for event in self.events if event["kind"] == "end"), default=0)

    def missing(self) -> int:
        """Samples that were declared missing."""
        return int(sum(ledger["missing"] for ledger in self.ledgers))


def parse_lines(lines: str) -> MonitorOutput:
    """Sort JSON lines by their type; a kill may have cut the last one short."""
    output = MonitorOutput()
    kinds = {"beat": output.beats, "event": output.events, "alarm": output.alarms, "ledger": output.ledgers}
    for line in lines.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        kinds[fields["type"]].append(fields)
    return output


@cache
def undisturbed(plan: ReplayPlan) -> list[BeatKey]:
    """Return sample, class and probabilities of every beat, as the monitor writes them, without any disturbance."""
    settings = configuration.load_config(None, {})
    torch.set_num_threads(1)
    ward = Pipeline(settings, load_beat_classifier(settings.monitor.weights, "cpu", 1))
    results = [result for message in RecordReplay(plan, 40.0) for result in ward.push([message])]
    beats = [result for result in results if isinstance(result, Beat)]
    return [(beat.sample, beat.label, tuple(round(p, 4) for p in beat.probabilities)) for beat in beats]


def count_differences(beats: list[dict[str, Any]], reference: list[BeatKey]) -> int:
    """Count the beats that only one of both has, that differ in any digit, or that are out of order."""
    written = [(beat["sample"], beat["class"], tuple(beat["probabilities"].values())) for beat in beats]
    repeated = len(written) - len(set(written))
    return len(set(written) ^ set(reference)) + repeated + (sorted(written) != written)


def plan(seconds: float) -> ReplayPlan:
    return ReplayPlan(RECORD, RECORD, 0.0, seconds, True, None, 6.0, 0)


def arguments(seconds: float, speed: str) -> tuple[str, ...]:
    return ("record", RECORD, "--loop", "--duration", str(seconds), "--speed", speed)


def recorded(folder: Path) -> tuple[np.ndarray[Any, np.dtype[np.int32]], int]:
    """All counts of the bed on disk, none if it was killed too soon; how many samples are missing between segments."""
    with RecordedSession(folder) as session:
        segments = session.segments(RECORD)
        parts = [read_segment_counts(segment, 0, segment.count) for segment in segments]
    missing = sum(b.first - a.first - a.count for a, b in itertools.pairwise(segments))
    return np.concatenate(parts) if parts else np.empty((0, 1), np.int32), missing


def kills(lengths: Lengths, speed: float = 10.0) -> Figures:
    """The monitor is killed at random moments while it records, and started again each time."""
    chance = random.Random(0)
    lost: list[int] = []
    unreadable = holes = 0
    with tempfile.TemporaryDirectory() as root, simulator(*arguments(1e6, str(speed)), "--wait") as source:
        folder = Path(root) / "session"
        options = ("--endpoint", source.endpoint, "--json", "--record", str(folder))
        for _ in range(lengths.kills):
            monitor = start(*options, out=subprocess.PIPE)
            reader = Reader(monitor)
            reader.wait("{")  # it is under way
            time.sleep(chance.uniform(0.0, 4.0))
            monitor.kill()
            killed_s = time.monotonic()
            reader.all(PATIENCE_S)
            before_s = killed_s - 1.0
            analysed = parse_lines("".join(line for at, line in reader.lines if at < before_s)).analysed()
            try:
                on_disk, missing = recorded(folder)
                holes += missing
                lost.append(max(0, analysed - len(on_disk)))
            except Exception as error:  # this benchmark looks for whatever may come here
                print(f"not readable after a kill: {error}")
                unreadable += 1
        reader = Reader(start(*options, "--until-end", out=subprocess.PIPE))
        reader.wait('"beat"')
        source.process.terminate()
        final = parse_lines(reader.all(PATIENCE_S))
        on_disk, missing = recorded(folder)
        with RecordedSession(folder) as session:
            beats = [(beat.sample, beat.label) for beat in session.beats(RECORD)]
    reference = [(at, label) for at, label, _ in undisturbed(plan(len(on_disk) / FS))]
    return {
        "kills": lengths.kills,
        "not_readable": unreadable,
        "written_a_second_before_but_not_on_disk": max(lost),
        "recorded_s": len(on_disk) / FS,
        "not_recorded": max(0, final.end() - len(on_disk)),
        "holes_missing": holes + missing,
        "wrong_samples": int((on_disk != truth_of(len(on_disk))).any(axis=1).sum()),
        "ledger_open": final.open(),
        "ledger_missing": final.missing(),
        "beats": len(beats),
        "beats_twice": len(beats) - len({at for at, _ in beats}),
        "beats_undisturbed": len(reference),
        "beats_at_other_places": len({at for at, _ in beats} ^ {at for at, _ in reference}),
        "beats_of_another_class": len(set(beats) - set(reference)),
    }


def truth_of(samples: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """What the simulator sends of the bed, in this process."""
    sent = [message.counts for message in RecordReplay(plan(samples / FS), 40.0) if isinstance(message, Chunk)]
    return np.concatenate(sent)


def device(lengths: Lengths) -> Figures:
    """The device is killed and started again; each side is stopped for a while."""
    figures = {f"killed_{key}": value for key, value in device_killed(2 * lengths.stop_s).items()}
    for side in ("simulator", "monitor"):
        figures |= {f"{side}_{key}": value for key, value in side_stopped(side, lengths.stop_s).items()}
    return figures


def device_killed(seconds: float, speed: float = 1.0) -> Figures:
    """The device is killed in the middle of `seconds` of signal, and a new one sends them all."""
    endpoint = find_free_endpoint()
    with simulator(*arguments(seconds, str(speed)), "--wait", at=endpoint) as source:
        reader = Reader(start("--endpoint", endpoint, "--json", "--until-end", out=subprocess.PIPE))
        reader.wait('"beat"')
        source.process.kill()
        killed_s = time.monotonic()
        reader.wait("no packets from")
        noticed_s = time.monotonic() - killed_s
    with simulator(*arguments(seconds, str(speed)), at=endpoint):
        results = parse_lines(reader.all(seconds + PATIENCE_S))
    samples = [beat["sample"] for beat in results.beats]
    restart = next(i for i in range(1, len(samples)) if samples[i] < samples[i - 1])
    return {
        "noticed_s": noticed_s,
        "open": results.open(),
        "missing": results.missing(),
        "other_beats": count_differences(results.beats[restart:], undisturbed(plan(seconds))),
    }


def side_stopped(side: str, stop_s: float, speed: float = 1.0) -> Figures:
    """Simulator or monitor is stopped (SIGSTOP) for half the time that the signal takes, and goes on."""
    seconds = 2 * stop_s * speed
    with simulator(*arguments(seconds, str(speed)), "--wait") as source:
        monitor = start("--endpoint", source.endpoint, "--json", "--until-end", out=subprocess.PIPE)
        reader = Reader(monitor)
        reader.wait('"beat"')
        stopped = source.process if side == "simulator" else psutil.Process(monitor.pid)
        stopped.send_signal(signal.SIGSTOP)
        time.sleep(stop_s)
        stopped.send_signal(signal.SIGCONT)
        results = parse_lines(reader.all(seconds + PATIENCE_S))
    return {
        "stopped_s": stop_s,
        "open": results.open(),
        "missing": results.missing(),
        "other_beats": count_differences(results.beats, undisturbed(plan(seconds))),
    }


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
    return {
        f"{name}_{key}": value for name in NETWORKS for key, value in through(NETWORKS[name], lengths.network_s).items()
    }


def through(faults: Faults, seconds: float, speed: float = 4.0) -> Figures:
    """A monitor at the other end of a bad network."""
    with simulator(*arguments(seconds, str(speed)), "--wait") as source:
        endpoint = find_free_endpoint()
        with Proxy(source.endpoint, endpoint, faults) as proxy:
            reader = Reader(start("--endpoint", endpoint, "--json", "--until-end", out=subprocess.PIPE))
            results = parse_lines(reader.all(seconds + PATIENCE_S))
            harmed = proxy.lost + proxy.repeated + proxy.delayed
    return {
        "packets_harmed": harmed,
        "open": results.open(),
        "missing": results.missing(),
        "other_beats": count_differences(results.beats, undisturbed(plan(seconds))),
    }


def day(lengths: Lengths) -> Figures:
    """A day of signal at full speed, recorded: memory, samples, beats."""
    seconds = 3600 * lengths.hours
    with tempfile.TemporaryDirectory() as root, simulator(*arguments(seconds, "max"), "--wait") as source:
        folder = Path(root) / "session"
        lines = (Path(root) / "lines").open("w+b")
        began = time.monotonic()
        options = ("--endpoint", source.endpoint, "--json", "--until-end", "--record", str(folder))
        rss: list[float] = []
        with start(*options, out=lines) as monitor:
            seen = psutil.Process(monitor.pid)
            while monitor.poll() is None:
                rss.append(sample(seen).rss_mb)
                time.sleep(0.5)
        wall_s = time.monotonic() - began
        lines.seek(0)
        output = parse_lines(lines.read().decode())
        lines.close()
        with RecordedSession(folder) as session:
            on_disk = sum(segment.count for segment in session.segments(RECORD))
    steady = [megabytes for megabytes in rss[len(rss) // 10 :] if megabytes]
    return {
        "hours": lengths.hours,
        "wall_s": wall_s,
        "samples_sent": seconds * FS,
        "ledger_sent": sum(ledger["sent"] for ledger in output.ledgers),
        "ledger_missing": output.missing(),
        "ledger_open": output.open(),
        "recorded": on_disk,
        "beats": len(output.beats),
        "rss_at_10_percent_mb": steady[0],
        "rss_at_the_end_mb": steady[-1],
        "rss_change_percent": 100 * (steady[-1] / steady[0] - 1),
        "rss_most_mb": max(steady),
    }


MUST_BE_0 = {
    "open",
    "missing",
    "other_beats",
    "wrong_samples",
    "not_readable",
    "not_recorded",
    "beats_twice",
    "not_on_disk",
}
PARTS: dict[str, Callable[[Lengths], Figures]] = {"kills": kills, "device": device, "network": network, "day": day}


def wrong(figures: Figures) -> dict[str, float]:
    """Those figures that must be 0 and are not."""
    return {key: value for key, value in figures.items() if value and any(key.endswith(word) for word in MUST_BE_0)}


def report(part: str, figures: Figures) -> Table:
    """A part's figures, and those that must be 0 and are not."""
    rows = Table("figure", "value", "", title=part, title_justify="left")
    wrongs = wrong(figures)
    for key, value in figures.items():
        rows.add_row(key, f"{value:,.2f}".removesuffix(".00"), "NOT 0" if key in wrongs else "")
    return rows


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
            write_figures(options.json, results)


if __name__ == "__main__":
    main()
