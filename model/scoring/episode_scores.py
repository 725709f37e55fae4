"""Episode-by-episode comparison of rhythms by the rules of ANSI/AAMI EC57, as WFDB's `epicmp` does it.

`epicmp` is documented in the WFDB Applications Guide, https://physionet.org/physiotools/wag/epicmp-1.htm. Its rules,
and its counts with the kinds `AF_EPISODES` (option -A) and `MARKED_VF` (-V), are these:

- An episode of atrial fibrillation runs from a rhythm label that begins with "(AFIB" to the next rhythm label that does
  not; one of ventricular flutter or fibrillation from a `[` to the next `]`. An open episode lasts to the end.
- The first 5:00 do not count: an episode that begins earlier is cut there, one that ends earlier is left out.
- A reference episode is found, and a test episode true, if it shares any time at all with one of the other file.
- Durations: the time in which both have the rhythm, divided by that of the reference (sensitivity) or the test (+P).
- Atrial flutter "(AFL" is not fibrillation, and fibrillation reported there is false, as EC57 has it. `without` leaves
  such stretches of the reference out of +P, as -x does by the older EC38:1998.

`epicmp` differs in this: with -x it adds the part of a test episode that begins in an excluded stretch instead of
subtracting it, and knows eleven stretches at most; if a record does not state its length it finds no episodes.

Beyond `epicmp`, `EpisodeKind` takes any rhythm labels, such as "(VT", and marks as well; and `excluded` leaves
stretches of the reference such as "(NOISE" out of everything, for sensitivity as for +P.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import NamedTuple

from model.records.annotations import AnnotationFile
from model.scoring.beat_scores import OPEN_END, ScoredSpan, round_to_samples


class EpisodeSpan(NamedTuple):
    """First sample of an episode, and the first sample after it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EpisodeKind:
    """What makes an episode: rhythm labels that begin with any of `labels`, and with `marks` also `[` to `]`.

    `without`: labels of the reference whose stretches are left out of +P. `test_labels`: labels that count as well, but
    in the test alone. `shortest_s`: shorter episodes do not count.
    """

    name: str
    labels: tuple[str, ...] = ()
    marks: bool = False
    without: tuple[str, ...] = ()
    test_labels: tuple[str, ...] = ()
    shortest_s: float = 0.0


AF_EPISODES = EpisodeKind("AF", ("(AFIB",))
AF_WITHOUT_FLUTTER = EpisodeKind("AF, AFL left out", ("(AFIB",), without=("(AFL",))
AF_OR_FLUTTER = EpisodeKind("AF or AFL", ("(AFIB", "(AFL"))
MARKED_VF = EpisodeKind("VF as marked", marks=True)
VF_EPISODES = EpisodeKind("VF", ("(VF",), marks=True)
VF_WITHOUT_VT = EpisodeKind("VF, VT left out", ("(VF",), marks=True, without=("(VT",))
LONG_VF_WITHOUT_VT = EpisodeKind(
    "VF of 4 s and more, VT left out", ("(VF",), marks=True, without=("(VT",), shortest_s=4.0
)
VT_EPISODES = EpisodeKind("VT", ("(VT",))
VT_AS_VT_OR_VF = EpisodeKind("VT, said to be VT or VF", ("(VT",), without=("(VF",), test_labels=("(VF",))
VF_OR_VT_EPISODES = EpisodeKind("VF or VT", ("(VF", "(VT"), marks=True)
NOISE_LABELS = ("(NOISE",)


