"""Numbers from lines of text, as microcontrollers print them.

A line is a number for each lead, with commas, semicolons, tabs or spaces between them ("512", "512,498"), may name
them ("ecg:512 lead2:498", as the plotter of Arduino wants it), or is JSON (`json_rows`). "!" is a lead that is off (as
SparkFun's sketch for the AD8232 prints it), and so is "nan", or nothing between two commas. Other lines are skipped and
counted.
"""

import re
from math import inf, isfinite, nan

from agent.bridge.json_rows import parse_json_rows
from agent.bridge.row_parser import SampleRow

LONGEST_LINE_BYTES = 65_536
"""What is longer without an end of line is no line of numbers."""
LEAD_OFF = "!"
MOST_LATE_ROWS = 1000
"""Rows that come this much too late by their numbers are dropped; earlier ones are those of a sender that restarted."""
LATE_MESSAGES = 20
"""And so are as many late messages in a row."""
MOST_LOST_ROWS = 2**31
_SEPARATORS = re.compile(r"\s*[,;]\s*|\s+")
_LABEL = re.compile(r":\s+")


class LineParser:
    """Cuts bytes into lines and these into rows. `whole`: the input begins with a whole line.

    `names`: the names in the latest line that had some. `skipped`: lines that were no numbers; `taken`: the others;
    `received`: bytes. `decimals`: whether a number had a decimal point.
    """

    def __init__(self, whole: bool = False) -> None:
        self._whole = whole
        self._rest = b""
        self._first = not whole
        self._width = 1
        self._sequence: int | None = None
        self._late = 0
        self.names: tuple[str, ...] = ()
        self.skipped = self.taken = self.received = 0
        self.decimals = False

    def restart(self) -> None:
        """Forget the beginning of a line: what follows is another connection."""
        self._rest = b""
        self._first = not self._whole

    def feed(self, data: bytes) -> list[SampleRow]:
        """Return the rows that the data completes."""
        self.received += len(data)
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES:
            self._rest = b""
            self._first = True
            self.skipped += 1
        rows: list[SampleRow] = []
        for line in lines:
            if not (line := line.strip()):
                continue
            if self._first:  # whoever connects comes in the middle of a line: half a number would be a wrong one
                self._first = False
                continue
            found = self._parse_numbers(line) or self._parse_line(line)
            self.taken += bool(found)
            self.skipped += not found
            rows += found
        return rows

    def flush(self) -> list[SampleRow]:
        """Return the last row where the input ended without an end of line."""
        return self.feed(b"\n") if self._rest.strip() else []

    def _parse_numbers(self, line: bytes) -> list[SampleRow]:
        """Return the row of a line of nothing but numbers, which most are; an empty list for another."""
        if b",," in line or b"_" in line or line.startswith(b","):
            return []
        try:
            row = tuple(map(float, line.replace(b",", b" ").split()))
        except ValueError:
            return []
        if not row or not all(map(isfinite, row)):
            return []
        self._width = len(row)
        self.decimals = self.decimals or b"." in line or b"e" in line.lower()
        return [row]

    def _parse_line(self, line: bytes) -> list[SampleRow]:
        text = line.decode("ascii", "replace").strip()
        if not text:
            return []
        if text == LEAD_OFF:
            return [(nan,) * self._width]
        if text[0] in "{[":
            return self._parse_json(text)
        parts = _SEPARATORS.split(_LABEL.sub(":", text))
        named = [part.rpartition(":") for part in (parts if parts[-1] else parts[:-1])]
        row = tuple(_parse_number(value) for _, _, value in named)
        if inf in row or not any(value for _, _, value in named):
            return []
        if all(colon for _, colon, _ in named):
            self.names = tuple(name for name, _, _ in named)
        self._width = len(row)
        self.decimals = self.decimals or "." in text
        return [row]

    def _parse_json(self, text: str) -> list[SampleRow]:
        found = parse_json_rows(text)
        if found is None or not found.rows:
            return []
        self.names = found.names or self.names
        self._width = len(found.rows[-1])
        self.decimals = self.decimals or "." in text
        lost = 0
        if found.sequence is not None:
            lost = 0 if self._sequence is None else found.sequence - self._sequence
            if -MOST_LATE_ROWS <= lost < 0 and self._late < LATE_MESSAGES:
                self._late += 1
                return []
            self._late = 0
            self._sequence = found.sequence + len(found.rows)
        return [lost, *found.rows] if 0 < lost <= MOST_LOST_ROWS else [*found.rows]


def _parse_number(text: str) -> float:
    """Return a number, NaN for a lead that is off, and infinity for what is none."""
    if text in (LEAD_OFF, ""):
        return nan
    try:
        value = inf if "_" in text else float(text)
    except ValueError:
        return inf
    return value if isfinite(value) or value != value else inf
