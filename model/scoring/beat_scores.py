"""Beat-by-beat comparison by the rules of ANSI/AAMI EC57, count for count that of the WFDB program `bxb`.

Both files are walked through once, one beat ahead of the current one. Of the two current beats the earlier one is
decided: it belongs to the other where that lies within the window and has no nearer partner in the beat that follows;
otherwise it stands alone, against `O` (no beat), `X` (no beat, and the other file had stopped: shutdown) or nothing
(flutter).
`bxb` is documented in the WFDB Applications Guide, https://physionet.org/physiotools/wag/bxb-1.htm
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.records.annotations import AnnotationFile

EC57_LABELS = "NSVFQOX"
"""Rows and columns of the matrix: classes of EC57, then missing beats, outside (O) and inside (X) a shutdown."""
SCORED_LABELS = frozenset(EC57_LABELS)
EC57_CLASS_OF = {
    symbol: label
    for label, symbols in {"N": "NLRB", "S": "JASjnea", "V": "VrE", "F": "F", "Q": "/fQ?", "O": "!"}.items()
    for symbol in symbols
}
"""EC57's class of each WFDB beat symbol. A flutter wave `!` is compared as a beat, but is of no class."""
AFTER_LAST_BEAT = 1 << 62
UNSCORED_BEAT = "*"
"""Label of what is left out: a beat inside the reference's flutter."""
OPEN_END = -1

Counts = NDArray[np.int64]


class BeatPair(NamedTuple):
    """Label and index (-1: no beat) of a reference beat, and of the test beat it was compared with."""

    reference: str
    reference_index: int
    reference_sample: int
    test: str
    test_index: int
    test_sample: int


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """What is compared, in samples at `rate`: from `start` to `end`, within `window`.

    `end` 0 stops where the first of the files ends, OPEN_END where the reference does. `second` is a second in samples.
    """

    rate: float
    start: int
    end: int
    window: int
    second: int


@dataclass(frozen=True, slots=True, eq=False)
class BeatCounts:
    """Counts of one comparison, or of several added up.

    `matrix` (7, 7): beats by reference label (row) and test label (column), in the order of LABELS. `rr_rms_ms` is the
    root mean square of the differences of `rr_pairs` RR intervals, None without any; `shutdown_s` the seconds for which
    the test stopped.
    """

    matrix: Counts
    rr_pairs: int
    rr_rms_ms: float | None
    shutdown_s: int

    def __add__(self, other: "BeatCounts") -> "BeatCounts":
        pairs = self.rr_pairs + other.rr_pairs
        squares = sum(part.rr_pairs * (part.rr_rms_ms or 0.0) ** 2 for part in (self, other))
        rms = math.sqrt(squares / pairs) if pairs else None
        return BeatCounts(self.matrix + other.matrix, pairs, rms, self.shutdown_s + other.shutdown_s)

    def total(self, reference: str, test: str) -> int:
        """Beats of any of the labels `reference` that met any of the labels `test`."""
        rows, columns = ([EC57_LABELS.index(label) for label in labels] for labels in (reference, test))
        return int(self.matrix[np.ix_(rows, columns)].sum())

    def ratios(self) -> dict[str, tuple[int, int]]:
        """Numerator and denominator of each statistic of EC57, by name."""
        found, ventricular, supra = self.total("NSVFQ", "NSVFQ"), self.total("V", "V"), self.total("S", "S")
        return {
            "qrs_se": (found, self.total("NSVFQ", EC57_LABELS)),
            "qrs_ppv": (found, self.total(EC57_LABELS, "NSVFQ")),
            "veb_se": (ventricular, self.total("V", EC57_LABELS)),
            "veb_ppv": (ventricular, self.total("NSVOX", "V")),
            "sveb_se": (supra, self.total("S", EC57_LABELS)),
            "sveb_ppv": (supra, self.total("NSVFOX", "S")),
        }


