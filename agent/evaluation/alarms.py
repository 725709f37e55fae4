"""The alarms of whole records, compared with the reference: how many are true, how late they come, how long they stand.

    record ─► chunks at 125 Hz ─► ward ─► alarms ─► NAME.alm ─► model.scoring.episode_scores, alarm_scoring ─► report

Episodes of VF, VT and atrial fibrillation are scored by EC57 from the annotation files that were written; alarms of
high priority one by one. `docs/alarm-evaluation.md` has the rules, `alarm_report.py` the tables.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.core.config import Config
from agent.core.messages import Alarm, Condition, Floats
from agent.evaluation.alarm_scoring import SCORED, Events, Judged, annotations, delays, events, judge, latest, noise
from agent.evaluation.beats import BEDS, Asked, Cost, Skipped, check, prepared, record_names, write
from agent.evaluation.record_analysis import Heard, analyse
from model.errors import RecordError
from model.records.annotations import AnnotationFile, encoded, read_annotations
from model.records.resample import FS
from model.records.wfdb_records import Record
from model.scoring.beat_scores import Span
from model.scoring.episode_scores import (
    ATRIAL,
    ATRIAL_BUT_FLUTTER,
    ATRIAL_OR_FLUTTER,
    FIBRILLATION,
    FIBRILLATION_BUT_TACHYCARDIA,
    LETHAL,
    LONG_FIBRILLATION,
    NOISE,
    TACHYCARDIA,
    TACHYCARDIA_OR_WORSE,
    EpisodeCounts,
    compare_episodes,
)

ANNOTATOR = "alm"
KINDS = (
    FIBRILLATION,
    FIBRILLATION_BUT_TACHYCARDIA,
    LONG_FIBRILLATION,
    TACHYCARDIA,
    TACHYCARDIA_OR_WORSE,
    LETHAL,
    ATRIAL,
    ATRIAL_BUT_FLUTTER,
    ATRIAL_OR_FLUTTER,
)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
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
    judged: tuple[Judged, ...]
    announced: dict[Condition, int]
    delays: dict[Condition, list[float | None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that an evaluation gave, records in order of their names."""

    evaluated: tuple[Evaluated, ...]
    skipped: tuple[Skipped, ...]
    cost: Cost
    weights: str


def evaluate_alarms(config: Config, asked: Asked, tell: Callable[[float, float], object]) -> Outcome:
    """Evaluate all records that are asked for; `tell` hears how many seconds of ECG of how many are done.

    Raises RecordError where not a single one could be evaluated, ConfigError for options that make no sense, and
    RunError where `out` cannot be written.
    """
    started = time.perf_counter()
    check(asked)
    names = record_names(asked)
    ready, skipped = prepared(names, asked)
    total = sum(one.record.length / one.record.fs for one in ready)
    found: list[Evaluated] = []
    cpu_s, weights = 0.0, config.monitor.weights
    if ready:
        from agent.analysis.classifier import load

        classify = load(config.monitor.weights, config.monitor.device, config.monitor.threads)
        weights, done = classify.weights, 0.0
        for group in (ready[at : at + BEDS] for at in range(0, len(ready), BEDS)):
            began = time.process_time()
            heard = hear([one.record for one in group], config, classify)
            cpu_s += time.process_time() - began
            for one in group:
                try:
                    found.append(evaluated(one.record, one.reference, one.part, heard[one.record.name], config, asked))
                except RecordError as error:
                    skipped.append(Skipped(one.record.name, str(error)))
                done += one.record.length / one.record.fs
                tell(done, total)
    if not found:
        raise RecordError(f"none of {len(names)} records could be evaluated: {skipped[0].reason}")
    ecg_s = sum(one.record.length / one.record.fs for one in ready)
    cost = Cost(ecg_s, cpu_s, time.perf_counter() - started)
    return Outcome(tuple(found), tuple(sorted(skipped, key=lambda one: one.record)), cost, weights)


def hear(records: Sequence[Record], config: Config, classify: Callable[[Floats], Floats]) -> dict[str, Heard]:
    """The alarms of records with different names, which are beds of one ward."""
    return analyse(records, config, classify, lambda _seconds: None)[0]


def evaluated(
    record: Record, reference: AnnotationFile, part: Span, heard: Heard, config: Config, asked: Asked
) -> Evaluated:
    """Score the alarms of a record; they are written first, and episodes are those of the file that was written.

    Raises RecordError where the record was no use.
    """
    if heard.failed:
        raise RecordError(heard.failed)
    told = latest(heard.alarms)
    write(asked.out / f"{record.name}.{ANNOTATOR}", encoded(annotations(told, record.fs, record.length)))
    test = read_annotations(asked.out, record.name, ANNOTATOR, record.fs)
    there = events(reference, record.fs, record.length, config)
    start = round(part.start * FS / part.rate)
    scored = [alarm for alarm in told if alarm.announced >= start]
    episodes = {kind.name: compare_episodes(reference, test, kind, part) for kind in KINDS}
    audible = {kind.name: compare_episodes(reference, test, kind, part, unheard=NOISE) for kind in KINDS}
    return Evaluated(
        record=record.name,
        scored_s=episodes[ATRIAL.name].scored_s,
        audible_s=audible[ATRIAL.name].scored_s,
        beats=there["extreme tachycardia"] is not None,
        episodes=episodes,
        audible=audible,
        judged=tuple(judge(scored, there, noise(reference, record.fs, record.length))),
        announced=_counted(scored),
        delays=_delays(told, there, start),
    )


def _counted(alarms: Sequence[Alarm]) -> dict[Condition, int]:
    conditions = [alarm.condition for alarm in alarms]
    return {condition: conditions.count(condition) for condition in sorted(set(conditions))}


def _delays(alarms: Sequence[Alarm], there: Events, start: int) -> dict[Condition, list[float | None]]:
    """Delays of the events that begin in the scored part."""
    begun = {name: [event for event in there.get(name) or () if event.start >= start] for name in SCORED}
    return {name: delays(alarms, name, there_) for name, there_ in begun.items() if there_}
