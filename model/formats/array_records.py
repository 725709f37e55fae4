"""Arrays of NumPy and MATLAB opened as records."""

import contextlib
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.formats.file_options import MOST_SIGNALS, SignalFileOptions, name_leads
from model.formats.held_samples import MAPPED_BYTES, RANGE_SAMPLES, make_held_record
from model.formats.rate_choice import choose_places
from model.formats.stamp_clock import SamplePlaces, StampClock
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
    "hz",
    "fs_hz",
)
UNIT_NAMES = ("unit", "units")
LEAD_NAMES = ("leads", "lead_names", "lead", "sig_name", "channels", "channel_names", "ch_names", "names")
TIME_NAMES = {
    "t": 1.0,
    "time": 1.0,
    "times": 1.0,
    "timestamps": 1.0,
    "time_s": 1.0,
    "t_s": 1.0,
    "time_ms": 1e-3,
    "t_ms": 1e-3,
}
"""Names of arrays of times, and the seconds in a unit of them."""
SIGNAL_NAMES = ("ecg", "ekg", "signal", "signals", "p_signal", "ecg_raw", "ecg_signal", "raw_ecg", "val", "data")
"""Names of arrays of samples, the surest first."""
OTHER_NAMES = re.compile(
    r"^(noise|mask|labels?|y|classes|(r_?)?peaks?|rpeaks|beats?|annotations?|index|idx|rate|hr|heart_?rate)$"
)
"""Names of arrays that hold no samples."""


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
        reason = "it holds objects" if re.search("pickle|object", str(error)) else "it is damaged"
        raise RecordError(f"cannot read the arrays of {path.name}: {reason}") from error
    stated = {name.casefold(): array for name, array in arrays.items() if np.ndim(array) <= 2}
    signals = {name: array for name, array in arrays.items() if _is_signal(name, array)}
    columns, names = _join_signals(path, _prefer_named(signals))
    stamps = _stamp_samples(path, stated, len(columns[0]))
    places = choose_places(path, options, _stated_rates(stated), stamps)
    if len(places.rows) > 1:
        columns = _spread_over_gaps(columns, places)
    texts = _stated_texts(stated, UNIT_NAMES)
    units = [options.choose_unit(path, text) for text in (texts * len(names) if len(texts) == 1 else texts)]
    units = units or [options.choose_unit(path, None)] * len(names)
    leads = _stated_texts(stated, LEAD_NAMES)
    names = leads if len(leads) == len(names) else names
    if len(units) != len(names):
        raise RecordError(f"{path.name} states {len(units)} units for {len(names)} leads")
    record = make_held_record(path, places.fs, columns, name_leads(names), units, lifetime=lifetime)
    return replace(record, notice=places.notice)


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


def _prefer_named(signals: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arrays like the one that is named as samples are, or else those not named as something else."""
    kept = {name: array for name, array in signals.items() if not OTHER_NAMES.match(name.casefold())} or signals
    folded = {name.casefold(): array for name, array in kept.items()}
    chosen = next((folded[name] for name in SIGNAL_NAMES if name in folded), None)
    return kept if chosen is None else {name: array for name, array in kept.items() if array.shape == chosen.shape}


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


def _stated_rates(stated: Mapping[str, Any]) -> list[float]:
    """Return the rates that arrays of one number, or its text, state."""
    rates: list[float] = []
    for name in RATE_NAMES:
        if name in stated and np.size(stated[name]) == 1 and np.asarray(stated[name]).dtype.kind in "iufU":
            with contextlib.suppress(ValueError):
                rates.append(float(np.asarray(stated[name]).reshape(-1)[0]))
    return rates


def _stamp_samples(path: Path, stated: Mapping[str, Any], count: int) -> StampClock | None:
    """Return the clock of an array of times, None if there is none. Raises RecordError for one of another length."""
    for name, scale_s in TIME_NAMES.items():
        times = np.squeeze(np.asarray(stated.get(name, ())))
        if times.ndim != 1 or len(times) < 3 or times.dtype.kind not in "iufMm":
            continue
        if len(times) != count:
            raise RecordError(f"{path.name} has {len(times):,} times in {name}, but {count:,} samples")
        if times.dtype.kind in "Mm":
            missing = np.isnat(times)
            seconds = (times - times[~missing][0]) / np.timedelta64(1, "s") if not missing.all() else np.zeros(count)
        else:
            known = times[np.isfinite(times)] if times.dtype.kind == "f" else times
            seconds = (times - known[0]).astype(np.float64) * scale_s if len(known) else np.zeros(count)
        clock = StampClock()
        for first in range(0, count, RANGE_SAMPLES):
            clock.push(seconds[first : first + RANGE_SAMPLES])
        return clock
    return None


def _spread_over_gaps(columns: list[NDArray[Any]], places: SamplePlaces) -> list[NDArray[Any]]:
    """Return leads (n,) with NaN where the times show that samples lack."""
    count = len(columns[0])
    at = places.place_rows(0, count)
    spread = []
    for column in columns:
        spread.append(np.full(int(at[-1]) + 1, np.nan))
        spread[-1][at] = column
    return spread


def _stated_texts(stated: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return the texts of the first array of one of some names, none if there is none."""
    for name in names:
        array = np.asarray(stated.get(name, ()))
        if array.dtype.kind == "U" and array.size:
            return [str(text).strip() for text in array.reshape(-1)]
    return []
