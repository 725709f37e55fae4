"""Beat-by-beat comparison of detected beats with reference annotations, by the rules of ANSI/AAMI EC57.

The matching is that of the WFDB program `bxb`: one to one, nearest first, within 150 ms, from 5:00 on.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.records import Annotations

BEAT_SYMBOLS = frozenset("NLRBAaJSejnVrEF/fQ?")
"""WFDB symbols of annotations that are beats."""
WINDOW_S = 0.15
LEARNING_S = 300.0
"""The first five minutes of a record are not scored."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Which beats belong together: `pairs` (k, 2) indices (reference, test); `missed` reference; `extra` test ones."""

    pairs: Indices
    missed: Indices
    extra: Indices

    @property
    def sensitivity(self) -> float:
        """Part of the reference beats that were found; 1.0 where there are none."""
        return 1 - len(self.missed) / max(1, len(self.pairs) + len(self.missed))

    @property
    def positive_predictivity(self) -> float:
        """Part of the found beats that are beats; 1.0 where none was found."""
        return 1 - len(self.extra) / max(1, len(self.pairs) + len(self.extra))


def match(reference: Indices, test: Indices, window: int, start: int = 0) -> Matching:
    """Pair beats at sample indices `reference` and `test`, each in increasing order, at the same rate, from `start` on.

    `window` is the largest distance of a pair in samples.
    """
    ref, found = [int(s) for s in reference], [int(s) for s in test]
    pairs: list[tuple[int, int]] = []
    missed: list[int] = []
    extra: list[int] = []
    i, j, paired = _begin(ref, found, window, start)
    pairs += paired
    while i < len(ref) and j < len(found):
        if abs(ref[i] - found[j]) <= window and _nearest(ref, found, i, j):
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif found[j] < ref[i]:
            extra.append(j)
            j += 1
        else:
            missed.append(i)
            i += 1
    missed += range(i, len(ref))
    extra += range(j, len(found))
    array = partial(np.array, dtype=np.int64)
    return Matching(array(pairs).reshape(-1, 2), array(missed), array(extra))


def match_record(notes: Annotations, fs: float, test: Indices, start_s: float = LEARNING_S) -> Matching:
    """Compare beats `test`, at the record's rate `fs`, with its annotations; indices are those of `beat_samples`.

    Beats inside reference flutter or fibrillation, from `[` to `]`, count neither as missed nor as extra.
    """
    reference, flutter = beat_samples(notes)
    result = match(reference, test, round(WINDOW_S * fs), round(start_s * fs))
    outside = [not any(on <= test[j] <= off for on, off in flutter) for j in result.extra]
    return Matching(result.pairs, result.missed, result.extra[outside])


def beat_samples(notes: Annotations) -> tuple[Indices, list[tuple[int, int]]]:
    """Samples of the beats outside flutter, and first and last sample of each stretch of flutter."""
    beats: list[int] = []
    flutter: list[tuple[int, int]] = []
    onset: int | None = None
    for sample, symbol in zip(notes.samples.tolist(), notes.symbols, strict=True):
        if symbol == "[":
            onset = sample
        elif symbol == "]" and onset is not None:
            flutter.append((onset, sample))
            onset = None
        elif symbol in BEAT_SYMBOLS and onset is None:
            beats.append(sample)
    if onset is not None:
        flutter.append((onset, np.iinfo(np.int64).max))
    return np.array(beats, dtype=np.int64), flutter


def _nearest(ref: list[int], found: list[int], i: int, j: int) -> bool:
    """Whether the earlier of two beats has no better partner in the beat that follows the later one."""
    distance = abs(ref[i] - found[j])
    other = _distance(ref, i, found, j + 1) if found[j] < ref[i] else _distance(ref, i + 1, found, j)
    return distance < other or _distance(ref, i + 1, found, j + 1) < other


def _distance(ref: list[int], i: int, found: list[int], j: int) -> float:
    """Distance of two beats; where one list has ended, that beat is infinitely late, as in `bxb`."""
    if i >= len(ref) and j >= len(found):
        return 0.0
    return abs(ref[i] - found[j]) if i < len(ref) and j < len(found) else float("inf")


def _begin(ref: list[int], found: list[int], window: int, start: int) -> tuple[int, int, list[tuple[int, int]]]:
    """First beats to compare, and the pair of the first reference beat with a test beat just before `start`, if any."""
    i = next((k for k, sample in enumerate(ref) if sample >= start), len(ref))
    j = next((k for k, sample in enumerate(found) if sample >= start), len(found))
    if i == len(ref):
        return i, j, []
    first = _distance(ref, i, found, j)
    if j > 0 and ref[i] - found[j - 1] < first and ref[i] - found[j - 1] <= window:
        return i + 1, j, [(i, j - 1)]
    # A beat right after `start` that is not the first reference beat's may belong to a beat before `start`.
    if j < len(found) and found[j] - start <= window and _distance(ref, i, found, j + 1) < first:
        j += 1
    return i, j, []
