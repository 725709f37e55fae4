from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.records.annotations import AnnotationFile
from model.scoring.beat_scores import OPEN_END, ScoredSpan
from model.scoring.ec57 import build_scored_span
from model.scoring.episode_scores import (
    AF_EPISODES,
    AF_OR_FLUTTER,
    AF_WITHOUT_FLUTTER,
    MARKED_VF,
    NOISE_LABELS,
    VF_EPISODES,
    VF_OR_VT_EPISODES,
    VT_EPISODES,
    EpisodeCounts,
    EpisodeSpan,
    annotated_episodes,
    average_episode_percent,
    compare_episodes,
    gross_episode_counts,
)
from model.scoring.score_tables import EPISODES_HEADER, episode_lines

RATE = 10.0


def notes(*entries: tuple[int, str]) -> AnnotationFile:
    """Annotations at seconds: rhythm labels in full, marks and beats by their symbol."""
    ordered = sorted(entries, key=lambda entry: entry[0])
    return AnnotationFile(
        tuple(round(at * RATE) for at, _ in ordered),
        tuple("+" if text.startswith("(") else text for _, text in ordered),
        (0,) * len(ordered),
        tuple(text if text.startswith("(") else "" for _, text in ordered),
    )


def rhythm(label: str, *spans: tuple[int, int]) -> AnnotationFile:
    """Episodes of one label, "(N" between them."""
    return notes((0, "(N"), *[entry for start, end in spans for entry in ((start, label), (end, "(N"))])


def part(start_s: float = 0.0, seconds: float = 1000.0) -> ScoredSpan:
    return build_scored_span(RATE, round(seconds * RATE), start_s)


def test_episodes_are_found_and_true_where_they_touch_at_all() -> None:
    """Of three reference episodes two are met, one by two alarms; durations are those in both files."""
    reference = rhythm("(AFIB", (100, 200), (300, 400), (500, 600))
    test = rhythm("(AFIB", (110, 120), (130, 150), (399, 450), (700, 710))
    counts = compare_episodes(reference, test, AF_EPISODES, part())
    assert (counts.found, counts.missed, counts.true, counts.false) == (2, 1, 3, 1)
    assert (counts.reference_s, counts.found_s) == (300, 31)
    assert (counts.test_s, counts.true_s) == (91, 31)
    assert counts.percent()["episode_se"] == pytest.approx(200 / 3)
    assert (counts.sensitivity, counts.positive_predictivity) == (2 / 3, 3 / 4)
    assert (EpisodeCounts().sensitivity, EpisodeCounts().positive_predictivity) == (None, None)
    assert counts.percent()["duration_ppv"] == pytest.approx(100 * 31 / 91)
    assert counts.false_per_hour == pytest.approx(3.6)


def test_neighbours_do_not_meet() -> None:
    """Episodes that only touch share no time."""
    counts = compare_episodes(rhythm("(VT", (100, 200)), rhythm("(VT", (200, 300)), VT_EPISODES, part())
    assert (counts.found, counts.missed, counts.true, counts.false) == (0, 1, 0, 1)


def test_the_learning_period_does_not_count() -> None:
    """By default scoring begins at 5:00; an episode across it begins there, one before it is left out."""
    reference = rhythm("(AFIB", (10, 20), (250, 400))
    test = rhythm("(AFIB", (10, 290), (350, 380))
    counts = compare_episodes(reference, test, AF_EPISODES, build_scored_span(RATE, 10_000))
    assert (counts.found, counts.missed, counts.true, counts.false) == (1, 0, 1, 0)
    assert (counts.reference_s, counts.found_s, counts.test_s, counts.scored_s) == (100, 30, 30, 700)


def test_what_does_not_end_lasts_to_the_end_of_the_record() -> None:
    """An open episode goes on to the end, and no further."""
    reference, test = notes((0, "(N"), (900, "(AFIB")), notes((0, "(N"), (950, "(AFIB"), (990, "N"))
    counts = compare_episodes(reference, test, AF_EPISODES, part())
    assert (counts.reference_s, counts.found_s, counts.test_s) == (100, 50, 50)


def test_flutter_of_the_atria_is_false_unless_it_is_left_out_or_wanted() -> None:
    """Half of the alarm lies in flutter: it is false by EC57, left out with -x, and true if flutter counts too."""
    reference = notes((0, "(N"), (100, "(AFIB"), (200, "(AFL"), (300, "(N"))
    test = rhythm("(AFIB", (100, 300))
    strict, lenient, both = (
        compare_episodes(reference, test, kind, part()) for kind in (AF_EPISODES, AF_WITHOUT_FLUTTER, AF_OR_FLUTTER)
    )
    assert [one.percent()["duration_ppv"] for one in (strict, lenient, both)] == [50, 100, 100]
    assert [one.reference_s for one in (strict, lenient, both)] == [100, 100, 200]


def test_an_alarm_that_begins_in_what_is_left_out_loses_that_part() -> None:
    """Of a test episode that begins in reference flutter only the rest counts; one inside it does not count."""
    reference = notes((0, "(N"), (100, "(AFL"), (200, "(N"), (300, "(AFL"), (400, "(N"))
    counts = compare_episodes(reference, rhythm("(AFIB", (150, 230), (320, 380)), AF_WITHOUT_FLUTTER, part())
    assert (counts.true, counts.false, counts.test_s) == (0, 1, 30)


