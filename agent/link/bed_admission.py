"""Decides which names become beds: a device whose name changes with every packet must not fill the ward.

A new name is watched from its first packet on while few of the watched beds have sent only one. Beyond that it is
watched from its second packet on, and what was sent before is fetched.
"""

ADMIT_ALL_S = 1.0
"""After the first packet of all every name is admitted for this time: a whole ward comes at about the same moment."""
MOST_SINGLE_PACKET_BEDS = 64
"""With this number of beds that have sent one packet, a new name has to come twice."""
MOST_REMEMBERED_NAMES = 4096
"""Names remembered that came once."""


class BedAdmission:
    """Admits beds by name, `most_beds` of them."""

    def __init__(self, most_beds: int) -> None:
        self.single_packet_beds: set[str] = set()
        """Watched beds that have sent one packet."""
        self._most_beds = most_beds
        self._seen_once: dict[str, None] = {}
        self._first_s: float | None = None

    def refuse(self, bed: str, watched: int, now_s: float) -> str:
        """Return why a packet of a bed that is not watched does not make it so; "" where the bed is admitted."""
        if watched >= self._most_beds:
            return f"more than {self._most_beds} beds: the first ones are watched (monitor.beds)"
        if not self._admits(bed, now_s):
            return "too many names that came once: a new one is watched once it comes again"
        return ""

    def _admits(self, bed: str, now_s: float) -> bool:
        if self._first_s is None:
            self._first_s = now_s
        if now_s - self._first_s < ADMIT_ALL_S or len(self.single_packet_beds) < MOST_SINGLE_PACKET_BEDS:
            self.single_packet_beds.add(bed)
            return True
        if bed in self._seen_once:
            del self._seen_once[bed]
            return True
        if len(self._seen_once) >= MOST_REMEMBERED_NAMES:
            del self._seen_once[next(iter(self._seen_once))]
        self._seen_once[bed] = None
        return False
