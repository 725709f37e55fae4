"""All beds at a glance, for the order and the counts of the dashboard, and the last alarms of each."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from agent.core.messages import Alarm, BedStatus, BedSummary, Ledger, Priority, Result
from agent.pipeline.monitored_bed import MonitoredBed

INDEX_REFRESH_S = 0.25
"""A thousand beds are looked at anew no more often: twenty pictures a second need not pay for it."""
KEPT_ALARMS = 16
"""Last alarms kept of a bed."""


class AlarmLookup(Protocol):
    """What is known of the alarms of each row."""

    def view(self, row: int) -> tuple[Alarm, ...]: ...

    def urgency(self, row: int) -> int: ...

    def audible(self, row: int, now_s: float) -> Priority | None: ...

    def silenced_until_s(self, row: int) -> float: ...


class WardIndex:
    """The beds of `beds`, which grows; `ledger` says what became of the samples of a bed."""

    def __init__(
        self, beds: dict[str, MonitoredBed], alarms: AlarmLookup, ledger: Callable[[str], Ledger], lost_s: float
    ) -> None:
        self._beds, self._alarms, self._ledger, self._lost_s = beds, alarms, ledger, lost_s
        self._index: tuple[BedSummary, ...] = ()
        self._total = Ledger()
        self._stale_s = self._looked_s = 0.0

    def forget(self) -> None:
        """Look anew the next time."""
        self._stale_s = 0.0

    def look(self, now_s: float) -> tuple[tuple[BedSummary, ...], Ledger]:
        """All beds in the order of their arrival, the same tuple for EVERY_S, and the samples of all together."""
        if len(self._beds) == len(self._index) and self._looked_s <= now_s < self._stale_s:
            return self._index, self._total
        self._index = tuple(self._glance(bed, now_s) for bed in self._beds.values())
        sent = analysed = missing = 0
        for name in self._beds:
            ledger = self._ledger(name)
            sent, analysed, missing = sent + ledger.sent, analysed + ledger.analysed, missing + ledger.missing
        self._total = Ledger(sent, analysed, missing)
        self._looked_s, self._stale_s = now_s, now_s + INDEX_REFRESH_S
        return self._index, self._total

    def _glance(self, bed: MonitoredBed, now_s: float) -> BedSummary:
        alarms, row = self._alarms, bed.row
        state: BedStatus = bed.state(now_s, self._lost_s)
        shown = alarms.view(row)
        behind_s = max(0.0, now_s - bed.sent_s) if bed.sent_s and not bed.ended else 0.0
        if not shown and alarms.silenced_until_s(row) <= now_s:
            return BedSummary(bed.name, state, behind_s=behind_s)
        return BedSummary(
            bed.name,
            state,
            alarms.urgency(row),
            shown[0].priority if shown else None,
            alarms.audible(row, now_s),
            alarms.silenced_until_s(row) > now_s,
            behind_s,
        )


class AlarmHistory:
    """The last alarms of each bed, as they stood when they were last told of."""

    def __init__(self) -> None:
        self._beds: dict[str, deque[Alarm]] = {}

    def take(self, found: Iterable[Result]) -> None:
        """Remember the alarms among what was told."""
        for one in found:
            if isinstance(one, Alarm):
                kept = self._beds.setdefault(one.bed, deque(maxlen=KEPT_ALARMS))
                for place, known in enumerate(kept):
                    if (known.run, known.condition, known.onset) == (one.run, one.condition, one.onset):
                        kept[place] = one
                        break
                else:
                    kept.append(one)

    def of(self, bed: str) -> tuple[Alarm, ...]:
        """Those of a bed, the newest first."""
        return tuple(reversed(self._beds.get(bed, ())))
