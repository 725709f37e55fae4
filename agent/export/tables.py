"""The beats and the alarms of a recording as tables."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

from agent.core.events import NotificationFailed, NotificationSent
from agent.core.messages import AlarmIdentity
from agent.core.sample_index import nearest_device_index
from agent.outputs.result_tables import (
    ALARM_COLUMNS,
    BEAT_COLUMNS,
    TableRow,
    alarm_table_row,
    beat_table_row,
    write_table,
)
from agent.recording.recorded_segments import RecordedSegment, SegmentTimes
from agent.recording.sessions import RecordedSession

TableName = Literal["beats", "alarms"]


def write_result_table(
    session: RecordedSession,
    beds: Sequence[str],
    only: RecordedSegment | None,
    table: TableName,
    file: BinaryIO,
    ending: str,
) -> None:
    """Write the beats or the alarms of some beds, bed by bed; with `only`, those of one segment.

    Raises RecordError if the recording cannot be read, ConfigError if Parquet is not installed.
    """
    rows = (
        row for bed in beds for row in (_beat_table_rows if table == "beats" else _alarm_table_rows)(session, bed, only)
    )
    write_table(BEAT_COLUMNS if table == "beats" else ALARM_COLUMNS, rows, file, ending)


def read_notified_alarms(session: RecordedSession, bed: str) -> dict[AlarmIdentity, str]:
    """Return which alarms of a bed were told to somebody ("sent"), and which never could be ("failed")."""
    notified: dict[AlarmIdentity, str] = {}
    for _, event in session.events(bed, kind="notify"):
        if isinstance(event, NotificationSent | NotificationFailed) and not event.is_over:
            identity: AlarmIdentity = bed, event.run, event.condition, event.sample  # type: ignore[assignment]
            if isinstance(event, NotificationSent) or identity not in notified:
                notified[identity] = "sent" if isinstance(event, NotificationSent) else "failed"
    return notified


def _beat_table_rows(session: RecordedSession, bed: str, only: RecordedSegment | None) -> Iterator[TableRow]:
    times = SegmentTimes(session.segments(bed))
    for beat in session.beats(bed, only):
        yield beat_table_row(beat, times.time_of(beat.run, beat.sample))


def _alarm_table_rows(session: RecordedSession, bed: str, only: RecordedSegment | None) -> Iterator[TableRow]:
    times, notified = SegmentTimes(session.segments(bed)), read_notified_alarms(session, bed)
    for alarm in session.alarms(bed, only.run if only else None):
        if only is None or 0 <= nearest_device_index(alarm.onset, only.fs) - only.first < only.count:
            yield alarm_table_row(alarm, times.time_of, notified.get(alarm.identity))
