"""`python -m model.waveform.waveform_training --vfdb FOLDER`: train the waveform judge, and hold each record out to
test it.

Trained on as much of the MIT-BIH Malignant Ventricular Ectopy Database as `--vfdb` holds, on DS1 of the MIT-BIH
Arrhythmia Database, and on what is made up (`model.waveform.synthetic_waveforms`). Every fold holds out one record of
the first and two of the second; nothing of them is in the training of that fold, nor in its made-up strips.
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
from model.records.wfdb_records import default_lead, open_record
from model.scoring.episode_scores import EpisodeSpan
from model.waveform.classifier_fit import WaveformRecipe, fit_waveform_layers
from model.waveform.episode_rule import FIBRILLATION_RULE, TACHYCARDIA_RULE, EpisodeRule, detect_episodes
from model.waveform.episode_tables import WaveformEpisodeCounts, count_episode_matches
from model.waveform.labelled_windows import (
    LabelledStrip,
    LabelledWindows,
    StripGenerator,
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
    """One lead of a record as a judge hears it: looks end before `ends`, their `scores` (n, 5) and `rates` (n,)."""

    record: str
    lead: int
    ends: NDArray[np.int64]
    scores: Floats
    rates: Floats
    allowed: NDArray[np.uint8]
    samples: int


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vfdb", type=Path, required=True, help="folder of VFDB records")
    parser.add_argument("--out", type=Path, default=WAVEFORM_WEIGHTS.parent, help="folder that gets weights and report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", action="store_true", help="hold out each record in turn as well")
    parser.add_argument("--test", action="store_true", help="look at DS2, which nothing was chosen by")
    options = parser.parse_args()
    try:
        train_waveform_classifier(options.vfdb, options.out, options.seed, options.folds, options.test)
    except EcgError as error:
        parser.exit(1, f"{error}\n")


def train_waveform_classifier(vfdb: Path, out: Path, seed: int, folds: bool, test: bool) -> None:
    """Train, test what is asked for, and write `waveform.safetensors` and `waveform.json` into `out`."""
    recipe, started = WaveformRecipe(), time.perf_counter()
    names = tuple(sorted(path.stem for path in vfdb.glob("*.hea")))
    if not names:
        raise RecordError(f"no records in {vfdb}: give the folder of the VFDB (--vfdb)")
    out.mkdir(parents=True, exist_ok=True)
    known = build_recorded_windows(vfdb, names, DS1, recipe, seed)
    report: dict[str, Any] = {}
    if folds:
        heard = list(score_held_out_records(known, vfdb, names, recipe, seed))
        report["held_out"] = score_lead_episodes(heard, vfdb)
        save_lead_scores(out / "held_out.npz", heard)
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
    judge = WaveformClassifier(layers, story)
    if test:
        strips = [(label_arrhythmia_record(name, lead), lead) for name in DS2 for lead in (0, 1)]
        report["DS2"] = score_lead_episodes([score_strip_windows(judge, strip, lead) for strip, lead in strips], vfdb)
    judge.save(out / "waveform.safetensors")
    (out / "waveform.json").write_text(json.dumps(story | report, indent=2) + "\n")
    _print_training_step(f"{out}: waveform.safetensors, waveform.json after {time.perf_counter() - started:.0f} s")


def build_recorded_windows(
    vfdb: Path, names: tuple[str, ...], ds1: tuple[str, ...], recipe: WaveformRecipe, seed: int
) -> LabelledWindows:
    """Windows of both leads of the records, as they are and changed."""
    random, maker = np.random.default_rng([seed, 1]), StripGenerator(ds1, seed)
    strips = [label_malignant_record(vfdb / name, lead) for name in names for lead in (0, 1)]
    strips += [label_arrhythmia_record(name, lead) for name in ds1 for lead in (0, 1)]
    changed = (vary_strip(strip, random, maker) for _ in range(recipe.copies) for strip in strips)
    return concatenate_windows(
        [drop_unlabelled(label_strip_windows(strip, HOP)[0]) for part in (strips, changed) for strip in part]
    )


def build_synthetic_windows(ds1: tuple[str, ...], recipe: WaveformRecipe, seed: int) -> LabelledWindows:
    """Windows of strips that are made up, most of them changed too."""
    random, maker = np.random.default_rng([seed, 2]), StripGenerator(ds1, seed + 1)
    strips = (vary_strip(one, random, maker) if random.random() < 0.8 else one for one in maker.strips(recipe.made))
    return concatenate_windows([drop_unlabelled(label_strip_windows(strip, HOP)[0]) for strip in strips])


def drop_unlabelled(examples: LabelledWindows) -> LabelledWindows:
    """Those of which something is known."""
    return select_windows(examples, examples.allowed > 0)


def select_windows(examples: LabelledWindows, rows: NDArray[np.bool_]) -> LabelledWindows:
    """Some of the examples."""
    return LabelledWindows(*(getattr(examples, name)[rows] for name in LabelledWindows.__slots__))


def concatenate_windows(parts: list[LabelledWindows]) -> LabelledWindows:
    """All of them."""
    return LabelledWindows(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in LabelledWindows.__slots__)
    )


def digest_windows(examples: LabelledWindows) -> str:
    """SHA-256 (hex) of what was trained on."""
    found = hashlib.sha256(examples.numbers.tobytes())
    found.update(examples.allowed.tobytes())
    return found.hexdigest()


def score_held_out_records(
    known: LabelledWindows, vfdb: Path, names: tuple[str, ...], recipe: WaveformRecipe, seed: int
) -> Iterator[LeadScores]:
    """Both leads of every record, heard by a judge that was trained without it."""
    for number, name in enumerate(names):
        others = DS1[number :: len(names)]
        rest = tuple(one for one in DS1 if one not in others)
        part = select_windows(known, ~np.isin(known.sources, [name, *others]))
        judge = WaveformClassifier(
            fit_waveform_layers(
                concatenate_windows([part, build_synthetic_windows(rest, recipe, seed + number)]), recipe, seed + number
            ),
            {},
        )
        for lead in (0, 1):
            yield score_strip_windows(judge, label_malignant_record(vfdb / name, lead), lead)
            for other in others:
                yield score_strip_windows(judge, label_arrhythmia_record(other, lead), lead)
        _print_training_step(f"held out {name} {' '.join(others)}")


def score_strip_windows(judge: WaveformClassifier, strip: LabelledStrip, lead: int) -> LeadScores:
    """What a judge says of a strip."""
    ends = np.arange(WINDOW, len(strip.x) + 1, HOP)
    seen = measure_ending_windows(strip.x, ends)
    return LeadScores(
        strip.source, lead, ends, judge.of(seen.numbers), repetition_rates(seen), strip.allowed, len(strip.x)
    )


def score_lead_episodes(
    heard: list[LeadScores],
    vfdb: Path,
    fibrillation: EpisodeRule = FIBRILLATION_RULE,
    fast: EpisodeRule = TACHYCARDIA_RULE,
) -> dict[str, Any]:
    """Figures of the episodes by database, kind and lead: the one that the monitor analyses, and the other."""
    total: dict[str, WaveformEpisodeCounts] = {}
    for one in heard:
        malignant_one = (vfdb / f"{one.record}.hea").is_file()
        record = open_record(str(vfdb / one.record) if malignant_one else one.record)
        first = default_lead(tuple(signal.name for signal in record.signals)) == one.lead
        spans = read_reference_episodes(str(vfdb / one.record) if malignant_one else one.record)
        place = f"{'VFDB' if malignant_one else 'MIT-BIH'} {'first' if first else 'other'} lead"
        for kind, shortest in itertools.product(("VF", "VT"), (0, 4)):
            rule = fibrillation if kind == "VF" else fast
            test = detect_episodes(rule, one.ends.tolist(), one.scores.tolist(), one.rates.tolist())
            other = spans["VT"] if kind == "VF" else spans["VF"]
            key = f"{place}, {kind}{', of 4 s and more' if shortest else ''}"
            found = count_episode_matches(spans[kind], other, test, one.samples, shortest)
            total[key] = total.get(key, WaveformEpisodeCounts()) + found
    return {key: counts.figures() for key, counts in sorted(total.items())}


def read_reference_episodes(name: str) -> dict[str, list[EpisodeSpan]]:
    """Annotated episodes of fibrillation (with flutter) and of ventricular tachycardia."""
    x, notes, scale = read_annotated_leads(name)
    spans = annotated_rhythms(notes, scale, len(x))
    flutter = [
        round(at * scale) for at, sign in zip(notes.samples.tolist(), notes.symbols, strict=True) if sign in "[]"
    ]
    marked = [EpisodeSpan(*ends) for ends in zip(flutter[::2], flutter[1::2], strict=True)]
    return {
        "VF": marked or [EpisodeSpan(start, stop) for start, stop, kind in spans if kind in FIBRILLATION_RHYTHMS],
        "VT": [EpisodeSpan(start, stop) for start, stop, kind in spans if kind == "VT"],
    }


def save_lead_scores(path: Path, heard: list[LeadScores]) -> None:
    """Write what was said of the held-out records, to choose a rule by."""
    arrays: dict[str, Any] = {}
    for one in heard:
        arrays[f"{one.record} {one.lead}"] = np.column_stack([one.ends, one.scores, one.rates])
    np.savez_compressed(path, **arrays)


def _print_training_step(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
