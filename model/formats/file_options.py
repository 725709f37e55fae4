"""What a person may say of a file that does not say it itself: its rate, and the unit of its values."""

import re
from dataclasses import dataclass
from math import frexp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import ConfigError, RecordError
from model.records.resample import HIGHEST_RESAMPLING_FS, LEAST_RESAMPLING_FS

COUNTS = "counts"
"""The unit of values that nobody has calibrated."""
_SPELLINGS = {
    "V": "v volt volts",
    "mV": "mv millivolt millivolts",
    "uV": "uv \u03bcv microvolt microvolts",  # a micro sign is folded to the Greek letter
    "nV": "nv nanovolt nanovolts",
    COUNTS: "count counts adu adc raw lsb digit digits uncalibrated",
}
UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
"""The unit of each spelling, in small letters."""
VOLTAGES = frozenset({"V", "mV", "uV", "nV"})
_COUNT_SIZE = re.compile(r"(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(\D\S*)")
NO_UNIT = "NU"
"""The unit of a signal that has none, as in WFDB headers."""
MOST_STAMP_ERROR = 0.01
"""The same where the rate is that of time stamps, which jitter."""
MOST_DISAGREEMENT = 1e-3
"""Share by which a rate may differ from that of the file and still be the same."""
USUAL_RATES = (50.0, 5000.0)
"""Rates in hertz that an ECG usually has: any other is not inferred from numbers that do not say what they are."""
LONGEST_GAP_S = 7 * 86_400.0
"""Seconds between two samples, beyond which they are not of one recording."""
LARGEST_SAMPLE = 1e15
"""Samples beyond it have no value."""
MOST_SIGNALS = 64
"""Columns beyond which a table or an array is no recording."""


@dataclass(frozen=True, slots=True)
class SignalFileOptions:
    """What a person says of a file that does not say it itself; None for nothing.

    `fs`: its sampling rate in hertz. `unit`: the unit of its values, such as "mV", "counts", or the size of a count,
    such as "2.9uV". What a file says stands: one that says something else is refused.

    Raises
    ------
    ConfigError
        A rate that is none of an ECG, or a unit that is not known.
    """

    fs: float | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        if self.fs is not None and not is_ecg_rate(self.fs):
            raise ConfigError(
                f"a sampling rate of {self.fs:g} Hz makes no sense: "
                f"give {LEAST_RESAMPLING_FS:g} to {HIGHEST_RESAMPLING_FS:g} Hz"
            )
        size, unit = split_count_size(self.unit or COUNTS)
        if read_unit(unit) not in (*VOLTAGES, COUNTS) or (size is not None and (not size or read_unit(unit) == COUNTS)):
            raise ConfigError(
                f'unit {self.unit!r} is not known: give uV, mV, V, nV, the size of a count such as "2.9uV", or counts'
            )

    def choose_rate(self, file: Path, stated: float | None) -> float:
        """Return the rate that a person states, or else the file.

        Raises RecordError if neither does, or if they differ by more than stamps are wrong.
        """
        if self.fs is not None:
            if stated is not None and abs(self.fs / stated - 1) > MOST_STAMP_ERROR:
                raise RecordError(
                    f"{file.name} has a sampling rate of {stated:.6g} Hz, not {self.fs:g}: leave --fs out, or its times"
                )
            return self.fs
        if stated is None:
            unit = "" if self.unit else "; its unit, too, if that is not there: --unit mV, or counts if nobody knows it"
            raise RecordError(f"rate of {file.name} is not in the file: say it, such as --fs 250{unit}")
        if not is_ecg_rate(stated):
            raise RecordError(
                f"{file.name} has a sampling rate of {stated:g} Hz, which is none of an ECG: say the right one, "
                "such as --fs 250"
            )
        return stated

    def choose_unit(self, file: Path, stated: str | None, lead: str = "") -> str:
        """Return the unit that a person states, or else the file.

        Raises RecordError if neither does, or they contradict each other; counts may be given a unit. A signal that
        measures something else than a voltage keeps its unit.
        """
        unit = read_unit(stated or "")
        if self.unit is not None and (not unit or unit in VOLTAGES or unit == COUNTS):
            if unit in VOLTAGES and read_unit(self.unit) != unit:
                raise RecordError(f"{file.name} is in {unit}, not {self.unit}: leave --unit out, or change its titles")
            return read_unit(self.unit)
        if not unit:
            which = f"{lead} in {file.name}" if lead else file.name
            raise RecordError(f"unit of {which} is not in the file: say it, such as --unit mV (or uV, V, nV, counts)")
        return unit

    def check_stated(self, file: Path, fs: float, units: frozenset[str] = frozenset()) -> None:
        """Raise RecordError where a rate or unit contradicts a format that states both itself."""
        if self.fs is not None and abs(self.fs / fs - 1) > MOST_DISAGREEMENT:
            raise RecordError(f"{file.name} has a sampling rate of {fs:.10g} Hz, not {self.fs:g}: leave --fs out")
        if self.unit is not None and (known := units & VOLTAGES) and read_unit(self.unit) not in units:
            raise RecordError(f"{file.name} is in {', '.join(sorted(known))}, not {self.unit}: leave --unit out")


def split_count_size(text: str) -> tuple[float | None, str]:
    """Return the size of a count and its unit, of a text such as "2.9uV"; None and the text for a plain unit."""
    match = _COUNT_SIZE.fullmatch(text.strip())
    return (float(match[1]), match[2]) if match else (None, text.strip())


def is_ecg_rate(fs: float) -> bool:
    """Whether a sampling rate in hertz is one of an ECG."""
    return LEAST_RESAMPLING_FS <= fs <= HIGHEST_RESAMPLING_FS


def is_usual_rate(fs: float) -> bool:
    """Whether a sampling rate in hertz is one that an ECG usually has."""
    return USUAL_RATES[0] <= fs <= USUAL_RATES[1]


def read_unit(text: str) -> str:
    """Return a unit in the one spelling of voltages and counts; any other as it is."""
    plain = text.strip().strip("'\"")
    return UNITS.get(plain.casefold(), plain)


def drop_impossible(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return samples of any shape, changed in place: NaN for those that are infinite, or too large for any signal."""
    with np.errstate(invalid="ignore"):
        samples[~(np.abs(samples) <= LARGEST_SAMPLE)] = np.nan
    return samples


def widen_range(lowest: float, highest: float) -> tuple[float, float]:
    """Return a range that values never reach: for a signal whose converter is not known."""
    largest = max(abs(lowest), abs(highest), 1e-6)
    rail = 2.0 ** (frexp(largest)[1] + 1)
    return -rail, rail


def name_leads(names: list[str]) -> list[str]:
    """Return the names of leads: "ECG" for a single nameless one, "lead1" and so on for others."""
    if len(names) == 1:
        return [names[0] or "ECG"]
    return [name or f"lead{i}" for i, name in enumerate(names, 1)]
