"""CPU of the whole analysis for many beds: `python -m benchmarks.ward [--beds 1,64,256] [--weights live] [--out FILE]`.

The embedded records, each bed from another place on, come as packets of 40 ms in microvolts; every 40 ms of signal the
ward takes one packet of each bed, as a monitor in real time does. What is measured is the pipeline from the door to the
rhythm and the detector alone on the same packets, in one thread; transport and pictures are `benchmarks.monitor`'s. The
peer of the same run is WFDB's xqrs on one hour of the same signal.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from wfdb.processing import XQRS

from agent.analysis.beat_classifier import load_beat_classifier as load_classifier
from agent.analysis.qrs_detector import QrsDetector
from agent.core import config as configuration
from agent.core.messages import Chunk, FloatArray, Lead
from agent.pipeline.pipeline import Pipeline
from benchmarks.detection import load
from model.records.resample import FS

PACKET = 5
"""Samples of a packet: 40 ms. One bed alone is given its signal in pieces of 2 s, as a replay at full speed does."""
PIECE = 250
WARM_S = 30
"""Seconds that go before the measurement: levels are learnt, memory is there."""
LEADS = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115),)
RECORDS = ("100", "106", "119", "201", "208", "213", "222", "232")
HOUR_S = 3600


def streams(beds: int, seconds: float) -> FloatArray:
    """(beds, samples) mV."""
    signals = [load(name) for name in RECORDS]
    count = round(seconds * FS)
    return np.stack([np.roll(signals[i % len(signals)], -997 * i)[:count] for i in range(beds)])


def packets(x: FloatArray) -> Iterator[list[Chunk]]:
    """One packet of every bed at a time."""
    size = PACKET if len(x) > 1 else PIECE
    counts = np.rint(1000 * x).astype(np.int32)[:, :, None]
    names = [str(bed) for bed in range(len(x))]
    for first in range(0, x.shape[1] - size + 1, size):
        yield [
            Chunk(name, "run", first, float(FS), LEADS, counts[bed, first : first + size], 0.0)
            for bed, name in enumerate(names)
        ]


def pipeline(x: FloatArray, weights: str) -> float:
    """CPU seconds of a bed-hour, door to rhythm."""
    settings = configuration.load_config(None, {})
    ward = Pipeline(settings, load_classifier(weights, "cpu", 1))
    spent = 0.0
    for messages in packets(x):
        began = time.process_time()
        ward.push(messages)
        if messages[0].first >= WARM_S * FS:
            spent += time.process_time() - began
    hours = len(x) * (x.shape[1] / FS - WARM_S) / HOUR_S
    return float(spent / hours)


def detection(x: FloatArray) -> float:
    """CPU seconds of a bed-hour of the detector alone."""
    detector, rows, size = QrsDetector(len(x)), np.arange(len(x)), PACKET if len(x) > 1 else PIECE
    began = time.process_time()
    for first in range(0, x.shape[1] - size + 1, size):
        detector.push(rows, x[:, first : first + size])
    return float((time.process_time() - began) / x.size * FS * HOUR_S)


def peer() -> float:
    """CPU seconds of xqrs for an hour of one lead."""
    x = np.concatenate([load(name) for name in RECORDS[:2]])[: HOUR_S * FS].astype(np.float64)
    began = time.process_time()
    XQRS(sig=x, fs=FS).detect(verbose=False)
    return (time.process_time() - began) / len(x) * FS * HOUR_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beds", default="1,64,256", help="numbers, with commas between them")
    parser.add_argument("--weights", default="live")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ward.json"))
    options = parser.parse_args()
    reference = peer()
    print(f"WFDB xqrs, whole record: {reference:.3f} CPU s an hour of one lead")
    results = []
    for beds in map(int, options.beds.split(",")):
        x = streams(beds, 90 if beds > 8 else 600)
        found, everything = detection(x), pipeline(x, options.weights)
        results.append(
            {"beds": beds, "detection_s": found, "everything_s": everything, "of_xqrs": everything / reference}
        )
        print(
            f"{beds:4} beds: detection {found:.3f}, everything {everything:.3f} CPU s a bed-hour, "
            f"{everything / reference:.2f} times xqrs"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"xqrs_s": reference, "beds": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
