import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.indexed import NOW, chunk, record

from agent.core import events
from agent.core.bed_settings import BedSettings
from agent.core.events import EVENT_TYPES, Event, EventText, GapClosed, LeadStateChanged, RunStarted
from agent.core.wording import event_text
from agent.recording.event_records import EventRow, event_from_row, event_values
from agent.recording.sessions import RecordedSession
from model.errors import RecordError

PLAIN = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: PLAIN,
    int: st.integers(0, 2**40),
    float: st.floats(0, 1e6),
    float | None: st.none() | st.floats(0, 1e6),
    bool: st.booleans(),
    int | None: st.none() | st.integers(0, 2**40),
    events.AlarmHandling: st.sampled_from(get_args(events.AlarmHandling)),
    BedSettings: st.builds(BedSettings, patient=PLAIN, place=PLAIN, rate_low_bpm=st.none() | st.floats(30, 60)),
    events.EventKind: st.sampled_from(["gap", "frame"]),
    events.LeadState: st.sampled_from(["ok", "lead off"]),
    events.LeadTrouble: st.sampled_from(["noise", "no value"]),
    tuple[str, ...]: st.lists(PLAIN, max_size=2).map(tuple),
    tuple[tuple[events.EventKind, int], ...]: st.just((("gap", 7), ("signal", 3))),
}


@st.composite
def any_event(draw: st.DrawFn) -> Event:
    event_type = EVENT_TYPES[draw(st.sampled_from(sorted(EVENT_TYPES)))]
    hints = get_type_hints(event_type)
    made: Event = event_type(**{field.name: draw(VALUES[hints[field.name]]) for field in fields(event_type)})
    return made


def change(folder: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(folder / "session.db") as db:
        db.execute(statement, values)
    db.close()


@given(any_event())
def test_every_event_comes_back(event: Event) -> None:
    """Whatever its type and fields, an event is read as it was stored, and its words are beside it."""
    bed, run, sample, at_s, kind, text, event_type, data = event_values(event, NOW)
    assert (kind, text) == (event.kind, event_text(event))
    row = EventRow(1, bed, run, sample, at_s, kind, text, event_type, data)  # type: ignore[arg-type]
    assert event_from_row(row, 3) == event


def test_events_of_a_session(tmp_path: Path) -> None:
    """Type, fields and run of an event are those that were pushed; SQL sees kind and words."""
    told: list[Event] = [RunStarted("1", "run", 0, "MLII", 250.0), GapClosed("1", "run", 80, 50, 0.4, "never arrived")]
    record(tmp_path, chunk(0, 500, fs=250.0), found=told)
    with RecordedSession(tmp_path) as session:
        assert [event for _, event in session.events("1", "run")] == told
        assert list(session.events("1", "other")) == list(session.events("2")) == []
    start = '{"lead":"MLII","fs":250.0,"others":[]}'
    closed = '{"count":50,"seconds":0.4,"reason":"never arrived"}'
    db = sqlite3.connect(tmp_path / "session.db")
    assert db.execute("SELECT run, kind, text, event_type, data FROM events").fetchall() == [
        ("run", "start", "run run, lead MLII, resampled from 250 Hz", "RunStarted", start),
        ("run", "gap", "gap of 0.40 s: 50 samples never arrived", "GapClosed", closed),
    ]
    db.close()


def test_an_event_of_a_later_version_is_its_words(tmp_path: Path) -> None:
    """A type that this version does not know is read as kind and text."""
    record(tmp_path, chunk(0, 500), found=[LeadStateChanged("1", "run", 9, "lead off")])
    change(tmp_path, "UPDATE events SET event_type = 'LeadMoved', data = '{\"by\": 3}', text = 'moved'")
    with RecordedSession(tmp_path) as session:
        assert [event for _, event in session.events()] == [EventText("signal", "1", "run", 9, "moved")]


def test_fields_are_made_printable(tmp_path: Path) -> None:
    """Control characters in the fields of an event do not reach a terminal."""
    record(tmp_path, chunk(0, 500), found=[GapClosed("1", "run", 9, 5, 0.04, "late")])
    change(tmp_path, "UPDATE events SET data = ?", '{"count": 5, "seconds": 0.04, "reason": "\\u001b[2J"}')
    with RecordedSession(tmp_path) as session:
        assert [event_text(event) for _, event in session.events()] == ["gap of 0.04 s: 5 samples ?[2J"]


@pytest.mark.parametrize(
    "data",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        '{"count": "many", "seconds": 1, "reason": "late"}',
        '{"count": 5, "seconds": 0.04, "reason": ' + "[" * 100_000,
    ],
)
def test_broken_fields_are_refused(tmp_path: Path, data: str | None) -> None:
    """Fields that are not those of their type are one clear error."""
    record(tmp_path, chunk(0, 500), found=[GapClosed("1", "run", 9, 5, 0.04, "late")])
    change(tmp_path, "UPDATE events SET data = ?", data)
    with RecordedSession(tmp_path) as session, pytest.raises(RecordError, match=r"cannot read session\.db"):
        list(session.events())
