import doctest
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

from model.errors import ConfigError
from model.records.annotations import AnnotationFile, read_annotations
from model.records.wfdb_records import DATABASE, RecordAnnotations, open_record, read_reference
from model.scoring import ec57
from model.scoring.beat_scores import OPEN_END, ScoredSpan
from model.scoring.ec57 import (
    LEARNING_S,
    BeatMismatch,
    BeatSource,
    RecordScore,
    build_scored_span,
    match_record_beats,
    scorable_beats,
    score_beats,
    score_record,
)
from model.scoring.score_tables import beat_lines, run_lines, shutdown_lines

NAME = "207"
OSEA = Path(__file__).parent / "data" / "ec57" / "osea"


def notes(*entries: tuple[int, str]) -> AnnotationFile:
    samples, symbols = zip(*entries, strict=True) if entries else ((), ())
    return AnnotationFile(samples, symbols, (0,) * len(samples), ("",) * len(samples))


def part() -> ScoredSpan:
    return ScoredSpan(100, 0, 2000, 15, 100)


def numbers(score: RecordScore) -> Any:
    """All that a score counts, to compare."""
    runs = [None if kind is None else kind.counts() for kind in (score.ventricular_runs, score.supraventricular_runs)]
    beats = (score.beats.matrix.tolist(), score.beats.rr_pairs, score.beats.rr_rms_ms, score.beats.shutdown_s)
    return beats, runs, score.af_episodes, score.vf_episodes, score.mismatches


@pytest.fixture(scope="module")
def osea() -> tuple[AnnotationFile, AnnotationFile]:
    """Reference and OSEA's annotations of record 207, which has flutter and runs."""
    return read_annotations(DATABASE / "mitdb", NAME, "atr", 360), read_annotations(OSEA, NAME, "osea", 360)


@pytest.mark.parametrize(("folder", "extension"), [("osea", "osea"), ("perturbed", "pert")])
def test_scores_are_those_of_the_programs(folder: str, extension: str) -> None:
    """`score_beats` of annotation files prints the lines of `bxb` and `rxr` for them."""
    files = OSEA.parent / folder
    scores = []
    for path in sorted(files.glob(f"*.{extension}")):
        record = open_record(path.stem)
        reference = read_annotations(DATABASE / "mitdb", record.name, "atr", record.fs)
        test = read_annotations(files, record.name, extension, record.fs)
        scored = score_beats(reference, test, record.fs, end_s=record.length / record.fs)
        scores.append(replace(scored, record=record.name))
    lines = {
        "bxb.txt": beat_lines(scores, sums=False),
        "shutdown.txt": shutdown_lines(scores, sums=False),
        "vruns.txt": run_lines(scores, sums=False),
        "sruns.txt": run_lines(scores, supraventricular=True, sums=False),
    }
    tables = [path for path in files.glob("*.txt") if path.name in lines]
    assert tables
    for table in tables:
        assert lines[table.name] == table.read_text(encoding="utf-8").splitlines()


def test_every_form_scores_alike(osea: tuple[AnnotationFile, AnnotationFile]) -> None:
    """Annotation files, records' annotations, what wfdb reads, and arrays with symbols give the same score."""
    reference, test = osea
    expected = numbers(score_beats(reference, test, 360))
    assert expected[0][0][2][2] > 0
    assert expected[3].found + expected[3].missed > 0
    as_wfdb = wfdb.rdann(str(DATABASE / "mitdb" / NAME), "atr"), wfdb.rdann(str(OSEA / NAME), "osea")
    as_record = (RecordAnnotations(np.array(file.samples), file.symbols, file.texts) for file in osea)
    as_arrays = ((np.array(file.samples), list(file.symbols)) for file in osea)
    forms: list[tuple[BeatSource, ...]] = [as_wfdb, tuple(as_record), tuple(as_arrays)]
    for one, other in forms:
        assert numbers(score_beats(one, other, 360))[0] == expected[0]
        assert numbers(score_beats(one, other, 360))[1:] == expected[1:]


def test_shutdowns_of_wfdb_annotations(tmp_path: Path) -> None:
    """The subtypes of what wfdb reads count: a beat that is missed while nothing can be read is X."""
    samples, symbols, subtypes = np.array([100, 250, 650, 700]), ["N", "~", "~", "N"], np.array([0, 0x30, 0, 0])
    wfdb.wrann("r", "test", samples, symbols, subtype=subtypes, write_dir=str(tmp_path))
    score = score_beats([100, 300, 500, 700], wfdb.rdann(str(tmp_path / "r"), "test"), 100, start_s=0)
    assert (score.beats.total("N", "X"), score.beats.shutdown_s) == (2, 4)


def test_beats_without_symbols_are_normal() -> None:
    """R peaks alone are scored as beats of class N, in any integer type, also without any."""
    reference = np.array([100, 300, 500]), "NVN"
    for test in ([101, 303], np.array([101, 303], np.uint16)):
        score = score_beats(reference, test, 100, start_s=0)
        assert (score.qrs.sensitivity, score.qrs.positive_predictivity) == (2 / 3, 1.0)
        assert score.veb.sensitivity == 0.0
    assert score_beats(reference, [], 100, start_s=0).qrs.sensitivity == 0.0
    assert score_beats([], np.array([]), 100, start_s=0).qrs.sensitivity is None


