from functools import cache
from pathlib import Path

import numpy as np
import pytest

from model.errors import RecordError
from model.records.resample import FS
from model.records.wfdb_records import DATABASE
from model.training.augmented_streams import UNCHANGED_VARIANT, AugmentedStream, build_augmented_stream
from model.training.borrowed_rhythms import (
    SEGMENT_S,
    BorrowedRhythm,
    borrow_rhythm,
    list_annotated_records,
    set_to_rhythm,
)

RECORDS = DATABASE / "mitdb"


@cache
def lender(name: str) -> AugmentedStream:
    return build_augmented_stream(name, UNCHANGED_VARIANT, 0)


def rhythm_of(labels: str, rr: list[float], fibrillating: bool = False) -> BorrowedRhythm:
    times = np.cumsum(np.resize(rr, len(labels)))
    return BorrowedRhythm(times, tuple(labels), np.full(len(labels), fibrillating))


def set_beats(name: str, rhythm: BorrowedRhythm) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    stream = lender(name)
    return set_to_rhythm(stream.x.astype(float), stream.beats, stream.labels, rhythm, np.random.default_rng(1))


def test_the_beats_stand_where_the_rhythm_says() -> None:
    """Intervals and classes are those of the other patient, and an R peak stands at each beat."""
    rhythm = rhythm_of("NNSNNVNNNSSN" * 5, [0.8, 0.8, 0.5, 1.1, 0.8, 0.45, 1.2, 0.8, 0.8, 0.6, 0.5, 0.9])
    y, beats, labels = set_beats("208", rhythm)
    assert labels == rhythm.labels
    assert np.abs(np.diff(beats) - np.diff(rhythm.times) * FS).max() <= 1
    heights = np.array([np.ptp(y[int(beat) - 12 : int(beat) + 13]) for beat in beats])
    assert np.median(heights) > 1
    assert (heights > 0.4 * np.median(heights)).mean() > 0.9


def test_who_has_no_v_beats_lends_none() -> None:
    """Record 122 has no V beat: those of the rhythm are left out, and a pause stays where they were."""
    y, beats, labels = set_beats("122", rhythm_of("NNVNNN" * 6, [0.8, 0.8, 0.5, 1.1, 0.8, 0.8]))
    assert labels == ("N",) * 30
    assert np.diff(beats).max() == pytest.approx(1.6 * FS, abs=2)
    assert len(y) > beats[-1]


def test_fibrillation_has_no_p_waves() -> None:
    """The same beats at the same times lose their P waves where the atria fibrillate."""
    labels, rr = "N" * 40, [0.9]
    steady, beats, _ = set_beats("122", rhythm_of(labels, rr))
    fibrillating, same, _ = set_beats("122", rhythm_of(labels, rr, fibrillating=True))
    assert np.array_equal(beats, same)
    windows = [slice(int(beat) - 28, int(beat) - 6) for beat in beats[1:]]
    means = [np.mean([x[window] for window in windows], axis=0) for x in (steady, fibrillating)]
    with_p, without = (np.ptp(mean - np.linspace(mean[0], mean[-1], len(mean))) for mean in means)
    assert without < 0.6 * with_p


def test_a_long_silence_is_left_out() -> None:
    """Where no beat of the rhythm follows for three seconds, the next interval joins."""
    _, beats, labels = set_beats("122", rhythm_of("NNNN", [0.8, 0.8, 30.0, 0.8]))
    assert len(labels) == len(beats) == 3
    assert np.diff(beats).max() < FS


def test_a_segment_of_a_record() -> None:
    """A borrowed rhythm is at most half an hour of one record, the same for the same seed."""
    name = str(RECORDS / "201")
    one, other = (borrow_rhythm(name, np.random.default_rng(seed)) for seed in (3, 3))
    assert np.array_equal(one.times, other.times)
    assert np.ptp(one.times) <= SEGMENT_S
    assert {"N", "S", "V"} == set(one.labels)
    assert 0 < one.fibrillating.mean() < 1


def test_a_folder_of_annotations(tmp_path: Path) -> None:
    """A folder lists its annotated records in order; one without any is refused in a line that says what to do."""
    assert [Path(name).name for name in list_annotated_records(RECORDS)][:2] == ["100", "101"]
    with pytest.raises(RecordError, match=r"no beat annotations in .*: give a folder"):
        list_annotated_records(tmp_path)
