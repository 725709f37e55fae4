"""A checkpoint as an ONNX file, for devices without PyTorch; it is handed over only when it says what PyTorch says.

Input `beats` (batch, 187) float32 in 0..1; outputs `scores` and `probabilities` (batch, 5) float32. The metadata says
what the beats are and which checkpoint the file was made from. As `int8`, weights and activations are integers (Jacob
et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
doi:10.1109/CVPR.2018.00286); the ranges of the activations are taken from training beats.

Needs the packages of the extra `export_onnx`: everything else works without them.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
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

from model.beats import dataset
from model.beats.dataset import BeatSet, DataSplit
from model.errors import CheckpointError, ConfigError
from model.files import write_atomically
from model.nets.beat_net import BeatNet, DenseLayer
from model.nets.checkpoint import ModelCard, digest_checkpoint, load_beat_net
from model.training import class_scores

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

BeatArray = NDArray[np.float32]

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OPSET, IR = 17, 8
"""Versions of ONNX that runtimes of 2022 read already."""
SCORE_TOLERANCE = 1e-3
"""Largest difference of a score between ONNX in float32 and PyTorch; rounding alone makes 3e-5 of scores up to 50."""
CALIBRATION_BEATS = 400
"""Training beats of each class that the ranges of int8 are taken from; all, where a class has fewer."""


@dataclass(frozen=True, slots=True)
class ExportAgreement:
    """An ONNX file beside the checkpoint it was made from, on the same `beats` test beats.

    `largest_difference` of a score, number of beats given an `other_class`, and `evaluation.figures` of both.
    """

    beats: int
    largest_difference: float
    other_class: int
    pytorch: dict[str, Any]
    onnx: dict[str, Any]

    @property
    def exact(self) -> bool:
        """Whether only rounding is between them."""
        return self.other_class == 0 and self.largest_difference <= SCORE_TOLERANCE


class OnnxOutputs(nn.Module):
    """A net that gives scores and probabilities."""

    def __init__(self, net: BeatNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, beats: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.net(beats)
        return scores, torch.softmax(scores, dim=1)


def export_onnx(weights: Path, out: Path, sides: DataSplit, int8: bool = False) -> ExportAgreement:
    """Write checkpoint `weights` as ONNX to `out`, in one step, and tell how it does on the test side.

    An earlier file is replaced only by one that agrees with PyTorch; the training side gives the ranges of int8. Raises
    ConfigError where a package is missing or `out` cannot be written, CheckpointError where the outputs differ.
    """
    require_onnx_packages()
    if out.suffix != ".onnx":
        raise ConfigError(f"cannot write {out}: give a file name that ends in .onnx (--out)")
    net, card = load_beat_net(weights, torch.device("cpu"))
    with _replace_when_complete(out) as partial:
        model = build_onnx_graph(net)
        if int8:
            model = quantise_onnx(model, calibration_beats(sides.train))
        _set_onnx_metadata(model, card, digest_checkpoint(weights), "int8" if int8 else "float32")
        partial.write_bytes(model.SerializeToString())
        found = verify_onnx_export(partial, weights, sides.test)
        if not (int8 or found.exact):
            raise CheckpointError(
                f"{out} is not written: it differs from {weights} by {found.largest_difference:.3g} in a score and in "
                f"{found.other_class} classes; try other versions of {', '.join(ONNX_PACKAGES)}"
            )
    return found


def verify_onnx_export(path: Path, weights: Path, test: BeatSet) -> ExportAgreement:
    """Compare an ONNX file on ONNX Runtime, one thread, with its checkpoint on PyTorch, beat by beat.

    Raises CheckpointError where the file cannot be read or was made from another checkpoint.
    """
    require_onnx_packages()
    net, _ = load_beat_net(weights, torch.device("cpu"))
    if read_onnx_metadata(path).get("weights_sha256") != digest_checkpoint(weights):
        raise CheckpointError(f"{path} was not made from {weights}: export it again")
    ours = class_scores.predict_beat_scores(net, torch.from_numpy(test.beats)).numpy()
    with _convert_onnx_errors(path):
        theirs = run_onnx_session(open_onnx_session(path), test.beats).reshape(ours.shape)
    difference = np.abs(ours - theirs).max(initial=0)
    said = ours.argmax(axis=1), theirs.argmax(axis=1)
    pytorch, onnx = (
        class_scores.compute_class_metrics(class_scores.class_confusion_matrix(test.labels, classes))
        for classes in said
    )
    return ExportAgreement(len(test), float(difference), int((said[0] != said[1]).sum()), pytorch, onnx)


def split_by_card(card: ModelCard, beats: BeatSet) -> DataSplit:
    """Training and test beats by the checkpoint's own protocol and split; the random split where it names none."""
    of = card.training
    protocol = next(
        (key for key, text in dataset.SPLIT_PROTOCOLS.items() if of.get("protocol") in (key, text)), "random"
    )
    return dataset.split_beat_set(beats, protocol, of.get("split_seed", 0), drop_normal=0, fold=of.get("fold"))


