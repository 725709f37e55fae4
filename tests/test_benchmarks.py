"""Benchmarks in short: each starts, and what it runs in other processes calls functions that exist."""

import ast
import importlib
import pkgutil
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import benchmarks
from agent.analysis.beat_cutter import BeatCandidate
from agent.training.candidates import LabelledCandidates
from benchmarks import (
    analyse,
    beds,
    bridge,
    calibration,
    dashboard,
    detection,
    export,
    fibrillation,
    figures,
    intervals,
    monitor,
    pacing,
    report,
    seeds,
    stages,
    surely_normal,
    tables,
    training,
    ward,
)
from model.records.annotations import AnnotationFile

COMMANDS = (
    "analyse",
    "archive",
    "attack",
    "beds",
    "bridge",
    "bridge_faults",
    "cable",
    "calibration",
    "compiled",
    "dashboard",
    "detection",
    "detector_fit",
    "export",
    "fibrillation",
    "fleet",
    "fleet_watch",
    "fuzz",
    "intervals",
    "monitor",
    "pacing",
    "peers",
    "random_starts",
    "report",
    "seeds",
    "soak",
    "standard",
    "store",
    "strangers",
    "surely_normal",
    "tables",
    "trace_sample",
    "training",
    "ward",
    "web",
    "web_pictures",
)
PACKAGES = ("attack", "fuzz")
PROGRAMS = {
    "training.COLD_BUILD": training.COLD_BUILD,
    "intervals.PEER": intervals.PEER,
    "report.OURS": report.OURS,
    "report.PEER": report.PEER,
    "pacing.SUBSCRIBER": pacing.SUBSCRIBER,
    "monitor.PEER": monitor.PEER,
    "bridge.WRITER": bridge.WRITER,
}
"""Code in strings, which no type checker reads."""


def test_every_module_has_its_test() -> None:
    """A new benchmark is a command here, or a part of others."""
    parts = {
        "accuracy_tables",
        "cost_tables",
        "figures",
        "fleet_ward",
        "host_network",
        "ray_hosts",
        "ludb",
        "processes",
        "proxy",
        "stages",
        "table_format",
    }
    assert {module.name for module in pkgutil.iter_modules(benchmarks.__path__)} == set(COMMANDS) | parts


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each benchmark imports, and explains its options."""
    module = importlib.import_module(f"benchmarks.{name}.command" if name in PACKAGES else f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert "usage: " in capsys.readouterr().out


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_are_commands(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m` runs the packages too."""
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert ended.value.code == 0
    assert "usage: " in capsys.readouterr().out


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_in_strings_use_names_that_exist(name: str) -> None:
    """Code in a string parses, its imports succeed, and so do its calls of functions of ours."""
    tree = ast.parse(PROGRAMS[name])
    names: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), name, "exec"), names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            assert hasattr(names[node.value.id], node.attr), ast.unparse(node)


@pytest.mark.parametrize(
    ("stage", "owner", "names"), stages.STAGES, ids=[f"{stage}-{names[0]}" for stage, _, names in stages.STAGES]
)
def test_stages_exist(stage: str, owner: object, names: tuple[str, ...]) -> None:
    """Each stage that is measured is a function that the pipeline has."""
    assert [name for name in names if not callable(getattr(owner, name, None))] == [], stage


