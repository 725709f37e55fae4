"""The streams of all beds: which names are watched, which run each bed is in, and what is rejected."""

from agent.core.messages import End, ResumePosition
from agent.link.bed_admission import BedAdmission
from agent.link.chunk_assembler import ChunkAssembler
from agent.link.rejection_log import RejectionLog
from agent.link.reorder_buffer import ReorderBuffer
from agent.wire.packets import LARGEST_NAME_BYTES, Packet, SamplesHeader

SILENT_BED_S = 1.0
"""A bed without packets for this time is polled: its last packets, or its end, may be lost."""
DEVICE_TAKEOVER_S = 10.0
"""Where two devices send as one bed, the one that came last gives way to the other after a silence of this length."""


class BedStreams:
    """The reorder buffers by bed.

    `incomplete`: beds with missing samples. `live`: number of beds whose packets are coming in. `first_s`: when the
    first bed appeared. `rejected`: packets that were not taken.
    """

    def __init__(self, most_beds: int) -> None:
        self.buffers: dict[str, ReorderBuffer] = {}
        self.incomplete: set[str] = set()
        self.live = 0
        self.first_s: float | None = None
        self.rejected = 0
        self._rejections = RejectionLog()
        self._admission = BedAdmission(most_beds)

    @property
    def complete(self) -> bool:
        """Whether every run has ended and nothing of it is missing."""
        return bool(self.buffers) and not self.incomplete and all(buffer.ended for buffer in self.buffers.values())

    def resume(self, bed: str, position: ResumePosition, now_s: float) -> None:
        """Continue a bed where it was left."""
        at = position.next
        self.buffers[bed] = ReorderBuffer(
            bed, position.run, position.fs, at, at, start_known=True, sent_stop=at, received_s=now_s
        )

    def count_live_beds(self, now_s: float) -> None:
        """Set `live`."""
        self.live = sum(
            now_s - buffer.received_s < SILENT_BED_S and not buffer.ended for buffer in self.buffers.values()
        )

    def find_run(self, bed: str, run: str) -> ReorderBuffer | None:
        """Return the buffer of a bed that is in this run."""
        buffer = self.buffers.get(bed)
        return buffer if buffer is not None and buffer.run == run else None

    def select_buffer(self, message: Packet | End, now_s: float, out: ChunkAssembler) -> ReorderBuffer | None:
        """Return the buffer that takes a message, a new one for a new bed or run; None where it is rejected."""
        header = message if isinstance(message, End) else message.header
        buffer = self.buffers.get(message.bed)
        if buffer is not None and buffer.run == header.run and not self._admission.single_packet_beds:
            return buffer  # the usual case
        self._admission.single_packet_beds.discard(message.bed)
        if buffer is None:
            return self._admit_bed(message.bed, header, now_s, out)
        return buffer if buffer.run == header.run else self._start_run(buffer, header, now_s, out)

    def reject(self, reason: str, out: ChunkAssembler, now_s: float, name: bytes = b"") -> None:
        """Count a packet that is not taken and report it where that is due; for a bed by `name` if it is watched."""
        self.rejected += 1
        bed = name[:LARGEST_NAME_BYTES].decode(errors="replace")
        out.add_events(*self._rejections.add(self.buffers.get(bed), reason, now_s, bed))

    def _admit_bed(
        self, bed: str, header: SamplesHeader | End, now_s: float, out: ChunkAssembler
    ) -> ReorderBuffer | None:
        if reason := self._admission.refuse(bed, len(self.buffers), now_s):
            self.reject(reason, out, now_s)
            return None
        return self._add_buffer(ReorderBuffer(bed, header.run, header.fs), header.first == 0, now_s)

    def _start_run(
        self, old: ReorderBuffer, header: SamplesHeader | End, now_s: float, out: ChunkAssembler
    ) -> ReorderBuffer | None:
        """Replace a run by a new one, or by an earlier one where the device of the present one has left."""
        returns = header.run in old.past_runs
        if returns and now_s - old.received_s < DEVICE_TAKEOVER_S:
            reason = f"two devices send as bed {old.bed!r}: the one that came last is watched"
            self.reject(reason, out, now_s, old.bed.encode())
            return None
        out.add_parts(old.bed, old.flush_as_lost("lost: the device has begun another run", now_s))
        buffer = self._add_buffer(old.replace_run(header.run, header.fs), header.first == 0 and not returns, now_s)
        if returns:
            buffer.join_at(header.first, header.first, now_s)  # what was before it was analysed, or rejected
        return buffer

    def _add_buffer(self, buffer: ReorderBuffer, from_start: bool, now_s: float) -> ReorderBuffer:
        self.first_s = now_s if self.first_s is None else self.first_s
        self.buffers[buffer.bed] = buffer
        buffer.advanced_s = now_s
        if from_start:
            buffer.join_at(0, 0, now_s)
        return buffer
