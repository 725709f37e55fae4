"""Single things of a recording that a viewer looks back at: the latest alarms of a bed, one strip, beats of a stretch.

Each question opens the database to read, asks for a few rows and closes it again: it may be asked while it is written.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent.core.alarm_times import believed_start_s
from agent.core.events import AlarmsHandled
from agent.core.lead_units import RAW_UNITS
from agent.core.look_back import AlarmStrip, PastAlarm, SignalPiece
from agent.core.messages import Alarm, AlarmIdentity, Beat
from agent.recording import alarm_records, database
from agent.recording.alarm_records import AlarmRow, StripRow, alarm_from_row, unpack_strip_wave
from agent.recording.event_records import EventRow, event_from_row, event_query
from agent.recording.recorded_segments import SegmentTimes
from agent.recording.session_rows import FullBeatRow, read_segment_rows, segment_origin
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.text import make_printable

MOST_HANDLINGS = 500
"""Latest deeds of people that are read of a bed."""
SAME_DEED_S = 5.0
"""An acknowledgement and the event of who did it are at most this far apart."""
MOST_BEATS = 2000
"""Beats of a stretch that are read."""
_BEATS = """SELECT id, run, sample, decided, found, label, probabilities, rr_s, heart_rate FROM beats
    WHERE bed = ? AND run = ? AND sample >= ? AND sample < ? ORDER BY sample LIMIT ?"""
_ALARMS_SINCE = 2
_probabilities: msgspec.json.Decoder[tuple[float, ...]] = msgspec.json.Decoder(tuple[float, ...])


def read_past_alarms(folder: Path, bed: str, most: int) -> list[PastAlarm]:
    """Return the latest alarms of a bed, the newest first, with who acknowledged them. Raises RecordError."""
    with _open_database(folder) as (db, version):
        if version < _ALARMS_SINCE:
            return []
        times = SegmentTimes(read_segment_rows(db, "WHERE bed = ? ORDER BY id", bed))
        query = f"{alarm_records.ALARM_QUERY} WHERE a.bed = ? ORDER BY a.id DESC LIMIT ?"
        rows = msgspec.convert(db.execute(query, (bed, most)).fetchall(), list[AlarmRow])
        alarms = [_alarm(bed, row) for row in rows]
        deeds = _read_deeds(db, bed, version)
        return [place_past_alarm(alarm, times.time_of(alarm.run, alarm.onset), deeds) for alarm in alarms]


def place_past_alarm(alarm: Alarm, onset_s: float | None, deeds: list[tuple[float, str]]) -> PastAlarm:
    """Return an alarm with its times; `onset_s` as the clock of its run has it, `deeds`: when who acknowledged."""
    onset_s = believed_start_s(alarm, alarm.onset, onset_s)
    ended_s = None if alarm.ended is None else onset_s + (alarm.ended - alarm.onset) / FS
    by = None
    if alarm.acknowledged_s is not None:
        near = [(abs(at_s - alarm.acknowledged_s), who) for at_s, who in deeds]
        apart_s, who = min(near, default=(SAME_DEED_S + 1, ""))
        by = who if apart_s <= SAME_DEED_S else None
    return PastAlarm(alarm, onset_s, ended_s, by)


def read_alarm_strip(folder: Path, identity: AlarmIdentity) -> AlarmStrip | None:
    """Return an alarm and its strip with its beats; None if none was kept. Raises RecordError."""
    bed, run, condition, onset = identity
    with _open_database(folder) as (db, version):
        if version < _ALARMS_SINCE:
            return None
        query = f"{alarm_records.STRIP_QUERY} WHERE s.bed = ? AND s.run = ? AND s.condition = ? AND s.onset = ?"
        rows = msgspec.convert(db.execute(query, (bed, run, condition, onset)).fetchall(), list[StripRow])
        if not rows:
            return None
        wave = unpack_strip_wave(rows[0].wave)
        first, stop = rows[0].first, rows[0].first + len(wave)
        segments = read_segment_rows(db, "WHERE bed = ? AND run = ? ORDER BY id", bed, run)
        alarm, times = _alarm(bed, rows[0]), SegmentTimes(segments)
        past = place_past_alarm(alarm, times.time_of(run, onset), _read_deeds(db, bed, version))
        first_s = believed_start_s(alarm, first, times.time_of(run, first))
        lead, beats = make_printable(rows[0].lead), _read_beats(db, bed, run, first, stop)
        leads = segment_origin(segments[0]).leads if segments else ()
        uncalibrated = any(known.name == lead and known.unit in RAW_UNITS for known in leads)
        return AlarmStrip(past, SignalPiece(bed, run, lead, first, wave, beats, first_s, uncalibrated))


def read_beats_between(folder: Path, bed: str, run: str, first: int, stop: int) -> tuple[Beat, ...]:
    """Return the beats of a run whose R peaks lie from sample `first` to before `stop` (125 Hz). Raises RecordError."""
    with _open_database(folder) as (db, _):
        return _read_beats(db, bed, run, first, stop)


@contextlib.contextmanager
def _open_database(folder: Path) -> Iterator[tuple[sqlite3.Connection, int]]:
    """Open the database to read, with its version; turn what is wrong with it into RecordError."""
    db = database.open_to_read(folder)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        yield db, int(version)
    except (sqlite3.Error, ValueError, RecursionError) as error:
        raise database.broken_database_error(folder, error) from error
    finally:
        database.close_database(db, folder)


def _alarm(bed: str, row: AlarmRow) -> Alarm:
    return alarm_from_row(bed, row, make_printable(row.condition), make_printable(row.text))


def _read_deeds(db: sqlite3.Connection, bed: str, version: int) -> list[tuple[float, str]]:
    """Return when who acknowledged the alarms of a bed."""
    latest = "SELECT id FROM events WHERE bed = ? AND kind = 'alarm' ORDER BY id DESC LIMIT 1 OFFSET ?"
    before = db.execute(latest, (bed, MOST_HANDLINGS)).fetchone()
    values: tuple[Any, ...] = bed, before[0] if before else -1, MOST_HANDLINGS
    found = db.execute(event_query(version, "bed = ? AND kind = 'alarm'"), values).fetchall()
    rows = msgspec.convert(found, list[EventRow])
    events = ((row.at_s, event_from_row(row, version)) for row in rows)
    return [
        (at_s, event.by)
        for at_s, event in events
        if isinstance(event, AlarmsHandled) and event.action == "acknowledged"
    ]


def _read_beats(db: sqlite3.Connection, bed: str, run: str, first: int, stop: int) -> tuple[Beat, ...]:
    found = db.execute(_BEATS, (bed, run, first, stop, MOST_BEATS)).fetchall()
    return tuple(_beat(bed, row) for row in msgspec.convert(found, list[FullBeatRow]))


def _beat(bed: str, row: FullBeatRow) -> Beat:
    probabilities = _probabilities.decode(row.probabilities)
    if row.label not in CLASSES or len(probabilities) != len(CLASSES):
        raise ValueError(f"a beat of unknown class {row.label!r}")
    known = row.sample, row.decided, row.label, probabilities, row.rr_s
    return Beat(bed, *known, arrived_s=0.0, heart_rate=row.heart_rate, r_peak_known=row.found, run=row.run)