@dataclass(frozen=True, slots=True)
class EpisodeCounts:
    """Counts and durations of episodes, of one record or of several added up.

    Episodes of the reference are `found` or `missed`, those of the test `true` or `false`. Seconds: `reference_s` and
    `test_s` of these episodes, `found_s` and `true_s` of the parts of them that the other file has too, `scored_s` of
    all the signal that was compared.
    """

    found: int = 0
    missed: int = 0
    true: int = 0
    false: int = 0
    reference_s: float = 0.0
    found_s: float = 0.0
    test_s: float = 0.0
    true_s: float = 0.0
    scored_s: float = 0.0

    def __add__(self, other: "EpisodeCounts") -> "EpisodeCounts":
        return EpisodeCounts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def sensitivity(self) -> float | None:
        """Share (0 to 1) of the reference's episodes that were found; None if the reference has none."""
        episodes = self.found + self.missed
        return self.found / episodes if episodes else None

    @property
    def positive_predictivity(self) -> float | None:
        """Share (0 to 1) of the test's episodes that are true; None if the test has none."""
        episodes = self.true + self.false
        return self.true / episodes if episodes else None

    def ratios(self) -> dict[str, tuple[float, float]]:
        """Return the numerator and denominator of each statistic of EC57, by name."""
        return {
            "episode_se": (self.found, self.found + self.missed),
            "episode_ppv": (self.true, self.true + self.false),
            "duration_se": (self.found_s, self.reference_s),
            "duration_ppv": (self.true_s, self.test_s),
        }

    def percent(self) -> dict[str, float | None]:
        """Return the statistics in percent; None for those without a denominator."""
        return {name: 100 * part / whole if whole > 0 else None for name, (part, whole) in self.ratios().items()}

    @property
    def false_per_hour(self) -> float | None:
        """False episodes in an hour of compared signal; None if there is none."""
        return 3600 * self.false / self.scored_s if self.scored_s > 0 else None


def compare_episodes(
    reference: AnnotationFile,
    test: AnnotationFile,
    kind: EpisodeKind,
    part: ScoredSpan,
    shortest_s: float = 0.0,
    excluded: tuple[str, ...] = (),
) -> EpisodeCounts:
    """Compare the episodes of one kind in two annotation files, as `epicmp` does.

    Parameters
    ----------
    reference, test : AnnotationFile
        Both at the rate of `part`.
    kind : EpisodeKind
        Which episodes, such as AF_EPISODES.
    part : ScoredSpan
        The part to compare, from `model.scoring.ec57.build_scored_span`.
    shortest_s : float
        Episodes shorter than this, in seconds, do not count.
    excluded : tuple of str
        Rhythm labels of the reference, such as NOISE_LABELS, whose stretches do not count at all.
    """
    end = comparison_end(reference, test, part)
    test_kind = replace(kind, labels=kind.labels + kind.test_labels, marks=kind.marks or bool(kind.test_labels))
    reference_spans = clip_episodes(annotated_episodes(reference, kind, end), part.start, end)
    test_spans = clip_episodes(annotated_episodes(test, test_kind, end), part.start, end)
    ignored = annotated_episodes(reference, EpisodeKind("", excluded), end) if excluded else []
    without = annotated_episodes(reference, EpisodeKind("", kind.without), end) if kind.without else []
    shortest = round_to_samples(max(shortest_s, kind.shortest_s), part.rate)
    found, missed, reference_n, found_n = match_episodes(reference_spans, test_spans, ignored, shortest)
    # Stretches of `without` are left out of +P alone: they do not change what counts for sensitivity.
    true, false, test_n, true_n = match_episodes(
        test_spans, reference_spans, _merge_episodes([*ignored, *without]), shortest
    )
    scored = end - part.start - sum(episode_length(span) for span in clip_episodes(ignored, part.start, end))
    seconds = (n / part.rate for n in (reference_n, found_n, test_n, true_n, max(0, scored)))
    return EpisodeCounts(found, missed, true, false, *seconds)


def comparison_end(reference: AnnotationFile, test: AnnotationFile, part: ScoredSpan) -> int:
    """Return the sample at which the comparison ends: the part's end or, if it has none, that of the reference.

    With the end 0 it is where the first of the two files ends, as in `epicmp -t 0`.
    """
    last, other = (max(notes.samples, default=0) for notes in (reference, test))
    if part.end == 0:
        return max(part.start, min(last, other))
    return part.end if part.end != OPEN_END else max(part.start, last)


def annotated_episodes(notes: AnnotationFile, kind: EpisodeKind, end: int) -> list[EpisodeSpan]:
    """Return all episodes of a kind, in order. An open one lasts to `end`, or to the last annotation after that.

    Labels and marks that overlap or touch make one episode.
    """
    if not kind.labels:
        return _marked_episodes(notes, end) if kind.marks else []
    spans = _labelled_episodes(notes, kind.labels, end)
    return _merge_episodes([*spans, *_marked_episodes(notes, end)]) if kind.marks else spans


def clip_episodes(spans: Iterable[EpisodeSpan], start: int, end: int) -> list[EpisodeSpan]:
    """Return the episodes cut to samples `start` to `end`, without those that lie outside."""
    return [EpisodeSpan(max(s, start), min(e, end)) for s, e in spans if e >= start and s < end]


