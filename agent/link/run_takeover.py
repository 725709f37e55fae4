"""Decides which run a bed is in: a device that restarts begins another one, and so do two devices under one name.

A run that follows an end, or a silence, takes the place of the one before. One that comes while the other goes on is
held back: where the other has fallen silent it takes its place after all, and where the other continues, two devices
send as this bed, and the one that was there first stays.
"""

from math import inf

from agent.core.messages import End
from agent.link.reorder_buffer import ReorderBuffer
from agent.wire.packets import Packet

RESTART_S = 1.0
"""A device that begins another run without an end has been silent for this long, and for two packets."""
OVERDUE_S = 0.25
"""A run that has been silent for this long, and for two packets, does not go on between two others."""
CONTESTED_S = 10.0
"""Where two devices send as one bed, the other one is watched after a silence of this length."""
CONTEST_MEMORY_S = 60.0
"""Two devices are remembered for this long after a packet of the one that is not watched."""


class RunTakeover:
    """The runs that wait to take the place of a bed's present one, and the one that each bed was in before.

    `newcomers`: those that are held back, by bed.
    """

    def __init__(self) -> None:
        self.newcomers: dict[str, ReorderBuffer] = {}
        self._before: dict[str, ReorderBuffer] = {}
        self._contested_s: dict[str, float] = {}
        """When a packet of the device that is not watched last came, by bed."""

    def contested(self, now_s: float) -> set[str]:
        """Return the beds as which two devices have sent within the last ten seconds."""
        return {bed for bed, at_s in self._contested_s.items() if now_s - at_s < CONTESTED_S}

    def remembers_contest(self, bed: str, now_s: float) -> bool:
        """Return whether two devices have sent as a bed within the last minute."""
        return now_s - self._contested_s.get(bed, -inf) < CONTEST_MEMORY_S

    def note_contest(self, bed: str, now_s: float) -> None:
        """Note a packet of a device that is not watched."""
        self._contested_s[bed] = now_s

    def gives_way(self, present: ReorderBuffer, now_s: float) -> bool:
        """Return whether the present run of a bed leaves its place to another one."""
        if present.ended or present.end_known:
            return True
        contested = self.remembers_contest(present.bed, now_s)
        return now_s - present.news_s >= (CONTESTED_S if contested else max(RESTART_S, 2 * present.packet_s))

    def is_overdue(self, present: ReorderBuffer, now_s: float) -> bool:
        """Return whether the present run of a bed should have gone on by now, though it may not have given way yet."""
        return now_s - present.news_s >= max(OVERDUE_S, 2 * present.packet_s)

    def hold_back(self, present: ReorderBuffer, run: str, fs: float) -> ReorderBuffer:
        """Return the buffer of a run that waits for the place of the present one; an earlier such run is forgotten."""
        newcomer = self.newcomers.get(present.bed)
        if newcomer is None or newcomer.run != run:
            self.drop_newcomer(present.bed)
            newcomer = self.newcomers[present.bed] = ReorderBuffer(present.bed, run, fs, total=present.total)
        return newcomer

    def drop_newcomer(self, bed: str) -> int:
        """Forget the run that waits for a bed; return the number of its packets."""
        newcomer = self.newcomers.pop(bed, None)
        if newcomer is None:
            return 0
        held = newcomer.held
        newcomer.drop_held()
        return held

    def replace(self, old: ReorderBuffer, new: ReorderBuffer) -> None:
        """Note that a run has taken the place of another."""
        new.follow(old)
        self._before[old.bed] = old

    def continued(self, present: ReorderBuffer, message: Packet | End) -> ReorderBuffer | None:
        """Return the run that the bed was in before, where a message continues it: it was there first."""
        run = message.run if isinstance(message, End) else message.header.run
        before = self._before.get(present.bed)
        if before is None or before.run != run or before.refuses(message) or not before.has_news(message):
            return None
        return before

    def take_back(self, first: ReorderBuffer, present: ReorderBuffer) -> None:
        """Note that a run has its place again which the present one, with nothing missing any more, had meanwhile."""
        del self._before[present.bed]
        first.go_on(present)
