"""A table of text opened as a record: CSV of any dialect, exports of devices, columns of numbers."""

import contextlib
from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import RecordError
from model.formats.date_order import find_date_order, is_date_unclear
from model.formats.file_options import SignalFileOptions, name_leads, widen_range
from model.formats.rate_choice import choose_places
from model.formats.stamp_clock import SamplePlaces, StampClock
from model.formats.temporary_folder import TemporaryFolder
from model.formats.text_blocks import TextBlock, TextRows, read_stamps, stamp_times
from model.formats.text_columns import ClockColumn, LeadColumn, read_columns
from model.formats.text_exports import StatedAbove, read_opensignals, read_stated_above
from model.formats.text_layout import CLOCK, HEAD_BYTES, NUMBER, STAMP, TextLayout, read_layout
from model.records.wfdb_records import LARGEST_LENGTH, Record, RecordSignal

REWRITTEN = ("utf-16-le", "utf-16-be")
"""Encodings whose rows cannot be told apart byte by byte: such a file is read from a copy in UTF-8."""


def open_text_record(path: Path, encoding: str, options: SignalFileOptions) -> Record:
    """Open a table of samples as a record.

    The rate is the one that a person states, or that of the lines above the table, or of its stamps. Samples that lack
    between two stamps have no value.

    Raises
    ------
    RecordError
        It is no table of samples, or it lacks what `options` do not say either.
    """
    source = _CopiedText(path, encoding) if encoding in REWRITTEN or _has_old_line_ends(path) else None
    readable, encoding = (source.path, "utf-8") if source else (path, encoding)
    layout = read_layout(path, _read_head(readable), encoding)
    clocks, leads = read_columns(path, layout)
    stated = read_stated_above(layout)
    if exported := read_opensignals(layout, leads):
        stated, leads = exported
        clocks = ()
    known = options.fs is not None or bool(stated.rates)
    clock = next(
        (clock for clock in clocks if known or clock.scale_s is not None or clock.kind in (CLOCK, STAMP)), None
    )
    if clock is None and not known:
        unknown = ", as its clock has no unit" if any(clock.step != 1 for clock in clocks) else ""
        raise RecordError(f"rate of {path.name} is not in the file{unknown}: say it, such as --fs 250")
    if clock is not None and clock.scale_s is None and clock.kind == NUMBER and clock.step != 1:
        fs = options.fs or (stated.rates[0] if len(stated.rates) == 1 else None)
        clock = replace(clock, scale_s=1 / (clock.step * fs)) if fs else None
    leads = _settle_units(path, leads, stated, options)
    rows = TextRows(readable, layout, leads)
    clock, dated = (_settle_dates(path, rows, layout, one) for one in (clock, _dated_clock(clocks)))
    scan = _TableScan(path, rows, clock, dated)
    places = choose_places(path, options, stated.rates, scan.stamps)
    length = int(places.place_rows(scan.rows - 1, 1)[0]) + 1
    if length > LARGEST_LENGTH:
        raise RecordError(f"{path.name} has stamps that make no sense: {length / places.fs:.3g} s lie between them")
    names = name_leads([lead.name for lead in leads])
    kept = [i for i in range(len(leads)) if scan.valued[i]] or list(range(len(leads)))
    signals = tuple(RecordSignal(names[i], leads[i].unit, *widen_range(scan.lowest[i], scan.highest[i])) for i in kept)
    reader = _TableReader(rows, scan.blocks, places, kept, source)
    start = stated.start or scan.start
    return Record(
        path.stem,
        path,
        places.fs,
        length,
        signals,
        (),
        notice="; ".join(filter(None, (places.notice, _date_notice(path, dated)))),
        start=start,
        reader=reader.read_samples,
    )


class _TableScan:
    """One pass over a table: its blocks, the range of each lead, and what its clock says."""

    def __init__(self, path: Path, rows: TextRows, clock: ClockColumn | None, dated: ClockColumn | None) -> None:
        self.blocks: list[TextBlock] = []
        self.rows = 0
        self.start: datetime | None = None
        counter = clock is not None and clock.scale_s is None and clock.kind not in (CLOCK, STAMP)
        self.stamps = StampClock(counter, clock is not None and clock.kind == CLOCK) if clock is not None else None
        wanted = [one for one in (clock, dated) if one is not None]
        origin: float | None = None
        for block, samples, cells in rows.scan(wanted):
            self.blocks.append(block)
            told = ~np.isnan(samples).all(axis=1)
            if len(self.blocks) == 1:
                self.lowest, self.highest = np.full(samples.shape[1], np.inf), np.full(samples.shape[1], -np.inf)
                self.start = _first_time(cells[-1], dated) if dated is not None else None
            with np.errstate(invalid="ignore"):  # of columns without a value
                self.lowest = np.fmin(self.lowest, np.fmin.reduce(samples, axis=0))
                self.highest = np.fmax(self.highest, np.fmax.reduce(samples, axis=0))
            if clock is not None and self.stamps is not None:
                first = cells[0]
                if first.dtype.kind == "i":  # nanoseconds since 1970 have more digits than a float
                    origin = int(first.iloc[0]) if origin is None else origin
                    first = first - int(origin)
                stamps = read_stamps(first, clock)
                if origin is None:
                    origin = float(stamps[~np.isnan(stamps)][0]) if (~np.isnan(stamps)).any() else 0.0
                told |= ~np.isnan(stamps)
                self.stamps.push(stamps if cells[0].dtype.kind == "i" else stamps - origin)
            if clock is None:
                self.rows = block.first + block.rows
            elif told.any():  # words behind the last sample are none
                self.rows = block.first + int(np.flatnonzero(told)[-1]) + 1
        if not self.blocks:
            raise RecordError(f"{path.name} has no rows of samples")
        self.valued = np.isfinite(self.lowest)
        if not self.valued.any():
            raise RecordError(f"{path.name} has no values in its columns of samples")


