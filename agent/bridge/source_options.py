"""What a person says of a source that does not say it itself: rate, unit, columns."""

from dataclasses import dataclass

from agent.core.lead_units import UNITS_MV
from agent.library.argument_checks import HIGHEST_FS
from model.errors import ConfigError
from model.formats.file_options import split_count_size
from model.records.resample import LEAST_RESAMPLING_FS

UNCALIBRATED = "counts"
"""The unit of values that are no voltage anybody knows."""
FINE_STEPS_MV = 10_000
"""Counts of a millivolt that values with decimals become: 0.1 µV, far below the noise of any electrode."""
UNCALIBRATED_STEPS = 1000
"""Counts on the wire of one count of the source, where it sends decimals."""
LARGEST_EXPECTED = 2**27
"""Count that the numbers of a source reach at first: there is room for sixteen times as much."""


@dataclass(frozen=True, slots=True)
class CountSize:
    """What a number of a source means: `size` of a `unit` such as uV; None: it is a value in that unit itself."""

    unit: str
    size: float | None = None

    def gain(self, whole: bool, largest: float = 0.0) -> float:
        """Return the counts of one unit on the wire; see `steps`."""
        return self.steps(whole, largest) / (self.size or 1.0)

    def steps(self, whole: bool, largest: float = 0.0) -> float:
        """Return the counts on the wire that a number 1 of the source becomes.

        `whole`: all numbers of the source are whole. `largest`: of those that are known, with no regard to signs.
        """
        if self.size is None and self.unit != UNCALIBRATED:
            return FINE_STEPS_MV * UNITS_MV[self.unit]
        steps = 1.0 if whole else float(UNCALIBRATED_STEPS)
        while steps > 1 and largest * steps > LARGEST_EXPECTED:
            steps /= 10
        return steps


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """`fs` in hertz (None: the source says it, or it is measured); `unit` of its numbers (None: as the source says).

    `columns`: which numbers of a line are leads, counted from 1 (none: all). `names` of the leads. `baud`: bits a
    second of a serial port. `frames`: the binary frames that it sends, "" for lines of text. `measure_s`: the time from
    which a rate is measured.
    """

    fs: float | None = None
    unit: CountSize | None = None
    columns: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    baud: int = 115_200
    frames: str = ""
    measure_s: float = 10.0


def parse_count_size(text: str) -> CountSize:
    """Return what a unit such as "mV", "2.9uV" (the size of one count) or "counts" means. Raises ConfigError."""
    size, unit = split_count_size(text)
    if unit == UNCALIBRATED and size is None:
        return CountSize(UNCALIBRATED)
    if unit in UNITS_MV and (size is None or size > 0):
        return CountSize(unit, size)
    raise ConfigError(
        f'unit {text!r} makes no sense: give uV, mV or V, the size of a count such as "2.9uV", or counts (--unit)'
    )


def check_source_rate(fs: float) -> float:
    """Return a rate in hertz. Raises ConfigError for one that no ECG has."""
    if not LEAST_RESAMPLING_FS <= fs <= HIGHEST_FS:
        raise ConfigError(f"a rate of {fs:g} Hz makes no sense: give {LEAST_RESAMPLING_FS:g} to {HIGHEST_FS:g} (--fs)")
    return fs


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names that "II,V5" gives to leads, "" for one that keeps its own. Raises ConfigError for none."""
    names = tuple(name.strip() for name in text.split(","))
    if not any(names):
        raise ConfigError(f"names {text!r} make no sense: give one for each lead, such as II,V5 (--names)")
    return names


def parse_columns(text: str) -> tuple[int, ...]:
    """Return the columns that "2,3" names. Raises ConfigError."""
    columns = tuple(int(part) if part.strip().isascii() and part.strip().isdigit() else 0 for part in text.split(","))
    if not all(columns) or len(set(columns)) != len(columns):
        raise ConfigError(f"columns {text!r} make no sense: give numbers from 1 on, such as 2,3 (--columns)")
    return columns
