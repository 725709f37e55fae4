"""`python -m model.waveform.waveform_training --vfdb FOLDER`: train the waveform classifier and test it on held-out
records.

The training data are the records of the MIT-BIH Malignant Ventricular Ectopy Database in `--vfdb`, DS1 of the MIT-BIH
Arrhythmia Database, and synthetic strips (`model.waveform.synthetic_waveforms`). Every fold holds out one record of the
first and two of the second; nothing of them is in the training of that fold, nor in its synthetic strips. Episodes are
those of the alarms: `model.waveform.episode_rule` with the settings of config.toml.
"""

import argparse
import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.beats.dataset import DS1, DS2
from model.errors import EcgError, RecordError
from model.records.lead_choice import default_lead
from model.records.wfdb_records import open_record
from model.scoring.episode_scores import EpisodeSpan
from model.waveform.classifier_fit import WaveformRecipe, fit_waveform_layers
from model.waveform.episode_rule import VfVtSettings, detect_episodes, read_vf_vt_settings
from model.waveform.episode_tables import WaveformEpisodeCounts, count_episode_matches
from model.waveform.labelled_windows import (
    LabelledStrip,
    LabelledWindows,
    StripGenerator,
    annotated_flutter,
    annotated_rhythms,
    label_arrhythmia_record,
    label_malignant_record,
    label_strip_windows,
    measure_ending_windows,
    read_annotated_leads,
    vary_strip,
)
from model.waveform.waveform_classifier import (
    HOP,
    WAVEFORM_KINDS,
    WAVEFORM_WEIGHTS,
    WEIGHTS_FORMAT,
    WINDOW,
    WaveformClassifier,
    repetition_rates,
)
from model.waveform.window_features import FEATURE_COUNT, Floats

FIBRILLATION_RHYTHMS = ("VF", "VFL", "VFIB")


@dataclass(frozen=True, slots=True, eq=False)
class LeadScores:
    """Scores of one lead: windows end before `ends` (n,), with `scores` (n, 5) and `rates` (n,) per minute."""

    record: str
    lead: int
    ends: NDArray[np.int64]
    scores: Floats
    rates: Floats
    allowed: NDArray[np.uint8]
    samples: int


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vfdb", type=Path, required=True, help="folder of VFDB records")
    parser.add_argument("--out", type=Path, default=WAVEFORM_WEIGHTS.parent, help="folder that gets weights and report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", action="store_true", help="hold out each record in turn as well")
    parser.add_argument("--test", action="store_true", help="test on DS2, which had no part in any choice")
    options = parser.parse_args()
    try:
        train_waveform_classifier(options.vfdb, options.out, options.seed, options.folds, options.test)
    except EcgError as error:
        parser.exit(1, f"{error}\n")


def train_waveform_classifier(vfdb: Path, out: Path, seed: int, folds: bool, test: bool) -> None:
    """Train, test on the folds or DS2 if requested, and write `waveform.safetensors` and `waveform.json` into `out`."""
    recipe, started = WaveformRecipe(), time.perf_counter()
    names = tuple(sorted(path.stem for path in vfdb.glob("*.hea")))
    if not names:
        raise RecordError(f"no records in {vfdb}: give the folder of the VFDB (--vfdb)")
    out.mkdir(parents=True, exist_ok=True)
    known = build_recorded_windows(vfdb, names, DS1, recipe, seed)
    report: dict[str, Any] = {}
    settings = read_vf_vt_settings()
    if folds:
        leads = list(score_held_out_records(known, vfdb, names, recipe, seed))
        report["held_out"] = score_lead_episodes(leads, vfdb, settings)
        save_lead_scores(out / "held_out.npz", leads)
    examples = concatenate_windows([known, build_synthetic_windows(DS1, recipe, seed)])
    layers = fit_waveform_layers(examples, recipe, seed)
    story = {
        "format": WEIGHTS_FORMAT,
        "kinds": list(WAVEFORM_KINDS),
        "window": WINDOW,
        "numbers": FEATURE_COUNT,
        "command": f"python -m model.waveform.waveform_training --vfdb {vfdb} --seed {seed}",
        "seed": seed,
        "recipe": asdict(recipe),
        "records": [*names, *DS1],
        "windows": len(examples.allowed),
        "sha256": digest_windows(examples),
    }
    classifier = WaveformClassifier(layers, story)
    if test:
        strips = [(label_arrhythmia_record(name, lead), lead) for name in DS2 for lead in (0, 1)]
        report["DS2"] = score_lead_episodes(
            [score_strip_windows(classifier, strip, lead) for strip, lead in strips], vfdb, settings
        )
    classifier.save(out / "waveform.safetensors")
    (out / "waveform.json").write_text(json.dumps(story | report, indent=2) + "\n")
    _print_training_step(f"{out}: waveform.safetensors, waveform.json after {time.perf_counter() - started:.0f} s")


def build_recorded_windows(
    vfdb: Path, names: tuple[str, ...], ds1: tuple[str, ...], recipe: WaveformRecipe, seed: int
) -> LabelledWindows:
    """Return windows of both leads of the records, unchanged and in changed copies."""
    random, maker = np.random.default_rng([seed, 1]), StripGenerator(ds1, seed)
    strips = [label_malignant_record(vfdb / name, lead) for name in names for lead in (0, 1)]
    strips += [label_arrhythmia_record(name, lead) for name in ds1 for lead in (0, 1)]
    changed = (vary_strip(strip, random, maker) for _ in range(recipe.copies) for strip in strips)
    return concatenate_windows(
        [drop_unlabelled(label_strip_windows(strip, HOP)[0]) for part in (strips, changed) for strip in part]
    )


