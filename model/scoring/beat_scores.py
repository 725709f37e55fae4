"""Beat-by-beat comparison by the rules of ANSI/AAMI EC57, with the same counts as the WFDB program `bxb`.

The comparison goes through both files once and looks one beat ahead. Of the two current beats it decides the earlier
one: the two are a pair if they lie within the window and neither has a nearer partner in the beat that follows.
Otherwise the earlier beat stands alone, against `O` (no beat), `X` (no beat, in a shutdown of the other file) or
nothing (flutter). `bxb` is documented in the WFDB Applications Guide,
https://physionet.org/physiotools/wag/bxb-1.htm
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.records.annotations import AnnotationFile
from model.records.wfdb_records import EC57_CLASS_OF

EC57_LABELS = "NSVFQOX"
"""Rows and columns of the matrix: classes of EC57, then missing beats, outside (O) and inside (X) a shutdown."""
SCORED_LABELS = frozenset(EC57_LABELS)
AFTER_LAST_BEAT = 1 << 62
UNSCORED_BEAT = "*"
"""Label of what is left out: a beat inside the reference's flutter."""
OPEN_END = -1
"""End of a comparison that stops with the reference."""

Counts = NDArray[np.int64]


class BeatPair(NamedTuple):
    """Label, index (-1: no beat) and sample of a reference beat, and those of the test beat it was compared with."""

    reference: str
    reference_index: int
    reference_sample: int
    test: str
    test_index: int
    test_sample: int


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """The part to compare, in samples at `rate` hertz: from `start` to `end`, with pairs at most `window` apart.

    An `end` of 0 stops where the first of the files ends, OPEN_END where the reference does. `second` is one second
    rounded to samples.
    """

    rate: float
    start: int
    end: int
    window: int
    second: int


@dataclass(frozen=True, slots=True)
class DetectionCounts:
    """How often a class of beats was found, missed and reported falsely, by the rules of EC57."""

    true_positives: int
    false_negatives: int
    false_positives: int

    @property
    def sensitivity(self) -> float | None:
        """Share (0 to 1) of the reference's beats that the test has; None if the reference has none."""
        beats = self.true_positives + self.false_negatives
        return self.true_positives / beats if beats else None

    @property
    def positive_predictivity(self) -> float | None:
        """Share (0 to 1) of the test's beats that the reference has; None if the test has none."""
        beats = self.true_positives + self.false_positives
        return self.true_positives / beats if beats else None


