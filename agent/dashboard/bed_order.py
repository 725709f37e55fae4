"""Where each bed stands in the ward view, by rules that let a person read and choose.

- Beds stand by urgency, the highest first, equal ones in the order of their arrival; or all in the order of arrival.
- They are sorted anew at most once in EVERY_S, and not within HOLD_S after a key: what somebody is about to choose
  stays in its place. The counts of the alarms above the beds never wait.
- A bed rises when it is next sorted, and sinks only once it has been less urgent for SINK_S: an alarm that comes and
  goes does not move it about.
- A new bed stands last until the next sorting.
- The chosen bed is known by its name, and the page goes with it. Where nothing is chosen the first page is shown.
  IDLE_S after the last key a choice on another page is given up: a ward left alone shows its most urgent beds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from agent.core.messages import BedSummary

SORT_EVERY_S, HOLD_S, SINK_S, IDLE_S = 1.0, 5.0, 10.0, 60.0
"""Seconds: see above."""


@dataclass(frozen=True, slots=True)
class BedOrder:
    """The beds in their order: `names`, and the `places` of the names in it.

    `ranks` holds the urgency that a bed stands by, and until when it does though it has become less urgent.
    """

    names: tuple[str, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    ranks: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    by_urgency: bool = True
    sorted_s: float = -inf
    index: Sequence[BedSummary] = ()
    """What it was last compared with."""


def restrict_order(order: BedOrder, names: Sequence[str]) -> BedOrder:
    """The order of these beds alone."""
    wanted = set(names)
    left = tuple(name for name in order.names if name in wanted)
    return BedOrder(left, _index_names(left), order.ranks, order.by_urgency, order.sorted_s)


def update_order(order: BedOrder, index: Sequence[BedSummary], now_s: float, by_urgency: bool, held: bool) -> BedOrder:
    """The order at `now_s`: the same object as long as nothing is to be changed. `held`: somebody is choosing."""
    if by_urgency != order.by_urgency or not order.names:
        return _sort_beds(order, index, now_s, by_urgency)
    due = by_urgency and not held and not 0 <= now_s - order.sorted_s < SORT_EVERY_S
    if due:
        return _sort_beds(order, index, now_s, by_urgency)
    if index is order.index or (len(index) == len(order.names) and all(bed.bed in order.places for bed in index)):
        return order
    there = {bed.bed for bed in index}
    names = tuple(name for name in order.names if name in there)
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
