"""Write a checkpoint as an ONNX file, for devices without PyTorch. The file is kept only if it agrees with PyTorch.

| kind of net | input | outputs |
| --- | --- | --- |
| `beat` | `beats` (batch, 187) float32 in 0..1 | `scores` and `probabilities` (batch, 5) float32 |
| `context` | `context` (batch, INPUTS) float32, see `model.beats.templates` | `log_probabilities` (batch, 6) float32 |

All operators are of the standard ONNX domain. The metadata describes the input and names the checkpoint by its hash. As
`int8`, weights and activations are integers (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", doi:10.1109/CVPR.2018.00286); training beats give the ranges of the
activations.

Only this module needs the packages of the extra `export`.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.beats import dataset, templates
from model.beats.dataset import BeatSet, DataSplit
from model.errors import CheckpointError, ConfigError
from model.files import write_atomically
from model.nets.beat_net import BeatNet, DenseLayer
from model.nets.checkpoint import load_checkpoint
from model.nets.checkpoint_card import ModelCard, NetKind, digest_checkpoint
from model.nets.context_net import ContextNet, ProductLayer, combine_heads
from model.training import class_scores

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from onnxruntime import InferenceSession

BeatArray = NDArray[np.float32]
OutputMetrics = Callable[[NDArray[np.float32]], dict[str, Any]]
"""Outputs (n, outcomes) of a net on the test side to `class_scores.compute_class_metrics`."""

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OPSET, IR = 17, 8
"""Versions of ONNX that runtimes of 2022 read already."""
SCORE_TOLERANCE = 1e-3
"""Largest difference of a score between ONNX in float32 and PyTorch; rounding alone makes 3e-5 of scores up to 50."""
CALIBRATION_BEATS = 400
"""Training beats of each class that give the ranges of int8; all of a class that has fewer."""
TENSOR_NAMES: dict[NetKind, tuple[str, list[str]]] = {
    "beat": ("beats", ["scores", "probabilities"]),
    "context": ("context", ["log_probabilities"]),
}
"""Input and outputs of a graph, by kind of net. The first output is compared with PyTorch's."""


@dataclass(frozen=True, slots=True)
class ExportAgreement:
    """An ONNX file compared with its checkpoint on the same `beats` test beats.

    `largest_difference` of an output, number of beats given an `other_class`, and the class metrics of both.
    """

    beats: int
    largest_difference: float
    other_class: int
    pytorch: dict[str, Any]
    onnx: dict[str, Any]

    @property
    def exact(self) -> bool:
        """Whether the two differ by rounding alone."""
        return self.other_class == 0 and self.largest_difference <= SCORE_TOLERANCE


class BeatGraph(nn.Module):
    """A net of cut beats that returns scores and probabilities."""

    def __init__(self, net: BeatNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, beats: Tensor) -> tuple[Tensor, Tensor]:
        """Beats (n, 187) float32 to scores and probabilities (n, 5)."""
        scores = self.net(beats)
        return scores, torch.softmax(scores, dim=1)


class ContextGraph(nn.Module):
    """The live net without its special case for one beat, which a graph of any batch size cannot hold."""

    def __init__(self, net: ContextNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, context: Tensor) -> Tensor:
        """Inputs (n, INPUTS) float32 to log-probabilities (n, 6)."""
        return combine_heads(*self.net.heads(context))


def export_onnx(
    weights: Path, out: Path, sides: DataSplit, int8: bool = False, metrics: OutputMetrics | None = None
) -> ExportAgreement:
    """Write a checkpoint as an ONNX file, in one step, and compare it with PyTorch on the test side.

    An existing file is replaced only by one that agrees with PyTorch.

    Parameters
    ----------
    weights
        The checkpoint, of either kind of net.
    out
        The file to write; its name ends in `.onnx`.
    sides
        What the net takes, (n, 187) or (n, INPUTS) float32, with labels (n,). The training side gives the ranges of
        int8, the test side is compared.
    int8
        Whether to quantise to eight bits. Agreement is then reported, not required.
    metrics
        Class metrics of outputs (n, outcomes) on the test side; those of the largest output if left out.

    Raises
    ------
    ConfigError
        A package is missing, or `out` cannot be written.
    CheckpointError
        The weights cannot be read, or the float32 graph differs from PyTorch.
    """
    require_onnx_packages()
    if out.suffix != ".onnx":
        raise ConfigError(f"cannot write {out}: give a file name that ends in .onnx (--out)")
    net, card = load_checkpoint(weights, torch.device("cpu"))
    with _replace_when_complete(out) as partial:
        model = build_onnx_graph(net)
        if int8:
            model = quantise_onnx(model, calibration_beats(sides.train))
        _set_onnx_metadata(model, card, digest_checkpoint(weights), "int8" if int8 else "float32")
        partial.write_bytes(model.SerializeToString())
        agreement = verify_onnx_export(partial, weights, sides.test, metrics)
        if not (int8 or agreement.exact):
            raise CheckpointError(
                f"{out} is not written: it differs from {weights} by {agreement.largest_difference:.3g} in a score and "
                f"in {agreement.other_class} classes; try other versions of {', '.join(ONNX_PACKAGES)}"
            )
    return agreement


