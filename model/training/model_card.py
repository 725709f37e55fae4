"""The model card of a checkpoint as Markdown: `python -m model.training.model_card WEIGHTS`, from what the file itself
says.

After Mitchell et al. 2019, "Model Cards for Model Reporting", doi:10.1145/3287560.3287596.
"""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from textwrap import fill
from typing import Any, TypeVar

import torch

from model.beats import templates
from model.beats.dataset import FOLD_COUNT, TRAIN_NORMAL
from model.errors import CheckpointError, EcgError
from model.nets import context_net
from model.nets.beat_net import block_samples_left, count_parameters
from model.nets.checkpoint import ModelCard, digest_checkpoint, find_checkpoint, load_checkpoint
from model.records.wfdb_records import CLASSES

CLASS_MEANINGS = {
    "N": "normal, bundle branch block, atrial and nodal escape",
    "S": "atrial, nodal and supraventricular premature",
    "V": "ventricular premature and escape",
    "F": "fusion of ventricular and normal",
    "Q": "paced, fusion of paced and normal, unknown",
}
EC57_CLASS_MEANINGS = CLASS_MEANINGS | {
    "N": "normal, bundle branch block",
    "S": "atrial, nodal and supraventricular premature and escape",
}
METRIC_TITLES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy (mean recall)", "macro_f1": "macro-F1"}
PROTOCOL_TEXTS = {
    "random": (
        "The beats are split at random within each class, so beats of the same patients are on both sides. This is how "
        "Kachuee et al. 2018 and most later papers test; it says how well beats of known patients are told apart."
    ),
    "inter-patient": (
        "The patients are kept apart: the 22 records of DS1 are for training, the 22 of DS2 for testing, as in de "
        "Chazal et al. 2004 (doi:10.1109/TBME.2004.827359); the four paced records are on neither side. One person is "
        "on both sides of that split all the same: record 202 (DS2) is of the same tape as record 201 (DS1)."
    ),
}
PROTOCOL_LIMITS = {
    "random": (
        "The figures above say how well the net knows these 47 people, not how well it will do on a new one: expect "
        "less there, above all for classes S and F. Their intervals are for other beats of the same people.",
    ),
    "inter-patient": (
        "The figures above are for the patients of one database. Those of a class that comes from few of them say "
        "little about others: in DS2 most S beats are of record 232, most F beats of record 213.",
        "Class Q is hardly present without the paced records, in training as in testing: what the net says of it, and "
        "the means over classes as far as they hold it, mean little. It has not seen paced rhythm.",
    ),
}
GENERAL_LIMITS = (
    "A research tool, not a medical device: it must not be used for diagnosis, treatment or alarms of patients.",
    "Trained and tested on Holter recordings of adults of one hospital, made in 1975 to 1979, in one lead of each: "
    "MLII, or V5 where a record has none. Other leads, devices, ages and diseases are untested.",
)
KIND_LIMITS = {
    "beat": (
        "It sees one beat's shape, not the rhythm around it; class S is often defined by the rhythm alone.",
        "It is tested on beats cut at the annotated R peaks; behind a detector, in noise, expect less.",
    ),
    "context": (
        "The figures above are of the beats that the detector found, over whole records. The field's own figures, with "
        "every missed and extra beat counted, are in docs/accuracy.md.",
        "It learns each patient's usual beat as it listens: the first beats are judged without that knowledge.",
    ),
}
MISSING_RATE = "\N{EN DASH}"

CardResult = TypeVar("CardResult")


def _wrap_card_errors(read: Callable[[Path], CardResult]) -> Callable[[Path], CardResult]:
    """A checkpoint whose card lacks what is asked for is a CheckpointError."""

    @wraps(read)
    def guarded(path: Path) -> CardResult:
        try:
            return read(path)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"weights {path} do not say how they were trained and tested: {error!r}") from error

    return guarded


@_wrap_card_errors
def render_model_card(path: Path) -> str:
    """The card of the checkpoint at `path`. Raises CheckpointError."""
    net, card = load_checkpoint(path, torch.device("cpu"))
    parts = [
        *_card_header(card, count_parameters(net), path),
        *_card_input(card),
        *_card_training(card),
        *_card_protocol(card),
        *_card_metrics(card),
        *_card_confusion(card),
        *_card_calibration(card),
        *_card_limits(card),
    ]
    return "\n\n".join(parts) + "\n"


@_wrap_card_errors
def summarise_checkpoint(path: Path) -> dict[str, Any]:
    """What a table of models shows of one: size, training, figures (0..1) on its test beats. Raises CheckpointError."""
    net, card = load_checkpoint(path, torch.device("cpu"))
    training, metrics = card.training, card.metrics
    return {
        "name": card.name,
        "parameters": count_parameters(net),
        "bytes": path.stat().st_size,
        **{key: training[key] for key in ("protocol", "recipe", "seed", "epochs")},
        "fold": training.get("fold"),
        **{key: metrics[key] for key in METRIC_TITLES},
        "f1": {name: metrics["f1"][name] for name in CLASSES},
        "sha256": digest_checkpoint(path),
    }


