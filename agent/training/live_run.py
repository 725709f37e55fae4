"""`ecg-agent train-live`: the net of the live monitor, trained on what the monitor's own stages see.

DS1 always; folders of other records, and of rhythms to borrow, where they are given. DS2 is never among them.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from agent.core.config import Config, SignalConfig
from agent.evaluation.beat_evaluation import write_output_file
from agent.training.candidates import UNSCORED_LABEL, LabelledCandidates, build_candidates
from agent.training.kept_candidates import CandidateSources, LearntCandidates, take_candidates
from agent.training.run_folder import check_checkpoint_name, explain_interruption, lock_run_folder
from model import device
from model.beats.cluster_smoothing import NO_BEAT, ClusterSmoothing
from model.beats.dataset import DS1, DS2, FOLD_COUNT, SPLIT_PROTOCOLS, digest_arrays
from model.errors import RunError
from model.nets import checkpoint, checkpoint_card
from model.nets.beat_net import count_parameters
from model.records.wfdb_records import CLASSES, DATABASE
from model.training import class_scores, context_training
from model.training.augmented_streams import (
    BORROWING_VARIANTS,
    OTHER_VARIANTS,
    STREAM_VARIANTS,
    UNCHANGED_VARIANT,
    StreamVariant,
    build_augmented_stream,
)
from model.training.borrowed_rhythms import list_annotated_records

STATE_NAME = "state.safetensors"
"""What an unfinished run goes on from."""


@dataclass(frozen=True, slots=True)
class LiveSources:
    """What is learnt beside DS1: folders of annotated records, and of annotations whose rhythms are borrowed."""

    records: tuple[Path, ...] = ()
    rhythms: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveSides:
    """Paths or names of the records that are learnt: DS1, `others`, `rhythms`; and of those that test."""

    ds1: tuple[str, ...]
    others: tuple[str, ...]
    rhythms: tuple[str, ...]
    held_out: tuple[str, ...]

    def views(self) -> list[tuple[StreamVariant, tuple[str, ...]]]:
        """Return each view with the records that are heard in it."""
        views = [
            (variant, self.ds1 + (self.others if variant in OTHER_VARIANTS else ())) for variant in STREAM_VARIANTS
        ]
        return views + [(variant, self.ds1 + self.others) for variant in BORROWING_VARIANTS if self.rhythms]


def show_live_training(
    config: Config,
    folder: Path,
    name: str,
    command: str,
    fold: int | None,
    sources: LiveSources = LiveSources(),  # it cannot change
    kept: Path | None = None,
) -> None:
    """Train, test on DS2 (or on a fold of the training side), and write checkpoint and report into `folder`.

    Raises ConfigError, DeviceError, RecordError or RunError. After Ctrl-C the same command continues the run: it makes
    the candidates again, or takes them from the folder `kept`, and goes on after the latest complete pass over them.
    """
    check_checkpoint_name(name)
    sides = split_sides(fold, sources)
    lock_run_folder(folder)
    with explain_interruption(command, resumable=True):
        _train_live_net(config, folder, name, command, fold, sides, kept)


def _train_live_net(
    config: Config, folder: Path, name: str, command: str, fold: int | None, sides: LiveSides, kept: Path | None
) -> None:
    train, recipe = config.train, config.live
    console = Console(soft_wrap=True)
    started = time.perf_counter()
    chosen = device.choose_device(train.device)
    torch.set_num_threads(train.threads)
    made_of = CandidateSources(sides.views(), sides.rhythms)
    candidates = take_candidates(kept, config, made_of, lambda: _build_views(config, sides, console))
    inputs, labels = candidates.inputs, candidates.labels
    test = build_unchanged_candidates(sides.held_out, config.signal, train.seed)
    train_beats = count_candidates(labels)
    test_beats = count_candidates(test.labels)
    learnt = len(sides.ds1) + len(sides.others)
    console.print(f"train on {learnt} records in {len(made_of.views)} views: {train_beats}")
    console.print(f"test  on {len(sides.held_out)} records: {test_beats}")
    for epoch, trained in context_training.train_context_net(
        inputs, labels, recipe, train.seed, chosen, folder / STATE_NAME
    ):
        net = trained
        console.print(
            f"epoch {epoch.epoch} of {recipe.epochs}: loss {epoch.loss:.4f}, {time.perf_counter() - started:.0f} s"
        )
    training = {
        "command": command,
        "recipe": "live",
        "protocol": "inter-patient",
        "protocol_text": SPLIT_PROTOCOLS["inter-patient"],
        **asdict(recipe),
        "seed": train.seed,
        "fold": fold,
        "threads": train.threads,
        "device": chosen.type,
        "torch": str(torch.__version__),
        "views": [asdict(variant) for variant, _ in sides.views()],
        "other_records": [Path(record).name for record in sides.others],
        "borrowed_rhythms": [Path(record).name for record in sides.rhythms],
        "train_beats": train_beats,
        "test_beats": test_beats,
        "train_sha256": digest_arrays(inputs, labels),
        "test_sha256": digest_arrays(test.inputs, test.labels),
    }
    metrics = measure_live_net(context_training.predict_context_outcomes(net, test.inputs, chosen), test)
    card = checkpoint_card.ModelCard(name, net.size, training, metrics, checkpoint_card.CONTEXT_INPUT, kind="context")
    checkpoint.save_checkpoint(folder / f"{name}.safetensors", net, card)
    report = {"name": name, "parameters": count_parameters(net), "training": training, "test": card.metrics}
    write_output_file(folder / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    (folder / STATE_NAME).unlink(missing_ok=True)
    recall, precision = card.metrics["recall"], card.metrics["precision"]
    rates = ", ".join(f"{label} Se {recall[label]:.2%} +P {precision[label]:.2%}" for label in "NSVF")
    console.print(f"in {folder}: {name}.safetensors, report.json\nof the detected beats: {rates}")


def _build_views(config: Config, sides: LiveSides, console: Console) -> LearntCandidates:
    """Return the candidates of all views of the training side, with the share of normal ones that is kept."""
    seed = config.train.seed
    random = np.random.default_rng([seed, 3])
    views = [
        thin_normal_beats(
            build_candidates(
                [build_augmented_stream(record, variant, seed, sides.rhythms) for record in records], config.signal
            ),
            config.live.kept_normal,
            random,
        )
        for variant, records in track(sides.views(), "streams through the detector", console=console, transient=True)
    ]
    labels = np.concatenate([view.labels for view in views])
    return LearntCandidates(np.concatenate([view.inputs for view in views]), labels)


def split_sides(fold: int | None, sources: LiveSources) -> LiveSides:
    """Return who is learnt and who tests: DS2, or with a fold a fifth of DS1 and of each folder.

    Copies of embedded records are left out of the folders: some of them test. Raises RecordError if a folder holds no
    annotated record.
    """
    found = (record for folder in sources.records for record in list_annotated_records(folder))
    others = tuple(record for record in found if not _is_embedded(Path(record)))
    rhythms = tuple(record for folder in sources.rhythms for record in list_annotated_records(folder))
    if fold is None:
        return LiveSides(DS1, others, rhythms, DS2)
    held_out = DS1[fold::FOLD_COUNT] + others[fold::FOLD_COUNT]
    return LiveSides(
        tuple(record for record in DS1 if record not in held_out),
        tuple(record for record in others if record not in held_out),
        rhythms,
        held_out,
    )


def _is_embedded(record: Path) -> bool:
    """Return whether a record has the annotations of an embedded one."""
    ours = DATABASE / "mitdb" / f"{record.name}.atr"
    return ours.is_file() and ours.read_bytes() == record.with_name(f"{record.name}.atr").read_bytes()


def thin_normal_beats(candidates: LabelledCandidates, share: float, random: np.random.Generator) -> LabelledCandidates:
    """Return the candidates that count, with only a `share` (0..1) of the normal beats: most look alike."""
    labels = candidates.labels
    kept = (labels != UNSCORED_LABEL) & ((labels != 0) | (random.random(len(labels)) < share))
    cuts = tuple(cut for cut, stays in zip(candidates.cuts, kept.tolist(), strict=True) if stays)
    return LabelledCandidates(candidates.inputs[kept], labels[kept], candidates.records[kept], cuts)


def build_unchanged_candidates(records: Sequence[str], signal: SignalConfig, seed: int) -> LabelledCandidates:
    """Return the candidates of records as they were recorded."""
    return build_candidates([build_augmented_stream(record, UNCHANGED_VARIANT, seed) for record in records], signal)


def count_candidates(labels: NDArray[np.int64]) -> dict[str, int]:
    """Count candidates, of labels (n,), by class; those that are no beat come last."""
    names = (*CLASSES, "no beat")
    return {name: int((labels == number).sum()) for number, name in enumerate(names)}


def measure_live_net(outcomes: NDArray[np.float32], test: LabelledCandidates) -> dict[str, Any]:
    """Measure the classes that the monitor would give to the detected beats, with calibration and intervals.

    `outcomes` (n, 6) float32: the net's log-probabilities of the candidates.
    """
    labels, probabilities, records = settle_scored_beats(outcomes, test)
    classes = probabilities.argmax(1)
    return class_scores.compute_class_metrics(class_scores.class_confusion_matrix(labels, classes)) | {
        "calibration": class_scores.compute_calibration(labels, probabilities),
        "intervals": class_scores.bootstrap_class_intervals(labels, classes, records, by_record=True),
    }


def settle_scored_beats(
    outcomes: NDArray[np.float32], test: LabelledCandidates
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.str_]]:
    """Return class (n,), probabilities (n, 5) and record (n,) of the beats that the monitor takes for beats, too.

    `outcomes` (candidates, 6) as `measure_live_net` takes them. Raises RunError if there is none.
    """
    probabilities = settle_candidates(outcomes, test)
    beats = (test.labels != UNSCORED_LABEL) & (test.labels != NO_BEAT) & ~np.isnan(probabilities[:, 0])
    if not beats.any():
        raise RunError("the net takes no candidate for a beat: train again with another seed (--seed)")
    return test.labels[beats], probabilities[beats], test.records[beats]


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
