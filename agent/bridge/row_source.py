"""A source of rows of numbers: lines or frames, from whatever brings bytes. The rate is told, or measured and said."""

import time
from collections.abc import Callable, Sequence

from agent.bridge.arrival_gaps import ArrivalGaps
from agent.bridge.rate_meter import RateMeter
from agent.bridge.row_layout import RowLayout, describe_rows
from agent.bridge.row_parser import ByteTransport, RowParser, SampleRow
from agent.bridge.sensor_source import NOTHING_YET, SourceLayout, SourceReading
from agent.bridge.source_options import SourceOptions
from model.errors import SourceError
from model.records.resample import LEAST_RESAMPLING_FS

LAYOUT_ROWS = 10
"""Rows by which columns and unit are recognised."""
OTHER_ROWS = 50
"""Rows of another width in a row after which these are what the source sends now."""
LEAST_LINES, LEAST_BYTES = 100, 8192
"""What a source may send before its numbers: some devices print a page when they start."""
MOST_SKIPPED_SHARE = 0.9
WHOLE_RATE_TOLERANCE = 0.001
"""A measured rate this close to a whole number of hertz is taken for it: a crystal is better than the measurement."""
AHEAD_S = 2.0
"""A file that comes as a stream is read this far ahead of the clock and no further."""
PACED_S = 0.1
"""Seconds of it that are returned at a time."""


