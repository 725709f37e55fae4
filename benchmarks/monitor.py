"""What the whole program costs and how soon it shows a beat, measured from outside on real processes over TCP.

    python -m benchmarks.monitor [--json results.json] [--quick] [--only latency,ward]

Simulator and monitor run on this machine, the dashboard in a real pseudo-terminal of 120 x 36. Latency is what the
monitor reports at its end (packet received to beat shown) and, for JSON lines, also what a second subscriber and the
reader of the lines see (packet sent to line read, everything included). CPU is user and system time of all threads.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import IO

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from agent.wire.curve_security import create_key_pair
from benchmarks.figures import write_figures
from benchmarks.processes import Run, Tap, core_percent, follow, sample, simulator, start, terminal
from model.records.resample import FS

BEDS = 64
RECORD = "208"
WARM_S = 8.0
"""From the start of a monitor until its CPU share is measured: imports, net and learning are over."""
HOUR_S = 3600
PEER = "import typer, rich.console"
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How much is measured: seconds of real time, seconds of signal of a bed at full speed, and repetitions."""

    real_time_s: float
    one_bed_s: float
    ward_s: float
    times: int


FULL, QUICK = Lengths(60, HOUR_S, 600, 5), Lengths(20, 900, 60, 2)
REACH = {
    "latency.dashboard_p50_ms": 15.0,
    "latency.dashboard_p99_ms": 60.0,
    "latency.dashboard_alone_core_percent": 15.0,
    "ward.dashboard_gaps": 0.0,
    "ward.dashboard_p99_ms": 150.0,
    "ward.json_gaps": 0.0,
    "ward.json_p99_ms": 150.0,
    "cost.one_bed_cpu_s_per_hour": 6.0,
    "memory.most_mb": 450.0,
    "cost.ward_cpu_s_per_bed_hour": 2.0,
    "guarded.both_more_percent": 20.0,
    "start.help_s": 0.3,
    "start.first_beat_s": 5.0,
}
"""What a figure must not exceed."""


def latency(lengths: Lengths) -> Figures:
    """Measure one bed in real time: added latency, CPU, and the dashboard's own share of a core."""
    shown, _ = on_dashboard(lengths, "record", RECORD)
    lines, seen_ms = as_lines(lengths, "record", RECORD)
    dashboard, plain = shown.core_percent(WARM_S), lines.core_percent(WARM_S)
    return {
        "dashboard_p50_ms": shown.summary["p50_ms"],
        "dashboard_p99_ms": shown.summary["p99_ms"],
        "json_p50_ms": lines.summary["p50_ms"],
        "json_p99_ms": lines.summary["p99_ms"],
        "sent_to_read_p50_ms": float(np.percentile(seen_ms, 50)),
        "sent_to_read_p99_ms": float(np.percentile(seen_ms, 99)),
        "dashboard_core_percent": dashboard,
        "json_core_percent": plain,
        "dashboard_alone_core_percent": dashboard - plain,
        "dashboard_rss_mb": shown.samples[-1].rss_mb,
    }


def ward(lengths: Lengths) -> Figures:
    """Measure 64 beds in real time, the simulator on the same machine: gaps, added latency, CPU of both processes."""
    arguments = ("ward", "--beds", str(BEDS))
    shown, simulated = on_dashboard(lengths, *arguments)
    lines, seen_ms = as_lines(lengths, *arguments)
    figures = {"simulator_core_percent": simulated}
    for name, run in (("dashboard", shown), ("json", lines)):
        figures |= {f"{name}_{key}": run.summary[key] for key in ("beds", "beats", "gaps", "p50_ms", "p99_ms")}
        figures[f"{name}_core_percent"] = run.core_percent(WARM_S)
        figures[f"{name}_rss_mb"] = run.samples[-1].rss_mb
    figures["sent_to_read_p50_ms"], figures["sent_to_read_p99_ms"] = np.percentile(seen_ms, (50, 99)).tolist()
    return figures


def on_dashboard(lengths: Lengths, *arguments: str) -> tuple[Run, float]:
    """Run a monitor with its dashboard in a terminal; return it and the simulator's share of one core meanwhile."""
    with simulator(*arguments, "--loop") as source, terminal() as inside:
        seconds = str(lengths.real_time_s)
        before = sample(source.process)
        run = follow(start("--endpoint", source.endpoint, "--seconds", seconds, out=inside))
        return run, core_percent([before, sample(source.process)])


