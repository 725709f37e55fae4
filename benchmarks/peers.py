"""QRS detectors of other packages on the same streams: `python -m benchmarks.peers [--records 100,101]`.

    pip install neurokit2 ts2vg sleepecg py-ecg-detectors wfdb

best after `pip install -e .` in an environment of its own, for NeuroKit2 0.2.13 wants pandas below 3. Each detector
gets the default lead of a record at 125 Hz, whole, and is scored by the rules of EC57, as `benchmarks.detection` scores
ours. Ours runs beside them, one bed in chunks of a second. A detector that is not installed is left out; a record on
which one fails counts as missed. CPU is that of filter and detector, without reading and resampling. A detector's own
fixed delay is not taken off.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.analysis.compiled_qrs import open_qrs_detector
from benchmarks.detection import HOUR, load
from benchmarks.figures import write_figures
from model.records.resample import FS
from model.records.wfdb_records import embedded_records, open_record, read_reference
from model.scoring.ec57 import match_record_beats, scorable_beats

Signal = NDArray[np.float64]
Find = Callable[[Signal], Any]
"""From (n,) mV at 125 Hz to the samples of the R peaks, as any kind of sequence."""
WORST = 3
COLUMNS = ("detector", "version", "Se %", "+P %", "CPU s/h", "times ours", "error ms", "sd", "causal", "worst records")


@dataclass(frozen=True, slots=True)
class Peer:
    """A detector: the package whose version it has, what pip installs for it, what it imports, and how it is called.

    `find` is given the first module of `imports`. What is not `causal` needs the whole record before the first beat.
    """

    name: str
    package: str
    pip: str
    imports: tuple[str, ...]
    find: Callable[[Any, Signal], Any]
    causal: bool = False


@dataclass(slots=True)
class Tally:
    """The results of one detector so far: rows by record, timing errors in ms, CPU seconds, and why records failed."""

    version: str
    causal: bool
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    errors: list[NDArray[np.float64]] = field(default_factory=list)
    cpu_s: float = 0.0
    samples: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def neurokit(nk: Any, x: Signal, method: str) -> Any:
    cleaned = nk.ecg_clean(x, sampling_rate=FS, method=method)
    return nk.ecg_findpeaks(cleaned, sampling_rate=FS, method=method)["ECG_R_Peaks"]


def ours(_: Any, x: Signal) -> list[int]:
    """One bed, pushed a second at a time."""
    detector, row, lead = open_qrs_detector(), np.zeros(1, np.intp), x[None].astype(np.float32)
    beats = [beat for first in range(0, len(x), FS) for beat in detector.push(row, lead[:, first : first + FS])]
    return [beat.sample for beat in beats + detector.flush(0)]


OURS = Peer("ecg-agent", "ecg-agent", "-e .", ("agent.analysis.compiled_qrs",), ours, causal=True)
PEERS = (
    Peer("NeuroKit2 neurokit", "neurokit2", "neurokit2", ("neurokit2",), lambda nk, x: neurokit(nk, x, "neurokit")),
    Peer(
        "NeuroKit2 pantompkins1985",
        "neurokit2",
        "neurokit2",
        ("neurokit2",),
        lambda nk, x: neurokit(nk, x, "pantompkins1985"),
    ),
    Peer(
        "NeuroKit2 emrich2023",
        "neurokit2",
        "neurokit2 ts2vg",
        ("neurokit2", "ts2vg"),
        lambda nk, x: neurokit(nk, x, "emrich2023"),
    ),
    Peer("SleepECG", "sleepecg", "sleepecg", ("sleepecg",), lambda sleepecg, x: sleepecg.detect_heartbeats(x, FS)),
    Peer("WFDB xqrs", "wfdb", "wfdb", ("wfdb.processing",), lambda wfdb, x: wfdb.xqrs_detect(x, fs=FS, verbose=False)),
    Peer(
        "py-ecg-detectors pan_tompkins",
        "py-ecg-detectors",
        "py-ecg-detectors",
        ("ecgdetectors",),
        lambda detectors, x: detectors.Detectors(FS).pan_tompkins_detector(x),
    ),
)


def installed(peer: Peer) -> Find | None:
    """Return the peer, ready to be called; if it cannot be imported, print how to install it and return None."""
    try:
        modules = [import_module(name) for name in peer.imports]
    except ImportError as error:
        print(f"{peer.name} is left out ({error}): pip install {peer.pip}")
        return None
    return lambda x: peer.find(modules[0], x)


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def run(tally: Tally, find: Find, name: str, x: Signal) -> None:
    """Run a detector on record `name`, its signal `x` (n,) mV at 125 Hz, and count its beats."""
    start = process_time()
    try:
        found = samples(find(x))
    except Exception as error:  # other packages may raise anything
        tally.failed[name] = f"{type(error).__name__}: {error}"
        found = np.zeros(0, np.int64)
    tally.cpu_s += process_time() - start
    tally.samples += len(x)
    tally.rows[name], errors = compare(name, found)
    tally.errors.append(errors)


def samples(peaks: Any) -> NDArray[np.int64]:
    """Return (k,) int64 samples in order. Raises ValueError if a peak is not a finite number."""
    found = np.sort(np.asarray(peaks, np.float64))
    if not np.isfinite(found).all():
        raise ValueError("a peak that is not a finite number")
    return np.rint(found).astype(np.int64)


def compare(name: str, found: NDArray[np.int64]) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Return the counts of record `name` for beats `found` (n,) at 125 Hz, and timing errors of true ones (k,) ms."""
    record = open_record(name)
    notes = read_reference(record)
    found = np.rint(found * record.fs / FS).astype(np.int64)
    result = match_record_beats(notes, record.fs, found)
    reference, _ = scorable_beats(notes)
    errors = (found[result.pairs[:, 1]] - reference[result.pairs[:, 0]]) * 1000 / record.fs
    counts = {"found": len(result.pairs), "missed": len(result.missed), "extra": len(result.extra)}
    return {**counts, "se": 100 * result.sensitivity, "ppv": 100 * result.positive_predictivity}, errors


