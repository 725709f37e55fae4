import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.indexed import CONFIG, LEADS, NOW, beat, chunk, counts_of, gap, kill, record
from typer.testing import CliRunner

from agent.cli.app import app
from agent.core.events import Event, RunStarted
from agent.core.messages import MISSING, Beat, Chunk, Gap, Ledger
from agent.core.wording import event_text
from agent.export.listing import summarise_sessions
from agent.recording import sessions
from agent.recording.recorded_segments import read_lone_segment, read_segment_counts, replay_chunks
from agent.recording.recorder import Recorder, RecorderTiming
from agent.recording.sessions import RecordedSession, find_sessions, locate_in_session
from model.errors import RecordError, RunError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed session: one bed, two runs, a short and a long gap, beats and events."""
    path = tmp_path / "session"
    told: list[Beat | Event] = [
        RunStarted("1", "one", 0, "MLII", 125.0),
        beat(50, run="one"),
        beat(120, "V", run="one"),
    ]
    with Recorder(path, CONFIG, {"version": "9"}) as recorder:
        recorder.push([chunk(10, 200, run="one"), gap(200, 300, run="one"), chunk(300, 400, run="one")], told, NOW)
        recorder.push(
            [gap(400, 10_000, run="one"), chunk(10_000, 10_100, run="one")], [beat(10_050, "S", run="one")], NOW + 90
        )
        recorder.push(
            [chunk(5, 105, run="two")],
            [RunStarted("1", "two", 5, "MLII", 125.0), beat(60, "F", run="two")],
            NOW + 91,
        )
    return path


def content(folder: Path) -> dict[str, str]:
    """Digest of every file but the index that SQLite shares between processes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


def change(folder: Path, statement: str, *values: Any) -> None:
    """What somebody else may write into a session."""
    db = sqlite3.connect(folder / "session.db")
    db.execute(statement, values)
    db.commit()
    db.close()


def read_all(folder: Path) -> None:
    with RecordedSession(folder) as session:
        session.segments("1")
        list(session.beats("1"))
        list(session.events())


def test_a_session_tells_all_of_itself(folder: Path) -> None:
    """Beds, segments in order, beats with all their numbers, events with their time, and the ledger."""
    with RecordedSession(folder) as session:
        assert session.about["version"] == "9"
        assert session.beds == ("1",)
        made = session.segments("1")
        assert [(s.number, s.run, s.first, s.count, s.format) for s in made] == [
            (1, "one", 10, 390, 16),
            (2, "one", 10_000, 100, 16),
            (3, "two", 5, 100, 16),
        ]
        assert made[0].leads == LEADS
        assert made[0].started_s == pytest.approx(NOW + 10 / 125)
        assert list(session.beats("1")) == [
            beat(50, run="one"),
            beat(120, "V", run="one"),
            beat(10_050, "S", run="one"),
            beat(60, "F", run="two"),
        ]
        assert list(session.beats("1", run="two")) == [beat(60, "F", run="two")]
        assert list(session.beats("1", made[1])) == [beat(10_050, "S", run="one")]
        assert session.beat_count("1") == 4
        assert list(session.events("1")) == [
            (NOW, RunStarted("1", "one", 0, "MLII", 125.0)),
            (NOW + 91, RunStarted("1", "two", 5, "MLII", 125.0)),
        ]
        assert list(session.events("")) == []
        assert session.ledger("1") == Ledger(10_090 + 100, 190 + 100 + 100 + 100, 100 + 9600)
        assert session.ledger("none") == Ledger()
        assert session.segments("none") == []
        assert list(session.beats("none")) == []
        assert not session.live
    session.close()


def test_counts_of_any_part(folder: Path) -> None:
    """Samples are counted from the first of the segment; what is outside of it is left out."""
    (segment, *_) = sessions.find_segments(folder)
    expected = counts_of(10, 400)
    expected[190:290] = MISSING
    np.testing.assert_array_equal(read_segment_counts(segment, 0, 390), expected)
    np.testing.assert_array_equal(read_segment_counts(segment, 180, 300), expected[180:300])
    np.testing.assert_array_equal(read_segment_counts(segment, -5, 10_000), expected)
    assert read_segment_counts(segment, 390, 400).shape == read_segment_counts(segment, 7, 7).shape == (0, 2)


