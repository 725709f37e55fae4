"""The typical beat of each class: the median of many beats, and some of them to draw beside it.

It is made at the rate of the recording, where a wave of 10 ms still has some samples.
"""

from dataclasses import dataclass

import numpy as np

from agent.core.messages import FloatArray
from agent.report.bed_recording import BedRecording, TimeArray
from model.records.wfdb_records import CLASSES

BEFORE_S, AFTER_S = 0.4, 0.7
"""Seconds of a typical beat before and after its R peak: from the P wave to the end of the T wave."""
AVERAGED, SHOWN = 160, 24
"""Most beats of a class in the median, and drawn beside it."""
LEVEL_BEFORE_S, LEVEL_S = 0.2, 0.05
"""The zero level of a beat is the median of this much signal, from 0.2 s before the R peak on."""
ALIGN_S = 0.012
"""R peaks are known at 125 Hz: a beat is moved by up to this much to fit the median of the others."""
ALIGNED_S = 0.06
"""Seconds around the R peak that must fit."""


@dataclass(frozen=True, slots=True, eq=False)
class TypicalBeat:
    """The median beat `typical` (n,) mV at `fs` hertz, its R peak at index `peak`; `samples` (k, n) are some beats.

    `count` is the number of all beats of the class `name`, `averaged` of those in the median, `rr_s` their median RR
    interval, NaN where none is known.
    """

    name: str
    typical: FloatArray
    samples: FloatArray
    count: int
    fs: float
    peak: int
    averaged: int
    rr_s: float


def build_typical_beats(recording: BedRecording) -> list[TypicalBeat]:
    """Return one for each class that has beats with their signal."""
    found = (_build_typical_beat(recording, name) for name in CLASSES)
    return [beat for beat in found if beat is not None]


def _build_typical_beat(recording: BedRecording, name: str) -> TypicalBeat | None:
    mine = np.flatnonzero(recording.beats.of(name))
    # Spread over the whole recording, since beats change with time and posture.
    chosen = mine[np.unique(np.linspace(0, len(mine) - 1, min(len(mine), AVERAGED)).astype(int))]
    fs, waves, kept = _cut_waves(recording, recording.beats.at_s[chosen])
    if not len(waves):
        return None
    shift, peak = round(ALIGN_S * fs), round(BEFORE_S * fs)
    stack = _align_waves(waves, peak + shift, shift, round(ALIGNED_S * fs))
    at = max(0, peak - round(LEVEL_BEFORE_S * fs))
    stack = stack - np.median(stack[:, at : at + round(LEVEL_S * fs) + 1], axis=1, keepdims=True).astype(np.float32)
    rr = recording.beats.rr_s[chosen[kept]]
    known = rr[np.isfinite(rr)]
    return TypicalBeat(
        name,
        np.median(stack, axis=0).astype(np.float32),
        stack[:: max(1, len(stack) // SHOWN)][:SHOWN],
        len(mine),
        fs,
        peak,
        len(stack),
        float(np.median(known)) if len(known) else float("nan"),
    )


def _cut_waves(recording: BedRecording, at_s: TimeArray) -> tuple[float, FloatArray, list[int]]:
    """Return the rate of most beats at times (k,), their waves (n, samples) mV with room to move, and which they are.

    Beats without all of their signal are left out, and those of another rate.
    """
    places = [recording.segment_at(at) for at in at_s.tolist()]
    rates = [place[0].fs for place in places if place is not None]
    fs = max(dict.fromkeys(rates), key=rates.count, default=0.0)
    before, after = round(BEFORE_S * fs) + round(ALIGN_S * fs), round(AFTER_S * fs) + round(ALIGN_S * fs)
    waves, kept = [], []
    for number, place in enumerate(places):
        if place is None or place[0].fs != fs:
            continue
        wave = recording.raw_wave(place[0], round(place[1]), before, after)
        if wave is not None and not np.isnan(wave).any():
            waves.append(wave)
            kept.append(number)
    return fs, np.stack(waves) if waves else np.zeros((0, 0), np.float32), kept


def _align_waves(waves: FloatArray, peak: int, shift: int, near: int) -> FloatArray:
    """Return waves (k, n) moved by up to `shift` samples to fit their median around `peak`: (k, n - 2 shift)."""
    length = waves.shape[1] - 2 * shift
    if not shift:
        return waves
    steps = np.arange(-shift, shift + 1)
    best = np.zeros(len(waves), np.int64)
    for _ in range(2):  # once against the unaligned median, once against the aligned one
        moved = np.stack([wave[shift + step : shift + step + length] for wave, step in zip(waves, best, strict=True)])
        middle = slice(max(0, peak - shift - near), peak - shift + near)
        wanted = np.median(moved, axis=0)[middle]
        cut = np.stack([waves[:, shift + step : shift + step + length][:, middle] for step in steps], axis=1)
        away = np.abs(cut - cut.mean(axis=2, keepdims=True) - (wanted - wanted.mean())).sum(axis=2)
        best = steps[away.argmin(axis=1)]
    return np.stack([wave[shift + step : shift + step + length] for wave, step in zip(waves, best, strict=True)])
