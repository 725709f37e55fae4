"""The latest alarms of each bed, for viewers."""

from collections import deque
from collections.abc import Sequence

from agent.core.messages import Alarm, Result

KEPT_ALARMS, SHOWN_ALARMS = 64, 16
"""Latest alarms kept of a bed, and those of them that its page shows."""


class AlarmHistory:
    """A result sink that keeps the latest alarms of each bed, as they stood last."""

    def __init__(self) -> None:
        self._beds: dict[str, deque[Alarm]] = {}

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002  # results only
        """Keep the alarms among the results; one that is known already is replaced."""
        for item in results:
            if isinstance(item, Alarm):
                self._keep(item)

    def of(self, bed: str) -> tuple[Alarm, ...]:
        """Return the latest alarms of a bed, the newest first."""
        return self.kept(bed)[:SHOWN_ALARMS]

    def kept(self, bed: str) -> tuple[Alarm, ...]:
        """Return all alarms of a bed that are kept, the newest first."""
        return tuple(reversed(self._beds.get(bed, ())))

    def _keep(self, alarm: Alarm) -> None:
        kept = self._beds.setdefault(alarm.bed, deque(maxlen=KEPT_ALARMS))
        for place, known in enumerate(kept):
            if (known.run, known.condition, known.onset) == (alarm.run, alarm.condition, alarm.onset):
                kept[place] = alarm
                return
        kept.append(alarm)
