"""LUDB, the Lobachevsky University Database (doi:10.1109/ACCESS.2020.3029211): 200 people, leads II, V1 and V5, 10 s.

Cardiologists marked onset, peak and end of P, QRS and T of most beats, in each lead by itself. What is measured here is
the median of the beats of a record: an interval of a single lead; or of all leads, in each beat from the earliest onset
to the latest end of any lead.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FILE = "ludb_ii_v1_v5.npz"
SAME_BEAT_S = 0.1
"""QRS complexes of two leads that are not further apart are one beat."""
P_WAVE, QRS, T_WAVE = range(3)
LEAST_SHARE = 0.5
"""A record has P waves if this share of its beats has one."""


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedRecord:
    """A record: its `number` from 1, its `signal` (n, leads) in mV at `fs` hertz, and the beats that are marked.

    `beats` holds for each lead an array (b, 5) of samples: the peak of QRS, the onset of P, onset and end of QRS, the
    end of T; NaN for what is not marked.
    """

    number: int
    fs: float
    signal: Array
    beats: tuple[Array, ...]
    rhythm: str

    def lead_intervals(self, lead: int) -> Array:
        """Return PR, QRS and QT (3,) of a lead in ms."""
        return self._typical(self.beats[lead])

    def shared_intervals(self) -> Array:
        """Return PR, QRS and QT (3,) in ms from the earliest onset to the latest end in any lead."""
        first, *others = self.beats
        joined = [first]
        for other in others:
            near = np.abs(other[:, 0][None] - first[:, 0][:, None])
            rows = np.where((near.min(axis=1) < SAME_BEAT_S * self.fs)[:, None], other[near.argmin(axis=1)], np.nan)
            joined.append(rows)
        every = np.stack(joined)
        low = np.where(np.isnan(every), np.inf, every).min(axis=0)
        high = np.where(np.isnan(every), -np.inf, every).max(axis=0)
        extreme = np.where(np.arange(5) < 3, low, high)
        return self._typical(np.where(np.isfinite(extreme), extreme, np.nan))

    def has_p(self, lead: int) -> bool | None:
        """Whether beats of a lead have P waves; None if only few do."""
        marked = np.isfinite(self.beats[lead][:, 1])
        return True if marked.mean() > LEAST_SHARE else None if marked.any() else False

    def _typical(self, beats: Array) -> Array:
        _, p_onset, onset, end, t_end = beats.T
        every = 1000 / self.fs * np.stack([onset - p_onset, end - onset, t_end - onset])
        return np.array([np.median(known) if len(known := row[np.isfinite(row)]) else np.nan for row in every])


def read_ludb(folder: Path) -> list[AnnotatedRecord]:
    """Read all records from the file FILE in a folder."""
    with np.load(folder / FILE) as file:
        fs, signal, waves, rhythm = float(file["fs_hz"]), file["signal_uv"] / 1000, file["waves"], file["rhythm"]
    records = []
    for index in range(len(signal)):
        mine = waves[waves[:, 0] == index]
        beats = tuple(_marked_beats(mine[mine[:, 1] == lead].astype(float)) for lead in range(signal.shape[2]))
        records.append(AnnotatedRecord(index + 1, fs, signal[index], beats, str(rhythm[index])))
    return records


def _marked_beats(waves: Array) -> Array:
    """Return the beats (b, 5) of the rows `record, lead, wave, onset, peak, end` (w, 6) of one lead."""
    waves = np.where(waves < 0, np.nan, waves)
    waves = waves[np.argsort(waves[:, 4])]
    beats = []
    for row in np.flatnonzero(waves[:, 2] == QRS):
        before, behind = waves[row - 1] if row else None, waves[row + 1] if row + 1 < len(waves) else None
        p_onset = before[3] if before is not None and before[2] == P_WAVE else np.nan
        t_end = behind[5] if behind is not None and behind[2] == T_WAVE else np.nan
        beats.append((waves[row, 4], p_onset, waves[row, 3], waves[row, 5], t_end))
    return np.array(beats).reshape(-1, 5)
