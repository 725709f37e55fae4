"""What was fetched again of many beds at about the same time, as when a monitor joins a ward: said once a reason."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from agent.core.events import Backfilled, BedsBackfilled
from agent.core.messages import Result

CALM_S: Final = 1.0
"""A round is over when nothing was fetched for this long ..."""
LONGEST_S: Final = 10.0
"""... or when it has lasted for this long."""
MOST_NAMED: Final = 3
"""Beds that are named one by one."""


class BackfillRound:
    """Holds such events back until their round is over."""

    def __init__(self) -> None:
        self._held: list[Backfilled] = []
        self._first_s = self._last_s = 0.0

    def take(self, events: Sequence[Backfilled], now_s: float) -> None:
        """Take the events of this moment."""
        if events:
            self._first_s = self._first_s if self._held else now_s
            self._last_s = now_s
            self._held += events

    def close(self, now_s: float, ended: bool) -> list[Result]:
        """Return what is to be said of a round that is over, or if the monitor has `ended`."""
        over = now_s - self._last_s >= CALM_S or now_s - self._first_s >= LONGEST_S or ended
        if not self._held or not over:
            return []
        held, self._held = self._held, []
        said: list[Result] = []
        for sent_before in (True, False):
            alike = [event for event in held if event.sent_before is sent_before]
            seconds: dict[str, float] = defaultdict(float)
            for event in alike:
                seconds[event.bed] += event.seconds
            if len(seconds) > MOST_NAMED:
                said.append(BedsBackfilled(len(seconds), max(seconds.values()), sent_before))
            else:
                said += alike
        return said