def test_stages_are_those_of_the_table() -> None:
    """The cost by stage leaves none out that is measured."""
    measured = {stage for stage, _, _ in stages.STAGES}
    assert {stage for group in beds.GROUPS.values() for stage in group} == measured
    assert set(tables.STAGES) == set(beds.GROUPS)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_ward(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cost of a ward is measured for each number of beds, and written with its description."""
    monkeypatch.setattr(ward, "BED_S", 40)
    monkeypatch.setattr(ward, "peer", lambda: 1.0)
    monkeypatch.setattr(sys, "argv", ["ward", "--beds", "1,2", "--json", str(tmp_path / "ward.json")])
    ward.main()
    results = figures.read_figures("ward", tmp_path)["results"]
    assert [(run["beds"], run["packet_ms"]) for run in results["beds"]] == [(1, 2000), (2, 40), (2, 200)]
    assert all(0 < run["detection_s"] < run["everything_s"] == run["of_xqrs"] for run in results["beds"])


def test_packets_hold_the_signal() -> None:
    """Packets of a ward hold each sample of each bed once, in microvolts."""
    x = (np.arange(100).reshape(2, 50) / 1000).astype(np.float32)
    chunks = [chunk for packet in ward.packets(x, 40) for chunk in packet if chunk.bed == "1"]
    assert [chunk.first for chunk in chunks] == list(range(0, 50, 5))
    assert np.concatenate([chunk.counts[:, 0] for chunk in chunks]).tolist() == list(range(50, 100))


def test_seeds() -> None:
    """Runs of one recipe are a row, with the mean and the spread of their seeds."""
    runs = [
        {
            "training": {"fold": None, "protocol": "random", "recipe": "best", "seed": seed},
            "test": {
                **dict.fromkeys(("accuracy", "macro_f1", "balanced_accuracy"), 0.9 + seed / 100),
                **{name: dict.fromkeys("NSVFQ", 0.5) for name in ("recall", "precision", "f1")},
                "calibration": {"ece": 0.01},
            },
        }
        for seed in (0, 2)
    ]
    assert "| random | best | 0, 2 | 91.00 ± 1.41 |" in seeds.table(runs)


def test_dashboard_frames() -> None:
    """A whole frame of a real ward is drawn and measured."""
    cost = dashboard.frames_of(1, (80, 24), 4)
    assert cost["kb"] > 0
    assert 0 < cost["median_ms"] <= cost["longest_ms"]


def test_dashboard_peer_shows_the_same() -> None:
    """Ours and the peer's drawing of a snapshot name the bed."""
    shown = dashboard.snapshot(dashboard.load(), 5000, 2)
    for draw in (dashboard.ours, dashboard.peer):
        with open("/dev/null", "w", encoding="utf-8") as target:  # noqa: PTH123  # a stream, whatever the system
            assert dashboard.measure(draw(target, (80, 24)), [shown] * 12)["median_ms"] > 0


def test_detection_scores() -> None:
    """The detector's figures of a record are those of its beats."""
    row, errors, delays = detection.score("100", detection.detect(detection.load("100")))
    assert row["found"] > 1800
    assert len(errors) == row["found"]
    assert len(delays) > 0


def test_export_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Times and figures are shown in columns."""
    row = {"bytes": 1000, "us_per_beat_batch_1": 2.0, "accuracy": 0.9, "macro_f1": 0.8, "balanced_accuracy": 0.7}
    export.show({"PyTorch": row | {"recall": dict.fromkeys("NSVFQ", 0.5)}})
    assert "µs, batch 1" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_stages_are_measured_in_a_monitor() -> None:
    """A monitor with clocks in its stages runs to its end and says what each stage took."""
    spent = monitor.stages(monitor.Lengths(real_time_s=0.0, one_bed_s=30.0, ward_s=4.0, times=1))
    measured = {stage for stage, _, _ in stages.STAGES} - {"wait"}
    assert set(spent) <= {f"{name}_{stage}_us" for name in ("one_bed", "ward") for stage in measured}
    assert {f"one_bed_{stage}_us" for stage in measured} <= set(spent)
    assert spent["one_bed_net_us"] > 0


@pytest.mark.slow
def test_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report of a short recording is written and measured beside wfdb-python's reading of it."""
    path = tmp_path / "report.json"
    monkeypatch.setattr(sys, "argv", ["report", "--hours", "0.1", "--alarms", "3", "--json", str(path)])
    report.main()
    results = figures.read_figures("report", tmp_path)["results"]
    assert results["report_cpu_s"] > 0
    assert results["pdf_mb"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_analyse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short file is analysed and measured beside simulator and monitor, and in a batch."""
    path = tmp_path / "analyse.json"
    arguments = ["--hours", "0.01", "--peer-hours", "0.01", "--files", "2", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["analyse", *arguments])
    analyse.main()
    results = figures.read_figures("analyse", tmp_path)["results"]
    assert results["cpu_s"] > 0
    assert results["of_peer"] > 0
    assert results["batch_peak_mb"] > 50


@pytest.mark.slow
def test_pacing() -> None:
    """A simulator's packets are timed, and every one is counted."""
    assert pacing.codec(100)["decode_us"] > 0
    assert pacing.real_time(1, 1.0)["beds"] == 1
    assert pacing.full_speed(1, 100)["packets"] >= 100


@pytest.mark.slow
@pytest.mark.usefixtures("forked_commands")
def test_bridge() -> None:
    """The samples of a port reach a subscriber, none is lost, and each has a latency."""
    figures = bridge.measure(2.0, 250.0, 2)
    assert figures["lost"] == 0
    assert figures["samples"] == pytest.approx(500, rel=0.2)
    assert 0 < figures["latency_p50_ms"] < figures["latency_p99_ms"] < 1000


def test_calibration_of_several_nets() -> None:
    """Each net has a line with its beats and errors, and the last line is the constant."""
    random = np.random.default_rng(0)
    parts = []
    for _ in range(2):
        probabilities = random.dirichlet(np.ones(5), 500)
        parts.append((random.integers(0, 5, 500), probabilities))
    lines = calibration.calibration_lines(["one", "two"], parts)
    assert [line.split(",")[0] for line in lines[:2]] == ["one: 500 beats", "two: 500 beats"]
    assert "from the others" in lines[0]
    assert lines[-1].splitlines()[-1].startswith("TEMPERATURE = 4.")


def test_what_is_surely_normal_is_compared_with_all_that_is_heard() -> None:
    """Six beats: the numbers are sure of three, one of which the wave would have called V, and it was."""
    first, second = torch.zeros(6, 6), torch.zeros(6, 6)
    first[[0, 1, 3], 0] = 9
    first[[2, 4, 5], 2] = 30
    second[:3, 0] = 7
    cuts = tuple(BeatCandidate(0, 100 * place, 128, 100 * place + 90, None, 100 * place + 30) for place in range(6))
    found = LabelledCandidates(np.zeros((6, 1), np.float16), np.array([0, 0, 2, 0, 2, 2]), np.array(["100"] * 6), cuts)
    lines = list(surely_normal.comparison_lines(found, first, second))
    assert lines[0] == "6 beats heard in full: S Se - +P -, V Se 100.00% +P 100.00%"
    assert lines[1] == "0.70: 50.0% by numbers alone, 1 classes change: S Se - +P -, V Se 66.67% +P 100.00%"


def test_fibrillation_is_scored_without_a_signal() -> None:
    """Ten minutes of regular beats and ten of irregular ones, S beats among them: one true episode in every view."""
    random = np.random.default_rng(0)
    regular, irregular = np.full(750, 0.8), 0.7 * np.exp(0.2 * random.standard_normal(900))
    at = np.rint(250 * np.cumsum(np.concatenate([regular, irregular]))).astype(np.int64)
    labels = ["S" if beat % 50 == 0 else "N" for beat in range(len(at))]
    rhythm = AnnotationFile((0, int(at[749])), ("+", "+"), (0, 0), ("(N", "(AFIB"))
    record = fibrillation.RhythmRecord(250.0, at, labels, rhythm)
    for view in fibrillation.VIEWS["ltafdb"]:
        called = fibrillation.call_beats(record, view, 0)
        onset, *later = fibrillation.detect_fibrillation(record, called).samples
        assert abs(onset - int(at[749])) < 30 * 250
        assert later == []
    assert "S" not in fibrillation.call_beats(record, "S called N", 0)
    with_errors = fibrillation.call_beats(record, "errors", 0)
    assert with_errors[750:].count("S") > 60
    assert 0.1 < with_errors.count("Q") / len(at) < 0.2