def as_lines(lengths: Lengths, *arguments: str) -> tuple[Run, list[float]]:
    """Run a monitor that writes JSON lines; return it and each beat's milliseconds from packet sent to line read."""
    with simulator(*arguments, "--loop") as source, Tap(source.endpoint) as tap:
        monitor = start(
            "--endpoint", source.endpoint, "--json", "--seconds", str(lengths.real_time_s), out=subprocess.PIPE
        )
        assert monitor.stdout is not None
        read: list[tuple[float, bytes]] = []
        reader = threading.Thread(target=_read, args=(monitor.stdout, read), daemon=True)
        reader.start()
        run = follow(monitor)
        reader.join()
    steady_s = read[0][0] + WARM_S
    beats = [(at, json.loads(line)) for at, line in read if at > steady_s]
    seen = []
    for at, beat in beats:
        if beat["type"] == "beat":
            decided = beat["sample"] + round(beat["algorithmic_ms"] * FS / 1000)
            seen.append(1000 * (at - tap.sent_s[beat["bed"]][decided]))
    return run, seen


def _read(lines: IO[bytes], read: list[tuple[float, bytes]]) -> None:
    with lines:
        for line in lines:
            read.append((time.time(), line))


def cost(lengths: Lengths) -> Figures:
    """Measure the CPU at full speed, without start-up, and the memory while a faster simulator fills the queue."""
    one, one_start_s = at_full_speed(1, lengths.one_bed_s)
    many, many_start_s = at_full_speed(BEDS, lengths.ward_s)
    return {
        "start_cpu_s": median((one_start_s, many_start_s)),
        "one_bed_cpu_s_per_hour": (one.cpu_s - one_start_s) * HOUR_S / lengths.one_bed_s,
        "one_bed_wall_s": one.wall_s,
        "ward_cpu_s_per_bed_hour": (many.cpu_s - many_start_s) * HOUR_S / (BEDS * lengths.ward_s),
        "ward_wall_s": many.wall_s,
        "one_bed_rss_mb": max(sample.rss_mb for sample in one.samples),
        "ward_rss_mb": max(sample.rss_mb for sample in many.samples),
        "gaps": one.summary["gaps"] + many.summary["gaps"],
    }


def at_full_speed(beds: int, seconds: float, module: tuple[str, ...] = ("agent",)) -> tuple[Run, float]:
    """Run a lossless replay as fast as the monitor takes it; return it and its CPU seconds at the first line."""
    arguments = ("ward", "--beds", str(beds), "--loop", "--duration", str(seconds), "--speed", "max", "--wait")
    used: list[float] = []
    with simulator(*arguments) as source:
        options = ("--endpoint", source.endpoint, "--json", "--until-end")
        monitor = start(*options, out=subprocess.PIPE, module=module)
        reader = threading.Thread(target=_first_line, args=(monitor, used), daemon=True)
        reader.start()
        run = follow(monitor)
        reader.join()
    return run, used[0]


def _first_line(monitor: subprocess.Popen[bytes], used: list[float]) -> None:
    assert monitor.stdout is not None
    with monitor.stdout:
        monitor.stdout.readline()
        used.append(sample(psutil.Process(monitor.pid)).cpu_s)
        while monitor.stdout.read(2**16):
            pass


def stages(lengths: Lengths) -> Figures:
    """Measure CPU microseconds of each stage for a second of one bed's signal, at full speed."""
    figures: Figures = {}
    for name, beds, seconds in (("one_bed", 1, lengths.one_bed_s), ("ward", BEDS, lengths.ward_s)):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "stages.json"
            os.environ["STAGES_FILE"] = str(file)
            at_full_speed(beds, seconds, ("benchmarks.stages",))
            spent: Figures = json.loads(file.read_text(encoding="utf-8"))
        spent.pop("wait")
        figures |= {f"{name}_{key}_us": 1e6 * value / (beds * seconds) for key, value in spent.items()}
    return figures


