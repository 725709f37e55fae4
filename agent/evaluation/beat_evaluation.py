"""`ecg-agent evaluate`: the monitor's own stages over whole records, the beats as WFDB annotations, scored by EC57.

    record ─► chunks at 125 Hz ─► ward ─► beats ─► NAME.ecg ─► model.scoring.ec57 ─► report

`agent.evaluation.record_analysis` leads from a record to its beats, `agent.evaluation.beat_report` shows the figures.
What is scored is what was written: the annotation files are read back.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.analysis.rate_tracker import mean_heart_rate as heart_rate
from agent.core.config import Config, RhythmConfig
from agent.core.messages import Beat, FloatArray
from agent.evaluation.record_analysis import PipelineOutput, analyse_records
from model.beats.dataset import DS1, DS2, PACED_RECORDS
from model.errors import ConfigError, EcgError, RecordError, RunError
from model.files import write_atomically
from model.records.annotations import AnnotationFile, encode_annotations, read_annotations
from model.records.resample import FS
from model.records.wfdb_records import (
    DATABASE,
    Record,
    RecordAnnotations,
    default_lead,
    embedded_records,
    open_record,
    read_record_samples,
)
from model.scoring.beat_scores import BeatPair, ScoredSpan, compare_beats, round_to_samples
from model.scoring.ec57 import RecordScore, build_scored_span, scorable_beats, score

BEDS_TOGETHER = 4
"""Records that go through one ward together: more are hardly quicker."""
EMBEDDED_FOLDER = DATABASE / "mitdb"
RECORD_SETS: dict[str, Callable[[str], bool]] = {
    "all": lambda _: True,
    "ds1": lambda name: name in DS1,
    "ds2": lambda name: name in DS2,
    "unpaced": lambda name: name not in PACED_RECORDS,
}
"""Which records of the folder, by name."""

PACED_BEAT = "/"
"""A record is paced whose reference has such a beat."""
MISMATCH_MARGINS_S = (0.6, 0.9)
"""Seconds of signal that are kept before and after a mismatch."""

FigureArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to evaluate: records in `folder` (None: the embedded ones) that are in the set; times in seconds.

    With `score_only` the folder holds annotation files of others, `*.annotator`, and nothing is analysed. `reference`
    is the extension of the reference annotations and `annotator` that of the files written to `out`. `mismatches` keeps
    a list of the beats that were missed, extra or of another class.
    """

    folder: Path | None
    subset: str
    score_only: bool
    reference: str
    annotator: str
    out: Path
    start_s: float
    end_s: float | None
    window_s: float
    mismatches: bool
    jobs: int


@dataclass(frozen=True, slots=True)
class MismatchStrip:
    """A mismatch with the signal around it: `wave` (n,) of the analysed lead at the record's rate."""

    sample: int
    true: str
    said: str
    wave: FloatArray = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class RecordBeatResult:
    """Figures of one record, from the scored part alone.

    `errors_ms` of the R peaks of matched beats, `peak_ms` and `class_ms` from each R peak until it and its class were
    decided, `rates` (n, 2) shown and true heart rate at matched beats; the latter three are empty where only scored.
    """

    record: str
    fs: float
    seconds: float
    lead: str
    paced: bool
    embedded: bool
    score: RecordScore
    errors_ms: FigureArray
    peak_ms: FigureArray
    class_ms: FigureArray
    rates: FigureArray
    mismatches: tuple[MismatchStrip, ...]


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """A record that could not be evaluated, and the reason in one line."""

    record: str
    reason: str


@dataclass(frozen=True, slots=True)
class EvaluationCost:
    """Seconds of ECG that were analysed, CPU seconds of the pipeline for them, and seconds on the clock for all."""

    ecg_s: float
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class BeatEvaluation:
    """All that an evaluation gave, records in order of their names."""

    evaluated: tuple[RecordBeatResult, ...]
    skipped: tuple[SkippedRecord, ...]
    cost: EvaluationCost


