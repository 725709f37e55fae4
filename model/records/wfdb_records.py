"""ECG records: the 48 of the MIT-BIH Arrhythmia Database inside this package, and any WFDB record by path.

The WFDB package reads the signals, in blocks and in physical units; samples without a value are NaN.
Database: Moody & Mark 2001, doi:10.1109/51.932724, doi:10.13026/C2F305 (ODC-By 1.0).
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError, clean_error_text
from model.records.annotations import EMPTY_SYMBOL, read_annotations
from model.records.signal_files import (
    COMPRESSED_FORMATS,
    DIFFERENCE_FORMAT,
    SAMPLE_BYTES,
    SignalFile,
    count_file_samples,
    count_whole_frames,
)
from model.records.wfdb_header import HeaderText, read_header_text

DATABASE = Path(__file__).parent / "database"

AAMI_CLASSES = {"N": "NLRBej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
"""WFDB beat symbols of each AAMI class as in Kachuee et al. 2018: the labels that the nets are trained on."""
EC57_CLASSES = {"N": "NLRB", "S": "JASjnea", "V": "VrE", "F": "F", "Q": "/fQ?", "O": "!"}
"""The same for scoring, as WFDB's `bxb` and `rxr` group them: e and j are S. A flutter wave `!` has no class (O)."""
CLASSES = tuple(AAMI_CLASSES)
"""The five classes in the order of every array of probabilities or counts."""
AAMI_CLASS_OF = {symbol: name for name, symbols in AAMI_CLASSES.items() for symbol in symbols}
EC57_CLASS_OF = {symbol: name for name, symbols in EC57_CLASSES.items() for symbol in symbols}

LARGEST_LENGTH = 2**53
LOWEST_HEADER_FS, HIGHEST_HEADER_FS = 1e-6, 1e9
"""Sampling rates in hertz beyond which a header makes no sense."""
MOST_BITS = 64
PARSER_ERRORS = (LookupError, TypeError, AttributeError, ArithmeticError)
"""Exceptions that the WFDB package leaks on malformed files; their messages describe its code and are not shown."""
NO_SEGMENT = "~"
"""The name of a segment without a signal."""


@dataclass(frozen=True, slots=True)
class RecordSignal:
    """One signal of a record: its name, its unit, and the range of the converter (`low`, `high`) in that unit.

    `skew` is the number of frames by which it was written too late; as many are missing at its end.
    `per_frame` is the number of its samples in a frame of the record.
    """

    name: str
    unit: str
    low: float
    high: float
    skew: int = 0
    per_frame: int = 1


@dataclass(frozen=True, slots=True)
class RecordSegment:
    """A part of a record that is one itself: samples `start` to `stop` of the whole; `path` None for no signal."""

    path: Path | None
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Record:
    """The header of a record. `path` has no file ending; `length` is in samples at `fs` hertz.

    A frame holds `frame` samples of the fastest signal; those of a slower one are held. `missing` is the number of
    samples that the header states and the signal files lack. `header` is the text for the WFDB package if it cannot
    read the file's. `start` is when the first sample was taken, if the file says so. `reader` reads the samples of a
    file that is not in WFDB format: from `start` to `stop`, as `read_record_samples` returns them. `notice` is what a
    person should know of how the file was read, "" for nothing.
    """

    name: str
    path: Path
    fs: float
    length: int
    signals: tuple[RecordSignal, ...]
    comments: tuple[str, ...]
    files: tuple[SignalFile, ...] = ()
    frame: int = 1
    missing: int = 0
    header: str = ""
    segments: tuple[RecordSegment, ...] = ()
    start: datetime | None = None
    reader: Callable[[int, int], NDArray[np.float64]] | None = None
    notice: str = ""


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
    text = read_header_text(path)
    return _open_segmented_record(path, text) if text.segments else _open_single_record(path, text)


