"""A training run: a recipe on one split of the beats, all data on the device.

A run has a folder: `run.json` (its settings), `state.safetensors` (weights, optimiser and figures after the last
complete epoch, written in one step), `metrics.csv`, and at the end the checkpoint and `report.json`. The order of the
beats and their augmentation follow from seed and epoch alone, so an interrupted run continues to the same result.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from model.beats.dataset import SPLIT_PROTOCOLS, BeatSet, DataSplit
from model.errors import RunError
from model.files import write_atomically
from model.nets.beat_net import BeatNet, build_beat_net, count_parameters, fold_beat_net
from model.nets.checkpoint import save_checkpoint
from model.nets.checkpoint_card import ModelCard
from model.nets.net_size import NetSize
from model.training import class_scores
from model.training.beat_augmentation import augment_beats
from model.training.recipe import TrainingRecipe
from model.training.saved_optimiser import optimiser_tensors, restore_optimiser
from model.training.threaded_gradients import ThreadedGradients


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """The settings of a run apart from its beats: name of the recipe, protocol, seeds, threads, fold (or None)."""

    recipe: str
    protocol: str
    seed: int
    split_seed: int
    threads: int
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """Figures after one epoch; losses are means of the cross-entropy, those of training taken during the epoch."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    test_macro_f1: float
    test_balanced_accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class SplitTensors:
    """One side of a split on the device: beats (n, samples), labels (n,)."""

    beats: Tensor
    labels: Tensor


