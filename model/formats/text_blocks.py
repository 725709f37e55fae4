"""The rows of a table of text, block by block: a table of any length is never in memory as a whole."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.formats.file_options import drop_impossible
from model.formats.text_columns import ClockColumn, LeadColumn
from model.formats.text_layout import (
    CLOCK,
    COMMENTS,
    GROUPED,
    MISSING_WORDS,
    NUMBER,
    TextLayout,
    cell_kind,
    split_cells,
)

BLOCK_BYTES = 2**20
EDGE_BYTES = 2048
LONGEST_ROW = 2**16
"""Bytes of a row."""
KEPT_BLOCKS = 4
MOST_WORDS_IN_ROWS = 0.5
"""Share of the rows of a block whose leads hold words: more is no table of samples."""
MOST_ODD, LEAST_ODD = 0.01, 20
"""Share and number of cells with digits that are no numbers, beyond which they are not taken for single errors."""
_DIGIT = re.compile(r"\d")
_COMMENT_LINE = re.compile(rb"^[ \t]*(?:#|%|//).*\n?", re.MULTILINE)
_COMMENT_BEHIND = re.compile(rb"(?<=[^\s,;|]) +#[^\n\r,;|\t\"]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Some rows: bytes `start` to `stop` of the file, `rows` of them from row `first` on."""

    start: int
    stop: int
    first: int
    rows: int


class TextRows:
    """Reads the samples, and on demand the stamps, of the rows of a table in UTF-8 or Latin-1."""

    def __init__(self, path: Path, layout: TextLayout, leads: Sequence[LeadColumn]) -> None:
        self._path, self._layout = path, layout
        self._leads = [lead.place for lead in leads]
        self.read_samples = lru_cache(maxsize=KEPT_BLOCKS)(self._read_samples)

    def scan(self, clocks: Sequence[ClockColumn]) -> Iterator[tuple[TextBlock, NDArray[np.float64], list[Any]]]:
        """Yield each block with its samples (n, leads) and the cells of each of some clocks: (n,) numbers or texts."""
        first = 0
        for start, stop in self._edges():
            frame = self._parse(start, stop, clocks)
            rows = len(frame)
            if rows:
                yield (
                    TextBlock(start, stop, first, rows),
                    self._samples_of(frame),
                    [frame[clock.place] for clock in clocks],
                )
            first += rows

    def edge_cells(self, place: int) -> Iterator[str]:
        """Yield cells of a column at the first and last rows of each block."""
        for start, stop in self._edges():
            with _open_table(self._path) as file:
                file.seek(start)
                head = file.read(min(EDGE_BYTES, stop - start))
                file.seek(max(start, stop - EDGE_BYTES))
                tail = file.read(stop - file.tell())
            for line in (*head.split(b"\n")[:1], *tail.split(b"\n")[1:]):
                cells = split_cells(line.decode(self._layout.encoding, "replace"), self._layout.separator)
                if place < len(cells):
                    yield cells[place]

    def _read_samples(self, block: TextBlock) -> NDArray[np.float64]:
        """Return the samples (n, leads) of a block. Raises RecordError if it is not what it was."""
        frame = self._parse(block.start, block.stop, ())
        if len(frame) != block.rows:
            raise RecordError(f"{self._path.name} was changed while it was read")
        return self._samples_of(frame)

    def _samples_of(self, frame: Any) -> NDArray[np.float64]:
        return drop_impossible(np.column_stack([frame[place].to_numpy(np.float64) for place in self._leads]))

    def _edges(self) -> Iterator[tuple[int, int]]:
        """Yield the first byte of each block of whole rows, and the one behind it."""
        start = self._layout.start
        with _open_table(self._path) as file:
            size = self._whole_size(file)
            while start < size:
                file.seek(start + BLOCK_BYTES)
                rest = file.readline(LONGEST_ROW)
                if len(rest) == LONGEST_ROW:
                    raise RecordError(f"{self._path.name} is no table: it has rows of more than {LONGEST_ROW:,} bytes")
                stop = min(size, start + BLOCK_BYTES + len(rest))
                yield start, stop
                start = stop

    def _whole_size(self, file: BinaryIO) -> int:
        """Return the bytes of the file without a last row that ends before its leads: whoever wrote it was cut off."""
        size = file.seek(0, 2)
        file.seek(max(self._layout.start, size - LONGEST_ROW))
        last = file.read().rpartition(b"\n")[2]
        cells = split_cells(last.decode(self._layout.encoding, "replace"), self._layout.separator)
        return size - len(last) if len(cells) <= max(self._leads) else size

    def _parse(self, start: int, stop: int, clocks: Sequence[ClockColumn]) -> Any:
        """Return a data frame of the columns wanted; samples are numbers, NaN where a cell holds none."""
        import pandas

        with _open_table(self._path) as file:
            file.seek(start)
            data = strip_comments(file.read(stop - start))
        layout = self._layout
        numbers = [*self._leads, *(clock.place for clock in clocks if clock.kind == NUMBER)]
        places = sorted({*self._leads, *(clock.place for clock in clocks)})
        options: dict[str, Any] = {"sep": {" ": r"\s+", "": "\x1f"}.get(layout.separator, layout.separator)}
        texts = {clock.place: str for clock in clocks if clock.kind != NUMBER}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                frame = pandas.read_csv(
                    BytesIO(data),
                    header=None,
                    names=range(layout.columns),
                    index_col=False,
                    usecols=places,
                    dtype=texts,
                    decimal=layout.decimal,
                    quotechar=layout.quote,
                    encoding=layout.encoding,
                    skipinitialspace=True,
                    na_values=sorted(MISSING_WORDS),
                    low_memory=False,
                    **options,
                )
            if all(frame[place].dtype.kind in "iufb" for place in numbers):
                return frame
        except (ValueError, pandas.errors.ParserError, pandas.errors.ParserWarning, UnicodeDecodeError):
            pass
        return self._parse_by_line(start, data, places, numbers)

    def _parse_by_line(self, start: int, data: bytes, places: list[int], numbers: list[int]) -> Any:
        """The same for a block with rows of other lengths, or words among its numbers. Much slower."""
        import pandas

        layout = self._layout
        texts = [line for line in data.decode(layout.encoding, "replace").splitlines() if line.strip()]
        rows = [(split_cells(text, layout.separator) + [""] * layout.columns)[: layout.columns] for text in texts]
        kinds = [[cell_kind(row[place], layout.decimal) for place in self._leads] for row in rows]
        words = sum(NUMBER not in found for found in kinds)
        if words > MOST_WORDS_IN_ROWS * len(rows) and any(any(row[place] for place in self._leads) for row in rows):
            raise RecordError(f"{self._path.name} holds words where samples should be: it needs a number in each row")
        self._refuse_odd_numbers(start, [row[place] for row in rows for place in numbers], len(rows))
        columns = {place: [row[place] for row in rows] for place in places}
        for place in numbers:
            cells = [cell.replace(",", ".") if layout.decimal == "," else cell for cell in columns[place]]
            columns[place] = pandas.to_numeric(pandas.Series(cells, dtype=object), errors="coerce")
        return pandas.DataFrame(columns)

    def _refuse_odd_numbers(self, start: int, cells: Sequence[str], rows: int) -> None:
        """Raise RecordError where cells of numbers are written in a way that cannot be read."""
        odd = [cell for cell in cells if _DIGIT.search(cell) and cell_kind(cell, self._layout.decimal) != NUMBER]
        grouped = [cell for cell in odd if GROUPED.fullmatch(cell)]
        if grouped or len(odd) > max(LEAST_ODD, MOST_ODD * rows):
            cell = (grouped or odd)[0]
            hint = "without separators of thousands" if grouped else "as 1234.5"
            line = self._find_line(start, cell)
            raise RecordError(f"{self._path.name}, {line}{cell[:40]!r} is no number: write numbers {hint}")

    def _find_line(self, start: int, cell: str) -> str:
        """Return "line 7: " for the first line from byte `start` on that holds a cell, "" where that is not told."""
        with _open_table(self._path) as file:
            number = file.read(start).count(b"\n") + 1
            for line in file.read(BLOCK_BYTES).decode(self._layout.encoding, "replace").split("\n"):
                if cell in line.replace("\u2212", "-"):
                    return f"line {number}: "
                number += 1
        return ""


