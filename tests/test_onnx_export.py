import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from model.beats import dataset
from model.beats.dataset import BeatSet, DataSplit
from model.errors import CheckpointError, ConfigError
from model.nets import checkpoint
from model.nets.beat_net import build_beat_net
from model.nets.checkpoint_card import ModelCard, parse_card
from model.nets.net_size import NetSize
from model.training import class_scores, onnx_export

onnx = pytest.importorskip("onnx", reason="needs pip install 'ecg-agent[export]'")
pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.skipif(find_spec(name) is None, reason="needs pip install 'ecg-agent[export]'")
        for name in onnx_export.ONNX_PACKAGES
    ),
]

CPU = torch.device("cpu")
SIZE = NetSize(channels=(8, 8, 6), dense=8)


def save(path: Path, seed: int, size: NetSize = SIZE) -> Path:
    """A checkpoint with random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    checkpoint.save_checkpoint(
        path, build_beat_net(size, CPU), ModelCard("made", size, {"protocol": "random"}, {"accuracy": 0.5})
    )
    return path


def made_beats(count: int, seed: int) -> BeatSet:
    """Random beats that are right for the data type, of all classes in turn."""
    beats = np.random.default_rng(seed).random((count, 187), dtype=np.float32)
    return BeatSet(beats, np.arange(count) % 5, np.full(count, "100"))


@pytest.fixture(scope="module")
def sides() -> DataSplit:
    return DataSplit(made_beats(50, 0), made_beats(300, 1))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("weights") / "made.safetensors", seed=1)


@pytest.fixture(scope="module")
def exported(weights: Path, sides: DataSplit) -> Path:
    out = weights.with_name("made.onnx")
    onnx_export.export_onnx(weights, out, sides)
    return out


@pytest.fixture(scope="module")
def quantised(weights: Path, sides: DataSplit, exported: Path) -> Path:
    out = weights.with_name("made.int8.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "build_onnx_graph", lambda _: onnx.load(exported))
        onnx_export.export_onnx(weights, out, sides, int8=True)
    return out


@pytest.fixture
def built(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every export write the graph that was exported: to build one takes seconds."""
    monkeypatch.setattr(onnx_export, "build_onnx_graph", lambda _: onnx.load(exported))


@pytest.fixture
def changed(exported: Path, tmp_path: Path) -> Callable[[float], Path]:
    """Writes the exported file with one of its biases moved."""

    def write(by: float) -> Path:
        model = onnx.load(exported)
        (bias,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("output.bias"))
        moved = onnx.numpy_helper.to_array(bias) + np.array([by, 0, 0, 0, 0], dtype=np.float32)
        bias.CopyFrom(onnx.numpy_helper.from_array(moved, bias.name))
        onnx.save(model, tmp_path / "changed.onnx")
        return tmp_path / "changed.onnx"

    return write


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "partial" in path.name]


def test_same_scores(weights: Path, exported: Path, sides: DataSplit) -> None:
    """Scores and probabilities are those of PyTorch but for rounding, whatever the batch."""
    net, _ = checkpoint.load_beat_net(weights, CPU)
    scores = class_scores.predict_beat_scores(net, torch.from_numpy(sides.test.beats))
    for count in (1, 7, 300):
        got = onnx_export.open_onnx_session(exported).run(None, {"beats": sides.test.beats[:count]})
        for values, expected in zip(got, (scores, torch.softmax(scores, dim=1)), strict=True):
            assert values.dtype == np.float32
            np.testing.assert_allclose(values, expected[:count], atol=1e-5)


def test_graph(exported: Path) -> None:
    """The graph is one that small runtimes know, takes any number of beats, and tells nothing of our folders."""
    model = onnx.load(exported)
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"beats": ["batch", 187], "scores": ["batch", 5], "probabilities": ["batch", 5]}
    assert (model.ir_version, [(of.domain, of.version) for of in model.opset_import]) == (8, [("", 17)])
    counts = Counter(node.op_type for node in model.graph.node)
    assert set(counts) == {"Unsqueeze", "Conv", "Relu", "Add", "MaxPool", "Reshape", "Gemm", "Softmax"}
    assert (counts["Conv"], counts["Add"], counts["MaxPool"], counts["Gemm"]) == (8, 3, 3, 3)
    assert str(Path(onnx_export.__file__).parent).encode() not in exported.read_bytes()


