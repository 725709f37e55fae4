import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.beats.templates import INPUTS
from model.errors import CheckpointError
from model.nets import checkpoint, checkpoint_card
from model.nets.beat_net import BeatNet, build_beat_net
from model.nets.checkpoint import load_checkpoint, save_checkpoint
from model.nets.checkpoint_card import ModelCard, NetInput
from model.nets.net_size import NetSize

CPU = torch.device("cpu")
CARD = ModelCard("made", NetSize(), {"command": "ecg-agent train", "seed": 0}, {"accuracy": 0.5})


@pytest.fixture(scope="session")
def net() -> BeatNet:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    return build_beat_net(NetSize(), CPU).eval()


@pytest.fixture(scope="session")
def valid(net: BeatNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good checkpoint."""
    path = tmp_path_factory.mktemp("weights") / "made.safetensors"
    save_checkpoint(path, net, CARD)
    return path


@pytest.fixture
def changed(valid: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write the checkpoint with other entries in its card, or other tensors."""

    def write(entries: dict[str, Any] | None = None, tensors: dict[str, Tensor] | None = None) -> Path:
        with safetensors.safe_open(valid, framework="pt") as file:
            card = json.loads(file.metadata()["ecg-agent"])
        metadata = {"ecg-agent": json.dumps(card | (entries or {}))}
        save_file(load_file(valid) | (tensors or {}), tmp_path / "changed.safetensors", metadata)
        return tmp_path / "changed.safetensors"

    return write


def refused(path: Path, reason: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^.*{reason}.*$"):
        load_checkpoint(path, CPU)


def test_round_trip(net: BeatNet, valid: Path) -> None:
    """A checkpoint gives back its card and a net with the same scores, to the last bit, ready for inference."""
    loaded, card = load_checkpoint(valid, CPU)
    beats = torch.rand(9, 187)
    assert card == CARD
    assert torch.equal(loaded(beats), net(beats))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_other_sizes(tmp_path: Path) -> None:
    """A net of another size is rebuilt from its card."""
    size = NetSize(channels=(4, 6), kernel=3, dense=8)
    save_checkpoint(tmp_path / "small.safetensors", build_beat_net(size, CPU), replace(CARD, size=size))
    loaded, card = load_checkpoint(tmp_path / "small.safetensors", CPU)
    assert card.size == loaded.size == size
    assert loaded(torch.rand(2, 187)).shape == (2, 5)


def test_kernels_are_laid_out_for_speed(valid: Path) -> None:
    """A loaded net has the memory layout of a trained one, and so its speed and its last bits."""
    kernel = load_checkpoint(valid, CPU)[0].state_dict()["blocks.0.conv1.weight"]
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_card_says_what_it_reads(valid: Path) -> None:
    """The card names rate, cut, normalisation, leads and classes, as plain JSON in the file's metadata."""
    with safetensors.safe_open(valid, framework="pt") as file:
        card = json.loads(file.metadata()["ecg-agent"])
    assert card["classes"] == ["N", "S", "V", "F", "Q"]
    assert card["input"] == json.loads(json.dumps(asdict(NetInput())))
    assert (card["input"]["fs_hz"], card["input"]["samples"]) == (125, 187)


def test_saving_is_one_step(net: BeatNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the earlier file."""
    path = tmp_path / "made.safetensors"
    save_checkpoint(path, net, CARD)
    before = path.read_bytes()

    def fail(_: object, partial: Path, **__: object) -> None:
        partial.write_bytes(before[:100])
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, net, CARD)
    assert path.read_bytes() == before


def test_missing(tmp_path: Path) -> None:
    """A missing file, or a folder, is refused."""
    refused(tmp_path / "nothing.safetensors", "cannot read weights .*nothing")
    refused(tmp_path, "cannot read weights")


@pytest.mark.parametrize("name", ["nothing", "", "a\0b", "x" * 5000, "~nobody-here/x"])
def test_find_unknown(name: str) -> None:
    """Weights that are neither shipped nor a file, whatever their name looks like, are refused with a hint."""
    with pytest.raises(CheckpointError, match=r"^no weights .*--weights"):
        checkpoint_card.find_checkpoint(name)


def test_find(valid: Path) -> None:
    """Weights are found by path, and by name where they are shipped."""
    assert checkpoint_card.find_checkpoint(str(valid)) == valid
    assert [checkpoint_card.find_checkpoint(name).stem for name in checkpoint_card.shipped_checkpoints()] == list(
        checkpoint_card.shipped_checkpoints()
    )


@pytest.mark.parametrize("left", [0, 7, 8, 100, 2_000, 100_000, -1])
def test_cut_short(valid: Path, tmp_path: Path, left: int) -> None:
    """A file that ends too early is refused, wherever it ends."""
    (tmp_path / "cut").write_bytes(valid.read_bytes()[:left])
    refused(tmp_path / "cut", "cannot read weights")


def test_huge(tmp_path: Path) -> None:
    """A file larger than any checkpoint is refused before it is read."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(checkpoint_card.LARGEST_CHECKPOINT + 1)
    refused(tmp_path / "huge", "too large")


def test_foreign_safetensors(valid: Path, tmp_path: Path) -> None:
    """A safetensors file without a description of ecg-agent is reported as such."""
    save_file(load_file(valid), tmp_path / "bare")
    refused(tmp_path / "bare", "no checkpoint of ecg-agent")
    save_file(load_file(valid), tmp_path / "other", {"format": "pt"})
    refused(tmp_path / "other", "no checkpoint of ecg-agent")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": 1}', '{"training": ' + "[" * 100_000], ids=range(6))
def test_broken_description(valid: Path, tmp_path: Path, text: str) -> None:
    """A description that is not JSON, or not that of a checkpoint, is refused."""
    save_file(load_file(valid), tmp_path / "broken", {"ecg-agent": text})
    refused(tmp_path / "broken", "broken description")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"format": 1}, "have format 1, not 2"),
        ({"classes": ["N", "S", "V", "Q", "F"]}, "other beats or classes"),
        ({"classes": ["N", "S", "V", "F"]}, "other beats or classes"),
        ({"input": asdict(NetInput(fs_hz=360))}, "other beats or classes"),
        ({"input": asdict(NetInput(samples=200))}, "other beats or classes"),
        ({"input": asdict(NetInput(normalisation="z score"))}, "other beats or classes"),
        ({"size": asdict(NetSize(samples=200))}, "other beats or classes"),
        ({"training": []}, "broken description"),
        ({"size": asdict(NetSize()) | {"channels": 1.5}}, "broken description"),
    ],
)
def test_wrong_card(changed: Callable[..., Path], entries: dict[str, Any], reason: str) -> None:
    """Another format, other classes in another order, another rate or cut: refused with the reason."""
    refused(changed(entries), reason)


