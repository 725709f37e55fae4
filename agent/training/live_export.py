"""Write the live net as ONNX: its test side is what the monitor's own stages see of the test records."""

from functools import partial
from pathlib import Path

import numpy as np

from agent.core.config import SignalConfig
from agent.training.candidates import LabelledCandidates
from agent.training.live_run import LiveSources, build_unchanged_candidates, measure_live_net, split_sides
from model.beats.dataset import BeatSet, DataSplit
from model.beats.templates import INPUTS
from model.nets.checkpoint_card import ModelCard
from model.training.onnx_export import ExportAgreement, export_onnx


def export_live_net(
    weights: Path, out: Path, sides: DataSplit, test: LabelledCandidates, int8: bool
) -> ExportAgreement:
    """Write a checkpoint of the live net as ONNX, compared with PyTorch on all test candidates.

    The class metrics are those of the model card: after the smoothing over clusters. Raises what `export_onnx` raises.
    """
    return export_onnx(weights, out, sides, int8, partial(measure_live_net, test=test))


def build_live_sides(card: ModelCard, signal: SignalConfig, int8: bool) -> tuple[DataSplit, LabelledCandidates]:
    """Build the candidates of the records that a checkpoint was trained and tested on.

    Returns both sides as what the net takes, (n, INPUTS) float32, and the test candidates themselves. Only int8 needs
    the training side; it is empty otherwise.
    """
    learnt = split_sides(card.training.get("fold"), LiveSources())
    seed = card.training.get("seed", 0)
    test = build_unchanged_candidates(learnt.held_out, signal, seed)
    train = _net_inputs(build_unchanged_candidates(learnt.ds1, signal, seed)) if int8 else _no_inputs()
    return DataSplit(train, _net_inputs(test)), test


def _net_inputs(candidates: LabelledCandidates) -> BeatSet:
    return BeatSet(candidates.inputs.astype(np.float32), candidates.labels, candidates.records)


def _no_inputs() -> BeatSet:
    return BeatSet(np.empty((0, INPUTS), np.float32), np.empty(0, np.int64), np.empty(0, np.str_))