class TrainingRun:
    """One training run in its folder: a new one, or one that continues from its `state.safetensors`."""

    def __init__(
        self, folder: Path, request: TrainingRequest, recipe: TrainingRecipe, split: DataSplit, device: torch.device
    ) -> None:
        """Raises RunError if the folder cannot be written or holds another run."""
        self.folder, self.recipe, self.split, self.device = folder, recipe, split, device
        self.settings = {
            **asdict(request),
            **asdict(recipe),
            "channels": list(recipe.channels),
            "device": device.type,
            "train_sha256": split.train.digest(),
            "test_sha256": split.test.digest(),
        }
        self.seed = request.seed
        self.epochs: list[EpochMetrics] = []
        torch.manual_seed(request.seed)
        self.net = build_beat_net(NetSize(channels=recipe.channels, dense=recipe.dense), device, recipe.norm)
        self.average = AveragedModel(self.net, multi_avg_fn=self._running_mean)
        self.optimiser = torch.optim.AdamW(self._groups(), lr=recipe.learning_rate, fused=True)
        self._open()
        self.parallel = ThreadedGradients(self.net, request.threads if device.type == "cpu" else 1, self._offset())

    def train(self, step: Callable[[int], None]) -> Iterator[EpochMetrics]:
        """Train the remaining epochs, yielding each; `step(beats)` is called after every batch."""
        train = self.side(self.split.train)
        test = self.side(self.split.test)
        for epoch in range(len(self.epochs) + 1, self.recipe.epochs + 1):
            loss, accuracy = self.epoch(epoch, train, step)
            self.epochs.append(EpochMetrics(epoch, loss, accuracy, **self._test(test)))
            self._keep()
            yield self.epochs[-1]

    def finish(self, name: str, command: str) -> dict[str, Any]:
        """Write the checkpoint `name` and `report.json` and return the report. Raises RunError."""
        training = {
            "command": command,
            **self.settings,
            "protocol_text": SPLIT_PROTOCOLS[self.settings["protocol"]],
            "torch": str(torch.__version__),
            "train_beats": self.split.train.counts(),
            "test_beats": self.split.test.counts(),
        }
        net = self._trained()
        card = ModelCard(name, net.size, training, self._figures(net))
        report = {
            "name": name,
            "parameters": count_parameters(net),
            "size": msgspec.to_builtins(net.size),
            "training": training,
            "test": card.metrics,
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }
        try:
            save_checkpoint(self.folder / f"{name}.safetensors", net, card)
            _write_run_file(self.folder / "report.json", json.dumps(report, indent=2))
        except (OSError, safetensors.SafetensorError) as error:
            raise RunError(f"cannot write to run folder {self.folder}: {error}") from error
        return report

    def _trained(self) -> BeatNet:
        """Return the net as it would ship after this epoch: averaged if the recipe says so, normalisation folded in."""
        net: BeatNet = self.average.module if self.recipe.average else self.net  # type: ignore[assignment]
        return fold_beat_net(net)

    def _figures(self, net: BeatNet) -> dict[str, Any]:
        """Return figures on the test beats after the last epoch, and mean and spread over the last ten."""
        test = self.split.test
        scores = self.parallel.scores(net, self.side(test).beats).cpu()
        predicted: NDArray[np.int64] = scores.argmax(1).numpy()
        last = {
            key: _epoch_mean_and_sd([getattr(epoch, key) for epoch in self.epochs[-10:]])
            for key in ("test_accuracy", "test_macro_f1", "test_balanced_accuracy")
        }
        return class_scores.compute_class_metrics(class_scores.class_confusion_matrix(test.labels, predicted)) | {
            "last_epochs": last,
            "calibration": class_scores.compute_calibration(test.labels, torch.softmax(scores, 1).numpy()),
            "intervals": class_scores.bootstrap_class_intervals(
                test.labels, predicted, test.records, by_record=self.settings["protocol"] == "inter-patient"
            ),
        }

    def _offset(self) -> Tensor:
        """Return what the loss adds to the scores: a share of the logarithms of the class frequencies in training."""
        counts = torch.tensor(list(self.split.train.counts().values()), dtype=torch.float32)
        return (self.recipe.balance * torch.log(counts.clamp(min=1) / counts.sum())).to(self.device)

    def _running_mean(self, kept: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        """Move the averaged weights towards the current ones; at first quickly, to forget the random start."""
        decay = torch.clamp((1 + torch.as_tensor(steps)) / (10 + steps), max=self.recipe.average)
        for mean, now in zip(kept, current, strict=True):
            mean.lerp_(now, 1 - decay)

    def _groups(self) -> list[dict[str, Any]]:
        """Return parameter groups: weight decay for kernels and matrices, none for biases and normalisation."""
        weights = [value for value in self.net.parameters() if value.ndim > 1]
        others = [value for value in self.net.parameters() if value.ndim == 1]
        return [
            {"params": weights, "weight_decay": self.recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]

    def side(self, beats: BeatSet) -> SplitTensors:
        """Move beats (n, samples) and labels (n,) to the device."""
        return SplitTensors(
            torch.from_numpy(beats.beats).to(self.device), torch.from_numpy(beats.labels).to(self.device)
        )

    def epoch(self, epoch: int, side: SplitTensors, step: Callable[[int], None]) -> tuple[float, float]:
        """Train one pass over a side, beats (n, samples), in an order of its own; return mean loss and accuracy.

        With batch normalisation an incomplete last batch is left out: a few beats give no usable statistics.
        """
        for net in self.parallel.nets:
            net.train()
        seed = self.seed * 100_003 + epoch
        order = torch.randperm(len(side.labels), generator=torch.Generator().manual_seed(seed)).to(self.device)
        noise = torch.Generator(self.device).manual_seed(seed)
        loss = torch.zeros((), device=self.device)
        hits = torch.zeros((), dtype=torch.int64, device=self.device)
        if self.recipe.norm and len(order) > self.recipe.batch:
            order = order[: len(order) // self.recipe.batch * self.recipe.batch]
        batches = torch.split(order, self.recipe.batch)
        for number, rows in enumerate(batches):
            for group in self.optimiser.param_groups:
                group["lr"] = self.recipe.rate((epoch - 1 + number / len(batches)) / self.recipe.epochs)
            beats = side.beats[rows]
            if self.recipe.augment:
                beats = augment_beats(beats, self.recipe.augment, noise)
            batch_loss, batch_hits = self.parallel.gradients(beats, side.labels[rows])
            self.optimiser.step()
            if self.recipe.average:
                self.average.update_parameters(self.net)
            loss += batch_loss
            hits += batch_hits
            step(len(rows))
        self.parallel.settle()
        for kept, current in zip(self.average.module.buffers(), self.net.buffers(), strict=True):
            kept.copy_(current)
        return float(loss) / len(order), int(hits) / len(order)

    def _test(self, side: SplitTensors) -> dict[str, float]:
        scores = self.parallel.scores(self._trained(), side.beats)
        loss = float(nn.functional.cross_entropy(scores, side.labels))
        matrix = class_scores.class_confusion_matrix(side.labels.cpu().numpy(), scores.argmax(1).cpu().numpy())
        figures = class_scores.compute_class_metrics(matrix)
        return {"test_loss": loss} | {
            f"test_{key}": figures[key] for key in ("accuracy", "macro_f1", "balanced_accuracy")
        }

    def _open(self) -> None:
        path = self.folder / "run.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _write_run_file(path, json.dumps(self.settings, indent=2))
            before = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, ValueError) as error:
            raise RunError(f"cannot use run folder {self.folder}: {error}") from error
        changed = [key for key in self.settings if before.get(key) != self.settings[key]]
        if changed:
            raise RunError(
                f"run folder {self.folder} holds a run with other {', '.join(changed)}: choose another folder (--run)"
            )
        if (self.folder / "state.safetensors").exists():
            self._resume(self.folder / "state.safetensors")

    def _keep(self) -> None:
        tensors = {f"net.{key}": value for key, value in self.net.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in self.average.state_dict().items()}
        tensors |= optimiser_tensors(self.optimiser)
        table = io.StringIO()
        writer = csv.DictWriter(table, [field.name for field in fields(EpochMetrics)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in self.epochs)
        try:
            _write_run_file(self.folder / "metrics.csv", table.getvalue().rstrip())
            epochs = json.dumps([asdict(epoch) for epoch in self.epochs])
            tensors = {key: value.cpu().contiguous() for key, value in tensors.items()}
            with write_atomically(self.folder / "state.safetensors") as partial:  # last: now the epoch counts
                save_file(tensors, partial, {"epochs": epochs})
        except (OSError, safetensors.SafetensorError) as error:
            raise RunError(f"cannot write to run folder {self.folder}: {error}; no earlier epoch is lost") from error

    def _resume(self, path: Path) -> None:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                self.epochs = msgspec.json.decode((file.metadata() or {})["epochs"], type=list[EpochMetrics])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
            for part, module in (("net", self.net), ("average", self.average)):
                module.load_state_dict({k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{part}.")})
            restore_optimiser(self.optimiser, tensors)
        except (OSError, KeyError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            raise RunError(f"cannot resume from {path}: {error}; remove the run folder to start again") from error


def _epoch_mean_and_sd(values: list[float]) -> dict[str, float]:
    tensor = torch.tensor(values, dtype=torch.float64)
    return {"mean": float(tensor.mean()), "sd": float(tensor.std(correction=0))}


def _write_run_file(path: Path, text: str) -> None:
    with write_atomically(path) as partial:
        partial.write_text(text + "\n")
