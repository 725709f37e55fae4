"""Alarms and their strips in the database of a session: kept until they are written, and read back.

An alarm is one row, however often it changes, and holds its latest state. The first announcement and an acknowledgement
stay: a monitor that goes on after a kill does not know them. A strip is kept as microvolts in 16 bits.
"""

import sqlite3
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from agent.core.messages import Alarm, AlarmIdentity, FloatArray, Strip
from agent.recording.segment_files import StartTime
from agent.wire.packets import WireText
from model.records.resample import FS

MOST_PENDING = 1000
"""Alarms, and strips, kept while nothing can be written."""
LONGEST_STRIP = 60 * FS
"""Samples of a strip that are kept, a minute."""
MICROVOLTS = 1000
LOWEST, HIGHEST, NO_VALUE = -(2**15) + 1, 2**15 - 1, -(2**15)
"""Microvolts that a strip can hold, and the mark of a sample without a value."""

_KEY = "bed, run, condition, onset"
_COLUMNS = f"{_KEY}, priority, text, announced, announced_s, latching, ended, acknowledged_s"
_INSERT = f"INSERT INTO alarms({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT({_KEY}) DO"
_UPSERT = f"""{_INSERT} UPDATE SET
    priority = excluded.priority, text = excluded.text, announced = min(announced, excluded.announced),
    announced_s = min(announced_s, excluded.announced_s), latching = excluded.latching, ended = excluded.ended,
    acknowledged_s = coalesce(excluded.acknowledged_s, acknowledged_s)"""
_UPSERT_STRIP = f"""INSERT INTO strips({_KEY}, lead, first, wave) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT({_KEY}) DO
    UPDATE SET lead = excluded.lead, first = excluded.first, wave = excluded.wave
    WHERE length(excluded.wave) > length(wave)"""
_OF_ALARM = "a.run, a.condition, a.onset, a.priority, a.text, a.announced, a.announced_s, a.latching, a.ended"
ALARM_QUERY = f"SELECT a.id, {_OF_ALARM}, a.acknowledged_s FROM alarms a"
STRIP_QUERY = f"""SELECT s.id, {_OF_ALARM}, a.acknowledged_s, s.lead, s.first,
    CASE WHEN typeof(s.wave) = 'blob' AND length(s.wave) <= {2 * LONGEST_STRIP} THEN s.wave END
    FROM strips s JOIN alarms a USING (bed, run, condition, onset)"""
STRIP_PAGE = 50
"""Strips that are read at once."""
_PendingRow = tuple[object, ...]


class AlarmRow(msgspec.Struct, array_like=True, frozen=True):
    """A row of ALARM_QUERY."""

    id: int
    run: WireText
    condition: Annotated[str, Meta(max_length=64)]
    onset: int
    priority: Literal["high", "medium", "low"]
    text: str
    announced: int
    announced_s: StartTime
    latching: int
    ended: int | None
    acknowledged_s: StartTime | None


class StripRow(AlarmRow, array_like=True, frozen=True):
    """A row of STRIP_QUERY."""

    lead: WireText
    first: int
    wave: bytes


class PendingAlarms:
    """Alarms and strips that are to be written."""

    def __init__(self) -> None:
        self._alarms: dict[AlarmIdentity, _PendingRow] = {}
        self._of_strips: dict[AlarmIdentity, _PendingRow] = {}
        """The alarms of strips: an alarm may be lost while its strip is not."""
        self._strips: dict[AlarmIdentity, _PendingRow] = {}

    def __bool__(self) -> bool:
        return bool(self._alarms or self._strips)

    def take(self, item: Alarm | Strip) -> None:
        """Keep an alarm or a strip; if too many wait the oldest is lost."""
        alarm = item if isinstance(item, Alarm) else item.alarm
        key = alarm.identity
        if isinstance(item, Alarm):
            _keep_pending_row(self._alarms, key, _alarm_values(item))
        else:
            _keep_pending_row(self._of_strips, key, _alarm_values(alarm))
            _keep_pending_row(self._strips, key, (*key, item.lead, item.first, pack_strip_wave(item.wave)))

    def save(self, db: sqlite3.Connection) -> None:
        """Write all that waits, within a transaction of the caller. Raises sqlite3.Error."""
        db.executemany(_UPSERT, list(self._alarms.values()))
        db.executemany(f"{_INSERT} NOTHING", list(self._of_strips.values()))
        db.executemany(_UPSERT_STRIP, list(self._strips.values()))

    def clear(self) -> None:
        """Forget all that was written."""
        for kept in (self._alarms, self._of_strips, self._strips):
            kept.clear()


def delete_alarms_from(db: sqlite3.Connection, bed: str, run: str, end: int) -> None:
    """Delete the alarms of a run that began at sample `end` (125 Hz) or later. Raises sqlite3.Error."""
    for table in ("alarms", "strips"):
        db.execute(f"DELETE FROM {table} WHERE bed = ? AND run = ? AND onset >= ?", (bed, run, end))


def end_alarms(db: sqlite3.Connection, bed: str, run: str, end: int) -> None:
    """End the open alarms of a run that is over, at sample `end` (125 Hz), its last. Raises sqlite3.Error."""
    db.execute(
        "UPDATE alarms SET ended = max(announced, ?) WHERE bed = ? AND run = ? AND ended IS NULL", (end, bed, run)
    )


def alarm_from_row(bed: str, row: AlarmRow, condition: str, text: str) -> Alarm:
    """Return the alarm of a row; `condition` and `text` are those of the row, made printable."""
    return Alarm(
        bed=bed,
        run=row.run,
        condition=condition,  # type: ignore[arg-type]  # a later version may know more
        priority=row.priority,
        text=text,
        onset=row.onset,
        announced=row.announced,
        announced_s=row.announced_s,
        latching=bool(row.latching),
        ended=row.ended,
        acknowledged_s=row.acknowledged_s,
    )


def pack_strip_wave(wave: FloatArray) -> bytes:
    """Return a wave (n,) float32 mV, NaN where there is no value, as microvolts in 16 bits; LONGEST_STRIP at most."""
    part = np.asarray(wave[:LONGEST_STRIP], np.float64)
    counts = np.clip(np.rint(MICROVOLTS * part), LOWEST, HIGHEST)
    return np.where(np.isnan(counts), NO_VALUE, counts).astype("<i2").tobytes()


def unpack_strip_wave(content: bytes) -> FloatArray:
    """Return the wave (n,) float32 mV of a strip, NaN where there is no value. Raises ValueError."""
    counts = np.frombuffer(content, "<i2")
    wave = counts.astype(np.float32) / np.float32(MICROVOLTS)
    wave[counts == NO_VALUE] = np.nan
    return wave


def _alarm_values(alarm: Alarm) -> _PendingRow:
    times = alarm.announced, alarm.announced_s, int(alarm.latching), alarm.ended, alarm.acknowledged_s
    return (*alarm.identity, alarm.priority, alarm.text, *times)


def _keep_pending_row(kept: dict[AlarmIdentity, Any], key: AlarmIdentity, row: _PendingRow) -> None:
    kept[key] = row
    if len(kept) > MOST_PENDING:
        del kept[next(iter(kept))]
