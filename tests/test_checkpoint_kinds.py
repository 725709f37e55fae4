import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from agent.analysis.torch_classifier import build_torch_classifier
from agent.cli.app import run_command_line
from model.beats.templates import INPUTS, WAVE
from model.errors import CheckpointError
from model.nets.beat_net import BeatNet
from model.nets.beat_net import build_beat_net as build_beat
from model.nets.checkpoint import load_beat_net, load_checkpoint, save_checkpoint
from model.nets.checkpoint_card import CONTEXT_INPUT, ModelCard, NetInput
from model.nets.context_net import ContextNet, build_context_net
from model.nets.net_size import CONTEXT_SIZE, NetSize

CPU = torch.device("cpu")
CARD = ModelCard(
    "made",
    CONTEXT_SIZE,
    {"command": "ecg-agent train-live", "seed": 0},
    {"accuracy": 0.5},
    CONTEXT_INPUT,
    kind="context",
)


@pytest.fixture(scope="module")
def net() -> ContextNet:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    made = build_context_net(CONTEXT_SIZE, CPU).eval()
    made.mean.normal_()
    made.spread.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="module")
def context(net: ContextNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a net that sees beats in their context."""
    path = tmp_path_factory.mktemp("weights") / "context.safetensors"
    save_checkpoint(path, net, CARD)
    return path


@pytest.fixture
def changed(context: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write the checkpoint with other entries in its card."""

    def write(**entries: Any) -> Path:
        with safetensors.safe_open(context, framework="pt") as file:
            card = json.loads(file.metadata()["ecg-agent"])
        save_file(load_file(context), tmp_path / "changed", {"ecg-agent": json.dumps(card | entries)})
        return tmp_path / "changed"

    return write


def test_round_trip(net: ContextNet, context: Path) -> None:
    """A checkpoint gives back its card and a net with the same scores, to the last bit, ready for inference."""
    loaded, card = load_checkpoint(context, CPU)
    inputs = torch.randn(9, INPUTS)
    assert card == CARD
    assert isinstance(loaded, ContextNet)
    assert torch.equal(loaded(inputs), net(inputs))
    assert torch.equal(loaded(inputs[:1]), net(inputs)[:1])
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.state_dict()["blocks.0.conv1.weight"].is_contiguous(memory_format=torch.channels_last)


def test_the_monitor_takes_it(net: ContextNet, context: Path) -> None:
    """The classifier of the pipeline knows the kind, and gives the net's own log-probabilities."""
    classifier, inputs = build_torch_classifier(*load_checkpoint(context, CPU), CPU), torch.randn(70, INPUTS)
    assert classifier.in_context
    said = torch.from_numpy(classifier(inputs.numpy()))
    assert torch.allclose(said, net(inputs), atol=1e-5)
    assert torch.allclose(said.exp().sum(1), torch.ones(70), atol=1e-5)


def test_load_beat(context: Path, tmp_path: Path) -> None:
    """A caller that needs a net of cut beats gets one, or an error of one line for a net of the other kind."""
    with pytest.raises(CheckpointError, match=r"^weights \S+ are of the live monitor's net, .*: choose others$"):
        load_beat_net(context, CPU)
    save_checkpoint(tmp_path / "beat", build_beat(NetSize(), CPU), ModelCard("beat", NetSize(), {}, {}))
    net, card = load_beat_net(tmp_path / "beat", CPU)
    assert isinstance(net, BeatNet)
    assert card.kind == "beat"


def test_a_card_without_a_kind_is_of_cut_beats(tmp_path: Path) -> None:
    """Checkpoints from before there were two kinds load as what they are."""
    path = tmp_path / "old"
    save_checkpoint(path, build_beat(NetSize(), CPU), ModelCard("old", NetSize(), {}, {}))
    with safetensors.safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["ecg-agent"])
    assert card.pop("kind") == "beat"
    save_file(load_file(path), path, {"ecg-agent": json.dumps(card)})
    assert load_checkpoint(path, CPU)[1].kind == "beat"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"kind": "rhythm"}, "broken description.*kind"),
        ({"kind": None}, "broken description.*kind"),
        ({"kind": "beat"}, "other beats or classes"),
        ({"kind": "beat", "input": asdict(NetInput())}, "other beats or classes"),
        ({"input": asdict(NetInput())}, "other beats or classes"),
        ({"input": asdict(replace(CONTEXT_INPUT, samples=WAVE + 1))}, "other beats or classes"),
        ({"input": asdict(replace(CONTEXT_INPUT, fs_hz=360))}, "other beats or classes"),
        ({"input": asdict(replace(CONTEXT_INPUT, normalisation="z score"))}, "other beats or classes"),
        ({"classes": ["N", "S", "V", "F", "Q", "no beat"]}, "other beats or classes"),
        ({"size": asdict(replace(CONTEXT_SIZE, samples=187))}, "other beats or classes"),
        ({"size": asdict(replace(CONTEXT_SIZE, channels=(24, 32)))}, "impossible size"),
        ({"size": asdict(replace(CONTEXT_SIZE, channels=(24, 32, 49)))}, "impossible size"),
        ({"size": asdict(replace(CONTEXT_SIZE, kernel=4))}, "impossible size"),
        ({"size": asdict(replace(CONTEXT_SIZE, dense=10**9))}, "impossible size"),
        ({"size": asdict(replace(CONTEXT_SIZE, classes=5))}, "impossible size"),
        ({"format": 1}, "format 1"),
    ],
)
def test_wrong_card(changed: Callable[..., Path], entries: dict[str, Any], reason: str) -> None:
    """Another kind, input or size than this program's is refused with the reason, in one line."""
    with pytest.raises(CheckpointError, match=rf"^weights \S+ .*{reason}.*$"):
        load_checkpoint(changed(**entries), CPU)


def test_tensors_of_the_other_kind(net: ContextNet, tmp_path: Path) -> None:
    """A card of one kind on a net of the other, or on one whose normalisation was not folded, does not fit."""
    beat = build_beat(NetSize(), CPU)
    for made, card in (
        (beat, CARD),
        (net, ModelCard("made", NetSize(), {}, {})),
        (build_context_net(CONTEXT_SIZE, CPU, norm=True), CARD),
    ):
        save_checkpoint(tmp_path / "wrong", made, card)
        with pytest.raises(CheckpointError, match="do not fit"):
            load_checkpoint(tmp_path / "wrong", CPU)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite(context: Path, tmp_path: Path, value: float) -> None:
    """Values that are not finite are refused, also in the divisor of the numbers."""
    with safetensors.safe_open(context, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(context)
    tensors["spread"][3] = value
    save_file(tensors, tmp_path / "broken", metadata)
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(tmp_path / "broken", CPU)


def test_transfer_needs_cut_beats(
    context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only a net of cut beats can be transferred: one line says so before any data is read or any file written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ecg-agent", "transfer", "nothing.npz", "--weights", str(context)])
    with pytest.raises(SystemExit) as ended:
        run_command_line()
    out, error = capfd.readouterr()
    assert ended.value.code == CheckpointError.exit_code == 7
    assert out == ""
    assert error.startswith(f"ecg-agent: weights {context} are of the live monitor's net")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