def guarded(lengths: Lengths) -> Figures:
    """Measure what encryption and recording cost at 64 beds: CPU of the monitor, in turns with a plain one."""
    shares: dict[str, list[float]] = {"plain": [], "encrypted": [], "recording": [], "both": []}
    with tempfile.TemporaryDirectory() as root:
        keys = Path(root) / "keys"
        for name in ("device", "ward"):
            create_key_pair(keys, name)
        (keys / "clients").mkdir()
        shutil.copy(keys / "ward.key", keys / "clients")
        device = ("--key", str(keys / "device.key_secret"), "--clients", str(keys / "clients"))
        agent = ("--key", str(keys / "ward.key_secret"), "--server-key", str(keys / "device.key"))
        for turn in range(lengths.times):
            for name, percents in shares.items():
                secured, recorded = name in ("encrypted", "both"), name in ("recording", "both")
                options = [*(agent if secured else ()), "--seconds", str(lengths.real_time_s), "--json"]
                options += ["--record", str(Path(root) / f"{name}-{turn}")] if recorded else []
                with simulator("ward", "--beds", str(BEDS), "--loop", *(device if secured else ())) as source:
                    run = follow(start("--endpoint", source.endpoint, *options, out=subprocess.DEVNULL))
                percents.append(run.core_percent(2 * WARM_S))
    middle = {name: median(percents) for name, percents in shares.items()}
    more = {f"{name}_more_percent": 100 * (middle[name] / middle["plain"] - 1) for name in middle if name != "plain"}
    return {f"{name}_core_percent": share for name, share in middle.items()} | more


def memory(lengths: Lengths) -> Figures:
    """Measure resident memory over an hour of one bed's signal at 60 times real time, after its first fifth."""
    with simulator("record", RECORD, "--loop", "--speed", "60", "--duration", str(lengths.one_bed_s)) as source:
        options = ("--endpoint", source.endpoint, "--json", "--until-end")
        run = follow(start(*options, out=subprocess.DEVNULL))
    tenths = [run.samples[i * len(run.samples) // 10].rss_mb for i in range(2, 10)]
    figures = {f"at_{10 * i}_percent_mb": rss for i, rss in enumerate(tenths, 2)}
    return {"most_mb": max(sample.rss_mb for sample in run.samples), "growth_mb": tenths[-1] - tenths[0], **figures}


def start_up(lengths: Lengths) -> Figures:
    """Measure wall time of `--help` beside a bare import of its libraries, and from the start to the first beat."""
    times = 2 * lengths.times + 1
    pairs = [(_wall("-m", "agent", "--help"), _wall("-c", PEER)) for _ in range(times)]
    with simulator("record", RECORD, "--loop") as source:
        firsts = [_first_beat(source.endpoint) for _ in range(lengths.times)]
    return {
        "help_s": median(ours for ours, _ in pairs),
        "help_peer_s": median(peer for _, peer in pairs),
        "help_to_peer": median(ours / peer for ours, peer in pairs),
        "first_beat_s": median(firsts),
        "first_beat_worst_s": max(firsts),
    }


def _wall(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _first_beat(endpoint: str) -> float:
    began = time.perf_counter()
    monitor = start("--endpoint", endpoint, "--json", out=subprocess.PIPE)
    assert monitor.stdout is not None
    try:
        for line in monitor.stdout:
            if json.loads(line)["type"] == "beat":
                return time.perf_counter() - began
        raise SystemExit("the monitor ended without a beat")
    finally:
        monitor.terminate()
        monitor.communicate()


PARTS: dict[str, Callable[[Lengths], Figures]] = {
    "start": start_up,
    "guarded": guarded,
    "latency": latency,
    "ward": ward,
    "cost": cost,
    "memory": memory,
    "stages": stages,
}


def report(part: str, figures: Figures) -> Table:
    """Return a part's figures with their limits as a table."""
    table = Table("figure", "value", "at most", title=part, title_justify="left")
    for key, value in figures.items():
        reach = REACH.get(f"{part}.{key}")
        kept = "" if reach is None else f"{reach:g} {'yes' if value <= reach else 'NO'}"
        table.add_row(key, f"{value:,.2f}", kept)
    return table


def main() -> None:
    """Measure part by part and print each as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    options = parser.parse_args()
    about = {
        "python": platform.python_version(),
        "torch": version("torch"),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "others_cpu_percent": psutil.cpu_percent(2.0, percpu=True),
        "lengths": "quick" if options.quick else "full",
    }
    print(json.dumps(about))
    with simulator("record", RECORD, "--loop") as source:
        _first_beat(source.endpoint)  # loads the libraries from the disk, which would count in the first part
    results = {}
    for part in options.only.split(","):
        results[part] = PARTS[part](QUICK if options.quick else FULL)
        Console().print(report(part, results[part]))
    if options.json:
        write_figures(options.json, {"setting": about, **results})


if __name__ == "__main__":
    main()
