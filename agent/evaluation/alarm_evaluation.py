"""Evaluate the alarms of whole records against the reference: which are true, how late they come, how long they stand.

    record ─► chunks at 125 Hz ─► pipeline ─► alarms ─► NAME.alm ─► episode_scores, alarm_scoring ─► report

Episodes of VF, VT and atrial fibrillation are scored by EC57 from the annotation files that were written, alarms of
high priority one by one. `docs/alarm-evaluation.md` has the rules, `alarm_report.py` the tables.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.cluster.open_hands import configure_place
from agent.core.config import Config
from agent.core.messages import Alarm, AlarmCondition
from agent.evaluation.alarm_scoring import (
    SCORED_CONDITIONS,
    ReferenceEvents,
    ScoredAlarm,
    alarm_delays,
    annotate_alarms,
    final_alarms,
    reference_events,
    reference_noise,
    score_alarms,
)
from agent.evaluation.beat_evaluation import make_output_folder, write_output_file
from agent.evaluation.record_analysis import PipelineOutput, analyse_alarms, load_configured_classifier
from agent.evaluation.record_selection import (
    EvaluationCost,
    EvaluationOptions,
    RecordTask,
    SkippedRecord,
    check_evaluation_options,
    encode_record_annotations,
    prepare_records,
    record_names,
)
from model.errors import RecordError
from model.records.annotations import read_annotations
from model.records.resample import FS
from model.scoring.episode_scores import (
    AF_EPISODES,
    AF_OR_FLUTTER,
    AF_WITHOUT_FLUTTER,
    LONG_VF_WITHOUT_VT,
    NOISE_LABELS,
    VF_EPISODES,
    VF_OR_VT_EPISODES,
    VF_WITHOUT_VT,
    VT_AS_VT_OR_VF,
    VT_EPISODES,
    EpisodeCounts,
    compare_episodes,
)

ALARM_EXTENSION = "alm"
SCORED_EPISODES = (
    VF_EPISODES,
    VF_WITHOUT_VT,
    LONG_VF_WITHOUT_VT,
    VT_EPISODES,
    VT_AS_VT_OR_VF,
    VF_OR_VT_EPISODES,
    AF_EPISODES,
    AF_WITHOUT_FLUTTER,
    AF_OR_FLUTTER,
)


@dataclass(frozen=True, slots=True, eq=False)
class RecordAlarmResult:
    """Figures of the scored part of one record.

    `episodes` by name of their kind, `audible` the same outside what the reference calls noise; `scored` the alarms of
    high priority, `announced` the number of each condition; `delays` in seconds of the events of each condition, None
    for an event without an alarm. `scored_s` and `audible_s`: seconds, with and without noise. `beats`: whether the
    reference has beats, without which it says nothing about rates.
    """

    record: str
    scored_s: float
    audible_s: float
    beats: bool
    episodes: dict[str, EpisodeCounts]
    audible: dict[str, EpisodeCounts]
    scored: tuple[ScoredAlarm, ...]
    announced: dict[AlarmCondition, int]
    delays: dict[AlarmCondition, list[float | None]]


@dataclass(frozen=True, slots=True)
class AlarmEvaluation:
    """The results of an evaluation, records in order of their names."""

    evaluated: tuple[RecordAlarmResult, ...]
    skipped: tuple[SkippedRecord, ...]
    cost: EvaluationCost
    weights: str


def evaluate_alarms(
    config: Config, options: EvaluationOptions, on_progress: Callable[[float, float], object]
) -> AlarmEvaluation:
    """Evaluate the alarms of all records that the options name.

    Parameters
    ----------
    config : Config
        Settings of the pipeline and its alarms, as for the monitor.
    options : EvaluationOptions
        Which records, and from which second on they are scored.
    on_progress : callable
        Called with the seconds of ECG done and the seconds in all.

    Returns
    -------
    AlarmEvaluation
        A result for each record that could be evaluated, and the reason for each that could not.

    Raises
    ------
    ConfigError
        If the options contradict each other.
    RecordError
        If not a single record could be evaluated.
    RunError
        If `options.out` cannot be written.
    """
    started = time.perf_counter()
    config = configure_place(config, options.place)
    check_evaluation_options(options)
    names = record_names(options)
    ready, skipped = prepare_records(names, options)
    cpu_s = 0.0
    results: list[RecordAlarmResult] = []
    weights = config.monitor.weights
    if ready:
        weights = load_configured_classifier(config).weights
        make_output_folder(options.out)
        records = [task.record for task in ready]
        analysed = analyse_alarms(records, config, options.place, options.out, on_progress)
        for task, (output, record_cpu_s) in zip(ready, analysed, strict=True):
            cpu_s += record_cpu_s
            try:
                results.append(evaluate_record_alarms(task, output, config, options.out))
            except RecordError as error:
                skipped.append(SkippedRecord(task.record.name, str(error)))
    if not results:
        raise RecordError(f"none of {len(names)} records could be evaluated: {skipped[0].reason}")
    cost = EvaluationCost(sum(task.seconds for task in ready), cpu_s, time.perf_counter() - started)
    return AlarmEvaluation(tuple(results), tuple(sorted(skipped, key=lambda record: record.record)), cost, weights)


def evaluate_record_alarms(task: RecordTask, output: PipelineOutput, config: Config, out: Path) -> RecordAlarmResult:
    """Score the alarms of a record. They are written to `out` first; episodes are scored from that file.

    Raises RecordError if the pipeline refused the record.
    """
    if output.failed:
        raise RecordError(output.failed)
    record = task.record
    reference = task.reference
    part = task.part
    alarms = final_alarms(output.alarms)
    notes = annotate_alarms(alarms, record.fs, record.length)
    write_output_file(out / f"{record.name}.{ALARM_EXTENSION}", encode_record_annotations(notes, record))
    test = read_annotations(out, record.name, ALARM_EXTENSION, record.fs)
    events = reference_events(reference, record.fs, record.length, config)
    start = round(part.start * FS / part.rate)
    scored = [alarm for alarm in alarms if alarm.announced >= start]
    episodes = {kind.name: compare_episodes(reference, test, kind, part) for kind in SCORED_EPISODES}
    audible = {
        kind.name: compare_episodes(reference, test, kind, part, excluded=NOISE_LABELS) for kind in SCORED_EPISODES
    }
    return RecordAlarmResult(
        record=record.name,
        scored_s=episodes[AF_EPISODES.name].scored_s,
        audible_s=audible[AF_EPISODES.name].scored_s,
        beats=events["extreme tachycardia"] is not None,
        episodes=episodes,
        audible=audible,
        scored=tuple(score_alarms(scored, events, reference_noise(reference, record.fs, record.length))),
        announced=_count_conditions(scored),
        delays=_scored_event_delays(alarms, events, start),
    )


def _count_conditions(alarms: Sequence[Alarm]) -> dict[AlarmCondition, int]:
    conditions = [alarm.condition for alarm in alarms]
    return {condition: conditions.count(condition) for condition in sorted(set(conditions))}


def _scored_event_delays(
    alarms: Sequence[Alarm], events: ReferenceEvents, start: int
) -> dict[AlarmCondition, list[float | None]]:
    """Return the delays in seconds of the events that begin in the scored part."""
    scored = {name: [event for event in events.get(name) or () if event.start >= start] for name in SCORED_CONDITIONS}
    return {name: alarm_delays(alarms, name, begun) for name, begun in scored.items() if begun}
