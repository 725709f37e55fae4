"""A source of lines of numbers: standard input, a serial port, datagrams. The rate is told, or measured and said."""

import time
from collections.abc import Callable
from math import isnan
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.bridge.line_parser import LineParser
from agent.bridge.rate_meter import RateMeter
from agent.bridge.sensor_source import SourceLayout, SourceReading, source_lead
from agent.bridge.source_options import UNCALIBRATED, CountSize, SourceOptions
from agent.core.messages import quantise_to_counts
from agent.wire.packets import LARGEST_NAME_BYTES, MOST_LEADS
from agent.wire.record_chunks import number_repeated_name
from model.errors import SourceError
from model.records.resample import LEAST_RESAMPLING_FS
from model.text import make_printable

LEAST_LINES = 50
"""Lines from which a source that sends no numbers is recognised."""
MOST_SKIPPED_SHARE = 0.9
WHOLE_RATE_TOLERANCE = 0.002
"""A measured rate this close to a whole number of hertz is taken for it: a crystal is better than the measurement."""
AHEAD_S = 2.0
"""Input that comes faster than its rate is read this far ahead of the clock and no further: a file is no sensor."""


class ByteTransport(Protocol):
    """Where the bytes of lines come from."""

    name: str
    is_over: bool

    def open(self) -> None:
        """Open it. Raises SourceError."""
        ...

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, waiting up to `timeout_s` for it. Raises LostSourceError where it is gone."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class LineSource:
    """Lines of numbers as samples; `whole`: the input begins with a whole line."""

    def __init__(
        self,
        transport: ByteTransport,
        options: SourceOptions,
        whole: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = transport.name
        self._transport, self._options, self._whole, self._now = transport, options, whole, now
        self._parser = LineParser()
        self._meter = RateMeter()
        self._fs = options.fs
        self._layout: SourceLayout | None = None
        self._announced = False
        self._steps = 1.0
        self._waiting: list[tuple[float, ...]] = []
        """Rows whose rate is not known yet, or that follow on the layout that was just returned."""
        self._sent = 0
        self._began_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the input has ended and all of it was returned."""
        return self._transport.is_over and not self._waiting

    def open(self) -> None:
        """Open the transport. Raises SourceError."""
        self._transport.open()
        self._parser.restart()
        if self._whole:
            self._parser.whole_from_start()
        self._announced = False
        if self._fs is None:
            self._meter.reset()
            self._waiting.clear()

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        """Return what comes next, as `SensorSource` says; the layout once the rate is known."""
        if self._announced and self._waiting:
            return self._take_waiting()
        if self._is_ahead():
            time.sleep(min(timeout_s, 0.05))
            return None
        rows = self._read_rows(timeout_s)
        self._waiting += rows
        if self._fs is None and not self._measure_rate(len(rows)):
            return None
        if not self._waiting:
            return None
        if not self._announced:
            self._announced = True
            self._layout = self._layout or self._describe_rows()
            self._began_s = self._began_s or self._now()
            return self._layout
        return self._take_waiting()

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def remark(self) -> str:
        """Say how many lines were no numbers."""
        return f"{self._parser.skipped} lines skipped" if self._parser.skipped else ""

    def _is_ahead(self) -> bool:
        """Whether more was read than can have happened by now."""
        if self._layout is None or not self._whole:
            return False
        return self._sent > (self._now() - self._began_s + AHEAD_S) * self._layout.fs

    def _read_rows(self, timeout_s: float) -> list[tuple[float, ...]]:
        rows = self._parser.feed(self._transport.read(timeout_s))
        if self._transport.is_over:
            rows += self._parser.flush()
        lines = self._parser.skipped + self._parser.taken
        if lines >= LEAST_LINES and self._parser.skipped > MOST_SKIPPED_SHARE * lines:
            raise SourceError(f"{self.name} sends text, not lines of numbers: check what it sends, and its --baud")
        return rows

    def _measure_rate(self, arrived: int) -> bool:
        """Measure the rate of rows that arrive; return whether it is known now."""
        if arrived:
            self._meter.add(arrived, self._now())
        if self._transport.is_over and self._waiting:
            raise SourceError(f"{self.name} ended before its rate could be measured: say it, such as --fs 250")
        if self._meter.span_s < self._options.measure_s or self._meter.fs is None:
            return False
        measured = self._meter.fs
        if measured < LEAST_RESAMPLING_FS:
            raise SourceError(
                f"{self.name} sends {measured:.1f} lines a second, too few for an ECG: 100 or more are needed"
            )
        whole = round(measured)
        self._fs = float(whole) if abs(measured - whole) <= WHOLE_RATE_TOLERANCE * whole else round(measured, 1)
        return True

    def _describe_rows(self) -> SourceLayout:
        """Return the layout of the rows that wait."""
        width = len(self._waiting[-1])
        columns = self._options.columns or tuple(range(1, width + 1))
        if max(columns) > width:
            raise SourceError(
                f"{self.name} sends {width} numbers a line: there is no column {max(columns)} (--columns)"
            )
        if len(columns) > MOST_LEADS:
            raise SourceError(f"{self.name} sends {width} numbers a line: choose up to {MOST_LEADS} (--columns 1,2)")
        unit = self._options.unit or CountSize(UNCALIBRATED)
        whole = all(value.is_integer() or isnan(value) for row in self._waiting for value in row)
        self._steps = unit.steps(whole)
        names: list[str] = []
        for at, column in enumerate(columns):
            names.append(number_repeated_name(self._lead_name(at, column, len(columns)), names))
        leads = tuple(source_lead(name, unit.unit, unit.gain(whole)) for name in names)
        assert self._fs is not None
        return SourceLayout(self._fs, leads)

    def _lead_name(self, at: int, column: int, count: int) -> str:
        given = self._options.names
        sent = self._parser.names
        name = given[at] if at < len(given) else sent[column - 1] if column <= len(sent) else ""
        return make_printable(name, LARGEST_NAME_BYTES - 4) or ("ECG" if count == 1 else f"ECG{at + 1}")

    def _take_waiting(self) -> SourceReading:
        """Return what waits as counts; a row with other columns than the layout has no value."""
        assert self._layout is not None
        columns = [column - 1 for column in self._options.columns] or list(range(len(self._layout.leads)))
        rows = self._waiting[: max(1, round(self._layout.fs))] if self._whole else self._waiting
        self._waiting = self._waiting[len(rows) :]
        values: NDArray[np.float64] = np.full((len(rows), len(columns)), np.nan)
        for i, row in enumerate(rows):
            if len(row) > max(columns) and (self._options.columns or len(row) == len(columns)):
                values[i] = [row[column] for column in columns]
        self._sent += len(rows)
        return SourceReading(quantise_to_counts(values, np.full(len(columns), self._steps)))
