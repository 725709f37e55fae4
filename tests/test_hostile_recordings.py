"""Recordings that somebody made up: every command refuses one in a line, or takes what makes sense of it."""

import contextlib
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from support.indexed import CONFIG, NOW, beat, chunk, gap, kill

from agent.core.config import load_config
from agent.core.events import RunStarted
from agent.core.messages import Alarm, Result, Strip
from agent.export.convert import convert_recording
from agent.export.listing import summarise_sessions
from agent.recording.recorder import Recorder
from agent.recording.resume import read_last_signal, read_logged_alarms
from agent.report.command import write_reports
from model.errors import EcgError, RecordError, RunError
from simulator.record_replay import ReplayPlan
from simulator.recording_replay import RecordingReplay

TABLES = ("about", "segments", "beats", "events", "alarms", "strips", "ledger")
HOSTILE = (
    *(9e999, -9e999, 1e300, 1e-300, 0.0, -1.0, 0.5, 0, -1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
    *("", "x", "nan", "\x1b[2J", "x" * 5000, "[" * 5000, "../../x", "/etc/0001", "b/0001", "open", "deleted", None),
    *(b"", b"\xff\x00", b"1"),
)  # fmt: skip
SETTINGS = load_config(None, {})


def write_ward(folder: Path, killed: bool) -> None:
    """Record two beds with something in every table; without an end in order if the monitor was `killed`."""
    recorder = Recorder(folder, CONFIG, {"version": "1"})
    for bed in "ab":
        alarm = Alarm(bed, "run", "pause", "medium", "RR 2.6 s", 200, 400, NOW)
        strip = Strip(alarm, "MLII", 0, np.zeros(500, np.float32))
        found: list[Result] = [RunStarted(bed, "run", 0, "MLII", 125.0), beat(100, bed=bed), beat(300, "V", bed), alarm]
        recorder.push([chunk(0, 500, bed=bed), gap(500, 600, bed=bed), chunk(600, 900, bed=bed)], [*found, strip], NOW)
        recorder.push([chunk(9000, 9300, bed=bed)], [beat(9100, bed=bed)], NOW + 80)
    if killed:
        assert recorder.flush()
        kill(recorder)
    else:
        recorder.close()


def list_recordings(folder: Path) -> None:
    assert len(summarise_sessions(folder)) <= 1


def report_recording(folder: Path) -> None:
    write_reports(folder, SETTINGS, None, folder.parent / "out.html", pdf=False)


def convert_beds(folder: Path) -> None:
    for ending in (".edf", ".csv", ".jsonl"):
        for bed in "ab":
            with contextlib.suppress(EcgError):
                convert_recording(folder / bed, folder.parent / f"out{ending}", overwrite=True)


def replay_beds(folder: Path) -> None:
    for bed in "ab":
        with contextlib.suppress(EcgError):
            for _ in RecordingReplay(ReplayPlan(str(folder / bed), bed, 0.0, 60.0, False, None, 0.0, 0), 40.0).blocks():
                pass


def continue_recording(folder: Path) -> None:
    """Go on with each bed and a new one: a recording that opens takes what comes, without a pause."""
    with Recorder(folder, CONFIG, {}, threaded=False) as recorder:
        positions = recorder.positions()
        for _ in read_last_signal(folder, positions, 60.0):
            pass
        read_logged_alarms(folder, positions, 60.0)
        for bed, at in positions.items():
            recorder.push([chunk(at.next, at.next + 50, bed=bed, run=at.run, fs=at.fs)], [], NOW + 100)
        recorder.push([chunk(0, 50, bed="new")], [], NOW + 100)
        recorder.step()
        assert not recorder.view().trouble


COMMANDS: tuple[Callable[[Path], None], ...] = (
    list_recordings,
    report_recording,
    convert_beds,
    replay_beds,
    continue_recording,
)


@pytest.fixture(scope="module", params=[False, True], ids=["closed", "killed"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound recording."""
    folder = tmp_path_factory.mktemp("made") / "s"
    write_ward(folder, request.param)
    return folder


def copied(made: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)
    return folder


def spoil(folder: Path, table: str, column: int, value: object, all_rows: bool) -> None:
    """Change a column, of all rows or the last one, if SQLite lets it be."""
    db = sqlite3.connect(folder / "session.db")
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})").fetchall()]
    where = "" if all_rows else f"WHERE rowid = (SELECT max(rowid) FROM {table})"
    with contextlib.suppress(sqlite3.Error), db:
        db.execute(f"UPDATE OR REPLACE {table} SET {names[column % len(names)]} = ? {where}", (value,))
    db.close()


@pytest.mark.slow
@examples(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(TABLES), st.integers(0, 11), st.sampled_from(HOSTILE), st.booleans())
@example("ledger", 3, 9e999, True)
@example("ledger", 3, "x", False)
@example("ledger", 5, 2**53, False)
@example("ledger", 7, 2**63 - 1, True)
@example("segments", 0, 2**63 - 1, False)
@example("segments", 1, "x", False)
@example("segments", 2, 2**63 - 1, True)
@example("segments", 3, "../../x", True)
@example("segments", 5, 0, False)
@example("segments", 6, "x", True)
@example("segments", 10, -1, False)
@example("beats", 6, "X", True)
@example("strips", 7, b"\xff", True)
def test_any_value_in_any_column(
    made: Path, tmp_path: Path, table: str, column: int, value: object, all_rows: bool
) -> None:
    """A hostile value in any table: each command works, or ends with an error of ours in one line."""
    for command in COMMANDS:
        folder = copied(made, tmp_path / "s")
        spoil(folder, table, column, value, all_rows)
        with contextlib.suppress(RecordError, RunError):
            command(folder)


def fill_place(path: Path, kind: str, outside: Path) -> None:
    """Put something that is no file at `path`; a link leads to `outside`."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(path))
    elif kind == "folder":
        path.mkdir()
    else:
        targets = {"dangling link": outside / "none", "link": outside / "file", "device": Path("/dev/zero")}
        path.symlink_to(targets[kind])


PLACES = ("session.db", "session.db-wal", "session.db-shm", "session.db-journal", "lock", "probe.tmp", "new")
PARTS = tuple(f"a/{number}{ending}" for number in ("0001", "0002", "0003") for ending in (".hea", ".dat", ".ecg"))
KINDS = ("pipe", "socket", "folder", "dangling link", "link", "device")


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(b"mine")
    yield folder
    assert content_of(folder) == {"file": b"mine"}, "a file outside of the recording"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "kind"), [*product(PLACES, KINDS), *product(PARTS, ("pipe", "dangling link", "link"))]
)
def test_what_is_no_file_in_any_place(made: Path, tmp_path: Path, outside: Path, place: str, kind: str) -> None:
    """Links, pipes, sockets, folders and devices: nobody waits for one, and nothing is written outside."""
    for command in (list_recordings, convert_beds, continue_recording):
        path = copied(made, tmp_path / "s") / place
        path.unlink(missing_ok=True)
        fill_place(path, kind, outside)
        with contextlib.suppress(RecordError, RunError):
            command(tmp_path / "s")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
@pytest.mark.parametrize("place", ["session.db", "session.db-wal", "lock"])
def test_a_place_in_a_recording_is_named(made: Path, tmp_path: Path, outside: Path, place: str, kind: str) -> None:
    """The line says which file is none, and that another folder can be chosen."""
    folder = copied(made, tmp_path / "s")
    (folder / place).unlink(missing_ok=True)
    fill_place(folder / place, kind, outside)
    with pytest.raises(RunError, match=rf"its {place} is a \w+, not a file; choose another folder \(--record\)$"):
        Recorder(folder, CONFIG, {})
    (tmp_path / "empty").mkdir()
    fill_place(tmp_path / "empty" / place, kind, outside)
    with pytest.raises(RunError):
        Recorder(tmp_path / "empty", CONFIG, {})


def test_the_folder_of_a_bed_is_no_link(made: Path, tmp_path: Path, outside: Path) -> None:
    """Segments are not written where a link leads."""
    folder = copied(made, tmp_path / "s")
    shutil.rmtree(folder / "a")
    (folder / "a").symlink_to(outside)
    with pytest.raises(RunError, match="its a is a link, not a folder"):
        Recorder(folder, CONFIG, {})
    (folder / "a").unlink()
    (folder / "a").write_text("")
    with pytest.raises(RunError, match="its a is a file, not a folder"):
        Recorder(folder, CONFIG, {})


def test_a_trigger_is_not_run(made: Path, tmp_path: Path) -> None:
    """A database that brings more than the tables of a recording is neither read nor continued."""
    folder = copied(made, tmp_path / "s")
    db = sqlite3.connect(folder / "session.db")
    db.execute("CREATE TRIGGER more AFTER INSERT ON beats BEGIN DELETE FROM beats; END")
    db.close()
    with pytest.raises(RunError, match="other tables"):
        Recorder(folder, CONFIG, {})
    with pytest.raises(RecordError, match="other tables"):
        report_recording(folder)


def test_a_value_that_would_fill_the_memory(made: Path, tmp_path: Path) -> None:
    """A text of gigabytes, which takes few bytes on disk, is refused before it is read."""
    folder = copied(made, tmp_path / "s")
    spoil(folder, "about", 1, "x" * (17 * 2**20), all_rows=True)
    with pytest.raises(RecordError, match="too big"):
        report_recording(folder)


def test_each_bed_is_listed_and_converted_on_its_own(made: Path, tmp_path: Path) -> None:
    """One that cannot be read is named; the others are counted, and converted."""
    folder = copied(made, tmp_path / "s")
    db = sqlite3.connect(folder / "session.db")
    with db:
        db.execute("UPDATE segments SET leads = 'x' WHERE bed = 'b'")
    db.close()
    (listed,) = summarise_sessions(folder)
    assert (listed.state, listed.beds, listed.beats) == ("damaged", ("a", "b"), 6)
    assert listed.trouble.startswith("bed b: cannot read session.db of the recording")
    assert listed.length_s == 9300 / 125
    convert_recording(folder / "a", tmp_path / "a.csv")
    with pytest.raises(RecordError, match=r"cannot read session\.db"):
        convert_recording(folder / "b", tmp_path / "b.csv")


def test_an_impossible_length_is_said_and_not_shown(made: Path, tmp_path: Path) -> None:
    """A device that says where it ended may say anything: the length is that of the others."""
    folder = copied(made, tmp_path / "s")
    db = sqlite3.connect(folder / "session.db")
    with db:
        db.execute("UPDATE ledger SET next = 1 << 53, missing = (1 << 53) - recorded WHERE bed = 'b'")
    db.close()
    (listed,) = summarise_sessions(folder)
    assert listed.length_s == 9300 / 125
    assert "bed b claims to last 833,999,931 days" in listed.trouble
    continue_recording(folder)
