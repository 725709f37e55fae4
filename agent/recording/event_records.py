"""Events in the database of a session: their type and fields, beside kind and words for whoever reads it with SQL."""

import sqlite3
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agent.core.events import EVENT_TYPES, Event, EventText, event_fields
from agent.core.wording import event_text
from agent.recording.legacy_events import parse_event_words
from model.text import make_printable

TYPED_EVENTS_SINCE = 3
"""The version of the layout that has the columns `event_type` and `data`."""
INSERT_EVENT = """INSERT INTO events(bed, run, sample, at_s, kind, text, event_type, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_ROW_FIELDS = ("kind", "bed", "run", "sample")
"""Fields of an event that have columns of their own."""
_to_json = msgspec.json.Encoder().encode
_from_json: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class EventRow(msgspec.Struct, array_like=True, frozen=True):
    """A row of `event_query`."""

    id: int
    bed: Annotated[str, Meta(max_length=64)]
    run: Annotated[str, Meta(max_length=64)]
    sample: int
    at_s: float
    kind: Annotated[str, Meta(max_length=64)]
    text: str
    event_type: str | None
    data: str | None


def event_query(version: int, condition: str) -> str:
    """Return the paged query for the events that meet a condition, in the order they happened, by version of layout."""
    typed = "event_type, data" if version >= TYPED_EVENTS_SINCE else "NULL, NULL"
    return f"""SELECT id, bed, run, sample, at_s, kind, text, {typed} FROM events
               WHERE {condition} AND id > ? ORDER BY id LIMIT ?"""


def event_values(event: Event, at_s: float) -> tuple[object, ...]:
    """Return the values of INSERT_EVENT for an event at Unix time `at_s`."""
    row = event.bed, event.run, event.sample, at_s, event.kind, event_text(event)
    return *row, *typed_columns(event)


def typed_columns(event: Event) -> tuple[str | None, str | None]:
    """Return type and fields of an event as they are stored; none of an event that has only its words."""
    if isinstance(event, EventText):
        return None, None
    return type(event).__name__, _to_json(event_fields(event)).decode()


def event_from_row(row: EventRow, version: int) -> Event:
    """Return the event of a row, with printable text; one of an unknown type as its words.

    Raises ValueError or RecursionError if its fields are not those of its type.
    """
    place = make_printable(row.bed), make_printable(row.run), row.sample
    kind, text = make_printable(row.kind), make_printable(row.text)
    if version < TYPED_EVENTS_SINCE:
        return parse_event_words(kind, *place, text)
    event_type = EVENT_TYPES.get(row.event_type or "")
    if event_type is None:
        return EventText(kind, *place, text)  # type: ignore[arg-type]  # a later version may know more kinds
    fields = _clean_json(_from_json.decode(row.data or ""))
    event: Event = msgspec.convert(fields | dict(zip(_ROW_FIELDS, (kind, *place), strict=True)), event_type)
    return event


def add_event_types(db: sqlite3.Connection) -> None:
    """Upgrade the events of a session of version 1 or 2, in a transaction of the caller. Raises sqlite3.Error."""
    for column in ("event_type", "data"):
        db.execute(f"ALTER TABLE events ADD COLUMN {column} TEXT")
    starts = db.execute("SELECT id, bed, run, sample, text FROM events WHERE kind = 'start'").fetchall()
    typed = [(*typed_columns(parse_event_words("start", *place)), identity) for identity, *place in starts]
    db.executemany("UPDATE events SET event_type = ?, data = ? WHERE id = ?", typed)


def _clean_json(value: Any) -> Any:
    """Return decoded JSON with all of its texts printable."""
    if isinstance(value, str):
        return make_printable(value)
    if isinstance(value, list):
        return [_clean_json(item) for item in value]
    if isinstance(value, dict):
        return {name: _clean_json(item) for name, item in value.items()}
    return value
