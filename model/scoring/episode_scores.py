"""Episode-by-episode comparison of rhythms by the rules of ANSI/AAMI EC57, as WFDB's `epicmp` does it.

`epicmp` is documented in the WFDB Applications Guide, https://physionet.org/physiotools/wag/epicmp-1.htm. Certain, and
the same here, count for count (kinds `AF_EPISODES`, its option -A, and `MARKED_VF`, -V):

- An episode of atrial fibrillation runs from a rhythm label that begins with "(AFIB" to the next rhythm label that does
  not; one of ventricular flutter or fibrillation from a `[` to the next `]`. One that does not end lasts to the end.
- What lies before 5:00 does not count: an episode that begins earlier begins there, one that ends earlier is left out.
- A reference episode is found, and a test episode true, where it shares any time at all with one of the other file.
- Durations: the time in which both say the rhythm, of that of the reference (sensitivity) and of the test (+P).
- Atrial flutter "(AFL" is not fibrillation, and fibrillation called there is false, as EC57 has it. `without` leaves
  such stretches of the reference out of +P, as -x does by the older EC38:1998.

Departing from `epicmp`: with -x it adds the part of a test episode that begins in a stretch left out instead of taking
it away, and knows eleven stretches at most; where a record does not state its length it finds no episodes. None of that
is done here.

More than it can: `EpisodeKind` takes any rhythm labels, such as "(VT", and marks as well. Nor does it know noise:
`unheard` leaves stretches such as "(NOISE" of the reference out of everything, for sensitivity as for +P. Default is
off.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import NamedTuple

from model.records.annotations import AnnotationFile
from model.scoring.beat_scores import OPEN_END, ScoredSpan, round_to_samples
from model.text import format_clock

EPISODES_HEADER = "Record  TPs   FN  TPp   FP  ESe E+P DSe D+P  Ref duration  Test duration "
"""Of the lines of `epicmp -L`."""


class EpisodeSpan(NamedTuple):
    """First sample, and the first after it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EpisodeKind:
    """What makes an episode: rhythm labels that begin with any of `labels`, and with `marks` also `[` to `]`.

    `without`: labels of the reference whose stretches are left out of +P; `also`: labels that count in the test alone;
    `least_s`: shorter episodes do not count.
    """

    name: str
    labels: tuple[str, ...] = ()
    marks: bool = False
    without: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    least_s: float = 0.0


AF_EPISODES = EpisodeKind("AF", ("(AFIB",))
AF_WITHOUT_FLUTTER = EpisodeKind("AF, AFL left out", ("(AFIB",), without=("(AFL",))
AF_OR_FLUTTER = EpisodeKind("AF or AFL", ("(AFIB", "(AFL"))
MARKED_VF = EpisodeKind("VF as marked", marks=True)
VF_EPISODES = EpisodeKind("VF", ("(VF",), marks=True)
VF_WITHOUT_VT = EpisodeKind("VF, VT left out", ("(VF",), marks=True, without=("(VT",))
LONG_VF_WITHOUT_VT = EpisodeKind("VF of 4 s and more, VT left out", ("(VF",), marks=True, without=("(VT",), least_s=4.0)
VT_EPISODES = EpisodeKind("VT", ("(VT",))
VT_AS_VT_OR_VF = EpisodeKind("VT, said to be VT or VF", ("(VT",), without=("(VF",), also=("(VF",))
VF_OR_VT_EPISODES = EpisodeKind("VF or VT", ("(VF", "(VT"), marks=True)
NOISE_LABELS = ("(NOISE",)


