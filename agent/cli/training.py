"""`ecg-agent train`, `train-live` and `transfer`: options of the commands that train nets."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agent.cli.completion import complete_from, complete_recipe, complete_weights
from agent.cli.options import (
    ChildOption,
    ConfigFileOption,
    DeviceOption,
    SeedOption,
    SweepClusterOption,
    SweepJobsOption,
    SweepOption,
)
from agent.cli.stop_signals import interrupt_on_sigterm
from agent.cli.work_place import CLUSTER, choose_work_place
from agent.core import config as configuration
from model.errors import ConfigError

if TYPE_CHECKING:
    from agent.cluster.open_hands import WorkPlace


def start_training(
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Train by the recipe reproduction, best, or one of your config file.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Split the beats by random, or by inter-patient (DS1 against DS2).",
            autocompletion=complete_from("random", "inter-patient"),
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Keep the run here, and continue it if interrupted.", show_default="runs/NAME"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name the checkpoint.")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="NUMBER", help="Passes over the training beats.")] = None,
    seed: SeedOption = None,
    fold: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Test on this fifth of the training side instead.", min=0, max=4),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write logs for TensorBoard into the run folder.")
    ] = False,
    sweep: SweepOption = None,
    jobs: SweepJobsOption = None,
    cluster: SweepClusterOption = None,
    device: DeviceOption = None,
    config: ConfigFileOption = None,
    child: ChildOption = False,
) -> None:
    """Train the net on the beats of the embedded records."""
    _follow_parent(child)
    settings = configuration.load_config(config)
    settings = configuration.override_config(
        settings, "train", recipe=recipe, protocol=protocol, seed=seed, device=device
    )
    settings = configuration.override_config(settings, f"recipe.{settings.train.recipe}", epochs=epochs)
    if sweep is not None:
        others = {"--name": name, "--fold": fold, "--tensorboard": tensorboard}
        _run_sweep("train", sweep, settings, run, choose_work_place(jobs, cluster), others)
        return
    _refuse_places(jobs, cluster)
    from agent.training.report_run import TrainingOptions, show_training

    chosen = settings.train
    name = name or chosen.recipe + ("" if chosen.protocol == "random" else f"-{chosen.protocol}")
    show_training(settings, TrainingOptions(run or Path("runs") / name, name, _command_line(), fold, tensorboard))


def start_live_training(
    run: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the run here.", show_default="runs/NAME")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name the checkpoint.", show_default="live")] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Seed of the altered records, the initial weights and the order."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Test on this fifth of the training side instead of DS2.", min=0, max=4),
    ] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Learn these annotated WFDB records too. Repeat it for more folders."),
    ] = None,
    rhythms: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Borrow rhythms from these beat annotations, which need no signal."),
    ] = None,
    candidates: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep what is learnt here, for other trainings that learn the same."),
    ] = None,
    sweep: SweepOption = None,
    jobs: SweepJobsOption = None,
    cluster: SweepClusterOption = None,
    device: DeviceOption = None,
    config: ConfigFileOption = None,
    child: ChildOption = False,
) -> None:
    """Train the live monitor's net on what its own stages see in the records of DS1, and in yours."""
    _follow_parent(child)
    settings = configuration.override_config(configuration.load_config(config), "train", seed=seed, device=device)
    if sweep is not None:
        others = {"--name": name, "--fold": fold, "--candidates": candidates}
        folders = {"--records": records or (), "--rhythms": rhythms or ()}
        _run_sweep("train-live", sweep, settings, run, choose_work_place(jobs, cluster), others, folders)
        return
    _refuse_places(jobs, cluster)
    from agent.training.live_run import LiveSources, show_live_training

    sources = LiveSources(tuple(records or ()), tuple(rhythms or ()))
    name = name or "live"
    folder = run or Path("runs") / name
    show_live_training(settings, folder, name, _command_line(), fold, sources, candidates)


def compare_transfer(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A .npz file of PTB-XL, or the folder of the PTB Diagnostic Database."),
    ],
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Use shipped weights by name, or a .safetensors file.",
            autocompletion=complete_weights,
        ),
    ] = "best",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    run: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Write figures, curves and the trained head here.")
    ] = Path("runs/transfer"),
) -> None:
    """Detect myocardial infarction with a net trained on arrhythmia, and compare it with two baselines."""
    from agent.training.transfer_run import show_transfer

    show_transfer(data, weights, run, json, _command_line())


def _run_sweep(
    command: Literal["train", "train-live"],
    file: Path,
    settings: configuration.Config,
    run: Path | None,
    place: "WorkPlace",
    others: Mapping[str, object],
    folders: Mapping[str, Sequence[Path]] = {},  # it cannot change
) -> None:
    """Run a sweep and print its table. Raises ConfigError for one of the `others`, options that a sweep has no use for.

    `folders` of records, by option, go to each of its trainings.
    """
    if given := [option for option, value in others.items() if value not in (None, False)]:
        raise ConfigError(f"{given[0]} does not go with --sweep: the sweep file names folds and runs")
    from agent.cli.tables import print_table
    from agent.cluster.open_hands import configure_place
    from agent.training.sweep_command import SweepOptions, show_sweep
    from agent.training.sweep_plan import read_sweep_plan

    given_folders = [(option, folder) for option, listed in folders.items() for folder in listed]
    arguments = tuple(word for option, folder in given_folders for word in (option, str(folder)))
    plan = read_sweep_plan(file, command, configure_place(settings, place, "train"), arguments)
    folder = run or Path("runs") / plan.head.name
    records = tuple(of for _, of in given_folders)
    interrupt_on_sigterm()
    print_table(show_sweep(plan, SweepOptions(folder, _command_line(), place, records)))


def _refuse_places(jobs: int | None, cluster: str | None) -> None:
    """Raise ConfigError if one training is to be done in several places."""
    if (jobs or 1) > 1 or cluster is not None:
        option = CLUSTER if cluster is not None else "--jobs"
        raise ConfigError(f"{option} goes with --sweep: one training is one process")


def _follow_parent(child: bool) -> None:
    """Let a training of a sweep end with the sweep."""
    if child:
        from agent.training.training_process import end_with_input

        end_with_input()


def _command_line() -> str:
    """Return the command as it was typed, for the reports of training runs."""
    return shlex.join(["ecg-agent", *(word for word in sys.argv[1:] if word != "--child")])
