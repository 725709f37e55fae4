from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.records.annotations import AnnotationFile, read_annotations
from model.records.resample import FS
from model.records.wfdb_records import DATABASE, EC57_CLASS_OF
from model.rhythm.atrial_fibrillation import IrregularityDetector, pair_excess, serial_correlation
from model.scoring.ec57 import build_scored_span
from model.scoring.episode_scores import (
    AF_EPISODES,
    AF_OR_FLUTTER,
    AF_WITHOUT_FLUTTER,
    EpisodeCounts,
    compare_episodes,
    gross_episode_counts,
)

Numbers = NDArray[np.float64]
Beats = list[tuple[int, str]]
Random = np.random.Generator
Episodes = list[tuple[int, int, int]]
"""Onset and end of each episode, and the sample at which it was reported."""

MINUTES = 15
COUNT = 1500


def fibrillation(random: Random, mean: float = 0.7, spread: float = 0.18, count: int = COUNT) -> Numbers:
    """Intervals without any order."""
    return mean * np.exp(spread * random.standard_normal(count))


def sinus(random: Random, mean: float = 0.85, breath: float = 0.03, noise: float = 0.02, beats: float = 5) -> Numbers:
    """Intervals that breathe, a breath every few beats."""
    pace = 2 * np.pi / (beats * np.exp(0.15 * random.standard_normal(COUNT)))
    return mean * np.exp(breath * np.sin(np.cumsum(pace)) + noise * random.standard_normal(COUNT))


def placed(intervals: Numbers, labels: str = "N") -> Beats:
    """Beats at these intervals, on whole samples, whose labels go round."""
    samples = np.rint(FS * np.cumsum(intervals)).astype(int).tolist()
    return [(sample, labels[i % len(labels)]) for i, sample in enumerate(samples)]


def early(random: Random, share: float, share_called_s: float) -> Beats:
    """Premature atrial beats with a pause after each, of which a share is called S."""
    intervals, labels = sinus(random), ["N"] * COUNT
    for i in np.flatnonzero(random.random(COUNT - 1) < share).tolist():
        if labels[i - 1] == "N":
            intervals[i] *= 0.65
            intervals[i + 1] *= 1.2
            labels[i] = "S" if random.random() < share_called_s else "N"
    return placed(intervals, "".join(labels))


def pattern(random: Random, *lengths: float, labels: str = "N") -> Beats:
    """Intervals that come round."""
    return placed(0.8 * np.resize(lengths, COUNT) * np.exp(0.02 * random.standard_normal(COUNT)), labels)


def blocked(random: Random, stay: float, *lengths: float) -> Beats:
    """Conduction that changes now and then between fixed intervals."""
    chosen = [0]
    for _ in range(COUNT - 1):
        chosen.append(chosen[-1] if random.random() < stay else int(random.integers(len(lengths))))
    return placed(np.array(lengths)[chosen] * np.exp(0.015 * random.standard_normal(COUNT)))


def call_early_beats_s(beats: Beats, random: Random, share: float) -> Beats:
    """A share of the beats that come early is called S."""
    steps = [after - before for (before, _), (after, _) in pairwise(beats)]
    short = [False, *(step < 0.85 * float(np.median(steps)) for step in steps)]
    return [
        (s, "S" if odd and random.random() < share else label) for (s, label), odd in zip(beats, short, strict=True)
    ]


def detect(beats: Beats, detector: IrregularityDetector | None = None) -> Episodes:
    """Return the episodes that a detector reports; an open one ends at the last beat."""
    detector = detector or IrregularityDetector()
    episodes: Episodes = []
    now: tuple[int, int] | None = None
    before: int | None = None
    for sample, label in beats:
        detector.push(sample, label, None if before is None else (sample - before) / FS)
        before = sample
        on, since = detector.state(sample)
        if on and now is None:
            assert since is not None
            now = since, sample
        elif not on and now is not None:
            assert detector.end is not None
            episodes.append((now[0], detector.end, now[1]))
            now = None
    return episodes if now is None else [*episodes, (now[0], beats[-1][0], now[1])]


