from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.cli import models
from agent.core import config as configuration
from agent.training import live_export, live_run
from model.beats.templates import INPUTS
from model.nets import checkpoint, checkpoint_card
from model.nets.context_net import ContextNet
from model.records.resample import FS
from model.training import class_scores, onnx_export
from model.training.augmented_streams import AugmentedStream, StreamVariant, build_augmented_stream

onnx = pytest.importorskip("onnx", reason="needs pip install 'ecg-agent[export]'")
pytestmark = [
    pytest.mark.slow,
    *(
        pytest.mark.skipif(find_spec(name) is None, reason="needs pip install 'ecg-agent[export]'")
        for name in onnx_export.ONNX_PACKAGES
    ),
]

CPU = torch.device("cpu")
LIVE = checkpoint_card.find_checkpoint("live")
SIGNAL = configuration.load_config(None, {}).signal
SECONDS = 120


@cache
def short_stream(name: str, variant: StreamVariant, seed: int) -> AugmentedStream:
    """The first two minutes of a record."""
    whole = build_augmented_stream(name, variant, seed)
    inside = int(np.searchsorted(whole.beats, SECONDS * FS))
    return replace(whole, x=whole.x[: SECONDS * FS], beats=whole.beats[:inside], labels=whole.labels[:inside])


@pytest.fixture(autouse=True, scope="module")
def few_records() -> Iterator[None]:
    """Two short records to train on, two to test on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_run, "build_augmented_stream", short_stream)
        patch.setattr(live_run, "DS1", ("208", "119"))
        patch.setattr(live_run, "DS2", ("233", "200"))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The live net as ONNX."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("onnx") / "live.float32.onnx"
    models.show_export("live", SIGNAL, out, int8=False)
    return out


@pytest.fixture(scope="module")
def built(whole: Path) -> Iterator[None]:
    """Has every export write the graph of that one: to build one takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "build_onnx_graph", lambda _: onnx.load(whole))
        yield


@pytest.fixture(scope="module")
def default_export(tmp_path_factory: pytest.TempPathFactory, built: None) -> tuple[Path, str]:  # noqa: ARG001
    """The folder in which the live net was written as ONNX in eight bits without a name for it, and what was said."""
    folder, said = tmp_path_factory.mktemp("default"), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.chdir(folder)
        models.show_export("live", SIGNAL, None, int8=True)
    return folder, said.getvalue()


@pytest.fixture(scope="module")
def exported(whole: Path, default_export: tuple[Path, str]) -> dict[str, Path]:
    """The live net as ONNX, by precision."""
    return {"float32": whole, "int8": default_export[0] / "live.int8.onnx"}


def test_the_default_net_is_exported(default_export: tuple[Path, str]) -> None:
    """`ecg-agent export --int8` writes the monitor's default net, and says how many candidates it was compared on."""
    folder, said = default_export
    lines = said.splitlines()
    _, candidates = live_export.build_live_sides(checkpoint.load_checkpoint(LIVE, CPU)[1], SIGNAL, int8=False)
    assert f"{len(candidates.labels)} candidates of the detector on the test records, patients apart" in "\n".join(
        lines
    )
    assert "written live.int8.onnx" in lines
    assert [path.name for path in folder.iterdir()] == ["live.int8.onnx"]


def test_float32_agrees_on_every_candidate(exported: dict[str, Path]) -> None:
    """The outcome of each test candidate is PyTorch's, and so are the class metrics after the smoothing."""
    sides, candidates = live_export.build_live_sides(checkpoint.load_checkpoint(LIVE, CPU)[1], SIGNAL, int8=False)
    agreement = onnx_export.verify_onnx_export(
        exported["float32"], LIVE, sides.test, partial(live_run.measure_live_net, test=candidates)
    )
    assert agreement.exact
    assert agreement.beats == len(candidates.labels) > 300
    net, _ = checkpoint.load_checkpoint(LIVE, CPU)
    assert isinstance(net, ContextNet)
    expected = class_scores.predict_beat_scores(net, torch.from_numpy(sides.test.beats)).numpy()
    session = onnx_export.open_onnx_session(exported["float32"])
    for count in (1, 7, 300):
        (outputs,) = session.run(None, {"context": sides.test.beats[:count]})
        assert (outputs.dtype, outputs.shape) == (np.float32, (count, 6))
        np.testing.assert_allclose(outputs, expected[:count], atol=1e-4)
        np.testing.assert_allclose(np.exp(outputs).sum(axis=1), 1, atol=1e-5)