def compare_beats(
    reference: AnnotationFile, test: AnnotationFile, part: ScoredSpan
) -> tuple[BeatCounts, list[BeatPair]]:
    """Compare two annotation files as `bxb` does: the counts, and every pair in the order in which it was decided."""
    ref, found = _BeatCursor(reference, part, endless_shutdown=True), _BeatCursor(test, part, endless_shutdown=False)
    pairs: list[BeatPair] = []
    differences: list[int] = []
    for pair in _decide_pairs(ref, found, part):
        pairs.append(pair)
        if ref.rr > 0 and found.rr > 0:
            differences.append((ref.rr - found.rr) ** 2)
    rms = math.sqrt(sum(differences) / len(differences)) * 1000.0 / part.second if differences else None
    shutdown_s = int((round_to_samples(0.5, part.rate) + found.stopped) / part.second)
    return BeatCounts(_count_pairs(pairs), len(differences), rms, shutdown_s), pairs


def _count_pairs(pairs: list[BeatPair]) -> Counts:
    matrix = np.zeros((len(EC57_LABELS), len(EC57_LABELS)), np.int64)
    for (reference, test), count in Counter((pair.reference, pair.test) for pair in pairs).items():
        if reference in SCORED_LABELS and test in SCORED_LABELS and {reference, test} - {"O", "X"}:
            matrix[EC57_LABELS.index(reference), EC57_LABELS.index(test)] = count
    return matrix


def round_to_samples(seconds: float, fs: float) -> int:
    """WFDB's rounding of a time to samples: halves go up."""
    return math.floor(seconds * fs + 0.5)


def _decide_pairs(ref: "_BeatCursor", test: "_BeatCursor", part: ScoredSpan) -> Iterator[BeatPair]:
    """Decide one pair after the other; `ref` and `test` move on only after a pair was taken."""
    start, window = part.start, part.window
    ref.advance()
    while ref.time < start:
        ref.advance()
    test.advance()
    while test.next_time < start:
        test.advance()
    if ref.time - test.time < abs(ref.time - test.next_time) and ref.time - test.time <= window:
        if ref.label or test.label:
            yield _pair_current_beats(ref, test)
        ref.advance()
        test.advance()
    else:
        test.advance()
        if test.time - start <= window and abs(ref.time - test.next_time) < abs(ref.time - test.time):
            test.advance()
    while _has_more_beats(ref.time, test.time, part.end):
        apart = abs(ref.time - test.time)
        test_first = test.time < ref.time
        other = abs(ref.time - test.next_time) if test_first else abs(test.time - ref.next_time)
        if apart <= window and (apart < other or abs(ref.next_time - test.next_time) < other):
            yield _pair_current_beats(ref, test)
            ref.advance()
            test.advance()
        elif test_first:
            yield BeatPair(ref.label_at(test.time, flutter=True), -1, test.time, test.label, test.index, test.time)
            test.advance()
        else:
            yield BeatPair(ref.label, ref.index, ref.time, test.label_at(ref.time, flutter=False), -1, ref.time)
            ref.advance()


def _pair_current_beats(ref: "_BeatCursor", test: "_BeatCursor") -> BeatPair:
    return BeatPair(ref.label, ref.index, ref.time, test.label, test.index, test.time)


def _has_more_beats(reference: int, test: int, end: int) -> bool:
    if end > 0:
        return reference <= end or test <= end
    return reference != AFTER_LAST_BEAT and (end == OPEN_END or test != AFTER_LAST_BEAT)


class _UnscoredStretch(NamedTuple):
    """First and last sample of a stretch of flutter or shutdown; -1 for none, or for an end not yet seen."""

    on: int = -1
    off: int = -1

    def holds(self, sample: int) -> bool:
        return self.on != -1 and self.on <= sample <= self.off


