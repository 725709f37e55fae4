"""The database of a recorded session, `session.db`: its tables, opened to write or to read.

SQLite in WAL mode while a session is recorded, one plain file once it is closed in order. `docs/recording.md` says
what the tables mean.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.recording.event_records import TYPED_EVENTS_SINCE, add_event_types
from agent.recording.segment_files import find_first_record
from model.errors import RecordError, RunError
from model.files import special_file_kind

DATABASE_FILE = "session.db"
LOCK_FILE = "lock"
"""Locked while a monitor records."""
OPEN_KEY = "open"
"""Key of `about` that is there while a monitor records, until all of it is written."""
LAYOUT_VERSION = 3
"""Version 2 added alarms and strips, 3 type and fields of events. Earlier ones are read, and upgraded when they are
continued."""
APPLICATION_ID = 0x45434721
"""Distinguishes a session from any other SQLite file."""
LAYOUT_TABLES = {
    1: frozenset({"about", "segments", "beats", "events", "ledger"}),
    2: frozenset({"about", "segments", "beats", "events", "ledger", "alarms", "strips"}),
    3: frozenset({"about", "segments", "beats", "events", "ledger", "alarms", "strips"}),
}
"""The tables of each version."""
BUSY_TIMEOUT_S = 5.0
SIDE_ENDINGS = ("", "-wal", "-shm", "-journal")
"""Endings of the files that SQLite keeps of a database."""
LARGEST_VALUE = 16 * 2**20
"""Bytes of the largest value or row that is read or written."""
_MAGIC, _WAL = b"SQLite format 3\0", 2
_open: Counter[Path] = Counter()
"""Databases that this process has open. Opening and closing such a file by other means than SQLite ends the locks that
SQLite holds on it (https://www.sqlite.org/howtocorrupt.html, 2.2)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS segments(
    id INTEGER PRIMARY KEY, bed TEXT NOT NULL, number INTEGER NOT NULL, path TEXT NOT NULL UNIQUE, run TEXT NOT NULL,
    first INTEGER NOT NULL, count INTEGER NOT NULL, fs REAL NOT NULL, leads TEXT NOT NULL, started_s REAL NOT NULL,
    format INTEGER NOT NULL, state TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS segments_bed ON segments(bed, number);
CREATE INDEX IF NOT EXISTS segments_state ON segments(state, started_s);
CREATE TABLE IF NOT EXISTS beats(
    id INTEGER PRIMARY KEY, bed TEXT NOT NULL, run TEXT NOT NULL, sample INTEGER NOT NULL, decided INTEGER NOT NULL,
    found INTEGER NOT NULL, label TEXT NOT NULL, probabilities TEXT NOT NULL, rr_s REAL, heart_rate REAL,
    segment INTEGER);
CREATE INDEX IF NOT EXISTS beats_bed ON beats(bed);
CREATE TABLE IF NOT EXISTS events(
    id INTEGER PRIMARY KEY, bed TEXT NOT NULL, run TEXT NOT NULL, sample INTEGER NOT NULL, at_s REAL NOT NULL,
    kind TEXT NOT NULL, text TEXT NOT NULL, event_type TEXT, data TEXT);
CREATE INDEX IF NOT EXISTS events_bed ON events(bed);
CREATE TABLE IF NOT EXISTS ledger(
    id INTEGER PRIMARY KEY, bed TEXT NOT NULL, run TEXT NOT NULL, fs REAL NOT NULL, first INTEGER NOT NULL,
    next INTEGER NOT NULL, written INTEGER NOT NULL, recorded INTEGER NOT NULL, missing INTEGER NOT NULL,
    lost INTEGER NOT NULL, last_beat INTEGER, ended INTEGER NOT NULL, UNIQUE (bed, run));
CREATE TABLE IF NOT EXISTS alarms(
    id INTEGER PRIMARY KEY, bed TEXT NOT NULL, run TEXT NOT NULL, condition TEXT NOT NULL, onset INTEGER NOT NULL,
    priority TEXT NOT NULL, text TEXT NOT NULL, announced INTEGER NOT NULL, announced_s REAL NOT NULL,
    latching INTEGER NOT NULL, ended INTEGER, acknowledged_s REAL, UNIQUE (bed, run, condition, onset));
CREATE TABLE IF NOT EXISTS strips(
    id INTEGER PRIMARY KEY, bed TEXT NOT NULL, run TEXT NOT NULL, condition TEXT NOT NULL, onset INTEGER NOT NULL,
    lead TEXT NOT NULL, first INTEGER NOT NULL, wave BLOB NOT NULL, UNIQUE (bed, run, condition, onset));
"""


def is_session_database(path: Path) -> bool:
    """Return whether a file is the database of a session, by its first bytes."""
    if _open[path.absolute()]:
        return True
    header = _read_database_header(path)
    return header[:16] == _MAGIC and int.from_bytes(header[68:72]) == APPLICATION_ID


def open_to_write(folder: Path) -> sqlite3.Connection:
    """Open, make or upgrade the database of a session to record into. Raises RunError or sqlite3.Error."""
    path = folder / DATABASE_FILE
    if path.exists() and path.stat().st_size and not is_session_database(path):
        raise RunError(f"{path} is no database of a recording: choose another folder (--record)")
    # Only one thread uses a connection at a time; sqlite3 would insist on the one that made it.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _distrust_content(connection)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > LAYOUT_VERSION:
            raise RunError(f"{folder} was recorded by a later version of ecg-agent: update, or choose another folder")
        if _find_tables(connection) != LAYOUT_TABLES.get(version, frozenset()):
            raise RunError(f"{path} has other tables than a recording: choose another folder (--record)")
        if version == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with write_transaction(connection):
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            if 0 < version < TYPED_EVENTS_SINCE:
                add_event_types(connection)
            connection.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
        if version == 0:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except BaseException:
        connection.close()
        raise
    _open[path.absolute()] += 1
    return connection


def close_in_order(connection: sqlite3.Connection, folder: Path) -> None:
    """Close a database as a single file, readable from any medium; while others read it, it stays in WAL mode."""
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    close_database(connection, folder)


def close_database(connection: sqlite3.Connection, folder: Path) -> None:
    """Close the database of a session."""
    connection.close()
    _open[(folder / DATABASE_FILE).absolute()] -= 1


@contextlib.contextmanager
def write_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all that the block writes, or nothing if it fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite itself undoes what a full disk interrupts
            connection.execute("ROLLBACK")
        raise


def open_to_read(folder: Path) -> sqlite3.Connection:
    """Open the database of a session to read only, while it is recorded or after a kill; nothing on disk changes.

    Raises RecordError if there is none, or it is of another kind or version.
    """
    path = folder / DATABASE_FILE
    if special := find_special_file(folder):
        raise RecordError(f"cannot read the recording {folder}: {special}{_surviving_record_hint(folder)}")
    if not is_session_database(path):
        raise _missing_database_error(folder)
    connection = _connect_read_only(path)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in LAYOUT_TABLES:
            raise RecordError(
                f"{folder} is a recording of version {version}: this ecg-agent reads up to {LAYOUT_VERSION}"
            )
        if _find_tables(connection) != LAYOUT_TABLES[version]:
            raise RecordError(
                f"{folder} is a broken recording: {path.name} has other tables{_surviving_record_hint(folder)}"
            )
    except sqlite3.Error as error:
        connection.close()
        raise broken_database_error(folder, error) from error
    except BaseException:
        connection.close()
        raise
    _open[path.absolute()] += 1
    return connection


def broken_database_error(folder: Path, error: Exception) -> RecordError:
    """Return the error of a database that cannot be read."""
    reason = " ".join(str(error).split())
    return RecordError(
        f"cannot read {DATABASE_FILE} of the recording {folder}: {reason}{_surviving_record_hint(folder)}"
    )


def _missing_database_error(folder: Path) -> RecordError:
    """Return the error of a folder without the database of a recording."""
    left, what = _surviving_record_hint(folder), "broken" if (folder / DATABASE_FILE).exists() else "missing"
    if not left:
        return RecordError(f"{folder} is no recording: it has no valid {DATABASE_FILE}")
    return RecordError(f"{DATABASE_FILE} of the recording {folder} is {what}{left}")


def _surviving_record_hint(folder: Path) -> str:
    """Return what is left of a recording without its database, as the end of a message; "" if nothing is."""
    record = find_first_record(folder)
    return f"; its signal is still there, record by record: ecg-agent convert {record} OUT" if record else ""


def read_rows_paged(connection: sqlite3.Connection, query: str, values: tuple[Any, ...], page: int) -> Iterator[Any]:
    """Yield the rows of a query that ends in `id > ? ORDER BY id LIMIT ?` and selects the id first, page by page.

    Choose a small page for large rows. No transaction stays open between two pages: a slow reader does not hold up the
    writer's checkpoints.
    """
    last = -1
    while rows := connection.execute(query, (*values, last, page)).fetchall():
        yield from rows
        last = rows[-1][0]


def find_special_file(folder: Path) -> str:
    """Return, in words, which file of the database is a link, a pipe or the like; "" if none is.

    SQLite would wait for a pipe, and make its side files where a link leads.
    """
    for ending in SIDE_ENDINGS:
        name = f"{DATABASE_FILE}{ending}"
        if kind := special_file_kind(folder / name):
            return f"its {name} is {kind}, not a file"
    return ""


def _find_tables(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the names of all tables; those of triggers and views, which a recording has none of, with their kind."""
    made = connection.execute("SELECT type, name FROM sqlite_master WHERE type != 'index'").fetchall()
    return frozenset(name if kind == "table" else f"{kind} {name}" for kind, name in made)


def _distrust_content(connection: sqlite3.Connection) -> None:
    """Let a database neither run what it brings nor fill the memory with a single value."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")


def _read_database_header(path: Path) -> bytes:
    try:
        if special_file_kind(path):  # reading a pipe would block
            return b""
        with path.open("rb") as file:
            return file.read(100)
    except OSError:
        return b""


def _connect_read_only(path: Path) -> sqlite3.Connection:
    """Return a connection that changes nothing; if nobody else has the database open, not even its side files."""
    base = f"file:{quote(str(path.absolute()))}?mode=ro"
    alone = not _open[path.absolute()] and not path.with_name(f"{path.name}-wal").exists()
    for uri in (
        (f"{base}&immutable=1",) if alone and _read_database_header(path)[18] == _WAL else (base, f"{base}&immutable=1")
    ):
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _distrust_content(connection)
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except (
            sqlite3.Error,
            UnicodeDecodeError,
        ) as error:  # a medium that cannot be written lacks the files that WAL mode shares
            connection.close()
            failure: Exception = error
        else:
            return connection
    raise broken_database_error(path.parent, failure)