IRREGULAR: dict[str, Callable[[Random], Beats]] = {
    "plain": lambda r: placed(fibrillation(r)),
    "narrow": lambda r: placed(fibrillation(r, spread=0.13)),
    "wide": lambda r: placed(fibrillation(r, spread=0.28)),
    "fast": lambda r: placed(fibrillation(r, mean=0.4, spread=0.14)),
    "slow": lambda r: placed(fibrillation(r, mean=1.2, spread=0.22)),
    "with V": lambda r: placed(fibrillation(r), "NNNNNNV"),
    "half of the early beats called S": lambda r: call_early_beats_s(placed(fibrillation(r)), r, 0.5),
    "all early beats called S": lambda r: call_early_beats_s(placed(fibrillation(r, spread=0.25)), r, 1.0),
}
REGULAR: dict[str, Callable[[Random], Beats]] = {
    "sinus": lambda r: placed(sinus(r)),
    "sinus arrhythmia": lambda r: placed(sinus(r, breath=0.08)),
    "deep breath": lambda r: placed(sinus(r, breath=0.15)),
    "quick breath": lambda r: placed(sinus(r, breath=0.1, beats=4)),
    "noise": lambda r: placed(sinus(r, noise=0.05)),
    "paced": lambda r: pattern(r, 1.0, labels="Q"),
    "atrial beats": lambda r: early(r, 0.15, 0.5),
    "many atrial beats": lambda r: early(r, 0.35, 0.5),
    "atrial beats called N": lambda r: early(r, 0.2, 0.0),
    "atrial bigeminy": lambda r: pattern(r, 0.65, 1.35),
    "atrial trigeminy": lambda r: pattern(r, 1.0, 0.65, 1.3),
    "bigeminy": lambda r: pattern(r, 0.6, 1.4, labels="VN"),
    "trigeminy": lambda r: pattern(r, 1.0, 0.6, 1.4, labels="NVN"),
    "flutter": lambda r: pattern(r, 0.5),
    "flutter, 2:1 and 3:1": lambda r: blocked(r, 0.7, 0.4, 0.6),
    "block, 2:1 and 1:1": lambda r: blocked(r, 0.5, 0.5, 1.0),
    "pauses": lambda r: blocked(r, 0.0, 0.8, 0.8, 0.8, 0.8, 1.6),
    "Wenckebach": lambda r: pattern(r, 0.95, 0.9, 0.87, 1.4, 0.95, 0.9, 1.4),
}


@pytest.mark.parametrize("name", IRREGULAR)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fibrillation_is_told_within_a_minute_and_a_half_and_stays(name: str, seed: int) -> None:
    """It is reported 30 to 95 s after it began, with an onset within 20 s of the true one, and does not come and go."""
    beats = IRREGULAR[name](np.random.default_rng(seed))
    episodes = detect(beats)
    assert episodes
    onset, _, at = episodes[0]
    assert 30 <= at / FS <= 95
    assert onset / FS < 20
    assert len(episodes) <= 2
    assert sum(end - start for start, end, _ in episodes) > 0.9 * beats[-1][0]


@pytest.mark.parametrize("name", REGULAR)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_regular_or_has_a_pattern_is_none(name: str, seed: int) -> None:
    """Quarter hours of other rhythms give no fibrillation."""
    assert detect(REGULAR[name](np.random.default_rng(seed))) == []


def test_intervals_that_keep_to_a_few_values_have_many_alike() -> None:
    """Scattered intervals have as many equal pairs as expected, two values of conduction twice as many and more."""
    random = np.random.default_rng(0)
    scattered = np.log(fibrillation(random, count=2000))
    assert pair_excess(scattered, 0.06) == pytest.approx(1.0, abs=0.05)
    assert pair_excess(scattered[:64], 0.06) < 1.35
    two = np.log([random.choice([1.0, 1.45]) * np.exp(0.03 * random.standard_normal()) for _ in range(500)])
    assert pair_excess(two, 0.06) > 1.5
    assert pair_excess(np.zeros(5), 0.06) == np.inf