@dataclass(frozen=True, slots=True)
class RecordTask:
    """A record with reference annotations and the part of it that is scored."""

    record: Record
    reference: AnnotationFile
    part: ScoredSpan


def evaluate_beats(config: Config, asked: EvaluationOptions, tell: Callable[[float, float], object]) -> BeatEvaluation:
    """Evaluate all records that are asked for; `tell` hears how many seconds of ECG of how many are done.

    Raises RecordError where not a single record could be evaluated, ConfigError for options that make no sense, and
    RunError where `out` cannot be written.
    """
    started = time.perf_counter()
    check_evaluation_options(asked)
    names = record_names(asked)
    _make_output_folder(asked.out)
    ready, skipped = prepare_records(names, asked)
    found, cpu_s = _run_record_groups(ready, config, asked, tell)
    evaluated = tuple(one for one in found if isinstance(one, RecordBeatResult))
    skipped += [one for one in found if isinstance(one, SkippedRecord)]
    if not evaluated:
        raise RecordError(f"none of {len(names)} records could be evaluated: {skipped[0].reason}")
    ecg_s = 0.0 if asked.score_only else sum(one.seconds for one in evaluated)
    cost = EvaluationCost(ecg_s, cpu_s, time.perf_counter() - started)
    return BeatEvaluation(evaluated, tuple(sorted(skipped, key=lambda one: one.record)), cost)


def check_evaluation_options(asked: EvaluationOptions) -> None:
    """Raises ConfigError where the options do not fit together."""
    if asked.subset not in RECORD_SETS:
        raise ConfigError(f"no set {asked.subset!r}: choose one of {', '.join(RECORD_SETS)} (--set), or give a folder")
    build_scored_span(FS, 0, asked.start_s, asked.end_s, asked.window_s)
    for extension in (asked.reference, asked.annotator):
        if not extension.isidentifier() or extension in ("hea", "dat"):
            raise ConfigError(f"{extension!r} is no name of an annotator: use letters and digits, such as ecg")
    if asked.score_only and asked.folder is None:
        raise ConfigError("say which folder holds the annotation files: ecg-agent evaluate --score-only DIR")
    if asked.annotator == asked.reference and not asked.score_only:
        raise ConfigError(f"{asked.annotator!r} is the reference: choose another name for ours (--annotator)")


def record_names(asked: EvaluationOptions) -> list[str]:
    """Paths of the records that are asked for, in order. Raises RecordError where there is none."""
    folder = asked.folder
    if folder is None:
        paths = [EMBEDDED_FOLDER / name for name in embedded_records()]
    elif not folder.is_dir():
        raise RecordError(f"no folder {folder}: give one with WFDB records, or leave it out for the embedded ones")
    else:
        ending = asked.annotator if asked.score_only else "hea"
        paths = sorted(path.with_suffix("") for path in folder.glob(f"*.{ending}") if path.is_file())
        if not paths:
            raise RecordError(f"no file *.{ending} in {folder}: choose another folder")
        if asked.score_only:  # others hand over annotations without records
            own = set(embedded_records()) - {path.stem for path in folder.glob("*.hea")}
            paths = [EMBEDDED_FOLDER / path.name if path.name in own else path for path in paths]
    names = [str(path) for path in paths if RECORD_SETS[asked.subset](path.name)]
    if not names:
        raise RecordError(f"no record of set {asked.subset} in {folder}: choose another set (--set)")
    return names


def prepare_records(names: Sequence[str], asked: EvaluationOptions) -> tuple[list[RecordTask], list[SkippedRecord]]:
    """The records that can be evaluated, and why the others cannot."""
    ready: list[RecordTask] = []
    skipped: list[SkippedRecord] = []
    for name in names:
        try:
            ready.append(_prepare_record(name, asked))
        except EcgError as error:
            skipped.append(SkippedRecord(Path(name).name, str(error)))
    return ready, skipped


