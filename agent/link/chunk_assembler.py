"""What one look at the link brings: messages from the socket; consecutive packets of a bed are unpacked together."""

from collections.abc import Sequence

import zmq

from agent.core.events import Event
from agent.core.messages import Chunk, End, Gap
from agent.wire.packets import Packet, continues_stream, join_packets

LinkMessage = Chunk | Gap | End | Event


class ChunkAssembler:
    """What a call of `receive` brings, consecutive packets of a bed joined into one chunk."""

    def __init__(self, arrived_s: float, offset_s: float | None) -> None:
        self._arrived_s, self._offset_s = arrived_s, offset_s
        self._out: list[LinkMessage] = []
        self._waiting: dict[str, list[Packet]] = {}

    def tell(self, *events: Event) -> None:
        self._out += events

    def add(self, bed: str, parts: Sequence[Packet | Gap | End]) -> None:
        packets = self._waiting.setdefault(bed, [])
        for part in parts:
            if packets and not (isinstance(part, Packet) and continues_stream(part, packets[-1])):
                self._out.append(self._join(packets))
                packets.clear()
            if isinstance(part, Packet):
                packets.append(part)
            else:
                self._out.append(part)

    def all(self) -> list[LinkMessage]:
        return self._out + [self._join(packets) for packets in self._waiting.values() if packets]

    def _join(self, packets: list[Packet]) -> Chunk:
        return join_packets(packets, self._arrived_s, self._offset_s)


def receive_frames(socket: "zmq.Socket[bytes]") -> list[bytes]:
    """The frames of the next message. Raises zmq.Again where there is none."""
    # A Frame knows whether another follows; recv_multipart asks the socket, which costs more than receiving.
    recv = socket.recv
    frame = recv(zmq.NOBLOCK, False)
    frames = [frame.bytes]
    while frame.more:
        frame = recv(zmq.NOBLOCK, False)
        frames.append(frame.bytes)
    return frames
