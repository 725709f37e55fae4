"""What the rows of a source are: which of their numbers are leads, under which names, in which unit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.bridge.row_parser import RowParser, SampleRow
from agent.bridge.sensor_source import FULL_RAIL, SourceLayout, source_lead
from agent.bridge.source_options import UNCALIBRATED, CountSize, SourceOptions
from agent.core.messages import quantise_to_counts
from agent.wire.packets import LARGEST_NAME_BYTES, MOST_LEADS
from agent.wire.record_chunks import number_repeated_name
from model.errors import SourceError
from model.text import make_printable


@dataclass(frozen=True, slots=True)
class RowLayout:
    """`columns` (0 is the first) of rows of `width` numbers, whose 1 is `steps` counts, as `source` describes them.

    `whole`: the numbers were whole until now.
    """

    source: SourceLayout
    columns: tuple[int, ...]
    width: int
    steps: float
    whole: bool

    def quantise(self, rows: Sequence[tuple[float, ...]]) -> NDArray[np.int32]:
        """Return rows as counts (n, leads), MISSING in those of another width."""
        if all(len(row) == self.width for row in rows):
            values = np.array(rows, np.float64).reshape(-1, self.width)
            if len(self.columns) < self.width or self.columns != tuple(range(self.width)):
                values = values[:, self.columns]
        else:
            values = np.full((len(rows), len(self.columns)), np.nan)
            for i, row in enumerate(rows):
                if len(row) == self.width:
                    values[i] = [row[column] for column in self.columns]
        counts = np.rint(values * self.steps)
        if np.abs(counts).max(initial=0) < FULL_RAIL:  # neither NaN nor too large: most are
            return counts.astype(np.int32)
        return quantise_to_counts(values, np.array(self.steps))


def describe_rows(
    name: str, rows: Sequence[SampleRow], fs: float, parser: RowParser, options: SourceOptions
) -> RowLayout:
    """Return the layout of the rows that a source `name` has sent. Raises SourceError for columns that cannot be."""
    widths = Counter(len(row) for row in rows if not isinstance(row, int) and any(value == value for value in row))
    least = max(options.columns, default=1)
    width = widths.most_common(1)[0][0] if widths else least
    if least > width:
        raise SourceError(f"{name} sends {width} numbers a line: there is no column {least} (--columns)")
    columns = tuple(column - 1 for column in options.columns) or tuple(range(width))
    if len(columns) > MOST_LEADS:
        raise SourceError(
            f"{name} sends {width} numbers a line: choose up to {MOST_LEADS} leads of them, such as --columns 1,2"
        )
    unit = options.unit or CountSize(UNCALIBRATED)
    whole = not parser.decimals
    largest = max(
        (abs(value) for row in rows if not isinstance(row, int) for value in row if value == value), default=0
    )
    names: list[str] = []
    for at, column in enumerate(columns):
        given = options.names[at : at + 1] or parser.names[column : column + 1]
        chosen = make_printable(given[0], LARGEST_NAME_BYTES - 4) if given else ""
        names.append(number_repeated_name(chosen or ("ECG" if len(columns) == 1 else f"ECG{at + 1}"), names))
    leads = tuple(source_lead(lead, unit.unit, unit.gain(whole, largest)) for lead in names)
    return RowLayout(SourceLayout(fs, leads), columns, width, unit.steps(whole, largest), whole)
