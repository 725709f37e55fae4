"""`ecg-agent models` lists the shipped weights; `ecg-agent export` writes weights as ONNX."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.cli.tables import print_table
from agent.core.config import SignalConfig
from agent.training.live_export import build_live_sides, export_live_net
from model.beats import dataset
from model.errors import ConfigError
from model.nets import checkpoint, checkpoint_card
from model.records.wfdb_records import CLASSES
from model.training.model_card import summarise_checkpoint
from model.training.onnx_export import ExportAgreement, export_onnx, require_onnx_packages, split_by_card

OVERALL_KEYS = {"accuracy": "accuracy", "macro-F1": "macro_f1", "balanced accuracy": "balanced_accuracy"}


def show_models(default: str, as_json: bool) -> None:
    """Print the shipped checkpoints as tables, or as one JSON object per line; `default` is the monitor's."""
    summaries = [
        summarise_checkpoint(checkpoint_card.find_checkpoint(name)) | {"default": name == default}
        for name in checkpoint_card.shipped_checkpoints()
    ]
    if as_json:
        sys.stdout.writelines(msgspec.json.encode(row).decode() + "\n" for row in summaries)
    else:
        print_table(build_checkpoint_tables(summaries, default))


def show_export(weights: str, signal: SignalConfig, out: Path | None, int8: bool) -> None:
    """Write a checkpoint, by name or path, as ONNX and print how well it agrees with PyTorch on the test side.

    Raises ConfigError or CheckpointError.
    """
    require_onnx_packages()
    if out is not None and out.suffix != ".onnx":
        raise ConfigError(f"cannot write {out}: give a file name that ends in .onnx (--out)")
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    path = checkpoint_card.find_checkpoint(weights)
    card = checkpoint.load_checkpoint(path, torch.device("cpu"))[1]
    out = out or Path(f"{path.stem}.int8.onnx" if int8 else f"{path.stem}.onnx")
    if card.kind == "context":
        subject = "candidates of the detector on the test records"
        with console.status("running the test records through the detector"):
            sides, candidates = build_live_sides(card, signal, int8)
        with console.status(f"comparing ONNX with PyTorch on {len(candidates.labels):,} {subject}"):
            agreement = export_live_net(path, out, sides, candidates, int8)
    else:
        subject = "test beats"
        with console.status("building the data set"):
            sides = split_by_card(card, dataset.load_beat_set())
        with console.status(f"comparing ONNX with PyTorch on {len(sides.test):,} {subject}"):
            agreement = export_onnx(path, out, sides, int8)
    precision = "int8" if int8 else "float32"
    console.print(build_agreement_table(agreement, precision, path.stat().st_size, out.stat().st_size))
    console.print(f"{agreement.beats:,} {subject}, {dataset.describe_training_patients(card.training)}", markup=False)
    console.print(
        f"{agreement.other_class} get another class; largest difference of a score {agreement.largest_difference:.2g}"
    )
    console.print(f"written {out}", markup=False)


def build_checkpoint_tables(summaries: list[dict[str, Any]], default: str) -> RenderableType:
    """Return a table for each protocol: scores of different protocols cannot be compared."""
    by_protocol: dict[str, list[dict[str, Any]]] = {}
    for row in summaries:
        by_protocol.setdefault(row["patients"], []).append(row)
    parts = [part for protocol, rows in by_protocol.items() for part in (Text(protocol), _checkpoint_table(rows), "")]
    marked = any(row["default"] for row in summaries)
    note = "* the monitor's default" if marked else f"the monitor's default is none of these: {default}"
    return Group(*parts, Text("Scores under one protocol say nothing about another."), Text(note))


def build_agreement_table(agreement: ExportAgreement, precision: str, weights_bytes: int, onnx_bytes: int) -> Table:
    """Return the scores of the checkpoint and of its ONNX file, side by side, on the same test beats."""
    table = Table("", box=SIMPLE_HEAD)
    for name in ("PyTorch", f"ONNX {precision}", "change"):
        table.add_column(name, justify="right")

    def add(name: str, before: float, after: float) -> None:
        table.add_row(name, f"{before:.2%}", f"{after:.2%}", f"{100 * (after - before):+.2f}")

    for name, key in OVERALL_KEYS.items():
        add(name, agreement.pytorch[key], agreement.onnx[key])
    for label in CLASSES:
        add(f"recall {label}", agreement.pytorch["recall"][label], agreement.onnx["recall"][label])
    table.add_row(
        "size", _format_kilobytes(weights_bytes), _format_kilobytes(onnx_bytes), f"{onnx_bytes / weights_bytes:.2f} x"
    )
    return table


def _checkpoint_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("name", "recipe"):
        table.add_column(heading, overflow="fold")
    for heading in ("params", "kB", "accuracy", "macro-F1", "balanced"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        name = Text(f"{row['name']} *" if row["default"] else row["name"])
        rates = ("" if row[key] is None else f"{row[key]:.2%}" for key in OVERALL_KEYS.values())
        table.add_row(name, Text(row["recipe"] or ""), f"{row['parameters']:,}", f"{row['bytes'] / 1000:.0f}", *rates)
    return table


def _format_kilobytes(size: int) -> str:
    return f"{size / 1000:.0f} kB"
