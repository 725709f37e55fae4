"""Scores of detected and classified beats by the rules of ANSI/AAMI EC57, with the counts of WFDB's `bxb` and `rxr`.

`score_beats` takes arrays or annotations; `score_record` takes annotation files and a part of a record. Both compare
beat by beat (`model.scoring.beat_scores`), run by run (`model.scoring.run_scores`) and episode by episode
(`model.scoring.episode_scores`); `model.scoring.score_tables` prints the scores as the programs of WFDB do.
`match_record_beats` pairs beats whatever their class.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from model.errors import ConfigError
from model.records.annotations import MNEMONICS, AnnotationFile
from model.records.wfdb_records import EC57_CLASS_OF, RecordAnnotations
from model.scoring.beat_scores import (
    OPEN_END,
    UNSCORED_BEAT,
    BeatCounts,
    BeatPair,
    DetectionCounts,
    ScoredSpan,
    compare_beats,
    round_to_samples,
)
from model.scoring.episode_scores import AF_EPISODES, MARKED_VF, EpisodeCounts, compare_episodes
from model.scoring.run_scores import RunCounts, compare_runs

WINDOW_S = 0.15
LEARNING_S = 300.0
"""The first five minutes of a record are not scored."""

Indices = NDArray[np.int64]


@runtime_checkable
class WfdbAnnotation(Protocol):
    """What `wfdb.rdann` returns, as far as the scorer needs it."""

    sample: NDArray[np.integer[Any]]
    symbol: Sequence[str]
    subtype: Sequence[int] | NDArray[np.integer[Any]] | None
    aux_note: Sequence[str] | None


SampleIndices = NDArray[np.integer[Any]] | list[int]
BeatSource = AnnotationFile | RecordAnnotations | WfdbAnnotation | tuple[SampleIndices, Sequence[str]] | SampleIndices
"""Annotations, a pair of sample indices and WFDB symbols, or the sample indices of beats that all count as N."""


@dataclass(frozen=True, slots=True)
class BeatMismatch:
    """A beat that was missed, extra or given another class.

    Labels are those of EC57; `O` is no beat, `X` no beat in a shutdown. If only one file has a beat, both samples are
    its sample.
    """

    reference: str
    reference_sample: int
    test: str
    test_sample: int


@dataclass(frozen=True, slots=True, eq=False)
class RecordScore:
    """The comparison of one record: beats as `bxb` counts them, runs as `rxr`, episodes as `epicmp` does.

    Attributes
    ----------
    record : str
        Name of the record.
    beats : BeatCounts
        Beats by reference and test class, RR differences and shutdown.
    ventricular_runs, supraventricular_runs : RunCounts or None
        Couplets, short and long runs; None if `rxr` gives up, as on a test without annotations.
    af_episodes, vf_episodes : EpisodeCounts
        Episodes of atrial fibrillation by rhythm labels, and of ventricular flutter and fibrillation by `[` and `]`.
    mismatches : tuple of BeatMismatch
        Every beat that was missed, extra or given another class.
    """

    record: str
    beats: BeatCounts
    ventricular_runs: RunCounts | None
    supraventricular_runs: RunCounts | None
    af_episodes: EpisodeCounts
    vf_episodes: EpisodeCounts
    mismatches: tuple[BeatMismatch, ...]

    @property
    def qrs(self) -> DetectionCounts:
        """Beats of any class."""
        return self.beats.qrs

    @property
    def veb(self) -> DetectionCounts:
        """Ventricular ectopic beats."""
        return self.beats.veb

    @property
    def sveb(self) -> DetectionCounts:
        """Supraventricular ectopic beats."""
        return self.beats.sveb


def score_beats(
    reference: BeatSource,
    test: BeatSource,
    fs: float,
    start_s: float = LEARNING_S,
    end_s: float | None = None,
    window_s: float = WINDOW_S,
) -> RecordScore:
    """Score beats against a reference as WFDB's `bxb`, `rxr` and `epicmp` do.

    Parameters
    ----------
    reference, test : AnnotationFile, RecordAnnotations, wfdb.Annotation, (samples, symbols), or samples
        The beats. `samples` is an array (n,) of integers, the sample indices of the R peaks in ascending order, and
        `symbols` a sequence of n WFDB symbols (https://physionet.org/physiotools/wag/annot-5.htm); the classes N, S, V,
        F and Q are symbols of themselves. Beats without symbols all count as N. Only annotations have rhythm labels and
        the marks of unreadable signal, which episodes of atrial fibrillation and shutdowns need.
    fs : float
        Sampling rate of both in hertz.
    start_s, end_s : float
        The part to score, in seconds. By default the first five minutes are left out, as EC57 has it, and the reference
        ends the comparison: give the length of a record as `end_s` to count detections after its last beat.
    window_s : float
        Seconds by which the two beats of a pair may be apart.

    Returns
    -------
    RecordScore
        `qrs`, `veb` and `sveb` have `sensitivity` and `positive_predictivity`. The functions of
        `model.scoring.score_tables` make the tables of WFDB of it: `beat_lines`, `shutdown_lines`, `run_lines`,
        `episode_lines` and `mismatch_lines`.

    Raises
    ------
    ValueError
        For samples that are not ascending integers, unknown symbols, and rates or times that make no sense.

    Notes
    -----
    The rules are those of ANSI/AAMI EC57:2012; the counts equal those of the programs of WFDB (Moody, "Evaluating ECG
    analyzers", https://physionet.org/physiotools/wag/eval.htm) on the files in tests/data/ec57.

    Examples
    --------
    >>> reference = [400, 700, 1000], ["N", "V", "N"]
    >>> test = [402, 705, 1300], ["N", "V", "N"]
    >>> score = score_beats(reference, test, fs=360, start_s=0, end_s=10)
    >>> score.qrs
    DetectionCounts(true_positives=2, false_negatives=1, false_positives=1)
    >>> score.veb.sensitivity, score.veb.positive_predictivity
    (1.0, 1.0)
    """
    if not (math.isfinite(fs) and fs > 0):
        raise ValueError(f"a sampling rate of {fs} Hz makes no sense")
    try:
        part = build_scored_span(fs, 0, start_s, end_s, window_s)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return score_record("", _read_source(reference, "reference"), _read_source(test, "test"), part)


def score_record(record: str, reference: AnnotationFile, test: AnnotationFile, part: ScoredSpan) -> RecordScore:
    """Score `test` against `reference`, both at the rate of `part`, which `build_scored_span` makes."""
    beats, pairs = compare_beats(reference, test, part)
    ventricular, supraventricular = compare_runs(reference, test, part)
    af, vf = (compare_episodes(reference, test, kind, part) for kind in (AF_EPISODES, MARKED_VF))
    return RecordScore(record, beats, ventricular, supraventricular, af, vf, tuple(_scored_mismatches(pairs)))


def build_scored_span(
    fs: float,
    length: int,
    start_s: float = LEARNING_S,
    end_s: float | None = None,
    window_s: float = WINDOW_S,
) -> ScoredSpan:
    """Return the part to compare of a record of `length` samples at `fs` hertz.

    It runs from `start_s` to `end_s` seconds (None: the end of the record). With an `end_s` of 0 it ends where the
    first of the two files ends; with an unknown length (0), where the reference does. Raises ConfigError if a time is
    not a time, or nothing is left to compare.
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


def _read_source(source: BeatSource, name: str) -> AnnotationFile:
    """Convert what `score_beats` takes to an annotation file; `name` is for messages."""
    if isinstance(source, AnnotationFile):
        return source
    if isinstance(source, RecordAnnotations):
        return build_annotation_file(source.samples.tolist(), source.symbols, source.texts)
    if isinstance(source, WfdbAnnotation):
        file = build_annotation_file(source.sample.tolist(), source.symbol, source.aux_note)
        # What a user built may have negative subtypes, or none.
        marks = None if source.subtype is None else tuple(int(subtype) & 0xFF for subtype in source.subtype)
        return replace(file, subtypes=marks or file.subtypes)
    if not isinstance(source, tuple):
        samples = _checked_samples(source, name)
        return build_annotation_file(samples, ("N",) * len(samples))
    if len(source) != 2:
        raise ValueError(f"{name}: give a pair (samples, symbols), or an array of sample indices")
    samples = _checked_samples(source[0], name)
    symbols = tuple(source[1])
    if len(symbols) != len(samples):
        raise ValueError(f"{name}: {len(samples)} samples but {len(symbols)} symbols")
    if unknown := set(symbols) - set(MNEMONICS):
        raise ValueError(f"{name}: {sorted(unknown)[0]!r} is no WFDB annotation symbol")
    return build_annotation_file(samples, symbols)


def _checked_samples(samples: SampleIndices, name: str) -> list[int]:
    indices = np.asarray(samples)
    if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
        raise ValueError(
            f"{name}: sample indices must be an array (n,) of integers, not {indices.dtype} {indices.shape}"
        )
    values: list[int] = indices.tolist()
    if values and (values[0] < 0 or values != sorted(values)):
        raise ValueError(f"{name}: sample indices must be 0 or more and ascend")
    return values


def build_annotation_file(
    samples: Sequence[int], symbols: Sequence[str], texts: Sequence[str] | None = None
) -> AnnotationFile:
    """Return beats as annotations without subtypes."""
    n = len(samples)
    return AnnotationFile(tuple(samples), tuple(symbols), (0,) * n, ("",) * n if texts is None else tuple(texts))


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
    """Which beats belong together: `pairs` (k, 2) int64 indices (reference, test) of matched beats.

    `missed` (m,) int64 are the indices of unmatched reference beats, `extra` (e,) int64 those of unmatched test beats.
    """

    pairs: Indices
    missed: Indices
    extra: Indices

    @property
    def sensitivity(self) -> float:
        """Share of the reference beats that were found; 1.0 if there are none."""
        return 1 - len(self.missed) / max(1, len(self.pairs) + len(self.missed))

    @property
    def positive_predictivity(self) -> float:
        """Share of the test beats that are beats of the reference; 1.0 if there are none."""
        return 1 - len(self.extra) / max(1, len(self.pairs) + len(self.extra))


def match_record_beats(notes: RecordAnnotations, fs: float, test: Indices, start_s: float = LEARNING_S) -> BeatMatching:
    """Match detected beats with the annotated beats of a record, whatever their class.

    Parameters
    ----------
    notes : RecordAnnotations
        The reference. Beats inside its flutter or fibrillation, from `[` to `]`, count neither as missed nor as extra.
    fs : float
        Sampling rate of the record in hertz.
    test : (n,) int64
        Detected beats, as sample indices at that rate.
    start_s : float
        Seconds at the start of the record that are not compared.

    Returns
    -------
    BeatMatching
        Reference indices are those of `scorable_beats`.
    """
    reference = notes.samples.tolist()
    detected = [int(sample) for sample in test]
    # To the last beat of both, not of the reference alone, so that later detections count as extra.
    part = replace(build_scored_span(fs, 0, start_s), end=max([1, *reference, *detected]))
    _, compared = compare_beats(
        build_annotation_file(reference, notes.symbols), build_annotation_file(detected, "N" * len(detected)), part
    )
    pairs = [(p.reference_index, p.test_index) for p in compared if min(p.reference_index, p.test_index) >= 0]
    missed = [p.reference_index for p in compared if p.test_index < 0 and p.test in ("O", "X")]
    extra = [p.test_index for p in compared if p.reference_index < 0 and p.reference in ("O", "X")]
    indices = partial(np.array, dtype=np.int64)
    return BeatMatching(indices(pairs).reshape(-1, 2), indices(missed), indices(extra))


def scorable_beats(notes: RecordAnnotations) -> tuple[Indices, list[tuple[int, int]]]:
    """Return the samples (n,) int64 of the beats outside flutter, and first and last sample of each flutter."""
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
