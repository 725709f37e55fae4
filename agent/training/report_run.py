"""`ecg-agent train` on the terminal: progress bars with the time left, one line per epoch, pictures at the end."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.core.config import Config
from agent.training.run_folder import check_checkpoint_name, explain_interruption, lock_run_folder
from model import device
from model.beats import dataset
from model.errors import ConfigError
from model.training import training_figures
from model.training.training_run import EpochMetrics, TrainingRequest, TrainingRun


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Run folder, name of the checkpoint, command line, fold to test on (None: the test side), TensorBoard or not."""

    folder: Path
    name: str
    command: str
    fold: int | None
    tensorboard: bool


def show_training(config: Config, options: TrainingOptions) -> None:
    """Train as `config` says and show the progress; write checkpoint, report and pictures into the run folder.

    Raises ConfigError, DeviceError or RunError. After Ctrl-C the same command continues the run.
    """
    check_checkpoint_name(options.name)
    with explain_interruption(options.command, resumable=True):
        _train_in_folder(config, options)


def _train_in_folder(config: Config, options: TrainingOptions) -> None:
    console = Console(soft_wrap=True)
    train = config.train
    recipe = config.recipe[train.recipe]
    chosen = device.choose_device(train.device)
    log = _tensorboard_logger(options.folder) if options.tensorboard else lambda _: None
    with console.status("building the data set"):
        split = dataset.split_beat_set(
            dataset.load_beat_set(), train.protocol, train.split_seed, recipe.drop_normal, options.fold
        )
    lock_run_folder(options.folder)
    request = TrainingRequest(train.recipe, train.protocol, train.seed, train.split_seed, train.threads, options.fold)
    run = TrainingRun(options.folder, request, recipe, split, chosen)
    console.print(f"{train.recipe}, {dataset.SPLIT_PROTOCOLS[train.protocol]}")
    console.print(f"train {split.train.counts()}\ntest  {split.test.counts()}")
    console.print(f"on {device.describe_device(chosen)}, in {options.folder}")
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
    report = run.finish(options.name, options.command)
    pictures = training_figures.draw_training_figures(report, options.folder)
    console.print(
        f"in {options.folder}: {options.name}.safetensors, report.json, metrics.csv and {len(pictures)} pictures\n"
        f"accuracy {report['test']['accuracy']:.2%}, macro-F1 {report['test']['macro_f1']:.2%}, "
        f"balanced accuracy {report['test']['balanced_accuracy']:.2%}"
    )


def _tensorboard_logger(folder: Path) -> Callable[[EpochMetrics], None]:
    """Return a function that logs an epoch for TensorBoard. Raises ConfigError if it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("TensorBoard is not installed: pip install 'ecg-agent[tensorboard]'") from None
    writer = SummaryWriter(folder / "tensorboard")

    def log(epoch: EpochMetrics) -> None:
        """Write the figures of an epoch."""
        for key, value in asdict(epoch).items():
            if key != "epoch":
                side, _, figure = key.partition("_")
                writer.add_scalar(f"{figure}/{side}", value, epoch.epoch)
        writer.flush()

    return log


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
