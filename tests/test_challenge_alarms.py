import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import wfdb

from agent.cluster.open_hands import WorkPlace
from agent.core.config import Config, override_config
from agent.core.messages import Alarm, AlarmCondition
from agent.evaluation import record_analysis
from agent.evaluation.challenge_alarms import (
    CONFIRMING_CONDITIONS,
    BedsideAlarm,
    JudgedAlarm,
    bootstrap_score_interval,
    challenge_score,
    count_outcomes,
    find_confirming_alarm,
    read_alarm_list,
)
from agent.evaluation.evaluate_command import show_alarm_evaluation
from agent.evaluation.record_analysis import PipelineOutput
from agent.evaluation.record_selection import EvaluationOptions
from model.errors import RecordError
from model.records.resample import FS
from model.records.wfdb_records import Record

RATE = 25.0


def alarm(condition: AlarmCondition, announced: float, ended: float | None = None, bed: str = "a") -> Alarm:
    """An alarm at seconds, of a condition that began three seconds before."""
    over = None if ended is None else round(ended * FS)
    at = round(announced * FS)
    return Alarm(bed, "run", condition, "high", "why", at - 3 * FS, at, 0.0, True, over)


def judged(*outcomes: str) -> list[JudgedAlarm]:
    """Alarms with these outcomes."""
    ours = alarm("asystole", 299)
    return [
        JudgedAlarm(BedsideAlarm(f"{n}", "Asystole", outcome in ("TP", "FN")), ours if outcome[1] == "P" else None)
        for n, outcome in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("announced", "ended", "confirms"),
    [
        (299.0, None, True),
        (300.0, None, True),
        (300.008, None, False),
        (291.0, 292.0, True),
        (100.0, 310.0, True),
        (280.0, 290.0, False),
        (280.0, 290.008, True),
    ],
)
def test_an_alarm_stands_in_the_last_ten_seconds(announced: float, ended: float | None, confirms: bool) -> None:
    """It confirms if it stands at any time of the ten seconds before 5:00; what is announced later never counts."""
    assert (find_confirming_alarm([alarm("asystole", announced, ended)], "Asystole") is not None) == confirms


@pytest.mark.parametrize(
    ("condition", "kinds"),
    [
        ("asystole", {"Asystole", "Bradycardia"}),
        ("extreme bradycardia", {"Bradycardia"}),
        ("extreme tachycardia", {"Tachycardia"}),
        ("ventricular tachycardia", {"Tachycardia", "Ventricular_Tachycardia"}),
        ("ventricular fibrillation", {"Tachycardia", "Ventricular_Tachycardia", "Ventricular_Flutter_Fib"}),
        ("V run", set()),
        ("heart rate low", set()),
    ],
)
def test_which_alarms_confirm_which(condition: AlarmCondition, kinds: set[str]) -> None:
    """The same condition confirms, and those that hide it as the worse of its chain; those below it do not."""
    ours = [alarm(condition, 299)]
    assert {kind for kind in CONFIRMING_CONDITIONS if find_confirming_alarm(ours, kind)} == kinds


def test_outcomes_and_score() -> None:
    """A missed true alarm costs as much as five false ones that are passed on; false bedside alarms have a weight."""
    counts = count_outcomes(judged("TP", "TP", "FN", "FP", "TN", "TN", "TN"))
    assert counts == {"TP": 2, "FP": 1, "FN": 1, "TN": 3}
    assert challenge_score(counts, 1.0) == pytest.approx(100 * 5 / 11)
    assert challenge_score(counts, 2.0) == pytest.approx(100 * 8 / 15)


def test_the_interval_holds_the_score() -> None:
    """The bootstrap gives the same interval each time, around the score; of right answers alone it is 100."""
    mixed = judged(*("TP", "TN", "FN", "FP") * 10)
    low, high = bootstrap_score_interval(mixed, 1.0)
    assert low < challenge_score(count_outcomes(mixed), 1.0) < high
    assert bootstrap_score_interval(mixed, 1.0) == (low, high)
    assert bootstrap_score_interval(judged("TP", "TN"), 1.0) == (100, 100)


