"""`ecg-agent evaluate` as a person sees it: progress, the folder of the run, tables on the terminal or JSON."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agent.core.config import Config
from agent.evaluation import alarm_report, beat_report
from agent.evaluation.alarm_evaluation import ALARM_EXTENSION, evaluate_alarms
from agent.evaluation.beat_evaluation import (
    EvaluationOptions,
    check_evaluation_options,
    evaluate_beats,
    write_output_file,
)
from agent.evaluation.report_tables import EvaluationReport
from model.beats.dataset import SPLIT_PROTOCOLS
from model.errors import ConfigError

DEFAULT_COLUMNS = 100
"""Columns where there is no terminal to ask."""


def show_evaluation(config: Config, asked: EvaluationOptions, as_json: bool, html: bool) -> None:
    """Evaluate beats, write the folder of the run, and print tables or, `as_json`, the report as one JSON object.

    Raises what `agent.evaluation.beat_evaluation.evaluate_beats` raises, and CheckpointError for weights that do not
    say how they were made.
    """
    check_evaluation_options(asked)
    weights = None if asked.score_only else _weights_provenance(config)
    with _evaluation_progress() as tell:
        outcome = evaluate_beats(config, asked, tell)
    made = beat_report.build_beat_report(outcome, asked, weights)
    for name, lines in beat_report.ec57_tables(outcome.evaluated).items():
        write_output_file(asked.out / f"{name}.txt", "".join(f"{line}\n" for line in lines).encode())
    if html:
        from agent.evaluation.evaluation_page import evaluation_page

        write_output_file(asked.out / "report.html", evaluation_page(made).encode())
    files = f"report.json{', report.html' if html else ''}, bxb.txt and others"
    _show_report(made, beat_report.beat_report_tables(made), asked, files, as_json)


def show_alarm_evaluation(config: Config, asked: EvaluationOptions, as_json: bool) -> None:
    """The same of alarms: an annotation file `NAME.alm` a record and `report.json`.

    Raises RecordError where not a single record could be evaluated, ConfigError for options that make no sense, and
    RunError where the folder of the run cannot be written.
    """
    if asked.score_only or asked.mismatches:
        raise ConfigError("--alarms scores alarms, not beats: leave --score-only and --mismatches out")
    asked = replace(asked, annotator=ALARM_EXTENSION)
    with _evaluation_progress() as tell:
        outcome = evaluate_alarms(config, asked, tell)
    made = alarm_report.build_alarm_report(outcome, asked)
    _show_report(
        made, alarm_report.alarm_report_tables(made), asked, f"report.json and annotations *.{ALARM_EXTENSION}", as_json
    )


def _show_report(
    made: EvaluationReport, tables: RenderableType, asked: EvaluationOptions, files: str, as_json: bool
) -> None:
    write_output_file(asked.out / "report.json", msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    if as_json:
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
        return
    width = None if sys.stdout.isatty() else DEFAULT_COLUMNS
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    console.print(tables)
    console.print(f"in {asked.out}: {files}", soft_wrap=True)


def _weights_provenance(config: Config) -> dict[str, Any]:
    """Which weights, and what their training knew of the patients: that says what the figures are worth."""
    import torch

    from model.nets import checkpoint

    path = checkpoint.find_checkpoint(config.monitor.weights)
    _, card = checkpoint.load_checkpoint(path, torch.device("cpu"))
    protocol = card.training.get("protocol")
    return {
        "name": card.name,
        "sha256": checkpoint.digest_checkpoint(path),
        "protocol": protocol,
        "sentence": SPLIT_PROTOCOLS.get(protocol or "", "it is not known what they were trained on"),
    }


@contextmanager
def _evaluation_progress() -> Iterator[Callable[[float, float], object]]:
    """A bar on the terminal; what is given hears how much is done, of how much."""
    console = Console(stderr=True)
    parts = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    bar = Progress(*parts, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("evaluating", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
