"""Rhythms borrowed from other patients: beats of one record set to the RR intervals and classes of another.

A long recording of beat annotations without its signal, such as the Long-Term AF Database (Petrutiu, Sahakian & Swiryn
2007, doi:10.13026/C2QG6Q), shows how ectopy, fibrillation and block come and go in a patient for a day. The waves come
from a record with a signal: a normal beat for each normal or supraventricular one, a ventricular one for each
ventricular one. P waves of supraventricular beats are changed, those in fibrillation removed.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.records.resample import FS
from model.records.wfdb_records import EC57_CLASS_OF, open_record, read_reference
from model.training.synthetic_rhythms import (
    LONGEST_RR,
    P_START,
    SHORTEST_RR,
    fibrillatory_waves,
    stretch_interval,
)

Array = NDArray[np.float64]
SEGMENT_S = 1800.0
"""Seconds that are borrowed at a time."""
FIBRILLATION_MARK = "(AFIB"
LEAST_V_BEATS = 3
"""A record with fewer ventricular beats lends none; those of the borrowed rhythm are left out, with their pause."""


@dataclass(frozen=True, slots=True, eq=False)
class BorrowedRhythm:
    """Beats of another patient: `times` (n,) s, classes `labels` N, S or V, and whether the atria fibrillate (n,)."""

    times: Array
    labels: tuple[str, ...]
    fibrillating: NDArray[np.bool_]


def list_annotated_records(folder: Path) -> tuple[str, ...]:
    """Return the paths of the annotated records of a folder. Raises RecordError if there is none."""
    names = tuple(str(path.with_suffix("")) for path in sorted(folder.glob("*.atr")))
    if not names:
        raise RecordError(f"no beat annotations in {folder}: give a folder of files NAME.hea and NAME.atr")
    return names


def borrow_rhythm(name: str, random: np.random.Generator) -> BorrowedRhythm:
    """Return SEGMENT_S of an annotated record from a random place; in half of the cases one with much ectopy."""
    rhythm = _read_rhythm(name)
    last = max(0.0, float(rhythm.times[-1]) - SEGMENT_S)
    starts = random.uniform(0, last, 8)
    if random.random() < 0.5:
        ectopic = np.array([label == "S" for label in rhythm.labels])
        counts = [ectopic[slice(*np.searchsorted(rhythm.times, (at, at + SEGMENT_S)))].sum() for at in starts]
        starts = starts[[int(np.argmax(counts))]]
    first, stop = np.searchsorted(rhythm.times, (starts[0], starts[0] + SEGMENT_S))
    part = slice(int(first), int(stop))
    return BorrowedRhythm(rhythm.times[part], rhythm.labels[part], rhythm.fibrillating[part])


@lru_cache(maxsize=64)
def _read_rhythm(name: str) -> BorrowedRhythm:
    record = open_record(name)
    notes = read_reference(record)
    marks = np.array([text == FIBRILLATION_MARK for text in notes.texts])
    rhythms = np.array([text.startswith("(") for text in notes.texts])
    latest = np.maximum.accumulate(np.where(rhythms, np.arange(len(marks)), 0))
    rows = [row for row, symbol in enumerate(notes.symbols) if EC57_CLASS_OF.get(symbol, "O") in "NSV"]
    return BorrowedRhythm(
        notes.samples[rows] / record.fs,
        tuple(EC57_CLASS_OF[notes.symbols[row]] for row in rows),
        marks[latest][rows],
    )


def set_to_rhythm(
    x: Array, beats: Array, labels: tuple[str, ...], rhythm: BorrowedRhythm, random: np.random.Generator
) -> tuple[Array, Array, tuple[str, ...]]:
    """Return a lead (n,) mV at 125 Hz set to a borrowed rhythm: signal (k,) mV, its beats (m,) as samples, classes.

    `beats` (m,) are the R peaks of the lead as samples, `labels` their classes. A stretch in which no beat of the
    rhythm follows for 3 s is left out.
    """
    waves = _BeatWaves(x, beats, labels)
    kept = [i for i, label in enumerate(rhythm.labels) if label != "V" or waves.lends_ventricular]
    times, fibrillating = rhythm.times[kept] * FS, rhythm.fibrillating[kept]
    new_labels = tuple(rhythm.labels[i] for i in kept)
    wave = random.uniform(-1, 0.7)
    parts, shown, atrial = [waves.before(new_labels[0])], [new_labels[0]], []
    places = [len(parts[0])]
    for i in range(1, len(kept)):
        rr = times[i] - times[i - 1]
        if rr > LONGEST_RR:
            continue
        p_wave = 0.0 if fibrillating[i] else wave if new_labels[i] == "S" else 1.0
        moved = stretch_interval(waves.between(shown[-1], new_labels[i]), max(SHORTEST_RR, rr), p_wave)
        parts.append(moved)
        places.append(places[-1] + len(moved))
        atrial.append(np.full(len(moved), fibrillating[i]))
        shown.append(new_labels[i])
    y = np.concatenate([*parts, waves.between(shown[-1], "N")])
    fibrillation = np.concatenate([np.zeros(len(parts[0]), bool), *atrial])
    height = float(np.median(np.abs(x[np.rint(beats).astype(int)])))
    y[: len(fibrillation)] += fibrillation * fibrillatory_waves(len(fibrillation), height, random)
    return y, np.array(places, float), tuple(shown)


class _BeatWaves:
    """The signal between the beats of a record, by whether each of them is ventricular, used in turn."""

    def __init__(self, x: Array, beats: Array, labels: tuple[str, ...]) -> None:
        peaks = np.rint(beats).astype(int)
        self._between: dict[tuple[bool, bool], list[Array]] = {}
        for start, stop, a, b in zip(peaks, peaks[1:], labels, labels[1:], strict=False):
            if SHORTEST_RR < stop - start < LONGEST_RR and {a, b} <= {"N", "S", "V"}:
                self._between.setdefault((a == "V", b == "V"), []).append(x[start:stop])
        self._used = dict.fromkeys(self._between, 0)
        ventricular = min(len(self._between.get(kind, ())) for kind in ((False, True), (True, False)))
        self.lends_ventricular = ventricular >= LEAST_V_BEATS

    def before(self, label: str) -> Array:
        """Return the signal before a beat of a class."""
        return self._next((False, label == "V"))

    def between(self, first: str, second: str) -> Array:
        """Return the signal from a beat of one class to a beat of another; of two intervals if no single one fits."""
        kind = (first == "V", second == "V")
        if kind in self._between:
            return self._next(kind)
        head, tail = self._next((kind[0], False)), self._next((False, kind[1]))
        cut = tail[-P_START:]
        return np.concatenate([head[:-P_START], cut + (head[-P_START] - cut[0])])

    def _next(self, kind: tuple[bool, bool]) -> Array:
        found = self._between[kind]
        self._used[kind] += 1
        return found[self._used[kind] % len(found)]
