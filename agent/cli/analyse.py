"""The command analyse: a progress bar while it runs, then a table, or JSON."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.completion import complete_record
from agent.cli.options import (
    ClusterOption,
    ConfigFileOption,
    DeviceOption,
    FileRateOption,
    FileUnitOption,
    JobsOption,
    WeightsOption,
    load_net_config,
)
from agent.cli.stop_signals import interrupt_on_sigterm
from agent.cli.work_place import choose_work_place
from agent.core.config import Config
from model.errors import RecordError

if TYPE_CHECKING:
    from agent.batch.batch_run import BatchOptions, BatchProgress

ANALYSE_EPILOG = (
    "Each file has a folder of its own in --out: beats.csv, alarms.csv, results.jsonl (the lines of monitor --json), "
    "annotations for WFDB programs (.ecg). What is there from the same file is kept. Exit code 4 if a file failed."
)


def analyse_recordings(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Recordings: CSV, EDF, WFDB and others; folders of them; embedded records such as 208.",
            autocompletion=complete_record,
        ),
    ],
    fs: FileRateOption = None,
    unit: FileUnitOption = None,
    lead: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Leads to analyse by name or number, with commas between them; auto takes two: MLII, II or the first, "
            "and the next one.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write the results here.")] = Path("analysis"),
    report: Annotated[bool, typer.Option("--report", help="Write a report of each file as HTML and PDF, too.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write the tables as Parquet, too.")] = False,
    jobs: JobsOption = None,
    cluster: ClusterOption = None,
    force: Annotated[bool, typer.Option("--force", help="Analyse again what is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON instead of a table.")] = False,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    config: ConfigFileOption = None,
) -> None:
    """From recordings to their beats: find and classify every beat of files, raise alarms."""
    settings = load_net_config(config, weights, device, lead)
    from agent.batch.batch_run import BatchOptions
    from agent.batch.result_writer import ResultKinds
    from model.extras import import_extra
    from model.formats.signal_file import SignalFileOptions

    if parquet:
        import_extra("pyarrow", "parquet")
    place = choose_work_place(jobs, cluster)
    options = BatchOptions(tuple(files), out, SignalFileOptions(fs, unit), ResultKinds(report, parquet), place, force)
    _run_and_show(settings, options, json)


def _run_and_show(config: Config, options: "BatchOptions", json: bool) -> None:
    """Analyse files and print what became of them. Raises RecordError if a file failed."""
    import msgspec

    from agent.batch.batch_files import list_tables_left_out
    from agent.batch.batch_run import run_batch
    from agent.batch.batch_summary import batch_to_json, build_batch_table, list_remarks
    from agent.cli.tables import print_table

    interrupt_on_sigterm()
    with _batch_progress() as on_progress:
        outcomes = run_batch(config, options, on_progress)
    failed = [outcome for outcome in outcomes if outcome.summary is None]
    if json:
        sys.stdout.write(msgspec.json.encode(batch_to_json(outcomes, options.out)).decode() + "\n")
    elif len(failed) < len(outcomes):
        print_table(build_batch_table(outcomes))
        typer.echo(f"in {options.out}, a folder for each; alarms of high/medium/low priority")
    for remark in (*list_remarks(outcomes), *list_tables_left_out(options.arguments)):
        typer.echo(f"ecg-agent: {remark}", err=True)
    if failed:
        raise RecordError(f"{len(failed)} of {len(outcomes)} files could not be analysed")


@contextmanager
def _batch_progress() -> Iterator[Callable[["BatchProgress"], object]]:
    """Show a progress bar on the terminal; the context yields a function of how far the batch is."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    parts = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    bar = Progress(*parts, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("analysing", total=None)

        def show_progress(at: "BatchProgress") -> None:
            failed = f", {at.failed} failed" if at.failed else ""
            rate = f", {at.rate / 3600:.2g} h of ECG a second" if at.rate else ""
            text = f"{at.done_files} of {at.files} files done{failed}{rate}"
            bar.update(task, completed=at.done_bytes, total=at.total_bytes, description=text)

        yield show_progress
