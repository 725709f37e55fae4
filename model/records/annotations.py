"""WFDB annotation files: every annotation with its subtype and text, read exactly as the WFDB library reads them.

`model.records.wfdb_records` reads the annotations of a record for the net. A scorer that must count as the WFDB
programs do needs more: the subtypes that mark unreadable signal, the rate a file may state for itself, and the
library's rules for a truncated file. Format: https://physionet.org/physiotools/wag/annot-5.htm
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.errors import RecordError

MNEMONICS = ' NLRaVFJASEj/Q~\0|\0sT*D"=pB^t+u?![]en@xf()r'
"""Symbol of each annotation code, from 0; NUL for a code without one."""
DEFINITION_SYMBOL, EMPTY_SYMBOL = '"', " "
STATED_RATE = re.compile(r"## time resolution: *([0-9.eE+-]+)")
_SKIP, _SUB, _AUX = 59, 61, 63
"""Codes of pseudo-annotations: a longer step in time, the subtype and the text of the annotation before. The library
knows two more, 60 and 62, for a signal number and a channel, which nothing here uses."""
LARGEST_ANNOTATION_FILE = 2**24
"""Bytes of a file; the largest of PhysioNet's databases has a few hundred kilobytes."""
LARGEST_SAMPLE = 2**53
"""Above this, sample indices are no longer exact as floating-point numbers."""
_AHA_CODES = frozenset(b"EFNOPQRUV")


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationFile:
    """All annotations of a file, in its order.

    Attributes
    ----------
    samples : tuple of int
        Sample indices, at the rate that the reader asked for.
    symbols : tuple of str
        WFDB symbols (https://physionet.org/physiotools/wag/annot-5.htm).
    subtypes : tuple of int
        0 to 255.
    texts : tuple of str
        Rhythm labels and remarks; "" for none.
    definitions : int
        How many annotations at the start describe the file itself.
    complete : bool
        Whether the file has an end mark. Without one the WFDB library leaves out the last annotation, and so does
        `read_annotations`.
    """

    samples: tuple[int, ...]
    symbols: tuple[str, ...]
    subtypes: tuple[int, ...]
    texts: tuple[str, ...]
    definitions: int = 0
    complete: bool = True


def read_annotations(
    directory: Path, record: str, extension: str, fs: float, unstated_fs: float | None = None
) -> AnnotationFile:
    """Read `record.extension` in `directory`.

    Parameters
    ----------
    directory : Path
    record, extension : str
        Name of the record, and of the annotator, such as "atr".
    fs : float
        Sampling rate in hertz of the returned samples, even if the file states another one for its own.
    unstated_fs : float, optional
        Rate of the samples in a file that states none, if it is not `fs`: WFDB counts frames then.

    Raises
    ------
    RecordError
        If there is no such file, it is no annotation file, or it is in the old format of the AHA database.
    """
    path = directory / f"{record}.{extension}"
    content = _read_file(path)
    if len(content) > 1 and content[0] == 0 and content[1] in _AHA_CODES:
        raise RecordError(f"annotations {path} are in AHA format: convert them with WFDB's rdann and wrann")
    decoded = list(_decode_annotations(content))
    complete = bool(decoded) and decoded[-1] is None
    notes = [note for note in decoded[:-1] if note is not None]
    definitions, rate = _read_definitions(notes)
    scale = fs / (rate or unstated_fs or fs)
    if not max((abs(note[0]) for note in notes), default=0) * scale <= LARGEST_SAMPLE:
        raise RecordError(f"annotations {path} lie beyond the end of any record: check the rate that they state")
    samples = tuple(math.floor(note[0] * scale + 0.5) if scale != 1 else note[0] for note in notes)
    _, symbols, subtypes, texts = zip(*notes, strict=True) if notes else ((), (), (), ())
    return AnnotationFile(samples, symbols, subtypes, texts, definitions, complete)


