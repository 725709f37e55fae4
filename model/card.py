"""The model card of a checkpoint as Markdown: `python -m model.card WEIGHTS`, from what the file itself says."""

import hashlib
import sys
from pathlib import Path

import torch

from model.checkpoint import Card, find, load
from model.net import parameters
from model.records import CLASSES

LIMITS = """## Limits
A research tool, not a medical device. Trained and tested on 47 people of one hospital, recorded in the 1970s, in lead
MLII (V5 in two records). Beats of the same patients stand on both sides of a random split, so the figures above say how
well it knows these patients, not how well it will do on a new one. One beat's shape without its rhythm says little
about class S."""


def markdown(path: Path) -> str:
    """The card of the checkpoint at `path`. Raises CheckpointError."""
    net, card = load(path, torch.device("cpu"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return "\n\n".join([_head(card, parameters(net), digest), _training(card), _figures(card), LIMITS]) + "\n"


def _head(card: Card, size: int, digest: str) -> str:
    beat = f"{card.input.samples} samples at {card.input.fs_hz} Hz, {card.input.normalisation}"
    return (
        f"# Model card: {card.name}\n\n"
        f"Network of Kachuee et al. 2018 (doi:10.1109/ICHI.2018.00092), {size:,} parameters.\n"
        f"Input: one beat, {beat}, cut from the R peak on, {card.input.stretch:g} median RR intervals long.\n"
        f"Output: {', '.join(card.classes)}.\n"
        f"SHA-256 of the file: `{digest}`"
    )


def _training(card: Card) -> str:
    t = card.training
    rows = "\n".join(f"| {name} | {t['train_beats'][name]:,} | {t['test_beats'][name]:,} |" for name in CLASSES)
    return (
        f"## Training\n\n    {t['command']}\n\n"
        f"{t['epochs']} epochs, Adam, learning rate {t['learning_rate']:g}, batch {t['batch']}, cross-entropy, "
        f"seed {t['seed']}, on {t['device']}, PyTorch {t['torch']}.\n"
        f"Protocol: {t['protocol']}; split seed {t['split_seed']}, {t['drop_normal']:,} N beats left out of training.\n"
        f"SHA-256 of the beats: training `{t['train_sha256']}`, test `{t['test_sha256']}`.\n\n"
        f"| class | training beats | test beats |\n|---|---|---|\n{rows}"
    )


def _figures(card: Card) -> str:
    m = card.metrics
    rows = "\n".join(f"| {n} | {m['recall'][n]:.1%} | {m['precision'][n]:.1%} | {m['f1'][n]:.1%} |" for n in CLASSES)
    last = ", ".join(
        f"{name} {m['last_epochs'][key]['mean']:.2%} ± {m['last_epochs'][key]['sd']:.2%}"
        for name, key in (
            ("accuracy", "test_accuracy"),
            ("macro-F1", "test_macro_f1"),
            ("balanced accuracy", "test_balanced_accuracy"),
        )
    )
    return (
        f"## Figures on the test beats\n\nAfter the last epoch: accuracy {m['accuracy']:.2%}, "
        f"macro-F1 {m['macro_f1']:.2%}, balanced accuracy {m['balanced_accuracy']:.2%}.\n"
        f"Mean ± sd over the last ten epochs: {last}.\n\n"
        f"| class | recall | precision | F1 |\n|---|---|---|---|\n{rows}"
    )


if __name__ == "__main__":
    sys.stdout.write(markdown(find(sys.argv[1])))
