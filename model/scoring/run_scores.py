"""Run-by-run comparison by the rules of ANSI/AAMI EC57, with the same counts as the WFDB program `rxr`.

A run is a sequence of ventricular (V, F) or supraventricular (S) ectopic beats, or an episode of flutter or
fibrillation: of the ventricles for the first kind, of the atria for the second. Sensitivity looks up every run of the
reference in the test, positive predictivity every run of the test in the reference: the longest run there from 150 ms
before its first beat to 150 ms after its last. Lengths count up to 6. `rxr` is documented in the WFDB Applications
Guide, https://physionet.org/physiotools/wag/rxr-1.htm
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.records.annotations import AnnotationFile
from model.records.wfdb_records import EC57_CLASS_OF
from model.scoring.beat_scores import ScoredSpan

LONGEST_RUN = 6
"""Two beats are a couplet, three to five a short run, six or more a long run. An episode counts as a long run."""


class _RunKind(NamedTuple):
    """One kind of run: the labels of its beats, of the start and the end of an episode, and all that end a lookup."""

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
    """Runs by length in the reference (row) and in the test (column), for 0 to 6 beats.

    `by_reference` (7, 7) int64 counts the runs of the reference, `by_test` (7, 7) int64 those of the test.
    """

    by_reference: NDArray[np.int64]
    by_test: NDArray[np.int64]

    def __add__(self, other: "RunCounts") -> "RunCounts":
        return RunCounts(self.by_reference + other.by_reference, self.by_test + other.by_test)

    def counts(self) -> dict[str, int]:
        """Return the twelve counts of `rxr`, in its order.

        The first letter is the length: couplet (C), short (S) or long (L) run. Ts and FN count the runs of the
        reference that the test has and lacks, Tp and FP the runs of the test that the reference has and lacks.
        """
        by_reference, by_test = self.by_reference, self.by_test
        cells = {
            "CTs": by_reference[2, 2:],
            "CFN": by_reference[2, :2],
            "CTp": by_test[2:, 2],
            "CFP": by_test[:2, 2],
            "STs": by_reference[3:6, 3:],
            "SFN": by_reference[3:6, :3],
            "STp": by_test[3:, 3:6],
            "SFP": by_test[:3, 3:6],
            "LTs": by_reference[6, 6:],
            "LFN": by_reference[6, :6],
            "LTp": by_test[6:, 6],
            "LFP": by_test[:6, 6],
        }
        return {name: int(cell.sum()) for name, cell in cells.items()}

    def ratios(self) -> dict[str, tuple[int, int]]:
        """Return the numerator and denominator of each statistic of EC57, by name."""
        n = self.counts()
        ratios: dict[str, tuple[int, int]] = {}
        for name, letter in (("couplet", "C"), ("short_run", "S"), ("long_run", "L")):
            ratios[f"{name}_se"] = n[f"{letter}Ts"], n[f"{letter}Ts"] + n[f"{letter}FN"]
            ratios[f"{name}_ppv"] = n[f"{letter}Tp"], n[f"{letter}Tp"] + n[f"{letter}FP"]
        return ratios


def compare_runs(
    reference: AnnotationFile, test: AnnotationFile, part: ScoredSpan
) -> tuple[RunCounts | None, RunCounts | None]:
    """Compare the runs of two annotation files as `rxr` does.

    Returns
    -------
    ventricular, supraventricular : RunCounts or None
        None from the first lookup on in which a file has neither an annotation in the compared part nor an episode
        before it: `rxr` stops there, with a ventricular table or with none.
    """
    files = (_AnnotationCursor(reference), _AnnotationCursor(test))
    complete: list[RunCounts] = []
    for kind in (VENTRICULAR, SUPRAVENTRICULAR):
        tables = []
        for counted, other in (files, files[::-1]):
            table = _tabulate_runs(counted, other, kind, part)
            if table is None:
                return (complete[0] if complete else None), None
            tables.append(table)
        complete.append(RunCounts(tables[0], tables[1].T))
    return complete[0], complete[1]


class _AnnotationCursor:
    """Steps through the annotations of one file and keeps track of its rhythm and of unreadable signal."""

    def __init__(self, notes: AnnotationFile) -> None:
        columns = (notes.samples, notes.symbols, notes.subtypes, notes.texts)
        self.notes = [_AnnotationNote(*note) for note in zip(*columns, strict=True)]
        self.note = _AnnotationNote()
        self.rewind()

    def rewind(self) -> None:
        """Go back to the start. As in `rxr`, the last annotation read stays current, at sample 0, and may count."""
        self.position = 0
        self.note = self.note._replace(sample=0)
        self.in_af = self.in_vf = self.unreadable = False
        self.episode_end = 0

    def read(self) -> bool:
        """Make the next annotation the current one; return whether there was one."""
        if self.position == len(self.notes):
            return False
        self.note = self.notes[self.position]
        self.position += 1
        return True

    def label(self) -> str:
        """Return what the current annotation means and record what it changes, so a second call may differ.

        N S V F Q are beats, `[` `]` start and end of ventricular flutter or fibrillation, `{` `}` of atrial
        fibrillation, U is the start of unreadable signal, O anything else.
        """
        symbol, text = self.note.symbol, self.note.text
        if symbol in EC57_CLASS_OF:
            return "S" if self.in_af and EC57_CLASS_OF[symbol] == "N" else EC57_CLASS_OF[symbol]
        if symbol == "~":
            before, self.unreadable = self.unreadable, self.note.subtype & 0x30 == 0x30
            return "U" if self.unreadable and not before else "O"
        if symbol == "[" or (symbol == "+" and text.startswith("(VF")):
            before, self.in_vf = self.in_vf, True
            self.in_af = self.in_af and before
            return "O" if before else "["
        if symbol == "]" or (symbol == "+" and text):
            return self._other_rhythm()
        return "O"

    def _other_rhythm(self) -> str:
        """Return the label of a change to a rhythm other than ventricular flutter or fibrillation."""
        if self.note.symbol == "+" and self.note.text.startswith("(AF"):
            before, self.in_af = self.in_af, True
            self.in_vf = self.in_vf and before
            return "O" if before else "{"
        if self.note.symbol == "+" and self.in_af:
            self.in_af = False
            return "}"
        before, self.in_vf = self.in_vf, False
        return "]" if before else "O"


def _tabulate_runs(
    counted: _AnnotationCursor, other: _AnnotationCursor, kind: _RunKind, part: ScoredSpan
) -> NDArray[np.int64] | None:
    """Count the runs of `counted` by length (row) and by the longest run of `other` there (column), as (7, 7).

    None if `counted` has no annotations in the compared part and no episode before it.
    """
    counted.rewind()
    other.rewind()
    length = _run_length_at_start(counted, kind, part.start)
    if length is None:
        return None
    first, last = (part.start - part.window, part.start + part.window) if length else (0, 0)
    table = np.zeros((LONGEST_RUN + 1, LONGEST_RUN + 1), np.int64)
    while True:
        label, sample = counted.label(), counted.note.sample
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
        if not counted.read():
            if not length:
                return table
            # An unfinished run is closed by a made-up Q beat, which sends the loop round once more.
            counted.note = counted.note._replace(symbol="Q")
        if 0 < part.end < counted.note.sample:
            return table


def _run_length_at_start(cursor: _AnnotationCursor, kind: _RunKind, start: int) -> int | None:
    """Move to the first annotation at or after `start`; return LONGEST_RUN inside an episode and 0 outside one.

    None if there is no such annotation and no rhythm before it.
    """
    length: int | None = None
    while cursor.read():
        if cursor.note.sample >= start:
            return length or 0
        label = cursor.label()
        if label == kind.onset:
            length = LONGEST_RUN
        elif label in "]}":
            length = 0
    return length


def _longest_run(other: _AnnotationCursor, first: int, last: int, kind: _RunKind) -> int:
    """Return the length of the longest run in `other` from sample `first` to `last`.

    As in `rxr`, the cursor only moves forward: annotations that an earlier lookup passed are not seen again.
    """
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
    """Go to the end of the episode and return whether that lies after `sample`; an open one lasts for ever."""
    while other.read():
        if other.label() in kind.ends:
            if other.note.sample > sample:
                other.episode_end = other.note.sample
            return other.note.sample > sample
    other.episode_end = -1
    return True
