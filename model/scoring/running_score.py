"""Scores that grow with a stream: beats as they are decided, against the annotations of the record that it replays.

The comparison is that of `model.scoring.beat_scores`, in stretches that no pair of beats reaches across: a stretch ends
in a pause between beats, of both files together, that is longer than the window of a pair. So the counts are those of
the whole at once, and each beat is compared once.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from model.records.wfdb_records import EC57_CLASS_OF, RecordAnnotations
from model.scoring.beat_scores import EC57_LABELS, BeatCounts, BeatPair, ScoredSpan, compare_beats
from model.scoring.ec57 import WINDOW_S, build_annotation_file, build_scored_span


@dataclass(frozen=True, slots=True)
class ReferenceBeat:
    """An annotated beat: its sample at the record's rate, WFDB symbol and class of EC57."""

    sample: int
    symbol: str
    label: str


class RunningScore:
    """The score of the beats of a replay; the reference is known from the start.

    `counts`: of all that was compared, over all runs. `wrong`: samples of the reference beats that were missed or given
    another class, in the runs so far.
    """

    def __init__(self, notes: RecordAnnotations, fs: float) -> None:
        """`notes`: the reference, at `fs` hertz, as are the samples of all methods."""
        self.counts = BeatCounts(np.zeros((len(EC57_LABELS), len(EC57_LABELS)), np.int64), 0, None, 0)
        self.wrong: set[int] = set()
        self._fs = fs
        self._samples = notes.samples.tolist()
        self._symbols = notes.symbols
        self._beats = [
            ReferenceBeat(sample, symbol, EC57_CLASS_OF[symbol])
            for sample, symbol in zip(self._samples, notes.symbols, strict=True)
            if symbol in EC57_CLASS_OF
        ]
        self._places = [beat.sample for beat in self._beats]
        self._whole = _undivided_stretches(notes)
        self._window = build_scored_span(fs, 0, 0.0, None, WINDOW_S).window
        self._open: list[tuple[int, str]] = []
        """Beats of the run that are not compared yet."""
        self._start: int | None = None
        """First sample of the run that is not compared yet; None before its first beat."""

    @property
    def compared(self) -> int:
        """Beats of the reference that were compared."""
        return self.counts.total("NSVFQ", EC57_LABELS)

    @property
    def agreed(self) -> int:
        """Those of them that were found and given their class."""
        return int(sum(self.counts.total(label, label) for label in "NSVFQ"))

    def between(self, start: int, stop: int) -> list[ReferenceBeat]:
        """Return the beats of the reference from sample `start` to before `stop`."""
        return self._beats[bisect_left(self._places, start) : bisect_left(self._places, stop)]

    def start_run(self) -> None:
        """Begin a run: what is before its first beat is not compared, nor what the last one left open."""
        self._open.clear()
        self._start = None

    def add(self, sample: int, label: str) -> None:
        """Take the next beat of the run, which follows on those before it."""
        if self._start is None:
            self._start = max(0, sample - self._window)
        self._open.append((sample, label))
        if (cut := self._find_pause(self._start, sample)) is not None:
            self._compare(self._start, cut)
            self._start = cut

    def _find_pause(self, start: int, last: int) -> int | None:
        """Return the first sample of the latest pause from sample `start` to the last beat; None without any."""
        low, high = bisect_left(self._places, start), bisect_right(self._places, last)
        places = sorted({*self._places[low:high], *(sample for sample, _ in self._open)})
        for before, after in zip(places[-2::-1], places[:0:-1], strict=True):
            cut = before + 1
            if after - cut > self._window and not any(first <= cut <= end for first, end in self._whole):
                return cut
        return None

    def _compare(self, start: int, stop: int) -> None:
        """Compare what lies from sample `start` to before `stop`."""
        low, high = bisect_left(self._samples, start), bisect_left(self._samples, stop)
        settled = [(sample, label) for sample, label in self._open if sample < stop]
        part = ScoredSpan(self._fs, start, stop, self._window, round(self._fs))
        counts, pairs = compare_beats(
            build_annotation_file(self._samples[low:high], self._symbols[low:high]),
            build_annotation_file([sample for sample, _ in settled], [label for _, label in settled]),
            part,
        )
        self.counts = self.counts + counts
        self.wrong |= {pair.reference_sample for pair in pairs if _is_wrong(pair)}
        self._open = self._open[len(settled) :]


def _is_wrong(pair: BeatPair) -> bool:
    return pair.reference_index >= 0 and pair.reference != pair.test


def _undivided_stretches(notes: RecordAnnotations) -> list[tuple[int, int]]:
    """Return first and last sample of each stretch of flutter, from `[` to `]`, inside which no comparison may end."""
    stretches: list[tuple[int, int]] = []
    onset: int | None = None
    for sample, symbol in zip(notes.samples.tolist(), notes.symbols, strict=True):
        if symbol == "[" and onset is None:
            onset = sample
        elif symbol == "]" and onset is not None:
            stretches.append((onset, sample))
            onset = None
    return stretches if onset is None else [*stretches, (onset, 1 << 62)]