def _card_header(card: ModelCard, size: int, path: Path) -> list[str]:
    of = "" if card.kind == "beat" else ", seen beside the patient's other beats and rhythm,"
    no_beat = "" if card.kind == "beat" else " or that it is none"
    left = block_samples_left(card.size) if card.kind == "beat" else (context_net.context_samples_left(card.size),)
    return [
        f"# Model card: {card.name}",
        _wrap_card_text(
            f"A residual convolutional net that says of one heartbeat{of} which of five AAMI classes it belongs to"
            f"{no_beat}, after Kachuee et al. 2018 (doi:10.1109/ICHI.2018.00092). Made for the live monitor and for "
            "research. It is not a medical device."
        ),
        _card_table(
            ("", ""),
            [
                ("parameters", f"{size:,}"),
                ("width of the residual blocks", ", ".join(map(str, card.size.channels))),
                ("samples left after each" if len(left) > 1 else "samples left at the end", ", ".join(map(str, left))),
                ("convolution kernel", str(card.size.kernel)),
                ("width of the two dense layers", str(card.size.dense)),
                ("size of the file", f"{path.stat().st_size:,} bytes"),
                ("SHA-256 of the file", f"`{digest_checkpoint(path)}`"),
            ],
        ),
    ]


def _card_input(card: ModelCard) -> list[str]:
    beat, seconds = card.input, card.input.surrounding_samples / card.input.fs_hz
    if card.kind == "context":
        said = (
            f"One candidate of the detector ({', then '.join(beat.leads)}, then the first lead): {beat.samples} "
            f"samples at {beat.fs_hz} Hz around its R peak, those of the patient's dominant beat and its cluster, in "
            f"units of the {beat.normalisation}, and {len(templates.FEATURES)} numbers for rhythm and likeness "
            "(`model/beats/templates.py`). Out come log-probabilities of these and of no beat at all, which "
            "`model/beats/cluster_smoothing.py` settles:"
        )
        table = _card_table(("class", "beats"), [(name, EC57_CLASS_MEANINGS[name]) for name in CLASSES])
        return ["## Input and output", _wrap_card_text(said), table]
    return [
        "## Input and output",
        _wrap_card_text(
            f"One beat of one lead ({', then '.join(beat.leads)}, then the first): {beat.samples} samples at "
            f"{beat.fs_hz} Hz, cut from the R peak on, {beat.stretch:g} times the median RR interval of the "
            f"{seconds:g} s before it, padded with zeros; scaled: {beat.normalisation}. Out come probabilities of:"
        ),
        _card_table(("class", "beats"), [(name, CLASS_MEANINGS[name]) for name in card.classes]),
    ]


def _card_training(card: ModelCard) -> list[str]:
    t = card.training
    if card.kind == "context":
        return _card_live_training(t)
    counts = [(name, f"{t['train_beats'][name]:,}", f"{t['test_beats'][name]:,}") for name in CLASSES]
    return [
        "## Training",
        f"    {t['command']}",
        _wrap_card_text(_describe_recipe(t)),
        _wrap_card_text(
            f"Seed {t['seed']}, split seed {t['split_seed']}, device {t['device']}, {t['threads']} threads, PyTorch "
            f"{t['torch']}. Data: the MIT-BIH Arrhythmia Database (Moody & Mark 2001, doi:10.1109/51.932724)."
        ),
        _card_table(("class", "training beats", "test beats"), counts),
        f"SHA-256 of the training beats: `{t['train_sha256']}`\\\nSHA-256 of the test beats: `{t['test_sha256']}`",
    ]


def _card_live_training(t: dict[str, Any]) -> list[str]:
    names = (*CLASSES, "no beat")
    counts = [(name, f"{t['train_beats'][name]:,}", f"{t['test_beats'][name]:,}") for name in names]
    views = ", ".join(view["name"] for view in t["views"])
    return [
        "## Training",
        f"    {t['command']}",
        _wrap_card_text(
            f"{t['epochs']} passes in batches of {t['batch']} over all candidates that are not normal beats and "
            f"{_card_percent(t['normal'])} of the normal ones, drawn anew each time; AdamW with weight decay "
            f"{t['weight_decay']:g}, learning rate {t['learning_rate']:g} at the height of one cycle (Smith & Topin "
            "2018), cross-entropy of either head, batch normalisation, folded into the convolutions afterwards. Every "
            f"training record is heard in {len(t['views'])} views (`model/training/augmented_streams.py`): {views}."
        ),
        _wrap_card_text(
            f"Seed {t['seed']}, device {t['device']}, {t['threads']} threads, PyTorch {t['torch']}. Data: the MIT-BIH "
            "Arrhythmia Database (Moody & Mark 2001, doi:10.1109/51.932724), muscle noise and baseline wander of the "
            "MIT-BIH Noise Stress Test Database (Moody, Muldrow & Mark 1984, doi:10.13026/C2HS3T)."
        ),
        _card_table(("class", "training candidates", "test candidates"), counts),
        f"SHA-256 of the training candidates: `{t['train_sha256']}`\\\nSHA-256 of the test candidates: "
        f"`{t['test_sha256']}`",
    ]


