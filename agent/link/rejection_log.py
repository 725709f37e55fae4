"""What is wrong with the packets of a bed, said on its own line: at once when it is new, then once a minute.

One that goes on for days is neither forgotten nor repeated with every packet.
"""

from dataclasses import dataclass, field

from agent.core.events import PacketRejected
from agent.link.reorder_buffer import ReorderBuffer
from model.records.resample import FS

REPEAT_REASON_S = 60.0
"""After so long what goes on is told again, with how often it happened."""
MOST_BED_REASONS = 8
"""Reasons of a bed that are told in that time."""


@dataclass(slots=True)
class _RejectionLine:
    """What was told of a bed since `since_s`, and how many packets nothing was said of."""

    since_s: float
    reasons: set[str] = field(default_factory=set)
    more: int = 0


class RejectionLog:
    """Of beds that are watched, and of "", which is everything else: so there are not more lines than beds."""

    def __init__(self) -> None:
        self._lines: dict[str, _RejectionLine] = {}

    def add(self, track: ReorderBuffer | None, reason: str, now_s: float, name: str = "") -> list[PacketRejected]:
        """A packet of a bed, or of a `name` that is not watched, is not taken: the event to tell, or only counted."""
        bed, run, sample = (track.bed, track.run, round(track.next * FS / track.fs)) if track else ("", "", 0)
        if name and track is None:
            reason = f"bed {name!r}: {reason}"
        line = self._lines.get(bed)
        if line is None:
            line = self._lines[bed] = _RejectionLine(now_s)
        more = 0
        if now_s - line.since_s >= REPEAT_REASON_S:
            more = line.more
            line.since_s, line.more = now_s, 0
            line.reasons.clear()
        if reason in line.reasons or len(line.reasons) >= MOST_BED_REASONS:
            line.more += 1
            return []
        line.reasons.add(reason)
        return [PacketRejected(bed, run, sample, reason, more)]
