"""What a source of packets yields: long blocks of a bed's signal, cut into packets when they are sent."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from agent.core.messages import Chunk, End


class PacketBlock(NamedTuple):
    """A chunk that is sent `packet` samples at a time; the last packet may be shorter.

    The chunk's `sequence` is that of its first packet.
    """

    chunk: Chunk
    packet: int

    @property
    def packets(self) -> int:
        """The number of packets."""
        return -(-len(self.chunk.counts) // self.packet)


class PacketSource(Protocol):
    """What a bed sends, in packets of `packet_s` seconds or less: the blocks and Ends of its runs, an End last.

    Iterating over it yields the Chunks of single packets, and the Ends. `sent_s` is left to the sender.
    `notice`: what a person should know of the source, "" for nothing.
    """

    notice: str = ""

    @property
    @abstractmethod
    def packet_s(self) -> float:
        """Seconds of signal in a packet."""

    @abstractmethod
    def blocks(self) -> Iterator[PacketBlock | End]:
        """Yield all that is sent, read as it is needed."""

    def __iter__(self) -> Iterator[Chunk | End]:
        """Yield the Chunk of each packet, and the Ends."""
        for block in self.blocks():
            if isinstance(block, End):
                yield block
                continue
            chunk, packet = block
            for number in range(block.packets):
                start = number * packet
                yield Chunk(
                    bed=chunk.bed,
                    run=chunk.run,
                    first=chunk.first + start,
                    fs=chunk.fs,
                    leads=chunk.leads,
                    counts=chunk.counts[start : start + packet],
                    sent_s=0.0,
                    sequence=chunk.sequence + number,
                )
