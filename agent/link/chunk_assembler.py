"""Collects what one call of `LinkReceiver.receive` returns; consecutive packets of a bed become one chunk."""

from collections.abc import Sequence

import zmq

from agent.core.events import Event
from agent.core.messages import Chunk, End, Gap
from agent.wire.packets import Packet, continues_stream, join_packets

LinkMessage = Chunk | Gap | End | Event


class ChunkAssembler:
    """Joins packets that follow each other, which are then unpacked as fast as one.

    `arrived_s`: when they reached the socket. `offset_s`: the device's clock less ours, None where it is not known.
    """

    def __init__(self, arrived_s: float, offset_s: float | None) -> None:
        self._arrived_s = arrived_s
        self._offset_s = offset_s
        self._messages: list[LinkMessage] = []
        self._pending: dict[str, list[Packet]] = {}

    def add_events(self, *events: Event) -> None:
        """Add events as they are."""
        self._messages += events

    def add_parts(self, bed: str, parts: Sequence[Packet | Gap | End]) -> None:
        """Add what came out of the reorder buffer of a bed, in order."""
        packets = self._pending.setdefault(bed, [])
        for part in parts:
            if packets and not (isinstance(part, Packet) and continues_stream(part, packets[-1])):
                self._messages.append(self._join(packets))
                packets.clear()
            if isinstance(part, Packet):
                packets.append(part)
            else:
                self._messages.append(part)

    def assemble(self) -> list[LinkMessage]:
        """Return all messages; those of each bed in order."""
        return self._messages + [self._join(packets) for packets in self._pending.values() if packets]

    def _join(self, packets: list[Packet]) -> Chunk:
        return join_packets(packets, self._arrived_s, self._offset_s)


def receive_frames(socket: "zmq.Socket[bytes]") -> list[bytes]:
    """Receive the frames of the next message. Raises zmq.Again where there is none."""
    # A Frame knows whether another follows; recv_multipart asks the socket, which costs more than receiving.
    recv = socket.recv
    frame = recv(zmq.NOBLOCK, False)
    frames = [frame.bytes]
    while frame.more:
        frame = recv(zmq.NOBLOCK, False)
        frames.append(frame.bytes)
    return frames
