"""The beats of a class at the rate of the recording, in all analysed leads, aligned and measured."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.report.bed_recording import BedRecording
from agent.report.styles import CLASS_NAMES, NONE, share_in_percent
from model.intervals.aligned_beats import AFTER_R_S, BEFORE_R_S, MOST_BEATS, NEIGHBOUR_S, AlignedBeats, align_beats
from model.intervals.beat_intervals import BeatIntervals, measure_aligned
from model.intervals.corrected_qt import CorrectedQT, correct_measured_qt
from model.records.wfdb_records import CLASSES

LEAST_NORMAL_BEATS = 10
"""With fewer N beats the commonest class is measured instead."""
CORRECTED_RR_S = (0.5, 1.5)
"""QTc is given for RR intervals within these limits: beyond them both formulas mislead."""
AGREEING_SHARE = 0.2
"""... and if the middle half of the RR intervals of these beats spans no more than this share of their median."""
WIDE_QRS_MS = 120.0
"""A QRS complex of this length is called wide."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredBeat:
    """The typical beat of a class `name`: its `aligned` beats of some `leads` recorded at `fs`, and its `intervals`.

    `count` is the number of all beats of the class, `total` that of all beats. Half of the RR intervals of the averaged
    beats lie within `rr_half_s`, None if none is known.
    """

    name: str
    aligned: AlignedBeats
    leads: tuple[str, ...]
    fs: float
    intervals: BeatIntervals
    count: int = 0
    total: int = 0
    rr_half_s: tuple[float, float] | None = None

    def corrected(self) -> CorrectedQT | None:
        """Return QTc; None if QT is unknown, or the RR interval of these beats is none to correct by."""
        return None if self.uncorrected_reason else correct_measured_qt(self.intervals)

    @property
    def uncorrected_reason(self) -> str:
        """Why QT cannot be corrected for these beats' RR intervals, in words; "" where it can be."""
        rr_s = self.intervals.rr_s
        if not self.intervals.qt.ms or rr_s is None:
            return "not measurable: QT or the rate is unknown"
        if not CORRECTED_RR_S[0] <= rr_s <= CORRECTED_RR_S[1]:
            least, most = (1000 * value for value in CORRECTED_RR_S)
            return f"not corrected: RR {1000 * rr_s:.0f} ms, outside {least:.0f} to {most:.0f} ms"
        low, high = self.rr_half_s or (rr_s, rr_s)
        if high - low > AGREEING_SHARE * rr_s:
            return f"not corrected: RR differ, half of them lie within {1000 * low:.0f} to {1000 * high:.0f} ms"
        return ""

    def describe(self) -> str:
        """Return in words which beats this one stands for."""
        share = share_in_percent(100 * self.count / self.total) if self.total else NONE
        many = f"{self.intervals.beats:,} of {self.count:,} {self.name} beats, which are {share} of all {self.total:,}"
        return f"typical {CLASS_NAMES[self.name]} beat: median of {many}"

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return each interval's name and its value in words."""
        found = self.intervals
        corrected = self.corrected()
        wide = f"; wide: {WIDE_QRS_MS:.0f} ms or more" if (found.qrs.ms or 0.0) >= WIDE_QRS_MS else ""
        rows = [("PR", str(found.pr)), ("QRS", f"{found.qrs}{wide}"), ("QT", str(found.qt))]
        if corrected is None or not found.qt.ms:
            return *rows, ("QTc", self.uncorrected_reason)
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
    known = rr[np.isfinite(rr)]
    low, rr_s, high = np.quantile(known, (0.25, 0.5, 0.75)).tolist() if len(known) else (None, None, None)
    half_s = None if low is None or high is None else (low, high)
    aligned = align_beats(np.stack(waves), fs, round(BEFORE_R_S * fs), rr_s)
    return MeasuredBeat(
        CLASSES[label], aligned, leads, fs, measure_aligned(aligned), len(mine), int(counts.sum()), half_s
    )


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
