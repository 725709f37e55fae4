import struct
from pathlib import Path

import numpy as np
import pytest
import wfdb

from model.errors import RecordError
from model.records.annotations import (
    AnnotationFile,
    annotation_symbol,
    encode_annotations,
    read_annotations,
    state_rate,
)
from model.records.wfdb_records import DATABASE, embedded_records


def word(code: int, data: int = 0) -> bytes:
    return struct.pack("<H", code << 10 | data)


def skip(samples: int) -> bytes:
    return word(59) + struct.pack("<H", samples >> 16 & 0xFFFF) + struct.pack("<H", samples & 0xFFFF)


def aux(text: bytes) -> bytes:
    return word(63, len(text)) + text + b"\0" * (len(text) % 2)


def read(folder: Path, content: bytes, fs: float = 360) -> AnnotationFile:
    (folder / "r.test").write_bytes(content)
    return read_annotations(folder, "r", "test", fs)


@pytest.mark.parametrize("name", embedded_records()[::6])
def test_as_wfdb(name: str) -> None:
    """The reference annotations are read as the WFDB package reads them, subtypes and texts with them."""
    notes = read_annotations(DATABASE / "mitdb", name, "atr", 360)
    expected = wfdb.rdann(str(DATABASE / "mitdb" / name), "atr")
    assert notes.complete
    assert list(notes.samples) == expected.sample.tolist()
    assert list(notes.symbols) == expected.symbol
    assert list(notes.subtypes) == [subtype & 0xFF for subtype in expected.subtype.tolist()]
    assert list(notes.texts) == expected.aux_note


def test_everything_an_annotation_may_have(tmp_path: Path) -> None:
    """Long steps forward and back, subtypes, channels, numbers and texts of odd length are read."""
    first = skip(70000) + word(1, 5) + word(61, 48) + word(62, 1) + word(60, 3)
    second = word(28, 1023) + aux(b"(AF") + skip(-500)
    notes = read(tmp_path, first + second + word(14, 2) + word(61, 1023) + word(0))
    assert notes.samples == (70005, 71028, 70530)
    assert notes.symbols == ("N", "+", "~")
    assert notes.subtypes == (48, 0, 255)
    assert notes.texts == ("", "(AF", "")


@pytest.mark.parametrize(
    ("content", "samples", "complete"),
    [
        (word(0), (), True),
        (b"", (), False),
        (b"\1", (), False),
        (word(1, 10) + word(1, 10), (10,), False),
        (word(1, 10) + word(1, 10) + b"\0", (10,), False),
        (word(1, 10) + word(28, 10) + word(63, 200) + b"(N", (10,), False),
        (word(1, 10) + word(5, 10) + skip(7)[:4], (10,), False),
        (word(1, 10) + word(0) + word(1, 10), (10,), True),
    ],
)
def test_ends(tmp_path: Path, content: bytes, samples: tuple[int, ...], complete: bool) -> None:
    """A file ends at its end mark; without one the last annotation is left out, as by the WFDB library."""
    notes = read(tmp_path, content)
    assert (notes.samples, notes.complete) == (samples, complete)


def test_rate_of_frames(tmp_path: Path) -> None:
    """A file that states no rate is at that of frames where one is given; what we write states the rate of samples."""
    content = word(1, 10) + word(5, 3) + word(0)
    (tmp_path / "r.test").write_bytes(content)
    assert read_annotations(tmp_path, "r", "test", 360, 20).samples == (180, 234)
    notes = AnnotationFile((180, 235), ("N", "V"), (0, 0), ("", ""))
    (tmp_path / "r.test").write_bytes(encode_annotations(state_rate(notes, 360.0)))
    again = read_annotations(tmp_path, "r", "test", 360, 20)
    assert (again.samples[1:], again.symbols[1:], again.definitions) == ((180, 235), ("N", "V"), 1)


def test_rate_of_its_own(tmp_path: Path) -> None:
    """A file that states its rate is read at the rate asked for, halves up; its description is counted apart."""
    stated = word(22) + aux(b"## time resolution: 125") + word(22) + aux(b"## annotation type definitions")
    content = stated + word(1, 1) + word(1, 24) + word(5, 100) + word(0)
    notes = read(tmp_path, content, fs=187.5)
    assert notes.definitions == 2
    assert notes.samples[2:] == (2, 38, 188)
    assert read(tmp_path, content, fs=125).samples[2:] == (1, 25, 125)
    no_rate = word(22) + aux(b"## time resolution: fast") + word(1, 24) + word(0)
    assert read(tmp_path, no_rate, fs=500).samples == (0, 24)


def test_written_by_wfdb(tmp_path: Path) -> None:
    """What the WFDB package writes with a rate and labels of its own is read."""
    arrays = {"sample": np.array([5, 100, 2000]), "symbol": ["N", "V", "N"]}
    wfdb.wrann("r", "test", **arrays, fs=250, write_dir=str(tmp_path))
    notes = read_annotations(tmp_path, "r", "test", 500)
    assert notes.samples[notes.definitions :] == (10, 200, 4000)
    assert notes.symbols[notes.definitions :] == ("N", "V", "N")


def test_symbols() -> None:
    """Codes without a symbol become numbers."""
    assert [annotation_symbol(code) for code in (0, 1, 5, 13, 14, 31, 41)] == [" ", "N", "V", "Q", "~", "!", "r"]
    assert [annotation_symbol(code) for code in (15, 17, 42, 58)] == ["[15]", "[17]", "[42]", "[58]"]


def test_errors(tmp_path: Path) -> None:
    """A missing file, and one in the format of the AHA database, are refused by name."""
    with pytest.raises(RecordError, match=r"r\.test"):
        read_annotations(tmp_path, "r", "test", 360)
    with pytest.raises(RecordError, match="AHA"):
        read(tmp_path, b"\0N" + b"\0" * 14)