class _TableReader:
    """Reads samples of a table by their place in the record."""

    def __init__(
        self,
        rows: TextRows,
        blocks: list[TextBlock],
        places: SamplePlaces,
        kept: list[int],
        source: "_CopiedText | None",
    ) -> None:
        self._rows, self._blocks, self._places, self._kept = rows, blocks, places, kept
        self._firsts = [block.first for block in blocks]
        self._source = source  # the copy lasts as long as its reader

    def read_samples(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples `start` to `stop`: (n, leads), NaN where the table has none."""
        values = np.full((stop - start, len(self._kept)), np.nan)
        at = max(0, bisect_right(self._firsts, self._places.find_row(start)) - 1)
        for block in self._blocks[at:]:
            places = self._places.place_rows(block.first, block.rows)
            if places[0] >= stop:
                break
            inside = (places >= start) & (places < stop)
            if inside.any():
                values[places[inside] - start] = self._rows.read_samples(block)[inside][:, self._kept]
        return values


class _CopiedText:
    """A copy of a text in UTF-8 with usual line ends, gone with this object."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._folder = TemporaryFolder()
        self.path = self._folder.path / path.name
        with path.open(encoding=encoding, errors="replace") as original, self.path.open("w", encoding="utf-8") as copy:
            for part in iter(lambda: original.read(HEAD_BYTES), ""):
                copy.write(part)


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _has_old_line_ends(path: Path) -> bool:
    """Whether the lines of a text end in carriage returns alone."""
    head = _read_head(path)
    return b"\r" in head and b"\n" not in head


def _dated_clock(clocks: tuple[ClockColumn, ...]) -> ClockColumn | None:
    """Return the clock that knows the date, texts before numbers."""
    dated = chain((clock for clock in clocks if clock.kind == STAMP), (clock for clock in clocks if clock.epoch))
    return next(dated, None)


def _settle_dates(path: Path, rows: TextRows, layout: TextLayout, clock: ClockColumn | None) -> ClockColumn | None:
    """Return a clock with the order of day and month in its dates."""
    if clock is None or clock.kind != STAMP:
        return clock
    if not any(is_date_unclear(row[clock.place]) for row in layout.rows if clock.place < len(row)):
        return clock
    return replace(clock, day_first=find_date_order(path, rows.edge_cells(clock.place)))


def _date_notice(path: Path, clock: ClockColumn | None) -> str:
    if clock is None or clock.day_first is not None:
        return ""
    return f"the dates of {path.name} do not say what is the day, so that its results have no date: write 2024-12-31"


def _first_time(cells: Any, clock: ClockColumn) -> datetime | None:
    """Return the time of the first cell of a clock with dates: in UTC if it counts from 1970, else as it is written."""
    import pandas

    if clock.epoch:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(float(cells.iloc[0]) * (clock.scale_s or 1.0), UTC)
        return None
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(str(cells.iloc[0]))  # with its zone, if it has one
    first = stamp_times(cells.iloc[:1], clock.day_first).iloc[0]
    return None if clock.day_first is None or pandas.isna(first) else datetime.fromisoformat(first.isoformat()[:26])


def _settle_units(
    path: Path, leads: tuple[LeadColumn, ...], stated: StatedAbove, options: SignalFileOptions
) -> tuple[LeadColumn, ...]:
    """Return leads with the unit of each, and the name of a single one that stands above the table."""
    if len(leads) == 1 and stated.lead:
        leads = (replace(leads[0], name=stated.lead),)
    named = [lead.name if lead.name and len(leads) > 1 else "" for lead in leads]
    return tuple(
        replace(lead, unit=options.choose_unit(path, lead.unit or stated.unit, name))
        for lead, name in zip(leads, named, strict=True)
    )
