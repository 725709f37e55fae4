"""What a store last heard of each replica: whoever is silent there is dead or hangs."""

import time

from agent.core.config import SecurityConfig
from agent.store.store_address import ask_store, open_store_client
from agent.store.store_messages import AskReplicas, ReplicasReply, ReplicaStatus
from model.errors import EcgError


class ToldReplicas:
    """Asks a store about its replicas."""

    def __init__(self, address: str, security: SecurityConfig) -> None:
        self._client = open_store_client(address, security, make=False)
        self._answers_since_s: float | None = None

    def read(self) -> dict[str, ReplicaStatus] | None:
        """Return the replicas by name; None if the store does not answer."""
        began_s = time.monotonic()
        try:
            replicas = ask_store(self._client, AskReplicas(), ReplicasReply).replicas
        except EcgError:
            self._answers_since_s = None
            return None
        if self._answers_since_s is None:
            self._answers_since_s = began_s
        return {replica.name: replica for replica in replicas}

    @property
    def answers_s(self) -> float:
        """For how many seconds it has answered each time."""
        return 0.0 if self._answers_since_s is None else time.monotonic() - self._answers_since_s
