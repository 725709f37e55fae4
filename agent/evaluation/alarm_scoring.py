"""Alarms against reference annotations: what was really there, which alarms are true, and how late they came.

What was there (`reference_events`), from the reference alone:

- Ventricular fibrillation: from `[` to `]`, or a rhythm label "(VF", "(VFL" or "(VFIB".
- Where the reference has beats, the rules of the alarms, applied to them. Ventricular tachycardia: as many V beats in a
  row (V, E, r) as `vt_beats` asks for, as fast as `vt_bpm`. Asystole: no beat for `asystole_s`, outside fibrillation.
  Rates: the monitor's own averaging (`agent.analysis.rate_tracker.mean_heart_rate`) of the RR intervals since the last
  fibrillation, beyond its limits.
- Where it has rhythm labels alone: "(VT", "(ASYS"; of rates nothing is known.
- Atrial fibrillation: rhythm labels "(AFIB" and "(AFL", the latter since its intervals can be the same.

An alarm is *true* where its condition was there from `MARGIN_S` before its onset to `MARGIN_S` after it was announced.
It is *other* where not its condition but another one that kills was: fibrillation alarmed as tachycardia or as a rate,
say. It is *unknown* where the reference cannot tell, and else *false*. `reference_noise` says that the reference calls
it noise there.

An event is found where an alarm of its condition stands in it. Its delay is from its onset in the reference to the
announcement, and below 0 where the alarm stood already.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from agent.analysis.rate_tracker import mean_heart_rate
from agent.core.config import AlarmConfig, Config
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
"""Rhythms that consist of V beats, in rows or between others: whether five were in a row is not known by the label."""
SCORED_CONDITIONS: tuple[AlarmCondition, ...] = (
    *LETHAL_CONDITIONS,
    "extreme tachycardia",
    "extreme bradycardia",
    "atrial fibrillation",
)
"""Conditions whose events are looked for in the reference."""
RHYTHM_LABELS: dict[AlarmCondition, str] = {
    "ventricular fibrillation": "(VF",
    "asystole": "(ASYS",
    "ventricular tachycardia": "(VT",
    "atrial fibrillation": "(AFIB",
}
"""Rhythm label of a condition; where several hold, that of the first."""
_TEXT_BYTES = 255

AlarmVerdict = Literal["true", "other", "false", "unknown"]
ReferenceEvents = dict[AlarmCondition, list[EpisodeSpan] | None]
"""When a condition was there, at 125 Hz; None where the reference cannot tell."""


@dataclass(frozen=True, slots=True)
class ScoredAlarm:
    """An alarm of high priority and what the reference says of it."""

    alarm: Alarm
    verdict: AlarmVerdict
    noise: bool


def final_alarms(told: Iterable[Alarm]) -> list[Alarm]:
    """Each alarm as it stands at last, in order of announcement."""
    known = {(alarm.bed, alarm.run, alarm.condition, alarm.onset): alarm for alarm in told}
    return sorted(known.values(), key=lambda alarm: (alarm.announced, alarm.onset, alarm.condition))


def annotate_alarms(alarms: Sequence[Alarm], fs: float, length: int) -> AnnotationFile:
    """Alarms as annotations of a record of `length` samples at `fs` hertz.

    Rhythm labels from onset to end, "(N" between them; `[` and `]` around fibrillation, so that `epicmp -V` finds it;
    and where an alarm was announced a comment with its priority, name and words.
    """

    def at(sample: int) -> int:
        return min(max(0, round_to_samples(sample / FS, fs)), length)

    notes: list[tuple[int, int, str, str]] = []
    for place, (start, end, label) in enumerate(_label_stretches(alarms, at, length)):
        if label == RHYTHM_LABELS["ventricular fibrillation"]:
            notes += [(start, 2 * place + 1, "[", ""), (end, 2 * place + 1, "]", "")]
        notes.append((start, 2 * place + 2, "+", label))
    comments = sorted((max(1, at(alarm.announced)), _alarm_comment(alarm)) for alarm in alarms)
    notes += [(sample, 0, '"', words) for sample, words in comments]
    notes.sort(key=lambda note: note[:2])
    samples, _, symbols, texts = zip(*notes, strict=True) if notes else ((), (), (), ())
    return AnnotationFile(samples, symbols, (0,) * len(samples), texts)


def reference_events(reference: AnnotationFile, fs: float, length: int, config: Config) -> ReferenceEvents:
    """What was there by the reference of a record of `length` samples at `fs` hertz."""
    end = round_to_samples(length / fs, FS)
    notes = AnnotationFile(
        tuple(round_to_samples(sample / fs, FS) for sample in reference.samples),
        reference.symbols,
        reference.subtypes,
        reference.texts,
    )
    fibrillation = annotated_episodes(notes, VF_EPISODES, end)
    found: ReferenceEvents = {
        "ventricular fibrillation": fibrillation,
        "atrial fibrillation": annotated_episodes(notes, AF_OR_FLUTTER, end),
    }
    beats = [
        (s, EC57_CLASS_OF[symbol])
        for s, symbol in zip(notes.samples, notes.symbols, strict=True)
        if symbol in EC57_CLASS_OF
    ]
    if not beats:
        found["ventricular tachycardia"] = annotated_episodes(notes, VT_EPISODES, end)
        found["V run"] = annotated_episodes(notes, EpisodeKind("", ECTOPIC_RHYTHMS), end)
        found["asystole"] = annotated_episodes(notes, EpisodeKind("", (RHYTHM_LABELS["asystole"],)), end)
        return found | dict.fromkeys(("extreme tachycardia", "extreme bradycardia"))
    stretches = _split_beats(beats, fibrillation)
    peaks = [[sample for sample, _ in stretch] for stretch in stretches]
    found["ventricular tachycardia"] = [
        run for stretch in stretches for run in _find_vt_episodes(stretch, config.alarms)
    ]
    found["asystole"] = _find_asystoles(
        [sample for stretch in peaks for sample in stretch], fibrillation, end, config.alarms.asystole_s
    )
    high, low = extreme_rate_limits(config.alarms)
    rates = [_reference_rates(stretch, config) for stretch in peaks]
    found["extreme tachycardia"] = _join_beats_beyond(rates, lambda value: value > high)
    found["extreme bradycardia"] = _join_beats_beyond(rates, lambda value: value < low)
    return found


def reference_noise(reference: AnnotationFile, fs: float, length: int) -> list[EpisodeSpan]:
    """Stretches at 125 Hz that the reference calls noise."""
    spans = annotated_episodes(reference, EpisodeKind("", NOISE_LABELS), length)
    return [EpisodeSpan(round_to_samples(start / fs, FS), round_to_samples(end / fs, FS)) for start, end in spans]


def score_alarms(
    alarms: Iterable[Alarm], there: ReferenceEvents, noisy: Sequence[EpisodeSpan] = ()
) -> list[ScoredAlarm]:
    """What the reference says of each alarm of high priority."""
    return [_score_single_alarm(alarm, there, noisy) for alarm in alarms if alarm.priority == "high"]


def alarm_delays(
    alarms: Sequence[Alarm], condition: AlarmCondition, there: Sequence[EpisodeSpan]
) -> list[float | None]:
    """Seconds from the onset of each event to the announcement of the first alarm of it; None where there is none."""
    own = [alarm for alarm in alarms if alarm.condition == condition]
    found: list[float | None] = []
    for event in there:
        stood = [alarm.announced for alarm in own if episode_overlap(event, [alarm_episode(alarm, event.end)])]
        found.append((min(stood) - event.start) / FS if stood else None)
    return found


def alarm_episode(alarm: Alarm, end: int) -> EpisodeSpan:
    """From where the condition of an alarm began to where it was over, or past `end`."""
    return EpisodeSpan(alarm.onset, max(alarm.onset + 1, end if alarm.ended is None else alarm.ended))


def extreme_rate_limits(config: AlarmConfig) -> tuple[float, float]:
    """Heart rates above and below which it is extreme."""
    high, low = config.rate_high_bpm, config.rate_low_bpm
    above = max(high, min(high + config.extreme_above_bpm, config.extreme_most_bpm))
    return above, min(low, max(low - config.extreme_below_bpm, config.extreme_least_bpm))


def _score_single_alarm(alarm: Alarm, there: ReferenceEvents, noisy: Sequence[EpisodeSpan]) -> ScoredAlarm:
    margin = round(MARGIN_S * FS)
    around = EpisodeSpan(alarm.onset - margin, alarm.announced + margin + 1)

    def seen(spans: Sequence[EpisodeSpan] | None) -> bool:
        return episode_overlap(around, spans or ()) > 0

    own = there.get(alarm.condition)
    verdict: AlarmVerdict = "false"
    if seen(own):
        verdict = "true"
    elif any(seen(there.get(condition)) for condition in LETHAL_CONDITIONS):
        verdict = "other"
    elif own is None or (alarm.condition == "ventricular tachycardia" and seen(there.get("V run"))):
        verdict = "unknown"
    return ScoredAlarm(alarm, verdict, seen(noisy))


def _alarm_comment(alarm: Alarm) -> str:
    words = f"{alarm.priority}: {alarm.condition}, {alarm.text}"
    return words.encode("latin-1", "replace")[:_TEXT_BYTES].decode("latin-1")


def _label_stretches(alarms: Sequence[Alarm], at: Callable[[int], int], length: int) -> list[tuple[int, int, str]]:
    """Stretches (start, end, label) that follow each other: the first of the conditions that hold, or "(N"."""
    spans = [
        (at(alarm.onset), length if alarm.ended is None else at(alarm.ended), RHYTHM_LABELS[alarm.condition])
        for alarm in alarms
        if alarm.condition in RHYTHM_LABELS
    ]
    rank = list(RHYTHM_LABELS.values())
    borders = sorted({0, *(border for start, end, _ in spans for border in (start, end) if border < length), length})
    found: list[tuple[int, int, str]] = []
    for start, end in pairwise(borders):
        holding = [label for first, last, label in spans if first <= start < last]
        label = min(holding, key=rank.index) if holding else "(N"
        if found and found[-1][2] == label:
            found[-1] = (found[-1][0], end, label)
        else:
            found.append((start, end, label))
    return found


def _split_beats(beats: Sequence[tuple[int, str]], out: Sequence[EpisodeSpan]) -> list[list[tuple[int, str]]]:
    """Beats (sample, class) in stretches that `out` parts; those inside `out` are in none."""
    stretches: list[list[tuple[int, str]]] = [[] for _ in range(len(out) + 1)]
    for sample, label in beats:
        if not any(start <= sample < end for start, end in out):
            stretches[sum(end <= sample for _, end in out)].append((sample, label))
    return stretches


def _find_vt_episodes(beats: Sequence[tuple[int, str]], config: AlarmConfig) -> list[EpisodeSpan]:
    """From first to last beat, runs of V beats of which `vt_beats` in a row are as fast as `vt_bpm`."""
    found: list[EpisodeSpan] = []
    run: list[int] = []
    for sample, label in [*beats, (0, "")]:
        if label == "V":
            run.append(sample)
            continue
        n = config.vt_beats
        slowest = 60 * FS * (n - 1) / config.vt_bpm
        if any(last - first <= slowest for first, last in zip(run, run[n - 1 :], strict=False)):
            found.append(EpisodeSpan(run[0], run[-1] + 1))
        run = []
    return found


def _find_asystoles(peaks: Sequence[int], out: Sequence[EpisodeSpan], end: int, least_s: float) -> list[EpisodeSpan]:
    """Stretches of at least `least_s`, after the first beat, without a beat and outside `out`."""
    busy = sorted([*((peak, peak) for peak in peaks), *out, (end, end)])
    found: list[EpisodeSpan] = []
    last = busy[0][1]
    for start, stop in busy[1:]:
        if start - last >= least_s * FS:
            found.append(EpisodeSpan(last, start))
        last = max(last, stop)
    return found


def _reference_rates(peaks: Sequence[int], config: Config) -> list[tuple[int, float]]:
    """Heart rates of beats of a stretch: sample, and the rate that the monitor's averaging gives there."""
    intervals = [(after - before) / FS for before, after in pairwise(peaks)]
    most = max(config.rhythm.rate_intervals, config.rhythm.slow_intervals)
    found: list[tuple[int, float]] = []
    begun = 0
    for n, interval in enumerate(intervals, 1):
        if interval >= config.rhythm.pause_s:
            begun = n
        value = mean_heart_rate(intervals[max(begun, n - most) : n], config.rhythm)
        if value is not None and n - begun >= config.alarms.rate_least_intervals:
            found.append((peaks[n], value))
    return found


def _join_beats_beyond(
    stretches: Iterable[Sequence[tuple[int, float]]], beyond: Callable[[float], bool]
) -> list[EpisodeSpan]:
    """From the first to the last of beats in a row whose rate is beyond a limit."""
    found: list[EpisodeSpan] = []
    for stretch in stretches:
        row: list[int] = []
        for sample, value in [*stretch, (0, None)]:
            if value is not None and beyond(value):
                row.append(sample)
            elif row:
                found.append(EpisodeSpan(row[0], row[-1] + 1))
                row = []
    return found
