"""What a report costs: `python -m benchmarks.report [--hours 24] [--alarms 400] [--json FILE]`.

A recording of one bed is made, of an embedded record again and again, with its annotated beats and alarms at random
places; then its report is written as HTML and PDF in a process of its own. The peer is wfdb-python, which reads the
same segments and their annotations.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from agent.core.config import RecordConfig
from agent.core.events import EventText
from agent.core.messages import Alarm, Beat, Chunk, Lead, Result, Strip
from agent.recording.recorder import Recorder
from benchmarks.figures import write_figures
from model.beats.dataset import read_default_lead
from model.records import wfdb_records
from model.records.resample import FS

RECORD = "208"
BED, RUN = "7", "d584d64e"
STARTED = 1_735_689_600.0
LEADS = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115), Lead("V1", "mV", 1000.0, 0.0, -5120, 5115))
BLOCK_S = 60
Samples = NDArray[np.int64]
OURS = """
import contextlib, io, sys
from pathlib import Path
from agent.core.config import load_config
from agent.report.command import write_reports
with contextlib.redirect_stdout(io.StringIO()):
    write_reports(Path(sys.argv[1]), load_config(None), None, Path(sys.argv[2]))
"""
PEER = """
import sys, wfdb
from pathlib import Path
for header in sorted(Path(sys.argv[1]).glob("*/*.hea")):
    wfdb.rdrecord(str(header.with_suffix("")))
    wfdb.rdann(str(header.with_suffix("")), "ecg")
"""


def record(folder: Path, hours: float, alarms: int) -> None:
    """A session as a monitor leaves it."""
    header = wfdb_records.open_record(RECORD)
    lead = np.rint(1000 * read_default_lead(header)).astype(np.int32)
    samples, labels = _beats(header)
    total, size = round(hours * 3600 * FS), BLOCK_S * FS
    chance = random.Random(0)
    onsets = sorted(chance.randrange(10 * FS, total - 10 * FS) for _ in range(alarms))
    config = RecordConfig(rotate_min=60.0, sync_s=60.0, limit_mb=0.0, reserve_mb=0.0, replay_s=120.0)
    said = (0.96, 0.01, 0.01, 0.01, 0.01)
    before: int | None = None
    with Recorder(folder, config, {"version": "benchmark", "weights": "annotations"}) as recorder:
        for first in range(0, total, size):
            now_s = STARTED + (first + size) / FS
            counts = np.take(lead, np.arange(first, first + size), mode="wrap")
            found: list[Result] = [EventText("start", BED, "", 0, f"run {RUN}, lead MLII")] if not first else []
            turn, low = divmod(first, len(lead))
            for at, label in _between(samples, labels, turn * len(lead), low, size, len(lead)):
                rr_s = None if before is None else (at - before) / FS
                found.append(Beat(BED, at, at + 100, label, said, rr_s, 0.0, rr_s and 60 / rr_s, r_peak_known=at + 25))
                before = at
            for onset in [one for one in onsets if first <= one < first + size]:
                known = onset + 500
                alarm = Alarm(
                    BED, RUN, "V run", "medium", "V run: 3 beats at 150/min", onset, known, now_s, False, known
                )
                wave = np.take(lead, np.arange(known - 1250, known + 1250), mode="wrap") / np.float32(1000)
                found += [alarm, Strip(alarm, "MLII", known - 1250, wave.astype(np.float32))]
            chunk = Chunk(BED, RUN, first, float(FS), LEADS, np.stack([counts, counts // 2], axis=1), now_s, now_s)
            recorder.push([chunk], found, now_s)
            if first // size % 60 == 0:
                recorder.flush()


def _beats(header: wfdb_records.Record) -> tuple[Samples, list[str]]:
    """Annotated R peaks at 125 Hz and their classes."""
    samples, labels = wfdb_records.read_reference(header).beats()
    return np.rint(samples * FS / header.fs).astype(np.int64), list(labels)


def _between(samples: Samples, labels: list[str], base: int, low: int, size: int, whole: int) -> list[tuple[int, str]]:
    """Beats of a block that begins at `low` of the record's turn that begins at sample `base`."""
    made = []
    for shift in (0, whole):
        first, stop = np.searchsorted(samples + shift, (low, low + size))
        made += [(base + shift + int(samples[i]), labels[i]) for i in range(first, stop)]
    return made


def cost(code: str, *arguments: str) -> tuple[float, float]:
    """CPU seconds and greatest memory in MB of Python code in a process of its own, looked at every 20 ms."""
    with subprocess.Popen([sys.executable, "-c", code, *arguments]) as process:
        watched, peak, used = psutil.Process(process.pid), 0, 0.0
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                with watched.oneshot():
                    times, memory = watched.cpu_times(), watched.memory_info().rss
                peak, used = max(peak, memory), max(used, times.user + times.system)
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"failed: {code}")
    return used, peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--alarms", type=int, default=400)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder, out = Path(root) / "session", Path(root) / "report.html"
        began = time.monotonic()
        record(folder, options.hours, options.alarms)
        print(f"recorded in {time.monotonic() - began:.0f} s")
        ours, memory = cost(OURS, str(folder), str(out))
        peer, peer_memory = cost(PEER, str(folder))
        figures = {
            "hours": options.hours,
            "alarms": options.alarms,
            "report_cpu_s": ours,
            "report_mb": memory,
            "html_mb": out.stat().st_size / 1e6,
            "pdf_mb": out.with_suffix(".pdf").stat().st_size / 1e6,
            "wfdb_read_cpu_s": peer,
            "wfdb_read_mb": peer_memory,
            "of_wfdb_read": ours / peer,
        }
    for name, value in figures.items():
        print(f"{name:16} {value:8.2f}")
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    main()
