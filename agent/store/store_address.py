"""Addresses of stores: `store:PATH`, `postgresql://…` and `store://HOST:PORT[?server_key=FILE]`, or one in an @FILE."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

from agent.core.config import SecurityConfig
from agent.outputs.output_options import read_addresses
from agent.store.fleet_store import FleetStore
from agent.store.store_database import PostgresqlDatabase, SqliteDatabase, StoreDatabase
from agent.store.store_messages import Refusal, StoreReply, StoreRequest
from model.errors import ConfigError, SourceError, clean_error_text

STORE_SCHEMES = ("store", "postgresql", "postgres")
"""How the address of a store begins, before a colon."""
ReplyType = TypeVar("ReplyType", bound=StoreReply)
_FORMS = "a store is store:FILE, postgresql://… or store://HOST:PORT"


class StoreClient(Protocol):
    """Whoever answers requests: the store itself, or a connection to its server."""

    @property
    def shown(self) -> str:
        """Where it is, without secrets."""

    def answer(self, request: StoreRequest) -> StoreReply:
        """Return the reply, which may be a Refusal. Raises SourceError without one."""

    def close(self) -> None:
        """Close the connection."""


def read_store_address(address: str) -> str:
    """Return an address, of an @FILE the only store in it: so a password is on no command line. Raises ConfigError.

    All that opens a store takes such a file; other outputs may stand in it, too, as for `--publish`.
    """
    if not address.startswith("@"):
        return address
    stores = [of for of in read_addresses([address], "store") if of.partition(":")[0] in STORE_SCHEMES]
    if len(stores) != 1:
        raise ConfigError(f"store {address}: {address[1:]} names {len(stores) or 'no'} store{'s' * (len(stores) > 1)}")
    return stores[0]


def open_store_database(address: str, make: bool = True) -> StoreDatabase:
    """Return the database of an address, not yet connected; with `make` a file that is not there will be made.

    Raises ConfigError for an address of another kind.
    """
    address = read_store_address(address)
    scheme, _, rest = address.partition(":")
    if scheme in ("postgresql", "postgres"):
        return PostgresqlDatabase(address)
    if scheme == "store" and rest and not rest.startswith("//"):
        return SqliteDatabase(Path(rest).expanduser(), make)
    hint = f"; write store:{address}" if Path(address).is_file() else ""
    raise ConfigError(f"{address!r} is no database: {_FORMS.rpartition(' or ')[0]}{hint}")


def is_new_store_file(address: str) -> bool:
    """Return whether an address is that of a file that is not there yet; nothing is made.

    Raises ConfigError for an address of another kind, and SourceError where no file could be made.
    """
    address = read_store_address(address)
    if not isinstance(open_store_database(address), SqliteDatabase):
        return False
    path = Path(address.partition(":")[2]).expanduser()
    try:
        if path.exists():
            return False
        with tempfile.TemporaryFile(dir=path.parent):
            return True
    except (OSError, ValueError) as error:
        raise SourceError(f"store:{path}: no store can be made there: {clean_error_text(error)}") from error


def open_store_client(address: str, security: SecurityConfig, make: bool = True) -> StoreClient:
    """Return what answers requests to the store of an address; with `make` a file that is not there will be made.

    Raises ConfigError or EndpointError for an address, or keys, that cannot be used. One that does not answer yet is
    asked again with each request.
    """
    address = read_store_address(address)
    if not address.startswith("store://"):
        return FleetStore(open_store_database(address, make), make=make)
    from agent.store.remote_store import RemoteStore

    try:
        parts = urlsplit(address)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        keys = query.pop("server_key", [])
    except ValueError as error:
        raise ConfigError(f"{address!r} is no address: {_FORMS}") from error
    if query or len(keys) > 1 or parts.path not in ("", "/"):
        raise ConfigError(f"{address!r} is no address: {_FORMS}, with ?server_key=FILE if it has a key")
    if keys:  # the store's own key; none, if it has none, whatever the device has
        security = replace(security, server_key=keys[0], key=security.key if keys[0] else "")
    return RemoteStore(f"tcp://{parts.netloc}", security)


def ask_store(client: StoreClient, request: StoreRequest, kind: type[ReplyType]) -> ReplyType:
    """Return the reply to a request, which is of this kind.

    Raises SourceError for a Refusal, or any other reply, ConfigError for a Refusal for good, and NoStoreError where
    there is no store yet.
    """
    reply = client.answer(request)
    if isinstance(reply, Refusal):
        raise (ConfigError if reply.for_good else SourceError)(reply.reason)
    if not isinstance(reply, kind):
        raise SourceError(f"{client.shown} answers something else than it was asked")
    return reply
