import json
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from rich.console import Console

from agent.cluster.open_hands import WorkPlace
from agent.core.config import Config, override_config
from agent.evaluation.beat_evaluation import (
    BeatEvaluation,
    MismatchStrip,
    RecordBeatResult,
    evaluate_beats,
)
from agent.evaluation.beat_report import (
    beat_report_tables,
    build_beat_report,
    class_rows,
    group_records,
    run_rows,
)
from agent.evaluation.evaluate_command import show_evaluation
from agent.evaluation.evaluation_page import evaluation_page
from agent.evaluation.record_selection import EvaluationCost, EvaluationOptions, SkippedRecord
from agent.evaluation.report_tables import format_clock_time
from model.beats.dataset import DS1, PACED_RECORDS
from model.records.annotations import AnnotationFile, encode_annotations, read_annotations
from model.records.wfdb_records import CLASSES, DATABASE
from model.scoring.beat_scores import EC57_LABELS

EC57 = Path(__file__).parent / "data" / "ec57"
WEIGHTS = {
    "name": "made",
    "sha256": "0" * 64,
    "protocol": "random",
    "sentence": "random split of the beats",
    "leads": "auto",
    "heard": [str(number) for number in range(101, 108)],
}
NAMES = ("100", "101", "102")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> EvaluationOptions:
    """The reference annotations of three records, every seventh N called S and every fifth left out, to be scored."""
    folder = tmp_path_factory.mktemp("others")
    for name in NAMES:
        notes = read_annotations(DATABASE / "mitdb", name, "atr", 360.0)
        kept = [i for i in range(len(notes.samples)) if i % 5]
        symbols = tuple("S" if i % 7 == 0 and notes.symbols[i] == "N" else notes.symbols[i] for i in kept)
        samples = tuple(notes.samples[i] + i % 3 for i in kept)
        texts = tuple(notes.texts[i] for i in kept)
        file = AnnotationFile(samples, symbols, tuple(notes.subtypes[i] for i in kept), texts)
        (folder / f"{name}.mine").write_bytes(encode_annotations(file))
    (folder / "999.mine").write_bytes(b"\0\0")
    return EvaluationOptions(
        folder, "all", True, "atr", "mine", folder / "out", 1500.0, None, 0.15, False, WorkPlace(1)
    )


@pytest.fixture(scope="module")
def found(asked: EvaluationOptions, settings: Config) -> BeatEvaluation:
    """The scores, with delays and rates as a pipeline has them."""
    scored = evaluate_beats(settings, asked, lambda _done, _total: None)
    return replace(
        scored, evaluated=tuple(measured(one) for one in scored.evaluated), cost=EvaluationCost(7200.0, 5.0, 9.0)
    )


def measured(one: RecordBeatResult) -> RecordBeatResult:
    rates = np.array([[62.0, 60.0], [58.0, 60.0]])
    return replace(one, peak_ms=np.arange(101.0), class_ms=np.arange(101.0) + 500, rates=rates)


def printed(made: dict[str, Any], width: int = 100) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(beat_report_tables(made))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def row(lines: list[str], first: str) -> list[str]:
    """The cells of the only line that begins so."""
    (line,) = (line for line in lines if re.match(rf"{re.escape(first)}( |$)", line))
    return line.removeprefix(first).split()


def test_groups(found: BeatEvaluation) -> None:
    """Figures are of all, of the records without pacemaker, and of DS1 and DS2 where records of the database are."""
    made = group_records(found.evaluated)
    names = {name: [one.record for one in group] for name, group in made.items()}
    assert names == {"all": [*NAMES], "unpaced": ["100", "101"], "ds1": ["101"], "ds2": ["100"]}
    assert ("101" in DS1, "102" in PACED_RECORDS) == (True, True)
    of_others = [replace(one, embedded=False, paced=False) for one in found.evaluated]
    assert [*group_records(of_others)] == ["all"]


def test_figures(found: BeatEvaluation, asked: EvaluationOptions) -> None:
    """Counts add up over records, and what is measured of all beats together is in the group."""
    made = build_beat_report(found, asked, WEIGHTS)
    matrices = np.sum([one.score.beats.matrix for one in found.evaluated], axis=0)
    group = made["groups"]["all"]
    assert group["classes"]["confusion"] == matrices[:5, :5].tolist()
    assert group["classes"]["beats"] == group["timing"]["beats"] == sum(group["timing"]["histogram"]["beats"])
    assert 0 < group["timing"]["mean_ms"] < 2 * 1000 / 360
    assert group["class_delay"] == {"median_ms": 550.0, "p99_ms": 599.0, "max_ms": 600.0}
    assert group["heart_rate"] == {"beats": 6, "rms_bpm": 2.0, "rms_percent": pytest.approx(10 / 3)}
    assert made["cost"]["cpu_s_per_hour"] == 2.5
    assert json.loads(json.dumps(made)) == made


