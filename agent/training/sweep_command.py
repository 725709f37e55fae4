"""`--sweep FILE` of `ecg-agent train` and `train-live` on the terminal: a bar, a line for each trial, a table."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from agent.cluster.open_hands import TOKEN_PREFIX, WorkPlace
from agent.core.config import override_config
from agent.training.run_folder import lock_run_folder
from agent.training.sweep_picture import draw_sweep_picture
from agent.training.sweep_plan import SweepPlan
from agent.training.sweep_results import (
    best_command,
    build_sweep_table,
    describe_folds,
    describe_trial,
    rank_trials,
    write_trials_csv,
)
from agent.training.sweep_run import CANDIDATES_NAME, SweepRun
from agent.training.sweep_study import STUDY_NAME, SweepStudy, SweepTrial
from agent.training.training_hands import open_trainings
from model import device
from model.errors import RunError
from model.extras import import_extra
from model.training.borrowed_rhythms import list_annotated_records


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """The sweep's folder, its command line, where it trains, and the folders of records beside the embedded ones."""

    folder: Path
    command: str
    place: WorkPlace
    records: tuple[Path, ...] = ()


def show_sweep(plan: SweepPlan, options: SweepOptions) -> Table:
    """Run a sweep, or go on with it, and return the table of its trials; table and picture are in its folder, too.

    Raises ConfigError without Optuna, DeviceError, RecordError, what `open_trainings` does, and RunError: if the folder
    cannot be used or holds something else, or if no trial ended well. After Ctrl-C the same command goes on.
    """
    import_extra("optuna", "sweep")
    chosen = device.choose_device(plan.config.train.device)  # each trial would fail for want of it
    plan = replace(plan, config=override_config(plan.config, "train", device=chosen.type))
    files = [f"{record}.atr" for folder in options.records for record in list_annotated_records(folder)]
    _reserve_folder(options.folder)
    console = Console(soft_wrap=True)
    study = SweepStudy(plan, options.folder)
    ended = sum(trial.state != "open" for trial in study.trials())
    place = options.place if ended < plan.head.trials else WorkPlace(1)  # nothing is left to do elsewhere
    with (
        _explain_end(options.command),
        open_trainings(place, plan.head.trials, options.folder, files) as hands,
        _sweep_progress(console) as progress,
    ):
        console.print(f"{plan.command} {plan.head.name}, {plan.head.objective} of {describe_folds(plan)}")
        console.print(f"the test side is left alone; in {options.folder}")
        if ended:
            console.print(f"continues: {ended} of {plan.head.trials} trials are there already")
        bar = progress.add_task("trials", total=plan.head.trials, completed=ended)

        def show_trial(trial: SweepTrial) -> None:
            progress.advance(bar)
            progress.console.print(describe_trial(trial, plan.head.objective), markup=False)

        SweepRun(plan, study, options.folder, hands, show_trial).run()
    shutil.rmtree(options.folder / CANDIDATES_NAME, ignore_errors=True)
    return _show_results(plan, study, options.folder, console)


def _show_results(plan: SweepPlan, study: SweepStudy, folder: Path, console: Console) -> Table:
    ranked = rank_trials(study.trials())
    written = write_trials_csv(plan, ranked, folder)
    for trial in ranked:
        if trial.state == "failed":
            sys.stderr.write(f"ecg-agent: {describe_trial(trial, plan.head.objective)}\n")
    if ranked[0].state != "done":
        raise RunError(f"none of {len(ranked)} trials ended well: {written} says why")
    pictures = draw_sweep_picture(plan, ranked, folder)
    console.print(f"in {folder}: {written.name}, {', '.join(path.name for path in pictures)}, a folder for each trial")
    console.print(
        f"the best on the whole training side, tested on the test side:\n{best_command(plan, ranked[0], folder)}"
    )
    return build_sweep_table(plan, ranked)


def _reserve_folder(folder: Path) -> None:
    """Lock the sweep's folder. Raises RunError if another process has it, or something else is in it."""
    if folder.is_dir() and not (folder / STUDY_NAME).exists():
        others = sorted(path.name for path in folder.iterdir() if path.name != "run.lock")
        if others:
            raise RunError(f"{folder} holds {others[0]} and no sweep: choose another folder (--run)")
    lock_run_folder(folder)
    for left in folder.glob(f"{TOKEN_PREFIX}*"):
        left.unlink(missing_ok=True)  # of a command that was killed


@contextmanager
def _explain_end(command: str) -> Iterator[None]:
    """On Ctrl-C print one line to standard error: what is kept, and the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = "trials that have ended are kept, and the others go on"
        sys.stderr.write(f"\nInterrupted: {kept} with: {command}\n")
        raise


def _sweep_progress(console: Console) -> Progress:
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*shown, TextColumn("left"), TimeRemainingColumn(), console=console)
