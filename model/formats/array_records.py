"""Arrays of NumPy and MATLAB opened as records."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.formats.file_options import MOST_SIGNALS, SignalFileOptions, is_ecg_rate, name_leads
from model.formats.held_samples import MAPPED_BYTES, make_held_record
from model.formats.temporary_folder import TemporaryFolder
from model.records.wfdb_records import Record

RATE_NAMES = (
    "fs",
    "sampling_rate",
    "sample_rate",
    "samplingrate",
    "samplerate",
    "sampling_frequency",
    "sfreq",
    "freq",
    "frequency",
    "rate",
    "hz",
    "fs_hz",
)
UNIT_NAMES = ("unit", "units")
LEAD_NAMES = ("leads", "lead_names", "lead", "sig_name", "channels", "channel_names", "ch_names", "names")
TIME_NAMES = ("t", "time", "times", "timestamps", "time_s")


def open_array_record(path: Path, kind: str, options: SignalFileOptions) -> Record:
    """Open arrays as a record: one of shape (n,), (n, leads) or (leads, n), or several of (n,), each a lead.

    Arrays or numbers named like `fs`, `unit` and `leads` say the rest. Objects are never loaded: they could run code.

    Parameters
    ----------
    path : Path
        An .npy, .npz or .mat file.
    kind : str
        Which of them: "npy", "npz" or "mat".
    options : SignalFileOptions
        What the file does not say.

    Raises
    ------
    RecordError
        It is damaged, its arrays are no recording, or it lacks what `options` do not say either.
    """
    lifetime: list[object] = []
    try:
        arrays = _load_arrays(path, kind, lifetime)
    except Exception as error:  # whatever the readers raise on malformed bytes
        reason = "it holds objects" if "pickle" in str(error) else "it is damaged"
        raise RecordError(f"cannot read the arrays of {path.name}: {reason}") from error
    stated = {name.casefold(): array for name, array in arrays.items() if np.ndim(array) <= 2}
    signals = {name: array for name, array in arrays.items() if _is_signal(name, array)}
    columns, names = _join_signals(path, signals)
    fs = options.choose_rate(path, _stated_rate(stated))
    texts = _stated_texts(stated, UNIT_NAMES)
    units = [
        options.choose_unit(path, text) for text in (texts * len(names) if len(texts) < 2 else texts)[: len(names)]
    ]
    units = units or [options.choose_unit(path, None)] * len(names)
    leads = _stated_texts(stated, LEAD_NAMES)
    names = leads if len(leads) == len(names) else names
    if len(units) != len(names):
        raise RecordError(f"{path.name} states {len(units)} units for {len(names)} leads")
    return make_held_record(path, fs, columns, name_leads(names), units, lifetime=lifetime)


def _load_arrays(path: Path, kind: str, lifetime: list[object]) -> Mapping[str, Any]:
    """Return the arrays of a file by name; large ones mapped from it or from a copy, which `lifetime` keeps."""
    if kind == "npy":
        return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    if kind == "mat":
        from scipy.io import loadmat

        found = loadmat(path, squeeze_me=True, chars_as_strings=True)
        return {name: np.asarray(value) for name, value in found.items() if not name.startswith("__")}
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            name = member.filename.removesuffix(".npy")
            if member.file_size >= MAPPED_BYTES:
                folder = TemporaryFolder()
                lifetime.append(folder)
                arrays[name] = np.load(archive.extract(member, folder.path), mmap_mode="r", allow_pickle=False)
            else:
                with archive.open(member) as file:
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _is_signal(name: str, array: Any) -> bool:
    """Whether an array can hold samples by its name and type."""
    known = (*RATE_NAMES, *UNIT_NAMES, *LEAD_NAMES, *TIME_NAMES)
    return name.casefold() not in known and array.dtype.kind in "iuf" and array.size > 1


def _join_signals(path: Path, signals: Mapping[str, Any]) -> tuple[list[NDArray[Any]], list[str]]:
    """Return the samples (n,) and the name of each lead, "" for none. Raises RecordError for other arrays."""
    if not signals:
        raise RecordError(f"{path.name} has no array of numbers")
    largest = max(signals.values(), key=lambda array: array.size)
    chosen = {name: array for name, array in signals.items() if array.shape == largest.shape}
    squeezed = [np.squeeze(array) for array in chosen.values()]
    if len(chosen) > 1 and all(array.ndim == 1 for array in squeezed) and len(chosen) <= MOST_SIGNALS:
        return squeezed, list(chosen)
    if len(chosen) > 1:
        shapes = ", ".join(f"{one} {array.shape}" for one, array in chosen.items())
        raise RecordError(f"{path.name} has several arrays, which are no leads of one recording: {shapes[:200]}")
    array = squeezed[0]
    if array.ndim == 1:
        return [array], [""]
    if array.ndim != 2 or min(array.shape) > MOST_SIGNALS:
        raise RecordError(
            f"{path.name} has an array of shape {largest.shape}, which is no recording: give one of (n,) or (n, leads)"
        )
    samples = array if array.shape[0] >= array.shape[1] else array.T
    return list(samples.T), [""] * samples.shape[1]


def _stated_rate(stated: Mapping[str, Any]) -> float | None:
    """Return the rate that an array of one number, or an array of times, states; None if there is none."""
    for name in RATE_NAMES:
        if name in stated and np.size(stated[name]) == 1 and np.asarray(stated[name]).dtype.kind in "iuf":
            return float(np.asarray(stated[name]).reshape(-1)[0])
    for name in TIME_NAMES:
        times = np.asarray(stated.get(name, ()))
        if times.ndim == 1 and len(times) > 2 and times.dtype.kind in "iuf" and times[-1] > times[0]:
            fs = round((len(times) - 1) / float(times[-1] - times[0]), 6)
            return fs if is_ecg_rate(fs) else None
    return None


def _stated_texts(stated: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return the texts of the first array of one of some names, none if there is none."""
    for name in names:
        array = np.asarray(stated.get(name, ()))
        if array.dtype.kind == "U" and array.size:
            return [str(text).strip() for text in array.reshape(-1)]
    return []
