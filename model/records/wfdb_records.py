"""ECG records: the 48 of the MIT-BIH Arrhythmia Database inside this package, and any WFDB record by path.

The WFDB package reads the signals, in blocks and in physical units; samples without a value are NaN.
Database: Moody & Mark 2001, doi:10.1109/51.932724, doi:10.13026/C2F305 (ODC-By 1.0).
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError, clean_error_text
from model.records.annotations import EMPTY_SYMBOL, read_annotations

DATABASE = Path(__file__).parent / "database"

AAMI_CLASSES = {"N": "NLRBej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
"""WFDB beat symbols of each AAMI class as in Kachuee et al. 2018: the labels that the nets are trained on."""
EC57_CLASSES = {"N": "NLRB", "S": "JASjnea", "V": "VrE", "F": "F", "Q": "/fQ?", "O": "!"}
"""The same for scoring, as WFDB's `bxb` and `rxr` group them: e and j are S. A flutter wave `!` has no class (O)."""
CLASSES = tuple(AAMI_CLASSES)
"""The five classes in the order of every array of probabilities or counts."""
AAMI_CLASS_OF = {symbol: name for name, symbols in AAMI_CLASSES.items() for symbol in symbols}
EC57_CLASS_OF = {symbol: name for name, symbols in EC57_CLASSES.items() for symbol in symbols}

LARGEST_RECORD_HEADER, LONGEST_LINE, MOST_LINES = 2**20, 1000, 1000
"""Bytes of a header, characters of a line and number of lines without remarks. WFDB allows lines of 255 characters."""
LARGEST_LENGTH = 2**53
LOWEST_HEADER_FS, HIGHEST_HEADER_FS = 1e-6, 1e9
"""Sampling rates in hertz beyond which a header makes no sense."""
MOST_BITS = 64
SAMPLE_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
"""Bytes of a sample in each WFDB format that is not compressed."""
COMPRESSED_FORMATS = ("508", "516", "524")
PARSER_ERRORS = (LookupError, TypeError, AttributeError, ArithmeticError)
"""Exceptions that the WFDB package leaks on malformed files; their messages describe its code and are not shown."""
DIFFERENCE_FORMAT = "8"
"""The format that stores differences: a block of it can only be read from the start of the record."""


@dataclass(frozen=True, slots=True)
class RecordSignal:
    """One signal of a record: its name, its unit, and the range of the converter (`low`, `high`) in that unit.

    `skew` is the number of samples by which it was written too late; as many are missing at its end.
    """

    name: str
    unit: str
    low: float
    high: float
    skew: int = 0


