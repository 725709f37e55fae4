"""The latest events, for people: a noisy bed can neither flood what is shown nor push the events of others out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.core.events import Backfilled, Event, EventKind, EventsOmitted
from agent.core.messages import Result
from agent.core.rate_limit import TokenBucket
from agent.core.run_clock import RunClock
from agent.core.views import LoggedEvent
from agent.monitor.backfill_round import BackfillRound

EVENT_BURST = 40
"""Events of a bed that are shown one after the other."""
SAMPLES_PER_EVENT = 500
"""Analysed samples of a bed that earn it another event: a quick replay shows as much as a slow one."""
SUMMARY_PERIOD_S = 60.0
"""How often the events that were not shown are summed up."""
LARGEST_SHARE = 4
"""Others push no events of a bed out of the log while these are at most one in LARGEST_SHARE."""


@dataclass(slots=True)
class _BedBudget:
    bucket: TokenBucket
    omitted: Counter[EventKind] = field(default_factory=Counter)
    run: str = ""
    sample: int = 0
    summed_s: float = 0.0


class EventLimiter:
    """Drops events above a bed's budget, and says once what was fetched again of many beds.

    `analysed` gives a bed's analysed samples, which refill the budget.

    Events of the link and the recording are never dropped. This limit belongs to what people look at: JSON lines and
    recordings get every event.
    """

    def __init__(self, analysed: Callable[[str], int]) -> None:
        self._analysed = analysed
        self._beds: dict[str, _BedBudget] = {}
        self._round = BackfillRound()
        self._over: set[str] = set()
        """Beds with events that were omitted."""

    def limit(self, results: Sequence[Result], now_s: float, ended: bool = False) -> list[Result]:
        """Return what is to be shown; once a minute, and when the monitor has `ended`, with the sum of the rest."""
        self._round.take([item for item in results if isinstance(item, Backfilled)], now_s)
        told = [item for item in results if not isinstance(item, Backfilled)] + self._round.close(now_s, ended)
        out = [item for item in told if not isinstance(item, Event) or not item.bed or self._admits(item, now_s)]
        for name in [name for name in self._over if ended or now_s - self._beds[name].summed_s >= SUMMARY_PERIOD_S]:
            bed = self._beds[name]
            bed.summed_s = now_s
            if not bed.omitted:
                self._over.discard(name)
                continue
            counts = tuple(bed.omitted.most_common())
            out.append(EventsOmitted(counts[0][0], name, bed.run, bed.sample, counts))
            bed.omitted.clear()
        return out

    def _admits(self, event: Event, now_s: float) -> bool:
        analysed = self._analysed(event.bed)
        bed = self._beds.get(event.bed)
        if bed is None:
            bed = self._beds[event.bed] = _BedBudget(TokenBucket(EVENT_BURST, SAMPLES_PER_EVENT, analysed))
        if bed.bucket.take(analysed):
            return True
        bed.omitted[event.kind] += 1
        bed.run, bed.sample = event.run, event.sample
        if event.bed not in self._over:
            self._over.add(event.bed)
            bed.summed_s = now_s
        return False


class EventLog:
    """A bounded log of events; a full one drops the oldest event of the bed that has more than its share."""

    def __init__(self, most: int, run_clock: RunClock) -> None:
        self._most, self._run_clock = most, run_clock
        self._events: list[LoggedEvent] = []
        self._of: Counter[str] = Counter()

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002  # results only
        """Keep the events among the results."""
        for item in results:
            if isinstance(item, Event):
                at_s = self._run_clock.time_of(item.bed, item.run, item.sample) if item.bed else None
                self._events.append(LoggedEvent(item, now_s if at_s is None else at_s))
                self._of[item.bed] += 1
                if len(self._events) > self._most:
                    self._drop()

    def all(self) -> tuple[LoggedEvent, ...]:
        """Return the events, the oldest first."""
        return tuple(self._events)

    def _drop(self) -> None:
        ((loudest, count),) = self._of.most_common(1)
        place = 0
        if count > max(1, self._most // LARGEST_SHARE):
            place = next(i for i, logged in enumerate(self._events) if logged.event.bed == loudest)
        bed = self._events.pop(place).event.bed
        self._of[bed] -= 1
        if not self._of[bed]:
            del self._of[bed]
