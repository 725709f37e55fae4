"""A recorded bed by the minute, for its trend: summed by the database, since a day of a bed has 100,000 beats."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from agent.core.events import GapClosed
from agent.core.look_back import MINUTE_S, MinuteTotals
from agent.core.messages import ResumePosition
from agent.recording import database
from agent.recording.recorded_segments import SegmentTimes
from agent.recording.session_rows import SegmentRow, read_segment_rows
from agent.recording.sessions import RecordedSession
from model.records.resample import FS

MOST_SEGMENTS = 5000
"""Latest segments of a bed that are read."""
MOST_GAPS = 20_000
"""Gaps of a bed that are read."""
HIGHEST_RATE = 1000
"""Beats a minute: no recording has more."""
_Count = Annotated[int, Meta(ge=0, le=10**9)]
_Rate = Annotated[float, Meta(ge=0, le=HIGHEST_RATE)]
_QUERY = f"""WITH origin(segment, at_s) AS (VALUES %s)
    SELECT minute, count(rate), total(rate), min(rate), max(rate), total(label = 'V'), total(label = 'S') FROM (
        SELECT CAST((o.at_s + b.sample / {FS}.0) / {MINUTE_S} AS INTEGER) AS minute, b.label AS label,
               CASE WHEN b.heart_rate BETWEEN 1 AND {HIGHEST_RATE} THEN b.heart_rate END AS rate
        FROM beats b JOIN origin o ON o.segment = b.segment
        WHERE b.bed = ? AND typeof(b.sample) = 'integer' AND NOT (b.run = ? AND b.sample > ?))
    GROUP BY minute"""


@dataclass(frozen=True, slots=True)
class MinuteSpan:
    """Unix times between which minutes are read; what lies later, as of a record sent faster, counts to the last."""

    begin_s: float
    end_s: float


class _MinuteRow(msgspec.Struct, array_like=True, frozen=True):
    minute: int
    rates: _Count
    rate_sum: Annotated[float, Meta(ge=0, le=1e12)]
    lowest: _Rate | None
    highest: _Rate | None
    v_beats: Annotated[float, Meta(ge=0, le=1e9)]
    s_beats: Annotated[float, Meta(ge=0, le=1e9)]


def read_beat_minutes(
    folder: Path, bed: str, until: ResumePosition, span: MinuteSpan
) -> list[tuple[int, MinuteTotals]]:
    """Return the minutes of a bed since the Unix epoch, the earliest first, and what a recording has of each.

    Only what was recorded before a monitor went on at `until`. Raises RecordError if the recording is broken.
    """
    connection = database.open_to_read(folder)
    try:
        rows = read_segment_rows(connection, "WHERE bed = ? ORDER BY id DESC LIMIT ?", bed, MOST_SEGMENTS)
        segments = [row for row in reversed(rows) if _is_before(row, until, span)]
        totals: dict[int, MinuteTotals] = {}
        for minute, of_beats in _count_beats(connection, bed, until, segments):
            _add(totals, minute, of_beats, span)
        for row in segments:
            _add_seconds(totals, row.started_s, row.count / row.fs, span)
        for at_s, seconds in _read_gaps(folder, bed, segments):
            _add_seconds(totals, at_s, seconds, span, missing=True)
    except (sqlite3.Error, ValueError) as error:
        raise database.broken_database_error(folder, error) from error
    finally:
        database.close_database(connection, folder)
    return sorted(totals.items())


def _is_before(row: SegmentRow, until: ResumePosition, span: MinuteSpan) -> bool:
    """Return whether a segment was recorded in the span, before the monitor went on."""
    if row.run == until.run and row.first >= until.next:
        return False
    return span.begin_s < row.started_s + row.count / row.fs and row.started_s < span.end_s


def _count_beats(
    connection: sqlite3.Connection, bed: str, until: ResumePosition, segments: Sequence[SegmentRow]
) -> Iterator[tuple[int, MinuteTotals]]:
    if not segments:
        return
    origins = [value for row in segments for value in (row.id, row.started_s - row.first / row.fs)]
    query = _QUERY % ", ".join(["(?, ?)"] * len(segments))
    last = until.last_beat if until.last_beat is not None else -1
    found = connection.execute(query, (*origins, bed, until.run, last)).fetchall()
    for row in msgspec.convert(found, list[_MinuteRow]):
        yield (
            row.minute,
            MinuteTotals(row.rate_sum, row.rates, row.lowest or 0.0, row.highest or 0.0, row.v_beats, row.s_beats),
        )


def _read_gaps(folder: Path, bed: str, segments: Sequence[SegmentRow]) -> Iterator[tuple[float, float]]:
    """Yield Unix time and seconds of each gap."""
    times = SegmentTimes(segments)
    with RecordedSession(folder) as session:
        for count, (_, event) in enumerate(session.events(bed, kind="gap")):
            if count >= MOST_GAPS:
                return
            at_s = times.time_of(event.run, event.sample)
            if isinstance(event, GapClosed) and at_s is not None and event.seconds > 0:
                yield at_s, event.seconds


def _add_seconds(
    totals: dict[int, MinuteTotals], begin_s: float, seconds: float, span: MinuteSpan, missing: bool = False
) -> None:
    """Count seconds of signal in the minutes that they lie in; `missing` ones in place of signal."""
    end_s = begin_s + seconds
    begin_s = max(begin_s, span.begin_s)
    while begin_s < end_s:
        # All that lies after the span goes to its last minute at once
        until_s = end_s if begin_s >= span.end_s else min(end_s, (begin_s // MINUTE_S + 1) * MINUTE_S)
        part = until_s - begin_s
        added = MinuteTotals(signal_s=-part, missing_s=part) if missing else MinuteTotals(signal_s=part)
        _add(totals, int(begin_s // MINUTE_S), added, span)
        begin_s = until_s


def _add(totals: dict[int, MinuteTotals], minute: int, added: MinuteTotals, span: MinuteSpan) -> None:
    if (minute + 1) * MINUTE_S <= span.begin_s:
        return
    minute = min(minute, int(span.end_s // MINUTE_S))
    known = totals.get(minute, MinuteTotals())
    lowest = min(filter(None, (known.lowest, added.lowest)), default=0.0)
    highest = max(known.highest, added.highest)
    sums = (a + b for a, b in zip(known, added, strict=True))
    totals[minute] = MinuteTotals(*sums)._replace(lowest=lowest, highest=highest)
