"""Scores of detected and classified beats by the rules of ANSI/AAMI EC57, the same counts as WFDB's `bxb` and `rxr`.

`score` compares two annotation files beat by beat (`model.scoring.beat_scores`) and run by run
(`model.scoring.run_scores`); `model.scoring.score_tables` prints and sums up what it gives. `match_record_beats` pairs
beats whose class does not matter.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.errors import ConfigError
from model.records.annotations import AnnotationFile
from model.records.wfdb_records import RecordAnnotations
from model.scoring.beat_scores import (
    EC57_CLASS_OF,
    OPEN_END,
    UNSCORED_BEAT,
    BeatCounts,
    BeatPair,
    ScoredSpan,
    compare_beats,
    round_to_samples,
)
from model.scoring.run_scores import RunCounts, compare_runs

WINDOW_S = 0.15
LEARNING_S = 300.0
"""The first five minutes of a record are not scored."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BeatMismatch:
    """A beat that was missed, extra or given another class.

    Labels are those of EC57; `O` is no beat, `X` no beat in a shutdown. The samples are one where there is one beat.
    """

    reference: str
    reference_sample: int
    test: str
    test_sample: int


@dataclass(frozen=True, slots=True, eq=False)
class RecordScore:
    """What the comparison of one record gave. Runs are None where `rxr` gives up, as on a test without annotations."""

    record: str
    beats: BeatCounts
    ventricular: RunCounts | None
    supraventricular: RunCounts | None
    mismatches: tuple[BeatMismatch, ...]


def build_scored_span(
    fs: float,
    length: int,
    start_s: float = LEARNING_S,
    end_s: float | None = None,
    window_s: float = WINDOW_S,
) -> ScoredSpan:
    """Part to compare of a record of `length` samples at `fs` hertz, from `start_s` to `end_s` (None: its end).

    With `end_s` 0 it ends where the first of the two files ends; with an unknown length, 0, where the reference does.
    Raises ConfigError where a time is not a time, or nothing is left to compare.
    """
    if not all(math.isfinite(value) and value >= 0 for value in (start_s, end_s or 0.0, window_s)):
        raise ConfigError("start, end and window of a score must be seconds, 0 or more")
    start, window, second = (round_to_samples(value, fs) for value in (start_s, window_s, 1.0))
    end = round_to_samples(end_s, fs) if end_s is not None else length or OPEN_END
    if 0 < end < start:
        raise ConfigError(
            f"nothing to score from {start_s:g} s to {end / fs:g} s: choose an earlier start or a later end"
        )
    return ScoredSpan(fs, start, end, window, second)


def score(record: str, reference: AnnotationFile, test: AnnotationFile, part: ScoredSpan) -> RecordScore:
    """Compare `test` with `reference`, both at the rate of `part`, which `build_scored_span` makes."""
    beats, pairs = compare_beats(reference, test, part)
    ventricular, supraventricular = compare_runs(reference, test, part)
    return RecordScore(record, beats, ventricular, supraventricular, tuple(_scored_mismatches(pairs)))


def _scored_mismatches(pairs: list[BeatPair]) -> list[BeatMismatch]:
    different = (
        pair for pair in pairs if pair.reference != pair.test and UNSCORED_BEAT not in (pair.reference, pair.test)
    )
    return [
        BeatMismatch(pair.reference, pair.reference_sample, pair.test, pair.test_sample)
        for pair in different
        if pair.reference and pair.test
    ]


@dataclass(frozen=True, slots=True, eq=False)
class BeatMatching:
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


def match_record_beats(notes: RecordAnnotations, fs: float, test: Indices, start_s: float = LEARNING_S) -> BeatMatching:
    """Compare beats `test`, at the record's rate `fs`, with its annotations; indices are those of `scorable_beats`.

    Beats inside reference flutter or fibrillation, from `[` to `]`, count neither as missed nor as extra.
    """
    reference, found = notes.samples.tolist(), [int(sample) for sample in test]
    part = replace(build_scored_span(fs, 0, start_s), end=max([1, *reference, *found]))
    _, compared = compare_beats(
        _build_annotation_file(reference, notes.symbols), _build_annotation_file(found, ("N",) * len(found)), part
    )
    pairs = [(p.reference_index, p.test_index) for p in compared if min(p.reference_index, p.test_index) >= 0]
    missed = [p.reference_index for p in compared if p.test_index < 0 and p.test in ("O", "X")]
    extra = [p.test_index for p in compared if p.reference_index < 0 and p.reference in ("O", "X")]
    indices = partial(np.array, dtype=np.int64)
    return BeatMatching(indices(pairs).reshape(-1, 2), indices(missed), indices(extra))


def _build_annotation_file(samples: list[int], symbols: tuple[str, ...]) -> AnnotationFile:
    return AnnotationFile(tuple(samples), symbols, (0,) * len(samples), ("",) * len(samples))


def scorable_beats(notes: RecordAnnotations) -> tuple[Indices, list[tuple[int, int]]]:
    """Samples of the beats outside flutter, and first and last sample of each stretch of flutter."""
    beats: list[int] = []
    flutter: list[tuple[int, int]] = []
    onset: int | None = None
    for sample, symbol in zip(notes.samples.tolist(), notes.symbols, strict=True):
        if symbol == "[" and onset is None:
            onset = sample
        elif symbol == "]" and onset is not None:
            flutter.append((onset, sample))
            onset = None
        elif symbol in EC57_CLASS_OF and onset is None:
            beats.append(sample)
    if onset is not None:
        flutter.append((onset, np.iinfo(np.int64).max))
    return np.array(beats, dtype=np.int64), flutter
