import sqlite3
import zipfile
from pathlib import Path

import pytest
from support.indexed import CONFIG, kill

from agent.core.events import EventText, RunEnded, RunStarted
from agent.core.wording import event_text
from agent.export.convert import convert_recording
from agent.recording.legacy_events import parse_event_words
from agent.recording.recorder import Recorder
from agent.recording.sessions import RecordedSession

RECORDINGS = Path(__file__).parent / "data" / "recordings"
EVENTS = [
    RunStarted("1", "0123456789abcdef", 0, "MLII", 360.0),
    EventText("gap", "1", "0123456789abcdef", 1500, "gap of 1.00 s: 125 samples never arrived"),
    EventText("end", "1", "0123456789abcdef", 2500, "the run ended"),
    RunStarted("1", "second", 0, "MLII", 125.0),
]


@pytest.fixture(params=[1, 2])
def old_session(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[int, Path]:
    """A session that an earlier version recorded: its layout version and folder."""
    with zipfile.ZipFile(RECORDINGS / f"version-{request.param}.zip") as archive:
        archive.extractall(tmp_path / "old")
    return request.param, tmp_path / "old"


def database_rows(folder: Path) -> list[list[tuple[object, ...]]]:
    """All that every version has of beats, events, ledger and segments."""
    db = sqlite3.connect(folder / "session.db")
    queries = (
        "SELECT * FROM beats",
        "SELECT id, bed, run, sample, at_s, kind, text FROM events",
        "SELECT * FROM ledger",
    )
    rows = [db.execute(query).fetchall() for query in (*queries, "SELECT * FROM segments")]
    db.close()
    return rows


def test_an_old_session_is_read(old_session: tuple[int, Path]) -> None:
    """Its runs start with their lead and rate, other events have the words they had; nothing on disk changes."""
    version, folder = old_session
    before = (folder / "session.db").read_bytes()
    with RecordedSession(folder) as session:
        assert session.version == version
        assert [event for _, event in session.events("1")] == EVENTS
        assert [event for _, event in session.events("1", "second")] == EVENTS[3:]
        assert session.beat_count("1") == 34
        assert [alarm.condition for alarm in session.alarms("1")] == (["couplet"] if version == 2 else [])
    assert (folder / "session.db").read_bytes() == before


def test_an_old_session_is_upgraded(old_session: tuple[int, Path]) -> None:
    """A monitor that goes on with it brings it to the newest layout: everything in it stays, starts have their type."""
    _, folder = old_session
    before = database_rows(folder)
    with RecordedSession(folder) as session:
        strips = [strip.wave.tobytes() for strip in session.strips("1")]
    recorder = Recorder(folder, CONFIG, {"version": "new"})
    recorder.push([], [RunEnded("1", "second", 500)], 1e9)
    kill(recorder)
    with RecordedSession(folder) as session:
        assert session.version == 3
        assert [event for _, event in session.events("1")] == [*EVENTS, RunEnded("1", "second", 500)]
        assert [strip.wave.tobytes() for strip in session.strips("1")] == strips
        assert session.about["version"] == "new"
    after = database_rows(folder)
    assert [after[0], after[1][:-1], *after[2:]] == before
    Recorder(folder, CONFIG, {}).close()
    assert database_rows(folder) == after


def test_an_old_session_is_converted_as_its_upgrade(old_session: tuple[int, Path], tmp_path: Path) -> None:
    """Beats, events and alarms of a session are the same lines before and after its upgrade."""
    _, folder = old_session
    convert_recording(folder, tmp_path / "before.jsonl")
    Recorder(folder, CONFIG, {}).close()
    convert_recording(folder, tmp_path / "after.jsonl")
    assert (tmp_path / "after.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()
    assert (tmp_path / "after.jsonl").read_text().count("\n") >= 38


@pytest.mark.parametrize(
    ("words", "lead", "fs"),
    [
        ("run 01234567, lead II", "II", 125.0),
        ("run , lead II, resampled from 257.812 Hz", "II", 257.812),
        ("run 01234567, lead V1, chest, resampled from 10000 Hz", "V1, chest", 10_000.0),
    ],
)
def test_the_start_of_a_run(words: str, lead: str, fs: float) -> None:
    """The sentence of a start names lead and rate, and the type says them in the same words."""
    event = parse_event_words("start", "1", words[4:].partition(",")[0], 7, words)
    assert event == RunStarted("1", words[4:].partition(",")[0], 7, lead, fs)
    assert event_text(event) == words


@pytest.mark.parametrize(
    "words", ["", "run 01234567", "run 0123456789, lead II", "run 1, lead II, resampled from . Hz"]
)
def test_other_words_stay_words(words: str) -> None:
    """A sentence that is not that of a start, or has no rate, is kept; and so is every other kind."""
    start = parse_event_words("start", "1", "r", 7, words)
    assert event_text(start) == words
    assert parse_event_words("gap", "1", "r", 7, "run 1, lead II") == EventText("gap", "1", "r", 7, "run 1, lead II")
