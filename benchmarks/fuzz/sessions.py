"""What `benchmarks.fuzz` feeds with recordings: their database, headers, signals and annotations."""

import contextlib
import io
import json
import os
import sqlite3
from collections import deque
from pathlib import Path
from random import Random

import numpy as np

from agent.core.config import RecordConfig, load_config
from agent.core.events import EventText
from agent.core.messages import Alarm, Beat, Chunk, Gap, Lead, Result, ResumePosition, Strip
from agent.core.wording import event_text
from agent.export.listing import summarise_sessions
from agent.recording.recorded_segments import read_beat_marks, read_lone_segment, replay_chunks
from agent.recording.recorder import Recorder
from agent.recording.resume import read_last_signal, read_logged_alarms
from agent.recording.session_writer import SessionWriter
from agent.recording.sessions import RecordedSession, find_segments
from agent.report.command import write_reports
from benchmarks.fuzz.mutation import JSON_TOKENS, altered, dumped, mutated, value
from model.errors import RecordError, RunError
from model.records import wfdb_records

SECONDS = 8
_settings = load_config(None, {})
_RECORD = RecordConfig(rotate_min=60.0, sync_s=60.0, limit_mb=0.0, reserve_mb=0.0, replay_s=120.0)
COLUMNS = {
    "about": ("key", "value"),
    "segments": ("bed", "number", "path", "run", "first", "count", "fs", "leads", "started_s", "format", "state"),
    "beats": ("bed", "run", "sample", "decided", "found", "label", "probabilities", "rr_s", "heart_rate", "segment"),
    "events": ("bed", "run", "sample", "at_s", "kind", "text", "event_type", "data"),
    "alarms": (
        *("bed", "run", "condition", "onset", "priority", "text", "announced", "announced_s", "latching", "ended"),
        "acknowledged_s",
    ),
    "strips": ("bed", "run", "condition", "onset", "lead", "first", "wave"),
    "ledger": ("bed", "run", "fs", "first", "next", "written", "recorded", "missing", "lost", "last_beat", "ended"),
}
NO_FILES = (b"pipe", b"link", b"dangling link", b"device", b"folder")
"""What stands in the place of a file of the recording."""
PLACES = ("lock", "session.db", "session.db-wal", "session.db-shm", "1", "1/0001.hea", "1/0001.dat", "1/0001.ecg")
STATEMENTS = (
    *("DROP TABLE beats", "CREATE TABLE more(a)", "CREATE VIEW more AS SELECT * FROM beats"),
    "PRAGMA user_version = 99",
    *("DELETE FROM ledger", "DELETE FROM segments", "UPDATE segments SET state = 'open', count = 0"),
    *("UPDATE ledger SET fs = 9e999", "UPDATE ledger SET next = 1 << 53", "UPDATE ledger SET written = next + 1"),
    "CREATE TRIGGER more AFTER INSERT ON segments BEGIN DELETE FROM beats; END",
    "INSERT INTO beats SELECT id + 900, bed, run, sample, decided, found, ",
    *("UPDATE segments SET path = '../../etc/passwd'", "UPDATE segments SET path = '/dev/zero'", "DELETE FROM about"),
    *("PRAGMA application_id = 0", "ALTER TABLE events RENAME COLUMN text TO said", "PRAGMA journal_mode = WAL"),
)  # fmt: skip


class Recordings:
    """A recorded session of two beds.

    An input is a file of it and what that holds, b"sql" and a statement, or b"place", a file and what is there instead.
    """

    def __init__(self, folder: Path) -> None:
        self._made, self._folder = folder / "made", folder / "spoilt"
        record_session(self._made)
        _report_session(self._made)  # which reads its templates once
        self._files = {str(path.relative_to(self._made)): path.read_bytes() for path in sorted(self._made.rglob("*.*"))}
        self._headers = [content for name, content in self._files.items() if name.endswith(".hea")]

    def make(self, random: Random) -> list[bytes]:
        """A file of the session with some bytes changed, or another value in one of its tables."""
        choice = random.random()
        if choice < 0.35:
            table = random.choice(list(COLUMNS))
            new = value(random)
            new = json.dumps(new) if isinstance(new, list | dict) else new
            return [b"sql", f"UPDATE {table} SET {random.choice(COLUMNS[table])} = ?".encode(), dumped(new)]
        if choice < 0.45:
            return [b"sql", random.choice(STATEMENTS).encode()]
        if choice < 0.5:
            return [b"place", random.choice(PLACES).encode(), random.choice(NO_FILES)]
        name = random.choice([*self._files, *["session.db"] * 6])
        content = self._files[name]
        if name.endswith(".hea") and random.random() < 0.5:
            head, _, about = content.rpartition(b"# ")
            return [name.encode(), head + b"# " + dumped(altered(random, json.loads(about))) + b"\n"]
        return [name.encode(), mutated(random, content, self._headers, JSON_TOKENS)]

    def run(self, parts: list[bytes]) -> None:
        """Read all there is of it."""
        _empty_folder(self._folder)
        for name, content in self._files.items():
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(content)
        if parts[0] == b"sql":
            self._change(parts[1].decode(), [json.loads(part) for part in parts[2:]])
        elif parts[0] == b"place":
            _replace_file(self._folder / parts[1].decode(), parts[2].decode())
        else:
            (self._folder / parts[0].decode()).write_bytes(parts[1])
        assert len(summarise_sessions(self._folder)) <= 1
        refusals: list[RecordError | RunError] = []
        for use in (_read_session, _read_files, _report_session, _continue_session):
            try:
                use(self._folder)
            except (RecordError, RunError) as error:
                refusals.append(error)
        if parts[0].endswith(b".hea"):
            wfdb_records.open_record(str(self._folder / parts[0].decode()))
        if refusals:
            raise refusals[0]

    def _change(self, statement: str, values: list[object]) -> None:
        database = sqlite3.connect(self._folder / "session.db")
        database.execute("PRAGMA synchronous = OFF")
        with contextlib.suppress(sqlite3.Error, OverflowError, UnicodeError), database:
            database.execute(statement, values)
        database.close()


