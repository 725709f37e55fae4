"""What a bed's events may take up: so many on the dashboard, so many in all, whatever it does."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agent.core.events import Event, EventKind, EventsOmitted
from agent.core.messages import Result

EVENT_BURST = 40
"""Events of a bed that are told one after the other,"""
SAMPLES_PER_EVENT = 500
"""... and then one for so many samples of it that were analysed: a quick replay tells as much as a slow one."""
EVENT_SUMMARY_S = 60.0
"""How often it is said what else there was."""
BED_SHARE_DIVISOR = 4
"""A bed's events are not pushed from the latest ones by others while they are no more than one in so many."""


@dataclass(slots=True)
class _EventBudget:
    left: float = EVENT_BURST
    analysed: int = 0
    untold: Counter[EventKind] = field(default_factory=Counter)
    run: str = ""
    sample: int = 0
    sum_s: float = 0.0


class EventLimiter:
    """Leaves out what is too much; `analysed` says how many samples of a bed were. The link's own events all pass."""

    def __init__(self, analysed: Callable[[str], int]) -> None:
        self._analysed = analysed
        self._beds: dict[str, _EventBudget] = {}
        self._over: set[str] = set()
        """Beds with events that were not told."""

    def take(self, found: Iterable[Result], now_s: float, ended: bool = False) -> list[Result]:
        """What is to be told of what was found; at the end, or a minute later, the numbers of the rest."""
        out = [one for one in found if not isinstance(one, Event) or not one.bed or self._may(one, now_s)]
        for name in [name for name in self._over if ended or now_s - self._beds[name].sum_s >= EVENT_SUMMARY_S]:
            bed = self._beds[name]
            bed.sum_s = now_s
            if not bed.untold:
                self._over.discard(name)
                continue
            counts = tuple(bed.untold.most_common())
            out.append(EventsOmitted(counts[0][0], name, bed.run, bed.sample, counts))
            bed.untold.clear()
        return out

    def _may(self, event: Event, now_s: float) -> bool:
        bed = self._beds.get(event.bed)
        if bed is None:
            bed = self._beds[event.bed] = _EventBudget(analysed=self._analysed(event.bed))
        analysed = self._analysed(event.bed)
        bed.left = min(EVENT_BURST, bed.left + max(0, analysed - bed.analysed) / SAMPLES_PER_EVENT)
        bed.analysed = analysed
        if bed.left >= 1:
            bed.left -= 1
            return True
        bed.untold[event.kind] += 1
        bed.run, bed.sample = event.run, event.sample
        if event.bed not in self._over:
            self._over.add(event.bed)
            bed.sum_s = now_s
        return False


class EventLog:
    """The latest events, `most` of them; where one has to go it is the oldest of who has more than a share of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._events: list[Event] = []
        self._of: Counter[str] = Counter()

    def take(self, found: Iterable[Result]) -> None:
        """Remember the events among what was told."""
        for one in found:
            if isinstance(one, Event):
                self._events.append(one)
                self._of[one.bed] += 1
                if len(self._events) > self._most:
                    self._drop()

    def all(self) -> tuple[Event, ...]:
        """The oldest first."""
        return tuple(self._events)

    def _drop(self) -> None:
        ((loudest, count),) = self._of.most_common(1)
        place = 0
        if count > max(1, self._most // BED_SHARE_DIVISOR):
            place = next(i for i, event in enumerate(self._events) if event.bed == loudest)
        bed = self._events.pop(place).bed
        self._of[bed] -= 1
        if not self._of[bed]:
            del self._of[bed]
