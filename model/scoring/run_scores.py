"""Run-by-run comparison by the rules of ANSI/AAMI EC57, count for count that of the WFDB program `rxr`.

A run is a row of ventricular (V, F) or supraventricular (S) ectopic beats, or an episode of flutter or fibrillation: of
the ventricles for the first, of the atria for the second. For sensitivity every run of the reference is looked up in
the test, for positive predictivity every run of the test in the reference: the longest run there from 150 ms before its
first beat to 150 ms after its last. Lengths count up to 6. `rxr` is documented in the WFDB Applications Guide,
https://physionet.org/physiotools/wag/rxr-1.htm
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.records.annotations import AnnotationFile
from model.scoring.beat_scores import ScoredSpan

LONGEST_RUN = 6
"""Runs of six beats and more are long, and so is every episode; two are a couplet, three to five a short run."""
_RUN_LABELS = {
    symbol: label
    for label, symbols in {"N": "NLRB", "S": "JASjnea", "V": "VrE", "F": "F", "Q": "?Q/f"}.items()
    for symbol in symbols
}


class _RunKind(NamedTuple):
    """One kind of run: labels of its beats, of the start of an episode and of what ends an episode."""

    beats: str
    onset: str
    offset: str
    ends: str


VENTRICULAR = _RunKind("VF", "[", "]", "]{U")
SUPRAVENTRICULAR = _RunKind("S", "{", "}", "}[U")


class _AnnotationNote(NamedTuple):
    sample: int = 0
    symbol: str = " "
    subtype: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RunCounts:
    """Runs by their length in the reference (row) and in the test (column), both (7, 7), for 0 to 6 beats.

    `sensitivity` counts the runs of the reference, `predictivity` those of the test.
    """

    sensitivity: NDArray[np.int64]
    predictivity: NDArray[np.int64]

    def __add__(self, other: "RunCounts") -> "RunCounts":
        return RunCounts(self.sensitivity + other.sensitivity, self.predictivity + other.predictivity)

    def counts(self) -> dict[str, int]:
        """The twelve counts of `rxr`: couplets (C), short (S) and long (L) runs found (T) or not (F), in its order."""
        s, p = self.sensitivity, self.predictivity
        parts = {
            "CTs": s[2, 2:],
            "CFN": s[2, :2],
            "CTp": p[2:, 2],
            "CFP": p[:2, 2],
            "STs": s[3:6, 3:],
            "SFN": s[3:6, :3],
            "STp": p[3:, 3:6],
            "SFP": p[:3, 3:6],
            "LTs": s[6, 6:],
            "LFN": s[6, :6],
            "LTp": p[6:, 6],
            "LFP": p[:6, 6],
        }
        return {name: int(part.sum()) for name, part in parts.items()}

    def ratios(self) -> dict[str, tuple[int, int]]:
        """Numerator and denominator of each statistic of EC57, by name."""
        n = self.counts()
        return {
            f"{name}_{statistic}": (n[true], n[true] + n[false])
            for name, letter in (("couplet", "C"), ("short_run", "S"), ("long_run", "L"))
            for statistic, true, false in (
                ("se", f"{letter}Ts", f"{letter}FN"),
                ("ppv", f"{letter}Tp", f"{letter}FP"),
            )
        }


def compare_runs(
    reference: AnnotationFile, test: AnnotationFile, part: ScoredSpan
) -> tuple[RunCounts | None, RunCounts | None]:
    """Ventricular and supraventricular runs of two annotation files.

    None from where on one of them has nothing in the compared part and no episode before it: `rxr` gives up there.
    """
    files = (_AnnotationCursor(reference), _AnnotationCursor(test))
    found: list[RunCounts] = []
    for kind in (VENTRICULAR, SUPRAVENTRICULAR):
        sides = []
        for where, other in (files, files[::-1]):
            table = _tabulate_runs(where, other, kind, part)
            if table is None:
                return (found[0] if found else None), None
            sides.append(table)
        found.append(RunCounts(sides[0], sides[1].T))
    return found[0], found[1]


class _AnnotationCursor:
    """Goes through the annotations of one file, and knows what is going on in it."""

    def __init__(self, notes: AnnotationFile) -> None:
        columns = (notes.samples, notes.symbols, notes.subtypes, notes.texts)
        self.notes = [_AnnotationNote(*note) for note in zip(*columns, strict=True)]
        self.note = _AnnotationNote()
        self.rewind()

    def rewind(self) -> None:
        """Back to the start. The last annotation read stays, moved to sample 0: so does `rxr`, and it may count."""
        self.at = 0
        self.note = self.note._replace(sample=0)
        self.in_af = self.in_vf = self.unreadable = False
        self.episode_end = 0

    def read(self) -> bool:
        """Take the next annotation, if there is one."""
        if self.at == len(self.notes):
            return False
        self.note = self.notes[self.at]
        self.at += 1
        return True

    def label(self) -> str:
        """What the current annotation means, and note what it changes; asking again may give another answer.

        N S V F Q are beats; `[` `]` start and end of flutter, `{` `}` of atrial fibrillation, U of unreadable signal.
        """
        symbol = self.note.symbol
        if symbol in _RUN_LABELS:
            return "S" if self.in_af and _RUN_LABELS[symbol] == "N" else _RUN_LABELS[symbol]
        if symbol == "~":
            before, self.unreadable = self.unreadable, self.note.subtype & 0x30 == 0x30
            return "U" if self.unreadable and not before else "O"
        if symbol == "[" or (symbol == "+" and self.note.text.startswith("(VF")):
            before, self.in_vf = self.in_vf, True
            self.in_af = self.in_af and before
            return "O" if before else "["
        if symbol == "]" or (symbol == "+" and self.note.text):
            return self._rhythm(symbol)
        return "O"

    def _rhythm(self, symbol: str) -> str:
        if symbol == "+" and self.note.text.startswith("(AF"):
            before, self.in_af = self.in_af, True
            self.in_vf = self.in_vf and before
            return "O" if before else "{"
        if symbol == "+" and self.in_af:
            self.in_af = False
            return "}"
        before, self.in_vf = self.in_vf, False
        return "]" if before else "O"


def _tabulate_runs(
    where: _AnnotationCursor, other: _AnnotationCursor, kind: _RunKind, part: ScoredSpan
) -> NDArray[np.int64] | None:
    """Length of each run of `where` (row) and the longest run of `other` there (column); None without annotations."""
    where.rewind()
    other.rewind()
    length = _run_length_at_start(where, kind, part.start)
    if length is None:
        return None
    first, last = (part.start - part.window, part.start + part.window) if length else (0, 0)
    table = np.zeros((LONGEST_RUN + 1, LONGEST_RUN + 1), np.int64)
    while True:
        label, sample = where.label(), where.note.sample
        if label in kind.beats:
            if not length:
                first = sample - part.window
            length, last = min(length + 1, LONGEST_RUN), sample + part.window
        elif length and label in "NQUVFS":
            table[length, _longest_run(other, first, last, kind)] += 1
            length = 0
        elif length and label == kind.offset:
            last = sample + part.window
        elif not length and label == kind.onset:
            length, first = LONGEST_RUN, sample - part.window
        if not where.read():
            if not length:
                return table
            where.note = where.note._replace(symbol="Q")
        if 0 < part.end < where.note.sample:
            return table


def _run_length_at_start(where: _AnnotationCursor, kind: _RunKind, start: int) -> int | None:
    """LONGEST inside an episode, else 0, at the first annotation from `start` on; None where nothing tells."""
    length: int | None = None
    while where.read():
        if where.note.sample >= start:
            return length or 0
        label = where.label()
        if label == kind.onset:
            length = LONGEST_RUN
        elif label in "]}":
            length = 0
    return length


def _longest_run(other: _AnnotationCursor, first: int, last: int, kind: _RunKind) -> int:
    """Length of the longest run in `other` from sample `first` to `last`; what was passed once is not seen again."""
    if other.episode_end < 0 or other.episode_end > first:
        return LONGEST_RUN
    if other.note.sample < 0:
        return 0
    while other.note.sample < first:
        if other.label() == kind.onset and _skip_episode(other, kind, first):
            return LONGEST_RUN
        if not other.read():
            other.note = other.note._replace(sample=-1)
            return 0
    longest = length = 0
    while other.note.sample <= last:
        label = other.label()
        if label in kind.beats:
            length = min(length + 1, LONGEST_RUN)
            longest = max(longest, length)
        elif label == kind.onset:
            _skip_episode(other, kind, -1)
            return LONGEST_RUN
        elif label in "NQUVFS[{":
            length = 0
        if not other.read():
            other.note = other.note._replace(sample=-1)
            break
    return longest


def _skip_episode(other: _AnnotationCursor, kind: _RunKind, sample: int) -> bool:
    """Go to the end of the episode, and note it where it lies after `sample`; without an end it lasts for ever."""
    while other.read():
        if other.label() in kind.ends:
            if other.note.sample > sample:
                other.episode_end = other.note.sample
            return other.note.sample > sample
    other.episode_end = -1
    return True
