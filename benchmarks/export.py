"""A checkpoint on PyTorch, and as ONNX in float32 and int8 on ONNX Runtime: figures, size and time, one thread each.

    python -m benchmarks.export [WEIGHTS] [--methods] [--json results.json]

Times are CPU time a beat, medians for one beat at once and for 256; the three take turns in a run, and `x` is how many
times faster than PyTorch. The figures are those of the checkpoint's own test beats. `--methods` compares the ways to
find the ranges of int8 instead, on training beats that these ranges were not taken from.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.figures import write_figures
from model.beats import dataset
from model.beats.dataset import BeatSet, DataSplit
from model.nets import checkpoint, checkpoint_card
from model.nets.beat_net import InferenceNet
from model.records.wfdb_records import CLASSES
from model.training import class_scores
from model.training.onnx_export import (
    BeatArray,
    ExportAgreement,
    build_onnx_graph,
    calibration_beats,
    export_onnx,
    open_onnx_session,
    quantise_onnx,
    require_onnx_packages,
    run_onnx_session,
    split_by_card,
)

BATCHES = {1: 1000, 256: 40}
"""Beats at once, and calls that are timed."""
METHODS = ("MinMax", "Entropy", "Percentile")
OVERALL = {"accuracy": "accuracy", "macro-F1": "macro_f1", "balanced": "balanced_accuracy"}


def microseconds(calls: dict[str, Callable[[BeatArray], object]], beats: BeatArray, count: int) -> dict[str, float]:
    """Return the median CPU time of a beat for each of `calls`, which take turns so that load affects all alike."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(count + count // 10):
        for name, call in calls.items():
            begin = time.thread_time()
            call(beats)
            if i >= count // 10:
                took[name].append((time.thread_time() - begin) / len(beats) * 1e6)
    return {name: median(times) for name, times in took.items()}


def measure(weights: Path, beats: DataSplit) -> dict[str, dict[str, Any]]:
    """Return figures, bytes and times of PyTorch, ONNX in float32 and ONNX in int8."""
    quick = InferenceNet(checkpoint.load_beat_net(weights, torch.device("cpu"))[0])
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in ("float32", "int8")}
        agreement = {name: export_onnx(weights, path, beats, int8=name == "int8") for name, path in paths.items()}
        calls: dict[str, Callable[[BeatArray], object]] = {
            "PyTorch": lambda beats: torch.cat(
                [quick(part) for part in torch.split(torch.from_numpy(beats), class_scores.BATCH_BY_DEVICE["cpu"])]
            ),
            **{name: partial(run_onnx_session, open_onnx_session(path)) for name, path in paths.items()},
        }
        times = {size: microseconds(calls, beats.test.beats[:size], count) for size, count in BATCHES.items()}
        sizes = {"PyTorch": weights.stat().st_size} | {name: path.stat().st_size for name, path in paths.items()}
    figures = {"PyTorch": agreement["float32"].pytorch} | {name: of.onnx for name, of in agreement.items()}
    return {
        name: {
            "bytes": sizes[name],
            **{f"us_per_beat_batch_{size}": taken[name] for size, taken in times.items()},
            **({} if name == "PyTorch" else _apart(agreement[name])),
            **figures[name],
        }
        for name in calls
    }


def compare_methods(weights: Path, train: BeatSet) -> dict[str, dict[str, Any]]:
    """Return the figures of int8 for each calibration method, on the training beats that calibration has not used."""
    net, _ = checkpoint.load_beat_net(weights, torch.device("cpu"))
    model, calibration = build_onnx_graph(net), calibration_beats(train)
    seen = {beat.tobytes() for beat in calibration}
    unseen = train.take(np.flatnonzero([beat.tobytes() not in seen for beat in train.beats]))
    with tempfile.TemporaryDirectory() as folder:
        path, metrics = Path(folder) / "net.onnx", {}
        for method in ("none: float32", *METHODS):
            graph = quantise_onnx(model, calibration, method) if method in METHODS else model
            path.write_bytes(graph.SerializeToString())
            predicted = run_onnx_session(open_onnx_session(path), unseen.beats).argmax(axis=1)
            confusion = class_scores.class_confusion_matrix(unseen.labels, predicted)
            metrics[method] = class_scores.compute_class_metrics(confusion)
    return metrics


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    peer = next(iter(rows.values()))
    timed = [key for key in peer if key.startswith("us_per_beat")]
    kilobytes = f"{'kB':>6}" if timed else ""
    heads = "".join(f"{'µs, batch ' + key.rpartition('_')[2]:>15}{'x':>6}" for key in timed)
    overall = "".join(f"{name:>10}" for name in OVERALL)
    print(f"{'':13}{kilobytes}{heads}{overall}", *(f"  Se {label}" for label in CLASSES))
    for name, row in rows.items():
        kilobytes = f"{row['bytes'] / 1000:6.0f}" if timed else ""
        times = "".join(f"{row[key]:15.1f}{peer[key] / row[key]:6.2f}" for key in timed)
        overall = "".join(f"{row[key]:10.2%}" for key in OVERALL.values())
        print(f"{name:13}{kilobytes}{times}{overall}", *(f"{100 * row['recall'][label]:6.1f}" for label in CLASSES))


def _apart(agreement: ExportAgreement) -> dict[str, Any]:
    return {"largest_difference": agreement.largest_difference, "other_class": agreement.other_class}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("weights", nargs="?", default="reproduction", help="shipped weights by name, or a file")
    parser.add_argument("--methods", action="store_true", help="compare calibration methods on training beats instead")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    require_onnx_packages()
    torch.set_num_threads(1)
    weights = checkpoint_card.find_checkpoint(options.weights)
    card = checkpoint.load_beat_net(weights, torch.device("cpu"))[1]
    beats = split_by_card(card, dataset.load_beat_set())
    rows = compare_methods(weights, beats.train) if options.methods else measure(weights, beats)
    show(rows)
    beats_text = "other training beats" if options.methods else f"{len(beats.test):,} test beats"
    print(f"{card.name}, {beats_text}, {card.training.get('protocol')}")
    for name, row in rows.items():
        if "other_class" in row:
            changed, difference = row["other_class"], row["largest_difference"]
            print(f"{name}: {changed} beats get another class; largest difference of a score {difference:.2g}")
    versions = {name: version(name) for name in ("torch", "onnxruntime", "onnx")}
    if options.json:
        write_figures(options.json, {"versions": versions, "beats": beats_text, "rows": rows})


if __name__ == "__main__":
    main()
