import json
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from agent.cli import models
from model.beats import dataset
from model.nets import checkpoint, checkpoint_card
from model.nets.beat_net import build_beat_net
from model.nets.checkpoint_card import ModelCard
from model.nets.net_size import NetSize
from model.records.wfdb_records import CLASSES
from model.training.class_scores import compute_class_metrics
from model.training.model_card import summarise_checkpoint
from model.training.onnx_export import ExportAgreement

NAMES = {"best": "random", "best-inter-patient": "inter-patient", "reproduction": "random"}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with three checkpoints, of two protocols."""
    monkeypatch.setattr(checkpoint_card, "WEIGHTS_FOLDER", tmp_path)
    matrix = torch.eye(len(CLASSES), dtype=torch.int64).numpy() * 9
    for name, protocol in NAMES.items():
        net = build_beat_net(NetSize(channels=(4, 4)), torch.device("cpu"))
        training = {"protocol": protocol, "recipe": name.removesuffix("-inter-patient"), "seed": 0, "epochs": 3}
        checkpoint.save_checkpoint(
            tmp_path / f"{name}.safetensors", net, ModelCard(name, net.size, training, compute_class_metrics(matrix))
        )
    return tmp_path


def printed(part: object, width: int = 80) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(part)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("shipped")
def test_protocols_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """Each protocol has a table of its own below its sentence, and every checkpoint stands once, in that of its own."""
    models.show_models("best", as_json=False)
    output = lines(capsys)
    heads = {protocol: output.index(text) for protocol, text in dataset.SPLIT_PROTOCOLS.items()}
    for name, protocol in NAMES.items():
        (row,) = (i for i, line in enumerate(output) if line.split()[:1] == [name])
        assert protocol == max((head, key) for key, head in heads.items() if head < row)[1]
        assert output[row].split()[-3:] == ["100.00%"] * 3


@pytest.mark.usefixtures("shipped")
def test_default_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """A star stands at the monitor's default alone; weights from elsewhere are named below."""
    models.show_models("best", as_json=False)
    assert [line.split()[:2] for line in lines(capsys) if "*" in line] == [["best", "*"], ["*", "the"]]
    models.show_models("own/net.safetensors", as_json=False)
    assert "the monitor's default is none of these: own/net.safetensors" in (output := lines(capsys))[-1]
    assert not any("*" in line for line in output)


@pytest.mark.usefixtures("shipped")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON every checkpoint is an object a line, with the protocol of its figures."""
    models.show_models("best", as_json=True)
    rows = [json.loads(line) for line in lines(capsys)]
    assert {row["name"]: row["protocol"] for row in rows} == NAMES
    assert [row["name"] for row in rows if row["default"]] == ["best"]
    assert all(row["accuracy"] == 1.0 and len(row["sha256"]) == 64 and row["bytes"] > 0 for row in rows)


def test_narrow_terminal(shipped: Path) -> None:
    """At 80 columns nothing is cut off."""
    found = [summarise_checkpoint(shipped / f"{name}.safetensors") | {"default": True} for name in NAMES]
    output = printed(
        models.build_checkpoint_tables([row | {"parameters": 234_567, "bytes": 940_000} for row in found], "best")
    )
    assert max(map(len, output)) <= 80
    assert not any("…" in line for line in output)
    assert sum("234,567" in line and " 940 " in line for line in output) == len(NAMES)
    assert all(any(line.strip().startswith(f"{name} *") for line in output) for name in NAMES)


@pytest.mark.slow
def test_all_shipped_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Every checkpoint of this package is listed with its parameters and figures."""
    models.show_models("reproduction", as_json=True)
    rows = [json.loads(line) for line in lines(capsys)]
    assert tuple(row["name"] for row in rows) == checkpoint_card.shipped_checkpoints()
    assert all(row["parameters"] > 0 and 0 < row["macro_f1"] <= row["accuracy"] < 1 for row in rows)
    assert len(printed(models.build_checkpoint_tables(rows, "reproduction"))) > len(rows)


def test_agreement() -> None:
    """What a quantised file gains and loses stands beside the figures of PyTorch."""
    before = compute_class_metrics(torch.eye(5, dtype=torch.int64).numpy() * 10)
    matrix = torch.eye(5, dtype=torch.int64).numpy() * 10
    matrix[1, 0], matrix[1, 1] = 5, 5
    output = printed(
        models.build_agreement_table(
            ExportAgreement(50, 0.5, 5, before, compute_class_metrics(matrix)), "int8", 200_000, 100_000
        )
    )
    rows = {line[:21].strip(): line[21:].split() for line in output}
    assert rows["accuracy"] == ["100.00%", "90.00%", "-10.00"]
    assert rows["recall S"] == ["100.00%", "50.00%", "-50.00"]
    assert rows["recall V"] == ["100.00%", "100.00%", "+0.00"]
    assert rows["size"] == ["200", "kB", "100", "kB", "0.50", "x"]
    assert any("ONNX int8" in line for line in output)
