"""The scorer gives what WFDB's `bxb` and `rxr` print, to the last count and digit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.records.annotations import AnnotationFile, read_annotations
from model.records.wfdb_records import DATABASE, open_record
from model.scoring.beat_scores import EC57_LABELS, ScoredSpan, compare_beats
from model.scoring.ec57 import LEARNING_S, RecordScore, build_scored_span, score_record
from model.scoring.run_scores import RunCounts, compare_runs
from model.scoring.score_tables import beat_lines, run_lines, shutdown_lines

OWN = Path(__file__).parent / "data" / "ec57"
ALL = Path(__file__).parents[2] / "shared" / "ec57"
EXTENSIONS = {"osea": "osea", "perturbed": "pert"}
TABLES: dict[str, Callable[[list[RecordScore]], list[str]]] = {
    "bxb.txt": lambda scores: beat_lines(scores, sums=False),
    "bxb_full.txt": lambda scores: beat_lines(scores, sums=False),
    "shutdown.txt": lambda scores: shutdown_lines(scores, sums=False),
    "vruns.txt": lambda scores: run_lines(scores, sums=False),
    "sruns.txt": lambda scores: run_lines(scores, supraventricular=True, sums=False),
}
SCORES: dict[tuple[Path, float], list[RecordScore]] = {}


def scores(folder: Path, start_s: float) -> list[RecordScore]:
    """Scores of the annotation files in a folder, each computed once."""
    if (folder, start_s) not in SCORES:
        extension = EXTENSIONS[folder.name]
        SCORES[folder, start_s] = [
            score_of(folder, path.stem, extension, start_s) for path in sorted(folder.glob(f"*.{extension}"))
        ]
    return SCORES[folder, start_s]


def score_of(folder: Path, name: str, extension: str, start_s: float) -> RecordScore:
    record = open_record(name)
    reference = read_annotations(DATABASE / "mitdb", name, "atr", record.fs)
    test = read_annotations(folder, name, extension, record.fs)
    return score_record(name, reference, test, build_scored_span(record.fs, record.length, start_s))


@pytest.mark.slow
@pytest.mark.parametrize("root", [OWN, ALL], ids=["own", "all"])
@pytest.mark.parametrize(("kind", "table"), [(path.parent.name, path.name) for path in sorted(OWN.glob("*/*.txt"))])
def test_tables(root: Path, kind: str, table: str) -> None:
    """Every line that `bxb` and `rxr` print for these annotation files is printed here."""
    expected = root / kind / table
    if not expected.is_file():
        pytest.skip("the annotation files of all records are not beside the repository")
    found = TABLES[table](scores(expected.parent, 0.0 if table == "bxb_full.txt" else LEARNING_S))
    assert found == expected.read_text(encoding="utf-8").splitlines()


def test_own_files_are_there() -> None:
    """The repository itself has both kinds of files, and every table."""
    assert {path.name for path in OWN.glob("*/*.txt")} == set(TABLES)
    assert {path.name for path in OWN.iterdir() if path.is_dir()} == set(EXTENSIONS)


def odd_cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((OWN / "odd.json").read_text(encoding="utf-8"))
    return cases


def annotation_file(notes: list[list[Any]]) -> AnnotationFile:
    samples, symbols, subtypes, texts = zip(*notes, strict=True) if notes else ((), (), (), ())
    return AnnotationFile(samples, symbols, subtypes, texts)


def cells(matrix: np.ndarray[Any, Any]) -> dict[str, int]:
    return {f"{row}{column}": int(matrix[row, column]) for row, column in np.argwhere(matrix).tolist()}


def run_cells(runs: RunCounts | None) -> list[dict[str, int]] | None:
    return None if runs is None else [cells(runs.by_reference), cells(runs.by_test)]


@pytest.mark.parametrize("case", odd_cases(), ids=range(len(odd_cases())))
def test_odd_annotations(case: dict[str, Any]) -> None:
    """Unusual annotations are counted as the programs count them."""
    part = ScoredSpan(case["fs"], case["start"], case["end"], case["window"], int(case["fs"] + 0.5))
    reference, test = annotation_file(case["reference"]), annotation_file(case["test"])
    beats, _ = compare_beats(reference, test, part)
    assert cells(beats.matrix) == case["beats"]
    assert beats.shutdown_s == case["shutdown_s"]
    assert (None if beats.rr_rms_ms is None else round(beats.rr_rms_ms, 2)) == case["rr_rms_ms"]
    found = [run_cells(runs) for runs in compare_runs(reference, test, part)]
    assert found == [case["ventricular"], case["supraventricular"]]


def test_odd_cases_are_odd() -> None:
    """Among them are shutdowns, missing results of `rxr`, open ends, and long runs."""
    cases = odd_cases()
    x = str(EC57_LABELS.index("X"))
    assert any(cell[1] == x for case in cases for cell in case["beats"])
    assert any(cell[0] == x for case in cases for cell in case["beats"])
    assert any(case["ventricular"] is None for case in cases)
    assert any(case["ventricular"] and "66" in case["ventricular"][0] for case in cases)
    assert {-1, 0} < {case["end"] for case in cases}