def _open_single_record(path: Path, text: HeaderText, layout: bool = False) -> Record:
    """Read a record that is not made of segments. A `layout` describes the leads of one that is; it has no samples."""
    header = _call_wfdb("rdheader", path, "header", "" if text.as_stored else text.text)
    _check_header_values(path, header, text)
    frame = max(per_frame or 1 for per_frame in header.samps_per_frame)
    try:
        signals = tuple(_describe_signal(header, i) for i in range(header.n_sig))
    except (ValueError, OverflowError) as error:
        raise RecordError(f"record {path} has impossible values for its converter: check its header") from error
    files = () if layout else _list_signal_files(header, path.parent)
    there = count_whole_frames(files)
    stated = text.length if text.length is not None else there
    if not layout and not stated:
        raise RecordError(f"record {path} says it has no samples: check its header")
    length = min(stated, there) if there else stated
    if stated > LARGEST_LENGTH or max(skew or 0 for skew in header.skew) > max(stated, layout):
        raise RecordError(f"record {path} has an impossible length or skew: check its header")
    return Record(
        path.name,
        path,
        text.fs * frame,
        length * frame,
        signals,
        tuple(header.comments),
        files,
        frame,
        (stated - length) * frame,
        "" if text.as_stored and text.length is not None else text.with_length(length),
        start=text.start,
    )


