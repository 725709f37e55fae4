"""Annotation files of WFDB, read to the letter of the WFDB library, and written: each annotation, subtype and text.

`model.records.wfdb_records` reads the annotations of a record for the net. A scorer that must count as the WFDB
programs do needs more: the subtypes that mark unreadable signal, the rate a file may state for itself, and the
library's rules for a file that is cut short. Format: https://physionet.org/physiotools/wag/annot-5.htm
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.errors import RecordError

MNEMONICS = ' NLRaVFJASEj/Q~\0|\0sT*D"=pB^t+u?![]en@xf()r'
"""Symbol of each annotation code, from 0; NUL where a code has none."""
DEFINITION_SYMBOL, EMPTY_SYMBOL = '"', " "
STATED_RATE = re.compile(r"## time resolution: *([0-9.eE+-]+)")
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
LARGEST_ANNOTATION_FILE = 2**24
LARGEST_SAMPLE = 2**53
_AHA_CODES = frozenset(b"EFNOPQRUV")


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationFile:
    """All annotations of a file in its order: sample at the rate asked for, WFDB symbol, subtype (0..255) and text.

    The first `definitions` of them describe the file itself. `complete` is false where the file has no end mark: the
    WFDB library then leaves out the last annotation, and so does this.
    """

    samples: tuple[int, ...]
    symbols: tuple[str, ...]
    subtypes: tuple[int, ...]
    texts: tuple[str, ...]
    definitions: int = 0
    complete: bool = True


def read_annotations(directory: Path, record: str, extension: str, fs: float) -> AnnotationFile:
    """Read `record.extension` in `directory`, with samples at `fs` hertz even where the file states another rate.

    Raises RecordError where the file is missing, is none, or is in the old format of the AHA database.
    """
    path = directory / f"{record}.{extension}"
    try:
        if path.exists() and not path.is_file():  # a pipe or a device would be read for ever
            raise RecordError(f"cannot read annotations {path}: that is no file")
        with path.open("rb") as file:
            content = file.read(LARGEST_ANNOTATION_FILE + 1)
    except OSError as error:
        raise RecordError(f"cannot read annotations {path}: {error.strerror or error}") from error
    if len(content) > LARGEST_ANNOTATION_FILE:
        raise RecordError(f"cannot read annotations {path}: over {LARGEST_ANNOTATION_FILE} bytes are too many")
    if len(content) > 1 and content[0] == 0 and content[1] in _AHA_CODES:
        raise RecordError(f"annotations {path} are in AHA format: convert them with WFDB's rdann and wrann")
    found = list(_decode_annotations(content))
    complete = bool(found) and found[-1] is None
    notes = [note for note in found[:-1] if note is not None]
    definitions, rate = _read_definitions(notes)
    scale = fs / rate if rate else 1.0
    if not max((abs(note[0]) for note in notes), default=0) * scale <= LARGEST_SAMPLE:
        raise RecordError(f"annotations {path} lie beyond the end of any record: check the rate that they state")
    samples = tuple(math.floor(note[0] * scale + 0.5) if scale != 1 else note[0] for note in notes)
    _, symbols, subtypes, texts = zip(*notes, strict=True) if notes else ((), (), (), ())
    return AnnotationFile(samples, symbols, subtypes, texts, definitions, complete)


def _decode_annotations(content: bytes) -> Iterator[tuple[int, str, int, str] | None]:
    """Each annotation as sample, symbol, subtype and text; None at the end mark."""
    words = struct.unpack(f"<{len(content) // 2}H", content[: len(content) // 2 * 2])
    end = len(words)
    sample = at = 0
    while at < end and words[at] >> 10 == _SKIP and at + 2 < end:
        sample, at = sample + _signed_long(words, at + 1), at + 3
    while at < end:
        if words[at] == 0:
            yield None
            return
        code = words[at] >> 10
        sample += words[at] & 0x3FF
        here, subtype, text = sample, 0, ""
        at += 1
        while at < end and (pseudo := words[at] >> 10) >= _SKIP:
            if pseudo == _SKIP:
                sample, at = sample + (_signed_long(words, at + 1) if at + 2 < end else 0), at + 2
            elif pseudo == _SUB:
                subtype = words[at] & 0xFF
            elif pseudo == _AUX:
                size = words[at] & 0xFF
                text = content[2 * at + 2 : 2 * at + 2 + size].decode("latin-1")
                at += (size + 1) // 2
            at += 1
        yield here, annotation_symbol(code), subtype, text


def encode_annotations(notes: AnnotationFile) -> bytes:
    """Annotations in the MIT format of WFDB, as `read_annotations` takes them in again."""
    out, at = bytearray(), 0
    for sample, symbol, subtype, text in zip(notes.samples, notes.symbols, notes.subtypes, notes.texts, strict=True):
        step, at = sample - at, sample
        if not 0 <= step < 1 << 10:
            out += struct.pack("<3H", _SKIP << 10, step >> 16 & 0xFFFF, step & 0xFFFF)
            step = 0
        out += struct.pack("<H", MNEMONICS.index(symbol) << 10 | step)
        if subtype:
            out += struct.pack("<H", _SUB << 10 | subtype)
        if content := text.encode("latin-1"):
            out += struct.pack("<H", _AUX << 10 | len(content)) + content + b"\0" * (len(content) % 2)
    return bytes(out) + b"\0\0"


def annotation_symbol(code: int) -> str:
    """WFDB's symbol of an annotation code, or the code in brackets where it has none."""
    symbol = MNEMONICS[code] if code < len(MNEMONICS) else "\0"
    return symbol if symbol != "\0" else f"[{code}]"


def _signed_long(words: tuple[int, ...], at: int) -> int:
    value = words[at] << 16 | words[at + 1]
    return value - (1 << 32) if value >= 1 << 31 else value


def _read_definitions(notes: list[tuple[int, str, int, str]]) -> tuple[int, float | None]:
    """How many notes at the start describe the file itself, and the rate they state for its samples, if any.

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
