"""Beats and alarms from any place of a record on: `python -m benchmarks.random_starts [--svdb FOLDER]`.

From each record of DS1, and of the folder, pieces of PIECE_S seconds are cut at random and analysed with nothing before
them, with two leads; everything is scored from the first second. A monitor that is switched on knows no more.
`--json FILE` writes the figures.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import wfdb

from benchmarks.figures import ROOT, write_figures
from benchmarks.strangers import beat_statistics, run_evaluation
from model.beats.dataset import DS1
from model.records.annotations import AnnotationFile, encode_annotations
from model.records.wfdb_records import open_record, read_record_samples, read_reference

PIECE_S, PIECES, SEED = 45.0, 4, 0


def cut_piece(name: str, number: int, random: np.random.Generator, folder: Path) -> None:
    """Write a piece of a record with its annotations, the first of which says the rhythm at its start."""
    record = open_record(name)
    notes = read_reference(record)
    count = round(PIECE_S * record.fs)
    start = int(random.integers(record.length - count))
    x = read_record_samples(record, start, start + count)
    names = [signal.name for signal in record.signals]
    options: dict[str, Any] = {
        "fmt": ["16"] * len(names),
        "adc_gain": [200.0] * len(names),
        "baseline": [0] * len(names),
    }
    piece = f"{record.name}x{number}"
    wfdb.wrsamp(piece, record.fs, ["mV"] * len(names), names, p_signal=x, write_dir=str(folder), **options)
    marks = [(0, "+", rhythm) for rhythm in _rhythm_before(notes.samples, notes.texts, start)]
    for sample, symbol, text in zip(notes.samples.tolist(), notes.symbols, notes.texts, strict=True):
        if start <= sample < start + count:
            marks.append((sample - start, symbol, text))
    samples, symbols, texts = zip(*marks, strict=True) if marks else ((), (), ())
    file = AnnotationFile(samples, symbols, (0,) * len(marks), texts)
    (folder / f"{piece}.atr").write_bytes(encode_annotations(file))


def _rhythm_before(samples: "np.ndarray[Any, np.dtype[np.int64]]", texts: tuple[str, ...], start: int) -> Iterator[str]:
    """Yield the latest rhythm label before a sample, if there is one."""
    before = [text for sample, text in zip(samples.tolist(), texts, strict=True) if sample < start and text[:1] == "("]
    yield from before[-1:]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--svdb", type=Path)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/random_starts.json"))
    options = parser.parse_args()
    names = [*DS1, *(str(path.with_suffix("")) for path in sorted(options.svdb.glob("*.hea")))] if options.svdb else DS1
    random = np.random.default_rng(SEED)
    with TemporaryDirectory() as folder:
        for name in names:
            for number in range(PIECES):
                cut_piece(name, number, random, Path(folder))
        beats = run_evaluation(ROOT, Path(folder), ["--start", "0"])
        alarms = run_evaluation(ROOT, Path(folder), ["--start", "0", "--alarms"])
    verdicts = [alarm["verdict"] for alarm in alarms["alarms"]]
    figures = beat_statistics(beats["groups"]["all"]["ec57"]["gross"]["beats"])
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    found = (
        {"pieces": len(names) * PIECES, "seconds": PIECE_S} | figures | {"hours": alarms["hours"], "verdicts": counts}
    )
    print(found)
    write_figures(options.json, found)


if __name__ == "__main__":
    main()
