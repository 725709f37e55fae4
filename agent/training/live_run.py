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

from agent.core.config import TrainConfig
from agent.evaluation.beats import write
from agent.training.candidates import UNSCORED, Examples, examples
from agent.training.report_run import check_name, claim
from model import device
from model.beats.cluster_smoothing import NO_BEAT, Verdicts
from model.beats.dataset import DS1, DS2, FOLDS, PROTOCOLS, digest
from model.errors import RunError
from model.nets import checkpoint
from model.nets.context_net import ContextNet
from model.nets.net import parameters
from model.records.wfdb_records import CLASSES
from model.training import class_scores, context_training
from model.training.augmented_streams import AS_IT_IS, KINDS, stream

RECIPE = context_training.ContextRecipe()


def show_live_training(config: TrainConfig, folder: Path, name: str, command: str, fold: int | None) -> None:
    """Train, test on DS2 (or on a fifth of DS1), and leave checkpoint and report in `folder`."""
    console = Console(soft_wrap=True)
    check_name(name)
    claim(folder)
    started = time.perf_counter()
    chosen = device.choose(config.device)
    torch.set_num_threads(config.threads)
    held_out = DS2 if fold is None else DS1[fold::FOLDS]
    records = [record for record in DS1 if record not in held_out]
    views = [
        examples([stream(record, kind, config.seed) for record in records])
        for kind in track(KINDS, "streams through the detector", console=console, transient=True)
    ]
    test = examples([stream(record, AS_IT_IS, config.seed) for record in held_out])
    train_beats, test_beats = counts(views), counts([test])
    console.print(f"train on {len(records)} records in {len(KINDS)} views each: {train_beats}")
    console.print(f"test  on {len(held_out)} records: {test_beats}")
    labels = np.concatenate([view.labels for view in views])
    scored = labels != UNSCORED
    inputs, labels = np.concatenate([view.inputs for view in views])[scored], labels[scored]
    for one, trained in context_training.train(inputs, labels, RECIPE, config.seed, chosen):
        net = trained
        console.print(
            f"epoch {one.epoch} of {RECIPE.epochs}: loss {one.loss:.4f}, {time.perf_counter() - started:.0f} s"
        )
    training = {
        "command": command,
        "recipe": "live",
        "protocol": "inter-patient",
        "protocol_text": PROTOCOLS["inter-patient"],
        **asdict(RECIPE),
        "seed": config.seed,
        "fold": fold,
        "threads": config.threads,
        "device": chosen.type,
        "torch": str(torch.__version__),
        "views": [asdict(kind) for kind in KINDS],
        "train_beats": train_beats,
        "test_beats": test_beats,
        "train_sha256": digest(inputs, labels),
        "test_sha256": digest(test.inputs, test.labels),
    }
    metrics = figures(net, test, chosen)
    card = checkpoint.Card(name, net.size, training, metrics, checkpoint.IN_CONTEXT, kind="context")
    checkpoint.save(folder / f"{name}.safetensors", net, card)
    report = {"name": name, "parameters": parameters(net), "training": training, "test": card.metrics}
    write(folder / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    recall, precision = card.metrics["recall"], card.metrics["precision"]
    said = ", ".join(f"{one} Se {recall[one]:.2%} +P {precision[one]:.2%}" for one in "NSVF")
    console.print(f"in {folder}: {name}.safetensors, report.json\nof the beats that were found: {said}")


def counts(views: list[Examples]) -> dict[str, int]:
    """Candidates by class; those that are no beat last."""
    labels = np.concatenate([view.labels for view in views])
    names = (*CLASSES, "no beat")
    return {name: int((labels == number).sum()) for number, name in enumerate(names)}


def figures(net: ContextNet, test: Examples, chosen: torch.device) -> dict[str, Any]:
    """Figures of the class of the beats that were found, by what the monitor would say of them."""
    labels, probabilities = test.labels, settled(net, test, chosen)
    beats = (labels != UNSCORED) & (labels != NO_BEAT) & ~np.isnan(probabilities[:, 0])
    if not beats.any():
        raise RunError("the net takes no candidate for a beat: train again with another seed (--seed)")
    labels, probabilities, records = labels[beats], probabilities[beats], test.records[beats]
    said = probabilities.argmax(1)
    return class_scores.figures(class_scores.confusion(labels, said)) | {
        "calibration": class_scores.calibration(labels, probabilities),
        "intervals": class_scores.intervals(labels, said, records, by_record=True),
    }


def settled(net: ContextNet, found: Examples, chosen: torch.device) -> NDArray[np.float64]:
    """Probabilities (n, 5) after the verdicts; NaN where it was none."""
    verdicts: dict[str, Verdicts] = {}
    logs = context_training.outcomes(net, found.inputs, chosen).tolist()
    out = np.full((len(logs), len(CLASSES)), np.nan)
    for i, (log, cut, record) in enumerate(zip(logs, found.cuts, found.records.tolist(), strict=True)):
        if probabilities := verdicts.setdefault(record, Verdicts()).settle(0, log, cut.cluster, cut.new, cut.noise):
            out[i] = probabilities
    return out
