"""Which names become beds: a device whose name changes with every packet must not fill the ward.

A bed is watched from its first packet on, as long as few of those watched have sent no more than one. Beyond that a
name is watched from its second packet on; what was before it is fetched.
"""

ADMIT_ALL_S = 1.0
"""So long after the first packet of all every name is watched at once: a whole ward comes at the same moment."""
MOST_SINGLE_PACKET_BEDS = 64
"""Beds with one packet; from so many on a new name has to come twice."""
MOST_REMEMBERED_NAMES = 4096
"""Names that came once."""


class BedAdmission:
    """Names that are heard for the first time."""

    def __init__(self, most_beds: int) -> None:
        self.single: set[str] = set()
        """Beds that are watched and have sent one packet."""
        self._most_beds = most_beds
        self._once: dict[str, None] = {}
        self._first_s: float | None = None

    def refused(self, bed: str, watched: int, now_s: float) -> str:
        """Why a bed that sends its first packet, or again, though it was not let in, is not watched; "": it is."""
        if watched >= self._most_beds:
            return f"more than {self._most_beds} beds: the first ones are watched (monitor.beds)"
        if not self._admits(bed, now_s):
            return "too many names that came once: a new one is watched once it comes again"
        return ""

    def _admits(self, bed: str, now_s: float) -> bool:
        if self._first_s is None:
            self._first_s = now_s
        if now_s - self._first_s < ADMIT_ALL_S or len(self.single) < MOST_SINGLE_PACKET_BEDS:
            self.single.add(bed)
            return True
        if bed in self._once:
            del self._once[bed]
            return True
        if len(self._once) >= MOST_REMEMBERED_NAMES:
            del self._once[next(iter(self._once))]
        self._once[bed] = None
        return False
