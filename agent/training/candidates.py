"""The live net's inputs for annotated streams, from the monitor's own stages: what is trained on is what runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.analysis.beat_cutter import BeatCandidate, Candidates
from agent.analysis.stage import RunStart
from agent.core.config import SignalConfig
from agent.pipeline.sample_stages import SampleStages
from model.beats.cluster_smoothing import NO_BEAT
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.training.augmented_streams import AugmentedStream

MATCH_WINDOW = 0.15 * FS
"""Largest distance in samples of a candidate from its reference beat."""
CANDIDATE_BLOCK = 250
UNSCORED_LABEL = -1
NO_RAILS = -1e9, 1e9
"""Augmented streams have no converter: limits that no signal reaches, in millivolts."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCandidates:
    """Candidates of the detector in their context: `inputs` (n, INPUTS) float16, `labels` (n,) indices of classes.

    A label is NO_BEAT for a candidate without a reference beat, and UNSCORED_LABEL in flutter. `records` (n,) are
    names, `cuts` (n,) the candidates themselves.
    """

    inputs: NDArray[np.float16]
    labels: NDArray[np.int64]
    records: NDArray[np.str_]
    cuts: tuple[BeatCandidate, ...]


def build_candidates(streams: Sequence[AugmentedStream], signal: SignalConfig) -> LabelledCandidates:
    """Return all candidates of streams, which go through the monitor's stages side by side, each stream's in order."""
    stages = SampleStages(signal, in_context=True, windows=False, rows=len(streams))
    by_row: list[list[BeatCandidate]] = [[] for _ in streams]
    inputs: list[list[NDArray[np.float16]]] = [[] for _ in streams]

    def keep(candidates: Candidates) -> None:
        """Sort candidates and their inputs (n, INPUTS) by row."""
        for candidate, seen in zip(candidates.beats, candidates.inputs.astype(np.float16), strict=True):
            by_row[candidate.row].append(candidate)
            inputs[candidate.row].append(seen)

    for row, stream in enumerate(streams):
        stages.start(row, RunStart(stream.record, "", 0, "", FS, NO_RAILS))
    for at in range(0, max(len(stream.x) for stream in streams), CANDIDATE_BLOCK):
        by_length: dict[int, list[int]] = {}
        for row, stream in enumerate(streams):
            if count := min(CANDIDATE_BLOCK, max(0, len(stream.x) - at)):
                by_length.setdefault(count, []).append(row)
        for count, rows in by_length.items():
            x = np.stack([streams[row].x[at : at + count] for row in rows])
            keep(stages.push(np.array(rows), x).candidates)
    for row in range(len(streams)):
        keep(stages.flush(row).candidates)
    return LabelledCandidates(
        np.array([seen for row in inputs for seen in row]),
        np.concatenate([label_candidates(stream, row) for stream, row in zip(streams, by_row, strict=True)]),
        np.repeat([stream.record for stream in streams], [len(row) for row in by_row]),
        tuple(candidate for row in by_row for candidate in row),
    )


def label_candidates(stream: AugmentedStream, cuts: Sequence[BeatCandidate]) -> NDArray[np.int64]:
    """Return the labels (n,) of a stream's candidates; each reference beat takes one, the nearest pairs first."""
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
