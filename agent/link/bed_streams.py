"""The streams of all beds: which names are watched, which run each bed is in, and what is rejected."""

from collections.abc import Set

from agent.core.messages import End, ResumePosition
from agent.link.bed_admission import BedAdmission
from agent.link.chunk_assembler import ChunkAssembler
from agent.link.rejection_log import RejectionLog
from agent.link.reorder_buffer import HeldTotal, ReorderBuffer
from agent.link.run_takeover import RunTakeover
from agent.wire.packets import LARGEST_NAME_BYTES, Packet, SamplesHeader

SILENT_BED_S = 1.0
"""A bed without packets for this time is polled: its last packets, or its end, may be lost."""


class BedStreams:
    """The reorder buffers by bed.

    `incomplete`: beds with missing samples. `live`: number of beds whose packets are coming in. `first_s`: when the
    first bed appeared. `rejected`: packets that were not taken. `changes`: how often a bed got another buffer.
    """

    def __init__(self, most_beds: int) -> None:
        self.buffers: dict[str, ReorderBuffer] = {}
        self.incomplete: set[str] = set()
        self.live = 0
        self.first_s: float | None = None
        self.rejected = 0
        self.changes = 0
        self._rejections = RejectionLog()
        self._admission = BedAdmission(most_beds)
        self._takeover = RunTakeover()
        self._held = HeldTotal()

    @property
    def complete(self) -> bool:
        """Whether every run has ended and nothing of it is missing."""
        return bool(self.buffers) and not self.incomplete and all(buffer.ended for buffer in self.buffers.values())

    @property
    def unsettled(self) -> bool:
        """Whether samples are missing, or a run waits to take the place of another."""
        return bool(self.incomplete or self._takeover.newcomers)

    def resume(self, bed: str, position: ResumePosition, now_s: float) -> None:
        """Continue a bed where it was left."""
        at = position.next
        self.changes += 1
        self.buffers[bed] = ReorderBuffer(
            bed,
            position.run,
            position.fs,
            at,
            at,
            start_known=True,
            sent_stop=at,
            received_s=now_s,
            total=self._held,
        )

    def count_live_beds(self, now_s: float) -> None:
        """Set `live`."""
        self.live = sum(
            now_s - buffer.received_s < SILENT_BED_S and not buffer.ended for buffer in self.buffers.values()
        )

    def settling(self) -> Set[str]:
        """Return the beds whose next packet may decide something: those that sent one, and those with two runs."""
        single, newcomers = self._admission.single_packet_beds, self._takeover.newcomers
        return single | newcomers.keys() if newcomers else single

    def find_run(self, bed: str, run: str) -> ReorderBuffer | None:
        """Return the buffer of a bed that is in this run."""
        buffer = self.buffers.get(bed)
        return buffer if buffer is not None and buffer.run == run else None

    def select_buffer(self, message: Packet | End, now_s: float, out: ChunkAssembler) -> ReorderBuffer | None:
        """Return the buffer that takes a message, a new one for a new bed or run; None where nothing is to be done."""
        header = message if isinstance(message, End) else message.header
        buffer = self.buffers.get(message.bed)
        usual = not self._admission.single_packet_beds and not self._takeover.newcomers
        if buffer is not None and buffer.run == header.run and usual:
            return buffer
        self._admission.single_packet_beds.discard(message.bed)
        if buffer is None:
            return self._admit_bed(message.bed, header, now_s, out)
        if buffer.run != header.run:
            return self._take_other_run(buffer, message, now_s, out)
        if buffer.has_news(message) and (held := self._takeover.drop_newcomer(buffer.bed)):
            self._reject_contested(buffer, now_s, out, held)
        return buffer

    def promote_newcomers(self, now_s: float, out: ChunkAssembler, at_once: bool = False) -> None:
        """Let the runs that are held back take the place of runs that have fallen silent; with `at_once` of all."""
        for bed, newcomer in list(self._takeover.newcomers.items()):
            if at_once or self._takeover.gives_way(self.buffers[bed], now_s):
                self._promote(newcomer, now_s, out)

    def contested(self, now_s: float) -> set[str]:
        """Return the beds as which two devices have sent within the last ten seconds."""
        return self._takeover.contested(now_s)

    def reject(self, reason: str, out: ChunkAssembler, now_s: float, name: bytes = b"", packets: int = 1) -> None:
        """Count packets that are not taken and report them where that is due; for a bed by `name` if it is watched."""
        self.rejected += packets
        bed = name[:LARGEST_NAME_BYTES].decode(errors="replace")
        out.add_events(*self._rejections.add(self.buffers.get(bed), reason, now_s, bed))

    def _admit_bed(
        self, bed: str, header: SamplesHeader | End, now_s: float, out: ChunkAssembler
    ) -> ReorderBuffer | None:
        if reason := self._admission.refuse(bed, len(self.buffers), now_s):
            self.reject(reason, out, now_s)
            return None
        return self._add_buffer(ReorderBuffer(bed, header.run, header.fs, total=self._held), header.first == 0, now_s)

    def _take_other_run(
        self, present: ReorderBuffer, message: Packet | End, now_s: float, out: ChunkAssembler
    ) -> ReorderBuffer | None:
        """Return the buffer of a message of another run than the bed is in; None where it is held back or rejected."""
        header = message if isinstance(message, End) else message.header
        if first := self._takeover.continued(present, message):
            out.add_parts(present.bed, present.flush_as_lost("another device has sent as this bed", now_s))
            self._takeover.take_back(first, present)
            self.buffers[present.bed] = first
            self.changes += 1
            self._reject_contested(first, now_s, out, packets=0)
            return first
        waiting = self._takeover.newcomers.get(present.bed)
        if waiting is not None and waiting.run != header.run and self._takeover.is_overdue(present, now_s):
            self._promote(waiting, now_s, out)  # the device has restarted, and now once more
            present = waiting
        left = present.past_runs.get(header.run)
        contested = left is not None or self._takeover.remembers_contest(present.bed, now_s)
        if contested:
            self._takeover.note_contest(present.bed, now_s)
        if self._takeover.gives_way(present, now_s) and (left is None or _reaches_beyond(message, left)):
            newcomer = self._takeover.hold_back(present, header.run, header.fs)
            self._promote(newcomer, now_s, out)
            if not newcomer.start_known and (left is not None or header.first == 0):
                newcomer.join_at(left or 0, left or 0, now_s)
            return newcomer
        if contested:
            self._reject_contested(present, now_s, out)
            return None
        waiting = self._takeover.newcomers.get(present.bed)
        if waiting is not None and waiting.run != header.run:
            reason = "a run that gave way to another before it was known to go on"
            self.reject(reason, out, now_s, present.bed.encode(), waiting.held)
        self._takeover.hold_back(present, header.run, header.fs).push(message, now_s)
        return None

    def _promote(self, newcomer: ReorderBuffer, now_s: float, out: ChunkAssembler) -> None:
        """Let a run take the place of its bed's present one."""
        bed = newcomer.bed
        del self._takeover.newcomers[bed]
        present = self.buffers[bed]
        out.add_parts(bed, present.flush_as_lost("lost: the device has begun another run", now_s))
        self._takeover.replace(present, newcomer)
        self._add_buffer(newcomer, False, now_s)
        out.add_parts(bed, newcomer.join_held(now_s))
        self.incomplete.add(bed)

    def _reject_contested(self, watched: ReorderBuffer, now_s: float, out: ChunkAssembler, packets: int = 1) -> None:
        """Report two devices; `packets` of the one that is not watched are rejected."""
        self._takeover.note_contest(watched.bed, now_s)
        reason = "two devices send as this bed: the one that was there first is watched"
        self.reject(reason, out, now_s, watched.bed.encode(), packets)

    def _add_buffer(self, buffer: ReorderBuffer, from_start: bool, now_s: float) -> ReorderBuffer:
        self.first_s = now_s if self.first_s is None else self.first_s
        self.buffers[buffer.bed] = buffer
        self.changes += 1
        buffer.advanced_s = buffer.news_s = now_s
        if from_start:
            buffer.join_at(0, 0, now_s)
        return buffer


def _reaches_beyond(message: Packet | End, left: int) -> bool:
    """Return whether a message of an earlier run has more than was known when it was left."""
    stop = message.first if isinstance(message, End) else message.header.first + message.header.count
    return stop > left