def episode_length(episode: EpisodeSpan) -> int:
    """Return the length of an episode in samples."""
    return episode.end - episode.start


def episode_overlap(episode: EpisodeSpan, others: Iterable[EpisodeSpan]) -> int:
    """Return how many samples of an episode lie in others, which do not overlap each other."""
    return sum(max(0, min(episode.end, e) - max(episode.start, s)) for s, e in others)


def gross_episode_counts(counts: Sequence[EpisodeCounts]) -> EpisodeCounts:
    """Add up the counts of several records."""
    return reduce(add, counts, EpisodeCounts())


def average_episode_percent(counts: Sequence[EpisodeCounts]) -> dict[str, float | None]:
    """Return the mean of each statistic, in percent, over the records that define it; None if none does."""
    rows = [record.percent() for record in counts]
    columns = {name: [value for row in rows if (value := row[name]) is not None] for name in EpisodeCounts().ratios()}
    return {name: sum(values) / len(values) if values else None for name, values in columns.items()}


def _labelled_episodes(notes: AnnotationFile, labels: tuple[str, ...], end: int) -> list[EpisodeSpan]:
    rhythms = [
        (sample, text.startswith(labels))
        for sample, symbol, text in zip(notes.samples, notes.symbols, notes.texts, strict=True)
        if symbol == "+"
    ]
    return _episodes_from_changes(rhythms, max(notes.samples, default=0), end)


def _marked_episodes(notes: AnnotationFile, end: int) -> list[EpisodeSpan]:
    marks = [(s, symbol == "[") for s, symbol in zip(notes.samples, notes.symbols, strict=True) if symbol in "[]"]
    return _episodes_from_changes(marks, max(notes.samples, default=0), end)


def _episodes_from_changes(changes: list[tuple[int, bool]], last: int, end: int) -> list[EpisodeSpan]:
    """Turn changes (sample, whether the rhythm is on from there) into episodes.

    An open last episode ends at `end`, or at the `last` annotation if that is later.
    """
    episodes: list[EpisodeSpan] = []
    start: int | None = None
    for sample, on in changes:
        if on and start is None:
            start = sample
        elif not on and start is not None:
            episodes.append(EpisodeSpan(start, sample))
            start = None
    return episodes if start is None else [*episodes, EpisodeSpan(start, max(end, last))]


def _merge_episodes(spans: Iterable[EpisodeSpan]) -> list[EpisodeSpan]:
    """Return the spans in order, with those that touch or overlap merged."""
    merged: list[EpisodeSpan] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            merged[-1] = EpisodeSpan(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def match_episodes(
    episodes: Iterable[EpisodeSpan],
    others: Sequence[EpisodeSpan],
    excluded: Sequence[EpisodeSpan] = (),
    shortest: int = 0,
) -> tuple[int, int, int, int]:
    """Count the episodes that share time with others and those that do not, and their samples.

    Returns
    -------
    matched, unmatched : int
        Episodes of at least `shortest` samples outside the spans `excluded`, which are in order.
    total, shared : int
        Samples of all these episodes, and of the parts that lie in `others`, which do not overlap each other.
    """
    matched = unmatched = total = shared = 0
    for episode in episodes:
        pieces = _subtract_episodes(episode, excluded)
        duration = sum(map(episode_length, pieces))
        if not pieces or duration < shortest:
            continue
        overlap = sum(episode_overlap(piece, others) for piece in pieces)
        matched += overlap > 0
        unmatched += overlap == 0
        total += duration
        shared += overlap
    return matched, unmatched, total, shared


def _subtract_episodes(episode: EpisodeSpan, excluded: Sequence[EpisodeSpan]) -> list[EpisodeSpan]:
    """Return the pieces of an episode outside the spans `excluded`, which are in order."""
    pieces: list[EpisodeSpan] = []
    start = episode.start
    for span in excluded:
        if span.start <= start and episode.end <= span.end:
            return pieces
        if span.end <= start or span.start >= episode.end:
            continue
        if span.start > start:
            pieces.append(EpisodeSpan(start, span.start))
        if span.end >= episode.end:
            return pieces
        start = span.end
    return [*pieces, EpisodeSpan(start, episode.end)]
