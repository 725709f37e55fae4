"""Run the monitor's stages over whole records, write the beats as WFDB annotations, and score them by EC57.

    record ─► chunks at 125 Hz ─► pipeline ─► beats ─► NAME.ecg ─► model.scoring.ec57 ─► report

`agent.evaluation.record_analysis` leads from a record to its beats, `agent.evaluation.beat_report` builds the report.
The annotation files are read back, so that what is scored is what was written.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.analysis.rate_tracker import mean_heart_rate
from agent.cluster.groups import ItemFound, WorkStep, run_groups
from agent.cluster.open_hands import WorkPlace, configure_place, open_hands
from agent.core.config import Config, RhythmConfig
from agent.core.messages import Beat, FloatArray
from agent.evaluation.record_analysis import (
    PipelineOutput,
    analyse_records,
    load_configured_classifier,
    share_in_groups,
    shared_things,
)
from agent.evaluation.record_selection import (
    EMBEDDED_FOLDER,
    EvaluationCost,
    EvaluationOptions,
    RecordTask,
    SkippedRecord,
    check_evaluation_options,
    encode_record_annotations,
    prepare_records,
    read_whole_annotations,
    record_names,
)
from model.errors import RecordError, RunError
from model.files import write_atomically
from model.records.annotations import AnnotationFile
from model.records.lead_choice import default_lead
from model.records.resample import FS
from model.records.wfdb_records import (
    Record,
    RecordAnnotations,
    read_record_samples,
)
from model.scoring.beat_scores import BeatPair, ScoredSpan, compare_beats, round_to_samples
from model.scoring.ec57 import RecordScore, scorable_beats, score_record

PACED_BEAT = "/"
"""A record with such a beat in its reference is paced."""
MISMATCH_MARGINS_S = (0.6, 0.9)
"""Seconds of signal kept before and after a mismatch."""

FigureArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MismatchStrip:
    """A mismatch with the signal around it: `wave` (n,) float32 of the analysed lead at the record's rate."""

    sample: int
    true: str
    detected: str
    wave: FloatArray = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class RecordBeatResult:
    """Figures of the scored part of one record.

    `errors_ms` (n,): detected minus annotated R peak of matched beats. `peak_ms`, `class_ms` (k,): from each R peak
    until it and its class were decided. `rates` (m, 2): shown and true heart rate at matched beats. The last three are
    empty if annotations of another detector are scored.
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
class BeatEvaluation:
    """The results of an evaluation, records in order of their names."""

    evaluated: tuple[RecordBeatResult, ...]
    skipped: tuple[SkippedRecord, ...]
    cost: EvaluationCost


RecordOutcome = RecordBeatResult | SkippedRecord


def evaluate_beats(
    config: Config, options: EvaluationOptions, on_progress: Callable[[float, float], object]
) -> BeatEvaluation:
    """Evaluate the beats of all records that the options name.

    Parameters
    ----------
    config : Config
        Settings of the pipeline, as for the monitor.
    options : EvaluationOptions
        Which records, and how they are scored.
    on_progress : callable
        Called with the seconds of ECG done and the seconds in all.

    Returns
    -------
    BeatEvaluation
        A result for each record that could be evaluated, and the reason for each that could not.

    Raises
    ------
    ConfigError
        If the options contradict each other.
    RecordError
        If not a single record could be evaluated.
    RunError
        If `options.out` cannot be written.
    EndpointError
        If there is no such cluster, or it cannot be used.
    """
    started = time.perf_counter()
    check_evaluation_options(options)
    config = configure_place(config, options.place)
    names = record_names(options)
    make_output_folder(options.out)
    ready, skipped = prepare_records(names, options)
    outcomes, cpu_s = _run_record_groups(ready, config, options, on_progress)
    evaluated = tuple(outcome for outcome in outcomes if isinstance(outcome, RecordBeatResult))
    skipped += [outcome for outcome in outcomes if isinstance(outcome, SkippedRecord)]
    if not evaluated:
        raise RecordError(f"none of {len(names)} records could be evaluated: {skipped[0].reason}")
    ecg_s = 0.0 if options.score_only else sum(result.seconds for result in evaluated)
    cost = EvaluationCost(ecg_s, cpu_s, time.perf_counter() - started)
    return BeatEvaluation(evaluated, tuple(sorted(skipped, key=lambda record: record.record)), cost)


def make_output_folder(folder: Path) -> None:
    """Make the folder of a run. Raises RunError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make folder {folder}: {error.strerror or error}; choose another (--out)") from error


def _run_record_groups(
    ready: list[RecordTask], config: Config, options: EvaluationOptions, on_progress: Callable[[float, float], object]
) -> tuple[list[RecordOutcome], float]:
    """Evaluate records in groups, wherever that is done; their order is kept. Also return the CPU seconds."""
    place = options.place
    total_s = sum(task.seconds for task in ready)
    work = partial(_evaluate_group, config, replace(options, place=WorkPlace(1)))
    shared = shared_things([task.record for task in ready], config, place, options.out)
    found: dict[str, tuple[RecordOutcome, float]] = {}
    with open_hands(work, place, len(ready), shared) as hands:
        groups = share_in_groups(ready, hands.width())
        for task, of in run_groups(
            hands, groups, _give_up_record, lambda task: task.seconds, lambda done_s: on_progress(done_s, total_s)
        ):
            found[task.record.name] = of
    outcomes = [found[task.record.name] for task in ready]
    return [outcome for outcome, _ in outcomes], sum(cpu_s for _, cpu_s in outcomes)


def _give_up_record(task: RecordTask, reason: str) -> tuple[RecordOutcome, float]:
    return SkippedRecord(task.record.name, reason), 0.0