@pytest.mark.parametrize("label", ["(VF", "(VFL", "(VFIB", "(VFL\0"])
def test_fibrillation_by_label_and_by_mark(label: str) -> None:
    """`epicmp -V` reads marks alone; the kind for VFDB reads labels too, and counts both of one episode once."""
    labelled, marked = rhythm(label, (100, 200)), notes((100, "["), (200, "]"))
    twice = notes((100, label), (101, "["), (199, "]"), (200, "(N"))
    assert annotated_episodes(labelled, MARKED_VF, 10_000) == []
    for each in (labelled, marked, twice):
        assert annotated_episodes(each, VF_EPISODES, 10_000) == [EpisodeSpan(1000, 2000)]
    assert annotated_episodes(twice, MARKED_VF, 10_000) == [EpisodeSpan(1010, 1990)]


def test_lethal_rhythms_follow_each_other_as_one() -> None:
    """Tachycardia that turns into fibrillation is one lethal episode."""
    reference = notes((0, "(N"), (100, "(VT"), (150, "(VFL"), (200, "(N"))
    assert annotated_episodes(reference, VF_OR_VT_EPISODES, 10_000) == [EpisodeSpan(1000, 2000)]
    assert annotated_episodes(reference, VT_EPISODES, 10_000) == [EpisodeSpan(1000, 1500)]


def test_noise_counts_unless_it_is_left_out() -> None:
    """By default noise is a rhythm like any other; if it is excluded, neither alarms nor time in it count."""
    reference = notes((0, "(N"), (100, "(NOISE"), (200, "(VT"), (300, "(NOISE"), (400, "(N"))
    test = rhythm("(VT", (120, 140), (190, 310))
    plain = compare_episodes(reference, test, VT_EPISODES, part())
    clear = compare_episodes(reference, test, VT_EPISODES, part(), excluded=NOISE_LABELS)
    assert (plain.true, plain.false, plain.test_s, plain.scored_s) == (1, 1, 140, 1000)
    assert (clear.true, clear.false, clear.test_s, clear.scored_s) == (1, 0, 100, 800)
    assert clear.percent()["duration_ppv"] == 100


def test_short_episodes_can_be_left_out() -> None:
    """Episodes under the shortest length do not count in their own file."""
    reference, test = rhythm("(VT", (100, 102), (200, 300)), rhythm("(VT", (250, 260))
    counts = compare_episodes(reference, test, VT_EPISODES, part(), shortest_s=5.0)
    assert (counts.found, counts.missed, counts.reference_s) == (1, 0, 100)


def test_a_record_that_does_not_state_its_length_ends_with_its_annotations() -> None:
    """With an open end the last annotation of the reference is the end, and with 0 that of the shorter file."""
    reference, test = notes((0, "(N"), (400, "(AFIB"), (600, "N")), notes((0, "(N"), (400, "(AFIB"), (500, "N"))
    open_end, shorter = (
        compare_episodes(reference, test, AF_EPISODES, ScoredSpan(RATE, 0, end, 1, 10)) for end in (OPEN_END, 0)
    )
    assert (open_end.reference_s, shorter.reference_s) == (200, 100)


def test_nothing_is_undefined_not_zero() -> None:
    """Without episodes no statistic is defined, and the average leaves such records out."""
    empty = compare_episodes(notes(), notes(), AF_EPISODES, part())
    full = compare_episodes(rhythm("(AFIB", (1, 2)), rhythm("(AFIB", (1, 2)), AF_EPISODES, part())
    assert set(empty.percent().values()) == {None}
    assert average_episode_percent([empty, full]) == full.percent()
    assert gross_episode_counts([empty, full]).scored_s == 2000


def test_lines_are_those_of_epicmp() -> None:
    """The line format has counts, whole percents or -, and durations."""
    counts = EpisodeCounts(2, 1, 0, 0, reference_s=3725.5, found_s=12.25)
    line = "   202    2    1    0    0   67   -   0   -   1:02:05.500          0.000"
    assert episode_lines({"202": counts}) == [EPISODES_HEADER, line]


rhythms = st.lists(
    st.tuples(st.integers(1, 1000), st.sampled_from(["(AFIB", "(AFL", "(N", "(VT", "(NOISE", "[", "]", "N"])),
    max_size=14,
)


def seconds(entries: Iterable[tuple[int, str]], label: str, start: int, end: int) -> set[int]:
    """Whole seconds of a rhythm, one by one."""
    inside: set[int] = set()
    now = "(N"
    changes = {at: text for at, text in sorted(entries, key=lambda entry: entry[0]) if text.startswith("(")}
    for second in range(end):
        now = changes.get(second, now)
        if now == label and second >= start:
            inside.add(second)
    return inside


@given(rhythms, rhythms, st.sampled_from([0, 300, 700]))
def test_durations_are_those_of_counting_seconds(
    reference: list[tuple[int, str]], test: list[tuple[int, str]], start: int
) -> None:
    """Durations equal those counted second by second; found and missed add up to all episodes."""
    counts = compare_episodes(notes(*reference), notes(*test), AF_EPISODES, part(start, 900))
    ours, theirs = (seconds(entries, "(AFIB", start, 900) for entries in (reference, test))
    assert (counts.reference_s, counts.test_s) == (len(ours), len(theirs))
    assert counts.found_s == counts.true_s == len(ours & theirs)
    assert (counts.found > 0) == (counts.true > 0) == bool(ours & theirs)


@given(rhythms, rhythms)
def test_a_file_agrees_with_itself(entries: list[tuple[int, str]], other: list[tuple[int, str]]) -> None:
    """Against itself nothing is false; the other way round, what was found is true."""
    mine, theirs = notes(*entries), notes(*other)
    for kind in (VT_EPISODES, MARKED_VF, VF_EPISODES):
        same = compare_episodes(mine, mine, kind, part())
        assert same.found_s == same.reference_s == same.test_s == same.true_s
        there, back = compare_episodes(mine, theirs, kind, part()), compare_episodes(theirs, mine, kind, part())
        assert (there.found, there.missed, there.found_s) == (back.true, back.false, back.true_s)
