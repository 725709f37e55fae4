import numpy as np
import pytest

from model.records import Annotations, annotations, open_record
from model.scoring import beat_samples, match, match_record


def _match(reference: list[int], test: list[int], window: int = 54, start: int = 0) -> tuple[object, object, object]:
    result = match(np.array(reference, np.int64), np.array(test, np.int64), window, start)
    return result.pairs.tolist(), result.missed.tolist(), result.extra.tolist()


def test_pairs_within_window() -> None:
    """A pair may be apart by the window, and by no more."""
    assert _match([100, 500], [154, 555]) == ([[0, 0]], [1], [1])


def test_nearest_wins() -> None:
    """Of two detections around one beat the nearer one is its pair, the other is extra."""
    assert _match([100], [70, 110]) == ([[0, 1]], [], [0])
    assert _match([100], [95, 140]) == ([[0, 0]], [], [1])


def test_one_to_one() -> None:
    """One detection between two beats pairs with one of them only."""
    assert _match([100, 140], [125]) == ([[1, 0]], [0], [])


def test_close_pairs_from_bxb() -> None:
    """The example in `bxb`'s own source, two beats and two detections at equal distance, gives two pairs."""
    assert _match([96, 160], [128, 185], 37) == ([[0, 0], [1, 1]], [], [])


@pytest.mark.parametrize(("reference", "test"), [([], []), ([], [5]), ([5], [])])
def test_empty(reference: list[int], test: list[int]) -> None:
    """Where one side has no beats, all of the other are missed or extra."""
    assert _match(reference, test) == ([], list(range(len(reference))), list(range(len(test))))


def test_start_of_the_scored_part() -> None:
    """A detection just before the start pairs with a beat just after it; one of an earlier beat is not extra."""
    assert _match([1010], [990], start=1000) == ([[0, 0]], [], [])
    assert _match([990, 1400], [1005, 1402], start=1000) == ([[1, 1]], [], [])


def test_flutter_does_not_count() -> None:
    """Detections and beats inside reference flutter are neither missed nor extra."""
    notes = Annotations(np.array([100, 500, 600, 900, 1300]), ("N", "[", "N", "]", "N"), ("",) * 5)
    result = match_record(notes, 360, np.array([101, 550, 700, 1000, 1299]), start_s=0)
    assert (result.pairs.tolist(), result.missed.tolist(), result.extra.tolist()) == ([[0, 0], [1, 4]], [], [3])


def test_reference_against_itself() -> None:
    """The beats of a real record, given as the detections, are all found and nothing is extra."""
    notes = annotations(open_record("207"))
    beats, flutter = beat_samples(notes)
    result = match_record(notes, 360, beats)
    assert flutter
    assert (result.sensitivity, result.positive_predictivity) == (1.0, 1.0)
    assert len(result.pairs) == (beats >= 300 * 360).sum()