class _BeatCursor:
    """Walks through the beats of one file: the current beat, the next one, and the last two stretches of each kind.

    Before the first beat, time 0 with an empty label stands for the current one; after the last, NEVER with UNSCORED.
    """

    def __init__(self, notes: AnnotationFile, part: ScoredSpan, endless_shutdown: bool) -> None:
        self.notes, self.part, self.endless_shutdown = notes, part, endless_shutdown
        self.at = notes.definitions
        self.time, self.label, self.index = 0, "", -1
        self.next_time, self.next_label, self.next_index = 0, "", -1
        self.seen = 0
        self.rr = 0
        self.stopped = 0
        self.flutter = self.shutdown = self.old_flutter = self.old_shutdown = _UnscoredStretch()

    def advance(self) -> None:
        """Make the next beat the current one, with its RR interval (0: not valid), and find the one after it."""
        before, self.time = self.time, self.next_time
        self.label, self.index = self.next_label, self.next_index
        breaks = (self.flutter.on, self.shutdown.on, self.old_flutter.on, self.old_shutdown.on)
        valid = before != 0 and self.time != AFTER_LAST_BEAT and not any(before <= on < self.time for on in breaks)
        self.rr = self.time - before if valid else 0
        self._find_next()

    def label_at(self, sample: int, flutter: bool) -> str:
        """What stands for a beat of the other file that this one does not have at `sample`."""
        if flutter and self._inside(self.flutter, self.old_flutter, sample):
            return UNSCORED_BEAT
        return "X" if self._inside(self.shutdown, self.old_shutdown, sample) else "O"

    @staticmethod
    def _inside(latest: _UnscoredStretch, old: _UnscoredStretch, sample: int) -> bool:
        unended = latest.off == -1 and latest.on != -1 and latest.on <= sample
        return unended or latest.holds(sample) or old.holds(sample)

    def _find_next(self) -> None:
        notes = self.notes
        while self.at < len(notes.samples):
            symbol = notes.symbols[self.at]
            if symbol in EC57_CLASS_OF:
                self.next_time, self.next_label, self.next_index = (
                    notes.samples[self.at],
                    EC57_CLASS_OF[symbol],
                    self.seen,
                )
                self.at += 1
                self.seen += 1
                return
            if symbol == "[":
                self._pass_flutter()
            elif self._unreadable():
                self._pass_shutdown()
            else:
                self.at += 1
        self.next_time, self.next_label, self.next_index = AFTER_LAST_BEAT, UNSCORED_BEAT, -1

    def _unreadable(self) -> bool:
        """Whether neither signal can be read from here on: a `~` whose subtype has bits 4 and 5."""
        return self.notes.symbols[self.at] == "~" and self.notes.subtypes[self.at] & 0x30 == 0x30

    def _pass_flutter(self) -> None:
        """Skip everything up to `]`. Without one the stretch keeps the end of the one before, as in `bxb`."""
        self.old_flutter, self.flutter = self.flutter, _UnscoredStretch(self.notes.samples[self.at], self.flutter.off)
        while self.at < len(self.notes.samples):
            self.at += 1
            if self.notes.symbols[self.at - 1] == "]":
                self.flutter = self.flutter._replace(off=self.notes.samples[self.at - 1])
                return

    def _pass_shutdown(self) -> None:
        """Note a stretch that a second `~` ends; one without lies between its neighbours, a window away from each."""
        start = self.notes.samples[self.at]
        self.old_shutdown, self.shutdown = self.shutdown, _UnscoredStretch(start, self.shutdown.off)
        self.at += 1
        if self.at == len(self.notes.samples):
            if self.endless_shutdown:
                self.shutdown = self.shutdown._replace(off=AFTER_LAST_BEAT)
            elif self.part.end > 0:
                self.stopped += self.part.end - start
            return
        end = self.notes.samples[self.at]
        if self.notes.symbols[self.at] == "~" and not self._unreadable():
            self.at += 1
        else:
            end -= self.part.window
            start = min(max(self.flutter.off, self.time) + self.part.window, end)
        self.shutdown = _UnscoredStretch(start, end)
        self.stopped += end - start
