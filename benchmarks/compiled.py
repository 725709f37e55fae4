"""What the parts in C are worth: `python -m benchmarks.compiled [--json FILE]`.

The parts beside their twins in Python, A B A B in one run of one thread: a packet of 200 ms in the QRS detector, a beat
described beside its patient's others, a beat classified, an hour of one lead analysed as `ecg-agent analyse` does, and
a monitor of one bed from its start to its first beat. The medians of each are compared. ECG_AGENT_COMPILED=0 leaves
the parts out anywhere.

`--records` compares the beats of the 48 embedded records instead: all their samples and classes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.figures import write_figures
from benchmarks.processes import sample, simulator, start
from model.compiled.library import load_library
from model.compiled.sources import LIBRARY_VARIABLE
from model.records.resample import FS

ROUNDS = 3
SECONDS = 0.4
BATCHES = 1, 64
PACKET, SIGNAL_S = 25, 60
"""Samples of a packet of a ward, and seconds of signal that the detector gets again and again."""
HOUR_S, PIECE_S = 3600, 60
BEFORE_S = 15
"""Signal before the first monitor: then there are beats to fetch."""
MONITOR_S = 4
"""How long a monitor runs whose memory is measured."""


def call_us(call: Callable[[], object], count: int) -> float:
    """Return the microseconds that a call takes for each of the `count` things that it works on."""
    call()
    began_s, calls = time.perf_counter(), 0
    while time.perf_counter() - began_s < SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - began_s) / calls / count * 1e6


def measure_detector(beds: int) -> float:
    """Return the microseconds that a packet of each of some beds takes in the QRS detector, for a bed."""
    from agent.analysis.compiled_qrs import open_qrs_detector
    from benchmarks.ward import streams

    packets = cycle(np.split(streams(beds, SIGNAL_S), SIGNAL_S * FS // PACKET, axis=1))
    detector, rows = open_qrs_detector(beds), np.arange(beds)
    return call_us(lambda: detector.push(rows, next(packets)), beds)


def measure_parts() -> dict[str, float]:
    """Return what this process takes, with or without the parts in C."""
    from agent.analysis.beat_classifier import load_beat_classifier
    from agent.core.config import load_config
    from agent.pipeline.pipeline import Pipeline
    from benchmarks.ward import packets, streams
    from model.beats.templates import INPUTS, QRS, SLACK, WAVE, BeatTemplates, BeatWindows

    random, figures = np.random.default_rng(0), dict[str, float]()
    classify = load_beat_classifier("live", "cpu", 1)
    for batch in BATCHES:
        figures[f"detect_{batch}_us"] = measure_detector(batch)
        beats = random.uniform(-2, 2, (batch, INPUTS)).astype(np.float32)
        figures[f"classify_{batch}_us"] = call_us(lambda beats=beats: classify(beats), batch)  # type: ignore[misc]
        windows = BeatWindows(
            np.arange(batch),
            random.normal(0, 1, (batch, WAVE + 2 * SLACK)).astype(np.float32),
            random.normal(0, 1, (batch, QRS + 2 * SLACK)).astype(np.float32),
            random.uniform(0.5, 1, (batch, 3)).astype(np.float32),
            np.full(batch, 0.8, np.float32),
            np.zeros(batch, np.bool_),
            np.ones(batch, np.float32),
        )
        patients = BeatTemplates(batch)
        figures[f"describe_{batch}_us"] = call_us(lambda w=windows, p=patients: p.describe(w), batch)  # type: ignore[misc]
    ward = Pipeline(load_config(None, {}), classify)
    ward.take_large_blocks()
    signal = streams(1, HOUR_S)
    began_s = time.process_time()
    for chunks in packets(signal, 1000 * PIECE_S):
        ward.push(chunks)
    figures["hour_s"] = (time.process_time() - began_s) * HOUR_S * 125 / signal.shape[1]
    return figures


def measure_start(endpoint: str) -> dict[str, float]:
    """Return the seconds from the start of a monitor to its first beat, and the megabytes that it takes then."""
    began_s = time.perf_counter()
    monitor = start("--endpoint", endpoint, "--json", "--device", "cpu", "--bed", "100", out=subprocess.PIPE)
    assert monitor.stdout is not None
    next(line for line in monitor.stdout if b'"beat"' in line)
    first_s = time.perf_counter() - began_s
    time.sleep(MONITOR_S)
    rss_mb = sample(psutil.Process(monitor.pid)).rss_mb
    monitor.kill()
    monitor.wait()
    return {"first_beat_s": first_s, "memory_mb": rss_mb}


def find_beats() -> dict[str, list[tuple[int, str]]]:
    """Return the R peaks at 125 Hz and classes of all embedded records, two leads."""
    from agent.analysis.beat_classifier import load_beat_classifier
    from agent.core.config import load_config
    from agent.evaluation.record_analysis import analyse_records
    from model.records.wfdb_records import embedded_records, open_record

    records = [open_record(name) for name in embedded_records()]
    outputs, _ = analyse_records(records, load_config(None, {}), load_beat_classifier("live", "cpu", 1), lambda _: None)
    return {name: [(beat.sample, beat.label) for beat in output.beats] for name, output in outputs.items()}


def run_other_way(way: str, *options: str) -> Any:
    """Return what this command prints with these options in a process with the parts in C, or without them."""
    environment = os.environ | {LIBRARY_VARIABLE: "1" if way == "compiled" else "0"}
    command = [sys.executable, "-m", "benchmarks.compiled", *options]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def compare_beats() -> str:
    """Return how the beats of the records differ."""
    compiled, plain = (
        {(name, sample): label for name, beats in run_other_way(way, "--beats").items() for sample, label in beats}
        for way in ("compiled", "python")
    )
    other = sum(plain[key] != compiled[key] for key in plain.keys() & compiled.keys())
    return f"{len(plain):,} beats: {other} of another class, {len(plain.keys() ^ compiled.keys())} elsewhere"


def measure_both() -> dict[str, Any]:
    """Return the medians with the parts and without them."""
    runs: dict[str, list[dict[str, float]]] = {"compiled": [], "python": []}
    with simulator("record", "100", "--loop") as source:
        time.sleep(BEFORE_S)
        for _ in range(ROUNDS):
            for way, of_way in runs.items():
                of_way.append(run_other_way(way, "--one", source.endpoint))
                print(f"{way:8} " + ", ".join(f"{name} {value:.3g}" for name, value in of_way[-1].items()), flush=True)
    return {
        way: {name: statistics.median(run[name] for run in of_way) for name in of_way[0]}
        for way, of_way in runs.items()
    }


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", metavar="ENDPOINT", help="measure this process, and a monitor of a device; print JSON")
    parser.add_argument("--beats", action="store_true", help="print the beats of all records")
    parser.add_argument("--records", action="store_true", help="compare the beats of all records")
    options = parser.parse_args()
    if options.beats:
        print(json.dumps(find_beats()))
        return
    if options.one:
        print(json.dumps(measure_parts() | measure_start(options.one)))
        return
    if load_library() is None:
        raise SystemExit("the parts in C were not built: no C compiler (cc)?")
    if options.records:
        print(compare_beats())
        return
    figures = measure_both()
    for name, value in figures["python"].items():
        print(f"{name:16} {value:10.3g} -> {figures['compiled'][name]:10.3g}: {value / figures['compiled'][name]:.1f}")
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
