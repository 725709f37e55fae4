"""`python -m model.waveform.waveform_training --vfdb FOLDER …`: train the waveform classifier and test it on held-out
records.

The training data are the databases whose folders are given (`model.waveform.recorded_strips`), DS1 of the MIT-BIH
Arrhythmia Database, and synthetic strips (`model.waveform.strip_generator`). Every fold holds out a sixth of the
records or blocks of each database; nothing of them is in the training of that fold, nor in its synthetic strips.
Episodes are those of the alarms: `model.waveform.episode_rule` with the settings of config.toml.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from model.beats.dataset import DS2
from model.errors import EcgError
from model.waveform.classifier_fit import WaveformRecipe, fit_waveform_layers
from model.waveform.episode_rule import read_vf_vt_settings
from model.waveform.held_out_figures import LeadScores, save_lead_scores, score_measured_strip, summarise_scores
from model.waveform.labelled_windows import (
    LabelledStrip,
    LabelledWindows,
    MeasuredStrip,
    concatenate_windows,
    digest_windows,
    drop_unlabelled,
    label_strip_windows,
    measure_strip,
    select_windows,
)
from model.waveform.recorded_strips import WaveformFolders, label_arrhythmia_record, read_training_strips
from model.waveform.strip_generator import StripGenerator, vary_strip
from model.waveform.waveform_classifier import (
    WAVEFORM_KINDS,
    WAVEFORM_WEIGHTS,
    WEIGHTS_FORMAT,
    WINDOW,
    WaveformClassifier,
)
from model.waveform.window_features import FEATURE_COUNT

FOLDS = 6
TAKEN = {"mitdb": 2, "svdb": 3, "cinc2017": 2}
"""Of the windows of these databases every second, or third, is trained on."""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vfdb", type=Path, required=True, help="folder of VFDB records")
    parser.add_argument("--svdb", type=Path, help="folder of SVDB records")
    parser.add_argument("--cinc2017", type=Path, help="folder of strips of the Challenge 2017, with REFERENCE.csv")
    parser.add_argument("--cinc2015", type=Path, help="folder of strips of the Challenge 2015, with ALARMS")
    parser.add_argument("--macecgdb", type=Path, help="folder of the Motion Artifact Contaminated ECG Database")
    parser.add_argument("--ludb", type=Path, help="folder with ludb_ii_v1_v5.npz")
    parser.add_argument("--out", type=Path, default=WAVEFORM_WEIGHTS.parent, help="folder that gets weights and report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", action="store_true", help="hold out each record in turn as well")
    parser.add_argument("--test", action="store_true", help="test on DS2, which had no part in any choice")
    options = parser.parse_args()
    folders = WaveformFolders(**{name: getattr(options, name) for name in WaveformFolders.__slots__})
    try:
        train_waveform_classifier(folders, options.out, options.seed, options.folds, options.test)
    except EcgError as error:
        parser.exit(1, f"{error}\n")


def train_waveform_classifier(folders: WaveformFolders, out: Path, seed: int, folds: bool, test: bool) -> None:
    """Train, test on the folds or DS2 if requested, and write `waveform.safetensors` and `waveform.json` into `out`."""
    recipe, started = WaveformRecipe(), time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    strips = read_training_strips(folders)
    measured = [measure_strip(strip) for strip in strips]
    known = build_recorded_windows(measured, recipe, seed)
    report: dict[str, Any] = {}
    if folds:
        leads = list(score_held_out_strips(known, measured, recipe, seed))
        report["held_out"] = summarise_scores(leads, folders, read_vf_vt_settings())
        save_lead_scores(out / "held_out.npz", leads)
    examples = concatenate_windows([known, build_synthetic_windows(strips, recipe, seed)])
    layers = fit_waveform_layers(examples, recipe, seed)
    given = {name: folder for name, folder in folders.named().items() if folder}
    story = {
        "format": WEIGHTS_FORMAT,
        "kinds": list(WAVEFORM_KINDS),
        "window": WINDOW,
        "numbers": FEATURE_COUNT,
        "command": " ".join(
            ["python -m model.waveform.waveform_training", *(f"--{name} {path.name}" for name, path in given.items())]
        )
        + f" --seed {seed}",
        "seed": seed,
        "recipe": asdict(recipe),
        "without": [name for name, folder in folders.named().items() if not folder],
        "records": list(dict.fromkeys(strip.source for strip in strips)),
        "windows": len(examples.allowed),
        "sha256": digest_windows(examples),
    }
    classifier = WaveformClassifier(layers, story)
    if test:
        of_ds2 = [measure_strip(label_arrhythmia_record(name, lead)) for name in DS2 for lead in (0, 1)]
        scored = [score_measured_strip(classifier, strip) for strip in of_ds2]
        report["DS2"] = summarise_scores(scored, folders, read_vf_vt_settings())
    classifier.save(out / "waveform.safetensors")
    (out / "waveform.json").write_text(json.dumps(story | report, indent=2) + "\n")
    _print_training_step(f"{out}: waveform.safetensors, waveform.json after {time.perf_counter() - started:.0f} s")


def database_of(source: str) -> str:
    """Return the database that a source is of."""
    return source.split("/")[0]


def build_recorded_windows(measured: list[MeasuredStrip], recipe: WaveformRecipe, seed: int) -> LabelledWindows:
    """Return windows of recorded strips, unchanged and in changed copies; VFDB has `recipe.copies`, the others one."""
    strips = [one.strip for one in measured]
    random, maker = np.random.default_rng([seed, 1]), StripGenerator((), strips, seed)
    parts = []
    for one in measured:
        examples = label_strip_windows(one)
        rows = np.arange(len(examples.allowed)) % TAKEN.get(database_of(one.strip.source), 1) == 0
        parts.append(select_windows(examples, rows & (examples.allowed > 0)))
    for number in range(recipe.copies):
        for strip in strips:
            database = database_of(strip.source)
            if number == 0 or database == "vfdb":
                copy = measure_strip(vary_strip(strip, random, maker), TAKEN.get(database, 1))
                parts.append(drop_unlabelled(label_strip_windows(copy)))
    return concatenate_windows(parts)


def build_synthetic_windows(strips: list[LabelledStrip], recipe: WaveformRecipe, seed: int) -> LabelledWindows:
    """Return windows of synthetic strips of recorded ones, most of them changed as recorded ones are."""
    records = tuple(dict.fromkeys(strip.record for strip in strips if database_of(strip.source) == "mitdb"))
    random, maker = np.random.default_rng([seed, 2]), StripGenerator(records, strips, seed + 1)
    made = (vary_strip(strip, random, maker) if random.random() < 0.8 else strip for strip in maker.strips(recipe.made))
    return concatenate_windows([drop_unlabelled(label_strip_windows(measure_strip(strip))) for strip in made])


def assign_folds(sources: list[str]) -> dict[str, int]:
    """Return the fold that holds out each source: those of one database are dealt out in turn."""
    folds: dict[str, int] = {}
    count: dict[str, int] = {}
    for source in dict.fromkeys(sources):
        database = database_of(source)
        folds[source] = count.get(database, 0) % FOLDS
        count[database] = count.get(database, 0) + 1
    return folds


def score_held_out_strips(
    known: LabelledWindows, measured: list[MeasuredStrip], recipe: WaveformRecipe, seed: int
) -> Iterator[LeadScores]:
    """Score every strip with a classifier that was trained without its source."""
    folds = assign_folds([one.strip.source for one in measured])
    fold_of_window = np.array([folds[source] for source in known.sources.tolist()])
    for fold in range(FOLDS):
        rest = [one.strip for one in measured if folds[one.strip.source] != fold]
        part = select_windows(known, fold_of_window != fold)
        examples = concatenate_windows([part, build_synthetic_windows(rest, recipe, seed + fold)])
        classifier = WaveformClassifier(fit_waveform_layers(examples, recipe, seed + fold), {})
        for one in measured:
            if folds[one.strip.source] == fold:
                yield score_measured_strip(classifier, one)
        _print_training_step(f"held out fold {fold + 1} of {FOLDS}")


def _print_training_step(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a progress report


if __name__ == "__main__":
    main()
