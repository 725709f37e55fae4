import numpy as np
import pytest

from model.records.annotations import AnnotationFile
from model.scoring.beat_scores import OPEN_END, DetectionCounts, ScoredSpan, compare_beats

FS = 100


def notes(*entries: tuple[int, str] | tuple[int, str, int]) -> AnnotationFile:
    """An annotation file of (sample, symbol) or (sample, symbol, subtype)."""
    samples, symbols, subtypes = zip(*((*entry, 0)[:3] for entry in entries), strict=True) if entries else ((), (), ())
    return AnnotationFile(samples, symbols, subtypes, ("",) * len(samples))


def beats(*samples: int) -> AnnotationFile:
    return notes(*((sample, "N") for sample in samples))


def part(start: int = 0, end: int = 2000, window: int = 15) -> ScoredSpan:
    return ScoredSpan(FS, start, end, window, FS)


def pairs(reference: AnnotationFile, test: AnnotationFile, window: int = 15, start: int = 0) -> list[tuple[str, str]]:
    """Every pair as label and sample, `N100` against `V102`."""
    return [
        (f"{pair.reference}{pair.reference_sample}", f"{pair.test}{pair.test_sample}")
        for pair in compare_beats(reference, test, part(start, 2000, window))[1]
    ]


def test_pairs_within_window() -> None:
    """A pair may be apart by the window, and by no more."""
    assert pairs(beats(100, 500), beats(115, 516)) == [("N100", "N115"), ("N500", "O500"), ("O516", "N516")]


def test_nearest_wins() -> None:
    """Of two detections around one beat the nearer one is its pair, the other is extra."""
    assert pairs(beats(100), beats(86, 104)) == [("O86", "N86"), ("N100", "N104")]
    assert pairs(beats(100), beats(97, 114)) == [("N100", "N97"), ("O114", "N114")]


def test_one_to_one() -> None:
    """One detection between two beats pairs with one of them only."""
    assert pairs(beats(100, 120), beats(114)) == [("N100", "O100"), ("N120", "N114")]


def test_close_pairs() -> None:
    """Two beats and two detections, the first detection as far from one beat as from the other, give two pairs."""
    assert pairs(beats(96, 160), beats(128, 185), window=37) == [("N96", "N128"), ("N160", "N185")]


@pytest.mark.parametrize(("reference", "test", "cell"), [((), (5,), ("O", "N")), ((5,), (), ("N", "O"))])
def test_empty(reference: tuple[int, ...], test: tuple[int, ...], cell: tuple[str, str]) -> None:
    """If one side has no beats, all of the other are missed or extra; if both have none, nothing is."""
    assert compare_beats(beats(*reference), beats(*test), part())[0].total(*cell) == 1
    assert compare_beats(beats(), beats(), part())[0].matrix.sum() == 0


def test_first_beat_at_sample_zero_is_lost() -> None:
    """From the very start, a test beat at sample 0 is taken for the state before the first one, as by `bxb`."""
    assert compare_beats(beats(10, 500), beats(0, 500), part())[0].matrix.sum() == 2
    assert compare_beats(beats(10, 500), beats(1, 500), part())[0].total("N", "N") == 2


def test_start_of_the_scored_part() -> None:
    """A detection just before the start pairs with a beat just after it; one of an earlier beat is not extra."""
    assert pairs(beats(1004), beats(995), start=1000) == [("N1004", "N995")]
    assert pairs(beats(995, 1400), beats(1005, 1402), start=1000) == [("N1400", "N1402")]


@pytest.mark.parametrize(("end", "missed", "extra"), [(1000, 1, 1), (OPEN_END, 2, 1), (0, 0, 1), (3000, 2, 1)])
def test_end_of_the_scored_part(end: int, missed: int, extra: int) -> None:
    """It ends where both files are past the end, or where the reference or the first of both files ends."""
    result, _ = compare_beats(beats(100, 900, 1500), beats(100, 500), part(end=end))
    assert (result.total("N", "O"), result.total("O", "N")) == (missed, extra)
    turned, _ = compare_beats(beats(100, 500), beats(100, 900, 1500), part(end=end))
    assert (turned.total("N", "O"), turned.total("O", "N")) == (extra, 0 if end == OPEN_END else missed)


def test_shutdown_of_the_test() -> None:
    """Beats missed between `~` marks of unreadable signal are counted apart (X), and so are the seconds."""
    test = notes((100, "N"), (250, "~", 0x30), (650, "~", 0), (700, "V"))
    result, _ = compare_beats(beats(100, 300, 500, 700), test, part())
    assert (result.total("N", "X"), result.total("N", "O"), result.total("N", "V"), result.shutdown_s) == (2, 0, 1, 4)
    assert result.ratios()["qrs_se"] == (2, 4)


def test_shutdown_without_an_end() -> None:
    """A single `~` stands for a shutdown from a window after the beat before to one before the next annotation."""
    test = notes((100, "N"), (400, "~", -1 & 0xFF), (700, "N"))
    result, _ = compare_beats(beats(100, 115, 685, 686, 700), test, part())
    assert (result.total("N", "X"), result.total("N", "O"), result.shutdown_s) == (2, 1, 6)
    last = compare_beats(beats(100, 1500), notes((100, "N"), (1000, "~", 0x30)), part())[0]
    assert (last.total("N", "X"), last.shutdown_s) == (1, 10)


