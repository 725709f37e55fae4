"""Quality and cost of the R peak detector: `python -m benchmarks.detection [--records 100,101] [--json FILE]`.

Quality is scored on the default lead of each record by the rules of EC57, as `model.scoring.ec57` states them. Decision
delay is the time from the R peak to the last sample the decision waited for. CPU is the detector's alone.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.analysis.compiled_qrs import open_qrs_detector
from agent.analysis.qrs_detector import RPeak
from agent.core.messages import FloatArray
from benchmarks.figures import write_figures
from model.beats.dataset import read_default_lead
from model.records.resample import FS
from model.records.wfdb_records import embedded_records, open_record, read_reference
from model.scoring.ec57 import LEARNING_S, match_record_beats, scorable_beats

LOADS = ((1, 5), (1, 125), (64, 5), (64, 125), (256, 5), (256, 25), (256, 125))
"""Beds and samples a chunk whose cost is measured."""
HOUR = 3600 * FS


def load(name: str) -> FloatArray:
    """Return the default lead of an embedded record at 125 Hz, rounded to a microvolt: (n,) float32 mV."""
    return np.round(read_default_lead(open_record(name)), 3)


def detect(x: FloatArray) -> list[RPeak]:
    detector = open_qrs_detector()
    return detector.push(np.zeros(1, np.intp), x[None]) + detector.flush(0)


def score(name: str, beats: list[RPeak]) -> tuple[dict[str, float], NDArray[np.float64], NDArray[np.int64]]:
    """Return the figures of one record, timing errors of true beats (k,) ms, decision delays of all (n,) samples."""
    record = open_record(name)
    notes = read_reference(record)
    found = np.rint(np.array([beat.sample for beat in beats]) * record.fs / FS).astype(np.int64)
    result = match_record_beats(notes, record.fs, found)
    reference, _ = scorable_beats(notes)
    errors = (found[result.pairs[:, 1]] - reference[result.pairs[:, 0]]) * 1000 / record.fs
    delays = np.array([beat.decided - beat.sample for beat in beats if beat.sample >= LEARNING_S * FS], np.int64)
    row = {
        "found": len(result.pairs),
        "missed": len(result.missed),
        "extra": len(result.extra),
        "se": 100 * result.sensitivity,
        "ppv": 100 * result.positive_predictivity,
        "error_mean_ms": float(errors.mean()),
        "error_sd_ms": float(errors.std()),
        "delay_median_ms": float(np.median(delays)) * 1000 / FS,
        "delay_max_ms": float(delays.max()) * 1000 / FS,
    }
    return row, errors, delays


def summary(
    rows: list[dict[str, float]], errors: NDArray[np.float64], delays: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """Gross figures (all beats together) and the average of the records' figures."""
    found, missed, extra = (int(sum(row[key] for row in rows)) for key in ("found", "missed", "extra"))
    delays_ms = delays * 1000 / FS
    gross = {
        "found": found,
        "missed": missed,
        "extra": extra,
        "se": 100 * found / (found + missed),
        "ppv": 100 * found / (found + extra),
        "error_mean_ms": float(errors.mean()),
        "error_sd_ms": float(errors.std()),
        "delay_median_ms": float(np.median(delays_ms)),
        "delay_p99_ms": float(np.percentile(delays_ms, 99)),
        "delay_max_ms": float(delays_ms.max()),
    }
    return {"gross": gross, "average": {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}}


def cost(signals: list[FloatArray], beds: int, chunk: int, samples: int) -> float:
    """Return CPU seconds for an hour of one of `beds` beds, pushed together in chunks of `chunk` samples."""
    rows = np.arange(beds)
    shift = np.arange(beds) // len(signals) * 997
    x = np.stack([np.roll(signals[i % len(signals)][:samples], shift[i]) for i in range(beds)])
    detector = open_qrs_detector(beds)
    start = time.process_time()
    for first in range(0, samples - chunk + 1, chunk):
        detector.push(rows, x[:, first : first + chunk])
    return (time.process_time() - start) / (beds * samples) * HOUR


def show(name: str, row: dict[str, float]) -> None:
    print(
        f"{name:8}{row['found']:8.0f}{row['missed']:7.0f}{row['extra']:7.0f}{row['se']:9.2f}{row['ppv']:8.2f}"
        f"{row['error_mean_ms']:8.1f}{row['error_sd_ms']:7.1f}{row['delay_median_ms']:9.0f}{row['delay_max_ms']:7.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", default=",".join(embedded_records()), help="names, with commas between them")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/detection.json"), help="their file")
    options = parser.parse_args()
    names = options.records.split(",")
    signals = [load(name) for name in names]

    print("record     found missed  extra       Se      +P  err ms     sd  delay ms    max")
    scored = [score(name, detect(x)) for name, x in zip(names, signals, strict=True)]
    rows = [row for row, _, _ in scored]
    for name, row in zip(names, rows, strict=True):
        show(name, row)
    total = summary(rows, np.concatenate([s[1] for s in scored]), np.concatenate([s[2] for s in scored]))
    for name, row in total.items():
        show(name, row)
    print(f"decision delay p99 {total['gross']['delay_p99_ms']:.0f} ms")

    costs = []
    for beds, chunk in LOADS:
        seconds = cost(signals, beds, chunk, samples=min(len(signals[0]), HOUR // 2 // beds + 20 * FS))
        costs.append({"beds": beds, "chunk": chunk, "cpu_s_per_bed_hour": seconds})
        print(f"{beds:4} beds in chunks of {chunk:3} samples: {seconds:.3f} CPU s a bed-hour")
    result = {"records": dict(zip(names, rows, strict=True)), **total, "cost": costs}
    write_figures(options.json, result)


if __name__ == "__main__":
    main()
