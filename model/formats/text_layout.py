"""The layout of a table of text: encoding, separator, decimal sign, and what stands above the samples."""

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from model.errors import RecordError

HEAD_BYTES = 2**18
"""Bytes of a file by which its layout is known."""
JUDGED_LINES = 200
"""Lines of it, the last ones, that decide on the separator."""
RUN_LINES = 4
"""Lines of samples in a row that begin the table."""
LEAST_TABLE = 0.9
"""Share of cells that are no words, below which a text is no table."""
MOST_CONTROLS = 1e-3
"""Share of control characters in a text."""
SEPARATORS = (";", "\t", ",", "|", " ", "")
""""" for a single column."""
LARGEST_BEFORE_COMMA, LEAST_SCATTER = 20, 0.2
"""What tells one column with a decimal comma from two of whole numbers: small numbers before the comma, or steps of
those behind it, as a share of their range, that no signal takes."""
MOST_ODD_ROWS = 20
"""Rows with another decimal sign that may stand above a table."""
LEAST_WHOLE = 100.0
"""A whole number beside others such as 1.234, beyond which these have no decimals, but thousands."""
COMMENTS = ("#", "%", "//")
MISSING_WORDS = frozenset(("", "nan", "na", "n/a", "null", "none", "-", "--", "?", "!", "inf", "-inf"))
"""What stands in a cell without a value, in small letters."""

