"""One monitor against the number of its beds, in real time: `python -m benchmarks.beds [--beds 1,64,256,1024]`.

A simulator on one core sends every bed in packets; a monitor on another follows them all and writes JSON lines. From
30 s on, when it has warmed up, it is measured as a whole process: CPU seconds for an hour of one bed, added latency,
gaps and memory. A second run measures the main thread stage by stage (`benchmarks.stages`); its clocks cost some of it.
Packets hold 200 ms, as those of `ecg-agent simulate ward` do, unless `--packet-ms` says otherwise, and are sent
together unless it is `--wire 1`. `--figure` draws cost against beds. The peers are WFDB's xqrs, in the same run, and
OSEA's BeatDetectAndClassify in C, 0.148 CPU s an hour of one lead on another machine; neither receives nor shows.
"""

import argparse
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil

from benchmarks.figures import write_figures
from benchmarks.processes import Run, Sample, follow, sample, simulator, start
from benchmarks.ward import peer
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


@dataclass(frozen=True, slots=True)
class Load:
    """What a monitor follows, and how: `wire` is the version of the format, `workers` the processes that share beds."""

    beds: int
    seconds: float
    packet_ms: float = 200.0
    tick_ms: float | None = None
    leads: int = 1
    wire: int = 2
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Watched:
    """A monitor that has ended: the run, its lines, CPU seconds by stage if measured so, and its simulator's share."""

    run: Run
    lines: list[dict[str, Any]]
    stages_s: dict[str, float]
    simulator_cpu_s: float
    simulator_mb: float

    @property
    def analysed_s(self) -> float:
        """Seconds of signal that were analysed, of all beds together."""
        return float(sum(line["analysed"] for line in self.lines if line["type"] == "ledger") / FS)


def measure(load: Load, xqrs_s: float) -> dict[str, Any]:
    """Measure a load as a whole process, and of one worker once more by stage. `xqrs_s`: CPU s an hour of the peer."""
    whole = watch(load, by_stage=False)
    by_stage = watch(load, by_stage=True) if load.workers == 1 else whole
    began_s = {line["bed"]: line["time_s"] for line in reversed(whole.lines) if line.get("kind") == "start"}
    beats = [line for line in whole.lines if line["type"] == "beat"]
    added = [beat["added_ms"] for beat in beats if beat["time_s"] - began_s[beat["bed"]] > WARM_S]
    core_percent = whole.run.core_percent(WARM_S)
    all_s = core_percent / 100 * HOUR_S / load.beds
    stage_hours = by_stage.analysed_s / HOUR_S
    return {
        **asdict(load),
        "share_analysed": whole.analysed_s / (load.beds * load.seconds),
        "all_s": all_s,
        "of_xqrs": all_s / xqrs_s,
        "stages_s": {
            group: sum(by_stage.stages_s.get(name, 0.0) for name in names) / stage_hours
            for group, names in GROUPS.items()
            if by_stage.stages_s
        },
        "core_percent": core_percent,
        "gaps": whole.run.summary["gaps"],
        "added_p50_ms": float(np.percentile(added, 50)),
        "added_p99_ms": float(np.percentile(added, 99)),
        "most_mb": max(moment.rss_mb for moment in whole.run.samples),
        "simulator_s": whole.simulator_cpu_s / whole.analysed_s * HOUR_S,
        "simulator_mb": whole.simulator_mb,
    }


def watch(load: Load, by_stage: bool) -> Watched:
    """Run simulator and monitor once, the monitor as it is or with clocks in its stages."""
    os.environ["ECG_AGENT_LINK_BUNDLES"] = "true" if load.wire > 1 else "false"
    if load.tick_ms is not None:
        os.environ["ECG_AGENT_MONITOR_TICK_MS"] = str(load.tick_ms)
    arguments = ("ward", "--beds", str(load.beds), "--loop", "--wait", "--packet-ms", str(load.packet_ms))
    with tempfile.TemporaryDirectory() as folder, simulator(*arguments) as source:
        spent_file = Path(folder) / "stages.json"
        os.environ["STAGES_FILE"] = str(spent_file)
        options = ["--endpoint", source.endpoint, "--json", "--seconds", str(load.seconds), *LEAD_OPTIONS[load.leads]]
        if load.workers > 1:
            options += ["--workers", str(load.workers)]
        monitor = start(*options, out=subprocess.PIPE, module=("benchmarks.stages" if by_stage else "agent",))
        if load.workers == 1:
            _pin(source.process, 1)
            _pin(psutil.Process(monitor.pid), 0)
        assert monitor.stdout is not None
        lines: list[dict[str, Any]] = []
        begun: list[Sample] = []
        note = lambda: begun.append(sample(source.process))  # noqa: E731  # of the simulator, at the first line
        reader = threading.Thread(target=_read, args=(monitor.stdout, lines, note), daemon=True)
        reader.start()
        run = follow(monitor, load.workers > 1)
        reader.join()
        simulated = sample(source.process)
        spent = json.loads(spent_file.read_text(encoding="utf-8")) if by_stage else {}
    return Watched(run, lines, spent, simulated.cpu_s - begun[0].cpu_s, simulated.rss_mb)


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
    xqrs_s = peer()
    print(f"WFDB xqrs, whole record: {xqrs_s:.3f} CPU s an hour of one lead")
    results = []
    for beds in map(int, options.beds.split(",")):
        how = options.seconds, options.packet_ms, options.tick_ms, options.leads, options.wire, options.workers
        run = measure(Load(beds, *how), xqrs_s)
        results.append(run)
        print(
            f"{beds:5} beds, {options.packet_ms:g} ms: "
            f"{run['all_s']:.2f} CPU s a bed-hour ({run['of_xqrs']:.2f} times xqrs), "
            f"{run['core_percent']:.0f} % of a core, {run['gaps']:.0f} gaps, added latency "
            f"p50 {run['added_p50_ms']:.0f} p99 {run['added_p99_ms']:.0f} ms, {run['most_mb']:.0f} MB, "
            f"{run['share_analysed']:.0%} of real time analysed",
            flush=True,
        )
        spent = run["stages_s"] | {"simulator": run["simulator_s"]}
        print("      " + ", ".join(f"{name} {value:.3f}" for name, value in spent.items()), flush=True)
    write_figures(options.json, {"xqrs_s": xqrs_s, "runs": results})
    if options.figure is not None:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
