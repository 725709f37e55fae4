"""Figures of the waveform classifier on records that it was not trained on: episodes, alarms, noise, clean seconds."""

import itertools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.records.resample import FS
from model.records.wfdb_records import default_lead, open_record
from model.scoring.episode_scores import EpisodeSpan
from model.waveform.episode_rule import DetectedEpisode, VfVtSettings, detect_episodes
from model.waveform.episode_tables import WaveformEpisodeCounts, count_episode_matches
from model.waveform.labelled_windows import NOISE_BIT, ORGANISED_BIT, MeasuredStrip, label_strip_windows
from model.waveform.recorded_strips import (
    ALARM_AT,
    WaveformFolders,
    annotated_flutter,
    annotated_rhythms,
    annotated_vt_runs,
    read_alarm_truth,
    read_annotated_leads,
)
from model.waveform.waveform_classifier import NOISE, VF, VT, WaveformClassifier, repetition_rates
from model.waveform.window_features import Floats

FIBRILLATION_RHYTHMS = ("VF", "VFL", "VFIB")
ALARM_SPAN = (ALARM_AT - 15 * FS, ALARM_AT + 2 * FS)
"""In this part of a strip of the Challenge 2015 an alarm counts as the one at 5:00."""


@dataclass(frozen=True, slots=True, eq=False)
class LeadScores:
    """Scores of one lead: windows end before `ends` (n,), with `scores` (n, 5) and `rates` (n,) per minute.

    `labels` (n,) are the bits of what each window may be, 0 for unknown.
    """

    source: str
    record: str
    lead: int
    ends: NDArray[np.int64]
    scores: Floats
    rates: Floats
    labels: NDArray[np.uint8]
    samples: int


def score_measured_strip(classifier: WaveformClassifier, measured: MeasuredStrip) -> LeadScores:
    """Score the windows of a strip, one per HOP."""
    strip, features = measured.strip, measured.features
    return LeadScores(
        strip.source,
        strip.record,
        strip.lead,
        measured.ends,
        classifier.classify_features(features.numbers),
        repetition_rates(features),
        label_strip_windows(measured).allowed,
        len(strip.x),
    )


def summarise_scores(leads: list[LeadScores], folders: WaveformFolders, settings: VfVtSettings) -> dict[str, Any]:
    """Return all figures: of episodes, of windows and of bedside alarms."""
    by_database: dict[str, list[LeadScores]] = defaultdict(list)
    for lead in leads:
        by_database[lead.source.split("/")[0]].append(lead)
    figures: dict[str, Any] = {"windows": {name: count_window_kinds(part) for name, part in by_database.items()}}
    figures["episodes"] = {}
    for name in ("vfdb", "mitdb", "svdb"):
        if name in by_database:
            folder = folders.named().get(name)
            figures["episodes"] |= score_lead_episodes(by_database[name], name, folder, settings)
    if "cinc2015" in by_database and folders.cinc2015:
        figures["alarms"] = count_bedside_alarms(by_database["cinc2015"], folders.cinc2015, settings)
    return figures


def count_window_kinds(leads: list[LeadScores]) -> dict[str, float | int]:
    """Return the number of windows that are organised or noise, and the shares of them that are scored so."""
    labels, scores = np.concatenate([one.labels for one in leads]), np.concatenate([one.scores for one in leads])
    organised, noise = scores[labels == ORGANISED_BIT], scores[labels == NOISE_BIT]
    figures: dict[str, float | int] = {"organised": len(organised), "noise": len(noise)}
    if len(organised):
        figures["organised_as_noise"] = float((organised[:, NOISE] >= 0.5).mean())
        figures["organised_as_vt_or_vf"] = float((organised[:, VT] + organised[:, VF] >= 0.5).mean())
    if len(noise):
        figures["noise_as_noise"] = float((noise[:, NOISE] >= 0.5).mean())
    return figures


