"""Settles a reply of the backfill channel: takes what was sent again, declares lost what the device no longer has."""

from collections import deque
from collections.abc import Sequence

from agent.core.events import JoinedLate
from agent.core.messages import End
from agent.core.sample_index import nearest_index_at_125_hz
from agent.link.backfill_client import BackfillResult
from agent.link.bed_streams import BedStreams
from agent.link.chunk_assembler import ChunkAssembler
from agent.link.reorder_buffer import ReorderBuffer
from agent.wire.packets import Packet, cut_packet, parse_frames
from agent.wire.requests import FetchReply, FetchRequest
from model.errors import FrameError

MOST_PACKETS_SETTLED = 512
"""Packets of replies that are put in place at once; the rest waits for the next call."""


class ReplySettler:
    """Puts replies into the reorder buffers. `asks_back`: a run that is met late is wanted from its start."""

    def __init__(self, streams: BedStreams, asks_back: bool) -> None:
        self._streams = streams
        self._asks_back = asks_back
        self._waiting: deque[BackfillResult] = deque()
        self._settled = 0
        """Packets of the first reply that waits which are in place."""
        self._next = 0
        """Where its bed stood before them."""

    @property
    def busy(self) -> bool:
        """Whether replies wait to be put in place."""
        return bool(self._waiting)

    def add(self, result: BackfillResult) -> None:
        """Take a reply, to be settled in turn."""
        self._waiting.append(result)

    def settle(self, now_s: float, out: ChunkAssembler) -> None:
        """Put replies in place, as many packets as there is time for."""
        left = MOST_PACKETS_SETTLED
        while self._waiting and left > 0:
            result = self._waiting[0]
            buffer = self._streams.find_run(result.request.bed, result.request.run)
            packets = result.packets[self._settled : self._settled + left] if buffer is not None else []
            if buffer is not None:
                if not self._settled:
                    self._next = buffer.next
                    self._begin(buffer, result, now_s, out)
                for frames in packets:
                    self._push_packet(buffer, result.request, frames, now_s, out)
            self._settled += len(packets)
            left -= len(packets)
            if buffer is None or self._settled == len(result.packets):
                self._waiting.popleft()
                self._settled = 0
                if buffer is not None:
                    self._end(buffer, result.reply, now_s, out)

    def _begin(self, buffer: ReorderBuffer, result: BackfillResult, now_s: float, out: ChunkAssembler) -> None:
        """Declare lost what the device no longer has."""
        if not buffer.start_known:
            self._join(buffer, result, now_s, out)
        elif result.reply.run != buffer.run:
            reason = "lost: the device has begun another run"
            out.add_parts(buffer.bed, buffer.declare_lost(result.request.stop, reason, now_s))
        else:
            stop = min(result.request.stop, result.reply.oldest)
            out.add_parts(buffer.bed, buffer.declare_lost(stop, "no longer kept by the device", now_s))

    def _end(self, buffer: ReorderBuffer, reply: FetchReply, now_s: float, out: ChunkAssembler) -> None:
        """Take the end of the run, and note what the reply has brought."""
        buffer.requested = False
        end = End(buffer.bed, buffer.run, reply.next, buffer.fs)
        if reply.ended and reply.run == buffer.run and not buffer.end_known and not buffer.refuses(end):
            out.add_parts(buffer.bed, buffer.push(end, now_s))
        _count_progress(buffer, buffer.next > self._next, now_s)
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
        buffer.sent_before = not buffer.past_runs
        out.add_parts(buffer.bed, buffer.join_at(start, first, now_s))

    def _push_packet(
        self, buffer: ReorderBuffer, request: FetchRequest, frames: Sequence[bytes], now_s: float, out: ChunkAssembler
    ) -> None:
        try:
            packet = parse_frames(frames)
        except FrameError as error:
            self._streams.reject(str(error), out, now_s, buffer.bed.encode())
            return
        matches = isinstance(packet, Packet) and buffer.matches(packet) and not buffer.refuses(packet)
        if not isinstance(packet, Packet) or not matches or not _has_requested(packet, request):
            reason = "the device sent samples again that were not requested"
            self._streams.reject(reason, out, now_s, buffer.bed.encode())
            return
        # The device sends its packets as they were: what lies beyond came on the stream, or will be requested.
        packet = cut_packet(packet, request.first, request.stop)
        first, count = packet.header.first, packet.header.count
        buffer.news_s = now_s
        buffer.backfilled += max(0, first + count - max(first, buffer.next))
        out.add_parts(buffer.bed, buffer.push(packet, now_s))


def _has_requested(packet: Packet, request: FetchRequest) -> bool:
    header = packet.header
    return header.first < request.stop and header.first + header.count > request.first


def _count_progress(buffer: ReorderBuffer, advanced: bool, now_s: float) -> None:
    """Note whether a reply brought samples, brought none that are missing, or answered a poll with nothing new."""
    if advanced:
        buffer.failed_requests = buffer.idle_polls = 0
        buffer.advanced_s = now_s
    elif buffer.missing is not None:
        buffer.failed_requests += 1
    else:
        buffer.idle_polls += 1
