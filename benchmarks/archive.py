"""An archive on one machine: `python -m benchmarks.archive [--records 500] [--minutes 5] [--kill-s 30] [--json FILE]`.

Many short records are made of the embedded ones; their headers share 48 files of samples, so that an archive of 10,000
hours (`--records 20000 --minutes 30`) needs 130 MB beside its results. They are analysed by one process, by two, and
on a Ray cluster of this machine, there once more while a process is killed every `--kill-s` seconds: the results of all
must be the same to the byte.
"""

import argparse
import filecmp
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figures import write_figures
from model.records.wfdb_records import embedded_records, open_record, read_record_samples

FS, GAIN = 360, 200
LEADS = ("II", "V1")
SEED = 5


@dataclass(frozen=True, slots=True)
class ArchiveRun:
    """A run over the archive: wall-clock seconds, CPU seconds of what the command has waited for, and kills."""

    wall_s: float
    cpu_s: float
    kills: int


def make_archive(folder: Path, records: int, minutes: float) -> float:
    """Write the headers of so many records and the samples that they share; return their hours."""
    folder.mkdir()
    lengths: dict[str, int] = {}
    for name in embedded_records():
        x = np.nan_to_num(read_record_samples(open_record(name), 0, round(60 * minutes * FS)))
        np.rint(GAIN * x).astype("<i2").tofile(folder / f"{name}.dat")
        lengths[name] = len(x)
    seconds = 0.0
    for number in range(records):
        source = list(lengths)[number % len(lengths)]
        name = f"a{number:06d}"
        lines = [f"{name} {len(LEADS)} {FS} {lengths[source]}"]
        lines += [f"{source}.dat 16 {GAIN} 16 0 0 0 0 {lead}" for lead in LEADS]
        (folder / f"{name}.hea").write_text("\n".join([*lines, ""]))
        seconds += lengths[source] / FS
    return seconds / 3600


def run_archive(folder: Path, out: Path, *options: str, kill_s: float | None = None) -> ArchiveRun:
    """Analyse the archive; with `kill_s` kill one of the processes that do so every so many seconds.

    Raises SystemExit if the command fails.
    """
    began_s = time.monotonic()
    command = [sys.executable, "-m", "agent", "analyse", str(folder), "--out", str(out), *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    dice, kills, next_s = random.Random(SEED), 0, began_s + (kill_s or 0.0)
    while True:
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
        if kill_s is not None and time.monotonic() >= next_s:
            kills += _kill_one(out, dice)
            next_s = time.monotonic() + kill_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed with {process.returncode}: {options}")
    return ArchiveRun(time.monotonic() - began_s, used.ru_utime + used.ru_stime, kills)


def _kill_one(out: Path, dice: random.Random) -> int:
    """Kill one of the processes that write results, whose folders name them; return 1, or 0 if there was none."""
    pids = sorted({int(path.name.removesuffix(".partial").rpartition("-")[2]) for path in out.glob(".*.partial")})
    if not pids:
        return 0
    try:
        os.kill(dice.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def count_differences(one: Path, other: Path) -> int:
    """Return how many files of results differ, or are in one folder only."""
    names = {str(path.relative_to(top)) for top in (one, other) for path in top.rglob("*") if path.is_file()}
    _, different, missing = filecmp.cmpfiles(one, other, sorted(names), shallow=False)
    return len(different) + len(missing)


def measure_archive(root: Path, records: int, minutes: float, kill_s: float) -> Iterator[tuple[str, float]]:
    """Yield the figures by name, as they are known."""
    archive, one = root / "archive", root / "one"
    hours = make_archive(archive, records, minutes)
    yield "records", records
    yield "hours", hours
    ways = {
        "one": ("--jobs", "1"),
        "cluster_two": ("--cluster", "--jobs", "2"),
        "killed": ("--cluster", "--jobs", "2"),
        "two": ("--jobs", "2"),
        "cluster_one": ("--cluster", "--jobs", "1"),
    }
    for name, arguments in ways.items():
        run = run_archive(archive, root / name, *arguments, kill_s=kill_s if name == "killed" else None)
        yield f"{name}_wall_s", run.wall_s
        yield f"{name}_hours_a_second", hours / run.wall_s
        if name == "one":
            yield "cpu_s_per_hour", run.cpu_s / hours
        else:
            yield f"{name}_different_files", count_differences(one, root / name)
        if name == "killed":
            yield "kills", run.kills


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=5.0, help="length of each, up to 30")
    parser.add_argument("--kill-s", type=float, default=30.0)
    parser.add_argument("--folder", type=Path, help="where to work, a temporary folder by default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        for name, value in measure_archive(Path(root), options.records, options.minutes, options.kill_s):
            figures[name] = value
            print(f"{name:28} {value:10.2f}", flush=True)
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
