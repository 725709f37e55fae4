"""An EDF+C file held against its specification, as strictly as EDFlib does before it opens one."""

import re
from decimal import Decimal
from pathlib import Path

TICKS = 10_000_000
"""Units of EDFlib's times in a second: decimals beyond them are cut off."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_LIST = re.compile(rb"([+-]\d+(?:\.\d+)?)(?:\x15(\d+(?:\.\d+)?))?\x14([^\x00]*)\x14\x00")


def check_edf_rules(path: Path) -> tuple[Decimal, int]:
    """Assert that a file keeps the rules of EDF+C; return the seconds and the number of its data records."""
    content = path.read_bytes()
    fixed = content[:256].decode("ascii")
    assert fixed.isprintable()
    assert fixed[:8] == "0       "
    assert re.fullmatch(r"\d\d\.\d\d\.\d\d\d\d\.\d\d\.\d\d", fixed[168:184])
    assert re.match(r"Startdate (X|\d\d-[A-Z]{3}-\d{4}) ", fixed[88:168])
    assert fixed[192:197] == "EDF+C"
    size, records, seconds, count = (fixed[a:b].rstrip() for a, b in ((184, 192), (236, 244), (244, 252), (252, 256)))
    assert int(size) == 256 * (int(count) + 1)
    assert _NUMBER.fullmatch(seconds)
    assert len(seconds.partition(".")[2]) <= 7
    sizes, labels = _check_signals(content[256 : int(size)].decode("ascii"), int(count))
    assert len(content) == int(size) + int(records) * sum(sizes)
    assert labels.count("EDF Annotations") == 1
    begin = sum(sizes[: labels.index("EDF Annotations")])
    duration = int(Decimal(seconds) * TICKS)
    expected: int | None = None
    for record in range(int(records)):
        start = int(size) + record * sum(sizes) + begin
        onset = _check_lists(content[start : start + sizes[labels.index("EDF Annotations")]])
        assert expected in (None, onset), f"data record {record} begins at {onset}, not {expected}"
        assert expected is not None or 0 <= onset < TICKS
        expected = onset + duration
    return Decimal(seconds), int(records)


def _check_signals(described: str, count: int) -> tuple[list[int], list[str]]:
    """Return the bytes of each signal in a data record, and its label."""
    assert described.isprintable()
    columns: list[list[str]] = []
    at = 0
    for width in (16, 80, 8, 8, 8, 8, 8, 80, 8, 32):
        columns.append([described[at + i * width : at + (i + 1) * width].rstrip() for i in range(count)])
        at += width * count
    for i in range(count):
        low, high, digital_low, digital_high = (columns[column][i] for column in (3, 4, 5, 6))
        assert all(_NUMBER.fullmatch(text) for text in (low, high, digital_low, digital_high))
        assert Decimal(low) != Decimal(high)
        assert -(2**15) <= int(digital_low) < int(digital_high) < 2**15
        assert int(columns[8][i]) > 0
    return [2 * int(samples) for samples in columns[8]], columns[0]


def _check_lists(part: bytes) -> int:
    """Return the time of a data record in ticks; its annotations are well formed, and nothing but zeros follows."""
    at = 0
    first: tuple[bytes, bytes] | None = None
    while found := _LIST.match(part, at):
        onset, texts = found[1], found[3]
        assert len(onset.partition(b".")[2]) <= 7, onset
        texts.decode("utf-8")
        first = first or (onset, texts)
        at = found.end()
    assert part[at:].strip(b"\x00") == b""
    assert first is not None
    assert first[1] == b""
    return int(Decimal(first[0].decode()) * TICKS)
