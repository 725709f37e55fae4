import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_figures import made_up_report

from model.errors import CheckpointError
from model.nets.beat_net import build_beat_net
from model.nets.checkpoint import save_checkpoint
from model.nets.checkpoint_card import ModelCard
from model.nets.net_size import NetSize
from model.training import model_card

CPU = torch.device("cpu")


def checkpoint(path: Path, report: dict[str, Any], size: NetSize | None = None) -> Path:
    """A checkpoint with random weights and the card of a report."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = build_beat_net(size or NetSize(), CPU)
    save_checkpoint(path, net, ModelCard(report["name"], net.size, report["training"], report["test"]))
    return path


def written(path: Path, report: dict[str, Any]) -> str:
    """The card of a report on one line."""
    return " ".join(model_card.render_model_card(checkpoint(path / "made.safetensors", report)).split())


def test_what_a_card_says(tmp_path: Path) -> None:
    """The card has the story of the checkpoint: file, command, recipe, data, figures with intervals, and limits."""
    report = made_up_report()
    found = written(tmp_path, report)
    assert hashlib.sha256((tmp_path / "made.safetensors").read_bytes()).hexdigest() in found
    low, high = report["test"]["intervals"]["accuracy"]
    for said in (
        "# Model card: made",
        "55,013",
        "92, 44, 20, 8, 2",
        "187 samples at 125 Hz",
        "ecg-agent train --run runs/made",
        "Recipe `reproduction`: 12 epochs, batches of 128, Adam, constant learning rate 0.001, cross-entropy.",
        "89.7 % of the training beats of class N were left out",
        "| N | 7,471 | 100 |",
        "a" * 64,
        "b" * 64,
        f"| accuracy | {report['test']['accuracy']:.2%}".replace("%", " %"),
        f"{100 * low:.1f} to {100 * high:.1f}",
        "last 10 epochs, mean ± sd",
        "90.00 ± 1.23 %",
        "1,000 bootstrap draws of the 245 test beats",
        "| **N** | 90 | 4 | 3 | 2 | 1 |",
        f"Expected calibration error {report['test']['calibration']['ece']:.2%}".replace("%", " %"),
        "not a medical device",
    ):
        assert said in found


def test_recipe_in_words(tmp_path: Path) -> None:
    """What a recipe has is said, and what it has not is not."""
    changed: dict[str, Any] = {
        "schedule": "one-cycle",
        "weight_decay": 0.02,
        "norm": True,
        "augment": 1.0,
        "average": 0.999,
    }
    found = written(tmp_path, made_up_report(recipe="best", drop_normal=0, **changed))
    for said in ("AdamW with weight decay 0.02", "one cycle", "batch normalisation", "strength 1", "decay 0.999"):
        assert said in found
    assert "left out against imbalance" not in found


def test_the_protocol_decides_what_is_said(tmp_path: Path) -> None:
    """A random split says that the patients are the same; the other one, whose it is and what class Q is worth."""
    known = written(tmp_path, made_up_report())
    assert "same patients are on both sides" in known
    assert "10.1109/TBME.2004.827359" not in known
    apart = written(tmp_path, made_up_report("inter-patient"))
    assert "10.1109/TBME.2004.827359" in apart
    assert "same patients are on both sides" not in apart
    assert "bootstrap draws of the 20 test records" in apart
    assert "over the classes with test beats: N, S, V, F." in apart
    assert "| Q | 0 | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} |" in apart
    assert "Class Q is hardly present" in apart


def test_a_fold_is_told(tmp_path: Path) -> None:
    """Figures of a fold of the training side are not given out for those of the test side."""
    assert "fold 2 (counted from 0)" in written(tmp_path, made_up_report(fold=2))
    assert "fold" not in written(tmp_path, made_up_report()).split("## Protocol")[1].split("## Figures")[0]


def test_lines_are_short(tmp_path: Path) -> None:
    """Text is wrapped; only table rows and hashes may be long."""
    lines = model_card.render_model_card(
        checkpoint(tmp_path / "made.safetensors", made_up_report("inter-patient"))
    ).splitlines()
    assert not [line for line in lines if len(line) > 120 and not line.startswith("|")]


def test_summary(tmp_path: Path) -> None:
    """A row of a table of models."""
    report = made_up_report("inter-patient")
    path = checkpoint(tmp_path / "made.safetensors", report, NetSize(channels=(8, 16), dense=24))
    content, found = path.read_bytes(), model_card.summarise_checkpoint(path)
    assert {key: found[key] for key in ("name", "protocol", "recipe", "seed", "epochs", "fold")} == {
        "name": "made",
        "protocol": "inter-patient",
        "recipe": "reproduction",
        "seed": 3,
        "epochs": 12,
        "fold": None,
    }
    assert {key: found[key] for key in ("accuracy", "macro_f1", "balanced_accuracy", "f1")} == {
        key: report["test"][key] for key in ("accuracy", "macro_f1", "balanced_accuracy", "f1")
    }
    assert (found["bytes"], found["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    convolutions = (8 * 5 + 8) + 2 * (8 * 8 * 5 + 8) + (16 * 8 * 5 + 16) + (16 * 16 * 5 + 16) + 16 * 8
    dense = (16 * 44 * 24 + 24) + (24 * 24 + 24) + (24 * 5 + 5)
    assert found["parameters"] == convolutions + dense


@pytest.mark.parametrize("part", ["training", "test"])
@pytest.mark.parametrize("read", [model_card.render_model_card, model_card.summarise_checkpoint])
def test_a_checkpoint_that_says_too_little(tmp_path: Path, part: str, read: Any) -> None:
    """Weights without their story are one clear error."""
    path = checkpoint(tmp_path / "made.safetensors", made_up_report() | {part: {"accuracy": "?"}})
    with pytest.raises(
        CheckpointError,
        match=r"^weights .* do not say how they were trained and tested: (KeyError|ValueError|UndefinedError).*$",
    ):
        read(path)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m model.training.model_card WEIGHTS` prints the card; anything else is a line and an exit code."""
    path = checkpoint(tmp_path / "made.safetensors", made_up_report())
    assert model_card.main([str(path)]) == 0
    assert capsys.readouterr().out == model_card.render_model_card(path)
    assert model_card.main(["no such weights"]) == CheckpointError.exit_code
    assert capsys.readouterr().err.startswith("no weights 'no such weights'")
    assert model_card.main([]) == 2
    assert capsys.readouterr().err == "usage: python -m model.training.model_card WEIGHTS\n"
