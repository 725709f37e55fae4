"""Which beds of a device a monitor watches: those that are named, or one of several parts, by their names alone."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Self

from model.errors import ConfigError
from model.text import shorten_name

MOST_PARTS = 64
MOST_OTHERS = 65_536
"""Beds of other parts that are remembered."""


@dataclass(frozen=True, slots=True)
class BedPart:
    """Part `number`, from 1 on, of `parts`: each bed is in one of them, in the same on every machine.

    >>> [[bed for bed in ("100", "119", "207", "208", "209") if BedPart(number, 2).has(bed)] for number in (1, 2)]
    [['100', '209'], ['119', '207', '208']]
    """

    number: int
    parts: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the part that `K/N` names. Raises ConfigError."""
        found = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", text)
        number, parts = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= parts <= MOST_PARTS:
            name = shorten_name(text)
            raise ConfigError(
                f"no part {name!r} of a ward: write 1/2 for the first of two, {MOST_PARTS} at most (--part)"
            )
        return cls(number, parts)

    def has(self, bed: str) -> bool:
        """Return whether a bed is in this part."""
        return self.parts == 1 or _name_number(bed) % self.parts == self.number - 1


@lru_cache(maxsize=65_536)
def _name_number(bed: str) -> int:
    return int.from_bytes(blake2b(bed.encode(), digest_size=8).digest())


WHOLE_WARD = BedPart(1, 1)


class WatchedBeds:
    """The beds that a monitor watches: those of `names`, or all where there is none, as far as they are in `part`."""

    def __init__(self, names: Iterable[str], part: BedPart) -> None:
        self.names = frozenset(names)
        self._part = part
        self._others: dict[str, bool] = {}
        """Beds of other parts, and whether their runs have ended."""

    @property
    def shares(self) -> bool:
        """Whether other monitors watch the other beds."""
        return self._part.parts > 1

    def has(self, bed: str) -> bool:
        """Return whether a bed is watched."""
        return (not self.names or bed in self.names) and self._part.has(bed)

    def note_other(self, bed: str, ended: bool) -> None:
        """Note that a bed of another part sends, or that its run has ended."""
        if bed in self._others or len(self._others) < MOST_OTHERS:
            self._others[bed] = ended

    @property
    def others_ended(self) -> bool:
        """Whether there are beds of other parts, whose runs have all ended."""
        return bool(self._others) and all(self._others.values())
