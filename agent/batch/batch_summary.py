"""What became of the files of a batch, as a table for people and as an object for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from agent.batch.file_analysis import FileOutcome
from agent.batch.manifest import valid_text
from agent.core.messages import PRIORITIES
from model.records.wfdb_records import CLASSES
from model.text import format_clock

CLASS_STYLES = {"N": "", "S": "cyan", "V": "red", "F": "magenta", "Q": "yellow"}


def build_batch_table(outcomes: Sequence[FileOutcome]) -> Table:
    """Build a table of the files that have results, less than 80 columns unless names are long.

    Beats by class, alarms by priority: high/medium/low.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold", min_width=6)
    for title in ("length", *CLASSES, "HR", "alarms", "missing"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for outcome in outcomes:
        if (summary := outcome.summary) is None:
            continue
        beats = (Text(f"{summary.beats[name]:,}", CLASS_STYLES[name]) for name in CLASSES)
        alarms = "/".join(f"{summary.alarms.get(priority, 0):,}" for priority in PRIORITIES)
        rate = "-" if summary.heart_rate is None else f"{summary.heart_rate:.0f}"
        missing = _format_missing(summary.missing_s)
        name = Text(outcome.file.name)
        kept = "kept" if outcome.is_kept else ""
        table.add_row(name, format_clock(summary.duration_s), *beats, rate, alarms, missing, kept)
    return table


def _format_missing(seconds: float) -> str:
    """Return a length of time, "" for none: a minute or more as a clock shows it."""
    return format_clock(seconds) if seconds >= 60 else f"{seconds:.1f} s" if seconds else ""


def list_remarks(outcomes: Sequence[FileOutcome]) -> list[str]:
    """Return lines about files that have no results, or are not as they say, each with the name of its file."""
    return [
        _name_file(remark, outcome.file.source)
        for outcome in outcomes
        for remark in (outcome.summary.notices if outcome.summary else (outcome.reason,))
    ]


def _name_file(remark: str, source: str) -> str:
    """Return a remark with the name of its file at the front, unless it says that by itself, as "no file a.csv" does.

    The name is the one that was given, where the remark has another.
    """
    names = dict.fromkeys((source, str(Path(source)), Path(source).name))
    for name in names:
        if remark.startswith(f"{name} "):
            return source + remark.removeprefix(name)
    for name, word in product(names, ("of", "in")):  # "unit of a.csv is not in the file"
        if f" {word} {name} " in remark.partition(": ")[0]:
            return remark.replace(f" {word} {name} ", f" {word} {source} ", 1)
    subject = remark.partition(": ")[0].removesuffix("'")
    for name in (source, str(Path(source))):
        if subject.endswith((f" {name}", f"'{name}")) or subject.startswith(f"record {name} "):
            return remark
    return f"{source}: {remark}"


def batch_to_json(outcomes: Sequence[FileOutcome], out: Path) -> dict[str, Any]:
    """Return what became of each file, its folder of results, and how many were analysed, kept and failed."""
    files = [
        {
            "file": valid_text(outcome.file.source),
            "state": "failed" if outcome.summary is None else "kept" if outcome.is_kept else "analysed",
            "reason": valid_text(outcome.reason) or None,
            "folder": None if outcome.summary is None else str(out / outcome.file.name),
            **({} if outcome.summary is None else asdict(outcome.summary)),
        }
        for outcome in outcomes
    ]
    states = [file["state"] for file in files]
    return {
        "type": "analysis",
        "out": str(out),
        **{state: states.count(state) for state in ("analysed", "kept", "failed")},
        "files": files,
    }
