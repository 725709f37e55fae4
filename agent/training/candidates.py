"""What the live net sees of annotated streams: the monitor's own stages from the detector to the net's door."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.analysis.beat_context import LEAST_SCORE, BeatContextBuilder
from agent.analysis.beat_cutter import BeatCandidate
from agent.analysis.qrs_detector import QrsDetector
from agent.analysis.sample_ring import SampleRing
from agent.core.messages import FloatArray
from model.beats.cluster_smoothing import NO_BEAT
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.training.augmented_streams import AugmentedStream

MATCH_WINDOW = 0.15 * FS
"""A candidate within so many samples of a reference beat may be that beat."""
CANDIDATE_BLOCK = 250
UNSCORED_LABEL = -1


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCandidates:
    """Candidates of the detector in their context: `inputs` (n, INPUTS) float16, `labels` (n,) indices of classes.

    A label is NO_BEAT where there is none, and UNSCORED in flutter. `records` (n,) names; `cuts` the candidates.
    """

    inputs: NDArray[np.float16]
    labels: NDArray[np.int64]
    records: NDArray[np.str_]
    cuts: tuple[BeatCandidate, ...]


def build_candidates(streams: Sequence[AugmentedStream]) -> LabelledCandidates:
    """All candidates of streams, which go through the stages side by side; those of a stream are in order."""
    cuts: list[list[BeatCandidate]] = [[] for _ in streams]
    inputs: list[list[FloatArray]] = [[] for _ in streams]
    history, detector = SampleRing(len(streams)), QrsDetector(len(streams), LEAST_SCORE)
    contexts = BeatContextBuilder(history, len(streams))

    def keep(found: list[BeatCandidate], seen: FloatArray) -> None:
        for cut, one in zip(found, seen.astype(np.float16), strict=True):
            cuts[cut.row].append(cut)
            inputs[cut.row].append(one)

    for at in range(0, max(len(stream.x) for stream in streams), CANDIDATE_BLOCK):
        left: dict[int, list[int]] = {}
        for row, stream in enumerate(streams):
            if count := min(CANDIDATE_BLOCK, max(0, len(stream.x) - at)):
                left.setdefault(count, []).append(row)
        for count, group in left.items():
            rows, x = np.array(group), np.stack([streams[row].x[at : at + count] for row in group])
            history.push(rows, x)
            contexts.push(detector.push(rows, x))
            keep(*contexts.ready(group))
    for row in range(len(streams)):
        contexts.push(detector.flush(row))
        keep(*contexts.flush(row))
    return LabelledCandidates(
        np.array([one for row in inputs for one in row]),
        np.concatenate([label_candidates(stream, found) for stream, found in zip(streams, cuts, strict=True)]),
        np.repeat([stream.record for stream in streams], [len(found) for found in cuts]),
        tuple(cut for found in cuts for cut in found),
    )


def label_candidates(stream: AugmentedStream, cuts: Sequence[BeatCandidate]) -> NDArray[np.int64]:
    """What each candidate of a stream is: reference beats take the nearest ones first, one to one."""
    samples = np.array([cut.sample for cut in cuts], float)
    pairs = [
        (abs(samples[i] - beat), i, j)
        for j, beat in enumerate(stream.beats.tolist())
        for i in range(
            int(np.searchsorted(samples, beat - MATCH_WINDOW)),
            int(np.searchsorted(samples, beat + MATCH_WINDOW, "right")),
        )
    ]
    labels = np.full(len(cuts), NO_BEAT)
    taken: set[int] = set()
    for _, i, j in sorted(pairs):
        if labels[i] == NO_BEAT and j not in taken:
            labels[i] = CLASSES.index(stream.labels[j])
            taken.add(j)
    for start, end in stream.flutter:
        labels[(samples >= start - MATCH_WINDOW) & (samples <= end + MATCH_WINDOW)] = UNSCORED_LABEL
    return labels
