"""`ecg-agent train` on the terminal: progress bars with the time left, a line an epoch, pictures at the end."""

import fcntl
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.core.config import Config
from model import device
from model.beats import dataset
from model.errors import ConfigError, RunError
from model.training import training_figures
from model.training.training_run import EpochMetrics, TrainingRequest, TrainingRun


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Where to train, what to call the checkpoint, the command that asked, the fold to test on, logs or not."""

    folder: Path
    name: str
    command: str
    fold: int | None
    tensorboard: bool


def show_training(config: Config, order: TrainingOptions) -> None:
    """Train as `config` says, showing it on the terminal; checkpoint, report and pictures are left in the folder."""
    check_checkpoint_name(order.name)
    console = Console(soft_wrap=True)
    train, recipe = config.train, config.recipe[config.train.recipe]
    chosen = device.choose_device(train.device)
    log = _tensorboard_logger(order.folder) if order.tensorboard else lambda _: None
    with console.status("building the data set"):
        split = dataset.split_beat_set(
            dataset.load_beat_set(), train.protocol, train.split_seed, recipe.drop_normal, order.fold
        )
    lock_run_folder(order.folder)
    asked = TrainingRequest(train.recipe, train.protocol, train.seed, train.split_seed, train.threads, order.fold)
    run = TrainingRun(order.folder, asked, recipe, split, chosen)
    console.print(f"{train.recipe}, {dataset.SPLIT_PROTOCOLS[train.protocol]}")
    console.print(f"train {split.train.counts()}\ntest  {split.test.counts()}")
    console.print(f"on {device.describe_device(chosen)}, in {order.folder}")
    if len(run.epochs) == recipe.epochs:
        console.print(f"all {recipe.epochs} epochs are trained already")
    elif run.epochs:
        console.print(f"continues after epoch {run.epochs[-1].epoch}")
    with _training_progress(console) as progress:
        all_epochs = progress.add_task("epochs", total=recipe.epochs, completed=len(run.epochs))
        this_epoch = progress.add_task("beats", total=len(split.train))
        for epoch in run.train(lambda beats: progress.advance(this_epoch, beats)):
            progress.reset(this_epoch)
            progress.advance(all_epochs)
            progress.console.print(_epoch_line(epoch))
            log(epoch)
    report = run.finish(order.name, order.command)
    pictures = training_figures.draw_training_figures(report, order.folder)
    console.print(
        f"in {order.folder}: {order.name}.safetensors, report.json, metrics.csv and {len(pictures)} pictures\n"
        f"accuracy {report['test']['accuracy']:.2%}, macro-F1 {report['test']['macro_f1']:.2%}, "
        f"balanced accuracy {report['test']['balanced_accuracy']:.2%}"
    )


def _tensorboard_logger(folder: Path) -> Callable[[EpochMetrics], None]:
    """What logs an epoch for TensorBoard. Raises ConfigError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("TensorBoard is not installed: pip install 'ecg-agent[tensorboard]'") from None
    writer = SummaryWriter(folder / "tensorboard")

    def log(epoch: EpochMetrics) -> None:
        for key, value in asdict(epoch).items():
            if key != "epoch":
                side, _, figure = key.partition("_")
                writer.add_scalar(f"{figure}/{side}", value, epoch.epoch)
        writer.flush()

    return log


def check_checkpoint_name(name: str) -> None:
    """Raises ConfigError for a name of a checkpoint that would leave its folder."""
    if name in ("", ".", "..") or set(name) & set("/\\"):
        raise ConfigError(f"{name!r} is no name of a checkpoint: choose one without slashes (--name)")


def lock_run_folder(folder: Path) -> None:
    """Keep the run folder to this process until it ends. Raises RunError where another one trains in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "run.lock", os.O_WRONLY | os.O_CREAT, 0o666)  # open as long as the process lives
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"another process trains in {folder}: wait for it or choose another folder (--run)") from None
    except OSError as error:
        raise RunError(f"cannot use run folder {folder}: {error.strerror}; choose another folder (--run)") from error


def _training_progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def _epoch_line(epoch: EpochMetrics) -> str:
    return (
        f"epoch {epoch.epoch:3d}  loss train {epoch.train_loss:.4f} test {epoch.test_loss:.4f}  "
        f"accuracy train {epoch.train_accuracy:.4f} test {epoch.test_accuracy:.4f}  "
        f"macro-F1 {epoch.test_macro_f1:.4f}  balanced {epoch.test_balanced_accuracy:.4f}"
    )
