"""The typical beat of each class: the median of many beats, and some of them to draw beside it."""

from dataclasses import dataclass

import numpy as np

from agent.core.messages import FloatArray
from agent.report.bed_recording import BedRecording
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

BEFORE_S, AFTER_S = 0.3, 0.5
AVERAGED, SHOWN = 160, 24
"""Most beats of a class in the median, and drawn beside it."""
LEVEL_S = 0.05
"""The zero level of a beat is the median of this much signal, from 0.2 s before the R peak on."""


@dataclass(frozen=True, slots=True, eq=False)
class TypicalBeat:
    """The median beat `typical` (n,) mV from BEFORE_S before the R peak on; `samples` (k, n) mV are some of the beats.

    `count` is the number of all beats of the class `name`.
    """

    name: str
    typical: FloatArray
    samples: FloatArray
    count: int


def build_typical_beats(recording: BedRecording) -> list[TypicalBeat]:
    """Return one for each class that has beats with their signal."""
    typical_beats = []
    for name in CLASSES:
        mine = np.flatnonzero(recording.beats.of(name))
        # Spread over the whole recording, since beats change with time and posture.
        chosen = mine[np.unique(np.linspace(0, len(mine) - 1, min(len(mine), AVERAGED)).astype(int))]
        waves = [recording.wave(at_s - BEFORE_S, BEFORE_S + AFTER_S) for at_s in recording.beats.at_s[chosen].tolist()]
        whole = [_level_wave(wave) for wave in waves if not np.isnan(wave).any()]
        if whole:
            stack = np.stack(whole)
            every = max(1, len(stack) // SHOWN)
            typical = np.median(stack, axis=0).astype(np.float32)
            typical_beats.append(TypicalBeat(name, typical, stack[::every][:SHOWN], len(mine)))
    return typical_beats


def _level_wave(wave: FloatArray) -> FloatArray:
    at = round((BEFORE_S - 0.2) * FS)
    return wave - np.median(wave[at : at + round(LEVEL_S * FS) + 1]).astype(np.float32)
