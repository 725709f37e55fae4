"""`ecg-agent train-live`: the net of the live monitor, trained on what the monitor's own stages see of DS1."""

import json
import time
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
from agent.training.report_run import check_checkpoint_name, lock_run_folder
from model import device
from model.beats.cluster_smoothing import NO_BEAT, ClusterSmoothing
from model.beats.dataset import DS1, DS2, FOLD_COUNT, SPLIT_PROTOCOLS, digest_arrays
from model.errors import RunError
from model.nets import checkpoint
from model.nets.beat_net import count_parameters
from model.nets.context_net import ContextNet
from model.records.wfdb_records import CLASSES
from model.training import class_scores, context_training
from model.training.augmented_streams import STREAM_VARIANTS, UNCHANGED_VARIANT, build_augmented_stream

LIVE_RECIPE = context_training.ContextRecipe()


def show_live_training(
    config: TrainConfig, signal: SignalConfig, folder: Path, name: str, command: str, fold: int | None
) -> None:
    """Train, test on DS2 (or on a fifth of DS1), and leave checkpoint and report in `folder`."""
    console = Console(soft_wrap=True)
    check_checkpoint_name(name)
    lock_run_folder(folder)
    started = time.perf_counter()
    chosen = device.choose_device(config.device)
    torch.set_num_threads(config.threads)
    held_out = DS2 if fold is None else DS1[fold::FOLD_COUNT]
    records = [record for record in DS1 if record not in held_out]
    views = [
        build_candidates([build_augmented_stream(record, kind, config.seed) for record in records], signal)
        for kind in track(STREAM_VARIANTS, "streams through the detector", console=console, transient=True)
    ]
    unchanged = [build_augmented_stream(record, UNCHANGED_VARIANT, config.seed) for record in held_out]
    test = build_candidates(unchanged, signal)
    train_beats, test_beats = count_candidates(views), count_candidates([test])
    console.print(f"train on {len(records)} records in {len(STREAM_VARIANTS)} views each: {train_beats}")
    console.print(f"test  on {len(held_out)} records: {test_beats}")
    labels = np.concatenate([view.labels for view in views])
    scored = labels != UNSCORED_LABEL
    inputs, labels = np.concatenate([view.inputs for view in views])[scored], labels[scored]
    for one, trained in context_training.train_context_net(inputs, labels, LIVE_RECIPE, config.seed, chosen):
        net = trained
        console.print(
            f"epoch {one.epoch} of {LIVE_RECIPE.epochs}: loss {one.loss:.4f}, {time.perf_counter() - started:.0f} s"
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
        "views": [asdict(kind) for kind in STREAM_VARIANTS],
        "train_beats": train_beats,
        "test_beats": test_beats,
        "train_sha256": digest_arrays(inputs, labels),
        "test_sha256": digest_arrays(test.inputs, test.labels),
    }
    metrics = live_net_figures(net, test, chosen)
    card = checkpoint.ModelCard(name, net.size, training, metrics, checkpoint.CONTEXT_INPUT, kind="context")
    checkpoint.save_checkpoint(folder / f"{name}.safetensors", net, card)
    report = {"name": name, "parameters": count_parameters(net), "training": training, "test": card.metrics}
    write_output_file(folder / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    recall, precision = card.metrics["recall"], card.metrics["precision"]
    said = ", ".join(f"{one} Se {recall[one]:.2%} +P {precision[one]:.2%}" for one in "NSVF")
    console.print(f"in {folder}: {name}.safetensors, report.json\nof the beats that were found: {said}")


def count_candidates(views: list[LabelledCandidates]) -> dict[str, int]:
    """Candidates by class; those that are no beat last."""
    labels = np.concatenate([view.labels for view in views])
    names = (*CLASSES, "no beat")
    return {name: int((labels == number).sum()) for number, name in enumerate(names)}


def live_net_figures(net: ContextNet, test: LabelledCandidates, chosen: torch.device) -> dict[str, Any]:
    """Figures of the class of the beats that were found, by what the monitor would say of them."""
    labels, probabilities = test.labels, settle_candidates(net, test, chosen)
    beats = (labels != UNSCORED_LABEL) & (labels != NO_BEAT) & ~np.isnan(probabilities[:, 0])
    if not beats.any():
        raise RunError("the net takes no candidate for a beat: train again with another seed (--seed)")
    labels, probabilities, records = labels[beats], probabilities[beats], test.records[beats]
    said = probabilities.argmax(1)
    return class_scores.compute_class_metrics(class_scores.class_confusion_matrix(labels, said)) | {
        "calibration": class_scores.compute_calibration(labels, probabilities),
        "intervals": class_scores.bootstrap_class_intervals(labels, said, records, by_record=True),
    }


def settle_candidates(net: ContextNet, found: LabelledCandidates, chosen: torch.device) -> NDArray[np.float64]:
    """Probabilities (n, 5) after the verdicts; NaN where it was none."""
    verdicts: dict[str, ClusterSmoothing] = {}
    logs = context_training.predict_context_outcomes(net, found.inputs, chosen).tolist()
    out = np.full((len(logs), len(CLASSES)), np.nan)
    for i, (log, cut, record) in enumerate(zip(logs, found.cuts, found.records.tolist(), strict=True)):
        if probabilities := verdicts.setdefault(record, ClusterSmoothing()).push(
            0, log, cut.cluster, cut.new, cut.noise
        ):
            out[i] = probabilities
    return out
