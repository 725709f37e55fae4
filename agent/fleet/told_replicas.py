"""What a store last heard of each replica: whoever is silent there is dead or hangs."""

import time

from agent.core.config import SecurityConfig
from agent.store.fleet_store import TAKEOVER_S
from agent.store.store_address import ask_store, open_store_client, open_store_database
from agent.store.store_messages import AskStatus, ReplicaStatus, StatusReply
from model.errors import EcgError

_REPLICAS = """SELECT r.name, r.host, r.pid, r.seen_s, (SELECT count(*) FROM listeners l WHERE l.replica = r.name)
    FROM replicas r"""
SPARED = 5
"""A server, which answers with all beds, is not asked again before so many times as long as its answer took."""


class ToldReplicas:
    """Asks a store about its replicas."""

    def __init__(self, address: str, security: SecurityConfig) -> None:
        self._address, self._security = address, security
        self._database = None if address.startswith("store://") else open_store_database(address, make=False)
        self._client = None if self._database else open_store_client(address, security, make=False)
        self._due_s = 0.0
        self._answers_since_s: float | None = None

    def read(self) -> dict[str, ReplicaStatus] | None:
        """Return the replicas by name; None if the store does not answer, or is not to be asked yet."""
        if time.monotonic() < self._due_s:
            return None
        began_s = time.monotonic()
        try:
            replicas = self._read_database() if self._database else self._read_server()
        except EcgError:
            self._answers_since_s = None
            return None
        finally:
            if self._client:
                self._due_s = time.monotonic() + SPARED * (time.monotonic() - began_s) - 1.0
        if self._answers_since_s is None:
            self._answers_since_s = began_s
        return replicas

    @property
    def answers_s(self) -> float:
        """For how many seconds it has answered each time."""
        return 0.0 if self._answers_since_s is None else time.monotonic() - self._answers_since_s

    def _read_database(self) -> dict[str, ReplicaStatus]:
        assert self._database is not None
        now_s = self._database.now_s()
        return {
            name: ReplicaStatus(name, host, pid, seen_s >= now_s - TAKEOVER_S, max(0.0, now_s - seen_s), beds)
            for name, host, pid, seen_s, beds in self._database.read(_REPLICAS)
        }

    def _read_server(self) -> dict[str, ReplicaStatus]:
        assert self._client is not None
        return {replica.name: replica for replica in ask_store(self._client, AskStatus(), StatusReply).replicas}