def _read_file(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device might never end
            raise RecordError(f"cannot read annotations {path}: it is not a file")
        with path.open("rb") as file:
            content = file.read(LARGEST_ANNOTATION_FILE + 1)
    except OSError as error:
        raise RecordError(f"cannot read annotations {path}: {error.strerror or error}") from error
    if len(content) > LARGEST_ANNOTATION_FILE:
        raise RecordError(f"cannot read annotations {path}: it has over {LARGEST_ANNOTATION_FILE} bytes")
    return content


def _decode_annotations(content: bytes) -> Iterator[tuple[int, str, int, str] | None]:
    """Yield each annotation as sample, symbol, subtype and text, and None at the end mark.

    A word of 16 bits holds a code (6 bits) and the step in samples from the annotation before (10 bits).
    """
    words = struct.unpack(f"<{len(content) // 2}H", content[: len(content) // 2 * 2])
    end = len(words)
    sample = position = 0
    while position < end and words[position] >> 10 == _SKIP and position + 2 < end:
        sample, position = sample + _signed_long(words, position + 1), position + 3
    while position < end:
        if words[position] == 0:
            yield None
            return
        code = words[position] >> 10
        sample += words[position] & 0x3FF
        note_sample, subtype, text = sample, 0, ""
        position += 1
        while position < end and (pseudo := words[position] >> 10) >= _SKIP:
            if pseudo == _SKIP:  # belongs to the annotation that follows
                sample += _signed_long(words, position + 1) if position + 2 < end else 0
                position += 2
            elif pseudo == _SUB:
                subtype = words[position] & 0xFF
            elif pseudo == _AUX:
                size = words[position] & 0xFF
                text = content[2 * position + 2 : 2 * position + 2 + size].decode("latin-1")
                position += (size + 1) // 2  # padded to whole words
            position += 1
        yield note_sample, annotation_symbol(code), subtype, text


def state_rate(notes: AnnotationFile, fs: float) -> AnnotationFile:
    """Return annotations that begin with the rate of their samples, for a file whose record has other frames."""
    return AnnotationFile(
        (0, *notes.samples),
        (DEFINITION_SYMBOL, *notes.symbols),
        (0, *notes.subtypes),
        (f"## time resolution: {fs:.10g}", *notes.texts),
        1,
    )


def encode_annotations(notes: AnnotationFile) -> bytes:
    """Return annotations in the MIT format of WFDB, as `read_annotations` reads it."""
    encoded = bytearray()
    last = 0
    for sample, symbol, subtype, text in zip(notes.samples, notes.symbols, notes.subtypes, notes.texts, strict=True):
        step, last = sample - last, sample
        if not 0 <= step < 1 << 10:
            encoded += struct.pack("<3H", _SKIP << 10, step >> 16 & 0xFFFF, step & 0xFFFF)
            step = 0
        encoded += struct.pack("<H", MNEMONICS.index(symbol) << 10 | step)
        if subtype:
            encoded += struct.pack("<H", _SUB << 10 | subtype)
        if content := text.encode("latin-1"):
            encoded += struct.pack("<H", _AUX << 10 | len(content)) + content + b"\0" * (len(content) % 2)
    return bytes(encoded) + b"\0\0"


def annotation_symbol(code: int) -> str:
    """Return WFDB's symbol of an annotation code, or the code in brackets if it has none."""
    symbol = MNEMONICS[code] if code < len(MNEMONICS) else "\0"
    return symbol if symbol != "\0" else f"[{code}]"


def _signed_long(words: tuple[int, ...], position: int) -> int:
    """Return the 32-bit integer in two words, the high one first."""
    value = words[position] << 16 | words[position + 1]
    return value - (1 << 32) if value >= 1 << 31 else value


def _read_definitions(notes: list[tuple[int, str, int, str]]) -> tuple[int, float | None]:
    """Return how many notes at the start describe the file itself, and the rate they state for its samples, if any.

    An empty annotation may follow them.
    """
    rate: float | None = None
    for count, (sample, symbol, subtype, text) in enumerate(notes):
        if (sample, symbol, subtype) != (0, DEFINITION_SYMBOL, 0):
            return count + (symbol == EMPTY_SYMBOL), rate
        if stated := STATED_RATE.match(text):
            rate = _parse_stated_rate(stated[1]) or rate
    return len(notes), rate


def _parse_stated_rate(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value > 0 and math.isfinite(value) else None