@dataclass(frozen=True, slots=True, eq=False)
class BeatCounts:
    """Counts of one comparison, or of several added up.

    Attributes
    ----------
    matrix : (7, 7) int64
        Beats by reference label (row) and test label (column), in the order of EC57_LABELS.
    rr_pairs : int
        Pairs of RR intervals that were compared.
    rr_rms_ms : float or None
        Root mean square of their differences in milliseconds; None without any.
    shutdown_s : int
        Seconds for which the test had stopped.
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
        """Count the beats with any of the labels `reference` that were paired with any of the labels `test`."""
        rows, columns = ([EC57_LABELS.index(label) for label in labels] for labels in (reference, test))
        return int(self.matrix[np.ix_(rows, columns)].sum())

    @property
    def qrs(self) -> DetectionCounts:
        """Beats of any class."""
        return DetectionCounts(self.total("NSVFQ", "NSVFQ"), self.total("NSVFQ", "OX"), self.total("OX", "NSVFQ"))

    @property
    def veb(self) -> DetectionCounts:
        """Ventricular ectopic beats (V). EC57 does not count F and Q beats that are called V as false."""
        return DetectionCounts(self.total("V", "V"), self.total("V", "NSFQOX"), self.total("NSOX", "V"))

    @property
    def sveb(self) -> DetectionCounts:
        """Supraventricular ectopic beats (S). EC57 does not count Q beats that are called S as false."""
        return DetectionCounts(self.total("S", "S"), self.total("S", "NVFQOX"), self.total("NVFOX", "S"))

    def ratios(self) -> dict[str, tuple[int, int]]:
        """Return the numerator and denominator of each statistic of EC57, by name."""
        ratios: dict[str, tuple[int, int]] = {}
        for name, counts in (("qrs", self.qrs), ("veb", self.veb), ("sveb", self.sveb)):
            hits = counts.true_positives
            ratios[f"{name}_se"] = hits, hits + counts.false_negatives
            ratios[f"{name}_ppv"] = hits, hits + counts.false_positives
        return ratios


def compare_beats(
    reference: AnnotationFile, test: AnnotationFile, part: ScoredSpan
) -> tuple[BeatCounts, list[BeatPair]]:
    """Compare two annotation files as `bxb` does.

    Returns
    -------
    counts : BeatCounts
    pairs : list of BeatPair
        Every pair, in the order in which it was decided.
    """
    reference_beats = _BeatCursor(reference, part, endless_shutdown=True)
    test_beats = _BeatCursor(test, part, endless_shutdown=False)
    pairs: list[BeatPair] = []
    squares: list[int] = []
    for pair in _decide_pairs(reference_beats, test_beats, part):
        pairs.append(pair)
        if reference_beats.rr > 0 and test_beats.rr > 0:
            squares.append((reference_beats.rr - test_beats.rr) ** 2)
    rms = math.sqrt(sum(squares) / len(squares)) * 1000.0 / part.second if squares else None
    shutdown_s = int((round_to_samples(0.5, part.rate) + test_beats.stopped) / part.second)
    return BeatCounts(_count_pairs(pairs), len(squares), rms, shutdown_s), pairs


def _count_pairs(pairs: list[BeatPair]) -> Counts:
    matrix = np.zeros((len(EC57_LABELS), len(EC57_LABELS)), np.int64)
    for (reference, test), count in Counter((pair.reference, pair.test) for pair in pairs).items():
        if reference in SCORED_LABELS and test in SCORED_LABELS and {reference, test} - {"O", "X"}:
            matrix[EC57_LABELS.index(reference), EC57_LABELS.index(test)] = count
    return matrix


def round_to_samples(seconds: float, fs: float) -> int:
    """Round a time to samples as WFDB does: halves go up."""
    return math.floor(seconds * fs + 0.5)


def _decide_pairs(ref: "_BeatCursor", test: "_BeatCursor", part: ScoredSpan) -> Iterator[BeatPair]:
    """Decide one pair after the other; the cursors move on only when the next pair is asked for."""
    window = part.window
    yield from _decide_first_pair(ref, test, part)
    while _has_more_beats(ref.time, test.time, part.end):
        distance = abs(ref.time - test.time)
        test_first = test.time < ref.time
        alternative = abs(ref.time - test.next_time) if test_first else abs(test.time - ref.next_time)
        # A nearer alternative loses if the two following beats are nearer to each other still.
        if distance <= window and (distance < alternative or abs(ref.next_time - test.next_time) < alternative):
            yield _pair_current_beats(ref, test)
            ref.advance()
            test.advance()
        elif test_first:
            yield BeatPair(ref.label_at(test.time, flutter=True), -1, test.time, test.label, test.index, test.time)
            test.advance()
        else:
            yield BeatPair(ref.label, ref.index, ref.time, test.label_at(ref.time, flutter=False), -1, ref.time)
            ref.advance()


def _decide_first_pair(ref: "_BeatCursor", test: "_BeatCursor", part: ScoredSpan) -> Iterator[BeatPair]:
    """Move both cursors to the start, and decide the first pair if it has a test beat from just before the start.

    `bxb` treats these beats apart: such a test beat may belong to a reference beat just after the start, and if it
    belongs to an earlier one it is not extra.
    """
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


def _pair_current_beats(ref: "_BeatCursor", test: "_BeatCursor") -> BeatPair:
    return BeatPair(ref.label, ref.index, ref.time, test.label, test.index, test.time)


def _has_more_beats(reference: int, test: int, end: int) -> bool:
    if end > 0:
        return reference <= end or test <= end
    return reference != AFTER_LAST_BEAT and (end == OPEN_END or test != AFTER_LAST_BEAT)


class _UnscoredStretch(NamedTuple):
    """First and last sample of a stretch of flutter or shutdown; -1 for no stretch, or for an end not yet seen."""

    on: int = -1
    off: int = -1

    def contains(self, sample: int) -> bool:
        """Return whether a sample lies in the stretch; never in an open one."""
        return self.on != -1 and self.on <= sample <= self.off


class _BeatCursor:
    """Steps through the beats of one file: the current beat, the next one, and the last two stretches of each kind.

    Before the first beat, time 0 with an empty label stands for the current one; after the last, AFTER_LAST_BEAT with
    UNSCORED_BEAT. `rr` is the RR interval that ends at the current beat, in samples, 0 if it is not valid; `stopped`
    counts the samples in shutdown so far.
    """

    def __init__(self, notes: AnnotationFile, part: ScoredSpan, endless_shutdown: bool) -> None:
        self.notes = notes
        self.part = part
        self.endless_shutdown = endless_shutdown
        self.position = notes.definitions
        self.time, self.label, self.index = 0, "", -1
        self.next_time, self.next_label, self.next_index = 0, "", -1
        self.beats_read = 0
        self.rr = 0
        self.stopped = 0
        self.flutter = self.shutdown = self.old_flutter = self.old_shutdown = _UnscoredStretch()

    def advance(self) -> None:
        """Make the next beat the current one, and find the one after it."""
        before, self.time = self.time, self.next_time
        self.label, self.index = self.next_label, self.next_index
        breaks = (self.flutter.on, self.shutdown.on, self.old_flutter.on, self.old_shutdown.on)
        valid = before != 0 and self.time != AFTER_LAST_BEAT and not any(before <= on < self.time for on in breaks)
        self.rr = self.time - before if valid else 0
        self._find_next()

    def label_at(self, sample: int, flutter: bool) -> str:
        """Return the label that stands for a beat of the other file that this one does not have at `sample`."""
        if flutter and self._inside(self.flutter, self.old_flutter, sample):
            return UNSCORED_BEAT
        return "X" if self._inside(self.shutdown, self.old_shutdown, sample) else "O"

    @staticmethod
    def _inside(latest: _UnscoredStretch, old: _UnscoredStretch, sample: int) -> bool:
        still_open = latest.off == -1 and latest.on != -1 and latest.on <= sample
        return still_open or latest.contains(sample) or old.contains(sample)

    def _find_next(self) -> None:
        samples, symbols = self.notes.samples, self.notes.symbols
        while self.position < len(samples):
            sample, symbol = samples[self.position], symbols[self.position]
            if symbol in EC57_CLASS_OF:
                self.next_time, self.next_label, self.next_index = sample, EC57_CLASS_OF[symbol], self.beats_read
                self.position += 1
                self.beats_read += 1
                return
            if symbol == "[":
                self._pass_flutter()
            elif self._unreadable():
                self._pass_shutdown()
            else:
                self.position += 1
        self.next_time, self.next_label, self.next_index = AFTER_LAST_BEAT, UNSCORED_BEAT, -1

    def _unreadable(self) -> bool:
        """Return whether neither signal can be read from here on: a `~` whose subtype has bits 4 and 5 set."""
        return self.notes.symbols[self.position] == "~" and self.notes.subtypes[self.position] & 0x30 == 0x30

    def _pass_flutter(self) -> None:
        """Skip everything up to `]`. Without one the stretch keeps the end of the one before, as in `bxb`."""
        samples, symbols = self.notes.samples, self.notes.symbols
        self.old_flutter = self.flutter
        self.flutter = _UnscoredStretch(samples[self.position], self.flutter.off)
        while self.position < len(samples):
            self.position += 1
            if symbols[self.position - 1] == "]":
                self.flutter = self.flutter._replace(off=samples[self.position - 1])
                return

    def _pass_shutdown(self) -> None:
        """Record a stretch that a second `~` ends; without one it ends a window before the next annotation."""
        start = self.notes.samples[self.position]
        self.old_shutdown = self.shutdown
        self.shutdown = _UnscoredStretch(start, self.shutdown.off)
        self.position += 1
        if self.position == len(self.notes.samples):
            if self.endless_shutdown:
                self.shutdown = self.shutdown._replace(off=AFTER_LAST_BEAT)
            elif self.part.end > 0:
                self.stopped += self.part.end - start
            return
        end = self.notes.samples[self.position]
        if self.notes.symbols[self.position] == "~" and not self._unreadable():
            self.position += 1
        else:
            end -= self.part.window
            start = min(max(self.flutter.off, self.time) + self.part.window, end)
        self.shutdown = _UnscoredStretch(start, end)
        self.stopped += end - start
