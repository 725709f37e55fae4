import json

import pytest

from model.records.annotations import AnnotationFile
from model.scoring.ec57 import RecordScore, build_scored_span, score_record
from model.scoring.score_tables import beat_lines, mismatch_lines, record_dict, run_lines, shutdown_lines, summary_dict

FS = 100


def record(name: str, reference: str, test: str) -> RecordScore:
    """A record with one beat a second on each side, `.` for none, `u` for a shutdown; the second of each is later."""
    return score_record(name, _beats(reference, 100), _beats(test, 102), build_scored_span(FS, 10000, 0.0))


def _beats(symbols: str, start: int) -> AnnotationFile:
    kept = [(start + 100 * i, symbol) for i, symbol in enumerate(symbols) if symbol != "."]
    return AnnotationFile(
        tuple(sample for sample, _ in kept),
        tuple("~" if symbol == "u" else symbol for _, symbol in kept),
        tuple(0x30 if symbol == "u" else 0 for _, symbol in kept),
        ("",) * len(kept),
    )


def words(line: str) -> str:
    return " ".join(line.split())


@pytest.fixture
def scores() -> list[RecordScore]:
    return [record("1", "NNVVNSSNNF", "NNVVNS.NVS"), record("2", "NNNNVVN", "NNu.VNN"), record("3", "NN", "N.")]


def test_beat_lines(scores: list[RecordScore]) -> None:
    """Counts stand under their names, undefined statistics are a dash, and the sums are below."""
    lines = beat_lines(scores)
    assert lines[0].split()[1:6] == ["Nn'", "Sn'", "Vn'", "Fn'", "On'"]
    assert words(lines[1]) == "1 4 0 0 0 0 0 1 0 1 0 1 0 2 0 0 0 1 0 0 90.00 100.00 100.00 66.67 50.00 50.00 471.40"
    assert lines[3].endswith("  50.00 100.00      -      -      -      -     -")
    assert len({len(line) for line in lines[:3]}) == 1
    total = lines[5].split()
    assert total[0] == "Sum"
    assert [int(n) for n in total[1:]] == [sum(int(line.split()[i]) for line in lines[1:4]) for i in range(1, 20)]
    assert lines[4] == "_" * 132
    assert lines[-1] == "Summary of results from 3 records"
    assert beat_lines(scores, sums=False) == lines[:4]
    assert beat_lines([]) == lines[:1]


def test_gross_and_average(scores: list[RecordScore]) -> None:
    """Gross figures are of all beats; averages are over the records that have one; both stand in their columns."""
    lines = beat_lines(scores)
    gross, average = lines[6], lines[7]
    assert gross.startswith("Gross ")
    assert average.startswith("Average ")
    assert gross.split()[1] == f"{100 * 15 / 19:.2f}"
    assert average.split()[1] == f"{(90 + 500 / 7 + 50) / 3:.2f}"
    assert average.split()[3] == f"{(100 + 50) / 2:.2f}"
    column = lines[1].index(" 90.00")
    assert all(line[column - 1] == " " and line[column + 3] == "." for line in (lines[1], gross, average))
    assert lines[8] == "Total QRS complexes: 19  Total VEBs: 4  Total SVEBs: 2"


def test_fusion_called_s(scores: list[RecordScore]) -> None:
    """The gross line leaves F beats called S out of the SVEB +P, as `sumstats` does; the dictionary counts them."""
    gross = beat_lines(scores)[6]
    assert gross.split()[6] == "100.00"
    assert summary_dict(scores)["gross"]["beats"]["statistics"]["sveb_ppv"] == 50.0


def test_shutdown_lines(scores: list[RecordScore]) -> None:
    """Beats missed in a shutdown, parts of all beats, seconds, and the beats of each class."""
    lines = shutdown_lines(scores)
    assert words(lines[3]) == "2 2 0 0 0 0 28.57 40.00 - 0.00 - 3 seconds 5 0 2 0 0"
    assert words(lines[6]) == "Sum 2 0 0 0 0 3 seconds"
    assert lines[6].index("seconds") == lines[3].index("seconds")
    assert shutdown_lines(scores, sums=False) == lines[:5]


def test_run_lines(scores: list[RecordScore]) -> None:
    """Runs found and missed, whole percents, and a line less where there is nothing to compare."""
    lines = run_lines(scores)
    assert words(lines[1]) == "1 1 0 1 0 0 0 0 0 0 0 0 0 100 100 - - - -"
    assert words(lines[2]) == "2 0 1 0 0 0 0 0 0 0 0 0 0 0 - - - - -"
    assert lines[5].split()[:3] == ["Sum", "1", "1"]
    assert words(lines[6]) == "Gross 50 100 - - - -"
    assert words(lines[7]) == "Average 50 100 - - - -"
    assert lines[8] == "Total couplets: 2  Total short runs: 0  Total long runs: 0"
    assert run_lines(scores, supraventricular=True)[0] == "(SVE run detection)"
    empty = [record("4", "NVVN", ""), *scores]
    assert run_lines(empty) == lines
    assert run_lines(empty[:1]) == lines[:1]


def test_mismatch_lines(scores: list[RecordScore]) -> None:
    """Every difference, with the sample of each side."""
    assert mismatch_lines(scores[0]) == ["S(700)/O(700)", "N(900)/V(902)", "F(1000)/S(1002)"]
    assert mismatch_lines(scores[1]) == ["N(300)/X(300)", "N(400)/X(400)", "V(600)/N(602)"]


def test_dictionaries(scores: list[RecordScore]) -> None:
    """The dictionaries have plain values only, None for undefined ones, and the numbers of the lines."""
    one = record_dict(scores[0])
    assert json.loads(json.dumps(one)) == one
    assert one["beats"]["matrix"]["N"]["V"] == 1
    assert one["beats"]["statistics"]["veb_ppv"] == pytest.approx(200 / 3)
    assert record_dict(scores[2])["beats"]["statistics"]["veb_se"] is None
    assert record_dict(record("4", "NN", ""))["ventricular_runs"] is None
    both = summary_dict(scores)
    assert json.loads(json.dumps(both)) == both
    assert both["records"] == ["1", "2", "3"]
    assert both["gross"]["beats"]["statistics"]["qrs_se"] == pytest.approx(1500 / 19)
    assert both["average"]["beats"]["qrs_se"] == pytest.approx((90 + 500 / 7 + 50) / 3)
    assert both["average"]["ventricular_runs"]["couplet_se"] == 50.0
    assert both["average"]["ventricular_runs"]["long_run_se"] is None
    assert summary_dict([])["gross"]["beats"] is None
