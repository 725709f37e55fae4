"""A recording in any format that is known, opened as a record: what it is, its content decides."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.formats.file_content import FileKind, find_file_kind
from model.formats.file_options import COUNTS, SignalFileOptions, read_unit, split_count_size
from model.records.wfdb_records import Record, embedded_records, open_record, read_record_samples

__all__ = ["SignalFileOptions", "open_signal_file"]

WFDB_ENDINGS = (".hea", ".dat", ".mat", ".ecg", ".atr")
"""Endings of the files of a WFDB record, which its header stands beside."""


def open_signal_file(name: str, options: SignalFileOptions | None = None) -> Record:
    """Open an embedded record by name, or a file of any known format by path.

    Raises RecordError where there is no such file, it cannot be read, or it lacks what `options` do not say either, and
    ConfigError where its format needs a package that is not installed.
    """
    options = options or SignalFileOptions()
    size, unit = split_count_size(options.unit or "")
    if size is not None:
        return _scale_counts(open_signal_file(name, replace(options, unit=COUNTS)), size, read_unit(unit))
    path = _find_other_file(name)
    if path is None:
        return _open_wfdb(name, options)
    try:
        kind = find_file_kind(path)
        if kind.format == "text":
            from model.formats.text_records import open_text_record

            return open_text_record(path, kind.detail, options)
        return _open_binary(path, kind, options)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "it does not fit into the memory"
        raise RecordError(f"cannot read {path}: {reason}") from error


def _scale_counts(record: Record, size: float, unit: str) -> Record:
    """Return a record whose counts, `size` of a unit each, are in that unit."""
    is_raw = [read_unit(signal.unit) == COUNTS for signal in record.signals]
    factors = np.where(is_raw, size, 1.0)
    signals = tuple(
        replace(signal, unit=unit, low=size * signal.low, high=size * signal.high) if raw else signal
        for signal, raw in zip(record.signals, is_raw, strict=True)
    )

    def read(start: int, stop: int) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = read_record_samples(record, start, stop) * factors
        return scaled

    return replace(record, signals=signals, reader=read)


def _open_binary(path: Path, kind: FileKind, options: SignalFileOptions) -> Record:
    if kind.format == "edf":
        from model.formats.edf_records import open_edf_record

        return open_edf_record(path, options)
    if kind.format == "sound":
        from model.formats.sound_records import open_sound_record

        return open_sound_record(path, options)
    if kind.format == "arrays":
        from model.formats.array_records import open_array_record

        return open_array_record(path, kind.detail, options)
    from model.formats.device_records import open_device_record

    return open_device_record(path, options)


def _find_other_file(name: str) -> Path | None:
    """Return the path of a file that is not part of a WFDB record, None for a record or what is not there."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # an impossible file name is no file
        path = Path(name).expanduser()
        with contextlib.suppress(OSError):  # the name of a file may be too long for another ending
            if path.with_name(path.name + ".hea").is_file():
                return None
        if not path.exists():
            if path.is_symlink():
                raise RecordError(f"{name} is a link that leads to no file")
            if path.suffix and path.suffix not in WFDB_ENDINGS:
                raise RecordError(f"there is no file {name}")
            return None
        if path.is_dir():
            if name in embedded_records():  # which has the name: results of it may lie in a folder of this name
                return None
            raise RecordError(f"{name} is a folder: name the files in it")
        if not path.is_file():  # reading a pipe or a device might never end
            raise RecordError(f"{name} is no file; a sensor has its kind before it, such as serial:/dev/ttyUSB0")
        return None if path.suffix in WFDB_ENDINGS and path.with_suffix(".hea").is_file() else path
    return None


def _open_wfdb(name: str, options: SignalFileOptions) -> Record:
    if Path(name).suffix in WFDB_ENDINGS[2:]:
        name = str(Path(name).with_suffix(""))
    record = open_record(name)
    options.check_stated(record.path, record.fs, frozenset(read_unit(signal.unit) for signal in record.signals))
    return record