def test_the_part_that_is_scored() -> None:
    """The first five minutes are left out by default; the reference ends the comparison unless an end is given."""
    reference, test = [100, 31_000, 32_000], [100, 31_000, 32_000, 33_000]
    assert score_beats(reference, test, 100).qrs.true_positives == 2
    assert score_beats(reference, test, 100).qrs.false_positives == 0
    assert score_beats(reference, test, 100, end_s=340).qrs.false_positives == 1
    assert score_beats(reference, [120, 31_020], 100, start_s=0, window_s=0.1).qrs.true_positives == 0


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ([1.5, 2.5], "array .n,. of integers, not float64"),
        (np.zeros((2, 2), np.int64), "of integers, not int64 .2, 2."),
        ([True, False], "of integers, not bool"),
        ([5, 3], "0 or more and ascend"),
        ([-1, 3], "0 or more and ascend"),
        (([1, 2], "N"), "2 samples but 1 symbols"),
        (([1, 2], ["N", "VEB"]), "test: 'VEB' is no WFDB annotation symbol"),
        (([1, 2], "NN", 3), "give a pair"),
    ],
)
def test_wrong_beats_are_refused(test: Any, message: str) -> None:
    """What is no list of beats is refused in words that name the argument."""
    with pytest.raises(ValueError, match=message):
        score_beats([1, 2], test, 100, start_s=0)


@pytest.mark.parametrize("options", [{"fs": 0}, {"fs": float("nan")}, {"start_s": -1}, {"end_s": 1}, {"window_s": -1}])
def test_wrong_rates_and_times_are_refused(options: dict[str, float]) -> None:
    """Rates and times that make no sense are a ValueError, as a library's user expects it."""
    with pytest.raises(ValueError, match=r"sense|seconds|nothing to score"):
        score_beats([1, 2], [1, 2], **({"fs": 100.0} | options))


def test_examples() -> None:
    """The examples in the docstrings give what they say."""
    assert doctest.testmod(ec57).failed == 0
    assert doctest.testmod(ec57).attempted > 0


def test_score() -> None:
    """A score lists every mismatch with both samples, but not the beats that agree or lie in flutter."""
    reference = notes((100, "N"), (300, "V"), (500, "N"), (600, "["), (700, "]"))
    test = notes((100, "N"), (302, "N"), (400, "S"), (650, "N"))
    result = score_record("r", reference, test, part())
    assert result.record == "r"
    assert result.mismatches == (
        BeatMismatch("V", 300, "N", 302),
        BeatMismatch("O", 400, "S", 400),
        BeatMismatch("N", 500, "O", 500),
    )
    assert result.ventricular_runs is not None
    assert score_record("r", reference, notes(), part()).ventricular_runs is None


def test_span() -> None:
    """Times become samples as in WFDB, halves up; the default is from 5:00 to the end of the record."""
    assert build_scored_span(360, 650000) == ScoredSpan(360, 108000, 650000, 54, 360)
    assert build_scored_span(250, 0) == ScoredSpan(250, 75000, OPEN_END, 38, 250)
    assert build_scored_span(128.5, 90000, 10, 0, 0.1) == ScoredSpan(128.5, 1285, 0, 13, 129)


@pytest.mark.parametrize(
    "times", [(100, 299 * 100), (100, 90000, 10, 9), (100, 90000, -1), (100, 90000, 0, None, float("nan"))]
)
def test_span_refuses(times: tuple[float, int]) -> None:
    """Records shorter than the learning period, ends before starts and what is no time are refused."""
    with pytest.raises(ConfigError):
        build_scored_span(*times)


def test_match_record_leaves_flutter_out() -> None:
    """Detections and beats inside reference flutter are neither missed nor extra."""
    reference = RecordAnnotations(np.array([100, 500, 600, 900, 1300]), ("N", "[", "N", "]", "N"), ("",) * 5)
    result = match_record_beats(reference, 360, np.array([101, 550, 700, 1000, 1299]), start_s=0)
    assert (result.pairs.tolist(), result.missed.tolist(), result.extra.tolist()) == ([[0, 0], [1, 4]], [], [3])


def test_match_record_flutter_wave() -> None:
    """A flutter wave outside flutter is a beat like any other here: found once, and not extra."""
    reference = RecordAnnotations(np.array([100, 500]), ("!", "N"), ("",) * 2)
    result = match_record_beats(reference, 360, np.array([100, 505]), start_s=0)
    assert (result.pairs.tolist(), result.missed.tolist(), result.extra.tolist()) == ([[0, 0], [1, 1]], [], [])


def test_match_record_figures() -> None:
    """Indices are those of the beats given, and the figures are 1 where there is nothing to find."""
    reference = RecordAnnotations(np.array([100, 500, 900]), ("N", "V", "N"), ("",) * 3)
    result = match_record_beats(reference, 360, np.array([110, 700, 905, 2000]), start_s=0)
    assert (result.pairs.tolist(), result.missed.tolist(), result.extra.tolist()) == ([[0, 0], [2, 2]], [1], [1, 3])
    assert result.sensitivity == pytest.approx(2 / 3)
    assert result.positive_predictivity == 0.5
    nothing = match_record_beats(RecordAnnotations(np.array([], np.int64), (), ()), 360, np.array([], np.int64))
    assert (nothing.sensitivity, nothing.positive_predictivity) == (1.0, 1.0)


def test_reference_against_itself() -> None:
    """The beats of a real record, given as the detections, are all found and nothing is extra."""
    reference = read_reference(open_record("207"))
    samples, flutter = scorable_beats(reference)
    result = match_record_beats(reference, 360, samples)
    assert flutter
    assert (result.sensitivity, result.positive_predictivity) == (1.0, 1.0)
    assert len(result.pairs) == (samples >= LEARNING_S * 360).sum()