@pytest.mark.parametrize("packet_s", [0.04, 0.5, 10.0])
def test_chunks_are_what_the_link_brought(folder: Path, packet_s: float) -> None:
    """All samples of all runs once and in order, and a gap where a run was not recorded; none between runs."""
    made = list(replay_chunks(sessions.find_segments(folder), packet_s))
    following = {"one": 10, "two": 5}
    for message in made:
        assert message.first == following[message.run]
        following[message.run] += len(message.counts) if isinstance(message, Chunk) else message.count
    assert following == {"one": 10_100, "two": 105}
    assert [message for message in made if isinstance(message, Gap)] == [
        Gap("1", "one", 400, 9600, 125.0, "not recorded")
    ]
    parts = [message for message in made if isinstance(message, Chunk)]
    assert all(len(part.counts) <= max(5, packet_s * 125) for part in parts)
    one = np.concatenate([part.counts for part in parts if part.run == "one"])
    np.testing.assert_array_equal(one[290:], np.concatenate([counts_of(300, 400), counts_of(10_000, 10_100)]))
    assert parts[0].sent_s == pytest.approx(NOW + (10 + len(parts[0].counts)) / 125)
    assert [part.sequence for part in parts if part.run == "one"] == list(range(sum(p.run == "one" for p in parts)))


def test_paths_of_recordings(folder: Path, tmp_path: Path) -> None:
    """A session, a bed's folder, a segment with and without ending are recordings; other things are not."""
    for path in (folder, folder / "1", folder / "1" / "0001", folder / "1" / "0002.hea"):
        assert sessions.is_recording(path)
    assert sessions.is_session(folder)
    assert not sessions.is_session(folder / "1")
    (tmp_path / "other.hea").write_text("other 1 125 10\nother.dat 16 200 11 0 0 0 0 II\n")
    for path in (tmp_path, tmp_path / "none", tmp_path / "other", tmp_path / "other.hea", folder / "1" / "0009"):
        assert not sessions.is_recording(path)
    assert sessions.find_sessions(folder) == sessions.find_sessions(tmp_path) == [folder]
    assert sessions.find_sessions(tmp_path / "none") == []


def test_what_a_path_stands_for(folder: Path, tmp_path: Path) -> None:
    """A session of one bed and its folder are all its segments, a segment is itself, also outside of its session."""
    with RecordedSession(folder) as session:
        made = session.segments("1")
    assert sessions.find_segments(folder) == sessions.find_segments(folder / "1") == made
    for ending in (".hea", ".dat", ".ecg"):
        (tmp_path / f"0002{ending}").write_bytes((folder / "1" / f"0002{ending}").read_bytes())
    for path in (folder / "1" / "0002", tmp_path / "0002.hea"):
        (alone,) = sessions.find_segments(path)
        assert (alone.bed, alone.run, alone.first, alone.count) == ("1", "one", 10_000, 100)
        np.testing.assert_array_equal(read_segment_counts(alone, 0, 100), counts_of(10_000, 10_100))


def test_a_session_of_several_beds_is_asked_for_one(tmp_path: Path) -> None:
    """The error names the folders, and the beds where they are called otherwise."""
    record(tmp_path / "s", chunk(0, 10, bed="a"), chunk(0, 10, bed="b/c"))
    with pytest.raises(RecordError, match=r"several beds: name the folder of one.*: a, b_c \(b/c\)"):
        sessions.find_segments(tmp_path / "s")
    assert [segment.bed for segment in sessions.find_segments(tmp_path / "s" / "b_c")] == ["b/c"]


def test_what_is_no_recording(tmp_path: Path) -> None:
    """Errors in a line, for a folder, a missing path, and a session without signal."""
    record(tmp_path / "empty")
    (tmp_path / "empty" / "bed").mkdir()
    for path, text in (
        (tmp_path, "is no recording"),
        (tmp_path / "none", "no segment of a recording"),
        (tmp_path / "empty", "holds no recorded signal"),
        (tmp_path / "empty" / "bed", "holds no recorded signal"),
    ):
        with pytest.raises(RecordError, match=text):
            sessions.find_segments(path)


def test_reading_changes_nothing_on_disk(folder: Path, tmp_path: Path) -> None:
    """Neither in a closed session nor in one whose monitor was killed; what a kill left is read, to the last sample."""
    before = content(folder)
    sessions.find_segments(folder)
    with RecordedSession(folder) as session:
        assert len(list(session.beats("1"))) == 4
    assert content(folder) == before
    killed = tmp_path / "killed"
    recorder = Recorder(killed, CONFIG, {})
    recorder.push([chunk(0, 300)], [beat(100)], NOW)
    kill(recorder)
    before = content(killed)
    assert "session.db-wal" in before
    with RecordedSession(killed) as session:
        assert not session.live
        assert [segment.count for segment in session.segments("1")] == [300]
        assert list(session.beats("1")) == [beat(100)]
    assert content(killed) == before


