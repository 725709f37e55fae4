"""The typical beat of each class: the median of many, beside some of them."""

from dataclasses import dataclass

import numpy as np

from agent.core.messages import FloatArray
from agent.report.bed_recording import BedRecording
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

BEFORE_S, AFTER_S = 0.3, 0.5
AVERAGED, SHOWN = 160, 24
"""Beats of a class that the median is of, and that are drawn beside it."""
LEVEL_S = 0.05
"""A beat stands on the median of so much before it, 0.2 to 0.15 s before its R peak."""


@dataclass(frozen=True, slots=True, eq=False)
class TypicalBeat:
    """`typical` (n,) mV from BEFORE_S before the R peak on; `samples` (k, n) some of the beats; `count` of all."""

    name: str
    typical: FloatArray
    samples: FloatArray
    count: int


def build_typical_beats(reading: BedRecording) -> list[TypicalBeat]:
    """One for each class that has beats whose signal is there."""
    made = []
    for name in CLASSES:
        mine = np.flatnonzero(reading.beats.of(name))
        chosen = mine[np.unique(np.linspace(0, len(mine) - 1, min(len(mine), AVERAGED)).astype(int))]
        waves = [reading.wave(at_s - BEFORE_S, BEFORE_S + AFTER_S) for at_s in reading.beats.at_s[chosen].tolist()]
        whole = [_level_wave(wave) for wave in waves if not np.isnan(wave).any()]
        if whole:
            stack = np.stack(whole)
            every = max(1, len(stack) // SHOWN)
            typical = np.median(stack, axis=0).astype(np.float32)
            made.append(TypicalBeat(name, typical, stack[::every][:SHOWN], len(mine)))
    return made


def _level_wave(wave: FloatArray) -> FloatArray:
    at = round((BEFORE_S - 0.2) * FS)
    return wave - np.median(wave[at : at + round(LEVEL_S * FS) + 1]).astype(np.float32)