def strip_comments(data: bytes) -> bytes:
    """Return lines without those that are comments, and without comments behind the last cell; not "#1" in a cell."""
    if not any(mark.encode() in data for mark in COMMENTS):
        return data
    return _COMMENT_BEHIND.sub(b"", _COMMENT_LINE.sub(b"", data))


def read_stamps(cells: Any, clock: ClockColumn) -> NDArray[np.float64]:
    """Return the times (n,) of cells of a clock in seconds, or the samples of a counter; NaN where there is none."""
    import pandas

    if clock.kind == NUMBER:
        return cells.to_numpy(np.float64) * (clock.scale_s or 1.0)  # type: ignore[no-any-return]
    if clock.kind == CLOCK:
        texts = cells.str.replace(",", ".", regex=False).str.strip("[]'\" ").str.split(":", expand=True)
        parts = [pandas.to_numeric(texts[column], errors="coerce") for column in reversed(texts.columns)]
        seconds = [part.to_numpy(np.float64) * 60.0**i for i, part in enumerate(parts)]
        times: NDArray[np.float64] = np.column_stack(seconds).sum(axis=1)
        return times
    return stamp_times(cells, clock.day_first).to_numpy("datetime64[ns]").astype(np.int64) / 1e9  # type: ignore[no-any-return]


def stamp_times(cells: Any, day_first: bool | None) -> Any:
    """Return texts of dates with times as a series of times in UTC, those without a zone as if they were."""
    import pandas

    texts = cells.str.strip("[]'\" ").str.replace(",", ".", regex=False)
    mixed: dict[str, Any] = {"dayfirst": day_first is not False, "format": "mixed"}
    for options in ({"format": "ISO8601"}, mixed):
        try:
            return pandas.to_datetime(texts, utc=True, **options).dt.tz_localize(None)
        except (ValueError, OverflowError):
            continue
    return pandas.to_datetime(texts, utc=True, errors="coerce", **mixed).dt.tz_localize(None)


def _open_table(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
