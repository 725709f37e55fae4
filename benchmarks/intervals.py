"""PR, QRS and QT against cardiologists, on LUDB: `python -m benchmarks.intervals [--ludb FOLDER] [--peer PYTHON]`.

R peaks are those of our detector in lead II. A measurement of ours is one of the median beat of 10 s; the reference is
the median of the beats that are marked. Each lead is measured by itself, then all three together ("all leads"). The
constants of `model/intervals` were chosen on records with odd numbers, the figures are those of even numbers; only
"500 Hz, chosen on" has those of the odd ones.

At other rates and with noise only all leads together are measured.

Each row has the median and the 90 % quantile of the absolute error, the median error, how many are measured of those
that have a reference, and how many errors are within the uncertainty that was stated with the measurement. P waves: how
many leads and people with P are found (Se), and how many of those found have one (+P).

Other rates are made by resampling; noise is muscle noise (`ma`) and baseline wander (`bw`) of the Noise Stress Test
Database (doi:10.13026/C2HS3T) of that RMS, in each lead another piece. `--peer PYTHON` names a Python that has
NeuroKit2 (doi:10.3758/s13428-020-01516-y). It gets the same signals and R peaks and measures each beat, of which we
take the median.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly

from agent import detect_r_peaks
from benchmarks.figures import write_figures
from benchmarks.ludb import AnnotatedRecord, Array, read_ludb
from model.intervals.beat_intervals import BeatIntervals, measure_signal_intervals
from model.records.wfdb_records import open_record, read_record_samples

LEADS = ("II", "V1", "V5")
ALL = "all leads"
NAMES = ("PR", "QRS", "QT")
RATES = (125, 250, 360)
NOISES = (("ma", 0.06), ("ma", 0.12), ("bw", 0.3))
"""Kind of noise, and its RMS in mV."""
METHODS, PEER_LEADS = ("dwt",), LEADS[:1]
"""NeuroKit2's default, in the lead of the R peaks. Its method cwt raises ValueError on such signals."""
PEER = """
import json, sys, warnings
import numpy as np
from importlib import import_module
nk = import_module("neurokit2")
warnings.simplefilter("ignore")
def measure(x, fs, peaks, method):
    _, waves = nk.ecg_delineate(nk.ecg_clean(x, sampling_rate=fs), peaks, sampling_rate=fs, method=method)
    at = {key: np.array(waves.get(key, [np.nan] * len(peaks)), float) for key in
          ("ECG_P_Onsets", "ECG_R_Onsets", "ECG_R_Offsets", "ECG_T_Offsets")}
    p, on, off, t = at.values()
    found = [1000 / fs * d[np.isfinite(d)] for d in (on - p, off - on, t - on)]
    return [float(np.median(d)) if len(d) else None for d in found]
def attempt(*arguments):
    try:
        return measure(*arguments)
    except (ValueError, IndexError, ZeroDivisionError):
        return [None] * 3
with np.load(sys.argv[1]) as file:
    content = dict(file)
fs, signals = int(content["fs"]), content["signals"]
out = {method: [[attempt(x[:, lead], fs, content[f"peaks_{i}"], method) for lead in range(x.shape[1])]
       for i, x in enumerate(signals)] for method in sys.argv[2:]}
print(json.dumps({"version": nk.__version__, "found": out}))
"""
"""What the other Python runs: PR, QRS and QT of each record and lead by each method, as JSON."""


def measure_record(task: tuple[Array, float, bool]) -> dict[str, BeatIntervals]:
    """Measure a signal (n, leads) in mV at a rate, in all leads, and each lead by itself if that is asked for."""
    signal, fs, single = task
    peaks = detect_r_peaks(signal[:, 0], fs)
    columns = {name: signal[:, [lead]] for lead, name in enumerate(LEADS)} if single else {}
    columns[ALL] = signal
    return {name: measure_signal_intervals(part, peaks, fs) for name, part in columns.items()}


def build_tasks(
    records: list[AnnotatedRecord], fs: float | None = None, noise: Array | None = None
) -> list[tuple[Array, float, bool]]:
    """Return what is measured of records; at another rate, or with noise (records, n, leads) in mV, only all leads."""
    signals = [one.signal if noise is None else one.signal + noise[index] for index, one in enumerate(records)]
    if fs is None:
        return [(signal, one.fs, noise is None) for signal, one in zip(signals, records, strict=True)]
    ratio = Fraction(fs) / Fraction(records[0].fs)
    return [(resample_poly(signal, ratio.numerator, ratio.denominator, axis=0), fs, False) for signal in signals]


def cut_noise(records: list[AnnotatedRecord], kind: str, rms: float) -> Array:
    """Return noise (records, n, leads) in mV from random places of a record of the NSTDB."""
    random = np.random.default_rng(0)
    source, (length, leads) = open_record(kind), records[0].signal.shape
    ratio = Fraction(records[0].fs) / Fraction(source.fs)
    noise = resample_poly(read_record_samples(source)[:, 0], ratio.numerator, ratio.denominator)
    starts = random.integers(0, len(noise) - length, (len(records), leads))
    parts = np.stack([[noise[start : start + length] for start in row] for row in starts]).transpose(0, 2, 1)
    parts = parts - parts.mean(axis=1, keepdims=True)
    scaled: Array = rms * parts / parts.std(axis=1, keepdims=True)
    return scaled


def reference_intervals(record: AnnotatedRecord, lead: str) -> Array:
    """Return PR, QRS and QT (3,) in ms as they are marked."""
    return record.shared_intervals() if lead == ALL else record.lead_intervals(LEADS.index(lead))


