"""Fits the weights of the R peak detector: `python -m benchmarks.detector_fit --svdb FOLDER [--rounds N] [--every K]`.

Candidates are those that the detector itself meets with the weights at hand, labelled by the annotated beats; a few
rounds make the two agree. Views of the 22 records of DS1 and of the records in FOLDER (MIT-BIH Supraventricular
Arrhythmia Database) are both leads, clean, and the first lead with the noise of `model.training.augmented_streams`.
Printed are the weights for `agent/analysis/qrs_evidence.py`, which says what became of them. With `--every 3` a round
takes about a minute.
"""

import argparse
import contextlib
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.analysis import qrs_evidence
from agent.analysis.qrs_detector import AdaptiveThresholds, QrsDetector, RPeak
from agent.analysis.qrs_evidence import QrsCandidate
from model.beats.dataset import DS1
from model.records.resample import FS
from model.training.augmented_streams import AugmentedStream, StreamVariant, build_augmented_stream

Array = NDArray[np.float64]

VIEWS = (
    (StreamVariant("as it is", "first"), 2.5),
    (StreamVariant("other lead", "second"), 1.0),
    (StreamVariant("noise of 12 dB", "first", noise_db=(12, 12), share=0.8), 0.3),
    (StreamVariant("noise of 6 dB", "first", noise_db=(6, 6), share=0.8), 0.6),
    (StreamVariant("noise of 0 dB", "first", noise_db=(0, 0), share=0.8), 0.3),
)
"""Views of a record, and the weight of their candidates."""
NEAR, FAR = 12, 18
"""A candidate within so many samples of a beat is its own; further away, if there is no other: 96 and 144 ms."""
FIRST_SAMPLE = 5 * FS
RIDGE = 20.0
"""Strength of the penalty on large weights."""
MOST_STEPS = 30


class TracedThresholds(AdaptiveThresholds):
    """Thresholds that note every candidate and its terms. Each waits for its follower."""

    doubt = -math.inf, math.inf

    def __init__(self) -> None:
        super().__init__(0, -math.inf)
        self.trace: list[tuple[int, list[float]]] = []

    def decide(self, candidate: QrsCandidate, terms: list[float], score: float, now: int, peaks: list[RPeak]) -> None:
        self.trace.append((candidate.sample, terms))
        super().decide(candidate, terms, score, now, peaks)


def trace_candidates(stream: AugmentedStream) -> tuple[Array, Array]:
    """Return the terms (n, terms) of the candidates of a stream, and whether each is a beat (n,)."""
    detector = QrsDetector()
    bed = TracedThresholds()
    detector.beds[0] = bed
    detector.push(np.zeros(1, np.intp), stream.x[None])
    detector.flush(0)
    samples = np.array([sample for sample, _ in bed.trace])
    order = np.argsort(samples, kind="stable")
    samples, terms = samples[order], np.array([terms for _, terms in bed.trace])[order]
    beats = np.zeros(len(samples))
    for beat in stream.beats.tolist():
        first, last = np.searchsorted(samples, (beat - FAR, beat + FAR)).tolist()
        away = np.abs(samples[first:last] - beat)
        if len(away):
            likely = terms[first:last, 1] + terms[first:last, 2] - away / 8 - 100 * (away > NEAR)
            beats[first + int(likely.argmax())] = 1
    kept = (samples > FIRST_SAMPLE) & (samples < stream.beats[-1] + FS)
    for start, end in stream.flutter:
        kept &= (samples < start - FAR) | (samples > end + FAR)
    return terms[kept], beats[kept]


def fit_logistic(terms: Array, beats: Array, weights: Array) -> Array:
    """Return the coefficients (terms,) of a logistic regression, by Newton's method with a ridge."""
    result = np.zeros(terms.shape[1])
    for _ in range(MOST_STEPS):
        odds = 1 / (1 + np.exp(-terms @ result))
        slope = terms.T @ (weights * (beats - odds)) - RIDGE * result
        bend = (terms * (weights * odds * (1 - odds))[:, None]).T @ terms + RIDGE * np.eye(len(result))
        step = np.linalg.solve(bend, slope)
        result += step
        if np.abs(step).max() < 1e-4:
            break
    return result


def collect_views(names: list[str], seed: int) -> list[tuple[AugmentedStream, float]]:
    """Return all views of records with the weights of their candidates."""
    return [(build_augmented_stream(name, view, seed), weight) for name in names for view, weight in VIEWS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--svdb", type=Path, required=True, help="folder with records 800, 801 ...")
    parser.add_argument("--rounds", type=int, default=3, help="fits, each on the candidates met with the last one")
    parser.add_argument("--every", type=int, default=1, help="of the records take every K-th only")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    options = parser.parse_args()
    streams = collect_views(list(DS1[:: options.every]), options.seed)
    with contextlib.chdir(options.svdb):  # the noise depends on the name of a record, not on where it is
        names = sorted(path.stem for path in Path().glob("*.hea"))
        streams += collect_views(names[:: options.every], options.seed)
    for _ in range(options.rounds):
        traced = [trace_candidates(stream) for stream, _ in streams]
        terms, beats = (np.concatenate(part) for part in zip(*traced, strict=True))
        weights = np.repeat([weight for _, weight in streams], [len(part) for _, part in traced])
        fitted = fit_logistic(terms, beats, weights)
        qrs_evidence.WEIGHT_VALUES[:] = np.round(fitted, 2).tolist()
        for name, value in zip(qrs_evidence.WEIGHTS, qrs_evidence.WEIGHT_VALUES, strict=True):
            print(f'    "{name}": {value:.2f},')
        print(f"{len(beats)} candidates, {beats.mean():.1%} beats", flush=True)


if __name__ == "__main__":
    main()
