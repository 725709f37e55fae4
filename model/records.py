"""ECG records: the 48 of the MIT-BIH Arrhythmia Database inside this package, and any WFDB record by path.

Signals are read with the WFDB package, in blocks, in physical units; samples without a value are NaN.
Database: Moody & Mark 2001, doi:10.1109/51.932724, doi:10.13026/C2F305 (ODC-By 1.0).
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError

DATABASE = Path(__file__).parent / "database"
LEAD_ORDER = ("MLII", "II")
"""Leads looked for by name, in this order, when none is asked for; then the first of the record."""

AAMI_CLASSES = {"N": "NLRBej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
"""WFDB beat symbols of each AAMI class as in Kachuee et al. 2018 (EC57 itself counts e and j as S)."""
CLASSES = tuple(AAMI_CLASSES)
"""The five classes in the order of every array of probabilities or counts."""
CLASS_OF = {symbol: name for name, symbols in AAMI_CLASSES.items() for symbol in symbols}


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a record: its name, unit and the range of the converter in that unit."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Record:
    """What a record's header says. `path` has no file ending; `length` in samples at `fs` hertz."""

    name: str
    path: Path
    fs: float
    length: int
    signals: tuple[Signal, ...]
    comments: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """Annotations in order: `samples` (n,) int64 at the record's rate, `symbols` WFDB codes, `texts` their notes."""

    samples: NDArray[np.int64]
    symbols: tuple[str, ...]
    texts: tuple[str, ...]

    def beats(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """R peaks of the annotated beats and the AAMI class of each."""
        kept = [i for i, symbol in enumerate(self.symbols) if symbol in CLASS_OF]
        return self.samples[kept], tuple(CLASS_OF[self.symbols[i]] for i in kept)


def embedded() -> tuple[str, ...]:
    """Names of the embedded records of the MIT-BIH Arrhythmia Database, in order."""
    return tuple(sorted(path.stem for path in (DATABASE / "mitdb").glob("*.hea")))


def noises() -> tuple[str, ...]:
    """Names of the embedded noise records of the MIT-BIH Noise Stress Test Database."""
    return tuple(sorted(path.stem for path in (DATABASE / "nstdb").glob("*.hea")))


def find(name: str) -> Path:
    """Path, without ending, of an embedded record by name or of any WFDB record by path.

    Raises RecordError with the names that exist where there is none.
    """
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # what is no name of a file names no record
        given = Path(name).expanduser()
        if given.suffix in (".hea", ".dat"):
            given = given.with_suffix("")
        for path in (given, DATABASE / "mitdb" / name, DATABASE / "nstdb" / name):
            if path.with_name(path.name + ".hea").is_file():
                return path
    raise RecordError(f"no record {name!r}: give the path of a WFDB header, or one of {', '.join(embedded())}")


def open_record(name: str) -> Record:
    """Read the header of a record, by embedded name or path. Raises RecordError."""
    path = find(name)
    header = _wfdb("rdheader", path, "header")
    if hasattr(header, "seg_name"):
        raise RecordError(f"record {path} is made of segments: give the path of one of them")
    if not header.sig_len or not header.n_sig:
        raise RecordError(f"record {path} says it has no samples: check its header")
    if not header.fs or not np.isfinite(header.fs) or header.fs <= 0:
        raise RecordError(f"record {path} has no valid sampling rate: check its header")
    if len(header.file_name or ()) != header.n_sig:
        raise RecordError(f"record {path} does not describe all of its signals: check its header")
    signals = tuple(_signal(header, i) for i in range(header.n_sig))
    return Record(path.name, path, float(header.fs), int(header.sig_len), signals, tuple(header.comments))


def read(record: Record, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
    """Samples `start` to `stop` as (n, signals) float64 in each signal's unit, NaN where there is no value."""
    stop = record.length if stop is None else min(stop, record.length)
    if stop <= start:
        return np.empty((0, len(record.signals)))
    signal = _wfdb("rdrecord", record.path, "signal", sampfrom=start, sampto=stop).p_signal
    if signal is None or signal.shape != (stop - start, len(record.signals)):
        raise RecordError(f"record {record.path} ends before sample {stop}: its signal file is cut short")
    return np.asarray(signal, dtype=np.float64)


def annotations(record: Record, extension: str = "atr") -> Annotations:
    """Reference annotations of a record. Raises RecordError where the file is missing or broken."""
    if not record.path.with_name(f"{record.path.name}.{extension}").is_file():
        raise RecordError(f"record {record.path} has no annotations: {record.path.name}.{extension} is missing")
    found = _wfdb("rdann", record.path, "annotations", extension=extension)
    texts = tuple(text.rstrip("\x00") for text in found.aux_note)
    return Annotations(np.asarray(found.sample, dtype=np.int64), tuple(found.symbol), texts)


def default_lead(names: tuple[str, ...]) -> int:
    """Index of the lead to analyse where none is asked for: LEAD_ORDER by name, else the first."""
    return next((names.index(name) for name in LEAD_ORDER if name in names), 0)


def _signal(header: Any, i: int) -> Signal:
    gain, baseline = header.adc_gain[i] or 200.0, header.baseline[i] or 0
    bits, zero = header.adc_res[i] or 16, header.adc_zero[i] or 0
    low, high = ((zero + rail - baseline) / gain for rail in (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    return Signal(header.sig_name[i] or f"lead{i + 1}", header.units[i] or "mV", low, high)


def _wfdb(function: str, path: Path, part: str, **options: Any) -> Any:
    """Call the WFDB package, whose readers raise whatever the bytes make them stumble on."""
    import wfdb  # half a second: only those who read records pay it

    try:
        return getattr(wfdb, function)(str(path), **options)
    except Exception as error:
        raise RecordError(f"cannot read the {part} of record {path}: {' '.join(str(error).split())}") from error