def _describe_recipe(t: dict[str, Any]) -> str:
    """The recipe in words."""
    rate = f"learning rate {t['learning_rate']:g}"
    one_cycle = f"{rate} at the height of one cycle (Smith & Topin 2018)"
    said = [
        f"Recipe `{t['recipe']}`: {t['epochs']} epochs",
        f"batches of {t['batch']}",
        f"AdamW with weight decay {t['weight_decay']:g}" if t["weight_decay"] else "Adam",
        one_cycle if t["schedule"] == "one-cycle" else f"constant {rate}",
        "cross-entropy",
        *(["batch normalisation, folded into the convolutions afterwards"] if t["norm"] else []),
        *([f"augmentation (stretch, shift, gain, wander, noise) of strength {t['augment']:g}"] if t["augment"] else []),
        *([f"a running mean of the weights with decay {t['average']:g}"] if t["average"] else []),
    ]
    share = t["drop_normal"] / TRAIN_NORMAL
    dropped = (
        f" {_card_percent(share)} of the training beats of class N were left out against imbalance." if share else ""
    )
    return ", ".join(said) + "." + dropped


def _card_protocol(card: ModelCard) -> list[str]:
    fold = card.training.get("fold")
    held_out = (
        f" Here the test side was left alone: the test beats are fold {fold} (counted from 0) of the "
        f"{FOLD_COUNT} of the "
        "training side, which the net was not trained on. Recipes are chosen by such figures."
    )
    return [
        "## Protocol",
        _wrap_card_text(PROTOCOL_TEXTS[card.training["protocol"]] + (held_out if fold is not None else "")),
    ]


def _card_metrics(card: ModelCard) -> list[str]:
    m, intervals = card.metrics, card.metrics["intervals"]
    present = set(m["classes_present"])
    last = m.get("last_epochs")  # the live net is tested once
    overall = [
        (
            name,
            _card_percent(m[key], 2),
            _card_interval(intervals[key]),
            *([_card_mean_and_sd(last[f"test_{key}"])] if last else []),
        )
        for key, name in METRIC_TITLES.items()
    ]
    spread = [f"last {min(card.training['epochs'], 10)} epochs, mean ± sd"] if last else []
    rates = ("recall", "precision", "f1")
    classes = [
        (
            name,
            f"{card.training['test_beats'][name]:,}",
            *(
                f"{_card_percent(m[rate][name])} ({_card_interval(intervals[rate][name])})"
                if name in present
                else MISSING_RATE
                for rate in rates
            ),
        )
        for name in CLASSES
    ]
    means = f" The means are over the classes with test beats: {', '.join(m['classes_present'])}."
    return [
        "## Figures on the test beats",
        _card_table(
            ("", "after the last epoch", "95 % interval", *spread),
            overall,
        ),
        _card_table(("class", "test beats", "recall", "precision", "F1"), classes),
        _wrap_card_text(
            f"In brackets 95 % intervals: {intervals['draws']:,} bootstrap draws of the {intervals['units']:,} test "
            f"{intervals['unit']}s. They do not cover the chance of another training"
            f"{'; the spread over epochs hints at it' if last else ''}.{means if len(present) < len(CLASSES) else ''}"
        ),
    ]


def _card_confusion(card: ModelCard) -> list[str]:
    rows = zip(CLASSES, card.metrics["confusion"], strict=True)
    return [
        "## Confusion matrix",
        "Test beats; true class in rows, what the net said in columns.",
        _card_table(("", *CLASSES), [(f"**{name}**", *(f"{beats:,}" for beats in row)) for name, row in rows]),
    ]


def _card_calibration(card: ModelCard) -> list[str]:
    found = card.metrics["calibration"]
    bins, top = found["bins"], found["bins"][-1]
    share = top["beats"] / max(sum(one["beats"] for one in bins), 1)
    over = _card_percent(1 - 1 / len(bins), 0)
    sure = f" {_card_percent(share)} of the test beats are said with a confidence over {over}; of "
    right = f"these {_card_percent(top['accuracy'], 2)} are right." if top["beats"] else ""
    return [
        "## Calibration",
        _wrap_card_text(
            f"Expected calibration error {_card_percent(found['ece'], 2)} over {len(bins)} bins (Guo et al. 2017, "
            "arXiv:1706.04599): so far is the confidence from the share that is right, on average."
            + (sure + right if top["beats"] else "")
        ),
    ]


def _card_limits(card: ModelCard) -> list[str]:
    limits = (
        *GENERAL_LIMITS[:1],
        *PROTOCOL_LIMITS[card.training["protocol"]],
        *GENERAL_LIMITS[1:],
        *KIND_LIMITS[card.kind],
    )
    return ["## Limits", "\n".join(fill(f"- {one}", 120, subsequent_indent="  ") for one in limits)]


def _card_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)] if len(head) > 2 else ["---"] * 2, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _wrap_card_text(text: str) -> str:
    return fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _card_percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _card_interval(ends: list[float]) -> str:
    low, high = ends
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _card_mean_and_sd(found: dict[str, float]) -> str:
    return f"{100 * found['mean']:.2f} ± {100 * found['sd']:.2f} %"


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