def test_a_session_that_is_being_recorded_can_be_read(tmp_path: Path) -> None:
    """A reader that stays open sees what comes, and neither disturbs the recorder nor its end."""
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        recorder.push([chunk(0, 300)], [beat(100)], NOW)
        assert recorder.flush()
        session = RecordedSession(tmp_path)
        assert session.live
        beats = session.beats("1")
        assert next(beats) == beat(100)
        recorder.push([chunk(300, 600)], [beat(400)], NOW)
        assert recorder.flush()
        assert [segment.count for segment in session.segments("1")] == [600]
        assert list(beats) == [beat(400)]
        assert sessions.is_session(tmp_path)
        assert recorder.view().trouble == ""
    assert not session.live
    assert list(session.beats("1")) == [beat(100), beat(400)]
    session.close()
    Recorder(tmp_path, CONFIG, {}).close()
    with RecordedSession(tmp_path) as session:
        assert session.beat_count("1") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "lock", "session.db"]


def test_asking_for_a_session_does_not_end_the_locks_of_its_recorder(tmp_path: Path) -> None:
    """Another program that opens and closes the database leaves the recorder's files alone, whatever we looked at."""
    other = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT 1 FROM beats'); db.close()"
    with Recorder(tmp_path, CONFIG, {}) as recorder:
        for first in (0, 300):
            recorder.push([chunk(first, first + 300)], [beat(first + 100)], NOW)
            assert recorder.flush()
            assert sessions.is_session(tmp_path)
            assert sessions.find_sessions(tmp_path) == [tmp_path]
            sessions.find_segments(tmp_path)
            subprocess.run([sys.executable, "-c", other, str(tmp_path / "session.db")], check=True)
            assert (tmp_path / "session.db-wal").exists()
    with RecordedSession(tmp_path) as session:
        assert session.beat_count("1") == 2


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("UPDATE segments SET path = '../../1/0001' WHERE id = 1", ()),
        ("UPDATE segments SET path = '/etc/0001' WHERE id = 1", ()),
        ("UPDATE segments SET format = 212", ()),
        ("UPDATE segments SET fs = 0", ()),
        ("UPDATE segments SET fs = 'fast'", ()),
        ("UPDATE segments SET first = -1", ()),
        ("UPDATE segments SET leads = '[]'", ()),
        ("UPDATE segments SET leads = ?", ("[" * 100_000,)),
        ("UPDATE segments SET leads = replace(leads, 'MLII', '\\u001b[2J')", ()),
        ("UPDATE segments SET leads = replace(leads, '1000.0', '0')", ()),
        ("UPDATE segments SET run = ?", ("\x1b[2J",)),
        ("UPDATE beats SET label = 'X'", ()),
        ("UPDATE beats SET label = ?", (b"N",)),
        ("UPDATE beats SET probabilities = '[1]'", ()),
        ("UPDATE beats SET probabilities = ?", ("[" * 100_000,)),
        ("UPDATE beats SET sample = 'late'", ()),
        ("UPDATE beats SET sample = 1e300", ()),
        ("UPDATE events SET at_s = 'now'", ()),
        ("DROP TABLE beats", ()),
        ("CREATE VIEW trap AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", ()),
        ("PRAGMA user_version = 7", ()),
        ("PRAGMA application_id = 7", ()),
    ],
)
def test_a_hostile_database_is_refused(folder: Path, statement: str, values: tuple[Any, ...]) -> None:
    """Whatever was changed in it: an error of ours in one line, and never another file."""
    change(folder, statement, *values)
    with pytest.raises(RecordError) as caught:
        read_all(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_events_say_is_printable(folder: Path) -> None:
    """Control characters in a text, a bed or a value cannot reach a terminal."""
    change(folder, "UPDATE events SET text = ?, event_type = NULL", "a\x1b[2Jb\nc")
    change(folder, "UPDATE about SET value = ? WHERE key = 'version'", "1\x07")
    with RecordedSession(folder) as session:
        assert {event_text(event) for _, event in session.events()} == {"a?[2Jb?c"}
        assert session.about["version"] == "1?"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    "harm",
    [
        lambda db: db.write_bytes(b""),
        lambda db: db.write_bytes(db.read_bytes()[:50]),
        lambda db: db.write_bytes(db.read_bytes()[:200]),
        lambda db: db.write_bytes(db.read_bytes()[:4096]),
        lambda db: db.write_bytes(db.read_bytes()[:4096] + bytes(80_000)),
        lambda db: db.write_text("not a database"),
    ],
)
def test_a_broken_database_is_refused(folder: Path, harm: Callable[[Path], Any]) -> None:
    """Cut, overwritten, or something else: RecordError."""
    harm(folder / "session.db")
    with pytest.raises(RecordError):
        read_all(folder)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (Path.unlink, "session.db of the recording {} is missing"),
        (lambda db: db.write_bytes(b""), "session.db of the recording {} is broken"),
        (lambda db: db.write_bytes(bytes(100) + db.read_bytes()[100:]), "session.db of the recording {} is broken"),
        (
            lambda db: db.write_bytes(db.read_bytes()[:4096] + bytes(80_000)),
            "cannot read session.db of the recording {}: ",
        ),
    ],
)
def test_signal_without_its_database(folder: Path, harm: Callable[[Path], Any], reason: str) -> None:
    """Where the database is broken or gone it is said so, and where the signal is; a single record can be read."""
    harm(folder / "session.db")
    still = f"; its signal is still there, record by record: ecg-agent convert {folder / '1' / '0001'} OUT"
    for path in (folder, folder / "1"):
        assert sessions.is_recording(path)
        with pytest.raises(RecordError) as error:
            sessions.find_segments(path)
        assert str(error.value).startswith(reason.format(folder))
        assert str(error.value).endswith(still)
    for root in (folder, folder.parent):
        (listed,) = summarise_sessions(root)
        assert (listed.recording, listed.state) == (str(folder), "unreadable")
        assert listed.trouble == str(error.value)
    (alone,) = sessions.find_segments(folder / "1" / "0001")
    assert locate_in_session(alone) is None
    np.testing.assert_array_equal(read_segment_counts(alone, 0, 100), counts_of(10, 110))


