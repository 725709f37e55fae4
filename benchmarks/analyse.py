"""What a file costs: `python -m benchmarks.analyse [--hours 24] [--peer-hours 1] [--files 16] [--json FILE]`.

Three leads at 360 Hz are made of an embedded record again and again, and one of them is analysed by the command in a
process of its own. The peer is the same by simulator and monitor at full speed; its seconds are those of both. Many
files of an hour show what a batch is worth.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import processes
from benchmarks.figures import write_figures
from model.records.wfdb_records import open_record, read_record_samples

RECORD, FS, GAIN = "208", 360, 200
LEADS = ("II", "V1", "V5")
ANALYSED = "II"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds, greatest memory in MB and wall-clock seconds of a process and of those that it has waited for."""

    cpu_s: float
    peak_mb: float
    wall_s: float


def make_record(folder: Path, name: str, hours: float) -> Path:
    """Write a record of three leads; return its header."""
    x = np.nan_to_num(read_record_samples(open_record(RECORD)))
    counts = np.rint(GAIN * np.column_stack([x, x[:, 0] - x[:, 1] / 2])).astype("<i2")
    left = length = round(hours * 3600 * FS)
    with (folder / f"{name}.dat").open("wb") as file:
        while left > 0:
            file.write(counts[:left].tobytes())
            left -= len(counts)
    lines = [f"{name} {len(LEADS)} {FS} {length} 21:30:00 03/05/2021"]
    lines += [f"{name}.dat 16 {GAIN} 16 0 0 0 0 {lead}" for lead in LEADS]
    path = folder / f"{name}.hea"
    path.write_text("\n".join([*lines, ""]))
    return path


def cost_of(*arguments: str) -> Cost:
    """Run ecg-agent to its end and return what that cost. Raises SystemExit if it fails."""
    began = time.monotonic()
    command = [sys.executable, "-m", "agent", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {arguments}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, time.monotonic() - began)


def peer_cost(record: Path, out: Path) -> float:
    """Return the CPU seconds of simulator and monitor for a record, its JSON lines written to a file."""
    with (
        processes.simulator("record", str(record), "--speed", "max", "--wait") as device,
        out.open("wb") as file,
    ):
        arguments = ("--json", "--until-end", "--lead", ANALYSED, "--endpoint", device.endpoint)
        monitor = processes.follow(processes.start(*arguments, out=file))
        sent = device.process.cpu_times()
        return monitor.cpu_s + sent.user + sent.system


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--peer-hours", type=float, default=1.0)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        wanted = ("--lead", ANALYSED, "--out", str(folder / "out"))
        whole = cost_of("analyse", str(make_record(folder, "whole", options.hours)), *wanted)
        short = make_record(folder, "short", options.peer_hours)
        alone = cost_of("analyse", str(short), *wanted)
        peer_s = peer_cost(short, folder / "peer.jsonl")
        many = [make_record(folder, f"part{i}", options.peer_hours) for i in range(options.files)]
        batch = cost_of("analyse", *map(str, many), *wanted)
    figures = {
        "hours": options.hours,
        "cpu_s": whole.cpu_s,
        "peak_mb": whole.peak_mb,
        "wall_s": whole.wall_s,
        "times_real_time": 3600 * options.hours / whole.wall_s,
        "cpu_s_per_hour": whole.cpu_s / options.hours,
        "alone_cpu_s_per_hour": alone.cpu_s / options.peer_hours,
        "peer_cpu_s_per_hour": peer_s / options.peer_hours,
        "of_peer": alone.cpu_s / peer_s,
        "files": options.files,
        "batch_cpu_s_per_hour": batch.cpu_s / options.files / options.peer_hours,
        "batch_peak_mb": batch.peak_mb,
    }
    for name, value in figures.items():
        print(f"{name:22} {value:8.2f}")
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