def score_errors(errors: Iterable[float], due: int, doubts: Iterable[float | None] = ()) -> dict[str, Any]:
    """Return the figures of a row: from errors in ms, the number of references, and uncertainties if there are any."""
    every = np.array(list(errors), float)
    row: dict[str, Any] = {"due": due, "measured": len(every)}
    if len(every):
        row |= {
            "median_ms": round(float(np.median(np.abs(every))), 1),
            "q90_ms": round(float(np.quantile(np.abs(every), 0.9)), 1),
            "bias_ms": round(float(np.median(every)), 1),
        }
    known = np.array([np.nan if doubt is None else doubt for doubt in doubts], float)
    if len(known) and len(every):
        row["within_percent"] = round(100 * float((np.abs(every) <= known).mean()), 1)
        row["uncertainty_ms"] = round(float(np.nanmedian(known)), 1)
    return row


def score_found(records: list[AnnotatedRecord], found: list[dict[str, BeatIntervals]]) -> list[dict[str, Any]]:
    """Return a row for each lead, and all leads, and interval."""
    rows = []
    for lead in found[0]:
        marked = [reference_intervals(record, lead) for record in records]
        for which, name in enumerate(NAMES):
            pairs = [
                (getattr(one[lead], name.lower()), float(reference[which]))
                for one, reference in zip(found, marked, strict=True)
                if np.isfinite(reference[which])
            ]
            measured = [(estimate, reference) for estimate, reference in pairs if estimate.ms is not None]
            errors = [estimate.ms - reference for estimate, reference in measured]
            doubts = [estimate.uncertainty_ms for estimate, _ in measured]
            rows.append({"lead": lead, "interval": name} | score_errors(errors, len(pairs), doubts))
    return rows


def score_p_waves(records: list[AnnotatedRecord], found: list[dict[str, BeatIntervals]]) -> list[dict[str, Any]]:
    """Return for each lead, and all leads, how many P waves are found and rightly so."""
    rows = []
    for lead in found[0]:
        true = false = missed = absent = 0
        for record, one in zip(records, found, strict=True):
            each = [record.has_p(number) for number in range(len(LEADS))]
            has = any(each) if lead == ALL else each[LEADS.index(lead)]
            if has is None:
                continue
            seen = one[lead].pr.ms is not None
            true, false = true + (has and seen), false + (not has and seen)
            missed, absent = missed + (has and not seen), absent + (not has and not seen)
        rows.append({"lead": lead, "true": true, "missed": missed, "false": false, "absent": absent})
    return rows


def start_peer(records: list[AnnotatedRecord], python: str, folder: Path) -> subprocess.Popen[str]:
    """Start NeuroKit2 in another Python on the signals and R peaks of records, which a folder will hold."""
    peaks = {f"peaks_{index}": detect_r_peaks(one.signal[:, 0], one.fs) for index, one in enumerate(records)}
    arrays: dict[str, Any] = {
        "fs": records[0].fs,
        "signals": np.stack([one.signal[:, : len(PEER_LEADS)] for one in records]),
    } | peaks
    np.savez(folder / "signals.npz", **arrays)
    command = [python, "-c", PEER, str(folder / "signals.npz"), *METHODS]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def score_peer(records: list[AnnotatedRecord], peer: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the rows of each method of NeuroKit2 when it is done."""
    answer = json.loads(peer.communicate()[0].splitlines()[-1])
    rows = []
    for method, every in answer["found"].items():
        for lead, title in enumerate(PEER_LEADS):
            for which, name in enumerate(NAMES):
                marked = [float(record.lead_intervals(lead)[which]) for record in records]
                pairs = [(one[lead][which], ref) for one, ref in zip(every, marked, strict=True) if np.isfinite(ref)]
                errors = [ms - reference for ms, reference in pairs if ms is not None]
                rows.append({"method": method, "lead": title, "interval": name} | score_errors(errors, len(pairs)))
    return {"version": answer["version"], "rows": rows}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ludb", type=Path, default=Path("../shared/ludb"))
    parser.add_argument("--peer", help="a Python with NeuroKit2")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/intervals.json"))
    parser.add_argument("--only", help="conditions to measure, such as '500 Hz,125 Hz'; all if left out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    records = read_ludb(options.ludb)
    chosen_on, held_out = ([one for one in records if one.number % 2 == odd] for odd in (1, 0))
    conditions: list[tuple[str, list[AnnotatedRecord], dict[str, Any]]] = [
        ("500 Hz", held_out, {}),
        ("500 Hz, chosen on", chosen_on, {}),
        *((f"{fs} Hz", held_out, {"fs": fs}) for fs in RATES),
        *((f"{kind} {rms:g} mV", held_out, {"noise": cut_noise(held_out, kind, rms)}) for kind, rms in NOISES),
    ]
    wanted = options.only.split(",") if options.only else [title for title, _, _ in conditions]
    conditions = [condition for condition in conditions if condition[0] in wanted]
    workers = ProcessPoolExecutor(
        mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,), max_workers=os.cpu_count()
    )
    results: dict[str, Any] = {"records": len(held_out), "conditions": []}
    with tempfile.TemporaryDirectory() as folder, workers:
        peer = start_peer(held_out, options.peer, Path(folder)) if options.peer else None
        for title, part, how in conditions:
            found = list(workers.map(measure_record, build_tasks(part, **how)))
            rows = score_found(part, found)
            results["conditions"].append({"condition": title, "rows": rows, "p_waves": score_p_waves(part, found)})
            _print_rows(title, rows)
        if peer:
            results["peer"] = score_peer(held_out, peer)
            _print_rows(f"NeuroKit2 {results['peer']['version']}", results["peer"]["rows"])
    write_figures(options.json, results)


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    print(title)
    for row in rows:
        print("   ", *(f"{value}" for value in row.values()), flush=True)


if __name__ == "__main__":
    main()
