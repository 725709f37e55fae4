"""To which beds a replica listens, for how long, and whether it hears them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from agent.core.messages import Chunk, End, Gap
from agent.store.store_messages import Listening

DEAF_AFTER_S = 2.0
"""A bed of which nothing has come for this long is not heard."""


@dataclass(slots=True)
class _HeardBed:
    """Monotonic times: listened to without a gap since `since_s`, heard last at `heard_s`. `run_ended`: none is due.

    `told`: what the store knows, as (since_s, hears).
    """

    since_s: float
    heard_s: float
    run_ended: bool = False
    told: tuple[float, bool] | None = None


class ListeningBeds:
    """Beds count once something of them has come, those that have to catch up once they have."""

    def __init__(self) -> None:
        self._beds: dict[str, _HeardBed] = {}
        self._catching_up: set[str] = set()

    def wait_for(self, beds: Iterable[str]) -> None:
        """Let these beds not count until they have caught up."""
        self._catching_up.update(beds)

    def note_caught_up(self, bed: str) -> None:
        """Let a bed count from now on."""
        self._catching_up.discard(bed)
        if (heard := self._beds.get(bed)) is not None:
            heard.since_s = time.monotonic()

    def follow(self, message: Chunk | Gap | End) -> None:
        """Take what came. After a gap listening begins anew: another replica may have heard what is missing."""
        now_s = time.monotonic()
        heard = self._beds.get(message.bed)
        if heard is None:
            heard = self._beds[message.bed] = _HeardBed(now_s, now_s)
        heard.heard_s = now_s
        heard.run_ended = isinstance(message, End)
        if isinstance(message, Gap):
            heard.since_s = now_s

    def changes(self, afresh: bool) -> list[Listening]:
        """Return what has changed since the last call, or with `afresh` all."""
        now_s = time.monotonic()
        changes: list[Listening] = []
        for bed, heard in self._beds.items():
            state = heard.since_s, heard.run_ended or now_s - heard.heard_s < DEAF_AFTER_S
            if bed not in self._catching_up and (afresh or state != heard.told):
                heard.told = state
                changes.append(Listening(bed, now_s - heard.since_s, state[1]))
        return changes
