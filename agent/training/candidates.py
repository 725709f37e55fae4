"""What the live net sees of annotated streams: the monitor's own stages from the detector to the net's door."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.analysis.beat_context import LEAST, Contexts
from agent.analysis.beat_cutter import Cut
from agent.analysis.qrs_detector import Detector
from agent.analysis.sample_ring import History
from agent.core.messages import Floats
from model.beats.cluster_smoothing import NO_BEAT
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.training.augmented_streams import Stream

WINDOW = 0.15 * FS
"""A candidate within so many samples of a reference beat may be that beat."""
BLOCK = 250
UNSCORED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Candidates of the detector in their context: `inputs` (n, INPUTS) float16, `labels` (n,) indices of classes.

    A label is NO_BEAT where there is none, and UNSCORED in flutter. `records` (n,) names; `cuts` the candidates.
    """

    inputs: NDArray[np.float16]
    labels: NDArray[np.int64]
    records: NDArray[np.str_]
    cuts: tuple[Cut, ...]


def examples(streams: Sequence[Stream]) -> Examples:
    """All candidates of streams, which go through the stages side by side; those of a stream are in order."""
    cuts: list[list[Cut]] = [[] for _ in streams]
    inputs: list[list[Floats]] = [[] for _ in streams]
    history, detector = History(len(streams)), Detector(len(streams), LEAST)
    contexts = Contexts(history, len(streams))

    def keep(found: list[Cut], seen: Floats) -> None:
        for cut, one in zip(found, seen.astype(np.float16), strict=True):
            cuts[cut.row].append(cut)
            inputs[cut.row].append(one)

    for at in range(0, max(len(stream.x) for stream in streams), BLOCK):
        left: dict[int, list[int]] = {}
        for row, stream in enumerate(streams):
            if count := min(BLOCK, max(0, len(stream.x) - at)):
                left.setdefault(count, []).append(row)
        for count, group in left.items():
            rows, x = np.array(group), np.stack([streams[row].x[at : at + count] for row in group])
            history.push(rows, x)
            contexts.push(detector.push(rows, x))
            keep(*contexts.ready(group))
    for row in range(len(streams)):
        contexts.push(detector.flush(row))
        keep(*contexts.flush(row))
    return Examples(
        np.array([one for row in inputs for one in row]),
        np.concatenate([label(stream, found) for stream, found in zip(streams, cuts, strict=True)]),
        np.repeat([stream.record for stream in streams], [len(found) for found in cuts]),
        tuple(cut for found in cuts for cut in found),
    )


def label(stream: Stream, cuts: Sequence[Cut]) -> NDArray[np.int64]:
    """What each candidate of a stream is: reference beats take the nearest ones first, one to one."""
    samples = np.array([cut.sample for cut in cuts], float)
    pairs = [
        (abs(samples[i] - beat), i, j)
        for j, beat in enumerate(stream.beats.tolist())
        for i in range(
            int(np.searchsorted(samples, beat - WINDOW)), int(np.searchsorted(samples, beat + WINDOW, "right"))
        )
    ]
    labels = np.full(len(cuts), NO_BEAT)
    taken: set[int] = set()
    for _, i, j in sorted(pairs):
        if labels[i] == NO_BEAT and j not in taken:
            labels[i] = CLASSES.index(stream.labels[j])
            taken.add(j)
    for start, end in stream.flutter:
        labels[(samples >= start - WINDOW) & (samples <= end + WINDOW)] = UNSCORED
    return labels