def score_lead_episodes(
    leads: list[LeadScores], database: str, folder: Path | None, settings: VfVtSettings
) -> dict[str, Any]:
    """Return figures of the episodes by lead and kind: of the lead that the monitor analyses, and the other.

    The episodes are those that the alarms announce with `settings`; "either" joins those of VT and VF.
    """
    total: dict[str, WaveformEpisodeCounts] = {}
    for scored in leads:
        name = str(folder / scored.record) if folder else scored.record
        first = default_lead(tuple(signal.name for signal in open_record(name).signals)) == scored.lead
        reference = read_reference_episodes(name)
        detected = detect_lead_episodes(scored, settings)
        place = f"{database} {'first' if first else 'other'} lead"
        for (kind, other), shortest_s in itertools.product((("VF", "VT"), ("VT", "VF"), ("either", "")), (0, 4)):
            key = f"{place}, {kind}{', of 4 s and more' if shortest_s else ''}"
            counts = count_episode_matches(
                reference[kind], reference.get(other, []), detected[kind], scored.samples, shortest_s
            )
            total[key] = total.get(key, WaveformEpisodeCounts()) + counts
    return {key: counts.figures() for key, counts in sorted(total.items())}


def detect_lead_episodes(scored: LeadScores, settings: VfVtSettings) -> dict[str, list[DetectedEpisode]]:
    """Return the episodes "VF" and "VT" of a lead, and "either" of them, joined where they meet."""
    found = detect_episodes(settings, scored.ends.tolist(), scored.scores.tolist(), scored.rates.tolist())
    joined: list[DetectedEpisode] = []
    for episode in sorted([*found["VF"], *found["VT"]], key=lambda one: one.onset):
        if joined and episode.onset <= joined[-1].end:
            before = joined[-1]
            joined[-1] = DetectedEpisode(before.onset, before.alarm, max(before.end, episode.end))
        else:
            joined.append(episode)
    return found | {"either": joined}


def read_reference_episodes(name: str) -> dict[str, list[EpisodeSpan]]:
    """Return the annotated episodes "VF" (with flutter) and "VT" of a record, and "either" of them, joined."""
    x, annotations, scale = read_annotated_leads(name)
    spans = annotated_rhythms(annotations, scale, len(x))
    vf = annotated_flutter(annotations, scale) or [
        (start, stop) for start, stop, kind in spans if kind in FIBRILLATION_RHYTHMS
    ]
    vt = [(start, stop) for start, stop, kind in spans if kind == "VT"]
    if not spans:  # a database without rhythms: its runs of V beats
        vt = annotated_vt_runs(annotations, scale)
    joined: list[tuple[int, int]] = []
    for start, stop in sorted([*vf, *vt]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    by_kind = {"VF": vf, "VT": vt, "either": joined}
    return {kind: [EpisodeSpan(*ends) for ends in found] for kind, found in by_kind.items()}


def count_bedside_alarms(leads: list[LeadScores], folder: Path, settings: VfVtSettings) -> dict[str, Any]:
    """Return of each bedside alarm, true and false, in how many strips VT or VF is alarmed by it, in any lead."""
    alarmed: dict[str, bool] = {}
    for scored in leads:
        spans = detect_lead_episodes(scored, settings)["either"]
        near = any(one.alarm <= ALARM_SPAN[1] and one.end >= ALARM_SPAN[0] for one in spans)
        if scored.lead == 0:
            alarmed[scored.record] = near
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, (alarm, true) in read_alarm_truth(folder).items():
        if name in alarmed:
            entry = counts[f"{alarm} {'true' if true else 'false'}"]
            entry[0] += alarmed[name]
            entry[1] += 1
    return {key: {"alarmed": found, "strips": strips} for key, (found, strips) in sorted(counts.items())}


def save_lead_scores(path: Path, leads: list[LeadScores]) -> None:
    """Write the scores of held-out records, for the choice of a rule: a (n, 8) array per lead, ends, scores, rates and
    labels."""
    arrays: dict[str, Any] = {}
    for lead in leads:
        arrays[f"{lead.source} {lead.record} {lead.lead}"] = np.column_stack(
            [lead.ends, lead.scores, lead.rates, lead.labels]
        )
    np.savez_compressed(path, **arrays)
