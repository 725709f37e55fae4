"""One monitor against the number of its beds, in real time: `python -m benchmarks.beds [--beds 1,64,256,1024]`.

A simulator on one core sends every bed in packets; a monitor on another follows them all and writes JSON lines.
Measured: CPU seconds for an hour of one bed, stage by stage (`benchmarks.stages`, without start-up), gaps, added
latency once it has warmed up, and memory. Packets hold 200 ms, as those of `ecg-agent simulate ward` do, unless
`--packet-ms` says otherwise, and are sent together unless it is `--wire 1`. `--figure` draws cost against beds. The
peer is OSEA's BeatDetectAndClassify in C, 0.148 CPU s an hour of one lead on this database; it neither receives nor
shows.
"""

import argparse
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from benchmarks.figures import write_figures
from benchmarks.processes import Sample, follow, sample, simulator, start
from model.records.resample import FS

OSEA_S = 0.148
"""CPU seconds an hour of one lead."""
HOUR_S = 3600
WARM_S = 30.0
"""Signal of each bed before latencies count: by then the monitor has caught up with what came while the net loaded."""
KEYS = ("type", "bed", "kind", "time_s", "added_ms", "analysed")
"""The fields of a line that are kept."""
GROUPS = {
    "receive": ("socket", "decode", "link"),
    "admit": ("input", "ring", "lead state"),
    "detect": ("qrs",),
    "describe": ("beats",),
    "classify": ("net",),
    "waveform": ("windows",),
    "alarms": ("alarms",),
    "rhythm": ("rate", "smoothing"),
    "order": ("pipeline",),
    "loop": ("loop", "wait"),
    "output": ("output",),
}
"""Stages as they are drawn, in the order of the signal."""


LEAD_OPTIONS: dict[int, tuple[str, ...]] = {1: ("--lead", "MLII,V2"), 2: ()}
"""Every record has one of the leads II and V2, two of 48 have both."""


def measure(
    beds: int, seconds: float, packet_ms: float, tick_ms: float | None, leads: int, wire: int = 2, workers: int = 1
) -> dict[str, Any]:
    """Run simulator and monitor once with a number of beds, and return the figures. `wire`: version of the format.

    Several workers are measured as whole processes, with their start, and not stage by stage.
    """
    os.environ["ECG_AGENT_MONITOR_TIMEOUT_S"] = "120"  # the first samples of thousands of beds take the simulator long
    os.environ["ECG_AGENT_LINK_BUNDLES"] = "true" if wire > 1 else "false"
    arguments = ("ward", "--beds", str(beds), "--loop", "--wait", "--packet-ms", str(packet_ms))
    with tempfile.TemporaryDirectory() as folder, simulator(*arguments) as source:
        spent_file = Path(folder) / "stages.json"
        os.environ["STAGES_FILE"] = str(spent_file)
        if tick_ms is not None:
            os.environ["ECG_AGENT_MONITOR_TICK_MS"] = str(tick_ms)
        options = ("--endpoint", source.endpoint, "--json", "--seconds", str(seconds), *LEAD_OPTIONS[leads])
        if workers > 1:
            monitor = start(*options, "--workers", str(workers), out=subprocess.PIPE)
        else:
            monitor = start(*options, out=subprocess.PIPE, module=("benchmarks.stages",))
            _pin(source.process, 1)
            _pin(psutil.Process(monitor.pid), 0)
        assert monitor.stdout is not None
        lines: list[dict[str, Any]] = []
        begun: list[Sample] = []
        note = lambda: begun.append(sample(source.process))  # noqa: E731  # of the simulator, at the first line
        reader = threading.Thread(target=_read, args=(monitor.stdout, lines, note), daemon=True)
        reader.start()
        run = follow(monitor, workers > 1)
        reader.join()
        simulated = sample(source.process)
        spent: dict[str, float] = {"processes": run.cpu_s}
        if workers == 1:
            spent = json.loads(spent_file.read_text(encoding="utf-8"))
    analysed_s = sum(line["analysed"] for line in lines if line["type"] == "ledger") / FS
    began_s = {line["bed"]: line["time_s"] for line in reversed(lines) if line.get("kind") == "start"}
    beats = [line for line in lines if line["type"] == "beat"]
    added = [beat["added_ms"] for beat in beats if beat["time_s"] - began_s[beat["bed"]] > WARM_S]
    hours = analysed_s / HOUR_S
    return {
        "beds": beds,
        "packet_ms": packet_ms,
        "wire": wire,
        "workers": workers,
        "leads": leads,
        "analysed_s": analysed_s,
        "share_analysed": analysed_s / (beds * seconds),
        "stages_s": {group: sum(spent.get(name, 0.0) for name in names) / hours for group, names in GROUPS.items()},
        "all_s": sum(spent.values()) / hours,
        "of_osea": sum(spent.values()) / hours / OSEA_S,
        "core_percent": run.core_percent(WARM_S),
        "gaps": run.summary["gaps"],
        "added_p50_ms": float(np.percentile(added, 50)),
        "added_p99_ms": float(np.percentile(added, 99)),
        "most_mb": max(moment.rss_mb for moment in run.samples),
        "simulator_cpu_s": simulated.cpu_s,
        "simulator_s": (simulated.cpu_s - begun[0].cpu_s) / hours,
        "simulator_mb": simulated.rss_mb,
    }