def _prepare_record(name: str, asked: EvaluationOptions) -> RecordTask:
    record = open_record(name)
    reference = _read_whole_annotations(record.path.parent, record, asked.reference)
    return RecordTask(
        record, reference, build_scored_span(record.fs, record.length, asked.start_s, asked.end_s, asked.window_s)
    )


def _read_whole_annotations(folder: Path, record: Record, extension: str) -> AnnotationFile:
    notes = read_annotations(folder, record.name, extension, record.fs)
    if not notes.complete:
        raise RecordError(f"annotations {folder / record.name}.{extension} are cut short: they have no end mark")
    return notes


def _make_output_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make folder {folder}: {error.strerror or error}; choose another (--out)") from error


def _run_record_groups(
    ready: list[RecordTask], config: Config, asked: EvaluationOptions, tell: Callable[[float, float], object]
) -> tuple[list[RecordBeatResult | SkippedRecord], float]:
    """Evaluate records in groups, here or in processes of their own; their order is kept."""
    total = sum(one.record.length / one.record.fs for one in ready)
    size = max(1, min(BEDS_TOGETHER, -(-len(ready) // asked.jobs)))
    groups = [ready[i : i + size] for i in range(0, len(ready), size)]
    done = [0.0]

    def advance(seconds: float) -> None:
        done[0] += seconds
        tell(done[0], total)

    if asked.jobs == 1 or len(groups) < 2:
        classify = None if asked.score_only or not groups else _configured_classifier(config)
        results = [_evaluate_group(group, classify, config, asked, advance) for group in groups]
    else:
        with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool:
            futures = [pool.submit(_evaluate_in_process, group, config, asked) for group in groups]
            for future in as_completed(futures):
                advance(sum(one.record.length / one.record.fs for one in groups[futures.index(future)]))
            results = [future.result() for future in futures]
    return [one for found, _ in results for one in found], sum(cpu_s for _, cpu_s in results)


def _configured_classifier(config: Config) -> Callable[[FloatArray], FloatArray]:
    from agent.analysis.beat_classifier import load_beat_classifier

    return load_beat_classifier(config.monitor.weights, config.monitor.device, config.monitor.threads)


def _evaluate_in_process(
    group: list[RecordTask], config: Config, asked: EvaluationOptions
) -> tuple[list[RecordBeatResult | SkippedRecord], float]:
    """A group in a process of its own."""
    return _evaluate_group(
        group, None if asked.score_only else _configured_classifier(config), config, asked, lambda _: None
    )


def _evaluate_group(
    group: list[RecordTask],
    classify: Callable[[FloatArray], FloatArray] | None,
    config: Config,
    asked: EvaluationOptions,
    advance: Callable[[float], None],
) -> tuple[list[RecordBeatResult | SkippedRecord], float]:
    """What is found of some records, and the CPU seconds of the pipeline."""
    heard: dict[str, PipelineOutput] = {}
    cpu_s = 0.0
    if classify is not None:
        heard, cpu_s = analyse_records([one.record for one in group], config, classify, advance)
    found: list[RecordBeatResult | SkippedRecord] = []
    for one in group:
        try:
            found.append(_evaluate_record_beats(one, heard.get(one.record.name), config, asked))
        except RecordError as error:
            found.append(SkippedRecord(one.record.name, str(error)))
        if classify is None:
            advance(one.record.length / one.record.fs)
    return found, cpu_s


def _evaluate_record_beats(
    one: RecordTask, heard: PipelineOutput | None, config: Config, asked: EvaluationOptions
) -> RecordBeatResult:
    """Score a record; what was heard of it is written first. Raises RecordError where it was no use."""
    record, part = one.record, one.part
    if heard is None:
        folder = asked.folder or asked.out
    elif heard.failed:
        raise RecordError(heard.failed)
    else:
        folder = asked.out
        write_output_file(
            folder / f"{record.name}.{asked.annotator}", encode_annotations(annotate_beats(heard.beats, record.fs))
        )
    test = _read_whole_annotations(folder, record, asked.annotator)
    scored = score(record.name, one.reference, test, part)
    matched = [
        pair for pair in compare_beats(one.reference, test, part)[1] if pair.reference_index >= 0 <= pair.test_index
    ]
    apart = [pair.test_sample - pair.reference_sample for pair in matched]
    lead = heard.lead if heard else default_lead(tuple(signal.name for signal in record.signals))
    beats = _beats_in_part(heard.beats, part) if heard else []
    return RecordBeatResult(
        record=record.name,
        fs=record.fs,
        seconds=record.length / record.fs,
        lead=record.signals[lead].name,
        paced=PACED_BEAT in one.reference.symbols,
        embedded=record.path.parent == EMBEDDED_FOLDER,
        score=scored,
        errors_ms=np.array(apart, float) * 1000 / record.fs,
        peak_ms=np.array([beat.found - beat.sample for beat in beats], float) * 1000 / FS,
        class_ms=np.array([beat.decided - beat.sample for beat in beats], float) * 1000 / FS,
        rates=_paired_heart_rates(one, heard.beats if heard else [], matched, config.rhythm),
        mismatches=tuple(_cut_mismatch_strips(record, scored, lead)) if asked.mismatches else (),
    )


def _beats_in_part(beats: list[Beat], part: ScoredSpan) -> list[Beat]:
    """The beats inside the scored part."""
    end = part.end if part.end > 0 else np.inf
    return [beat for beat in beats if part.start <= beat.sample * part.rate / FS <= end]


def _paired_heart_rates(
    one: RecordTask, beats: list[Beat], matched: list[BeatPair], config: RhythmConfig
) -> FigureArray:
    """Heart rates (n, 2) at matched beats: as shown, and that of the reference's last RR intervals by the same rule.

    Beats at which none was shown count for nothing, nor do those after fewer intervals or after flutter among them.
    """
    notes = one.reference
    peaks, flutter = scorable_beats(RecordAnnotations(np.array(notes.samples, np.int64), notes.symbols, notes.texts))
    onsets = np.array([onset for onset, _ in flutter], np.int64)
    intervals = config.rate_intervals
    rates: list[tuple[float, float]] = []
    for pair in matched:
        shown = beats[pair.test_index].heart_rate if beats else None
        last = int(np.searchsorted(peaks, pair.reference_sample))
        if shown is None or last < intervals:
            continue
        first, at = peaks[last - intervals], pair.reference_sample
        if at > first and not ((first <= onsets) & (onsets < at)).any():
            rr_s = np.diff([*peaks[last - intervals : last], at]) / one.record.fs
            expected = heart_rate(rr_s.tolist(), config)
            if expected is not None:
                rates.append((shown, expected))
    return np.array(rates, float).reshape(-1, 2)


def _cut_mismatch_strips(record: Record, scored: RecordScore, lead: int) -> Iterator[MismatchStrip]:
    for one in scored.mismatches:
        sample = one.test_sample if one.reference in "OX" else one.reference_sample
        start, stop = (
            sample - round(MISMATCH_MARGINS_S[0] * record.fs),
            sample + round(MISMATCH_MARGINS_S[1] * record.fs),
        )
        wave = np.full(stop - start, np.nan, np.float32)
        signal = read_record_samples(record, max(0, start), stop)[:, lead]
        wave[max(0, -start) :][: len(signal)] = signal
        yield MismatchStrip(sample, one.reference, one.test, wave)


def annotate_beats(beats: Sequence[Beat], fs: float) -> AnnotationFile:
    """Beats as annotations at `fs` hertz: N S V F Q at the R peak.

    Stretches in which the analysis was suspended would be annotated here, as `~` with subtype 0x30: it never is today.
    """
    samples = tuple(round_to_samples(beat.sample / FS, fs) for beat in beats)
    return AnnotationFile(samples, tuple(beat.label for beat in beats), (0,) * len(beats), ("",) * len(beats))


def write_output_file(path: Path, content: bytes) -> None:
    """Write a file in one step. Raises RunError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; choose another folder (--out)") from error
