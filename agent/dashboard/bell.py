"""When the terminal's bell rings: at once for a new alarm, and repeatedly while the alarm is audible."""

from collections.abc import Sequence
from math import inf

from agent.core.messages import Priority
from agent.core.views import BedSummary

BELL_CHARACTER = "\a"
PRIORITY_RANKS: dict[Priority | None, int] = {None: 0, "low": 1, "medium": 2, "high": 3}
RING_AGAIN_S = (inf, inf, 10.0, 3.0)
"""Seconds until the bell rings again, by rank: a low alarm rings once."""
LEAST_BETWEEN_RINGS_S = 1.0
"""Least seconds between two rings, however many alarms begin."""


class AlarmBell:
    """Decides when to ring. A terminal has only one sound, so the interval between rings says the priority."""

    def __init__(self) -> None:
        self._ranks: dict[str, int] = {}
        self._rung_s = -inf
        self._new = False

    def due(self, index: Sequence[BedSummary], now_s: float) -> bool:
        """Return whether to ring now for the audible alarms of these beds."""
        ranks = {bed.bed: PRIORITY_RANKS[bed.audible] for bed in index if bed.audible}
        # Kept until the bell rings, which may be a second after the alarm began
        self._new |= any(rank > self._ranks.get(bed, 0) for bed, rank in ranks.items())
        self._ranks = ranks
        if not ranks:
            self._new = False
            return False
        elapsed_s = now_s - self._rung_s
        if elapsed_s < (LEAST_BETWEEN_RINGS_S if self._new else RING_AGAIN_S[max(ranks.values())]):
            return False
        self._rung_s = now_s
        self._new = False
        return True