def test_breathing_correlates_and_chance_does_not() -> None:
    """Waves of breath make successive intervals alike, alternation makes them opposite; a gap is skipped."""
    random, follows = np.random.default_rng(0), np.ones(500, np.bool_)
    assert abs(serial_correlation(np.log(fibrillation(random, count=500)), follows)) < 0.15
    assert serial_correlation(np.log(sinus(random, breath=0.15, beats=8)[:500]), follows) > 0.6
    assert serial_correlation(np.log(np.resize([0.65, 1.35], 500)), follows) == pytest.approx(-1)
    assert serial_correlation(np.array([0.1, 0.5, 0.9, 0.1]), np.array([False, True, False, True])) == pytest.approx(-1)
    assert serial_correlation(np.zeros(5), follows[:5]) == 0.0


def test_slow_sinus_arrhythmia_is_none() -> None:
    """A slow heart that breathes deeply and irregularly, as entropy has it, is told by the order of its intervals."""
    random = np.random.default_rng(1)
    steps = 0.11 * random.standard_normal(COUNT)
    wander = np.zeros(COUNT)
    for i in range(1, COUNT):
        wander[i] = 0.65 * wander[i - 1] + steps[i]
    assert detect(placed(1.3 * np.exp(wander))) == []


@pytest.mark.parametrize("seed", range(4))
def test_fibrillation_whose_early_beats_are_called_s_stays(seed: int) -> None:
    """What is left without S beats is less irregular: even narrow fibrillation is measured with them, and lasts."""
    random = np.random.default_rng(seed)
    beats = call_early_beats_s(placed(fibrillation(random, spread=0.12)), random, 1.0)
    assert sum(end - start for start, end, _ in detect(beats)) > 0.85 * beats[-1][0]


@pytest.mark.parametrize("seed", range(5))
def test_sinus_rhythm_with_early_beats_called_n_is_none(seed: int) -> None:
    """Frequent early beats in a sinus rhythm that keeps its time are no fibrillation, though none is called S."""
    random = np.random.default_rng(seed)
    assert detect(early(random, 0.3, 0.0)) == []


@pytest.mark.parametrize("seed", range(5))
def test_onset_and_end_are_found_in_retrospect(seed: int) -> None:
    """Ten minutes of sinus rhythm, five of fibrillation, and sinus rhythm: both borders within 25 s."""
    random = np.random.default_rng(seed)
    before, after = sinus(random)[:700], sinus(random)[:400]
    middle = fibrillation(random, count=430)
    beats = placed(np.concatenate([before, middle, after]))
    start, end = float(before.sum()), float(before.sum() + middle.sum())
    episodes = detect(beats)
    assert len(episodes) == 1
    assert episodes[0][0] / FS == pytest.approx(start, abs=25)
    assert episodes[0][1] / FS == pytest.approx(end, abs=25)
    assert start + 30 <= episodes[0][2] / FS <= start + 90


def test_twenty_seconds_are_too_short() -> None:
    """Twenty irregular intervals in a regular rhythm are not reported."""
    random = np.random.default_rng(3)
    parts = [sinus(random)[:300], fibrillation(random, count=20), sinus(random)[:300]]
    assert detect(placed(np.concatenate(parts))) == []


def test_a_gap_breaks_no_rhythm() -> None:
    """A short gap in fibrillation is bridged; after three minutes without a normal beat the episode is over."""
    beats = placed(fibrillation(np.random.default_rng(4), count=300))
    detector = IrregularityDetector()
    detect(beats, detector)
    last = beats[-1][0]
    assert detector.state(last)[0]
    detector.interrupt()
    detector.push(last + 5 * FS, "N", None)
    detector.push(last + 6 * FS, "N", 1.0)
    assert detector.state(last + 6 * FS)[0]
    assert not detector.state(last + 200 * FS)[0]