def test_folders_of_records_are_no_lost_session(folder: Path, tmp_path: Path) -> None:
    """The folder of a bed has no list, and a record that was copied makes no session of what lies around it."""
    assert sessions.find_sessions(folder / "1") == []
    shutil.copytree(folder / "1", tmp_path / "copied")
    assert sessions.find_sessions(tmp_path) == [folder]


def test_signal_files_that_are_gone_or_cut(folder: Path) -> None:
    """What is on disk counts: a shorter file is a shorter segment, a lost one is left out, later loss is an error."""
    with RecordedSession(folder) as session:
        made = session.segments("1")
        _cut(folder / "1" / "0001.dat")
        (folder / "1" / "0002.dat").unlink()
        assert [(s.number, s.count) for s in session.segments("1")] == [(1, 365), (3, 100)]
    with pytest.raises(RecordError, match="cut short"):
        read_segment_counts(made[0], 300, 390)
    with pytest.raises(RecordError, match=r"cannot read .*0002\.dat"):
        read_segment_counts(made[1], 0, 10)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"first": 10', '"first": -10'),
        ('"first": 10', '"first": 1e400'),
        ('"fs": 125.0', '"fs": 0'),
        ('"bed": "1"', '"bed": "\\u001b[2J"'),
        ('"gain": 1000.0', '"gain": NaN'),
        ('"leads": [', '"leads": [' + "[" * 30_000),
        (" 16 ", " 212 "),
        ("# ecg-agent recording", "# another"),
    ],
)
def test_a_hostile_header_is_refused(folder: Path, old: str, new: str) -> None:
    """A segment whose header says something impossible is none of ours."""
    header = folder / "1" / "0001.hea"
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))
    assert not sessions.is_recording(folder / "1" / "0001")
    with pytest.raises(RecordError, match="no segment of a recording"):
        read_lone_segment(folder / "1" / "0001")


