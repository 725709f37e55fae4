"""WAV, FLAC and other sounds opened as records: they know their rate, but not what a step of them means."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError, clean_error_text
from model.formats.file_options import MOST_SIGNALS, SignalFileOptions, name_leads
from model.records.wfdb_records import Record, RecordSignal

SAMPLE_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
"""Bits of the whole numbers in a sound; samples of other kinds are numbers in the unit itself."""
STREAMED_BYTES = 2**31 - 1
"""Size of the samples of a WAV file from which it is not known: it was written as a stream."""
FORMAT_BYTES = 16
UNCOMPRESSED = (1, 3, 0xFE)
"""Kinds of WAV, low byte, whose samples all take the same bytes: whole numbers, floats, either of many channels."""


class _SoundReader:
    """Reads samples of a sound in steps of its converter, or as the numbers that they are."""

    def __init__(self, path: Path, step: float) -> None:
        self._path, self._step = path, step

    def read_samples(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples `start` to `stop`: (n, channels)."""
        import soundfile

        try:
            with self._path.open("rb") as opened, soundfile.SoundFile(opened) as sound:
                sound.seek(start)
                samples = sound.read(stop - start, dtype="float64", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise RecordError(f"cannot read {self._path}: {_plain_reason(error)}") from error
        values = np.full((stop - start, samples.shape[1]), np.nan)
        values[: len(samples)] = samples * self._step
        return values


def open_sound_record(path: Path, options: SignalFileOptions) -> Record:
    """Open a sound as a record; a whole number in it is one of the unit that a person states.

    Raises
    ------
    RecordError
        It is damaged, its rate is none of an ECG, or nobody states the unit.
    """
    import soundfile

    try:
        with path.open("rb") as opened, soundfile.SoundFile(opened) as sound:
            rate, length, channels, kind = float(sound.samplerate), len(sound), int(sound.channels), str(sound.subtype)
    except (OSError, RuntimeError) as error:
        raise RecordError(f"{path.name} is a damaged sound: {_plain_reason(error)}") from error
    if channels > MOST_SIGNALS:
        raise RecordError(f"{path.name} has {channels} channels, which are no leads of an ECG")
    if not length:
        raise RecordError(f"{path.name} has no samples")
    fs = options.choose_rate(path, rate)
    unit = options.choose_unit(path, None)
    bits = SAMPLE_BITS.get(kind)
    step = 2.0 ** (bits - 1) if bits else 1.0
    ends = (-step, step - 1) if bits else (-(2.0**10), 2.0**10)
    signals = tuple(RecordSignal(name, unit, *ends) for name in name_leads([""] * channels))
    missing = _missing_samples(path, length)
    return Record(
        path.stem, path, fs, length, signals, (), missing=missing, reader=_SoundReader(path, step).read_samples
    )


def _plain_reason(error: Exception) -> str:
    """Return what went wrong, without the object that stands for the file."""
    return clean_error_text(re.sub(r"^Error opening <.*?>: ", "", str(error)))


def _missing_samples(path: Path, length: int) -> int:
    """Return how many samples of each channel a WAV file states beyond the `length` that is there."""
    with path.open("rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return 0
        frame = 0
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                stated = size // frame if frame and size < STREAMED_BYTES else 0
                return max(0, stated - length)
            start = file.tell()
            content = file.read(FORMAT_BYTES)
            if head[:4] == b"fmt " and len(content) == FORMAT_BYTES and content[0] in UNCOMPRESSED:
                frame = int.from_bytes(content[12:14], "little")
            file.seek(start + size + size % 2)
    return 0