def test_no_interval_reaches_across_a_gap() -> None:
    """After a gap an interval counts only between two beats that came after it."""
    detector, other = IrregularityDetector(), IrregularityDetector()
    regular = placed(sinus(np.random.default_rng(5)))
    for at, (sample, label) in enumerate(regular):
        detector.push(sample, label, (sample - regular[at - 1][0]) / FS if at else None)
        if at % 3 == 0:
            detector.interrupt()
            detector.push(sample + 1, "V", 2.5)
        assert not detector.state(sample)[0]
    other.interrupt()
    other.push(0, "N", 0.8)
    assert other.state(0) == (False, None)


def test_a_reset_forgets() -> None:
    """After a reset nothing is known, and the next fibrillation takes its minute."""
    beats = placed(fibrillation(np.random.default_rng(6)))
    detector = IrregularityDetector()
    first = detect(beats, detector)
    detector.start()
    assert detector.state(beats[-1][0]) == (False, None)
    assert detector.end is None
    assert detect(beats, detector) == first


intervals = st.lists(st.tuples(st.integers(1, 500), st.sampled_from("NNNNNNSVFQ")), max_size=400)


@settings(deadline=None)
@given(intervals, st.sets(st.integers(0, 400), max_size=5))
def test_any_beats_are_taken(entries: list[tuple[int, str]], gaps: set[int]) -> None:
    """Any sequence of beats is accepted; an episode lies in the past, and ends after it began."""
    detector, sample = IrregularityDetector(), 0
    for at, (step, label) in enumerate(entries):
        sample += step
        if at in gaps:
            detector.interrupt()
        detector.push(sample, label, None if at in gaps else step / FS)
        on, since = detector.state(sample)
        assert on == (since is not None)
        assert since is None or (
            since <= sample - 30 * FS and detector.end is not None and since <= detector.end <= sample
        )


def reference(name: str) -> AnnotationFile:
    return read_annotations(Path(DATABASE / "mitdb"), name, "atr", 360.0)


def of_reference(notes: AnnotationFile) -> tuple[Beats, AnnotationFile]:
    """Return the beats of a reference at 125 Hz, and the reported episodes as rhythm labels at the record's rate."""
    beats = [
        (round(s * FS / 360), EC57_CLASS_OF[y])
        for s, y in zip(notes.samples, notes.symbols, strict=True)
        if y in EC57_CLASS_OF
    ]
    marks = [entry for start, end, _ in detect(beats) for entry in ((start, "(AFIB"), (end, "(N"))]
    samples, texts = zip(*marks, strict=True) if marks else ((), ())
    at = tuple(round(sample * 360 / FS) for sample in samples)
    return beats, AnnotationFile(at, ("+",) * len(at), (0,) * len(at), tuple(texts))


def test_the_records_with_fibrillation() -> None:
    """On the reference's own beats, sensitivity of the time with fibrillation is nine tenths, predictivity eight."""
    names = ("201", "202", "203", "210", "217", "219", "221", "222")
    episodes: dict[str, list[EpisodeCounts]] = {
        kind.name: [] for kind in (AF_EPISODES, AF_WITHOUT_FLUTTER, AF_OR_FLUTTER)
    }
    for name in names:
        notes = reference(name)
        _, test = of_reference(notes)
        for kind in (AF_EPISODES, AF_WITHOUT_FLUTTER, AF_OR_FLUTTER):
            episodes[kind.name].append(compare_episodes(notes, test, kind, build_scored_span(360.0, 650_000)))
    shares = {name: gross_episode_counts(counts).percent() for name, counts in episodes.items()}
    assert (shares["AF"]["duration_se"] or 0) > 90
    assert (shares["AF, AFL left out"]["duration_ppv"] or 0) > 80
    assert (shares["AF or AFL"]["duration_ppv"] or 0) > 80


@pytest.mark.parametrize("name", ["100", "106", "113", "200", "208", "209", "220", "228", "231", "232", "233"])
def test_records_with_other_rhythms(name: str) -> None:
    """Ectopy, sinus arrhythmia, block and pauses of patients without fibrillation give none."""
    beats, _ = of_reference(reference(name))
    assert detect(beats) == []
