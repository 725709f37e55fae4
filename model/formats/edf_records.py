"""EDF, EDF+ and BDF opened as records, read in blocks whatever their length.

edfio writes our EDF, and reads it in the tests. Here the header is read by hand, since edfio reads BDF only as a whole
and tells no places of the data records of discontinuous files.
EDF: Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7. EDF+: Kemp & Olivan 2003, doi:10.1016/S1388-2457(03)00123-8.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.formats.file_options import LONGEST_GAP_S, NO_UNIT, SignalFileOptions, read_unit
from model.records.lead_choice import rank_leads
from model.records.wfdb_records import LARGEST_LENGTH, Record, RecordSignal

FIXED_BYTES, SIGNAL_BYTES = 256, 256
"""Bytes of a header, and those for each signal."""
MOST_EDF_SIGNALS = 4096
READ_BYTES = 2**23
"""Bytes of data records that are in memory at a time."""
MOST_OVERLAP = 0.1
"""Share of a data record by which the next one may begin too early: onsets are rounded."""
LEAST_ROUNDED_DECIMALS = 5
"""Decimals of the length of a data record, from which it may be a rounded number."""
OUR_EQUIPMENT = b" ecg-agent"
"""What stands in the header of a file that `ecg-agent convert` wrote."""
ANONYMOUS_DAY = (1, 1, 85)
"""The day of files whose date is not told."""
_FIELDS = (("label", 16), ("transducer", 80), ("dimension", 8), ("low", 8), ("high", 8), ("digital_low", 8),
           ("digital_high", 8), ("prefilter", 80), ("samples", 8), ("reserved", 32))  # fmt: skip
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
_STATUS = "Status"
"""The signal of a BDF file that holds triggers."""
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15\d*\.?\d*)?\x14")


@dataclass(frozen=True, slots=True)
class _EdfSignalHeader:
    """A signal: its name and unit, its range in digital and physical values, and its place in a data record."""

    label: str
    unit: str
    range: tuple[float, float]
    digital: tuple[float, float]
    samples: int
    offset: int

    @property
    def gain(self) -> float:
        """The physical value of a digital step."""
        return (self.range[1] - self.range[0]) / (self.digital[1] - self.digital[0])


@dataclass(frozen=True, slots=True)
class _EdfHeader:
    """`record_samples`: samples of all signals in a data record; `width`: bytes of each; `stated`: data records, -1 for
    unknown. `seconds_error`: by how much the length of a data record may be rounded. `lowest_is_none`: the lowest
    digital value of a signal stands for none, as in the files that `ecg-agent convert` writes."""

    signals: tuple[_EdfSignalHeader, ...]
    annotations: tuple[_EdfSignalHeader, ...]
    record_samples: int
    seconds: float
    seconds_error: float
    width: int
    bytes: int
    stated: int
    start: datetime | None
    discontinuous: bool
    lowest_is_none: bool


def open_edf_record(path: Path, options: SignalFileOptions) -> Record:
    """Open an EDF, EDF+ or BDF file as a record.

    Its rate is that of the fastest signal that can be an ECG. Samples of slower signals are held, of faster ones those
    in between left out. Between the data records of a discontinuous file there is no value.

    Raises
    ------
    RecordError
        It is damaged, or it has no signals.
    """
    header = _read_edf_header(path)
    record_bytes = header.record_samples * header.width
    there = max(0, path.stat().st_size - header.bytes) // record_bytes
    stated = header.stated if header.stated >= 0 else there
    if not there:
        raise RecordError(f"{path.name} has no samples: it ends with its header")
    main = _main_signal(header)
    fs = _stated_rate_of_record(main.samples, header)
    records = min(there, stated) if stated else there
    places = _record_places(path, header, records, main.samples) if header.discontinuous else None
    length = int(places[-1]) + main.samples if places is not None else records * main.samples
    if length > LARGEST_LENGTH or (places is not None and np.diff(places).max(initial=0) > LONGEST_GAP_S * fs):
        raise RecordError(
            f"{path.name} has data records at impossible times: more than {LONGEST_GAP_S / 86_400:g} days between two"
        )
    units = _settle_edf_units(path, header, options)
    options.check_stated(path, fs, frozenset(read_unit(signal.unit) for signal in header.signals))
    signals = tuple(
        RecordSignal(signal.label or f"lead{i}", unit, min(signal.range), max(signal.range))
        for i, (signal, unit) in enumerate(zip(header.signals, units, strict=True), 1)
    )
    reader = _EdfReader(path, header, main.samples, records, places)
    return Record(
        path.stem,
        path,
        fs,
        length,
        signals,
        (),
        missing=max(0, stated - records) * main.samples,
        start=header.start,
        reader=reader.read_samples,
    )


class _EdfReader:
    """Reads samples at the rate of the main signal, `samples` in a data record."""

    def __init__(
        self, path: Path, header: _EdfHeader, samples: int, records: int, places: NDArray[np.int64] | None
    ) -> None:
        self._path, self._header, self._samples, self._records, self._places = path, header, samples, records, places

    def read_samples(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples `start` to `stop`: (n, signals) in the unit of each; NaN between data records."""
        values = np.full((stop - start, len(self._header.signals)), np.nan)
        if self._places is None:
            first, last = start // self._samples, -(-stop // self._samples)
        else:
            first = max(0, int(np.searchsorted(self._places, start, side="right")) - 1)
            last = int(np.searchsorted(self._places, stop, side="left"))
        step = max(1, READ_BYTES // (self._header.record_samples * self._header.width))
        for record in range(first, min(last, self._records), step):
            count = min(step, last - record, self._records - record)
            block = self._read_records(record, count)
            numbers = np.arange(record, record + count)
            begin = numbers * self._samples if self._places is None else self._places[record : record + count]
            at = (begin[:, None] + np.arange(self._samples)).ravel()
            inside = (at >= start) & (at < stop)
            for column, signal in enumerate(self._header.signals):
                held = np.arange(self._samples) * signal.samples // self._samples
                digital = block[:, signal.offset : signal.offset + signal.samples][:, held].ravel()[inside]
                physical = (digital - signal.digital[0]) * signal.gain + signal.range[0]
                if self._header.lowest_is_none:
                    physical[digital == signal.digital[0]] = np.nan
                values[at[inside] - start, column] = physical
        return values

    def _read_records(self, first: int, count: int) -> NDArray[np.int32]:
        """Return data records (count, samples) as digital values."""
        header = self._header
        size = header.record_samples * header.width
        try:
            with self._path.open("rb") as file:
                file.seek(header.bytes + first * size)
                data = file.read(count * size)
        except OSError as error:
            raise RecordError(f"cannot read {self._path}: {error.strerror}") from error
        if len(data) < count * size:
            raise RecordError(f"{self._path.name} was changed while it was read")
        if header.width == 2:
            digital = np.frombuffer(data, "<i2").astype(np.int32)
        else:
            parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
            digital = ((parts[:, 2] << 24) | (parts[:, 1] << 16) | (parts[:, 0] << 8)) >> 8
        return digital.reshape(count, header.record_samples)


def _read_edf_header(path: Path) -> _EdfHeader:
    try:
        with path.open("rb") as file:
            fixed = file.read(FIXED_BYTES)
            count = int(fixed[252:256])
            if not 0 < count <= MOST_EDF_SIGNALS:
                raise ValueError(f"{count} signals")
            described = file.read(count * SIGNAL_BYTES)
        if len(described) < count * SIGNAL_BYTES:
            raise ValueError("it is cut short")
        signals = _read_signal_headers(described, count)
        header = _EdfHeader(
            tuple(s for s in signals if s.label not in (*_ANNOTATIONS, _STATUS) and s.samples),
            tuple(s for s in signals if s.label in _ANNOTATIONS),
            sum(s.samples for s in signals),
            float(fixed[244:252]),
            _rounding_error(fixed[244:252].decode("latin-1")),
            3 if fixed[0] == 0xFF else 2,
            _find_samples(path, fixed, FIXED_BYTES + count * SIGNAL_BYTES, sum(s.samples for s in signals)),
            int(fixed[236:244]),
            _read_edf_start(fixed),
            fixed[192:197].upper() in (b"EDF+D", b"BDF+D"),
            OUR_EQUIPMENT in fixed[88:168],
        )
    except (ValueError, OverflowError) as error:
        raise RecordError(f"{path.name} is a damaged EDF or BDF file: its header makes no sense") from error
    if not header.signals:
        only = all(signal.label in _ANNOTATIONS for signal in signals)
        reason = "holds annotations, and no signals" if only else "has 0 samples in each data record of its signals"
        raise RecordError(f"{path.name} {reason}")
    if not 0 < header.seconds < np.inf:
        raise RecordError(f"{path.name} is a damaged EDF or BDF file: its data records last {header.seconds:g} s")
    return header


def _find_samples(path: Path, fixed: bytes, least: int, record_samples: int) -> int:
    """Return the byte at which the samples begin: behind the header, or later if it says so and the size fits.

    Raises ValueError where the header says something else.
    """
    text = fixed[184:192].strip(b" \x00")
    stated = int(text) if text.isdigit() else least
    size = record_samples * (3 if fixed[0] == 0xFF else 2) * max(0, int(fixed[236:244]))
    if stated in (0, least) or path.stat().st_size == least + size:
        return least
    if stated > least and path.stat().st_size == stated + size:
        return stated
    raise ValueError("a header of another length")


def _read_signal_headers(described: bytes, count: int) -> list[_EdfSignalHeader]:
    """Return the signals of a header. Raises ValueError where its numbers make no sense."""
    columns: dict[str, list[str]] = {}
    at = 0
    for name, width in _FIELDS:
        parts = (described[at + i * width : at + (i + 1) * width] for i in range(count))
        columns[name] = [part.decode("latin-1").strip(" \x00") for part in parts]
        at += count * width
    signals: list[_EdfSignalHeader] = []
    offset = 0
    for i in range(count):
        low, high, digital_low, digital_high = (
            float(columns[name][i].replace(",", ".")) for name in ("low", "high", "digital_low", "digital_high")
        )
        samples = int(columns["samples"][i])
        is_signal = columns["label"][i] not in _ANNOTATIONS
        if samples < 0 or not np.isfinite((low, high)).all() or (is_signal and digital_low >= digital_high):
            raise ValueError("a range that is none")
        signals.append(
            _EdfSignalHeader(
                columns["label"][i], columns["dimension"][i], (low, high), (digital_low, digital_high), samples, offset
            )
        )
        offset += samples
    return signals


def _read_edf_start(fixed: bytes) -> datetime | None:
    """Return the start in a header, None where it has none or an anonymous one."""
    found = re.fullmatch(r"(\d\d)\.(\d\d)\.(\d\d)(\d\d)\.(\d\d)\.(\d\d)", fixed[168:184].decode("latin-1"))
    if not found:
        return None
    day, month, year, hour, minute, second = map(int, found.groups())
    if (day, month, year) == ANONYMOUS_DAY:
        return None
    full = re.match(rb"Startdate \d\d-[A-Z]{3}-(\d{4}) ", fixed[88:168])
    year = int(full[1]) if full else year + (1900 if year >= 85 else 2000)
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None


def _main_signal(header: _EdfHeader) -> _EdfSignalHeader:
    """Return the fastest of the signals that can be an ECG: of those named so, or else of all."""
    signals = header.signals
    usable = [signals[i] for i in rank_leads([signal.label for signal in signals])] or list(signals)
    named = [signal for signal in usable if _is_named_ecg(signal.label)] or usable
    return max(named, key=lambda signal: signal.samples)


def _is_named_ecg(label: str) -> bool:
    """Whether a name comes before one that says nothing."""
    return rank_leads(["?", label])[0] == 1


def _settle_edf_units(path: Path, header: _EdfHeader, options: SignalFileOptions) -> list[str]:
    usable = rank_leads([signal.label for signal in header.signals])
    for i in usable:
        if not header.signals[i].gain:
            raise RecordError(
                f"{path.name} has no scale for {header.signals[i].label or 'its signal'}: its physical minimum and "
                f"maximum are both {header.signals[i].range[0]:g}"
            )
    return [
        options.choose_unit(path, signal.unit, signal.label) if i in usable else read_unit(signal.unit) or NO_UNIT
        for i, signal in enumerate(header.signals)
    ]


def _rounding_error(text: str) -> float:
    """Return by how much a number may differ from its text, rounded or cut off; 0 for one of few decimals."""
    decimals = len(text.strip().partition(".")[2])
    return 10.0**-decimals if decimals >= LEAST_ROUNDED_DECIMALS else 0.0


def _stated_rate_of_record(samples: int, header: _EdfHeader) -> float:
    """Return the rate of a signal in hertz: the roundest one that the length of a data record can mean."""
    fs = samples / header.seconds
    tolerance = header.seconds_error / header.seconds
    return next((rate for rate in (round(fs, i) for i in range(7)) if abs(rate / fs - 1) <= tolerance), fs)


def _record_places(path: Path, header: _EdfHeader, records: int, samples: int) -> NDArray[np.int64]:
    """Return the sample at which each data record of a discontinuous file begins, by its time-keeping annotation."""
    if not header.annotations:
        raise RecordError(f"{path.name} is discontinuous, but does not say when its data records begin")
    first = header.annotations[0]
    size = header.record_samples * header.width
    starts = np.empty(records)
    with path.open("rb") as file:
        for i in range(records):
            file.seek(header.bytes + i * size + first.offset * header.width)
            onset = _ONSET.match(file.read(first.samples * header.width))
            if not onset:
                raise RecordError(f"{path.name} is discontinuous, but does not say when its data records begin")
            starts[i] = float(onset[1])
    if (np.diff(starts) < (1 - MOST_OVERLAP) * header.seconds).any():
        raise RecordError(f"{path.name} has data records at impossible times: they overlap or go back")
    places = np.rint((starts - starts[0]) / header.seconds * samples).astype(np.int64)
    least = np.arange(records) * samples  # rounded onsets follow each other
    return np.maximum.accumulate(places - least) + least
