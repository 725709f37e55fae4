"""Numbers from lines of text, as microcontrollers print them.

A line is a number for each lead, with commas, semicolons, tabs or spaces between them ("512", "512,498"), may name
them ("ecg:512 lead2:498", as the plotter of Arduino wants it), or is a JSON array or object of numbers. "!" is a lead
that is off (as SparkFun's sketch for the AD8232 prints it), and so is "nan". Other lines are skipped and counted.
"""

import json
import re
from math import inf, isfinite, nan

LONGEST_LINE_BYTES = 4096
"""What is longer without an end of line is no line of numbers."""
LEAD_OFF = "!"
_SEPARATORS = re.compile(r"[,;\s]+")


class LineParser:
    """Cuts bytes into lines and these into numbers.

    `names`: the names in the latest line that had some. `skipped`: lines that were no numbers; `taken`: the others.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._first = True
        self._width = 0
        self.names: tuple[str, ...] = ()
        self.skipped = self.taken = 0

    def restart(self) -> None:
        """Forget the beginning of a line: what follows is another connection."""
        self._rest = b""
        self._first = True

    def feed(self, data: bytes) -> list[tuple[float, ...]]:
        """Return the numbers of each line that the data completes, NaN for a lead that is off."""
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES:
            self._rest = b""
            self.skipped += 1
        rows = []
        for line in lines:
            if not line.strip():
                continue
            # Whoever connects comes in the middle of a line: half a number would be a wrong one
            row = None if self._first else self._parse_line(line)
            if row is not None:
                self.taken += 1
                rows.append(row)
            elif not self._first:
                self.skipped += 1
            self._first = False
        return rows

    def flush(self) -> list[tuple[float, ...]]:
        """Return the last line where the input ended without an end of line."""
        return self.feed(b"\n") if self._rest.strip() else []

    def whole_from_start(self) -> None:
        """Take the first line too: the input is read from its beginning."""
        self._first = False

    def _parse_line(self, line: bytes) -> tuple[float, ...] | None:
        text = line.decode("ascii", "replace").strip()
        if text == LEAD_OFF:
            return (nan,) * self._width if self._width else None
        if text[0] in "{[":
            row = self._parse_json(text)
        else:
            parts = [part for part in _SEPARATORS.split(text) if part]
            named = [part.rpartition(":") for part in parts]
            if all(colon for _, colon, _ in named):
                self.names = tuple(name for name, _, _ in named)
            row = tuple(_parse_number(value) for _, _, value in named)
        if row is None or not row or inf in row:
            return None
        self._width = len(row)
        return row

    def _parse_json(self, text: str) -> tuple[float, ...] | None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if isinstance(value, dict):
            self.names = tuple(str(name) for name in value)
            value = list(value.values())
        if not isinstance(value, list):
            return None
        return tuple(nan if item is None else float(item) if _is_number(item) else inf for item in value)


def _is_number(item: object) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool) and (item != item or isfinite(item))


def _parse_number(text: str) -> float:
    """Return a number, NaN for a lead that is off, and infinity for what is none."""
    if text == LEAD_OFF:
        return nan
    try:
        value = float(text)
    except ValueError:
        return inf
    return value if isfinite(value) or value != value else inf
