"""Reports why packets of a bed are rejected: at once where the reason is new, then once a minute with a count.

So a trouble that lasts for days is neither forgotten nor reported with every packet.
"""

from dataclasses import dataclass, field

from agent.core.events import PacketRejected
from agent.core.rate_limit import RepeatFilter
from agent.core.sample_index import nearest_index_at_125_hz
from agent.link.reorder_buffer import ReorderBuffer

REPEAT_REASON_S = 60.0
"""A reason that persists is reported again after this time, with the number of packets."""
MOST_BED_REASONS = 8
"""Reasons of a bed that are reported within that time."""


@dataclass(slots=True)
class _BedRejections:
    """What was reported of a bed since `since_s`, and the number of packets that were not reported."""

    since_s: float
    repeats: RepeatFilter = field(default_factory=lambda: RepeatFilter(REPEAT_REASON_S, MOST_BED_REASONS))
    unreported: int = 0


class RejectionLog:
    """Keeps a count for each watched bed, and one under "" for all other names: no more counts than beds."""

    def __init__(self) -> None:
        self._beds: dict[str, _BedRejections] = {}

    def add(self, buffer: ReorderBuffer | None, reason: str, now_s: float, name: str = "") -> list[PacketRejected]:
        """Count a rejected packet of a watched bed, or of another `name`; return the event if one is due."""
        bed, run, sample = "", "", 0
        if buffer is not None:
            bed, run, sample = buffer.bed, buffer.run, nearest_index_at_125_hz(buffer.next, buffer.fs)
            name = ""
        rejections = self._beds.get(bed)
        if rejections is None:
            rejections = self._beds[bed] = _BedRejections(now_s)
        more = 0
        if now_s - rejections.since_s >= REPEAT_REASON_S:
            more = rejections.unreported
            rejections.since_s = now_s
            rejections.unreported = 0
            rejections.repeats.clear()
        if not rejections.repeats.admits((name, reason), now_s):
            rejections.unreported += 1
            return []
        return [PacketRejected(bed, run, sample, reason, more, name)]
