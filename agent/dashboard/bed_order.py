"""The order of the beds in the ward view, by rules that let the user read and choose.

- Beds are sorted by urgency, the highest first, equal ones by arrival; or all by arrival.
- They are sorted at most once in SORT_EVERY_S, and not within HOLD_S after a key, so that the bed which the user is
  about to choose stays in its place. The counts of the alarms above the beds never wait.
- A bed rises at the next sorting, but sinks only after it has been less urgent for SINK_S, so that an intermittent
  alarm does not move it up and down.
- A new bed comes last until the next sorting.
- The chosen bed is known by its name, and the page follows it. Without a chosen bed the first page is shown. IDLE_S
  after the last key a choice on another page is dropped: an unattended ward shows its most urgent beds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from agent.core.views import BedSummary

SORT_EVERY_S = 1.0
HOLD_S = 5.0
SINK_S = 10.0
IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class BedOrder:
    """The beds in order: `names`, and the `places` of the names in it.

    `ranks` holds the urgency by which a bed is sorted, and until when, though the bed may have become less urgent.
    """

    names: tuple[str, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    ranks: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    by_urgency: bool = True
    sorted_s: float = -inf
    index: Sequence[BedSummary] = ()
    """The index that the order was last compared with."""


def restrict_order(order: BedOrder, names: Sequence[str]) -> BedOrder:
    """Return the order of these beds alone."""
    wanted = set(names)
    kept = tuple(name for name in order.names if name in wanted)
    return BedOrder(kept, _index_names(kept), order.ranks, order.by_urgency, order.sorted_s)


def update_order(order: BedOrder, index: Sequence[BedSummary], now_s: float, by_urgency: bool, held: bool) -> BedOrder:
    """Return the order at `now_s`, the same object if nothing changes; `held` says that the user is choosing a bed."""
    if by_urgency != order.by_urgency or not order.names:
        return _sort_beds(order, index, now_s, by_urgency)
    due = by_urgency and not held and not 0 <= now_s - order.sorted_s < SORT_EVERY_S
    if due:
        return _sort_beds(order, index, now_s, by_urgency)
    # The monitor hands out the same index for several frames, which then compare nothing
    if index is order.index or (len(index) == len(order.names) and all(bed.bed in order.places for bed in index)):
        return order
    present = {bed.bed for bed in index}
    names = tuple(name for name in order.names if name in present)
    names += tuple(bed.bed for bed in index if bed.bed not in order.places)
    return BedOrder(names, _index_names(names), order.ranks, by_urgency, order.sorted_s, index)


def _sort_beds(order: BedOrder, index: Sequence[BedSummary], now_s: float, by_urgency: bool) -> BedOrder:
    ranks: dict[str, tuple[int, float]] = {}
    for bed in index:
        rank, until_s = order.ranks.get(bed.bed, (0, 0.0))
        if bed.urgency >= rank or not now_s < until_s <= now_s + SINK_S:
            rank, until_s = bed.urgency, now_s + SINK_S
        if rank:
            ranks[bed.bed] = rank, until_s
    names = [bed.bed for bed in index]
    if by_urgency:
        names.sort(key=lambda name: -ranks[name][0] if name in ranks else 0)  # a stable sort keeps the order of arrival
    if by_urgency == order.by_urgency and tuple(names) == order.names:
        return BedOrder(order.names, order.places, ranks, by_urgency, now_s, index)
    return BedOrder(tuple(names), _index_names(names), ranks, by_urgency, now_s, index)


def _index_names(names: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}
