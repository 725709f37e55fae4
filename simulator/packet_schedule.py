"""What a schedule holds: beds, each with the packet that it sends next, by the instant at which that is due."""

from collections.abc import Iterator
from dataclasses import replace
from heapq import heappop, heappush
from typing import Protocol

from agent.core.messages import Chunk, End
from agent.device.packet_source import PacketBlock, PacketSource
from agent.wire.packets import PacketCutter, encode_frames


class MovableSource(Protocol):
    """A source that can go on elsewhere in its record.

    `bed`: its name; `start_s`: where it begins in its record, which is `length_s` seconds long and, if it `loops`,
    begins again at its end.
    """

    @property
    def bed(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def length_s(self) -> float: ...
    @property
    def loops(self) -> bool: ...

    def move_problem(self, position_s: float) -> str:
        """Return why it cannot go on at `position_s` seconds of its record, "" where it can."""
        ...

    def blocks_from(self, position_s: float, sent_s: float) -> Iterator[PacketBlock | End]:
        """Yield all that is sent from there on, as a new run, after `sent_s` seconds of signal elsewhere."""
        ...


class ScheduledSource:
    """One bed on the schedule: its next packet or End is due at `due_s` after t0 at speed 1.

    `message` is that End, or the chunk whose samples before `stop` have been sent once the packet has; the packet has
    those from `start` on, which `cutter` cuts, and the number `sequence`. `is_over`: there is nothing left to send.
    """

    __slots__ = (
        "_blocks",
        "_end",
        "_length",
        "_packet",
        "_phase_s",
        "_zero",
        "_zero_s",
        "cutter",
        "due_s",
        "is_over",
        "message",
        "sequence",
        "start",
        "stop",
    )
    message: Chunk | End
    start: int
    stop: int
    due_s: float
    sequence: int
    cutter: PacketCutter | None

    def __init__(self, source: PacketSource, phase_s: float) -> None:
        self._phase_s = phase_s
        self.is_over = False
        self._begin(source.blocks(), phase_s)

    def _begin(self, blocks: Iterator[PacketBlock | End], zero_s: float) -> None:
        """Send these blocks from now on, the first sample of them at `zero_s`."""
        self._blocks = blocks
        block = next(blocks)
        message = block if isinstance(block, End) else block.chunk
        self._end = End(message.bed, message.run, message.first, message.fs, message.sequence)
        self._zero = message.first
        self._zero_s = zero_s
        self._start_block(block)

    @property
    def sent_s(self) -> float:
        """Seconds of signal that were sent, of all runs."""
        return self._sent_until_s - self._phase_s

    @property
    def _sent_until_s(self) -> float:
        return self._zero_s + (self.message.first + self.start - self._zero) / self.message.fs

    def move(self, source: MovableSource, position_s: float) -> None:
        """Go on elsewhere in the record, as a new run; whoever calls it has sent `end`."""
        self._begin(source.blocks_from(position_s, self.sent_s), self._sent_until_s)

    @property
    def end(self) -> End:
        """The End of the bed where it is stopped before the next packet."""
        return self._end_at(self.start, self.sequence) if self.start else self._end

    def frames(self, sent_s: float) -> list[bytes]:
        """Return the frames of version 1 that are sent next."""
        if self.cutter is None:
            return encode_frames(replace(self.message, sent_s=sent_s))
        return self.cutter.cut(self.start, self.stop, self.sequence, sent_s)

    def advance(self) -> bool:
        """Go on to what is sent next; return False where there is nothing."""
        if self.stop < self._length:
            self.start = self.stop
            self.sequence += 1
            self._schedule_packet()
            return True
        last = self.message
        self._end = last if isinstance(last, End) else self._end_at(self.stop, self.sequence + 1)
        block = next(self._blocks, None)
        if block is None:
            self.is_over = True
            return False
        message = block if isinstance(block, End) else block.chunk
        if (message.run, message.fs) != (last.run, last.fs):  # the indices start again, time goes on
            self._zero = message.first
            self._zero_s = self.due_s
        self._start_block(block)
        return True

    def _start_block(self, block: PacketBlock | End) -> None:
        if isinstance(block, End):
            self.message = block
            self._packet = self._length = 0
            self.cutter = None
        else:
            self.message, self._packet = block
            self._length = len(block.chunk.counts)
            self.cutter = PacketCutter(block.chunk)
        self.start = 0
        self.sequence = self.message.sequence
        self._schedule_packet()

    def _schedule_packet(self) -> None:
        """Set the end of the packet that begins at `start`, and when it is due."""
        self.stop = stop = min(self.start + self._packet, self._length)
        self.due_s = self._zero_s + (self.message.first + stop - self._zero) / self.message.fs

    def _end_at(self, count: int, sequence: int) -> End:
        message = self.message
        return End(message.bed, message.run, message.first + count, message.fs, sequence)


class PacketSchedule:
    """Beds by the instant at which their next packets are due; there are far fewer instants than packets."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._beds: dict[float, list[ScheduledSource]] = {}

    def add(self, bed: ScheduledSource) -> None:
        """Put a bed on the schedule at the instant when it is due."""
        beds = self._beds.get(bed.due_s)
        if beds is None:
            beds = self._beds[bed.due_s] = []
            heappush(self._times, bed.due_s)
        beds.append(bed)

    def pop(self) -> tuple[float, list[ScheduledSource]] | None:
        """Take the next instant and its beds off the schedule; None where no bed is left."""
        if not self._times:
            return None
        due_s = heappop(self._times)
        return due_s, self._beds.pop(due_s)