def _open_segmented_record(path: Path, text: HeaderText) -> Record:
    """Read a record that is made of segments: all with the same leads, or with those of the layout that comes first."""
    first = next((name for name, _ in text.segments if name != NO_SEGMENT), None)
    if first is None:
        raise RecordError(f"record {path} says it has no samples: check its header")
    if not (path.parent / f"{first}.hea").is_file():
        raise RecordError(f"record {path} lacks its segment {first}: {first}.hea is not beside it")
    described = read_header_text(path.parent / first)
    if described.segments:
        raise RecordError(f"record {path} has segments within segments, which WFDB does not allow")
    layout = _open_single_record(path.parent / first, described, layout=text.segments[0][1] == 0)
    segments: list[RecordSegment] = []
    at = 0
    for name, length in text.segments:
        if length:
            segment_path = None if name == NO_SEGMENT else path.parent / name
            segments.append(RecordSegment(segment_path, at, at + length * layout.frame))
            at += length * layout.frame
    if not 0 < at <= LARGEST_LENGTH:
        raise RecordError(f"record {path} says it has no samples: check its header")
    return Record(
        path.name,
        path,
        layout.fs,
        at,
        layout.signals,
        layout.comments,
        frame=layout.frame,
        segments=tuple(segments),
        start=text.start,
    )


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
        In each signal's own unit; NaN for samples without a value. A sample of a signal that is slower than the
        record is held until its next one.

    Raises
    ------
    RecordError
        If a signal file is missing, broken or truncated.
    """
    stop = record.length if stop is None else min(stop, record.length)
    if stop <= start:
        return np.empty((0, len(record.signals)))
    if record.reader is not None:
        return record.reader(start, stop)
    if record.segments:
        return _read_segments(record, start, stop)
    first, last = start // record.frame, -(-stop // record.frame)
    _check_signal_files(record, last)
    if any(file.format == DIFFERENCE_FORMAT for file in record.files):
        first = 0
    options = {"sampfrom": first, "sampto": last, "smooth_frames": False}
    files = [file.path for file in record.files]
    signals = _call_wfdb("rdrecord", record.path, "signal", record.header, files, **options).e_p_signal
    if signals is None or [len(x) for x in signals] != [(last - first) * signal.per_frame for signal in record.signals]:
        raise _cut_short_error(record, last)
    wanted = np.arange(start, stop) - first * record.frame  # of the samples that were read
    values = np.empty((stop - start, len(record.signals)))
    for i, (x, signal) in enumerate(zip(signals, record.signals, strict=True)):
        values[:, i] = x[wanted * signal.per_frame // record.frame]
    for i, description in enumerate(record.signals):
        if description.skew:  # the WFDB package fills the missing end with zeros if a frame has several samples
            values[max(0, record.length - description.skew * record.frame - start) :, i] = np.nan
    return values


def _read_segments(record: Record, start: int, stop: int) -> NDArray[np.float64]:
    """Read a part of a record made of segments: leads by name, NaN where a segment lacks one or is cut short."""
    values = np.full((stop - start, len(record.signals)), np.nan)
    names = [signal.name for signal in record.signals]
    for segment in record.segments:
        low, high = max(start, segment.start), min(stop, segment.stop)
        if low >= high or segment.path is None:
            continue
        part = _open_single_record(segment.path, read_header_text(segment.path))
        if part.fs != record.fs:
            raise RecordError(f"segment {segment.path} has another sampling rate than record {record.path}")
        x = read_record_samples(part, low - segment.start, high - segment.start)
        for column, signal in enumerate(part.signals):
            if signal.name in names:
                i = names.index(signal.name)
                if signal.unit != record.signals[i].unit:
                    raise RecordError(
                        f"segment {segment.path} has {signal.name} in another unit than record {record.path}"
                    )
                values[low - start : low - start + len(x), i] = x[:, column]
    return values


def missing_end_notice(record: Record) -> str:
    """Return what to say of a record whose signal files end before the length in its header."""
    there_s, missing_s = record.length / record.fs, record.missing / record.fs
    return f"record {record.path} ends {missing_s:.3f} s before the length in its header: {there_s:.3f} s are there"


def record_notices(record: Record) -> list[str]:
    """Return what to say of a record that could be read, but not as it should be."""
    return ([missing_end_notice(record)] if record.missing else []) + ([record.notice] if record.notice else [])


def read_reference(record: Record, extension: str = "atr") -> RecordAnnotations:
    """Read the reference annotations of a record. Raises RecordError if the file is missing or broken."""
    name = f"{record.path.name}.{extension}"
    if not record.path.with_name(name).is_file():
        raise RecordError(f"record {record.path} has no annotations: {name} is missing")
    frames_fs = record.fs / record.frame
    notes = read_annotations(record.path.parent, record.path.name, extension, record.fs, frames_fs)
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
    return RecordSignal(name, unit, low, high, header.skew[i] or 0, header.samps_per_frame[i] or 1)


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


def _check_header_values(path: Path, header: Any, text: HeaderText) -> None:
    """Refuse a header without the values that a record needs."""
    if not header.n_sig:
        raise RecordError(f"record {path} says it has no samples: check its header")
    if not LOWEST_HEADER_FS <= text.fs <= HIGHEST_HEADER_FS:
        raise RecordError(f"record {path} has no valid sampling rate: check its header")
    if len(header.file_name or ()) != header.n_sig:
        raise RecordError(f"record {path} does not describe all of its signals: check its header")


def _check_signal_files(record: Record, stop: int) -> None:
    """Refuse files that are no signal files, or end before frame `stop`, before memory is taken for their samples."""
    for file in record.files:
        if file.format not in SAMPLE_BYTES and file.format not in COMPRESSED_FORMATS:
            raise RecordError(
                f"cannot read the signal of record {record.path}: format {file.format} is unknown, check its header"
            )
        try:
            if not file.path.is_file():  # reading a pipe or a device might never end
                raise RecordError(f"cannot read the signal of record {record.path}: there is no file {file.path.name}")
            available = count_file_samples(file)
        except (OSError, RuntimeError) as error:
            raise _unreadable_error("signal", record.path, error) from error
        if available < stop * file.frame:
            raise _cut_short_error(record, stop)


def _cut_short_error(record: Record, stop: int) -> RecordError:
    return RecordError(f"record {record.path} ends before sample {stop}: its signal file is cut short")


def _unreadable_error(part: str, path: Path, error: Exception) -> RecordError:
    reason = "it is damaged, or not in WFDB format" if isinstance(error, PARSER_ERRORS) else clean_error_text(error)
    return RecordError(f"cannot read the {part} of record {path}: {reason}")


def _call_wfdb(
    function: str, path: Path, part: str, header: str = "", files: Sequence[Path] = (), **options: Any
) -> Any:
    """Call the WFDB package and turn whatever its readers raise on malformed bytes into a RecordError.

    With a `header` it reads that one instead of the record's, in a folder that links to the signal `files`.
    """
    import wfdb  # takes half a second, which only those who read records should pay

    try:
        if not header:
            return getattr(wfdb, function)(str(path), **options)
        with TemporaryDirectory(prefix="ecg-agent-") as folder:
            readable = Path(folder) / path.name
            readable.with_name(f"{path.name}.hea").write_text(header, "ascii", "ignore")
            for file in files:
                (Path(folder) / file.name).symlink_to(file.resolve())
            return getattr(wfdb, function)(str(readable), **options)
    except Exception as error:
        raise _unreadable_error(part, path, error) from error
