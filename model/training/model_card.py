"""The model card of a checkpoint as Markdown: `python -m model.training.model_card WEIGHTS`, from what the file itself
says.

The text is in `model_card.md.j2`. After Mitchell et al. 2019, "Model Cards for Model Reporting",
doi:10.1145/3287560.3287596.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import jinja2
import torch

from model.beats import templates
from model.beats.dataset import FOLD_COUNT, TRAIN_NORMAL, describe_training_patients
from model.errors import CheckpointError, EcgError
from model.nets import context_net
from model.nets.beat_net import count_parameters
from model.nets.checkpoint import load_checkpoint
from model.nets.checkpoint_card import digest_checkpoint, find_checkpoint
from model.nets.net_size import SURELY_NORMAL, block_samples_left
from model.records.wfdb_records import CLASSES

TEMPLATE_FILE = Path(__file__).with_name("model_card.md.j2")
METRIC_TITLES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy (mean recall)", "macro_f1": "macro-F1"}
PROTOCOLS = ("random", "inter-patient")
CARD_COLUMNS = 120


def render_model_card(path: Path) -> str:
    """Return the card of the checkpoint at `path`. Raises CheckpointError."""
    net, card = load_checkpoint(path, torch.device("cpu"))
    left = block_samples_left(card.size) if card.kind == "beat" else (context_net.context_samples_left(card.size),)
    with _missing_story(path):
        if card.training["protocol"] not in PROTOCOLS:
            raise ValueError(f"protocol {card.training['protocol']!r}")
        text = _card_template().render(
            card=card,
            training=card.training,
            metrics=card.metrics,
            classes=list(CLASSES),
            metric_titles=METRIC_TITLES,
            parameters=count_parameters(net),
            samples_left=left,
            file_bytes=path.stat().st_size,
            sha256=digest_checkpoint(path),
            feature_count=len(templates.FEATURES),
            surely_normal=SURELY_NORMAL,
            input_count=templates.INPUTS,
            train_normal=TRAIN_NORMAL,
            fold_count=FOLD_COUNT,
        )
    return "\n\n".join(map(_fill_block, re.split(r"\n\s*\n", text.strip()))) + "\n"


def summarise_checkpoint(path: Path) -> dict[str, Any]:
    """Return a row of the table of models: size, training, figures (0..1) on the test beats. Raises CheckpointError."""
    net, card = load_checkpoint(path, torch.device("cpu"))
    training, metrics = card.training, card.metrics
    with _missing_story(path):
        return {
            "name": card.name,
            "parameters": count_parameters(net),
            "bytes": path.stat().st_size,
            **{key: training[key] for key in ("protocol", "recipe", "seed", "epochs")},
            "patients": describe_training_patients(training),
            "fold": training.get("fold"),
            **{key: metrics[key] for key in METRIC_TITLES},
            "f1": {name: metrics["f1"][name] for name in CLASSES},
            "sha256": digest_checkpoint(path),
        }


@contextmanager
def _missing_story(path: Path) -> Iterator[None]:
    """Raise CheckpointError if the card lacks what is needed."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, jinja2.UndefinedError) as error:
        raise CheckpointError(f"weights {path} do not say how they were trained and tested: {error!r}") from error


def _card_template() -> jinja2.Template:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["thousands"] = "{:,}".format
    environment.filters["percent"] = lambda share, digits=1: f"{100 * share:.{digits}f} %"
    return environment.from_string(TEMPLATE_FILE.read_text(encoding="utf-8"))


def _fill_block(block: str) -> str:
    """Fill a paragraph or the items of a list to the width; leave headings, tables, code and hard breaks alone."""
    if block.startswith(("#", "|", "    ")) or "\\\n" in block:
        return block
    is_list = block.startswith("- ")
    items = [f"- {item}" for item in block.removeprefix("- ").split("\n- ")] if is_list else [block]
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    options["subsequent_indent"] = "  " if is_list else ""
    return "\n".join(fill(" ".join(item.split()), CARD_COLUMNS, **options) for item in items)


def main(arguments: Sequence[str]) -> int:
    """Print the card of the checkpoint named by the only argument; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m model.training.model_card WEIGHTS\n")
        return 2
    try:
        sys.stdout.write(render_model_card(find_checkpoint(arguments[0])))
    except EcgError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
