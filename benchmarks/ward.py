"""CPU of the whole analysis for many beds: `python -m benchmarks.ward [--beds 1,64,256] [--weights live] [--leads 2]`.

The embedded records, each bed from another place on, come as packets of 40 ms in microvolts; every 40 ms of signal the
pipeline takes one packet of each bed, in a bundle, as a monitor in real time does. The largest ward is measured with
packets of 200 ms too, which `ecg-agent simulate ward` sends, and one bed alone gets pieces of 2 s, as in a replay at
full speed.
Measured, in one thread: the pipeline from millivolts to alarms, and the detector alone on the same packets. Transport
and pictures are the matter of `benchmarks.monitor`. The peer is WFDB's xqrs on one hour of the same signal.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from wfdb.processing import XQRS

from agent.analysis.beat_classifier import load_beat_classifier as load_classifier
from agent.analysis.compiled_qrs import open_qrs_detector
from agent.core import config as configuration
from agent.core.messages import BedsChunk, Chunk, FloatArray, Lead
from agent.pipeline.pipeline import Pipeline
from agent.wire.bundles import DescribedRun
from benchmarks.detection import load
from benchmarks.figures import write_figures
from model.records.resample import FS

PACKET_MS, WARD_PACKET_MS, PIECE_MS = 40, 200, 2000
"""Signal in a packet of a record, of a ward, and in a piece of a replay at full speed."""
WARM_S = 30
"""Seconds before the measurement begins: levels are learnt, memory is allocated."""
LEADS = tuple(Lead(name, "mV", 1000.0, 0.0, -5120, 5115) for name in ("MLII", "V1"))
RECORDS = ("100", "106", "119", "201", "208", "213", "222", "232")
BED_S, WARD_S = 600, 90
"""Signal of each bed of a small ward and of a large one."""
HOUR_S = 3600


def streams(beds: int, seconds: float) -> FloatArray:
    """Return (beds, samples) float32 mV, each bed from another place of a record on."""
    signals = [load(name) for name in RECORDS]
    count = round(seconds * FS)
    return np.stack([np.roll(signals[i % len(signals)], -997 * i)[:count] for i in range(beds)])


def bundles(x: FloatArray, packet_ms: int, leads: int = 1) -> Iterator[BedsChunk]:
    """Yield one packet of every bed at a time from `x` (beds, samples) mV; a second lead is the first upside down."""
    size = packet_ms * FS // 1000
    counts = np.rint(1000 * np.stack([x, -x][:leads], axis=2)).astype(np.int32)
    runs = [DescribedRun(bed, str(bed), "run", float(FS), LEADS[:leads], b"", 0) for bed in range(len(x))]
    for first in range(0, x.shape[1] - size + 1, size):
        yield BedsChunk(runs, [first] * len(x), counts[:, first : first + size], 0.0, 0.0, [0] * len(x))


def packets(x: FloatArray, packet_ms: int, leads: int = 1) -> Iterator[list[Chunk]]:
    """Yield the same as `bundles`, each packet by itself."""
    for bundle in bundles(x, packet_ms, leads):
        yield [bundle.chunk(bed) for bed in range(len(x))]


def pipeline(x: FloatArray, packet_ms: int, weights: str, leads: int = 1) -> float:
    """Return CPU seconds of a bed-hour of the whole analysis of `x` (beds, samples) mV, with one lead or two."""
    settings = configuration.load_config(None, {})
    ward = Pipeline(settings, load_classifier(weights, "cpu", 1))
    spent_s = 0.0
    for bundle in bundles(x, packet_ms, leads):
        messages = [bundle] if len(x) > 1 else [bundle.chunk(0)]
        began_s = time.process_time()
        ward.push(messages)
        if bundle.firsts[0] >= WARM_S * FS:
            spent_s += time.process_time() - began_s
    hours = len(x) * (x.shape[1] / FS - WARM_S) / HOUR_S
    return float(spent_s / hours)


def detection(x: FloatArray, packet_ms: int) -> float:
    """Return CPU seconds of a bed-hour of the detector alone on `x` (beds, samples) mV."""
    detector, rows = open_qrs_detector(len(x)), np.arange(len(x))
    size = packet_ms * FS // 1000
    began_s = time.process_time()
    for first in range(0, x.shape[1] - size + 1, size):
        detector.push(rows, x[:, first : first + size])
    return float((time.process_time() - began_s) / x.size * FS * HOUR_S)


def peer() -> float:
    """Return CPU seconds of xqrs for an hour of one lead."""
    x = np.concatenate([load(name) for name in RECORDS[:2]])[: HOUR_S * FS].astype(np.float64)
    began = time.process_time()
    XQRS(sig=x, fs=FS).detect(verbose=False)
    return (time.process_time() - began) / len(x) * FS * HOUR_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beds", default="1,64,256", help="numbers, with commas between them")
    parser.add_argument("--weights", default="live")
    parser.add_argument("--leads", type=int, choices=(1, 2), default=1, help="leads of each bed")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/ward.json"), help="file of the figures")
    options = parser.parse_args()
    reference = peer()
    print(f"WFDB xqrs, whole record: {reference:.3f} CPU s an hour of one lead")
    sizes = [int(beds) for beds in options.beds.split(",")]
    loads = [(beds, PACKET_MS if beds > 1 else PIECE_MS) for beds in sizes]
    if max(sizes) > 1:
        loads.append((max(sizes), WARD_PACKET_MS))
    results = []
    for beds, packet_ms in loads:
        x = streams(beds, WARD_S if beds > 8 else BED_S)
        detection_s, everything_s = detection(x, packet_ms), pipeline(x, packet_ms, options.weights, options.leads)
        results.append(
            {
                "beds": beds,
                "packet_ms": packet_ms,
                "detection_s": detection_s,
                "everything_s": everything_s,
                "of_xqrs": everything_s / reference,
            }
        )
        print(
            f"{beds:4} beds, packets of {packet_ms:4} ms: detection {detection_s:.3f}, everything {everything_s:.3f} "
            f"CPU s a bed-hour, {everything_s / reference:.2f} times xqrs"
        )
    write_figures(options.json, {"xqrs_s": reference, "beds": results})


if __name__ == "__main__":
    main()