def test_the_list_is_read(tmp_path: Path) -> None:
    """Lines with record, kind and truth, whatever the spaces, empty lines and line ends."""
    (tmp_path / "ALARMS").write_bytes(b"a103l,Asystole,0\r\n\n v131l , Ventricular_Tachycardia, 1\n")
    assert read_alarm_list(tmp_path / "ALARMS") == [
        BedsideAlarm("a103l", "Asystole", False),
        BedsideAlarm("v131l", "Ventricular_Tachycardia", True),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a103l,Asystole\n", r"line 1: 'a103l,Asystole' is not record,kind,1"),
        (b"a103l,Asystole,0\na104s,Asystole,yes\n", "line 2: 'a104s,Asystole,yes' is not"),
        (b"a103l,Fever,1\n", "line 1: no kind 'Fever': it must be one of Asystole, Bradycardia"),
        (b"../a103l,Asystole,1\n", "line 1: '../a103l' is no name of a record in this folder"),
        (b",Asystole,1\n", "line 1: '' is no name of a record"),
        (b"a,Asystole,1\na,Asystole,0\n", "line 2: a is in the list twice"),
        (b"\xff\xfe\x00", "is no text"),
        (b"x" * (2**20 + 1), "is over 1 MB"),
    ],
)
def test_a_bad_list_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    """What is no list is refused with its file, the line and what is wrong with it."""
    (tmp_path / "ALARMS").write_bytes(content)
    with pytest.raises(RecordError, match=message) as raised:
        read_alarm_list(tmp_path / "ALARMS")
    assert "\n" not in str(raised.value)


class PreparedOutputs:
    """Stands in for the pipeline: returns outputs that were prepared for each record."""

    def __init__(self, outputs: dict[str, PipelineOutput]) -> None:
        self.outputs = outputs

    def __call__(self, records: Sequence[Record], *_: object) -> tuple[dict[str, PipelineOutput], float]:
        return {record.name: self.outputs.get(record.name, PipelineOutput()) for record in records}, 0.0


def store(folder: Path, name: str, seconds: int) -> None:
    """A flat record."""
    x = np.zeros((round(seconds * RATE), 1))
    wfdb.wrsamp(name, RATE, ["mV"], ["II"], x, fmt=["16"], adc_gain=[200.0], baseline=[0], write_dir=str(folder))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A true and a false alarm that we confirm, a true one that we do not, a strip too short, and one not there."""
    for name, seconds in (("a", 330), ("b", 300), ("c", 300), ("short", 299)):
        store(tmp_path, name, seconds)
    lines = ("a,Asystole,1", "b,Tachycardia,0", "c,Bradycardia,1", "short,Asystole,0", "gone,Asystole,1")
    (tmp_path / "ALARMS").write_text("\n".join(lines), encoding="utf-8")
    outputs = {
        "a": PipelineOutput(alarms=[alarm("asystole", 298), alarm("asystole", 298, 320)]),
        "b": PipelineOutput(alarms=[alarm("extreme tachycardia", 200, None, "b")]),
        "c": PipelineOutput(alarms=[alarm("extreme bradycardia", 301, None, "c")]),
    }
    monkeypatch.setattr(record_analysis, "analyse_records", PreparedOutputs(outputs))
    return tmp_path


def show(settings: Config, folder: Path, as_json: bool, weight: float = 2.0) -> None:
    asked = EvaluationOptions(
        folder, "all", False, "atr", "ecg", folder / "out", 0.0, None, 0.15, False, WorkPlace(1), false_weight=weight
    )
    show_alarm_evaluation(override_config(settings, "monitor", device="cpu"), asked, as_json)


def test_report(folder: Path, settings: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts of each kind, the weighted score, our alarm for each strip, and why two strips were left out."""
    show(settings, folder, as_json=True)
    made = json.loads(capsys.readouterr().out)
    assert made == json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))
    assert {kind: [made["kinds"][kind][key] for key in ("TP", "FP", "FN", "TN")] for kind in made["kinds"]} == {
        "Asystole": [1, 0, 0, 0],
        "Bradycardia": [0, 0, 1, 0],
        "Tachycardia": [0, 1, 0, 0],
    }
    assert made["all"]["score"] == pytest.approx(100 * 1 / 8)
    assert [(one["record"], one["outcome"], one["announced_s"]) for one in made["records"]] == [
        ("a", "TP", 298),
        ("b", "FP", 200),
        ("c", "FN", None),
    ]
    assert [one["record"] for one in made["skipped"]] == ["gone", "short"]
    assert "the bedside alarm is at 5:00" in made["skipped"][1]["reason"]


def test_tables(folder: Path, settings: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables show the score, the weight, and each wrong answer with our alarm."""
    show(settings, folder, as_json=False)
    said = capsys.readouterr().out
    assert "3 records, 2 skipped, bedside alarms at 5:00, weights live" in said
    assert "score 12.5; each false bedside alarm counts 2 times" in said
    assert "extreme tachycardia at 3:17.0: why" in said
    assert "skipped short: 299 s long" in said


def test_without_a_single_strip_it_fails(folder: Path, settings: Config) -> None:
    """If no strip can be evaluated, the reason of the first is the error."""
    (folder / "ALARMS").write_text("gone,Asystole,1", encoding="utf-8")
    with pytest.raises(RecordError, match="none of 1 strips could be evaluated"):
        show(settings, folder, as_json=True)