def test_metadata(weights: Path, exported: Path, quantised: Path) -> None:
    """Both files say what they take, what they give and what they were made from."""
    digest = onnx_export.read_onnx_metadata(exported)["weights_sha256"]
    assert len(digest) == 64
    for path, precision in ((exported, "float32"), (quantised, "int8")):
        said = onnx_export.read_onnx_metadata(path)
        _, card = checkpoint.load_beat_net(weights, CPU)
        expected = {
            "name": "made",
            "classes": "N,S,V,F,Q",
            "fs_hz": "125",
            "samples": "187",
            "normalisation": card.input.normalisation,
            "precision": precision,
            "weights_sha256": digest,
        }
        assert {key: said[key] for key in expected} == expected
        assert parse_card(path, said) == card


def test_agreement(weights: Path, exported: Path, sides: DataSplit) -> None:
    """Both sides of the comparison are judged on the same beats, against their true classes."""
    found = onnx_export.verify_onnx_export(exported, weights, sides.test)
    assert found.exact
    assert (found.beats, found.other_class) == (300, 0)
    assert found.pytorch == found.onnx
    assert sum(map(sum, found.onnx["confusion"])) == 300


@pytest.mark.parametrize("by", [0.01, 100.0, float("nan")])
def test_changed_graph(weights: Path, changed: Callable[[float], Path], sides: DataSplit, by: float) -> None:
    """A graph that says something else is noticed, also where no class changes."""
    assert not onnx_export.verify_onnx_export(changed(by), weights, sides.test).exact


def test_large_change_is_counted(weights: Path, changed: Callable[[float], Path], sides: DataSplit) -> None:
    """Beats that get another class are counted, and the figures are those of the file."""
    said = onnx_export.run_onnx_session(onnx_export.open_onnx_session(changed(100.0)), sides.test.beats).argmax(axis=1)
    found = onnx_export.verify_onnx_export(changed(100.0), weights, sides.test)
    ours = np.array(found.pytorch["confusion"])
    assert (said == 0).all()
    assert found.other_class == 300 - ours[:, 0].sum() > 0
    assert found.onnx["recall"]["N"] == 1
    assert found.largest_difference == pytest.approx(100, abs=0.01)


@pytest.mark.usefixtures("built")
def test_disagreeing_file_is_not_handed_over(sides: DataSplit, tmp_path: Path) -> None:
    """Where the graph says something else the earlier file stays, and nothing is left beside it."""
    other = save(tmp_path / "other.safetensors", seed=2)
    out = tmp_path / "net.onnx"
    out.write_text("earlier")
    with pytest.raises(
        CheckpointError, match=r"^.*is not written: it differs from .* in a score and in \d+ classes.*$"
    ):
        onnx_export.export_onnx(other, out, sides)
    assert out.read_text() == "earlier"
    assert leftovers(tmp_path) == []


def test_earlier_file_is_replaced(weights: Path, exported: Path, sides: DataSplit, tmp_path: Path) -> None:
    """A good export takes the place of an earlier file, and is the same each time."""
    out = tmp_path / "net.onnx"
    out.write_text("earlier")
    onnx_export.export_onnx(weights, out, sides)
    assert out.read_bytes() == exported.read_bytes()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"no graph at all", None], ids=["empty", "text", "cut"])