def verify_onnx_export(
    path: Path, weights: Path, test: BeatSet, metrics: OutputMetrics | None = None
) -> ExportAgreement:
    """Compare an ONNX file on ONNX Runtime, one thread, with its checkpoint on PyTorch, beat by beat.

    Raises CheckpointError if the file cannot be read or was made from another checkpoint.
    """
    require_onnx_packages()
    net, _ = load_checkpoint(weights, torch.device("cpu"))
    if read_onnx_metadata(path).get("weights_sha256") != digest_checkpoint(weights):
        raise CheckpointError(f"{path} was not made from {weights}: export it again")
    expected = class_scores.predict_beat_scores(net, torch.from_numpy(test.beats)).numpy()
    with _convert_onnx_errors(path):
        outputs = run_onnx_session(open_onnx_session(path), test.beats).reshape(expected.shape)
    difference = np.abs(expected - outputs).max(initial=0)
    other_class = int((expected.argmax(axis=1) != outputs.argmax(axis=1)).sum())

    def largest_output_metrics(scores: NDArray[np.float32]) -> dict[str, Any]:
        """Class metrics of scores (n, 5)."""
        matrix = class_scores.class_confusion_matrix(test.labels, scores.argmax(axis=1))
        return class_scores.compute_class_metrics(matrix)

    measure = metrics or largest_output_metrics
    return ExportAgreement(len(test), float(difference), other_class, measure(expected), measure(outputs))


def split_by_card(card: ModelCard, beats: BeatSet) -> DataSplit:
    """Split beats by the protocol and seed that the checkpoint names; at random if it names none."""
    of = card.training
    protocol = next(
        (key for key, text in dataset.SPLIT_PROTOCOLS.items() if of.get("protocol") in (key, text)), "random"
    )
    return dataset.split_beat_set(beats, protocol, of.get("split_seed", 0), drop_normal=0, fold=of.get("fold"))


