"""`ecg-agent train` on the terminal: progress bars with the time left, and a line of figures an epoch."""

import fcntl
from dataclasses import fields
from pathlib import Path
from typing import TextIO

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.config import TrainConfig
from model import dataset, device
from model.errors import RunError
from model.train import Epoch, Run, TrainSettings

_claims: list[TextIO] = []
"""Lock files, open as long as the process lives."""


def show_training(config: TrainConfig, folder: Path, name: str, command: str) -> None:
    """Train in `folder`, showing it on the terminal, and leave checkpoint `name` and the report there."""
    console = Console(soft_wrap=True)
    torch.set_num_threads(config.threads)
    chosen = device.choose(config.device)
    settings = TrainSettings(**{field.name: getattr(config, field.name) for field in fields(TrainSettings)})
    with console.status("building the data set"):
        split = dataset.published_split(dataset.load(), settings.split_seed, settings.drop_normal)
    _claim(folder)
    run = Run(folder, settings, split, chosen)
    console.print(f"train {split.train.counts()}\ntest  {split.test.counts()}")
    console.print(f"on {device.describe(chosen)}, in {folder}")
    if run.epochs:
        console.print(f"continues after epoch {run.epochs[-1].epoch}")
    with _progress(console) as progress:
        all_epochs = progress.add_task("epochs", total=settings.epochs, completed=len(run.epochs))
        this_epoch = progress.add_task("beats", total=len(split.train))
        for epoch in run.train(lambda beats: progress.advance(this_epoch, beats)):
            progress.reset(this_epoch)
            progress.advance(all_epochs)
            progress.console.print(_line(epoch))
    console.print(f"checkpoint {run.finish(name, command)}, figures {folder / 'report.json'}")


def _claim(folder: Path) -> None:
    """Keep the run folder to this process until it ends. Raises RunError where another one trains in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _claims.append((folder / "run.lock").open("w"))
        fcntl.flock(_claims[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"another process trains in {folder}: wait for it or choose another folder (--run)") from None
    except OSError as error:
        raise RunError(f"cannot use run folder {folder}: {error}") from error


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def _line(epoch: Epoch) -> str:
    return (
        f"epoch {epoch.epoch:3d}  loss train {epoch.train_loss:.4f} test {epoch.test_loss:.4f}  "
        f"accuracy train {epoch.train_accuracy:.4f} test {epoch.test_accuracy:.4f}  "
        f"macro-F1 {epoch.test_macro_f1:.4f}  balanced {epoch.test_balanced_accuracy:.4f}"
    )
