"""Rendezvous hashing: which of several shards something belongs to, with nothing to remember."""

from collections.abc import Iterable
from hashlib import blake2b


def choose_shard(name: str, shards: Iterable[int]) -> int:
    """Return the shard of a name, the same on every host.

    With one shard more, one in as many names moves, all to the new one; with one less, only those that it had.
    """
    return max(shards, key=lambda shard: (blake2b(f"{shard}\0{name}".encode(), digest_size=8).digest(), shard))