def _pin(process: psutil.Process, core: int) -> None:
    """Give a process a core of its own, if there are two and the system can do it."""
    if hasattr(process, "cpu_affinity") and (os.cpu_count() or 1) > 1:
        process.cpu_affinity([core])


def _read(out: IO[bytes], lines: list[dict[str, Any]], note: Callable[[], object]) -> None:
    with out:
        for line in out:
            if not lines:
                note()
            fields = json.loads(line)
            lines.append({key: fields[key] for key in KEYS if key in fields})


def draw(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the cost of a bed-hour against beds, on logarithmic scales, a line per stage, with OSEA's."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    beds = [run["beds"] for run in results]
    colours = pyplot.get_cmap("tab20").colors  # type: ignore[attr-defined]  # of a listed map
    axes.plot(beds, [run["all_s"] for run in results], color="black", linewidth=2.5, marker="o", label="all together")
    for colour, group in zip(colours, GROUPS, strict=False):
        axes.plot(beds, [run["stages_s"][group] for run in results], color=colour, marker=".", label=group)
    for run in results:
        place = run["beds"], run["all_s"]
        axes.annotate(f"{run['all_s']:.3g}", place, (0, 8), textcoords="offset points", ha="center")
    axes.axhline(OSEA_S, color="black", linestyle="--", linewidth=1)
    axes.text(beds[0], OSEA_S, f"OSEA in C, analysis alone: {OSEA_S}", va="bottom", fontsize="small")
    axes.set(xscale="log", yscale="log", ylabel="CPU seconds for an hour of one bed")
    axes.set_xticks(beds, [f"{count:,}" for count in beds])
    axes.minorticks_off()
    axes.set_xlabel(f"beds, in packets of {results[0]['packet_ms']:g} ms")
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    pyplot.rcParams["svg.hashsalt"] = "beds"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beds", default="1,64,256,1024,2048,4096", help="numbers, with commas between them")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long each monitor runs")
    parser.add_argument("--packet-ms", type=float, default=200.0, help="signal in a packet")
    parser.add_argument("--leads", type=int, choices=LEAD_OPTIONS, default=1, help="analysed leads of each bed")
    parser.add_argument("--wire", type=int, choices=(1, 2), default=2, help="version of the wire format")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the beds")
    parser.add_argument("--tick-ms", type=float, help="how often the monitor polls; by default as configured")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/beds.json"), help="file of the figures")
    parser.add_argument("--figure", type=Path, help="draw cost against beds here, as SVG")
    options = parser.parse_args()
    results = []
    for beds in map(int, options.beds.split(",")):
        how = options.seconds, options.packet_ms, options.tick_ms, options.leads, options.wire, options.workers
        run = measure(beds, *how)
        results.append(run)
        print(
            f"{beds:5} beds, {options.packet_ms:g} ms: "
            f"{run['all_s']:.2f} CPU s a bed-hour ({run['of_osea']:.1f} times OSEA), "
            f"{run['core_percent']:.0f} % of a core, {run['gaps']:.0f} gaps, added latency "
            f"p50 {run['added_p50_ms']:.0f} p99 {run['added_p99_ms']:.0f} ms, {run['most_mb']:.0f} MB, "
            f"{run['share_analysed']:.0%} of real time analysed",
            flush=True,
        )
        spent = (run["stages_s"] if options.workers == 1 else {}) | {"simulator": run["simulator_s"]}
        print("      " + ", ".join(f"{name} {value:.3f}" for name, value in spent.items()), flush=True)
    write_figures(options.json, {"runs": results})
    if options.figure is not None:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
