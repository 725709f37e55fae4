"""The beats of a class at the rate of the recording, in all analysed leads, aligned and measured."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.report.bed_recording import BedRecording
from model.intervals.aligned_beats import AFTER_R_S, BEFORE_R_S, MOST_BEATS, NEIGHBOUR_S, AlignedBeats, align_beats
from model.intervals.beat_intervals import BeatIntervals, measure_aligned
from model.intervals.corrected_qt import correct_measured_qt
from model.records.wfdb_records import CLASSES

LEAST_NORMAL_BEATS = 10
"""With fewer N beats the commonest class is measured instead."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredBeat:
    """The typical beat of a class `name`: its `aligned` beats of some `leads` recorded at `fs`, and its `intervals`."""

    name: str
    aligned: AlignedBeats
    leads: tuple[str, ...]
    fs: float
    intervals: BeatIntervals

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return each interval's name and its value in words."""
        found = self.intervals
        corrected = correct_measured_qt(found)
        rows = [("PR", str(found.pr)), ("QRS", str(found.qrs)), ("QT", str(found.qt))]
        if corrected is None or not found.qt.ms:
            return *rows, ("QTc", "not measurable: QT or the rate is unknown")
        for name, value in (("QTc (Bazett)", corrected.bazett_ms), ("QTc (Fridericia)", corrected.fridericia_ms)):
            # The uncertainty of QT, corrected as QT itself.
            spread = None if found.qt.uncertainty_ms is None else found.qt.uncertainty_ms * value / found.qt.ms
            rows.append((name, f"{value:.0f} ms" if spread is None else f"{value:.0f} ± {spread:.0f} ms"))
        return tuple(rows)


def measure_recorded_beat(recording: BedRecording) -> MeasuredBeat | None:
    """Return the typical normal beat, measured; that of the commonest class where there are few normal ones.

    None without a beat whose signal is there.
    """
    counts = np.bincount(recording.beats.label, minlength=len(CLASSES))
    label = 0 if counts[0] >= LEAST_NORMAL_BEATS else int(counts.argmax())
    mine = np.flatnonzero(recording.beats.label == label)
    # Spread over the whole recording, since beats change with time and posture.
    chosen = mine[np.unique(np.linspace(0, len(mine) - 1, min(len(mine), MOST_BEATS)).astype(int))]
    places = [recording.segment_at(at_s) for at_s in recording.beats.at_s[chosen].tolist()]
    kinds = [(place[0].fs, tuple(lead.name for lead in place[0].leads)) for place in places if place is not None]
    if not kinds:
        return None
    fs, names = max(dict.fromkeys(kinds), key=kinds.count)
    leads = tuple(name for name in (recording.heard.analysed or (recording.lead,)) if name in names)
    waves = []
    for beat, place in zip(chosen.tolist(), places, strict=True):
        if place is not None and place[0].fs == fs and (wave := _read_beat(recording, beat, leads, fs)) is not None:
            waves.append(wave)
    if not waves or not leads:
        return None
    rr = recording.beats.rr_s[chosen]
    rr_s = float(np.nanmedian(rr)) if np.isfinite(rr).any() else None
    aligned = align_beats(np.stack(waves), fs, round(BEFORE_R_S * fs), rr_s)
    return MeasuredBeat(CLASSES[label], aligned, leads, fs, measure_aligned(aligned))


def _read_beat(recording: BedRecording, beat: int, leads: tuple[str, ...], fs: float) -> NDArray[np.float64] | None:
    """Return a beat (n, leads) in mV without its neighbours, None where its signal is not all there."""
    at_s = recording.beats.at_s
    place = recording.segment_at(float(at_s[beat]))
    before, after = round(BEFORE_R_S * fs), round(AFTER_R_S * fs)
    if place is None:
        return None
    columns = [recording.raw_wave(place[0], round(place[1]), before, after, lead) for lead in leads]
    if any(column is None for column in columns):
        return None
    wave = np.stack([column for column in columns if column is not None], axis=1).astype(np.float64)
    seconds = float(at_s[beat]) + (np.arange(len(wave)) - before) / fs
    if beat > 0:
        wave[seconds < at_s[beat - 1] + NEIGHBOUR_S] = np.nan
    if beat + 1 < len(at_s):
        wave[seconds > at_s[beat + 1] - NEIGHBOUR_S] = np.nan
    return wave