def _evaluate_group(
    config: Config, options: EvaluationOptions, group: Sequence[RecordTask]
) -> Iterator[WorkStep[tuple[RecordOutcome, float]]]:
    """Yield seconds of ECG that are done, and the outcome of each record with its CPU seconds in the pipeline."""
    outputs: dict[str, PipelineOutput] = {}
    cpu_s = 0.0
    if not options.score_only:
        classify = load_configured_classifier(config)
        outputs, cpu_s = analyse_records([task.record for task in group], config, classify, lambda _seconds: None)
    for index, task in enumerate(group):
        outcome: RecordOutcome
        try:
            outcome = _evaluate_record_beats(task, outputs.get(task.record.name), config, options)
        except RecordError as error:
            outcome = SkippedRecord(task.record.name, str(error))
        yield task.seconds
        yield ItemFound(index, (outcome, cpu_s / len(group)))


def _evaluate_record_beats(
    task: RecordTask, output: PipelineOutput | None, config: Config, options: EvaluationOptions
) -> RecordBeatResult:
    """Score a record, after writing its detected beats. Raises RecordError if the pipeline refused it."""
    record = task.record
    part = task.part
    folder = options.out
    if output is None:
        folder = options.folder or options.out
    elif output.failed:
        raise RecordError(output.failed)
    else:
        notes = annotate_beats(output.beats, record.fs)
        write_output_file(folder / f"{record.name}.{options.annotator}", encode_record_annotations(notes, record))
    test = read_whole_annotations(folder / record.name, record, options.annotator)
    scored = score_record(record.name, task.reference, test, part)
    matched = [
        pair for pair in compare_beats(task.reference, test, part)[1] if pair.reference_index >= 0 <= pair.test_index
    ]
    errors = [pair.test_sample - pair.reference_sample for pair in matched]
    lead = output.lead if output else default_lead(tuple(signal.name for signal in record.signals))
    beats = _beats_in_part(output.beats, part) if output else []
    return RecordBeatResult(
        record=record.name,
        fs=record.fs,
        seconds=task.seconds,
        lead=record.signals[lead].name,
        paced=PACED_BEAT in task.reference.symbols,
        embedded=record.path.parent == EMBEDDED_FOLDER,
        score=scored,
        errors_ms=np.array(errors, float) * 1000 / record.fs,
        peak_ms=np.array([beat.r_peak_known - beat.sample for beat in beats], float) * 1000 / FS,
        class_ms=np.array([beat.class_known - beat.sample for beat in beats], float) * 1000 / FS,
        rates=_paired_heart_rates(task, output.beats if output else [], matched, config.rhythm),
        mismatches=tuple(_cut_mismatch_strips(record, scored, lead)) if options.mismatches else (),
    )


def _beats_in_part(beats: list[Beat], part: ScoredSpan) -> list[Beat]:
    """Return the beats inside the scored part."""
    end = part.end if part.end > 0 else np.inf
    return [beat for beat in beats if part.start <= beat.sample * part.rate / FS <= end]


def _paired_heart_rates(
    task: RecordTask, beats: list[Beat], matched: list[BeatPair], config: RhythmConfig
) -> FigureArray:
    """Return heart rates (n, 2) at matched beats: as shown, and from the reference's RR intervals by the same rule.

    Beats without a shown rate are left out, and so are those after too few intervals, or with flutter among them.
    """
    notes = task.reference
    peaks, flutter = scorable_beats(RecordAnnotations(np.array(notes.samples, np.int64), notes.symbols, notes.texts))
    onsets = np.array([onset for onset, _ in flutter], np.int64)
    intervals = config.rate_intervals
    rates: list[tuple[float, float]] = []
    for pair in matched:
        shown = beats[pair.test_index].heart_rate if beats else None
        last = int(np.searchsorted(peaks, pair.reference_sample))
        if shown is None or last < intervals:
            continue
        first = peaks[last - intervals]
        at = pair.reference_sample
        if at > first and not ((first <= onsets) & (onsets < at)).any():
            rr_s = np.diff([*peaks[last - intervals : last], at]) / task.record.fs
            expected = mean_heart_rate(rr_s.tolist(), config)
            if expected is not None:
                rates.append((shown, expected))
    return np.array(rates, float).reshape(-1, 2)


def _cut_mismatch_strips(record: Record, scored: RecordScore, lead: int) -> Iterator[MismatchStrip]:
    before, after = (round(margin_s * record.fs) for margin_s in MISMATCH_MARGINS_S)
    for pair in scored.mismatches:
        sample = pair.test_sample if pair.reference in "OX" else pair.reference_sample
        start, stop = sample - before, sample + after
        wave = np.full(stop - start, np.nan, np.float32)
        signal = read_record_samples(record, max(0, start), stop)[:, lead]
        wave[max(0, -start) :][: len(signal)] = signal
        yield MismatchStrip(sample, pair.reference, pair.test, wave)


def annotate_beats(beats: Sequence[Beat], fs: float) -> AnnotationFile:
    """Return beats as annotations N S V F Q at their R peaks, in samples at `fs` hertz.

    EC57 would mark stretches without analysis as `~` with subtype 0x30; the analysis is never suspended.
    """
    samples = tuple(round_to_samples(beat.sample / FS, fs) for beat in beats)
    return AnnotationFile(samples, tuple(beat.label for beat in beats), (0,) * len(beats), ("",) * len(beats))


def write_output_file(path: Path, content: bytes) -> None:
    """Write a file that appears only once it is complete. Raises RunError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; choose another folder (--out)") from error
