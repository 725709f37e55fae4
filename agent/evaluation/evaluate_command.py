"""`ecg-agent evaluate`: a progress bar, the folder of the run, and tables on the terminal or JSON."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.core.config import Config
from agent.evaluation import alarm_report, beat_report, challenge_report
from agent.evaluation.alarm_evaluation import ALARM_EXTENSION, evaluate_alarms
from agent.evaluation.beat_evaluation import evaluate_beats, write_output_file
from agent.evaluation.challenge_alarms import evaluate_challenge, is_challenge_folder
from agent.evaluation.record_selection import EvaluationOptions, check_evaluation_options, record_names
from agent.evaluation.report_tables import EvaluationReport
from model.beats.dataset import describe_training_patients, list_heard_records
from model.errors import ConfigError

DEFAULT_COLUMNS = 100
"""Width of the tables if the output is no terminal."""


def show_evaluation(config: Config, options: EvaluationOptions, as_json: bool, html: bool) -> None:
    """Evaluate beats, write the folder of the run, and print tables or, with `as_json`, the report as JSON.

    Raises what `agent.evaluation.beat_evaluation.evaluate_beats` raises, and CheckpointError for weights without a
    record of their training.
    """
    check_evaluation_options(options)
    weights = None if options.score_only else _weights_provenance(config, record_names(options))
    with _evaluation_progress() as on_progress:
        evaluation = evaluate_beats(config, options, on_progress)
    report = beat_report.build_beat_report(evaluation, options, weights)
    for name, lines in beat_report.ec57_tables(evaluation.evaluated).items():
        write_output_file(options.out / f"{name}.txt", "".join(f"{line}\n" for line in lines).encode())
    if html:
        from agent.evaluation.evaluation_page import evaluation_page

        write_output_file(options.out / "report.html", evaluation_page(report).encode())
    files = f"report.json{', report.html' if html else ''}, bxb.txt and others"
    _show_report(report, beat_report.beat_report_tables(report), options, files, as_json)


def show_alarm_evaluation(config: Config, options: EvaluationOptions, as_json: bool) -> None:
    """Evaluate alarms, write `NAME.alm` for each record and `report.json`, and print tables or JSON.

    A folder with a list `ALARMS` is scored as one of the PhysioNet/CinC Challenge 2015, without `NAME.alm`. Raises what
    `evaluate_alarms` and `evaluate_challenge` raise.
    """
    if options.score_only or options.mismatches:
        raise ConfigError("--alarms scores alarms, not beats: leave --score-only and --mismatches out")
    if is_challenge_folder(options.folder):
        with _evaluation_progress() as on_progress:
            challenge = evaluate_challenge(config, options, on_progress)
        report = challenge_report.build_challenge_report(challenge, options)
        _show_report(report, challenge_report.challenge_report_tables(report), options, "report.json", as_json)
        return
    options = replace(options, annotator=ALARM_EXTENSION)
    with _evaluation_progress() as on_progress:
        evaluation = evaluate_alarms(config, options, on_progress)
    report = alarm_report.build_alarm_report(evaluation, options)
    files = f"report.json and annotations *.{ALARM_EXTENSION}"
    _show_report(report, alarm_report.alarm_report_tables(report), options, files, as_json)


def show_standard(config: Config, as_json: bool, record_options: Sequence[object]) -> None:
    """Measure the lines of IEC 60601-2-27 and AAMI EC13 that a monitor's manual prints; print a table or JSON.

    Raises ConfigError if one of `record_options`, which choose or score records, is set, and CheckpointError for
    weights that cannot be used.
    """
    if any(record_options):
        raise ConfigError("--standard makes its own signals: use only --json, --weights, --device, --config with it")
    from agent.analysis.beat_classifier import load_beat_classifier
    from agent.evaluation.standard_report import measure_standard, standard_report, standard_tables

    settings = config.monitor
    classify = load_beat_classifier(settings.weights, settings.device, settings.threads)
    with _evaluation_progress() as on_progress:
        lines = measure_standard(config, classify, on_progress)
    if as_json:
        sys.stdout.write(msgspec.json.encode(standard_report(lines)).decode() + "\n")
    else:
        _report_console().print(standard_tables(lines))


def _show_report(
    report: EvaluationReport, tables: RenderableType, options: EvaluationOptions, files: str, as_json: bool
) -> None:
    write_output_file(options.out / "report.json", msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        return
    console = _report_console()
    console.print(tables)
    console.print(f"in {options.out}: {files}", soft_wrap=True)


def _report_console() -> Console:
    width = None if sys.stdout.isatty() else DEFAULT_COLUMNS
    return Console(width=width, highlight=False, markup=False, emoji=False)


def _weights_provenance(config: Config, names: Sequence[str]) -> dict[str, Any]:
    """Return which weights are evaluated, whose beats they have learnt, and which of the records with these `names`."""
    import torch

    from model.nets import checkpoint, checkpoint_card

    path = checkpoint_card.find_checkpoint(config.monitor.weights)
    _, card = checkpoint.load_checkpoint(path, torch.device("cpu"))
    return {
        "name": card.name,
        "sha256": checkpoint_card.digest_checkpoint(path),
        "protocol": card.training.get("protocol"),
        "sentence": describe_training_patients(card.training),
        "leads": config.monitor.lead,
        "heard": list_heard_records(card.training, (Path(name).name for name in names)),
    }


@contextmanager
def _evaluation_progress() -> Iterator[Callable[[float, float], object]]:
    """Show a progress bar on the terminal; the context yields a function of what is done and the total."""
    console = Console(stderr=True)
    parts = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    bar = Progress(*parts, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("evaluating", total=None)
        yield lambda done_s, total_s: bar.update(task, completed=done_s, total=total_s)
