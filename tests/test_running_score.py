"""model.scoring.running_score: a score that grows with the stream."""

import numpy as np
import pytest

from model.records.wfdb_records import RecordAnnotations, open_record, read_reference
from model.scoring.beat_scores import ScoredSpan, compare_beats
from model.scoring.ec57 import build_annotation_file
from model.scoring.running_score import RunningScore

FS = 360.0


def notes(*beats: tuple[int, str]) -> RecordAnnotations:
    return RecordAnnotations(
        np.array([sample for sample, _ in beats], np.int64), tuple(symbol for _, symbol in beats), ("",) * len(beats)
    )


def spoilt(record: str, seed: int) -> tuple[RecordAnnotations, list[tuple[int, str]]]:
    """Return the annotations of a record, and beats that miss some of them, move, double and confuse others."""
    rng = np.random.default_rng(seed)
    reference = read_reference(open_record(record))
    samples, classes = reference.beats()
    beats: list[tuple[int, str]] = []
    for sample, label in zip(samples.tolist(), classes, strict=True):
        if rng.random() < 0.05:
            continue
        moved = int(sample + rng.integers(-60, 61) * (rng.random() < 0.1))
        beats.append((moved, "V" if rng.random() < 0.05 else label))
        if rng.random() < 0.05:
            beats.append((moved + int(rng.integers(20, 120)), "N"))
    return reference, sorted(beats)


@pytest.mark.parametrize("record", ["100", "200", "203", "207", "208"])
def test_the_counts_are_those_of_the_whole_at_once(record: str) -> None:
    """Beat by beat the score is what a comparison of the same part gives, with flutter and crowded beats, too."""
    reference, beats = spoilt(record, 1)
    score = RunningScore(reference, FS)
    for sample, label in beats:
        score.add(sample, label)
    start, stop = max(0, beats[0][0] - 54), score._start
    assert stop is not None
    assert stop > beats[-1][0] - 3 * FS
    inside = [i for i, sample in enumerate(reference.samples) if start <= sample < stop]
    whole, _ = compare_beats(
        build_annotation_file([int(reference.samples[i]) for i in inside], [reference.symbols[i] for i in inside]),
        build_annotation_file([s for s, _ in beats if s < stop], [label for s, label in beats if s < stop]),
        ScoredSpan(FS, start, stop, 54, 360),
    )
    np.testing.assert_array_equal(score.counts.matrix, whole.matrix)
    assert score.compared > 1000


def test_what_was_wrong() -> None:
    """A beat of another class and one that was missed are wrong; those that agree are not."""
    score = RunningScore(notes((400, "N"), (700, "V"), (1000, "A"), (1300, "N"), (1600, "N")), FS)
    for sample, label in ((402, "N"), (705, "V"), (1001, "N"), (1600, "N")):
        score.add(sample, label)
    assert score.wrong == {1000, 1300}
    assert (score.compared, score.agreed) == (4, 2)
    assert score.counts.veb.sensitivity == 1.0
    assert score.counts.sveb.sensitivity == 0.0


def test_a_run_begins_with_its_first_beat() -> None:
    """After a jump what lies between, and what the monitor had not found before its first beat, does not count."""
    score = RunningScore(notes(*((300 * i, "N") for i in range(1, 21))), FS)
    for i in (1, 2, 3):
        score.add(300 * i, "N")
    score.start_run()
    for i in (16, 17, 18):
        score.add(300 * i, "N")
    assert (score.compared, score.agreed) == (4, 4)
    assert score.wrong == set()


def test_the_beats_of_a_stretch() -> None:
    """Only beats are returned, with symbol and class: a bundle branch block beat is N."""
    score = RunningScore(notes((100, "+"), (300, "L"), (600, "j"), (900, "V")), FS)
    assert [(beat.sample, beat.symbol, beat.label) for beat in score.between(0, 900)] == [
        (300, "L", "N"),
        (600, "j", "S"),
    ]