NUMBER, CLOCK, STAMP, DATE, MISSING, WORD = range(6)
"""What a cell holds."""
_NUMBERS = {
    ".": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE),
    ",": re.compile(r"[+-]?(\d+(,\d+)?|,\d+)(e[+-]?\d+)?", re.IGNORECASE),
}
_CLOCK = re.compile(r"(\d+:)?\d+:\d\d([.,]\d+)?")
_DATE_TEXT = r"(\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4})"
_DATE = re.compile(_DATE_TEXT)
_STAMP = re.compile(
    rf"\[?({_DATE_TEXT}[T ]\d\d?:\d\d(:\d\d([.,]\d+)?)?( ?(Z|[+-]\d\d:?\d\d))?"
    rf"|\d\d?:\d\d:\d\d([.,]\d+)? {_DATE_TEXT})\]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
GROUPED = re.compile(r"[+-]?\d{1,3}([.,'_\s\u2019]\d{3})+([.,]\d+)?")
"""A number with separators of thousands, which may look like one with decimals."""
_ONE_DECIMAL = re.compile(r"([+-]?\d+),(\d+)")


_Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class TextLayout:
    """How a table is written. `separator`: " " for any white space, "" for a single column.

    `start`: the byte at which the samples begin. `above`: the cells of each line above them. `titles`, `units`: those
    of the columns, "" where there are none. `rows`: cells of the first samples, by which the columns are known.
    """

    encoding: str
    separator: str
    decimal: str
    quote: str
    start: int
    columns: int
    titles: tuple[str, ...]
    units: tuple[str, ...]
    above: _Rows
    preamble: str
    rows: _Rows


def detect_encoding(head: bytes) -> str | None:
    """Return the encoding of the text that begins with `head`, None if it is no text."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if head.startswith(mark):
            return name
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if even + odd:
        return (
            "utf-16-le"
            if not even and odd > len(head) / 4
            else "utf-16-be"
            if not odd and even > len(head) / 4
            else None
        )
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
        encoding = "utf-8"
    except UnicodeDecodeError:
        text = head.decode("latin-1")
        encoding = "latin-1"
    controls = len(_CONTROL.findall(text)) + len(re.findall(r"[\x80-\x9f]", text))
    return encoding if controls <= MOST_CONTROLS * len(text) else None


def read_layout(path: Path, head: bytes, encoding: str) -> TextLayout:
    """Return how the table in a file is written, by its `head`. Raises RecordError if it is no table of numbers."""
    lines = head.split(b"\n")
    if len(lines) > 1 and len(head) == HEAD_BYTES:
        lines.pop()  # cut off
    texts = [line.decode(encoding, "replace").strip("\r\ufeff") for line in lines]
    judged = [text for text in texts if text.strip() and not text.lstrip().startswith(COMMENTS)][-JUDGED_LINES:]
    separator, decimal = _choose_separator(judged)
    kinds = [_line_kinds(text, separator, decimal) for text in texts]
    first = next((i for i in range(len(texts)) if _begins_table(texts, kinds, i)), None)
    if first is None or not any(NUMBER in found for found in kinds[first:]):
        raise _no_table_error(path)
    samples = [
        text for text, found in zip(texts[first:], kinds[first:], strict=True) if text.strip() and _is_sample(found)
    ]
    columns = Counter(len(split_cells(text, separator)) for text in samples).most_common(1)[0][0]
    above = tuple(tuple(split_cells(_uncomment(text), separator)) for text in texts[:first] if text.strip())
    rows = tuple(tuple(split_cells(text, separator)) for text in samples)
    other = {".": ",", ",": "."}[decimal]
    odd = sum(len(cells) == columns and all(cell_kind(cell, other) == NUMBER for cell in cells) for cells in above)
    if odd > MOST_ODD_ROWS:
        raise RecordError(f"{path.name} changes its decimal sign: {odd} rows of it are written with {other!r}")
    _refuse_unclear_commas(path, separator, decimal, columns, rows)
    ends_in_separator = all(not row[-1] for row in rows if len(row) == columns)
    titles, units = _read_titles(above, columns, columns - ends_in_separator)
    return TextLayout(
        encoding,
        separator,
        decimal,
        "'" if any("'" in text for text in judged) else '"',
        sum(len(line) + 1 for line in lines[:first]),
        columns,
        titles,
        units,
        above,
        "\n".join(texts[:first]),
        rows,
    )


def split_cells(line: str, separator: str) -> list[str]:
    """Return the cells of a line, without quotes and the space around them."""
    line = line.replace("\u2212", "-")  # a minus sign
    if separator in (" ", ""):
        cells = line.split() if separator else [line]
    else:
        try:
            cells = next(csv.reader([line.replace("\r", " ")], delimiter=separator), [])
        except csv.Error:  # an endless cell
            cells = line.split(separator)
    return [cell.strip().strip("'\"").strip() for cell in cells]


def cell_kind(cell: str, decimal: str) -> int:
    """Return what a cell holds: NUMBER, CLOCK, STAMP, DATE, MISSING or WORD."""
    if cell.lower() in MISSING_WORDS:
        return MISSING
    if _NUMBERS[decimal].fullmatch(cell):
        return NUMBER
    for kind, pattern in ((CLOCK, _CLOCK), (STAMP, _STAMP), (DATE, _DATE)):
        if pattern.fullmatch(cell):
            return kind
    return WORD


def _choose_separator(lines: list[str]) -> tuple[str, str]:
    """Return the separator and the decimal sign by which most cells are numbers or times, in the most columns."""
    best, chosen = (0.0, 0), ("", ".")
    quoted = any('"' in line for line in lines)
    for separator in SEPARATORS:
        for decimal in (".", ","):
            if separator == "," and ((decimal == "," and not quoted) or _is_decimal_comma(lines)):
                continue
            counts: Counter[int] = Counter()
            cells = words = 0
            for line in lines:
                kinds = _line_kinds(line, separator, decimal)
                counts[len(kinds)] += 1
                cells += len(kinds)
                words += kinds.count(WORD) if kinds.count(NUMBER) else len(kinds)
            columns, most = counts.most_common(1)[0] if counts else (0, 0)
            share = (1 - words / max(1, cells)) * most / max(1, len(lines))
            if (round(share, 2), columns) > best:
                best, chosen = (round(share, 2), columns), (separator, decimal)
    return chosen


def _is_decimal_comma(lines: list[str]) -> bool:
    """Whether lines such as "0,12" are one column with a decimal comma, not two of which the first one counts."""
    found = [_ONE_DECIMAL.fullmatch(line.strip()) for line in lines]
    matches = [match for match in found if match]
    if len(matches) < LEAST_TABLE * len(lines) or not matches:
        return False
    before, after = [int(match[1]) for match in matches], [int(match[2]) for match in matches]
    if all(b > a for a, b in pairwise(before)) and len(before) > 1:
        return False  # a clock or a counter
    steps = sum(abs(b - a) for a, b in pairwise(after)) / max(1, len(after) - 1)
    texts = [match[2] for match in matches]
    padded = any(text[0] == "0" and len(text) > 1 for text in texts) or any(match[1] == "-0" for match in matches)
    stripped = len(set(map(len, texts))) > 1 and not any(text[-1] == "0" and len(text) > 1 for text in texts)
    if max(map(abs, before)) < LARGEST_BEFORE_COMMA and (padded or stripped or len(set(before)) == 1):
        return True
    span = max(after) - min(after)
    return steps > LEAST_SCATTER * span if span else any(match[2].startswith("00") for match in matches)


def _refuse_unclear_commas(path: Path, separator: str, decimal: str, columns: int, rows: _Rows) -> None:
    """Raise RecordError where commas may stand for decimals as well as between columns, or between thousands."""
    if separator == "," and decimal == "." and columns > 2 and not columns % 2:
        pairs = [row for row in rows if len(row) == columns]
        fractions = [cell for row in pairs for cell in row[1::2]]
        padded = any(len(cell) > 1 and cell[0] == "0" for cell in fractions) or any("-0" in row[::2] for row in pairs)
        if padded and all(cell.isdigit() for cell in fractions):
            raise RecordError(
                f"{path.name} has commas both for decimals and between columns: save it with semicolons, or points"
            )
    for place in range(columns):
        cells = [row[place] for row in rows if place < len(row) and cell_kind(row[place], decimal) == NUMBER]
        marked = [cell for cell in cells if decimal in cell]
        if not marked or not all(GROUPED.fullmatch(cell) and cell.lstrip("+-")[0] != "0" for cell in marked):
            continue
        whole = max((abs(float(cell)) for cell in cells if decimal not in cell), default=0.0)
        if decimal == "," or whole >= LEAST_WHOLE:
            raise RecordError(
                f"{path.name} has numbers such as {marked[0]}, which may be decimals or thousands: "
                "save it with points, and without separators of thousands"
            )


def _line_kinds(line: str, separator: str, decimal: str) -> list[int]:
    return [cell_kind(cell, decimal) for cell in split_cells(line, separator)]


def _is_sample(kinds: list[int]) -> bool:
    return kinds.count(WORD) <= (len(kinds) // 3 if NUMBER in kinds else 0)


def _begins_table(texts: list[str], kinds: list[list[int]], at: int) -> bool:
    """Whether a line of samples stands at a place, and only such lines after it."""
    if not texts[at].strip() or texts[at].lstrip().startswith(COMMENTS):
        return False
    lines = zip(texts[at : at + RUN_LINES], kinds[at : at + RUN_LINES], strict=True)
    run = [found for text, found in lines if text.strip()]
    return bool(run) and all(_is_sample(found) for found in run)


def _uncomment(line: str) -> str:
    return line.lstrip("#%/ ") if line.lstrip().startswith(COMMENTS) else line


def _read_titles(above: _Rows, columns: int, least: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the titles of at least some columns and the units in a line of their own, "" where there are none."""
    none = ("",) * columns
    rows = [(*row, "")[:columns] for row in above[-2:] if least <= len(row) <= columns + 1 and any(row)]
    if columns == 1:  # a single cell above a single column may be anything
        rows = [row for row in rows if len(row[0].split()) <= 3 and not re.search(r"[,;:=]", row[0])]
    if not rows:
        return none, none
    if len(rows) == 2 and rows[1] == above[-1]:
        return (rows[0], rows[1]) if _is_unit_row(rows[1]) else (rows[1], none)
    return rows[-1], none


def _is_unit_row(row: tuple[str, ...]) -> bool:
    """Whether cells are units, such as "hh:mm:ss.mmm" and "mV"."""
    return all(
        re.fullmatch(
            r"[(\[]?([a-zA-Z]{1,2}[vV]|[\u00b5\u03bc]V|V|m?s|sec(onds)?|h+:m+(:s+)?(\.m+)?|sample.*|#|adu|)[)\]]?", cell
        )
        for cell in row
    )


def _no_table_error(path: Path) -> RecordError:
    return RecordError(
        f"{path.name} is text without a table of samples in its first {HEAD_BYTES // 1024} kB: "
        "it needs a row a sample and a column a lead"
    )
