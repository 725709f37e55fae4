"""`ecg-agent train-live`: the net of the live monitor, trained on what the monitor's own stages see of DS1."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from agent.core.config import SignalConfig, TrainConfig
from agent.evaluation.beat_evaluation import write_output_file
from agent.training.candidates import UNSCORED_LABEL, LabelledCandidates, build_candidates
from agent.training.run_folder import check_checkpoint_name, explain_interruption, lock_run_folder
from model import device
from model.beats.cluster_smoothing import NO_BEAT, ClusterSmoothing
from model.beats.dataset import DS1, DS2, FOLD_COUNT, SPLIT_PROTOCOLS, digest_arrays
from model.errors import RunError
from model.nets import checkpoint
from model.nets.beat_net import count_parameters
from model.records.wfdb_records import CLASSES
from model.training import class_scores, context_training
from model.training.augmented_streams import STREAM_VARIANTS, UNCHANGED_VARIANT, build_augmented_stream

LIVE_RECIPE = context_training.ContextRecipe()


def show_live_training(
    config: TrainConfig, signal: SignalConfig, folder: Path, name: str, command: str, fold: int | None
) -> None:
    """Train, test on DS2 (or on a fold of DS1), and write checkpoint and report into `folder`.

    Raises ConfigError, DeviceError or RunError. An interrupted run keeps nothing.
    """
    check_checkpoint_name(name)
    lock_run_folder(folder)
    with explain_interruption(command, resumable=False):
        _train_live_net(config, signal, folder, name, command, fold)


def _train_live_net(
    config: TrainConfig, signal: SignalConfig, folder: Path, name: str, command: str, fold: int | None
) -> None:
    console = Console(soft_wrap=True)
    started = time.perf_counter()
    chosen = device.choose_device(config.device)
    torch.set_num_threads(config.threads)
    records, held_out = split_records(fold)
    views = [
        build_candidates([build_augmented_stream(record, variant, config.seed) for record in records], signal)
        for variant in track(STREAM_VARIANTS, "streams through the detector", console=console, transient=True)
    ]
    test = build_unchanged_candidates(held_out, signal, config.seed)
    train_beats = count_candidates(views)
    test_beats = count_candidates([test])
    console.print(f"train on {len(records)} records in {len(STREAM_VARIANTS)} views each: {train_beats}")
    console.print(f"test  on {len(held_out)} records: {test_beats}")
    labels = np.concatenate([view.labels for view in views])
    scored = labels != UNSCORED_LABEL
    inputs, labels = np.concatenate([view.inputs for view in views])[scored], labels[scored]
    for epoch, trained in context_training.train_context_net(inputs, labels, LIVE_RECIPE, config.seed, chosen):
        net = trained
        console.print(
            f"epoch {epoch.epoch} of {LIVE_RECIPE.epochs}: loss {epoch.loss:.4f}, {time.perf_counter() - started:.0f} s"
        )
    training = {
        "command": command,
        "recipe": "live",
        "protocol": "inter-patient",
        "protocol_text": SPLIT_PROTOCOLS["inter-patient"],
        **asdict(LIVE_RECIPE),
        "seed": config.seed,
        "fold": fold,
        "threads": config.threads,
        "device": chosen.type,
        "torch": str(torch.__version__),
        "views": [asdict(variant) for variant in STREAM_VARIANTS],
        "train_beats": train_beats,
        "test_beats": test_beats,
        "train_sha256": digest_arrays(inputs, labels),
        "test_sha256": digest_arrays(test.inputs, test.labels),
    }
    metrics = measure_live_net(context_training.predict_context_outcomes(net, test.inputs, chosen), test)
    card = checkpoint.ModelCard(name, net.size, training, metrics, checkpoint.CONTEXT_INPUT, kind="context")
    checkpoint.save_checkpoint(folder / f"{name}.safetensors", net, card)
    report = {"name": name, "parameters": count_parameters(net), "training": training, "test": card.metrics}
    write_output_file(folder / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    recall, precision = card.metrics["recall"], card.metrics["precision"]
    rates = ", ".join(f"{label} Se {recall[label]:.2%} +P {precision[label]:.2%}" for label in "NSVF")
    console.print(f"in {folder}: {name}.safetensors, report.json\nof the detected beats: {rates}")


def split_records(fold: int | None) -> tuple[list[str], tuple[str, ...]]:
    """Return the records to train on and those to test on: DS1 and DS2, or DS1 without and with a fifth of it."""
    held_out = DS2 if fold is None else DS1[fold::FOLD_COUNT]
    return [record for record in DS1 if record not in held_out], held_out


def build_unchanged_candidates(records: Sequence[str], signal: SignalConfig, seed: int) -> LabelledCandidates:
    """Return the candidates of embedded records as they were recorded."""
    return build_candidates([build_augmented_stream(record, UNCHANGED_VARIANT, seed) for record in records], signal)


def count_candidates(views: list[LabelledCandidates]) -> dict[str, int]:
    """Count candidates by class; those that are no beat come last."""
    labels = np.concatenate([view.labels for view in views])
    names = (*CLASSES, "no beat")
    return {name: int((labels == number).sum()) for number, name in enumerate(names)}


def measure_live_net(outcomes: NDArray[np.float32], test: LabelledCandidates) -> dict[str, Any]:
    """Measure the classes that the monitor would give to the detected beats, with calibration and intervals.

    `outcomes` (n, 6) float32: the net's log-probabilities of the candidates.
    """
    probabilities = settle_candidates(outcomes, test)
    beats = (test.labels != UNSCORED_LABEL) & (test.labels != NO_BEAT) & ~np.isnan(probabilities[:, 0])
    if not beats.any():
        raise RunError("the net takes no candidate for a beat: train again with another seed (--seed)")
    labels, probabilities, records = test.labels[beats], probabilities[beats], test.records[beats]
    classes = probabilities.argmax(1)
    return class_scores.compute_class_metrics(class_scores.class_confusion_matrix(labels, classes)) | {
        "calibration": class_scores.compute_calibration(labels, probabilities),
        "intervals": class_scores.bootstrap_class_intervals(labels, classes, records, by_record=True),
    }


def settle_candidates(outcomes: NDArray[np.float32], candidates: LabelledCandidates) -> NDArray[np.float64]:
    """Smooth log-probabilities (n, 6) over the clusters of each record, as the monitor does.

    Returns the probabilities (n, 5) of the classes; NaN for what is taken for no beat.
    """
    smoothing: dict[str, ClusterSmoothing] = {}
    settled = np.full((len(outcomes), len(CLASSES)), np.nan)
    records = candidates.records.tolist()
    for row, (logs, cut, record) in enumerate(zip(outcomes.tolist(), candidates.cuts, records, strict=True)):
        smoother = smoothing.setdefault(record, ClusterSmoothing())
        if probabilities := smoother.push(0, logs, cut.cluster, cut.new, cut.noise):
            settled[row] = probabilities
    return settled
