"""The tables of a store, the same in SQLite and in PostgreSQL, and the check of what is there."""

from agent.store.store_database import NoStoreError, StoreDatabase
from model.errors import ConfigError

LAYOUT_VERSION = "3"
_TABLES = {
    "about": "key TEXT PRIMARY KEY, value TEXT NOT NULL",
    "replicas": """name TEXT PRIMARY KEY, token TEXT NOT NULL, host TEXT NOT NULL, pid BIGINT NOT NULL,
        started_s DOUBLE PRECISION NOT NULL, seen_s DOUBLE PRECISION NOT NULL""",
    "listeners": """bed TEXT NOT NULL, replica TEXT NOT NULL, since_s DOUBLE PRECISION NOT NULL,
        silent_s DOUBLE PRECISION, PRIMARY KEY (bed, replica)""",
    "beds": """bed TEXT PRIMARY KEY, speaker TEXT, run TEXT NOT NULL, seen_s DOUBLE PRECISION NOT NULL""",
    "ledger": """bed TEXT NOT NULL, run TEXT NOT NULL, number BIGINT NOT NULL, fs DOUBLE PRECISION NOT NULL,
        first BIGINT NOT NULL, next BIGINT NOT NULL, analysed BIGINT NOT NULL, missing BIGINT NOT NULL,
        told BIGINT NOT NULL, ended BIGINT NOT NULL, teller TEXT NOT NULL, heart_rate DOUBLE PRECISION,
        n BIGINT NOT NULL, s BIGINT NOT NULL, v BIGINT NOT NULL, f BIGINT NOT NULL, q BIGINT NOT NULL,
        PRIMARY KEY (bed, run)""",
    "beats": """bed TEXT NOT NULL, run TEXT NOT NULL, sample BIGINT NOT NULL, decided BIGINT NOT NULL,
        found BIGINT NOT NULL, label TEXT NOT NULL, probabilities TEXT NOT NULL, rr_s DOUBLE PRECISION,
        heart_rate DOUBLE PRECISION, replica TEXT NOT NULL, PRIMARY KEY (bed, run, sample)""",
    "alarms": """bed TEXT NOT NULL, run TEXT NOT NULL, condition TEXT NOT NULL, onset BIGINT NOT NULL,
        priority TEXT NOT NULL, text TEXT NOT NULL, announced BIGINT NOT NULL, announced_s DOUBLE PRECISION NOT NULL,
        latching BIGINT NOT NULL, ended BIGINT, acknowledged_s DOUBLE PRECISION, onset_s DOUBLE PRECISION,
        replica TEXT NOT NULL,
        PRIMARY KEY (bed, run, condition, onset)""",
    "events": """id TEXT PRIMARY KEY, replica TEXT NOT NULL, bed TEXT NOT NULL, run TEXT NOT NULL,
        sample BIGINT NOT NULL, at_s DOUBLE PRECISION NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
        event_type TEXT, data TEXT""",
    "deeds": """number BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, bed TEXT NOT NULL, kind TEXT NOT NULL,
        by TEXT NOT NULL, at_s DOUBLE PRECISION NOT NULL, replica TEXT NOT NULL, alarms TEXT NOT NULL,
        data TEXT NOT NULL""",
}
ON_SCREEN = "ended IS NULL OR (latching = 1 AND acknowledged_s IS NULL)"
"""Of alarms that are to be shown."""
_INDEXES = {
    "alarms_on_screen": f"alarms(bed) WHERE {ON_SCREEN}",
    "alarms_of_bed": "alarms(bed, announced_s)",
    "events_in_time": "events(at_s)",
    "events_of_bed": "events(bed, at_s)",
}
"""Once a second the ward is read: none of it may take longer the longer a store is kept."""


def prepare_tables(database: StoreDatabase, fleet: str, make: bool = True) -> str:
    """Return the name of the fleet that a store is of; with `make` the tables of a new store are made.

    Raises NoStoreError where there is none, ConfigError for one of another version or, where `fleet` is not "", of
    another fleet, and SourceError.
    """
    with database.transaction():
        found = database.tables() & frozenset(_TABLES)
        if found and found != frozenset(_TABLES):
            raise ConfigError(f"{database.shown} has other tables than a store of a fleet: choose another database")
        if not found and not make:
            raise NoStoreError(f"{database.shown} is no store of a fleet: check its address")
        if not found:
            for name, columns in _TABLES.items():
                database.write(f"CREATE TABLE {name}({columns})", [()])
            for name, columns in _INDEXES.items():
                database.write(f"CREATE INDEX {name} ON {columns}", [()])
            database.write("INSERT INTO about VALUES (?, ?)", [("version", LAYOUT_VERSION), ("fleet", fleet)])
            return fleet
        about = dict(database.read("SELECT key, value FROM about"))
    if about.get("version") != LAYOUT_VERSION:
        reason = f"a store of version {about.get('version', '?')}: this ecg-agent keeps version {LAYOUT_VERSION}"
        raise ConfigError(f"{database.shown} is {reason}; begin a new one")
    if fleet and about.get("fleet") != fleet:
        raise ConfigError(f"{database.shown} is the store of {name_fleet(about.get('fleet', ''))}, not of {fleet!r}")
    return str(about.get("fleet", ""))


def name_fleet(name: object) -> str:
    """Return a fleet in words."""
    return f"the fleet {name!r}" if name else "a fleet without a name"