@pytest.mark.parametrize(
    "size",
    [
        {"channels": []},
        {"channels": [32, 0]},
        {"channels": [-32]},
        {"channels": [10**9]},
        {"kernel": 4},
        {"kernel": 0},
        {"channels": [32] * 6},
        {"channels": [32] * 4_000},
        {"dense": 0},
        {"classes": 4},
        {"classes": 10**30},
    ],
)
def test_impossible_sizes(changed: Callable[..., Path], size: dict[str, Any]) -> None:
    """Impossible sizes of a net are refused at once."""
    refused(changed({"size": asdict(NetSize()) | size}), "impossible size|broken description")


@pytest.mark.parametrize(
    "size",
    [
        {"channels": [31] * 5},
        {"channels": [32, 32, 32, 32, 64]},
        {"channels": [4096] * 5, "kernel": 4095},
        {"kernel": 3},
        {"channels": [32] * 4},
        {"dense": 16},
    ],
)
def test_sizes_that_do_not_fit(changed: Callable[..., Path], size: dict[str, Any]) -> None:
    """Sizes other than those of the weights are refused, without taking the memory that they claim."""
    refused(changed({"size": asdict(NetSize()) | size}), "do not fit")


@pytest.mark.parametrize(
    "tensors",
    [
        {"output.bias": torch.zeros(4)},
        {"output.bias": torch.zeros(5, 1)},
        {"output.bias": torch.zeros(5, dtype=torch.float64)},
        {"output.bias": torch.zeros(5, dtype=torch.complex64)},
        {"output.bias": torch.zeros(5).to(torch.float8_e4m3fn)},
        {"another": torch.zeros(1)},
    ],
    ids=["shape", "dimensions", "float64", "complex", "float8", "another"],
)
def test_wrong_tensors(changed: Callable[..., Path], tensors: dict[str, Tensor]) -> None:
    """A tensor of another shape or type, or one too many, is refused."""
    refused(changed(tensors=tensors), "do not fit")