def test_tables_say_what_was_found(found: BeatEvaluation, asked: EvaluationOptions) -> None:
    """Every record, every group, the matrix, the measures and what was skipped are on the terminal."""
    made = build_beat_report(found, asked, WEIGHTS)
    lines = printed(made)
    assert lines[0].startswith(
        "3 records, 1 skipped, 1.5 h of ECG, scored by EC57 from 25:00 to the end, window 150 ms"
    )
    assert lines[1] == "two leads, the better one heard; weights made, random split of the beats"
    assert lines[2] == "they have learnt 7 records of these names: 101, 102, 103, 104, 105, 106, ..."
    beats = found.evaluated[0].score.beats
    true, of = beats.ratios()["qrs_se"]
    assert row(lines, "100")[:2] == [f"{of:,}", f"{100 * true / of:.2f}"]
    assert {"all (3) gross", "all (3) average", "ds2 (1) gross"} <= {line[:15].strip() for line in lines}
    total = np.sum([one.score.beats.matrix for one in found.evaluated], axis=0)
    assert row(lines, "N") == [f"{count:,}" for count in total[0]]
    assert row(lines, "class delay") == ["median", "550", "ms,", "p99", "599", "ms,", "at", "most", "600", "ms"]
    assert row(lines, "pipeline")[:2] == ["2.50", "CPU"]
    assert row(lines, "skipped")[0] == "999:"


@pytest.mark.parametrize("width", [100, 140])
def test_tables_fit(width: int, found: BeatEvaluation, asked: EvaluationOptions) -> None:
    """All tables fit into 100 columns, long names and six-figure counts too, and nothing is cut off."""
    long = [replace(one, record=f"patient-0123456789-{one.record}") for one in found.evaluated]
    made = build_beat_report(replace(found, evaluated=tuple(long)), asked, WEIGHTS)
    matrix = made["groups"]["all"]["ec57"]["gross"]["beats"]["matrix"]
    for label in EC57_LABELS:
        matrix[label] = dict.fromkeys(EC57_LABELS, 123456)
    lines = printed(made, width)
    assert max(map(len, lines)) <= width
    assert "\N{HORIZONTAL ELLIPSIS}" not in "\n".join(lines)
    assert sum(line.count("123,456") for line in lines) == len(EC57_LABELS) ** 2


def test_without_a_pipeline_nothing_is_said_of_it(asked: EvaluationOptions, settings: Config) -> None:
    """Annotations of others have no delays, rates or cost, and no weights."""
    made = build_beat_report(evaluate_beats(settings, asked, lambda _done, _total: None), asked, None)
    assert made["groups"]["all"]["class_delay"] is None
    assert made["cost"]["cpu_s_per_hour"] is None
    lines = printed(made)
    assert lines[1] == "annotations *.mine against *.atr"
    assert not [line for line in lines if re.match("class delay|R peak delay|heart rate|pipeline", line)]


def test_mismatches_are_drawn(found: BeatEvaluation, asked: EvaluationOptions) -> None:
    """A mismatch has its record, time and labels, and a wave whose highest point is at its beat."""
    spike = np.zeros(540, dtype=np.float32)
    spike[214:219] = 1.0
    one = replace(found.evaluated[0], mismatches=(MismatchStrip(360 * 61, "V", "O", spike),))
    made = build_beat_report(replace(found, evaluated=(one,)), replace(asked, mismatches=True), WEIGHTS)
    (missed,) = made["mismatches"]
    assert (missed["record"], missed["time_s"], missed["true"], missed["said"]) == ("100", 61.0, "V", "O")
    upper, lower = missed["wave"]
    assert len(upper) == len(lower) == 36
    assert [i for i, point in enumerate(upper) if point != " "] == [14]
    lines = printed(made)
    (at,) = (i for i, line in enumerate(lines) if "1:01" in line)
    assert "no beat" in lines[at]
    arrow = next(line for line in lines if "\N{BLACK DOWN-POINTING SMALL TRIANGLE}" in line)
    assert arrow.index("\N{BLACK DOWN-POINTING SMALL TRIANGLE}") == lines[at].index(upper[14])


def page_of(found: BeatEvaluation, asked: EvaluationOptions) -> str:
    return evaluation_page(build_beat_report(found, asked, WEIGHTS))