@dataclass(frozen=True, slots=True)
class EpisodeCounts:
    """Episodes of the reference that were `found` or `missed`, of the test that are `true` or `false`; seconds.

    `reference_s` and `test_s` of episodes, `found_s` and `true_s` of them also in the other file; `scored_s` of it all.
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

    def ratios(self) -> dict[str, tuple[float, float]]:
        """Numerator and denominator of each statistic of EC57, by name."""
        return {
            "episode_se": (self.found, self.found + self.missed),
            "episode_ppv": (self.true, self.true + self.false),
            "duration_se": (self.found_s, self.reference_s),
            "duration_ppv": (self.true_s, self.test_s),
        }

    def percent(self) -> dict[str, float | None]:
        """The statistics in percent; None where there is nothing to divide by."""
        return {name: 100 * part / whole if whole > 0 else None for name, (part, whole) in self.ratios().items()}

    @property
    def false_per_hour(self) -> float | None:
        """False episodes in an hour of what was scored; None where that is nothing."""
        return 3600 * self.false / self.scored_s if self.scored_s > 0 else None


def compare_episodes(
    reference: AnnotationFile,
    test: AnnotationFile,
    kind: EpisodeKind,
    part: ScoredSpan,
    shortest_s: float = 0.0,
    unheard: tuple[str, ...] = (),
) -> EpisodeCounts:
    """Compare the episodes of two files at the rate of `part` (`model.scoring.ec57.build_scored_span`); those under
    `shortest_s` not.

    `unheard`: rhythm labels of the reference, such as `NOISE_LABELS`, whose stretches do not count at all.
    """
    end = comparison_end(reference, test, part)
    alarmed = replace(kind, labels=kind.labels + kind.also, marks=kind.marks or bool(kind.also))
    ref, found = (
        clip_episodes(annotated_episodes(notes, of, end), part.start, end)
        for notes, of in ((reference, kind), (test, alarmed))
    )
    silent = annotated_episodes(reference, EpisodeKind("", unheard), end) if unheard else []
    flutter = annotated_episodes(reference, EpisodeKind("", kind.without), end) if kind.without else []
    shortest = round_to_samples(max(shortest_s, kind.least_s), part.rate)
    hits, misses, reference_n, found_n = _match_episodes(ref, found, silent, shortest)
    true, false, test_n, true_n = _match_episodes(found, ref, _merge_episodes([*silent, *flutter]), shortest)
    scored = end - part.start - sum(episode_length(piece) for piece in clip_episodes(silent, part.start, end))
    seconds = (n / part.rate for n in (reference_n, found_n, test_n, true_n, max(0, scored)))
    return EpisodeCounts(hits, misses, true, false, *seconds)


def comparison_end(reference: AnnotationFile, test: AnnotationFile, part: ScoredSpan) -> int:
    """The sample at which the comparison ends: the part's end or, where it has none, that of the annotations.

    With the end 0 it is where the first of the two files ends, as in `epicmp -t 0`.
    """
    last, other = (max(notes.samples, default=0) for notes in (reference, test))
    if part.end == 0:
        return max(part.start, min(last, other))
    return part.end if part.end != OPEN_END else max(part.start, last)


def annotated_episodes(notes: AnnotationFile, kind: EpisodeKind, end: int) -> list[EpisodeSpan]:
    """All episodes of a kind, in order. One that does not end lasts to `end`, or to the last annotation after it.

    Where labels and marks both say it, what they say together is one episode.
    """
    if not kind.labels:
        return _marked_episodes(notes, end) if kind.marks else []
    spans = _labelled_episodes(notes, kind.labels, end)
    return _merge_episodes([*spans, *_marked_episodes(notes, end)]) if kind.marks else spans


def clip_episodes(spans: Iterable[EpisodeSpan], start: int, end: int) -> list[EpisodeSpan]:
    """Episodes as far as they lie from sample `start` to `end`."""
    return [EpisodeSpan(max(s, start), min(e, end)) for s, e in spans if e >= start and s < end]


def episode_length(episode: EpisodeSpan) -> int:
    return episode.end - episode.start


def episode_overlap(episode: EpisodeSpan, others: Iterable[EpisodeSpan]) -> int:
    """Samples of an episode that lie in others, which do not overlap each other."""
    return sum(max(0, min(episode.end, e) - max(episode.start, s)) for s, e in others)


def gross_episode_counts(counts: Sequence[EpisodeCounts]) -> EpisodeCounts:
    """All records together."""
    return reduce(add, counts, EpisodeCounts())


def average_episode_percent(counts: Sequence[EpisodeCounts]) -> dict[str, float | None]:
    """The mean of each statistic, in percent, over the records that define it; None where none does."""
    rows = [one.percent() for one in counts]
    found = {name: [row[name] for row in rows] for name in EpisodeCounts().ratios()}
    values = {name: [value for value in column if value is not None] for name, column in found.items()}
    return {name: sum(column) / len(column) if column else None for name, column in values.items()}


def episode_lines(counts: dict[str, EpisodeCounts]) -> list[str]:
    """A line for each record, by name, as of `epicmp -L`, below its header."""
    lines = [EPISODES_HEADER]
    for record, one in counts.items():
        ratios = "".join(
            "   -" if whole <= 0 else f" {int(100 * part / whole + 0.5):3d}" for part, whole in one.ratios().values()
        )
        durations = f"  {_epicmp_clock(one.reference_s)}   {_epicmp_clock(one.test_s)}"
        lines.append(f"{record:>6} {one.found:4d} {one.missed:4d} {one.true:4d} {one.false:4d} {ratios}{durations}")
    return lines


def _epicmp_clock(seconds: float) -> str:
    """Hours, minutes, seconds and milliseconds in twelve columns, without leading parts that are nothing."""
    text = format_clock(round(1000 * seconds) / 1000, decimals=3).lstrip("0:")
    return f"0{text}".rjust(12) if text.startswith(".") else text.rjust(12)


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
    """Episodes between changes (sample, whether it is on from there), the last one to `last` or `end` if it is open."""
    found: list[EpisodeSpan] = []
    start: int | None = None
    for sample, on in changes:
        if on and start is None:
            start = sample
        elif not on and start is not None:
            found.append(EpisodeSpan(start, sample))
            start = None
    return found if start is None else [*found, EpisodeSpan(start, max(end, last))]


def _merge_episodes(spans: Iterable[EpisodeSpan]) -> list[EpisodeSpan]:
    """Spans in order; those that touch or overlap become one."""
    joined: list[EpisodeSpan] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].end:
            joined[-1] = EpisodeSpan(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _match_episodes(
    ours: list[EpisodeSpan], theirs: list[EpisodeSpan], out: list[EpisodeSpan], shortest: int
) -> tuple[int, int, int, int]:
    """Episodes of `ours` that meet `theirs` and that do not; samples of all of them, and of those in both."""
    met = alone = total = shared = 0
    for episode in ours:
        pieces = _subtract_episodes(episode, out)
        duration = sum(map(episode_length, pieces))
        if not pieces or duration < shortest:
            continue
        both = sum(episode_overlap(piece, theirs) for piece in pieces)
        met, alone = met + (both > 0), alone + (both == 0)
        total, shared = total + duration, shared + both
    return met, alone, total, shared


def _subtract_episodes(episode: EpisodeSpan, out: list[EpisodeSpan]) -> list[EpisodeSpan]:
    """What is left of an episode without the spans `out`, which are in order; nothing where it lies in one of them."""
    left: list[EpisodeSpan] = []
    start = episode.start
    for span in out:
        if span.start <= start and episode.end <= span.end:
            return left
        if span.end <= start or span.start >= episode.end:
            continue
        if span.start > start:
            left.append(EpisodeSpan(start, span.start))
        if span.end >= episode.end:
            return left
        start = span.end
    return [*left, EpisodeSpan(start, episode.end)]
