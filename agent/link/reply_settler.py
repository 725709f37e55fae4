"""Settles a reply of the backfill channel: takes what was sent again, declares lost what the device no longer has."""

from collections.abc import Sequence

from agent.core.events import JoinedLate
from agent.core.messages import End
from agent.core.sample_index import nearest_index_at_125_hz
from agent.link.backfill_client import BackfillResult
from agent.link.bed_streams import BedStreams
from agent.link.chunk_assembler import ChunkAssembler
from agent.link.reorder_buffer import ReorderBuffer
from agent.wire.packets import parse_frames
from model.errors import FrameError


class ReplySettler:
    """Puts replies into the reorder buffers. `asks_back`: a run that is met late is wanted from its start."""

    def __init__(self, streams: BedStreams, asks_back: bool) -> None:
        self._streams = streams
        self._asks_back = asks_back

    def settle(self, buffer: ReorderBuffer, result: BackfillResult, now_s: float, out: ChunkAssembler) -> None:
        """Put the reply to a request of a buffer's run into it."""
        reply = result.reply
        before = buffer.next
        gone = reply.run != buffer.run
        if not buffer.start_known:
            self._join(buffer, result, now_s, out)
        elif gone:
            out.add_parts(
                buffer.bed, buffer.declare_lost(result.request.stop, "lost: the device has begun another run", now_s)
            )
        else:
            stop = min(result.request.stop, reply.oldest)
            out.add_parts(buffer.bed, buffer.declare_lost(stop, "no longer kept by the device", now_s))
        for frames in result.packets:
            self._push_packet(buffer, frames, now_s, out)
        if reply.ended and not gone and not buffer.ended:
            out.add_parts(buffer.bed, buffer.push(End(buffer.bed, buffer.run, reply.next, buffer.fs), now_s))
        _count_progress(buffer, buffer.next > before, now_s)
        if buffer.missing is not None or buffer.backfilled:
            self._streams.incomplete.add(buffer.bed)

    def _join(self, buffer: ReorderBuffer, result: BackfillResult, now_s: float, out: ChunkAssembler) -> None:
        """Start a run that was joined late with what the device still has of it."""
        request, reply = result.request, result.reply
        gone = reply.run != buffer.run
        start = min(request.stop if gone else reply.start, request.stop)
        first = request.stop if gone or not self._asks_back else max(reply.oldest, request.first)
        if first > start:
            sample = nearest_index_at_125_hz(start, buffer.fs)
            out.add_events(JoinedLate(buffer.bed, buffer.run, sample, (first - start) / buffer.fs))
        out.add_parts(buffer.bed, buffer.join_at(start, first, now_s))

    def _push_packet(self, buffer: ReorderBuffer, frames: Sequence[bytes], now_s: float, out: ChunkAssembler) -> None:
        try:
            packet = parse_frames(frames)
        except FrameError as error:
            self._streams.reject(str(error), out, now_s, buffer.bed.encode())
            return
        if isinstance(packet, End) or not buffer.matches(packet):
            reason = "the device sent samples again that were not requested"
            self._streams.reject(reason, out, now_s, buffer.bed.encode())
            return
        first, count = packet.header.first, packet.header.count
        buffer.backfilled += max(0, first + count - max(first, buffer.next))
        out.add_parts(buffer.bed, buffer.push(packet, now_s))


def _count_progress(buffer: ReorderBuffer, advanced: bool, now_s: float) -> None:
    """Note whether a reply brought samples, brought none that are missing, or answered a poll with nothing new."""
    if advanced:
        buffer.failed_requests = buffer.idle_polls = 0
        buffer.advanced_s = now_s
    elif buffer.missing is not None:
        buffer.failed_requests += 1
    else:
        buffer.idle_polls += 1