def test_shutdown_of_the_reference() -> None:
    """Test beats in unreadable signal of the reference are X against the beat's class."""
    reference = notes((100, "N"), (200, "~", 0x33), (600, "~", 0x10), (700, "N"))
    result, _ = compare_beats(reference, notes((100, "N"), (300, "S"), (650, "S"), (700, "N")), part())
    assert (result.total("X", "S"), result.total("O", "S"), result.shutdown_s) == (1, 1, 0)
    assert result.ratios()["qrs_ppv"] == (2, 4)


def test_flutter() -> None:
    """In reference flutter nothing is missed or extra; in flutter of the test its own beats are left out."""
    flutter = notes((100, "N"), (200, "["), (300, "N"), (300, "!"), (400, "]"), (500, "N"))
    result, _ = compare_beats(flutter, beats(100, 250, 350, 450, 500), part())
    assert (result.total("N", "N"), result.total("O", "N"), result.matrix.sum()) == (2, 1, 3)
    assert compare_beats(beats(100, 300, 500), flutter, part())[0].total("N", "O") == 1


def test_flutter_without_an_end() -> None:
    """The first stretch of flutter without `]` lasts; after an ended one, `bxb` counts extra beats again."""
    first = notes((100, "N"), (200, "["), (300, "N"))
    second = notes((100, "N"), (200, "["), (300, "]"), (400, "N"), (500, "["), (600, "N"))
    assert compare_beats(first, beats(100, 700), part())[0].total("O", "N") == 0
    assert compare_beats(second, beats(100, 250, 400, 700), part())[0].total("O", "N") == 1


def test_flutter_wave_outside_flutter() -> None:
    """A single `!` is compared as a beat without a class: paired with a beat, it counts as a missing one."""
    result, _ = compare_beats(
        notes((100, "!"), (300, "N"), (500, "!")), notes((100, "N"), (300, "!"), (500, "!")), part()
    )
    assert (result.total("O", "N"), result.total("N", "O"), result.matrix.sum()) == (1, 1, 2)


def test_rr_error() -> None:
    """The error compares RR intervals at each pair, also at a missed beat, where the test's last interval stays."""
    result, _ = compare_beats(beats(100, 200, 300, 400), beats(101, 203, 400), part())
    expected = np.sqrt(np.mean(np.array([100 - 102, 100 - 197, 100 - 197]) ** 2)) * 10
    assert result.rr_pairs == 3
    assert result.rr_rms_ms == pytest.approx(expected)
    assert compare_beats(beats(100), beats(100), part())[0].rr_rms_ms is None


def test_classes() -> None:
    """The classes are those of EC57: escape beats e and j are S, paced ones and what was not classified are Q."""
    groups = {"N": "NLRB", "S": "AaJSejn", "V": "VEr", "F": "F", "Q": "/fQ?"}
    for label, symbols in groups.items():
        file = notes(*((100 * (i + 1), symbol) for i, symbol in enumerate(symbols)))
        assert compare_beats(file, file, part())[0].total(label, label) == len(symbols)


def test_figures() -> None:
    """VEB and SVEB figures leave out what EC57 leaves out: F and Q called V, and Q called S, are no false positives."""
    symbols = [
        ("V", "V"),
        ("V", "N"),
        ("F", "V"),
        ("Q", "V"),
        ("N", "V"),
        ("S", "S"),
        ("F", "S"),
        ("Q", "S"),
        ("V", "S"),
    ]
    reference, test = (notes(*((100 * (i + 1), pair[side]) for i, pair in enumerate(symbols))) for side in (0, 1))
    ratios = compare_beats(reference, test, part())[0].ratios()
    assert (ratios["veb_se"], ratios["veb_ppv"]) == ((1, 3), (1, 2))
    assert (ratios["sveb_se"], ratios["sveb_ppv"]) == ((1, 1), (1, 3))


def test_detection_counts() -> None:
    """The counts of a class give sensitivity and predictivity; without any beats neither is defined."""
    reference = notes((100, "V"), (300, "V"), (500, "N"), (700, "N"))
    test = notes((100, "V"), (500, "V"), (700, "N"), (900, "N"))
    counts, _ = compare_beats(reference, test, part())
    assert counts.qrs == DetectionCounts(true_positives=3, false_negatives=1, false_positives=1)
    assert counts.veb == DetectionCounts(true_positives=1, false_negatives=1, false_positives=1)
    assert (counts.qrs.sensitivity, counts.veb.positive_predictivity) == (0.75, 0.5)
    assert (counts.sveb.sensitivity, counts.sveb.positive_predictivity) == (None, None)


def test_counts_add_up() -> None:
    """Counts add up, and the RR error of a sum weighs each interval alike."""
    one, _ = compare_beats(beats(100, 200, 300), beats(100, 210, 300), part())
    two, _ = compare_beats(beats(100, 200), beats(100, 240), part())
    both = one + two
    assert both.total("N", "N") == 4
    assert both.total("N", "O") == 1
    assert both.rr_pairs == one.rr_pairs + two.rr_pairs
    assert both.rr_pairs * (both.rr_rms_ms or 0) ** 2 == pytest.approx(
        sum(part.rr_pairs * (part.rr_rms_ms or 0) ** 2 for part in (one, two))
    )
    nothing, _ = compare_beats(beats(), beats(), part())
    assert (nothing + nothing).rr_rms_ms is None