def test_the_page_is_whole_and_always_the_same(found: BeatEvaluation, asked: EvaluationOptions) -> None:
    """The page needs nothing else, depends on neither cost nor settings of matplotlib, and holds three pictures."""
    text = page_of(found, asked)
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other"}):
        assert page_of(replace(found, cost=EvaluationCost(1.0, 2.0, 3.0)), asked) == text
        assert matplotlib.rcParams["font.size"] == 20
    assert not re.search(r'(src|href)="(?!#)|@import|<script', text)
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 3
    for picture in pictures:
        ElementTree.fromstring(picture)
    for heading in ("Errors of each record", "Classes of matched beats", "Skipped"):
        assert f"<h2>{heading}</h2>" in text
    assert "Mismatches" not in text


def test_the_page_escapes_names(found: BeatEvaluation, asked: EvaluationOptions) -> None:
    """A record's name and a reason are text, whatever they hold."""
    odd = replace(found.evaluated[0], record="<b>$x$&")
    made = replace(found, evaluated=(odd,), skipped=(SkippedRecord("<i>", "a < b"),))
    text = page_of(made, asked)
    assert "<td>&lt;b&gt;$x$&amp;</td>" in text
    assert "<td>&lt;i&gt;</td><td>a &lt; b</td>" in text
    assert "<b>" not in text


def test_the_page_shows_mismatches(found: BeatEvaluation, asked: EvaluationOptions) -> None:
    """The list of mismatches is on the page where it was asked for."""
    one = replace(found.evaluated[0], mismatches=(MismatchStrip(360, "V", "N", np.zeros(540, dtype=np.float32)),))
    text = page_of(replace(found, evaluated=(one,)), replace(asked, mismatches=True))
    assert "<td>0:01</td><td>V</td><td>N</td><td><pre>" in text


def test_show(asked: EvaluationOptions, settings: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of a run has the report, the page and the tables of bxb and rxr; runs differ in their cost alone."""
    told: list[dict[str, Any]] = []
    for name, as_json in (("one", True), ("two", False)):
        show_evaluation(settings, replace(asked, out=asked.out / name), as_json, html=not as_json)
        told.append(json.loads((asked.out / name / "report.json").read_text()))
    said = capsys.readouterr()
    first, *lines = said.out.splitlines()
    assert json.loads(first) == told[0]
    assert lines[0].startswith("3 records, 1 skipped")
    assert said.err == ""
    assert told[0] | {"cost": None} == told[1] | {"cost": None}
    files = {"report.json", "bxb.txt", "shutdown.txt", "vruns.txt", "sruns.txt"}
    assert {path.name for path in (asked.out / "one").iterdir()} == files
    assert {path.name for path in (asked.out / "two").iterdir()} == files | {"report.html"}
    assert (asked.out / "two" / "bxb.txt").read_text().splitlines()[1].startswith(" 100 ")


@pytest.mark.slow
def test_show_of_the_pipeline(
    asked: EvaluationOptions, settings: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the pipeline the weights are named, and annotations are beside the report."""
    folder = tmp_path / "db"
    folder.mkdir()
    for ending in ("hea", "atr", "flac"):
        (folder / f"100.{ending}").write_bytes((DATABASE / "mitdb" / f"100.{ending}").read_bytes())
    run = replace(asked, folder=folder, score_only=False, annotator="ecg", out=tmp_path / "out", start_s=300.0)
    show_evaluation(override_config(settings, "monitor", device="cpu"), run, as_json=False, html=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"two leads, the better one heard; weights {settings.monitor.weights}, ")
    assert float(row(lines, "100")[1]) > 99.5
    assert row(lines, "class delay")[0] == "median"
    assert (tmp_path / "out" / "100.ecg").is_file()


def test_nothing_was_found(asked: EvaluationOptions, settings: Config, tmp_path: Path) -> None:
    """Where a detector found no beat at all there are no rates of classes, no timing and no runs."""
    (tmp_path / "100.none").write_bytes(b"\0\0")
    deaf = replace(asked, folder=tmp_path, annotator="none", out=tmp_path / "out")
    made = build_beat_report(evaluate_beats(settings, deaf, lambda _done, _total: None), deaf, None)
    assert class_rows(made) == [["all", "0", *["-"] * 7]]
    assert run_rows(made) == []
    assert row(printed(made), "all (1) gross")[1:] == [*["0.00", "-"] * 3, *["-"] * 3]
    assert evaluation_page(made).count("<svg") == 3


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (300, "5:00"), (61.5, "1:01.500"), (3600.001, "60:00.001")])
def test_clock(seconds: float, text: str) -> None:
    """Times are minutes and seconds."""
    assert format_clock_time(seconds) == text


def test_classes_without_beats_have_no_f1(found: BeatEvaluation, asked: EvaluationOptions) -> None:
    """A class that the reference lacks is left out, not counted as 0."""
    cells = class_rows(build_beat_report(found, asked, WEIGHTS))[0]
    assert len(cells) == 4 + len(CLASSES)
    assert cells[4 + CLASSES.index("F")] == "-"
