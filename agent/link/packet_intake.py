"""Takes the messages of the stream: each packet into the buffer of its bed, as much as a bed may bring at once."""

from collections.abc import Sequence

from agent.core.messages import End
from agent.link.backfill_scheduler import BackfillScheduler
from agent.link.bed_part import WatchedBeds
from agent.link.bed_streams import BedStreams
from agent.link.bundle_reader import BundleReader, ReadBundle
from agent.link.chunk_assembler import ChunkAssembler
from agent.link.reorder_buffer import ReorderBuffer
from agent.wire.bundles import BUNDLE_TOPIC
from agent.wire.packets import Packet, parse_frames
from model.errors import FrameError

MOST_PACKETS_READ = 4096
"""Packets taken at once, so that keyboard and screen are not kept waiting when a fast replay fills the queue."""
MOST_BED_BYTES = 2**20
"""Bytes of samples that a bed may bring at once; what comes after them is left out."""
SMALL_PACKET_BYTES = MOST_BED_BYTES // MOST_PACKETS_READ
"""Packets of this size cannot bring too many."""
MOST_BYTES_READ = 2**24
"""Bytes of samples taken at once of all beds."""
STALE_PACKETS_S = 2.5
"""A bed is reported that for this time sends only what was taken or declared lost before."""


class PacketIntake:
    """The way of packets of the beds that are `watched` into the buffers of `streams`.

    `packets`: how many were taken. `last_s`: when the latest came, None before the first. `longest_packet_s`: seconds
    of signal in the longest. `overloaded`: names of beds whose packets are left out for now. `has_enough`: whether
    reading should pause.
    """

    def __init__(
        self, streams: BedStreams, scheduler: BackfillScheduler, bundles: BundleReader | None, watched: WatchedBeds
    ) -> None:
        """`bundles`: what reads them, None where they were not subscribed to."""
        self.packets = 0
        self.last_s: float | None = None
        self.longest_packet_s = 0.0
        self.overloaded: set[bytes] = set()
        self.has_enough = False
        self._streams = streams
        self._scheduler = scheduler
        self._bundles = bundles
        self._watched = watched
        self._bed_bytes: dict[bytes, int] = {}
        """Bytes that beds have brought since `begin`, in packets that are not small."""
        self._bytes = self._left = 0
        """Bytes of samples that were taken since then, and packets that may still be."""

    def begin(self) -> None:
        """Begin a reading: what beds brought before no longer counts."""
        self._bed_bytes = {}
        self._bytes, self._left = 0, MOST_PACKETS_READ
        self.has_enough = False

    def take(self, frames: Sequence[bytes], now_s: float, out: ChunkAssembler) -> None:
        """Take one message of the stream; what is in order goes to `out`."""
        if self._bundles is not None and frames[0] == BUNDLE_TOPIC:
            if read := self._bundles.read(frames, self.overloaded, now_s, out):
                self._take_bundle(read, now_s, out)
        elif message := self._parse_message(frames, now_s, out):
            self._take(message, frames[0], len(frames[0]) + len(frames[1]), now_s, out)

    def _take_bundle(self, read: ReadBundle, now_s: float, out: ChunkAssembler) -> None:
        if read.taken or self._watched.shares:
            self.last_s = now_s
        if read.taken:
            self.packets += len(read.taken)
            self.longest_packet_s = max(self.longest_packet_s, read.packet_s)
            self._count(len(read.taken), len(read.taken) * read.row_bytes)
            for run in read.taken if read.row_bytes > SMALL_PACKET_BYTES else ():
                self._count_share(run.name, read.row_bytes)
        for packet, run in read.unusual:
            if run.name in self.overloaded:
                self._leave_out(run.name, now_s, out)
            else:
                self._take(packet, run.name, run.head_bytes, now_s, out)

    def _take(self, message: Packet | End, name: bytes, head_bytes: int, now_s: float, out: ChunkAssembler) -> None:
        """Take a message, unless it makes no sense: of a bed by its name in bytes, with `head_bytes` beside samples."""
        buffer = self._streams.select_buffer(message, now_s, out)
        if buffer is None:
            return
        if reason := buffer.refuses(message):
            self._streams.reject(reason, out, now_s, name)
            return
        had_room = buffer.missing_since_s is None or not buffer.full
        self._push(buffer, message, now_s, out)
        buffer.head_bytes = head_bytes
        if isinstance(message, Packet):
            self._count(1, len(message.payload))
            self._count_share(name, len(message.payload))
        if buffer.missing_since_s is not None:
            self._streams.incomplete.add(buffer.bed)
            if had_room and buffer.full and self._scheduler.is_congested(now_s):
                self.has_enough = True

    def _parse_message(self, frames: Sequence[bytes], now_s: float, out: ChunkAssembler) -> Packet | End | None:
        """Return the message of the frames; None where it is rejected, or of a bed that is not watched."""
        if self.overloaded and frames[0] in self.overloaded:
            self._leave_out(frames[0], now_s, out)
            return None
        try:
            message = parse_frames(frames)
        except FrameError as error:
            self._streams.reject(str(error), out, now_s, frames[0])
            return None
        if self._watched.has(message.bed):  # ZeroMQ subscribes by prefix: bed 1 would bring bed 10 too
            return message
        if self._watched.shares:
            self.last_s = now_s
            self._watched.note_other(message.bed, isinstance(message, End))
        return None

    def _leave_out(self, name: bytes, now_s: float, out: ChunkAssembler) -> None:
        """Reject a packet of a bed that has far too much to be analysed; it is heard all the same."""
        self.last_s = now_s
        if buffer := self._streams.buffers.get(name.decode(errors="replace")):
            buffer.received_s = buffer.news_s = now_s
        self._streams.reject("it sends more than its share: left out, to be fetched later", out, now_s, name)

    def _push(self, buffer: ReorderBuffer, message: Packet | End, now_s: float, out: ChunkAssembler) -> None:
        self.last_s = buffer.received_s = now_s
        if buffer.has_news(message):
            buffer.news_s = now_s
        if isinstance(message, Packet):
            self.packets += 1
            buffer.packet_s = message.header.count / message.header.fs
            buffer.sample_bytes = len(message.payload) / message.header.count
            self.longest_packet_s = max(self.longest_packet_s, buffer.packet_s)
        parts = buffer.push(message, now_s)
        if parts:
            buffer.advanced_s = now_s
            out.add_parts(buffer.bed, parts)
        elif buffer.missing_since_s is None and now_s - buffer.advanced_s >= STALE_PACKETS_S:
            reason = "only samples that were taken or declared missing before"
            self._streams.reject(reason, out, now_s, buffer.bed.encode())

    def _count(self, packets: int, size: int) -> None:
        """Count packets that were taken and the bytes of their samples."""
        self._left -= packets
        self._bytes += size
        if self._left <= 0 or self._bytes >= MOST_BYTES_READ:
            self.has_enough = True

    def _count_share(self, name: bytes, size: int) -> None:
        """Count the bytes of a packet of a bed; what comes after too many is left out.

        Where most beds have brought too many, reading should pause.
        """
        if size <= SMALL_PACKET_BYTES:
            return
        self._bed_bytes[name] = self._bed_bytes.get(name, 0) + size
        if self._bed_bytes[name] > MOST_BED_BYTES:
            self.overloaded.add(name)
            if 2 * len(self.overloaded) > self._streams.live:
                self.has_enough = True