def _empty_folder(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _replace_file(path: Path, kind: str) -> None:
    """Put a pipe, a link, a device or a folder in the place of a file."""
    if path.is_dir():
        _empty_folder(path)
        path.rmdir()
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(path.parent / "none" if kind == "dangling link" else "/etc/hostname")


def record_session(folder: Path) -> None:
    """A session of two beds and runs, with a gap, beats and events."""
    counts = np.rint(1000 * wfdb_records.read_record_samples(wfdb_records.open_record("100"), 0, SECONDS * 360)).astype(
        np.int32
    )
    leads = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115), Lead("V5", "mV", 1000.0, 0.0, -5120, 5115))
    writer = SessionWriter(folder, 4.0, {"version": "0"})
    for second in range(0, SECONDS, 2):
        messages: list[Chunk | Gap] = []
        found: list[Result] = []
        for bed, run, fs in (("1", "first" if second < 4 else "second", 125.0), ("bed 2", "only", 360.0)):
            size = round(2 * fs)
            first = round(second * fs)
            if second == 0:
                found.append(EventText("start", bed, "", 0, f"run {run}"))
            if second == 2:
                messages.append(Gap(bed, run, first, size, fs, "never arrived"))
                continue
            part = counts[first : first + size]
            messages.append(Chunk(bed, run, first, fs, leads, part, 1.75e9 + second, 1.75e9 + second, second))
            found.append(
                Beat(bed, 125 * second + 50, 125 * second + 90, "N", (0.9, 0.1, 0.0, 0.0, 0.0), 0.8, 0.0, 75.0)
            )
            alarm = Alarm(bed, run, "pause", "medium", "RR 2.6 s", 125 * second + 20, 125 * second + 60, 1.75e9)
            found += [alarm, Strip(alarm, "MLII", 125 * second, np.linspace(-1, 1, 100, dtype=np.float32))]
        writer.take(messages, [(item, 1.75e9 + second) for item in found], 1.75e9 + second)
        writer.flush()
    writer.close()


def _read_session(folder: Path) -> None:
    with RecordedSession(folder) as session:
        assert all(text.isprintable() for text in (*session.beds, *session.about.values()))
        session.summary()
        for bed in session.beds:
            segments = session.segments(bed)
            assert all(segment.path.resolve().is_relative_to(folder.resolve()) for segment in segments)
            for beat in session.beats(bed):
                assert beat.label in wfdb_records.CLASSES
            assert all(event_text(event).isprintable() for _, event in session.events(bed))
            session.ledger(bed)
            assert all(alarm.text.isprintable() and alarm.run.isprintable() for alarm in session.alarms(bed))
            assert all(len(strip.wave) and strip.lead.isprintable() for strip in session.strips(bed))
            for run in session.runs(bed):
                list(session.events(bed, run.run))
            for segment, marks in session.marks(segments) if segments else ():
                assert all(0 <= at < segment.count for at, _ in marks)
            for chunk in replay_chunks(segments):
                assert chunk.bed.isprintable()


def _report_session(folder: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        write_reports(folder, _settings, None, folder.with_name("out.html"), pdf=False)


def _continue_session(folder: Path) -> None:
    """Go on with the recording, as a monitor that is started again does; what it opens takes what comes."""
    with Recorder(folder, _RECORD, {}, threaded=False) as recorder:
        positions = recorder.positions()
        deque(read_last_signal(folder, positions, 60.0), maxlen=0)
        read_logged_alarms(folder, positions, 60.0)
        leads = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115),)
        for bed, at in [*positions.items(), ("new", ResumePosition("new", 0, 125.0, None, ended=False))]:
            recorder.push([Chunk(bed, at.run, at.next, at.fs, leads, np.zeros((9, 1), np.int32), 1.75e9)], [], 1.75e9)
        recorder.step()
        trouble = recorder.view().trouble
        assert "internal error" not in trouble, trouble


def _read_files(folder: Path) -> None:
    for path in sorted(folder.glob("*/*.hea")):
        segment = read_lone_segment(path)
        read_beat_marks(segment)
        for _ in replay_chunks([segment]):
            pass
    for inside in sorted(path for path in folder.iterdir() if path.is_dir()):
        find_segments(inside)
