"""The files that hold the samples of a WFDB record: their formats, and how much of a record is there."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

SAMPLE_BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
"""Bytes of a sample in each WFDB format that is not compressed."""
COMPRESSED_FORMATS = ("508", "516", "524")
DIFFERENCE_FORMAT = "8"
"""The format that stores differences: a block of it can only be read from the start of the record."""


@dataclass(frozen=True, slots=True)
class SignalFile:
    """A file of samples: its WFDB `format`, samples per `frame` of all its signals, bytes before the first sample."""

    path: Path
    format: str
    frame: int
    offset: int


def count_whole_frames(files: tuple[SignalFile, ...]) -> int:
    """Return the whole frames that all files of a record hold; 0 if that cannot be known before they are read."""
    with contextlib.suppress(OSError, RuntimeError, KeyError):
        return min((max(0, int(count_file_samples(file) // file.frame)) for file in files), default=0)
    return 0


def count_file_samples(file: SignalFile) -> float:
    """Return the number of samples in a file, from its size or, if it is compressed, from its own header."""
    if file.format in COMPRESSED_FORMATS:
        import soundfile

        with file.path.open("rb") as opened, soundfile.SoundFile(opened) as sound:
            return float(len(sound) * sound.channels)
    return (file.path.stat().st_size - file.offset) / SAMPLE_BYTES[file.format]