def build_onnx_graph(net: BeatNet | ContextNet) -> "ModelProto":
    """Return the net as a graph of standard ONNX operators; its dense layers become Gemm."""
    import onnx

    for name, layer in list(net.named_children()):
        if isinstance(layer, DenseLayer | ProductLayer):
            setattr(net, name, _plain_linear(layer))
    beat = isinstance(net, BeatNet)
    columns = net.size.samples if isinstance(net, BeatNet) else templates.INPUTS
    input_name, output_names = TENSOR_NAMES["beat" if beat else "context"]
    with _silence_exporter():
        program = torch.onnx.export(
            (BeatGraph(net) if isinstance(net, BeatNet) else ContextGraph(net)).eval(),
            (torch.zeros(2, columns),),
            input_names=[input_name],
            output_names=output_names,
            dynamic_shapes={input_name: {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            custom_translation_table={torch.ops.aten.logaddexp.default: _translate_logaddexp},
        )
    assert program is not None
    model: ModelProto = program.model_proto
    model.ir_version, model.producer_name = IR, "ecg-agent"
    model.graph.ClearField("value_info")
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.ClearField("metadata_props")  # newer than IR, and it names the paths of source files
        part.ClearField("doc_string")
    onnx.checker.check_model(model)
    return model


def calibration_beats(train: BeatSet, seed: int = 0) -> BeatArray:
    """Draw the same number of beats of each class at random, (n, 187) or (n, INPUTS), for the ranges of int8."""
    rng = np.random.default_rng(seed)
    by_class = [rng.permutation(np.flatnonzero(train.labels == label)) for label in np.unique(train.labels)]
    drawn: BeatArray = train.beats[np.concatenate([rows[:CALIBRATION_BEATS] for rows in by_class])]
    return drawn


def quantise_onnx(model: "ModelProto", beats: BeatArray, method: str = "MinMax") -> "ModelProto":
    """Return the same net in eight bits, with the ranges of its activations on `beats` (n, 187) or (n, INPUTS).

    Each filter has its own scale. Weights use seven bits: older processors without dot products of bytes then sum them
    without saturation. Some layers stay in float32, see `_float32_nodes`. `method` is a name of onnxruntime's
    CalibrationMethod; `python -m benchmarks.export --methods` compares them.
    """
    import onnx
    from onnxruntime import quantization

    input_name = model.graph.input[0].name
    batches = iter(np.array_split(beats, -(-len(beats) // class_scores.BATCH_BY_DEVICE["cpu"])))
    reader = SimpleNamespace(get_next=lambda: next(({input_name: batch} for batch in batches), None))
    with tempfile.TemporaryDirectory() as folder, _silence_exporter():
        float32, quantised = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        float32.write_bytes(model.SerializeToString())
        quantization.quantize_static(
            float32,
            quantised,
            reader,
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=_float32_nodes(model),
            calibrate_method=quantization.CalibrationMethod[method],
        )
        return onnx.load(quantised)


def _float32_nodes(model: "ModelProto") -> list[str]:
    """Names of the nodes that quantisation leaves alone.

    The last dense layers and what follows: in eight bits a score would have about a hundred values. Of the live net
    the first layers too: its inputs reach 4 QRS heights, so that a step of eight bits would hide a P wave.
    """
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    kept: set[str] = set()
    backward = [producers[output.name] for output in graph.output]
    while backward:
        node = backward.pop()
        kept.add(node.name)
        if node.op_type != "Gemm":
            backward += [producers[name] for name in node.input if name in producers]
    forward = list(consumers["context"]) if graph.input[0].name == "context" else []
    while forward:
        node = forward.pop()
        kept.add(node.name)
        if node.op_type not in ("Gemm", "Conv"):
            forward += [after for name in node.output for after in consumers[name]]
    return sorted(kept)


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of an ONNX file. Raises CheckpointError if it is broken."""
    with _convert_onnx_errors(path):
        entries: dict[str, str] = open_onnx_session(path).get_modelmeta().custom_metadata_map
    return entries


def open_onnx_session(path: Path) -> "InferenceSession":
    """Open an ONNX file on ONNX Runtime, on one thread of the CPU. Raises CheckpointError if it is broken."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with _convert_onnx_errors(path), _silence_exporter():
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_onnx_session(session: "InferenceSession", beats: BeatArray) -> NDArray[np.float32]:
    """Run beats (n, 187) to scores (n, 5), or contexts (n, INPUTS) to log-probabilities (n, 6)."""
    size = class_scores.BATCH_BY_DEVICE["cpu"]
    input_name, output_name = session.get_inputs()[0].name, session.get_outputs()[0].name
    batches = [beats[first : first + size] for first in range(0, len(beats), size)]
    return np.concatenate([session.run([output_name], {input_name: batch})[0] for batch in batches])


def require_onnx_packages() -> None:
    """Check that the optional packages are installed. Raises ConfigError with the line that installs them."""
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"ONNX needs {', '.join(missing)}: pip install 'ecg-agent[export]'")


def _set_onnx_metadata(model: "ModelProto", card: ModelCard, sha256: str, precision: str) -> None:
    import onnx

    entries = {
        "name": card.name,
        "classes": ",".join(card.classes),
        "fs_hz": str(card.input.fs_hz),
        "samples": str(card.input.samples),
        "normalisation": card.input.normalisation,
        "precision": precision,
        "weights_sha256": sha256,
        "ecg-agent": msgspec.json.encode(card).decode(),
    }
    onnx.helper.set_model_props(model, entries)


def _translate_logaddexp(first: Any, second: Any) -> Any:
    """Return log(exp(first) + exp(second)) as operators; PyTorch's own translation underflows below about -88."""
    from onnxscript import opset18 as op

    rest = op.Exp(op.Neg(op.Abs(op.Sub(first, second))))
    return op.Add(op.Max(first, second), op.Log(op.Add(rest, op.Constant(value_float=1.0))))


def _plain_linear(layer: DenseLayer | ProductLayer) -> nn.Linear:
    plain = nn.Linear(layer.in_features, layer.out_features)
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain


@contextlib.contextmanager
def _convert_onnx_errors(path: Path) -> Iterator[None]:
    """Turn ONNX Runtime's complaints about a file into CheckpointError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    broken = (ort.InvalidProtobuf, ort.InvalidGraph, ort.InvalidArgument, ort.NoSuchFile, ort.NotImplemented)
    try:
        yield
    except (*broken, ort.Fail, ort.RuntimeException, ValueError) as error:
        raise CheckpointError(f"{path} is no ONNX file of ecg-agent that can be run here: export it again") from error


@contextlib.contextmanager
def _replace_when_complete(out: Path) -> Iterator[Path]:
    """Yield a file beside `out` that replaces it if all goes well. Raises ConfigError if it cannot be written."""
    try:
        with write_atomically(out, shared=True) as partial:
            partial.touch()
            yield partial
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror} (--out)") from error


@contextlib.contextmanager
def _silence_exporter() -> Iterator[None]:
    """Suppress what the exporter and the quantiser log, warn and print."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