def figures(tally: Tally) -> dict[str, Any]:
    """Return gross figures over all records, and the records with the most missed and extra beats."""
    found, missed, extra = (int(sum(row[key] for row in tally.rows.values())) for key in ("found", "missed", "extra"))
    errors = np.concatenate(tally.errors)
    wrong = {name: row["missed"] + row["extra"] for name, row in tally.rows.items()}
    return {
        "version": tally.version,
        "causal": tally.causal,
        "found": found,
        "missed": missed,
        "extra": extra,
        "se": 100 * found / max(1, found + missed),
        "ppv": 100 * found / max(1, found + extra),
        "error_mean_ms": float(errors.mean()) if len(errors) else None,
        "error_sd_ms": float(errors.std()) if len(errors) else None,
        "cpu_s_per_hour": tally.cpu_s / tally.samples * HOUR,
        "worst": sorted((name for name in wrong if wrong[name]), key=lambda name: -wrong[name])[:WORST],
        "failed": tally.failed,
        "records": tally.rows,
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results in Markdown; CPU also as a multiple of ours, which comes first."""
    unit = next(iter(results.values()))["cpu_s_per_hour"]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(cells(name, result, unit)) + " |" for name, result in results.items()]
    return "\n".join(lines)


def cells(name: str, result: dict[str, Any], unit: float) -> Iterable[str]:
    rows, cpu, some = result["records"], result["cpu_s_per_hour"], result["found"] > 0
    yield from (name, result["version"], f"{result['se']:.2f}", f"{result['ppv']:.2f}", f"{cpu:.3f}")
    yield f"{cpu / unit:.2f}"
    yield from (f"{result[key]:.1f}" if some else "" for key in ("error_mean_ms", "error_sd_ms"))
    yield "yes" if result["causal"] else "no"
    yield ", ".join(f"{record} ({rows[record]['se']:.1f} / {rows[record]['ppv']:.1f})" for record in result["worst"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", default=",".join(embedded_records()), help="names, with commas between them")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/peers.json"), help="file of the figures")
    options = parser.parse_args()

    ready = [(peer, find) for peer in (OURS, *PEERS) if (find := installed(peer))]
    tallies = {peer.name: Tally(version(peer.package), peer.causal) for peer, _ in ready}
    for name in options.records.split(","):
        x = load(name).astype(np.float64)
        for peer, find in ready:
            run(tallies[peer.name], find, name, x)
            if name in tallies[peer.name].failed:
                print(f"{peer.name} failed on record {name}: {tallies[peer.name].failed[name]}")
    results = {name: figures(tally) for name, tally in tallies.items()}
    print(table(results))
    write_figures(options.json, results)


if __name__ == "__main__":
    main()