def test_broken_file(weights: Path, exported: Path, sides: DataSplit, tmp_path: Path, content: bytes | None) -> None:
    """A file that is no graph is refused in one line."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(exported.read_bytes()[:5000] if content is None else content)
    with pytest.raises(CheckpointError, match=r"^.*(export it again|was not made from).*$"):
        onnx_export.verify_onnx_export(path, weights, sides.test)


def test_missing_file(weights: Path, sides: DataSplit, tmp_path: Path) -> None:
    """So is one that is not there."""
    with pytest.raises(CheckpointError, match=r"^.*export it again$"):
        onnx_export.verify_onnx_export(tmp_path / "none.onnx", weights, sides.test)


def test_file_of_other_weights(exported: Path, sides: DataSplit, tmp_path: Path) -> None:
    """An ONNX file is compared only with the checkpoint it was made from."""
    other = save(tmp_path / "other.safetensors", seed=2)
    with pytest.raises(CheckpointError, match=r"^.*was not made from .*: export it again$"):
        onnx_export.verify_onnx_export(exported, other, sides.test)


def test_int8(weights: Path, exported: Path, quantised: Path, sides: DataSplit) -> None:
    """In eight bits the scores come near those of the net; their values are still as many as the beats."""
    exact, rounded = (
        onnx_export.run_onnx_session(onnx_export.open_onnx_session(path), sides.test.beats)
        for path in (exported, quantised)
    )
    assert not onnx_export.verify_onnx_export(quantised, weights, sides.test).exact
    assert np.abs(exact - rounded).max() < 0.1 * np.ptp(exact)
    assert len(np.unique(rounded[:, 0])) > 256
    types = {tensor.data_type for tensor in onnx.load(quantised).graph.initializer if "conv" in tensor.name}
    assert onnx.TensorProto.INT8 in types
    assert onnx.TensorProto.FLOAT not in {
        tensor.data_type for tensor in onnx.load(quantised).graph.initializer if tensor.name.endswith("conv1.weight")
    }


def test_int8_is_smaller(sides: DataSplit, tmp_path: Path) -> None:
    """The file of a net of the real size is less than half as large."""
    weights = save(tmp_path / "real.safetensors", seed=3, size=NetSize())
    onnx_export.export_onnx(weights, out := tmp_path / "real.onnx", sides, int8=True)
    assert out.stat().st_size < weights.stat().st_size / 2


def test_calibration_beats() -> None:
    """Ranges are taken from as many beats of each class, all where there are fewer, the same at every call."""
    train = made_beats(3000, 3)
    few = train.take(np.flatnonzero((train.labels != 3) | (np.arange(3000) < 100)))
    drawn = onnx_export.calibration_beats(few)
    known = {beat.tobytes(): label for beat, label in zip(few.beats, few.labels.tolist(), strict=True)}
    assert Counter(known[beat.tobytes()] for beat in drawn) == {0: 400, 1: 400, 2: 400, 3: 20, 4: 400}
    np.testing.assert_array_equal(drawn, onnx_export.calibration_beats(few))
    assert not np.array_equal(drawn, onnx_export.calibration_beats(few, seed=1))


@pytest.mark.usefixtures("built")
def test_calibration_takes_no_test_beat(
    weights: Path, sides: DataSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What int8 is made of is drawn from the training side alone."""
    asked: list[BeatSet] = []

    def drawn(train: BeatSet) -> onnx_export.BeatArray:
        asked.append(train)
        return train.beats

    monkeypatch.setattr(onnx_export, "calibration_beats", drawn)
    onnx_export.export_onnx(weights, tmp_path / "net.onnx", sides, int8=True)
    assert asked == [sides.train]


@pytest.mark.parametrize("named", ["inter-patient", dataset.SPLIT_PROTOCOLS["inter-patient"]])
def test_sides_of_the_checkpoint(named: str) -> None:
    """A net that was trained with patients apart is calibrated and tested with patients apart."""
    beats = replace(made_beats(40, 4), records=np.repeat(["101", "100", "102", "223"], 10))
    card = ModelCard("made", SIZE, {"protocol": named, "split_seed": 0}, {})
    found = onnx_export.split_by_card(card, beats)
    assert set(found.train.records) == {"101", "223"}
    assert set(found.test.records) == {"100"}


@pytest.mark.parametrize("missing", onnx_export.ONNX_PACKAGES)
def test_missing_package(
    weights: Path, sides: DataSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Without the packages of the extra one line says what to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=rf"^ONNX needs {missing}: pip install 'ecg-agent\[export\]'$"):
        onnx_export.export_onnx(weights, tmp_path / "net.onnx", sides)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("name", ["none/net.onnx", "file/net.onnx", "folder.onnx", "made.safetensors"])
def test_unwritable(weights: Path, sides: DataSplit, tmp_path: Path, name: str) -> None:
    """A path that cannot be written is refused in one line; weights are never overwritten."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ConfigError, match=r"^cannot write .*\(--out\)$"):
        onnx_export.export_onnx(weights, tmp_path / name, sides)
    assert leftovers(tmp_path) == []


def test_silence(weights: Path, sides: DataSplit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What exporter and quantiser have to say does not reach the user."""
    onnx_export.export_onnx(weights, tmp_path / "net.onnx", sides, int8=True)
    assert capfd.readouterr() == ("", "")
