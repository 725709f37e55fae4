"""Work in groups of items: given to hands that are free, given again where those died, and counted.

    items ─► groups ─► hands: this process, several, a cluster ─► what was found of each item, as it comes

The work is a function that takes a group and yields how much of it is done, and what it found of each item. Hands only
carry it out and tell; what becomes of a group whose hands died is decided here, once for all of them.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

MOST_DEATHS = 3
"""How often hands may die over a group before its items are taken one by one, and over an item before it is given up.
"""
POLL_S = 0.2
"""How long hands wait for news."""
TOLD_EVERY_S = 0.5
"""How often hands tell how far they are; what they found they tell at once."""

Item = TypeVar("Item")
Found = TypeVar("Found")
GivenItem = TypeVar("GivenItem", contravariant=True)


@dataclass(frozen=True, slots=True)
class ItemFound(Generic[Found]):
    """What was found of item `index` of a group."""

    index: int
    found: Found


WorkStep = float | ItemFound[Found]
"""What work yields: by how much it is further, in whatever measure, or what it found of an item."""
GroupWork = Callable[[Sequence[Item]], Iterator[WorkStep[Found]]]


@dataclass(frozen=True, slots=True)
class GroupEnd:
    """The end of a group: `death` says why its hands died, "" if all of it is done."""

    death: str = ""


GroupNews = float | ItemFound[Found] | GroupEnd


class Hands(Protocol[GivenItem, Found]):
    """Whoever does the work of groups."""

    def width(self) -> int:
        """Return how many groups are worked on at once when all is well."""

    def room(self) -> int:
        """Return how many more groups can be taken now."""

    def take(self, number: int, group: Sequence[GivenItem]) -> None:
        """Begin to work on a group, of which news come under this number."""

    def wait(self, seconds: float) -> list[tuple[int, GroupNews[Found]]]:
        """Return what there is to tell of groups by their numbers, in order; wait for it at most so long.

        Raises what the work has raised.
        """


@dataclass(slots=True)
class _Group(Generic[Item]):
    """Items that are worked on together: how often hands died over them, how far they are, and which are done."""

    items: list[Item]
    deaths: int = 0
    progress: float = 0.0
    done: set[int] = field(default_factory=set)


def run_groups(
    hands: Hands[Item, Found],
    groups: Iterable[Sequence[Item]],
    give_up: Callable[[Item, str], Found],
    weigh: Callable[[Item], float],
    on_progress: Callable[[float], object],
) -> Iterator[tuple[Item, Found]]:
    """Have all groups done, and yield each item with what was found of it, as it comes.

    Parameters
    ----------
    hands : Hands
        Who does the work.
    groups : iterable of sequences
        The items in groups.
    give_up : callable
        Returns what to say of an item over which hands have died MOST_DEATHS times, and the last reason.
    weigh : callable
        Returns the weight of an item, in the measure in which the work says how far it is.
    on_progress : callable
        Called now and then with the weight of what is done.
    """
    waiting = deque(_Group(list(group)) for group in groups)
    running: dict[int, _Group[Item]] = {}
    number, finished = 0, 0.0
    while waiting or running:
        while waiting and hands.room() > 0:
            running[number] = group = waiting.popleft()
            hands.take(number, group.items)
            number += 1
        for of, news in hands.wait(POLL_S):
            group = running[of]
            if isinstance(news, ItemFound):
                group.done.add(news.index)
                yield group.items[news.index], news.found
            elif isinstance(news, GroupEnd):
                finished += sum(weigh(group.items[index]) for index in group.done)
                del running[of]
                left = [item for index, item in enumerate(group.items) if index not in group.done]
                if news.death and left and group.deaths + 1 >= MOST_DEATHS and len(left) == 1:
                    finished += weigh(left[0])
                    yield left[0], give_up(left[0], news.death)
                elif news.death:
                    waiting.extend(_groups_to_repeat(left, group.deaths + 1))
                elif left:
                    raise RuntimeError(f"work on {len(group.items)} items ended without a word of {len(left)}")
            else:
                group.progress += news
        on_progress(finished + sum(_running_weight(group, weigh) for group in running.values()))


def group_size(items: int, width: int, most: int) -> int:
    """Return how many items a group should have: at most `most`, and so few that all of `width` hands have some."""
    return max(1, min(most, -(-items // max(1, width))))


def share_out(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """Return items in groups of at most `most`, in order."""
    return [items[at : at + most] for at in range(0, len(items), most)]


def merge_progress(steps: Iterator[WorkStep[Found]]) -> Iterator[WorkStep[Found]]:
    """Yield the steps of work, its progress only every TOLD_EVERY_S: each costs a message."""
    amount, told_s = 0.0, time.monotonic()
    for step in steps:
        if isinstance(step, ItemFound):
            yield step
            continue
        amount += step
        if time.monotonic() - told_s >= TOLD_EVERY_S:
            yield amount
            amount, told_s = 0.0, time.monotonic()
    if amount:
        yield amount


def _groups_to_repeat(items: list[Item], deaths: int) -> Iterator[_Group[Item]]:
    """Yield what hands died over as the groups to try next: all of it together, or one by one."""
    if items and deaths < MOST_DEATHS:
        yield _Group(items, deaths)
    elif items:
        yield from (_Group([item]) for item in items)


def _running_weight(group: _Group[Item], weigh: Callable[[Item], float]) -> float:
    return min(group.progress, sum(weigh(item) for item in group.items))
