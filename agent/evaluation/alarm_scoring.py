"""Compare alarms with reference annotations: what happened, which alarms are true, and how late they came.

What happened (`reference_events`), from the reference alone:

- Ventricular fibrillation: from `[` to `]`, or a rhythm label "(VF", "(VFL" or "(VFIB".
- If the reference has beats, the rules of the alarms are applied to them. Ventricular tachycardia: `vt_beats` V beats
  (V, E, r) in a row, at `vt_bpm` or faster. Asystole: no beat for `asystole_s`, outside fibrillation. Rates: the
  monitor's own average (`agent.analysis.rate_tracker.mean_heart_rate`) of the RR intervals since the last fibrillation,
  beyond its limits (`agent.core.alarm_settings.extreme_rate_limits`).
- If it has rhythm labels alone: "(VT", "(ASYS"; rates are unknown.
- Atrial fibrillation: rhythm labels "(AFIB" and "(AFL", the latter since its intervals can be the same.

An alarm is *true* if its condition occurred between `MARGIN_S` before its onset and `MARGIN_S` after its announcement.
It is *other* if another lethal condition occurred instead, such as fibrillation alarmed as tachycardia or as a rate. It
is *unknown* if the reference cannot decide, and *false* otherwise. `reference_noise` are the stretches that the
reference calls noise.

An event is found if an alarm of its condition stands during it. Its delay runs from its onset in the reference to the
announcement; it is negative if the alarm stood already.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from agent.analysis.rate_tracker import mean_heart_rate
from agent.core.alarm_settings import AlarmConfig, extreme_rate_limits
from agent.core.config import Config
from agent.core.messages import Alarm, AlarmCondition
from model.records.annotations import AnnotationFile
from model.records.resample import FS
from model.records.wfdb_records import EC57_CLASS_OF
from model.scoring.beat_scores import round_to_samples
from model.scoring.episode_scores import (
    AF_OR_FLUTTER,
    NOISE_LABELS,
    VF_EPISODES,
    VT_EPISODES,
    EpisodeKind,
    EpisodeSpan,
    annotated_episodes,
    episode_overlap,
)

MARGIN_S = 10.0
LETHAL_CONDITIONS: tuple[AlarmCondition, ...] = ("ventricular fibrillation", "asystole", "ventricular tachycardia")
ECTOPIC_RHYTHMS = ("(HGEA", "(IVR", "(B")
"""Rhythms that consist of V beats, in rows or between others; the label does not say whether five were in a row."""
SCORED_CONDITIONS: tuple[AlarmCondition, ...] = (
    *LETHAL_CONDITIONS,
    "extreme tachycardia",
    "extreme bradycardia",
    "atrial fibrillation",
)
"""Conditions whose events are searched for in the reference."""
RHYTHM_LABELS: dict[AlarmCondition, str] = {
    "ventricular fibrillation": "(VF",
    "asystole": "(ASYS",
    "ventricular tachycardia": "(VT",
    "atrial fibrillation": "(AFIB",
}
"""Rhythm label of a condition; if several hold, that of the first."""
_TEXT_BYTES = 255
"""The longest text that an annotation file can hold."""

AlarmVerdict = Literal["true", "other", "false", "unknown"]
ReferenceEvents = dict[AlarmCondition, list[EpisodeSpan] | None]
"""When each condition occurred, in samples at 125 Hz; None if the reference cannot decide."""


@dataclass(frozen=True, slots=True)
class ScoredAlarm:
    """An alarm of high priority with its verdict; `noise`: the reference calls it noise there."""

    alarm: Alarm
    verdict: AlarmVerdict
    noise: bool


def final_alarms(updates: Iterable[Alarm]) -> list[Alarm]:
    """Return the last state of each alarm, in order of announcement."""
    latest = {alarm.identity: alarm for alarm in updates}
    return sorted(latest.values(), key=lambda alarm: (alarm.announced, alarm.onset, alarm.condition))


def annotate_alarms(alarms: Sequence[Alarm], fs: float, length: int) -> AnnotationFile:
    """Return alarms as annotations of a record of `length` samples at `fs` hertz.

    There are rhythm labels from onset to end, "(N" between them; `[` and `]` around fibrillation, so that `epicmp -V`
    finds it; and a comment with priority, name and text at each announcement.
    """

    def at(sample: int) -> int:
        return min(max(0, round_to_samples(sample / FS, fs)), length)

    notes: list[tuple[int, int, str, str]] = []
    for place, (start, end, label) in enumerate(_label_stretches(alarms, at, length)):
        if label == RHYTHM_LABELS["ventricular fibrillation"]:
            notes += [(start, 2 * place + 1, "[", ""), (end, 2 * place + 1, "]", "")]
        notes.append((start, 2 * place + 2, "+", label))
    # Comments come after the first rhythm label, which stands at sample 0.
    comments = sorted((max(1, at(alarm.announced)), _alarm_comment(alarm)) for alarm in alarms)
    notes += [(sample, 0, '"', text) for sample, text in comments]
    # The second field orders annotations of one sample: marks end before labels begin.
    notes.sort(key=lambda note: note[:2])
    samples, _, symbols, texts = zip(*notes, strict=True) if notes else ((), (), (), ())
    return AnnotationFile(samples, symbols, (0,) * len(samples), texts)


def reference_events(reference: AnnotationFile, fs: float, length: int, config: Config) -> ReferenceEvents:
    """Return when each condition occurred, in samples at 125 Hz.

    Parameters
    ----------
    reference : AnnotationFile
        Reference annotations of a record of `length` samples at `fs` hertz.
    fs, length : float, int
        Sampling rate in hertz and number of samples of the record.
    config : Config
        `[alarms]` and `[rhythm]` hold the rules that are applied to the reference's beats.
    """
    end = round_to_samples(length / fs, FS)
    notes = AnnotationFile(
        tuple(round_to_samples(sample / fs, FS) for sample in reference.samples),
        reference.symbols,
        reference.subtypes,
        reference.texts,
    )
    fibrillation = annotated_episodes(notes, VF_EPISODES, end)
    events: ReferenceEvents = {
        "ventricular fibrillation": fibrillation,
        "atrial fibrillation": annotated_episodes(notes, AF_OR_FLUTTER, end),
    }
    beats = [
        (sample, EC57_CLASS_OF[symbol])
        for sample, symbol in zip(notes.samples, notes.symbols, strict=True)
        if symbol in EC57_CLASS_OF
    ]
    if not beats:
        events["ventricular tachycardia"] = annotated_episodes(notes, VT_EPISODES, end)
        events["V run"] = annotated_episodes(notes, EpisodeKind("", ECTOPIC_RHYTHMS), end)
        events["asystole"] = annotated_episodes(notes, EpisodeKind("", (RHYTHM_LABELS["asystole"],)), end)
        return events | dict.fromkeys(("extreme tachycardia", "extreme bradycardia"))
    stretches = _split_beats(beats, fibrillation)
    peaks = [[sample for sample, _ in stretch] for stretch in stretches]
    events["ventricular tachycardia"] = [
        run for stretch in stretches for run in _find_vt_episodes(stretch, config.alarms)
    ]
    events["asystole"] = _find_asystoles(
        [sample for stretch in peaks for sample in stretch], fibrillation, end, config.alarms.asystole_s
    )
    high, low = extreme_rate_limits(config.alarms)
    rates = [_reference_rates(stretch, config) for stretch in peaks]
    events["extreme tachycardia"] = _join_beats_beyond(rates, lambda value: value > high)
    events["extreme bradycardia"] = _join_beats_beyond(rates, lambda value: value < low)
    return events


def reference_noise(reference: AnnotationFile, fs: float, length: int) -> list[EpisodeSpan]:
    """Return the stretches that the reference calls noise, in samples at 125 Hz."""
    spans = annotated_episodes(reference, EpisodeKind("", NOISE_LABELS), length)
    return [EpisodeSpan(round_to_samples(start / fs, FS), round_to_samples(end / fs, FS)) for start, end in spans]


def score_alarms(
    alarms: Iterable[Alarm], events: ReferenceEvents, noisy: Sequence[EpisodeSpan] = ()
) -> list[ScoredAlarm]:
    """Return the alarms of high priority with their verdicts."""
    return [_score_single_alarm(alarm, events, noisy) for alarm in alarms if alarm.priority == "high"]


def alarm_delays(
    alarms: Sequence[Alarm], condition: AlarmCondition, events: Sequence[EpisodeSpan]
) -> list[float | None]:
    """Return the seconds from the onset of each event to the announcement of its first alarm; None without any."""
    candidates = [alarm for alarm in alarms if alarm.condition == condition]
    delays_s: list[float | None] = []
    for event in events:
        announced = [
            alarm.announced for alarm in candidates if episode_overlap(event, [alarm_episode(alarm, event.end)])
        ]
        delays_s.append((min(announced) - event.start) / FS if announced else None)
    return delays_s


def alarm_episode(alarm: Alarm, end: int) -> EpisodeSpan:
    """Return the span of an alarm from its onset to its end; one that goes on ends at `end`."""
    return EpisodeSpan(alarm.onset, max(alarm.onset + 1, end if alarm.ended is None else alarm.ended))


def _score_single_alarm(alarm: Alarm, events: ReferenceEvents, noisy: Sequence[EpisodeSpan]) -> ScoredAlarm:
    margin = round(MARGIN_S * FS)
    around = EpisodeSpan(alarm.onset - margin, alarm.announced + margin + 1)

    def occurred(spans: Sequence[EpisodeSpan] | None) -> bool:
        return episode_overlap(around, spans or ()) > 0

    condition_spans = events.get(alarm.condition)
    verdict: AlarmVerdict = "false"
    if occurred(condition_spans):
        verdict = "true"
    elif any(occurred(events.get(condition)) for condition in LETHAL_CONDITIONS):
        verdict = "other"
    elif condition_spans is None or (alarm.condition == "ventricular tachycardia" and occurred(events.get("V run"))):
        verdict = "unknown"
    return ScoredAlarm(alarm, verdict, occurred(noisy))


def _alarm_comment(alarm: Alarm) -> str:
    text = f"{alarm.priority}: {alarm.condition}, {alarm.text}"
    return text.encode("latin-1", "replace")[:_TEXT_BYTES].decode("latin-1")


def _label_stretches(alarms: Sequence[Alarm], at: Callable[[int], int], length: int) -> list[tuple[int, int, str]]:
    """Return adjoining stretches (start, end, label): the first of the conditions that hold, or "(N"."""
    spans = [
        (at(alarm.onset), length if alarm.ended is None else at(alarm.ended), RHYTHM_LABELS[alarm.condition])
        for alarm in alarms
        if alarm.condition in RHYTHM_LABELS
    ]
    rank = list(RHYTHM_LABELS.values())
    borders = sorted({0, *(border for start, end, _ in spans for border in (start, end) if border < length), length})
    stretches: list[tuple[int, int, str]] = []
    for start, end in pairwise(borders):
        holding = [label for first, last, label in spans if first <= start < last]
        label = min(holding, key=rank.index) if holding else "(N"
        if stretches and stretches[-1][2] == label:
            stretches[-1] = (stretches[-1][0], end, label)
        else:
            stretches.append((start, end, label))
    return stretches


def _split_beats(beats: Sequence[tuple[int, str]], out: Sequence[EpisodeSpan]) -> list[list[tuple[int, str]]]:
    """Split beats (sample, class) at the spans of `out`, and leave out those inside."""
    stretches: list[list[tuple[int, str]]] = [[] for _ in range(len(out) + 1)]
    for sample, label in beats:
        if not any(start <= sample < end for start, end in out):
            stretches[sum(end <= sample for _, end in out)].append((sample, label))
    return stretches


def _find_vt_episodes(beats: Sequence[tuple[int, str]], config: AlarmConfig) -> list[EpisodeSpan]:
    """Return runs of V beats, first to last beat, in which `vt_beats` in a row are at least as fast as `vt_bpm`."""
    episodes: list[EpisodeSpan] = []
    run: list[int] = []
    for sample, label in [*beats, (0, "")]:  # the last entry closes a run at the end
        if label == "V":
            run.append(sample)
            continue
        n = config.vt_beats
        slowest = 60 * FS * (n - 1) / config.vt_bpm
        if any(last - first <= slowest for first, last in zip(run, run[n - 1 :], strict=False)):
            episodes.append(EpisodeSpan(run[0], run[-1] + 1))
        run = []
    return episodes


def _find_asystoles(peaks: Sequence[int], out: Sequence[EpisodeSpan], end: int, least_s: float) -> list[EpisodeSpan]:
    """Return stretches of `least_s` or more after the first beat, without a beat and outside `out`."""
    busy = sorted([*((peak, peak) for peak in peaks), *out, (end, end)])
    episodes: list[EpisodeSpan] = []
    last = busy[0][1]
    for start, stop in busy[1:]:
        if start - last >= least_s * FS:
            episodes.append(EpisodeSpan(last, start))
        last = max(last, stop)
    return episodes


def _reference_rates(peaks: Sequence[int], config: Config) -> list[tuple[int, float]]:
    """Return, for the beats of a stretch, the sample and the rate that the monitor's averaging gives there."""
    intervals = [(after - before) / FS for before, after in pairwise(peaks)]
    most = max(config.rhythm.rate_intervals, config.rhythm.slow_intervals)
    rates: list[tuple[int, float]] = []
    begun = 0
    for n, interval in enumerate(intervals, 1):
        # After a standstill the average starts again, as in the monitor.
        if interval >= config.rhythm.standstill_s:
            begun = n
        value = mean_heart_rate(intervals[max(begun, n - most) : n], config.rhythm)
        if value is not None and n - begun >= config.alarms.rate_least_intervals:
            rates.append((peaks[n], value))
    return rates


def _join_beats_beyond(
    stretches: Iterable[Sequence[tuple[int, float]]], beyond: Callable[[float], bool]
) -> list[EpisodeSpan]:
    """Return the spans from the first to the last of successive beats whose rate is beyond a limit."""
    episodes: list[EpisodeSpan] = []
    for stretch in stretches:
        row: list[int] = []
        for sample, value in [*stretch, (0, None)]:  # likewise
            if value is not None and beyond(value):
                row.append(sample)
            elif row:
                episodes.append(EpisodeSpan(row[0], row[-1] + 1))
                row = []
    return episodes