@dataclass(frozen=True, slots=True)
class SignalFile:
    """A file of samples: its WFDB `format`, samples per `frame` of all its signals, bytes before the first sample."""

    path: Path
    format: str
    frame: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """The header of a record. `path` has no file ending; `length` is in samples at `fs` hertz."""

    name: str
    path: Path
    fs: float
    length: int
    signals: tuple[RecordSignal, ...]
    comments: tuple[str, ...]
    files: tuple[SignalFile, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RecordAnnotations:
    """Annotations in order: `samples` (n,) int64 at the record's rate, n WFDB `symbols`, and n `texts`."""

    samples: NDArray[np.int64]
    symbols: tuple[str, ...]
    texts: tuple[str, ...]

    def beats(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return the R peaks (m,) int64 of the annotated beats, at the record's rate, and the AAMI class of each."""
        kept = [i for i, symbol in enumerate(self.symbols) if symbol in AAMI_CLASS_OF]
        return self.samples[kept], tuple(AAMI_CLASS_OF[self.symbols[i]] for i in kept)


def embedded_records() -> tuple[str, ...]:
    """Return the names of the embedded records of the MIT-BIH Arrhythmia Database, in order."""
    return tuple(sorted(path.stem for path in (DATABASE / "mitdb").glob("*.hea")))


def embedded_noises() -> tuple[str, ...]:
    """Return the names of the embedded noise records of the MIT-BIH Noise Stress Test Database."""
    return tuple(sorted(path.stem for path in (DATABASE / "nstdb").glob("*.hea")))


def find_record(name: str) -> Path:
    """Return the path, without ending, of an embedded record by name or of any WFDB record by path.

    Raises RecordError, with the names of the embedded records, if there is no such record.
    """
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # an impossible file name is no record either
        given = Path(name).expanduser()
        if given.suffix in (".hea", ".dat"):
            given = given.with_suffix("")
        for path in (given, DATABASE / "mitdb" / name, DATABASE / "nstdb" / name):
            if path.with_name(path.name + ".hea").is_file():
                return path
    raise RecordError(f"no record {name!r}: give the path of a WFDB header, or one of {', '.join(embedded_records())}")


def open_record(name: str) -> Record:
    """Read the header of a record, by embedded name or path.

    Raises RecordError if there is no such record, or its header is broken or makes no sense.
    """
    path = find_record(name)
    _check_header_text(path)
    header = _call_wfdb("rdheader", path, "header")
    _check_header_values(path, header)
    try:
        signals = tuple(_describe_signal(header, i) for i in range(header.n_sig))
    except (ValueError, OverflowError) as error:
        raise RecordError(f"record {path} has impossible values for its converter: check its header") from error
    files = _list_signal_files(header, path.parent)
    return Record(path.name, path, float(header.fs), int(header.sig_len), signals, tuple(header.comments), files)


def read_record_samples(record: Record, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
    """Read a part of a record.

    Parameters
    ----------
    record : Record
    start, stop : int
        First sample, and sample after the last; None or a later one is the end of the record.

    Returns
    -------
    (n, signals) float64
        In each signal's own unit; NaN for samples without a value.

    Raises
    ------
    RecordError
        If a signal file is missing, broken or truncated.
    """
    stop = record.length if stop is None else min(stop, record.length)
    if stop <= start:
        return np.empty((0, len(record.signals)))
    _check_signal_files(record, stop)
    first = 0 if any(file.format == DIFFERENCE_FORMAT for file in record.files) else start
    signal = _call_wfdb("rdrecord", record.path, "signal", sampfrom=first, sampto=stop).p_signal
    if signal is None or signal.shape != (stop - first, len(record.signals)):
        raise _cut_short_error(record, stop)
    values = np.array(signal[start - first :], dtype=np.float64)
    for i, description in enumerate(record.signals):
        if description.skew:  # the WFDB package fills the missing end with zeros if a frame has several samples
            values[max(0, record.length - description.skew - start) :, i] = np.nan
    return values


def read_reference(record: Record, extension: str = "atr") -> RecordAnnotations:
    """Read the reference annotations of a record. Raises RecordError if the file is missing or broken."""
    name = f"{record.path.name}.{extension}"
    if not record.path.with_name(name).is_file():
        raise RecordError(f"record {record.path} has no annotations: {name} is missing")
    notes = read_annotations(record.path.parent, record.path.name, extension, record.fs)
    if not notes.complete:
        raise RecordError(f"cannot read the annotations of record {record.path}: {name} is cut short")
    kept = [i for i in range(notes.definitions, len(notes.symbols)) if notes.symbols[i] != EMPTY_SYMBOL]
    return RecordAnnotations(
        np.array([notes.samples[i] for i in kept], dtype=np.int64),
        tuple(notes.symbols[i] for i in kept),
        tuple(notes.texts[i].rstrip("\x00") for i in kept),
    )


def _describe_signal(header: Any, i: int) -> RecordSignal:
    """Describe signal `i` of a header. Raises ValueError or OverflowError if its numbers make no sense."""
    gain = header.adc_gain[i] or 200.0  # the defaults are those of the WFDB library
    baseline = header.baseline[i] or 0
    bits = header.adc_res[i] or 16
    zero = header.adc_zero[i] or 0
    if not 0 < bits <= MOST_BITS:
        raise ValueError(f"{bits} bits")
    low, high = ((zero + rail - baseline) / gain for rail in (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    if not np.isfinite((low, high)).all():
        raise ValueError("rails that are not finite")
    name = header.sig_name[i] or f"lead{i + 1}"
    unit = header.units[i] or "mV"
    return RecordSignal(name, unit, low, high, header.skew[i] or 0)


def _list_signal_files(header: Any, folder: Path) -> tuple[SignalFile, ...]:
    """Return the signal files of a record, each once, in order."""
    frames: dict[str, int] = {}
    first: dict[str, int] = {}
    for i, name in enumerate(header.file_name):
        frames[name] = frames.get(name, 0) + (header.samps_per_frame[i] or 1)
        first.setdefault(name, i)
    return tuple(
        SignalFile(folder / name, header.fmt[i], frames[name], header.byte_offset[i] or 0) for name, i in first.items()
    )


def _check_header_text(path: Path) -> None:
    """Refuse what WFDB's parser would misread, or take too long for: its time grows with the square of a line."""
    try:
        with path.with_name(path.name + ".hea").open("rb") as file:
            content = file.read(LARGEST_RECORD_HEADER + 1)
    except OSError as error:
        raise _unreadable_error("header", path, error) from error
    lines = [line for line in content.decode("ascii", "ignore").splitlines() if not line.lstrip().startswith("#")]
    if (
        len(content) > LARGEST_RECORD_HEADER
        or len(lines) > MOST_LINES
        or any(len(line) > LONGEST_LINE for line in lines)
    ):
        raise RecordError(f"cannot read the header of record {path}: it is too large for one")
    words = next((line.split() for line in lines if line.strip()), None)
    if words is None:
        raise RecordError(f"cannot read the header of record {path}: it is empty")
    if len(words) > 2 and not words[2][0].isdigit():  # WFDB's parser would take it for the default, 250 Hz
        raise RecordError(f"record {path} has no valid sampling rate: check its header")


def _check_header_values(path: Path, header: Any) -> None:
    """Refuse a header without the values that a record needs."""
    if hasattr(header, "seg_name"):
        raise RecordError(f"record {path} is made of segments: give the path of one of them")
    if not header.sig_len or not header.n_sig:
        raise RecordError(f"record {path} says it has no samples: check its header")
    if not header.fs or not LOWEST_HEADER_FS <= header.fs <= HIGHEST_HEADER_FS:
        raise RecordError(f"record {path} has no valid sampling rate: check its header")
    if len(header.file_name or ()) != header.n_sig:
        raise RecordError(f"record {path} does not describe all of its signals: check its header")
    if header.sig_len > LARGEST_LENGTH or max(skew or 0 for skew in header.skew) > header.sig_len:
        raise RecordError(f"record {path} has an impossible length or skew: check its header")


def _check_signal_files(record: Record, stop: int) -> None:
    """Refuse files that are no signal files, or end before sample `stop`, before memory is taken for their samples."""
    for file in record.files:
        if file.format not in SAMPLE_BYTES and file.format not in COMPRESSED_FORMATS:
            raise RecordError(
                f"cannot read the signal of record {record.path}: format {file.format} is unknown, check its header"
            )
        try:
            if not file.path.is_file():  # reading a pipe or a device might never end
                raise RecordError(f"cannot read the signal of record {record.path}: there is no file {file.path.name}")
            available = _count_file_samples(file)
        except (OSError, RuntimeError) as error:
            raise _unreadable_error("signal", record.path, error) from error
        if available < stop * file.frame:
            raise _cut_short_error(record, stop)


def _count_file_samples(file: SignalFile) -> float:
    """Return the number of samples in a file, from its size or, if it is compressed, from its own header."""
    if file.format in COMPRESSED_FORMATS:
        import soundfile

        with file.path.open("rb") as opened, soundfile.SoundFile(opened) as sound:
            return float(len(sound) * sound.channels)
    return (file.path.stat().st_size - file.offset) / SAMPLE_BYTES[file.format]


def _cut_short_error(record: Record, stop: int) -> RecordError:
    return RecordError(f"record {record.path} ends before sample {stop}: its signal file is cut short")


def _unreadable_error(part: str, path: Path, error: Exception) -> RecordError:
    reason = "it is damaged, or not in WFDB format" if isinstance(error, PARSER_ERRORS) else clean_error_text(error)
    return RecordError(f"cannot read the {part} of record {path}: {reason}")


def _call_wfdb(function: str, path: Path, part: str, **options: Any) -> Any:
    """Call the WFDB package and turn whatever its readers raise on malformed bytes into a RecordError."""
    import wfdb  # takes half a second, which only those who read records should pay

    try:
        return getattr(wfdb, function)(str(path), **options)
    except Exception as error:
        raise _unreadable_error(part, path, error) from error
