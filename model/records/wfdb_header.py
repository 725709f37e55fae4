"""The text of a WFDB header, read as the format allows and written as the WFDB package can read it.

The format (https://wfdb.io/spec/header-files.html) lets a header leave out the rate (250 Hz) and the number of samples
(that of the signal files), and headers in the wild hold dates that are none and units with a micro sign. The WFDB
package refuses the former and drops the sign, so that microvolts would become volts.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from model.errors import RecordError, clean_error_text

LARGEST_RECORD_HEADER, LONGEST_LINE, MOST_LINES, MOST_SEGMENTS = 2**22, 1000, 1000, 100_000
"""Bytes of a header, characters of a line, lines that describe signals, and segments. WFDB allows lines of 255
characters, and MIMIC has records of tens of thousands of segments."""
DEFAULT_FS = "250"
"""Sampling rate in hertz of a header that states none."""
MICRO_SIGNS = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u"})
_TIME = re.compile(r"\d{1,2}(:\d{1,2}){1,2}(\.\d+)?")
_SEGMENT_LINE = re.compile(r"(?P<name>\S+)\s+(?P<length>\d+)\s*")


@dataclass(frozen=True, slots=True)
class HeaderText:
    """A header: its `text` for the WFDB package, whether it stands like that in the file, and what its first line says.

    `length` is None if it is left out; `segments`: names and lengths, of a record that is made of segments. `start`:
    when the first sample was taken, None without a valid time and date.
    """

    text: str
    as_stored: bool
    fs: float
    length: int | None
    segments: tuple[tuple[str, int], ...] = ()
    start: datetime | None = None

    def with_length(self, length: int) -> str:
        """Return the text with another number of samples."""
        first, rest = self.text.split("\n", 1)
        words = first.split(" ")
        return "\n".join([" ".join([*words[:3], str(length), *words[4:]]), rest])


def read_header_text(path: Path) -> HeaderText:
    """Read the header of the record `path` (without ending).

    Raises RecordError if it cannot be read, is none, or is too large for the WFDB package, whose time grows with the
    square of a line.
    """
    try:
        with path.with_name(path.name + ".hea").open("rb") as file:
            content = file.read(LARGEST_RECORD_HEADER + 1)
    except OSError as error:
        raise RecordError(f"cannot read the header of record {path}: {clean_error_text(error)}") from error
    try:
        stored = content.decode("utf-8")
    except UnicodeDecodeError:
        stored = content.decode("latin-1")
    lines = [line for line in stored.translate(MICRO_SIGNS).splitlines() if line.strip()]
    described = [line for line in lines if not line.lstrip().startswith("#")]
    words = described[0].split() if described else []
    most_lines = MOST_SEGMENTS if words and "/" in words[0] else MOST_LINES
    if (
        len(content) > LARGEST_RECORD_HEADER
        or len(described) > most_lines
        or any(len(line) > LONGEST_LINE for line in described)
    ):
        raise RecordError(f"cannot read the header of record {path}: it is too large for one")
    if not words:
        raise RecordError(f"cannot read the header of record {path}: it is empty")
    if len(words) < 2:
        raise RecordError(f"cannot read the header of record {path}: its first line states no number of signals")
    fs = _parse_rate(words[2] if len(words) > 2 else DEFAULT_FS, path)
    length = _parse_length(words[3], path) if len(words) > 3 else None
    first = [*words[:2], words[2] if len(words) > 2 else DEFAULT_FS, str(length or 0), *_valid_times(words[4:])]
    lines[lines.index(described[0])] = " ".join(first)
    as_stored = " ".join(first) == " ".join(words) and content.isascii()
    segments = _parse_segments(described[1:], path) if "/" in words[0] else ()
    return HeaderText("\n".join([*lines, ""]), as_stored, fs, length or None, segments, _parse_start(first[4:]))


def _parse_rate(word: str, path: Path) -> float:
    """Return the rate in hertz of a word such as 360/1024(512): the counter behind the slash says nothing of it."""
    try:
        return float(word.split("/")[0])
    except ValueError:
        raise RecordError(f"record {path} has no valid sampling rate: check its header") from None


def _parse_length(word: str, path: Path) -> int:
    if not word.isdecimal():
        raise RecordError(f"record {path} has an impossible length or skew: check its header")
    return int(word)


def _valid_times(words: list[str]) -> list[str]:
    """Return the time, and the date behind it, as far as they are ones: neither is needed for the signal."""
    if not words or not _TIME.fullmatch(words[0]):
        return []
    try:
        datetime.strptime(words[1], "%d/%m/%Y")
    except (IndexError, ValueError):
        return words[:1]
    return words[:2]


def _parse_start(times: list[str]) -> datetime | None:
    """Return the moment that a valid time such as 9:30:00.5 (or 30:00, without hours) and its date state together."""
    if len(times) < 2:
        return None
    *hours_minutes, seconds = times[0].split(":")
    hours, minutes = (int(part) for part in (["0", *hours_minutes][-2:]))
    since_midnight = timedelta(hours=hours, minutes=minutes, seconds=float(seconds))
    try:
        return datetime.strptime(times[1], "%d/%m/%Y") + since_midnight
    except OverflowError:  # after the last day of the calendar
        return None


def _parse_segments(lines: list[str], path: Path) -> tuple[tuple[str, int], ...]:
    found = [_SEGMENT_LINE.fullmatch(line.strip()) for line in lines]
    if not found or None in found:
        raise RecordError(f"record {path} does not describe all of its segments: check its header")
    return tuple((match["name"], int(match["length"])) for match in found if match)