def test_missing_tensor(valid: Path, tmp_path: Path) -> None:
    """A tensor too few is refused."""
    with safetensors.safe_open(valid, framework="pt") as file:
        metadata = file.metadata()
    save_file({k: v for k, v in load_file(valid).items() if k != "conv.bias"}, tmp_path / "less", metadata)
    refused(tmp_path / "less", "do not fit")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_not_finite(changed: Callable[..., Path], value: float) -> None:
    """Weights that are not finite are refused."""
    refused(changed(tensors={"output.bias": torch.tensor([0, 0, value, 0, 0])}), "not finite")


@pytest.mark.parametrize("name", checkpoint_card.shipped_checkpoints())
@pytest.mark.parametrize(
    ("factor", "names", "reason"),
    [
        (0.0, "", "hold nothing but zeros"),
        (0.0, "output alone", "give every beat the same scores"),
        (0.0, "dense1 alone1", "give every beat the same scores"),
        (float("nan"), "", "not finite, in "),
        (float("inf"), "output", "not finite, in output"),
        (1e20, "dense1 dense2 output", "so large"),
    ],
    ids=["zeros", "constant", "blind", "nan", "inf", "large"],
)
def test_values_that_no_training_gives(tmp_path: Path, name: str, factor: float, names: str, reason: str) -> None:
    """The line says what is wrong with the values of weights: zeros are not called large."""
    path = checkpoint_card.find_checkpoint(name)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    made = {
        key: tensor * factor if not names or key.partition(".")[0] in names.split() else tensor
        for key, tensor in load_file(path).items()
    }
    save_file(made, tmp_path / "w.safetensors", metadata)
    refused(tmp_path / "w.safetensors", reason)


def test_a_spread_below_zero(tmp_path: Path) -> None:
    """Inputs are not divided by what is no spread."""
    path = checkpoint_card.find_checkpoint("live")
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for value in (0.0, -1.0):
        tensors = load_file(path)
        tensors["spread"][3] = value
        save_file(tensors, tmp_path / "w", metadata)
        refused(tmp_path / "w", "a spread that is not above 0")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 6_000), st.integers(0, 255)), max_size=5),
    st.one_of(st.none(), st.integers(0, 250_000)),
)
@example([(7, 255)], None)
@example([(0, 0)], None)
def test_damaged_files(valid: Path, tmp_path: Path, changes: list[tuple[int, int]], left: int | None) -> None:
    """A file with changed bytes, most of them in its description, or a truncated one either loads or is refused."""
    content = bytearray(valid.read_bytes())
    for position, value in changes:
        content[position] = value
    (tmp_path / "damaged").write_bytes(content[:left])
    with contextlib.suppress(CheckpointError):
        load_checkpoint(tmp_path / "damaged", CPU)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=500))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    """Bytes that are not a safetensors file are refused."""
    (tmp_path / "random").write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "random", CPU)


@pytest.mark.parametrize("name", checkpoint_card.shipped_checkpoints())
def test_shipped_weights(name: str) -> None:
    """Shipped weights load, and their card says how to make them again and from which data."""
    net, card = load_checkpoint(checkpoint_card.find_checkpoint(name), CPU)
    assert card.name == name
    assert card.training["command"].startswith("ecg-agent train")
    assert isinstance(card.training["seed"], int)
    assert len(card.training["train_sha256"]) == len(card.training["test_sha256"]) == 64
    assert 0 < card.metrics["accuracy"] <= 1
    assert torch.isfinite(net(torch.rand(3, 187 if card.kind == "beat" else INPUTS))).all()