def test_int8_stays_near(exported: dict[str, Path]) -> None:
    """In eight bits few candidates get another outcome, and the file is less than half as large as the weights."""
    sides, candidates = live_export.build_live_sides(checkpoint.load_checkpoint(LIVE, CPU)[1], SIGNAL, int8=False)
    agreement = onnx_export.verify_onnx_export(
        exported["int8"], LIVE, sides.test, partial(live_run.measure_live_net, test=candidates)
    )
    assert not agreement.exact
    assert agreement.other_class < 0.03 * len(candidates.labels)
    assert exported["int8"].stat().st_size < LIVE.stat().st_size / 2


@pytest.mark.usefixtures("built")
def test_metrics_are_those_of_the_model_card(tmp_path: Path) -> None:
    """The export measures what a training measures: settled classes, with calibration and intervals."""
    card = checkpoint.load_checkpoint(LIVE, CPU)[1]
    sides, candidates = live_export.build_live_sides(card, SIGNAL, int8=False)
    agreement = live_export.export_live_net(LIVE, tmp_path / "live.onnx", sides, candidates, int8=False)
    net = checkpoint.load_checkpoint(LIVE, CPU)[0]
    assert isinstance(net, ContextNet)
    outcomes = class_scores.predict_beat_scores(net, torch.from_numpy(sides.test.beats)).numpy()
    assert agreement.pytorch == live_run.measure_live_net(outcomes, candidates)
    assert agreement.onnx["confusion"] == agreement.pytorch["confusion"]


def test_graph_is_standard(exported: dict[str, Path]) -> None:
    """Only operators of the standard ONNX domain, any number of candidates, and metadata that names the weights."""
    for precision, path in exported.items():
        model = onnx.load(path)
        shapes = {
            value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)
        }
        assert shapes == {"context": ["batch", INPUTS], "log_probabilities": ["batch", 6]}
        assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
        assert [(of.domain, of.version) for of in model.opset_import if of.domain == ""] == [("", 17)]
        assert not model.functions
        metadata = onnx_export.read_onnx_metadata(path)
        assert metadata["weights_sha256"] == checkpoint_card.digest_checkpoint(LIVE)
        assert (metadata["precision"], metadata["classes"]) == (precision, "N,S,V,F,Q")


def test_extreme_inputs_stay_finite(exported: dict[str, Path]) -> None:
    """The largest inputs that can occur give finite log-probabilities, near those of PyTorch."""
    net, _ = checkpoint.load_checkpoint(LIVE, CPU)
    random = np.random.default_rng(0)
    inputs = random.choice(np.array([-4, 4], np.float32), (200, INPUTS))
    expected = net(torch.from_numpy(inputs)).numpy()
    session = onnx_export.open_onnx_session(exported["float32"])
    outputs = onnx_export.run_onnx_session(session, inputs)
    assert np.isfinite(outputs).all()
    np.testing.assert_allclose(outputs, expected, atol=1e-3)
    assert expected.min() < -20


def test_sides_follow_the_checkpoint() -> None:
    """A net of a fold is tested on that fold, and only int8 builds candidates of training records."""
    card = checkpoint.load_checkpoint(LIVE, CPU)[1]
    sides, _ = live_export.build_live_sides(card, SIGNAL, int8=True)
    assert (set(sides.train.records), set(sides.test.records)) == ({"208", "119"}, {"233", "200"})
    fold = replace(card, training=card.training | {"fold": 1})
    sides, _ = live_export.build_live_sides(fold, SIGNAL, int8=False)
    assert (len(sides.train), set(sides.test.records)) == (0, {"119"})
