"""Recordings of devices in formats of their own, by ecgdatakit: ISHNE, SCP-ECG, HL7 aECG, MUSE XML, DICOM and others.

Each is checked for what an analysis rests on: a rate that fits the length, a unit, values that a heart can have.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError, clean_error_text
from model.extras import import_extra
from model.formats.file_options import COUNTS, NO_UNIT, SignalFileOptions, is_ecg_rate, name_leads, read_unit
from model.formats.held_samples import make_held_record, map_large_leads
from model.records.wfdb_records import Record

EXTRA = "formats"
LARGEST_MV = 5_000.0
"""Millivolts that no electrode has: beyond them the file's resolution is wrong."""
MOST_DURATION_ERROR = 0.02
"""Share by which the length of a recording may differ from the one that its file states."""
OTHER_READERS = ("EDFParser", "WFDBParser")
"""Formats that are read elsewhere."""


def open_device_record(path: Path, options: SignalFileOptions) -> Record:
    """Open a recording in a format of a device.

    Raises
    ------
    RecordError
        Its format is not known, it is damaged, or what it says of itself makes no sense.
    ConfigError
        The package that reads these formats is not installed.
    """
    kit = import_extra("ecgdatakit", EXTRA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is checked below
        try:
            known = kit.FileParser.detect_format(path)
            if known is None or known["parser"] in OTHER_READERS:
                raise RecordError(f"{path.name} is no ECG file that is known")
            if "DICOM" in known["parser"].upper():
                import_extra("pydicom", EXTRA)
            parsed = kit.FileParser.parse(path, units="mV")
        except (kit.exceptions.ECGDataKitError, ImportError, OSError, ValueError) as error:
            reason = "it defines entities, which are not read" if "Entit" in str(error) else clean_error_text(error)
            raise RecordError(f"cannot read {path.name}: {reason}") from error
    return _checked_record(path, str(known["name"]), parsed, options)


def _checked_record(path: Path, kind: str, parsed: Any, options: SignalFileOptions) -> Record:
    """Return a record of what ecgdatakit found, the leads of the fastest rate. Raises RecordError for nonsense."""
    if not parsed.leads:
        raise RecordError(f"{path.name} ({kind}) holds no signals")
    fs = float(max(lead.sampling_rate for lead in parsed.leads))
    if not is_ecg_rate(fs):
        raise RecordError(f"{path.name} ({kind}) says {fs:g} Hz, which is no rate of an ECG")
    leads = [lead for lead in parsed.leads if lead.sampling_rate == fs]
    length = max(len(lead.samples) for lead in leads)
    columns: list[NDArray[np.float64]] = []
    units: list[str] = []
    for lead in leads:
        x = np.asarray(lead.samples, np.float64)
        columns.append(x if len(x) == length else np.pad(x, (0, length - len(x)), constant_values=np.nan))
        units.append(read_unit(lead.units or "") or (COUNTS if lead.is_raw else NO_UNIT))
        largest = max(-np.nanmin(x, initial=0.0), np.nanmax(x, initial=0.0))
        if units[-1] == "mV" and largest > LARGEST_MV:
            raise RecordError(
                f"{path.name} ({kind}) has more than {LARGEST_MV:g} mV in {lead.label}: its resolution is wrong"
            )
    stated_s = parsed.recording.duration.total_seconds() if parsed.recording.duration else 0.0
    if stated_s and abs(length / fs / stated_s - 1) > MOST_DURATION_ERROR and abs(length / fs - stated_s) > 1:
        raise RecordError(f"{path.name} ({kind}) says it lasts {stated_s:g} s, but has {length / fs:g} s at {fs:g} Hz")
    options.check_stated(path, fs)  # the unit is converted, so that any voltage will do
    names = name_leads([str(lead.label) for lead in leads])
    mapped, lifetime = map_large_leads(columns)
    return make_held_record(path, fs, mapped, names, units, parsed.recording.date, lifetime)