def build_onnx_graph(net: BeatNet) -> "ModelProto":
    """The net as a graph of Conv, Relu, Add, MaxPool, Gemm and Softmax; its dense layers become matrix products."""
    import onnx

    for name, layer in list(net.named_children()):
        if isinstance(layer, DenseLayer):
            setattr(net, name, _linear_from_dense(layer))
    with _silence_exporter():
        program = torch.onnx.export(
            OnnxOutputs(net).eval(),
            (torch.zeros(2, net.size.samples),),
            input_names=["beats"],
            output_names=["scores", "probabilities"],
            dynamic_shapes={"beats": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: ModelProto = program.model_proto
    model.ir_version, model.producer_name = IR, "ecg-agent"
    model.graph.ClearField("value_info")
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.ClearField("metadata_props")  # newer than IR, and it tells where the source files lie
        part.ClearField("doc_string")
    onnx.checker.check_model(model)
    return model


def calibration_beats(train: BeatSet, seed: int = 0) -> BeatArray:
    """Beats (n, 187) that the ranges of int8 are taken from: of each class as many, drawn at random."""
    rng = np.random.default_rng(seed)
    by_class = [rng.permutation(np.flatnonzero(train.labels == label)) for label in np.unique(train.labels)]
    drawn: BeatArray = train.beats[np.concatenate([rows[:CALIBRATION_BEATS] for rows in by_class])]
    return drawn


def quantise_onnx(model: "ModelProto", beats: BeatArray, method: str = "MinMax") -> "ModelProto":
    """The same net in eight bits, the ranges of its activations taken from `beats` (n, 187).

    Each filter has its own scale. Weights use seven bits: older processors without dot products of bytes then sum them
    without saturation. The last layer stays in float32: in eight bits a score would have about a hundred values.
    `method` is a name of onnxruntime's CalibrationMethod; `python -m benchmarks.export --methods` compares them.
    """
    import onnx
    from onnxruntime import quantization

    batches = iter(np.array_split(beats, -(-len(beats) // class_scores.BATCH_BY_DEVICE["cpu"])))
    reader = SimpleNamespace(get_next=lambda: next(({"beats": batch} for batch in batches), None))
    last = [node.name for node in model.graph.node if node.op_type in ("Gemm", "Softmax")][-2:]
    with tempfile.TemporaryDirectory() as folder, _silence_exporter():
        float32, made = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        float32.write_bytes(model.SerializeToString())
        quantization.quantize_static(
            float32,
            made,
            reader,
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=last,
            calibrate_method=quantization.CalibrationMethod[method],
        )
        return onnx.load(made)


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """What an ONNX file says of itself. Raises CheckpointError where it is broken."""
    with _convert_onnx_errors(path):
        entries: dict[str, str] = open_onnx_session(path).get_modelmeta().custom_metadata_map
    return entries


def open_onnx_session(path: Path) -> "InferenceSession":
    """An ONNX file on ONNX Runtime, on one thread of the CPU. Raises CheckpointError where it is broken."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with _convert_onnx_errors(path), _silence_exporter():
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_onnx_session(session: "InferenceSession", beats: BeatArray) -> NDArray[np.float32]:
    """Scores (n, 5) of beats (n, 187)."""
    batches = [
        beats[i : i + class_scores.BATCH_BY_DEVICE["cpu"]]
        for i in range(0, len(beats), class_scores.BATCH_BY_DEVICE["cpu"])
    ]
    return np.concatenate([session.run(["scores"], {"beats": batch})[0] for batch in batches])


def require_onnx_packages() -> None:
    """Raises ConfigError with the line that installs what is missing."""
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


def _linear_from_dense(layer: DenseLayer) -> nn.Linear:
    plain = nn.Linear(layer.in_features, layer.out_features)
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain


@contextlib.contextmanager
def _convert_onnx_errors(path: Path) -> Iterator[None]:
    """Raises CheckpointError for what ONNX Runtime finds wrong with a file."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    broken = (ort.InvalidProtobuf, ort.InvalidGraph, ort.InvalidArgument, ort.NoSuchFile, ort.NotImplemented)
    try:
        yield
    except (*broken, ort.Fail, ort.RuntimeException, ValueError) as error:
        raise CheckpointError(f"{path} is no ONNX file of ours that can be run here: export it again") from error


@contextlib.contextmanager
def _replace_when_complete(out: Path) -> Iterator[Path]:
    """A file beside `out` that takes its place when all went well. Raises ConfigError where that cannot be."""
    try:
        with write_atomically(out, shared=True) as partial:
            partial.touch()
            yield partial
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror} (--out)") from error


@contextlib.contextmanager
def _silence_exporter() -> Iterator[None]:
    """Keeps what the exporter and the quantiser log, warn and print from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
