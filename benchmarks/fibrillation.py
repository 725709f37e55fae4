"""Atrial fibrillation by RR intervals alone: `python -m benchmarks.fibrillation --ltafdb FOLDER --afdb FOLDER`.

The detector of the alarm gets beats as they are annotated, so these figures are those of the rule and not of detection
or classification. Of the Long-Term AF Database (doi:10.13026/C2QG6Q) these are beats with classes, of the MIT-BIH AF
Database (doi:10.13026/C2MW2D) the unaudited beats of a detector, all called N. Three views:

- "as annotated";
- "S called N", as by a net that knows no atrial ectopy;
- "errors": of the early beats of fibrillation half are called S, of S beats three in ten N, and 15 % of all are unsure.

The thresholds were chosen on every other record (1st, 3rd, ...), so the figures of the others are those of strangers.
Episodes are scored by EC57 from 5:00; "60 s" counts only episodes of at least a minute. `--json FILE` writes them.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.figures import write_figures
from model.records.annotations import AnnotationFile, read_annotations
from model.records.resample import FS
from model.records.wfdb_records import EC57_CLASS_OF, open_record
from model.rhythm.atrial_fibrillation import IrregularityDetector
from model.scoring.ec57 import build_scored_span
from model.scoring.episode_scores import AF_EPISODES, EpisodeCounts, compare_episodes, gross_episode_counts
from model.training.borrowed_rhythms import FIBRILLATION_MARK, list_annotated_records

BEATS = {"ltafdb": "atr", "afdb": "qrs"}
"""The annotation files of each database that hold its beats."""
VIEWS = {"ltafdb": ("as annotated", "S called N", "errors"), "afdb": ("as annotated", "errors")}
LONG_S = 60.0
EARLY = 0.85
"""A beat is early if its RR interval is shorter than this share of the mean of 31."""
CALLED_S, CALLED_N, UNSURE = 0.5, 0.3, 0.15
"""Shares of the beats that are called S, called N and unsure with errors."""


class RhythmRecord(NamedTuple):
    """A record without a signal: rate in hertz, samples (n,) and classes of its beats, and its rhythm labels."""

    rate: float
    samples: np.ndarray[Any, np.dtype[np.int64]]
    labels: list[str]
    rhythm: AnnotationFile


def read_record(path: str, beats: str) -> RhythmRecord:
    """Read the rhythm labels of a record, and its beats from the file with extension `beats`."""
    folder, name, rate = Path(path).parent, Path(path).name, open_record(path).fs
    notes, found = (read_annotations(folder, name, extension, rate) for extension in ("atr", beats))
    rows = [row for row, symbol in enumerate(found.symbols) if symbol in EC57_CLASS_OF]
    marks = [row for row, symbol in enumerate(notes.symbols) if symbol == "+"]
    samples, texts = tuple(notes.samples[row] for row in marks), tuple(notes.texts[row] for row in marks)
    rhythm = AnnotationFile(samples, ("+",) * len(marks), (0,) * len(marks), texts)
    at = np.array([found.samples[row] for row in rows], np.int64)
    return RhythmRecord(rate, at, [EC57_CLASS_OF[found.symbols[row]] for row in rows], rhythm)


def call_beats(record: RhythmRecord, view: str, seed: int) -> list[str]:
    """Return the classes (n,) of the beats as a view has them; the errors are drawn from `seed`."""
    if view != "errors":
        return ["N" if label == "S" and view == "S called N" else label for label in record.labels]
    steps = np.diff(record.samples, prepend=record.samples[0])
    early = steps < EARLY * np.convolve(steps, np.ones(31) / 31, "same")
    latest = np.maximum(np.searchsorted(record.rhythm.samples, record.samples, "right") - 1, 0)
    fibrillating = np.array([text == FIBRILLATION_MARK for text in record.rhythm.texts])[latest]
    chance, doubt = np.random.default_rng(seed).random((2, len(steps)))
    called = list(record.labels)
    for beat, label in enumerate(record.labels):
        if label == "N" and fibrillating[beat] and early[beat] and chance[beat] < CALLED_S:
            called[beat] = "S"
        elif label == "S" and chance[beat] < CALLED_N:
            called[beat] = "N"
        if called[beat] in "NS" and doubt[beat] < UNSURE:
            called[beat] = "Q"
    return called


def detect_fibrillation(record: RhythmRecord, labels: list[str]) -> AnnotationFile:
    """Return the episodes that the detector reports of beats with these classes, as rhythm labels."""
    detector, onset, before = IrregularityDetector(), None, None
    marks: list[tuple[int, str]] = []
    samples = np.rint(record.samples * FS / record.rate).astype(int).tolist()
    for sample, label in zip(samples, labels, strict=True):
        detector.push(sample, label, None if before is None else (sample - before) / FS)
        before, (_, since) = sample, detector.state(sample)
        if since is not None and onset is None:
            marks.append((since, FIBRILLATION_MARK))
        elif since is None and onset is not None:
            assert detector.end is not None
            marks.append((detector.end, "(N"))
        onset = since
    at = tuple(round(sample * record.rate / FS) for sample, _ in marks)
    return AnnotationFile(at, ("+",) * len(at), (0,) * len(at), tuple(text for _, text in marks))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in BEATS:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/fibrillation.json"))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for database, beats in BEATS.items():
        if folder := getattr(options, database):
            rows += _measure(database, list_annotated_records(folder), beats)
    write_figures(options.json, rows)


def _measure(database: str, paths: tuple[str, ...], beats: str) -> list[dict[str, Any]]:
    """Return a row for each view and half of the records of a database."""
    counts: dict[tuple[str, str], list[tuple[EpisodeCounts, EpisodeCounts]]] = {}
    for number, path in enumerate(paths):
        record = read_record(path, beats)
        part = build_scored_span(record.rate, int(record.samples[-1]))
        for view in VIEWS[database]:
            test = detect_fibrillation(record, call_beats(record, view, number))
            both = (compare_episodes(record.rhythm, test, AF_EPISODES, part, least) for least in (0.0, LONG_S))
            half = "looked at" if number % 2 == 0 else "held out"
            counts.setdefault((view, half), []).append((next(both), next(both)))
    rows: list[dict[str, Any]] = []
    for (view, half), found in counts.items():
        every, long = (gross_episode_counts([pair[which] for pair in found]).percent() for which in (0, 1))
        row = {"database": database, "records": len(found), "half": half, "view": view}
        rows.append(row | every | {f"{name}_60_s": long[name] for name in ("episode_se", "episode_ppv")})
        print(
            row | {name: value and round(value, 1) for name, value in rows[-1].items() if name not in row}, flush=True
        )
    return rows


if __name__ == "__main__":
    main()
