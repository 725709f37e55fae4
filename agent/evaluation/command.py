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
from agent.evaluation import alarm_report, report
from agent.evaluation.alarms import ANNOTATOR, evaluate_alarms
from agent.evaluation.beats import Asked, check, evaluate, write
from agent.evaluation.report import Report
from model.beats.dataset import PROTOCOLS
from model.errors import ConfigError

TERMINAL = 100
"""Columns where there is no terminal to ask."""


def show_evaluation(config: Config, asked: Asked, as_json: bool, html: bool) -> None:
    """Evaluate beats, write the folder of the run, and print tables or, `as_json`, the report as one JSON object.

    Raises what `agent.evaluation.beats.evaluate` raises, and CheckpointError for weights that do not say how they were
    made.
    """
    check(asked)
    weights = None if asked.score_only else _weights(config)
    with _progress() as tell:
        outcome = evaluate(config, asked, tell)
    made = report.report(outcome, asked, weights)
    for name, lines in report.ec57_tables(outcome.evaluated).items():
        write(asked.out / f"{name}.txt", "".join(f"{line}\n" for line in lines).encode())
    if html:
        from agent.evaluation.page import page

        write(asked.out / "report.html", page(made).encode())
    files = f"report.json{', report.html' if html else ''}, bxb.txt and others"
    _show(made, report.tables(made), asked, files, as_json)


def show_alarm_evaluation(config: Config, asked: Asked, as_json: bool) -> None:
    """The same of alarms: an annotation file `NAME.alm` a record and `report.json`.

    Raises RecordError where not a single record could be evaluated, ConfigError for options that make no sense, and
    RunError where the folder of the run cannot be written.
    """
    if asked.score_only or asked.mismatches:
        raise ConfigError("--alarms scores alarms, not beats: leave --score-only and --mismatches out")
    asked = replace(asked, annotator=ANNOTATOR)
    with _progress() as tell:
        outcome = evaluate_alarms(config, asked, tell)
    made = alarm_report.report(outcome, asked)
    _show(made, alarm_report.tables(made), asked, f"report.json and annotations *.{ANNOTATOR}", as_json)


def _show(made: Report, tables: RenderableType, asked: Asked, files: str, as_json: bool) -> None:
    write(asked.out / "report.json", msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    if as_json:
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
        return
    width = None if sys.stdout.isatty() else TERMINAL
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    console.print(tables)
    console.print(f"in {asked.out}: {files}", soft_wrap=True)


def _weights(config: Config) -> dict[str, Any]:
    """Which weights, and what their training knew of the patients: that says what the figures are worth."""
    import torch

    from model.nets import checkpoint

    path = checkpoint.find(config.monitor.weights)
    _, card = checkpoint.load(path, torch.device("cpu"))
    protocol = card.training.get("protocol")
    return {
        "name": card.name,
        "sha256": checkpoint.digest(path),
        "protocol": protocol,
        "sentence": PROTOCOLS.get(protocol or "", "it is not known what they were trained on"),
    }


@contextmanager
def _progress() -> Iterator[Callable[[float, float], object]]:
    """A bar on the terminal; what is given hears how much is done, of how much."""
    console = Console(stderr=True)
    parts = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    bar = Progress(*parts, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with bar:
        task = bar.add_task("evaluating", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
