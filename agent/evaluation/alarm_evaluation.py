"""The alarms of whole records, compared with the reference: how many are true, how late they come, how long they stand.

    record ─► chunks at 125 Hz ─► ward ─► alarms ─► NAME.alm ─► model.scoring.episode_scores, alarm_scoring ─► report

Episodes of VF, VT and atrial fibrillation are scored by EC57 from the annotation files that were written; alarms of
high priority one by one. `docs/alarm-evaluation.md` has the rules, `alarm_report.py` the tables.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.core.config import Config
from agent.core.messages import Alarm, AlarmCondition, FloatArray
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
from agent.evaluation.beat_evaluation import (
    BEDS_TOGETHER,
    EvaluationCost,
    EvaluationOptions,
    SkippedRecord,
    check_evaluation_options,
    prepare_records,
    record_names,
    write_output_file,
)
from agent.evaluation.record_analysis import PipelineOutput, analyse_records
from model.errors import RecordError
from model.records.annotations import AnnotationFile, encode_annotations, read_annotations
from model.records.resample import FS
from model.records.wfdb_records import Record
from model.scoring.beat_scores import ScoredSpan
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

    `episodes` by name of their kind, `audible` the same without what the reference calls noise; `judged` the alarms of
    high priority, `announced` how many of each condition; `delays` in seconds of the events of each condition, None
    where an event had no alarm. `scored_s` and `audible_s`: seconds, with and without noise.
    """

    record: str
    scored_s: float
    audible_s: float
    beats: bool
    episodes: dict[str, EpisodeCounts]
    audible: dict[str, EpisodeCounts]
    judged: tuple[ScoredAlarm, ...]
    announced: dict[AlarmCondition, int]
    delays: dict[AlarmCondition, list[float | None]]


@dataclass(frozen=True, slots=True)
class AlarmEvaluation:
    """All that an evaluation gave, records in order of their names."""

    evaluated: tuple[RecordAlarmResult, ...]
    skipped: tuple[SkippedRecord, ...]
    cost: EvaluationCost
    weights: str


def evaluate_alarms(
    config: Config, asked: EvaluationOptions, tell: Callable[[float, float], object]
) -> AlarmEvaluation:
    """Evaluate all records that are asked for; `tell` hears how many seconds of ECG of how many are done.

    Raises RecordError where not a single one could be evaluated, ConfigError for options that make no sense, and
    RunError where `out` cannot be written.
    """
    started = time.perf_counter()
    check_evaluation_options(asked)
    names = record_names(asked)
    ready, skipped = prepare_records(names, asked)
    total = sum(one.record.length / one.record.fs for one in ready)
    found: list[RecordAlarmResult] = []
    cpu_s, weights = 0.0, config.monitor.weights
    if ready:
        from agent.analysis.beat_classifier import load_beat_classifier

        classify = load_beat_classifier(config.monitor.weights, config.monitor.device, config.monitor.threads)
        weights, done = classify.weights, 0.0
        for group in (ready[at : at + BEDS_TOGETHER] for at in range(0, len(ready), BEDS_TOGETHER)):
            began = time.process_time()
            heard = analyse_alarm_records([one.record for one in group], config, classify)
            cpu_s += time.process_time() - began
            for one in group:
                try:
                    found.append(
                        evaluate_record_alarms(
                            one.record, one.reference, one.part, heard[one.record.name], config, asked
                        )
                    )
                except RecordError as error:
                    skipped.append(SkippedRecord(one.record.name, str(error)))
                done += one.record.length / one.record.fs
                tell(done, total)
    if not found:
        raise RecordError(f"none of {len(names)} records could be evaluated: {skipped[0].reason}")
    ecg_s = sum(one.record.length / one.record.fs for one in ready)
    cost = EvaluationCost(ecg_s, cpu_s, time.perf_counter() - started)
    return AlarmEvaluation(tuple(found), tuple(sorted(skipped, key=lambda one: one.record)), cost, weights)


def analyse_alarm_records(
    records: Sequence[Record], config: Config, classify: Callable[[FloatArray], FloatArray]
) -> dict[str, PipelineOutput]:
    """The alarms of records with different names, which are beds of one ward."""
    return analyse_records(records, config, classify, lambda _seconds: None)[0]


def evaluate_record_alarms(
    record: Record,
    reference: AnnotationFile,
    part: ScoredSpan,
    heard: PipelineOutput,
    config: Config,
    asked: EvaluationOptions,
) -> RecordAlarmResult:
    """Score the alarms of a record; they are written first, and episodes are those of the file that was written.

    Raises RecordError where the record was no use.
    """
    if heard.failed:
        raise RecordError(heard.failed)
    told = final_alarms(heard.alarms)
    write_output_file(
        asked.out / f"{record.name}.{ALARM_EXTENSION}",
        encode_annotations(annotate_alarms(told, record.fs, record.length)),
    )
    test = read_annotations(asked.out, record.name, ALARM_EXTENSION, record.fs)
    there = reference_events(reference, record.fs, record.length, config)
    start = round(part.start * FS / part.rate)
    scored = [alarm for alarm in told if alarm.announced >= start]
    episodes = {kind.name: compare_episodes(reference, test, kind, part) for kind in SCORED_EPISODES}
    audible = {
        kind.name: compare_episodes(reference, test, kind, part, excluded=NOISE_LABELS) for kind in SCORED_EPISODES
    }
    return RecordAlarmResult(
        record=record.name,
        scored_s=episodes[AF_EPISODES.name].scored_s,
        audible_s=audible[AF_EPISODES.name].scored_s,
        beats=there["extreme tachycardia"] is not None,
        episodes=episodes,
        audible=audible,
        judged=tuple(score_alarms(scored, there, reference_noise(reference, record.fs, record.length))),
        announced=_count_conditions(scored),
        delays=_scored_event_delays(told, there, start),
    )


def _count_conditions(alarms: Sequence[Alarm]) -> dict[AlarmCondition, int]:
    conditions = [alarm.condition for alarm in alarms]
    return {condition: conditions.count(condition) for condition in sorted(set(conditions))}


def _scored_event_delays(
    alarms: Sequence[Alarm], there: ReferenceEvents, start: int
) -> dict[AlarmCondition, list[float | None]]:
    """Delays of the events that begin in the scored part."""
    begun = {name: [event for event in there.get(name) or () if event.start >= start] for name in SCORED_CONDITIONS}
    return {name: alarm_delays(alarms, name, there_) for name, there_ in begun.items() if there_}
