"""The training run of the report: Adam, cross-entropy, a fixed number of epochs, all data on the device.

A run lives in a folder: `run.json` (what was asked), `state.safetensors` (weights, optimiser and figures after the last
finished epoch, written in one step), `metrics.csv`, and at the end the checkpoint and `report.json`. The order of the
beats follows from seed and epoch alone, so a run that was interrupted continues to the same result.
"""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model import evaluation
from model.checkpoint import Card, save
from model.dataset import BeatSet, Split
from model.errors import RunError
from model.net import NetSize, build


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train, as in `[train]` of config.toml; `drop_normal` N beats are removed from the training side."""

    epochs: int
    batch: int
    learning_rate: float
    drop_normal: int
    seed: int
    split_seed: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """Figures after one epoch; losses are means of the cross-entropy, the training ones taken while it ran."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    test_macro_f1: float
    test_balanced_accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One side of a split on the device."""

    beats: Tensor
    labels: Tensor


class Run:
    """One training run in its folder; made new, or continued where its `state.safetensors` stands."""

    def __init__(self, folder: Path, settings: TrainSettings, split: Split, device: torch.device) -> None:
        """Raises RunError where the folder cannot be written or holds another run."""
        self.folder, self.settings, self.split, self.device = folder, settings, split, device
        self.asked = {
            **asdict(settings),
            "device": device.type,
            "train_sha256": split.train.digest(),
            "test_sha256": split.test.digest(),
        }
        self.epochs: list[Epoch] = []
        torch.manual_seed(settings.seed)
        self.net = build(NetSize(), device)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.learning_rate)
        self._open()

    def train(self, step: Callable[[int], None]) -> Iterator[Epoch]:
        """Train the epochs that are left, yielding each; `step(beats)` is called after every batch."""
        train, test = self._side(self.split.train), self._side(self.split.test)
        for epoch in range(len(self.epochs) + 1, self.settings.epochs + 1):
            loss, accuracy = self._epoch(epoch, train, step)
            self.epochs.append(Epoch(epoch, loss, accuracy, **self._test(test)))
            self._keep()
            yield self.epochs[-1]

    def finish(self, name: str, command: str) -> Path:
        """Write the report and the checkpoint `name`; returns the checkpoint's path."""
        training = {
            **self.asked,
            "command": command,
            "protocol": "random split of the beats: the same patients are on both sides",
            "torch": str(torch.__version__),
            "threads": torch.get_num_threads(),
            "train_beats": self.split.train.counts(),
            "test_beats": self.split.test.counts(),
        }
        figures = self._figures()
        path = self.folder / f"{name}.safetensors"
        try:
            save(path, self.net, Card(name, self.net.size, training, figures))
            _write(self.folder / "report.json", json.dumps({"training": training, "test": figures}, indent=2))
        except (OSError, safetensors.SafetensorError) as error:
            raise RunError(f"cannot write to run folder {self.folder}: {error}") from error
        return path

    def _figures(self) -> dict[str, Any]:
        """Figures on the test beats after the last epoch, and mean and spread over the last ten."""
        said = evaluation.scores(self.net, self._side(self.split.test).beats).argmax(1).cpu().numpy()
        last = {
            key: _mean_and_sd([getattr(epoch, key) for epoch in self.epochs[-10:]])
            for key in ("test_accuracy", "test_macro_f1", "test_balanced_accuracy")
        }
        return evaluation.figures(evaluation.confusion(self.split.test.labels, said)) | {"last_epochs": last}

    def _side(self, beats: BeatSet) -> Side:
        return Side(torch.from_numpy(beats.beats).to(self.device), torch.from_numpy(beats.labels).to(self.device))

    def _epoch(self, epoch: int, side: Side, step: Callable[[int], None]) -> tuple[float, float]:
        """One pass over the training side in an order of its own: mean loss and accuracy while it ran."""
        self.net.train()
        order = torch.randperm(len(side.labels), generator=torch.Generator().manual_seed(self._order_seed(epoch)))
        loss_sum = torch.zeros((), device=self.device)
        hits = torch.zeros((), dtype=torch.int64, device=self.device)
        for rows in torch.split(order.to(self.device), self.settings.batch):
            beats, labels = side.beats[rows], side.labels[rows]
            scores = self.net(beats)
            loss = nn.functional.cross_entropy(scores, labels)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in PyTorch
            self.optimiser.step()
            loss_sum += loss.detach() * len(rows)
            hits += (scores.detach().argmax(1) == labels).sum()
            step(len(rows))
        return float(loss_sum) / len(order), int(hits) / len(order)

    def _order_seed(self, epoch: int) -> int:
        return self.settings.seed * 100_003 + epoch

    def _test(self, side: Side) -> dict[str, float]:
        scores = evaluation.scores(self.net, side.beats)
        loss = float(nn.functional.cross_entropy(scores, side.labels))
        matrix = evaluation.confusion(side.labels.cpu().numpy(), scores.argmax(1).cpu().numpy())
        figures = evaluation.figures(matrix)
        return {"test_loss": loss} | {
            f"test_{key}": figures[key] for key in ("accuracy", "macro_f1", "balanced_accuracy")
        }

    def _open(self) -> None:
        path = self.folder / "run.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _write(path, json.dumps(self.asked, indent=2))
            before = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (OSError, ValueError) as error:
            raise RunError(f"cannot use run folder {self.folder}: {error}") from error
        changed = [key for key in self.asked if before.get(key) != self.asked[key]]
        if changed:
            raise RunError(
                f"run folder {self.folder} holds a run with other {', '.join(changed)}: choose another folder (--run)"
            )
        if (self.folder / "state.safetensors").exists():
            self._resume(self.folder / "state.safetensors")

    def _keep(self) -> None:
        tensors = {f"net.{key}": value for key, value in self.net.state_dict().items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{key}": value for key, value in values.items()}
        epochs = json.dumps([asdict(epoch) for epoch in self.epochs])
        partial = self.folder / "state.partial"
        try:
            with (self.folder / "metrics.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
                writer.writeheader()
                writer.writerows(asdict(epoch) for epoch in self.epochs)
            save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, partial, {"epochs": epochs})
            partial.replace(self.folder / "state.safetensors")  # last: an epoch counts once all of it is written
        except (OSError, safetensors.SafetensorError) as error:
            raise RunError(f"cannot write to run folder {self.folder}: {error}") from error

    def _resume(self, path: Path) -> None:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                self.epochs = msgspec.json.decode((file.metadata() or {})["epochs"], type=list[Epoch])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
            self.net.load_state_dict({key[4:]: value for key, value in tensors.items() if key.startswith("net.")})
            state: dict[int, dict[str, Any]] = {}
            for key, value in tensors.items():
                if key.startswith("adam."):
                    _, number, name = key.split(".")
                    state.setdefault(int(number), {})[name] = value
            groups = self.optimiser.state_dict()["param_groups"]
            self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        except (OSError, KeyError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            raise RunError(f"cannot resume from {path}: {error}; remove the run folder to start anew") from error


def _mean_and_sd(values: list[float]) -> dict[str, float]:
    tensor = torch.tensor(values, dtype=torch.float64)
    return {"mean": float(tensor.mean()), "sd": float(tensor.std(correction=0))}


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text + "\n")
    partial.replace(path)