def test_the_document_names_every_table_and_column(folder: Path) -> None:
    """docs/recording.md has the tables of the database, and their columns in order."""
    text = (Path(__file__).parents[1] / "docs" / "recording.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    shown = {table: re.findall(r"`(\w+)`", columns) for table, columns in rows}
    db = sqlite3.connect(folder / "session.db")
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
    made = {table: [row[1] for row in db.execute(f"PRAGMA table_info({table})").fetchall()] for table in tables}
    db.close()
    assert shown == made


def test_a_recording_that_was_harmed_is_not_told_to_be_whole(tmp_path: Path) -> None:
    """Samples that are gone, times that no calendar has, an empty database: said, and nothing written over."""
    folder = tmp_path / "session"
    with Recorder(folder, CONFIG, {}) as recorder:
        recorder.push([chunk(0, 500)], [beat(100)], NOW)
    (listed,) = summarise_sessions(folder)
    assert listed.state == "complete"
    (data,) = folder.glob("*/0001.dat")
    os.truncate(data, data.stat().st_size // 2)
    (listed,) = summarise_sessions(folder)
    assert listed.state == "damaged"
    assert "samples are gone" in listed.trouble
    db = sqlite3.connect(folder / "session.db")
    db.execute("UPDATE segments SET started_s = 1e300")
    db.commit()
    db.close()
    (listed,) = summarise_sessions(folder)
    assert listed.state == "unreadable"
    (folder / "session.db").write_bytes(b"")
    (notes,) = folder.glob("*/0001.ecg")
    before = notes.read_bytes()
    with pytest.raises(RunError, match="is empty though there are recordings"):
        Recorder(folder, CONFIG, {})
    assert notes.read_bytes() == before


def test_a_folder_that_is_taken_away_harms_nobody_for_long(tmp_path: Path) -> None:
    """The recording pauses, says which file is gone, and goes on with all beds."""
    folder = tmp_path / "session"
    with Recorder(folder, CONFIG, {}, RecorderTiming(retry_s=0.0), threaded=False) as recorder:
        recorder.push([chunk(0, 100, bed="a"), chunk(0, 100, bed="b")], [], NOW)
        recorder.step()
        shutil.rmtree(folder / "a")
        news: list[str] = []
        stop = 100
        while not any("recording goes on" in text for text in news):
            assert stop < 1000, news
            recorder.push([chunk(stop, stop + 100, bed=bed) for bed in "ab"], [], NOW)
            recorder.step()
            news += [event_text(event) for event in recorder.news()]
            stop += 100
        recorder.push([chunk(stop, stop + 100, bed=bed) for bed in "ab"], [], NOW)
    assert any("recording paused: No such file" in text and "0001" in text for text in news)
    with RecordedSession(folder) as session:
        for bed in "ab":
            last = session.segments(bed)[-1]
            assert last.first + last.count == stop + 100


def test_a_pipe_in_place_of_a_header_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    with Recorder(folder, CONFIG, {}) as recorder:
        recorder.push([chunk(0, 500)], [], NOW)
    (folder / "1").mkdir(exist_ok=True)
    os.mkfifo(folder / "1" / "0009.hea")
    with Recorder(folder, CONFIG, {}) as recorder:
        assert recorder.positions()["1"].next == 500


def test_a_pipe_in_place_of_the_database_is_not_waited_for(tmp_path: Path) -> None:
    """Neither the list of recordings nor a reader waits for a pipe."""
    record(tmp_path / "session", chunk(0, 500))
    (tmp_path / "session" / "session.db").unlink()
    os.mkfifo(tmp_path / "session" / "session.db")
    assert find_sessions(tmp_path) == [tmp_path / "session"]
    with pytest.raises(RecordError, match=r"its session\.db is a pipe, not a file"):
        RecordedSession(tmp_path / "session")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (Path.unlink, "is missing"),
        (lambda path: path.write_bytes(b""), "is broken"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "malformed"),
        (lambda path: change(path.parent, "DROP TABLE beats"), "has other tables"),
    ],
)
def test_every_command_explains_a_failed_database_alike(
    folder: Path, tmp_path: Path, harm: Callable[[Path], Any], reason: str
) -> None:
    """What lists, reports, converts or replays a recording says the same of its database, and what can still be had."""
    harm(folder / "session.db")
    commands = [
        ["sessions", str(folder)],
        ["report", str(folder), "--out", str(tmp_path / "out.html")],
        ["convert", str(folder), str(tmp_path / "out.csv")],
        ["convert", str(folder), str(tmp_path / "out.jsonl")],
        ["simulate", "record", str(folder)],
    ]
    errors = [CliRunner().invoke(app, command).exception for command in commands]
    assert {type(error) for error in errors} == {RecordError}
    (text,) = {str(error) for error in errors}
    assert reason in text
    assert text.endswith(f"its signal is still there, record by record: ecg-agent convert {folder}/1/0001 OUT")