class RowSource:
    """Rows of numbers as samples; `paced`: the input may be a file, which comes faster than life."""

    def __init__(
        self,
        transport: ByteTransport,
        parser: RowParser,
        options: SourceOptions,
        paced: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = transport.name
        self._transport, self._parser, self._options, self._paced, self._now = transport, parser, options, paced, now
        self._meter = RateMeter()
        self._gaps = ArrivalGaps()
        self._fs = options.fs
        self._layout: RowLayout | None = None
        self._announced = False
        self._rows: list[SampleRow] = []
        """Rows whose layout is not known yet, that follow on the layout just returned, or on a silence."""
        self._other_rows = 0
        self._lost = self._sent = 0
        self._began_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the input has ended and all of it was returned."""
        return self._transport.is_over and not self._rows

    def open(self) -> None:
        """Open the transport. Raises SourceError."""
        self._transport.open()
        self.name = self._transport.name
        self._parser.restart()
        self._gaps.restart()
        self._announced = False
        if self._fs is None:
            self._restart_measuring()

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        """Return what comes next, as `SensorSource` says; the layout once the rate is known."""
        if (ahead_s := self._ahead_s()) > 0:
            self._gaps.restart()
            time.sleep(min(timeout_s, ahead_s))
            return None
        if self._announced and self._rows and not self._gaps.is_settling(self._now()):
            return self._take_rows()
        arrived = self._read_rows(timeout_s)
        now_s = self._now()
        if arrived and self._gaps.note(now_s) and self._fs is None:
            self._restart_measuring()  # a microcontroller that starts anew when it is opened, after a few lines
        self._rows += arrived
        if self._fs is None and not self._measure_rate(arrived, now_s):
            return NOTHING_YET if arrived else None
        if not self._rows or (self._gaps.is_settling(now_s) and not self._transport.is_over):
            return None
        if self._announced:
            return self._take_rows()
        return self._announce()

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def remark(self) -> str:
        """Say that the rate is being measured, how many lines were no numbers, and what the transport says."""
        measuring = f"measuring its rate for {self._options.measure_s:g} s (--fs says it)" if self._fs is None else ""
        skipped = f"{self._parser.skipped} lines skipped" if self._parser.skipped else ""
        return ", ".join(text for text in (measuring, skipped, self._transport.remark()) if text)

    def _ahead_s(self) -> float:
        """Return for how many seconds more was read than can have happened by now, 0 or less if it was not."""
        if not self._paced or self._layout is None:
            return 0.0
        return self._sent / self._layout.source.fs - (self._now() - self._began_s + AHEAD_S)

    def _read_rows(self, timeout_s: float) -> list[SampleRow]:
        data = self._transport.read(timeout_s)
        if not data and not self._transport.is_over:
            self._sent, self._began_s = 0, self._now()  # it came no faster than life: no file
            return []
        rows = self._parser.feed(data)
        if self._transport.is_over:
            rows += self._parser.flush()
            if not (rows or self._rows or self._parser.taken):
                raise SourceError(f"{self.name} ended without a line of numbers: check what is sent")
        taken, skipped = self._parser.taken, self._parser.skipped
        is_text = taken + skipped >= LEAST_LINES and skipped > MOST_SKIPPED_SHARE * (taken + skipped)
        if is_text or (not taken and self._parser.received > LEAST_BYTES):
            hint = ", and its --baud" if self.name.startswith("serial") else ""
            raise SourceError(f"{self.name} sends text or other data, not rows of numbers: check what it sends{hint}")
        return rows

    def _restart_measuring(self) -> None:
        self._meter.reset()
        self._rows.clear()

    def _measure_rate(self, arrived: list[SampleRow], now_s: float) -> bool:
        """Measure the rate of rows that arrive; return whether it is known now."""
        if arrived:
            self._meter.add(_count_samples(arrived), now_s)
        if self._transport.is_over and self._rows:
            raise SourceError(f"{self.name} ended before its rate could be measured: say it, such as --fs 250")
        measured = self._meter.fs
        if self._meter.span_s < self._options.measure_s or measured is None:
            return False
        if measured < LEAST_RESAMPLING_FS:
            raise SourceError(
                f"{self.name} sends {measured:.1f} samples a second, too few for an ECG: 100 or more are needed"
            )
        whole = round(measured)
        self._fs = float(whole) if abs(measured - whole) <= WHOLE_RATE_TOLERANCE * whole else round(measured, 1)
        return True

    def _announce(self) -> SourceLayout | SourceReading:
        """Return the layout, once a few rows have come."""
        assert self._fs is not None
        if self._layout is None:
            if len(self._rows) < LAYOUT_ROWS and not self._transport.is_over:
                return NOTHING_YET
            self._layout = describe_rows(self.name, self._rows, self._fs, self._parser, self._options)
            self._began_s, self._sent = self._now(), 0
        self._announced = True
        self._other_rows = 0
        return self._layout.source

    def _take_rows(self) -> SourceLayout | SourceReading:
        """Return what waits up to the next loss, little at a time where it is paced."""
        assert self._layout is not None
        if self._layout.whole and self._parser.decimals and self._layout.steps == 1:
            return self._change_layout()
        fs = self._layout.source.fs
        self._lost += self._gaps.count_missing(_count_samples(self._rows), fs)
        lost, self._lost = self._lost, 0
        rows: list[tuple[float, ...]] = []
        taken = 0
        for row in self._rows[: max(1, round(PACED_S * fs)) if self._paced else None]:
            if isinstance(row, int):
                if rows:
                    break
                lost += row
            else:
                rows.append(row)
            taken += 1
        self._rows = self._rows[taken:]
        if not rows:
            self._lost = lost
            return NOTHING_YET
        counts = self._layout.quantise(rows)
        self._sent += len(rows)
        if all(len(row) != self._layout.width for row in rows):
            self._other_rows += len(rows)
            if self._other_rows >= OTHER_ROWS:
                self._rows = [*rows, *self._rows]
                return self._change_layout()
        else:
            self._other_rows = 0
        return SourceReading(counts, lost)

    def _change_layout(self) -> SourceLayout | SourceReading:
        """Describe the rows that wait anew: the source sends something else now."""
        self._layout = None
        return self._announce()


def _count_samples(rows: Sequence[SampleRow]) -> int:
    """Return the samples of rows, with those that were lost between them."""
    return sum(row if isinstance(row, int) else 1 for row in rows)
