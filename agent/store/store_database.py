"""The database of a store: SQLite in WAL mode, or PostgreSQL, behind one class of few methods.

Statements are written once, with `?` for values. Transactions of all replicas come one after the other in both.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from agent.recording.database import write_transaction
from model.errors import ConfigError, SourceError, clean_error_text
from model.files import special_file_kind

APPLICATION_ID = 0x45434746
"""Distinguishes a store from any other SQLite file."""
LARGEST_VALUE = 2**24
BUSY_S = 2.0
"""How long a transaction waits for those before it."""
FROZEN_MS = 1000
"""PostgreSQL ends a transaction whose process has stood still for this long: the others wait for it."""
LOCK_KEY = 0x45434746
"""Of the lock that puts the transactions of PostgreSQL in a row."""
PostgresConnection = Any
"""psycopg is imported only where it is used."""
_Values = Sequence[object]


class NoStoreError(ConfigError):
    """There is no store at an address, which may come: a monitor makes one."""


class StoreDatabase(Protocol):
    """A database. All methods raise SourceError while it is away, full or read-only; the next one tries again."""

    shown: str
    """Its address without secrets."""

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Write all that the block writes, once it has ended, or nothing."""

    def read(self, query: str, values: _Values = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def write(self, statement: str, rows: Sequence[_Values]) -> None:
        """Carry out a statement for each row of values."""

    def tables(self) -> frozenset[str]:
        """Return the names of its tables."""

    def now_s(self) -> float:
        """Return the Unix time by the clock of its machine."""

    def close(self) -> None:
        """Close the connection."""


class SqliteDatabase:
    """A file. Only one thread at a time uses it, and only processes of one machine."""

    def __init__(self, path: Path, make: bool = True) -> None:
        """`make`: a file that is not there is made."""
        self.shown = f"store:{path}"
        self._path, self._make = path, make
        self._db: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self._explained() as db, write_transaction(db):
            yield

    def read(self, query: str, values: _Values = ()) -> list[tuple[Any, ...]]:
        with self._explained() as db:
            return db.execute(query, values).fetchall()

    def write(self, statement: str, rows: Sequence[_Values]) -> None:
        with self._explained() as db:
            db.executemany(statement, rows)

    def tables(self) -> frozenset[str]:
        return frozenset(name for (name,) in self.read("SELECT name FROM sqlite_master WHERE type = 'table'"))

    def now_s(self) -> float:
        return time.time()

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    @contextlib.contextmanager
    def _explained(self) -> Iterator[sqlite3.Connection]:
        """The connection, opened if need be; an error of SQLite as one line."""
        try:
            if self._db is None:
                self._db = self._open()
            yield self._db
        except sqlite3.Error as error:
            self.close()
            raise SourceError(f"{self.shown}: {clean_error_text(error)}") from error

    def _open(self) -> sqlite3.Connection:
        if special := special_file_kind(self._path):
            raise ConfigError(f"{self._path} is {special}, not a file: choose another place for the store")
        if not self._make and not self._path.exists():
            if not self._path.absolute().parent.is_dir():
                raise ConfigError(f"no folder for a store {self._path}: check its path")
            hint = f"check its path, or start a monitor with --publish {self.shown}"
            raise NoStoreError(f"no store {self._path}: {hint}")
        db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
            db.execute("PRAGMA trusted_schema = OFF")
            ((application,),) = db.execute("PRAGMA application_id").fetchall()
            if application != APPLICATION_ID:
                if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise ConfigError(f"{self._path} is a database, but no store of a fleet: choose another file")
                if not self._make:
                    raise NoStoreError(f"{self._path} is empty, no store of a fleet: choose another file")
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            db.execute("PRAGMA synchronous = FULL")  # what was confirmed survives the machine, too
        except sqlite3.DatabaseError as error:
            db.close()
            if "not a database" in str(error):
                raise ConfigError(f"{self._path} is no store of a fleet: choose another file") from error
            raise
        except BaseException:
            db.close()
            raise
        return db


class PostgresqlDatabase:
    """A database of a server, by URL. Raises ConfigError without psycopg. Only one thread at a time uses it."""

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise ConfigError(
                "a store in PostgreSQL needs psycopg: pip install 'ecg-agent[postgres]'"  # extra of pyproject.toml
            ) from error
        self._psycopg, self._url = psycopg, url
        parts = urlsplit(url)
        host = parts.hostname or ""
        self.shown = f"postgresql://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
        self._db: PostgresConnection | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self._explained() as db:
            db.execute("BEGIN")
            try:
                db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
                yield
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(self._psycopg.Error):  # the connection may be closed by now
                    db.execute("ROLLBACK")
                raise

    def read(self, query: str, values: _Values = ()) -> list[tuple[Any, ...]]:
        with self._explained() as db:
            rows: list[tuple[Any, ...]] = db.execute(query.replace("?", "%s"), values).fetchall()
            return rows

    def write(self, statement: str, rows: Sequence[_Values]) -> None:
        with self._explained() as db:
            if len(rows) == 1 or not rows:
                for row in rows:
                    db.execute(statement.replace("?", "%s"), row)
                return
            with db.cursor() as cursor:
                cursor.executemany(statement.replace("?", "%s"), rows)

    def tables(self) -> frozenset[str]:
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
        return frozenset(name for (name,) in self.read(query))

    def now_s(self) -> float:
        return float(self.read("SELECT extract(epoch FROM clock_timestamp())::double precision")[0][0])

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(self._psycopg.Error):
                self._db.close()
            self._db = None

    @contextlib.contextmanager
    def _explained(self) -> Iterator[PostgresConnection]:
        """The connection, opened if need be; an error of PostgreSQL as one line without the password."""
        try:
            if self._db is None:
                self._db = self._open()
            yield self._db
        except self._psycopg.Error as error:
            self.close()
            password = urlsplit(self._url).password
            text = clean_error_text(error)
            reason = text.replace(password, "…") if password else text
            raise SourceError(f"{self.shown}: {reason}") from error

    def _open(self) -> PostgresConnection:
        limits = {"statement_timeout": round(1000 * BUSY_S), "idle_in_transaction_session_timeout": FROZEN_MS}
        options = " ".join(f"-c {name}={value}" for name, value in limits.items())
        return self._psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=2,
            keepalives_idle=1,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=4000,
            options=options,
            application_name="ecg-agent",
        )