def build_synthetic_windows(ds1: tuple[str, ...], recipe: WaveformRecipe, seed: int) -> LabelledWindows:
    """Return windows of synthetic strips, most of them changed as recorded ones are."""
    random, maker = np.random.default_rng([seed, 2]), StripGenerator(ds1, seed + 1)
    strips = (
        vary_strip(strip, random, maker) if random.random() < 0.8 else strip for strip in maker.strips(recipe.made)
    )
    return concatenate_windows([drop_unlabelled(label_strip_windows(strip, HOP)[0]) for strip in strips])


def drop_unlabelled(examples: LabelledWindows) -> LabelledWindows:
    """Return the windows that exclude some kind."""
    return select_windows(examples, examples.allowed > 0)


def select_windows(examples: LabelledWindows, rows: NDArray[np.bool_]) -> LabelledWindows:
    """Return the windows that `rows` (n,) selects."""
    return LabelledWindows(*(getattr(examples, name)[rows] for name in LabelledWindows.__slots__))


def concatenate_windows(parts: list[LabelledWindows]) -> LabelledWindows:
    """Join several sets of windows."""
    return LabelledWindows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in LabelledWindows.__slots__)
    )


def digest_windows(examples: LabelledWindows) -> str:
    """Return the SHA-256 (hex) of features and labels."""
    digest = hashlib.sha256(examples.numbers.tobytes())
    digest.update(examples.allowed.tobytes())
    return digest.hexdigest()


def score_held_out_records(
    known: LabelledWindows, vfdb: Path, names: tuple[str, ...], recipe: WaveformRecipe, seed: int
) -> Iterator[LeadScores]:
    """Score both leads of every record with a classifier that was trained without it."""
    for number, name in enumerate(names):
        others = DS1[number :: len(names)]
        rest = tuple(record for record in DS1 if record not in others)
        part = select_windows(known, ~np.isin(known.sources, [name, *others]))
        examples = concatenate_windows([part, build_synthetic_windows(rest, recipe, seed + number)])
        classifier = WaveformClassifier(fit_waveform_layers(examples, recipe, seed + number), {})
        for lead in (0, 1):
            yield score_strip_windows(classifier, label_malignant_record(vfdb / name, lead), lead)
            for other in others:
                yield score_strip_windows(classifier, label_arrhythmia_record(other, lead), lead)
        _print_training_step(f"held out {name} {' '.join(others)}")


def score_strip_windows(classifier: WaveformClassifier, strip: LabelledStrip, lead: int) -> LeadScores:
    """Score the windows of a strip, one per HOP."""
    ends = np.arange(WINDOW, len(strip.x) + 1, HOP)
    features = measure_ending_windows(strip.x, ends)
    scores = classifier.classify_features(features.numbers)
    return LeadScores(strip.source, lead, ends, scores, repetition_rates(features), strip.allowed, len(strip.x))


def score_lead_episodes(leads: list[LeadScores], vfdb: Path, settings: VfVtSettings) -> dict[str, Any]:
    """Return figures of the episodes by database, lead and kind: of the lead that the monitor analyses, and the other.

    The episodes are those that the alarms announce with `settings`.
    """
    total: dict[str, WaveformEpisodeCounts] = {}
    for scored in leads:
        of_vfdb = (vfdb / f"{scored.record}.hea").is_file()
        name = str(vfdb / scored.record) if of_vfdb else scored.record
        first = default_lead(tuple(signal.name for signal in open_record(name).signals)) == scored.lead
        reference = read_reference_episodes(name)
        place = f"{'VFDB' if of_vfdb else 'MIT-BIH'} {'first' if first else 'other'} lead"
        detected = detect_episodes(settings, scored.ends.tolist(), scored.scores.tolist(), scored.rates.tolist())
        for (kind, other), shortest_s in itertools.product((("VF", "VT"), ("VT", "VF")), (0, 4)):
            key = f"{place}, {kind}{', of 4 s and more' if shortest_s else ''}"
            counts = count_episode_matches(
                reference[kind], reference[other], detected[kind], scored.samples, shortest_s
            )
            total[key] = total.get(key, WaveformEpisodeCounts()) + counts
    return {key: counts.figures() for key, counts in sorted(total.items())}


def read_reference_episodes(name: str) -> dict[str, list[EpisodeSpan]]:
    """Return the annotated episodes "VF" (with flutter) and "VT" of a record."""
    x, annotations, scale = read_annotated_leads(name)
    spans = annotated_rhythms(annotations, scale, len(x))
    vf = annotated_flutter(annotations, scale) or [
        (start, stop) for start, stop, kind in spans if kind in FIBRILLATION_RHYTHMS
    ]
    vt = [(start, stop) for start, stop, kind in spans if kind == "VT"]
    return {"VF": [EpisodeSpan(*ends) for ends in vf], "VT": [EpisodeSpan(*ends) for ends in vt]}


def save_lead_scores(path: Path, leads: list[LeadScores]) -> None:
    """Write the scores of held-out records, for the choice of a rule: a (n, 7) array per lead, ends, scores, rates."""
    arrays: dict[str, Any] = {}
    for lead in leads:
        arrays[f"{lead.record} {lead.lead}"] = np.column_stack([lead.ends, lead.scores, lead.rates])
    np.savez_compressed(path, **arrays)


def _print_training_step(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a progress report


if __name__ == "__main__":
    main()
