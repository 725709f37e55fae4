"""Collects what one call of `LinkReceiver.receive` returns; consecutive packets of a bed become one chunk.

What comes in bundles stays together, bundle by bundle; consecutive ones of the same beds become one.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import zmq
from numpy.typing import NDArray

from agent.core.events import Event
from agent.core.messages import BedsChunk, Chunk, End, Gap
from agent.wire.bundles import DescribedRun
from agent.wire.packets import Packet, continues_stream, join_packets

LinkMessage = Chunk | Gap | End | Event
"""What the link brings; samples of many beds may come together, as a BedsChunk."""


class ChunkAssembler:
    """Joins packets that follow each other, which are then unpacked as fast as one.

    `arrived_s`: when they reached the socket. `offset_s`: the device's clock less ours, None where it is not known.
    """

    def __init__(self, arrived_s: float, offset_s: float | None) -> None:
        self._arrived_s = arrived_s
        self._offset_s = offset_s
        self._messages: list[LinkMessage | BedsChunk] = []
        self._pending: dict[str, list[Packet]] = {}
        self._together: dict[int, list[BedsChunk]] = {}
        """What came in bundles, by which list of runs it is of; none has a bed of another."""
        self._beds: set[str] = set()
        """The beds of these."""

    def add_events(self, *events: Event) -> None:
        """Add events as they are."""
        self._messages += events

    def add_parts(self, bed: str, parts: Sequence[Packet | Gap | End]) -> None:
        """Add what came out of the reorder buffer of a bed, in order."""
        if bed in self._beds:
            self._close_together()
        packets = self._pending.setdefault(bed, [])
        for part in parts:
            if packets and not (isinstance(part, Packet) and continues_stream(part, packets[-1])):
                self._messages.append(self._join(packets))
                packets.clear()
            if isinstance(part, Packet):
                packets.append(part)
            else:
                self._messages.append(part)

    def add_together(
        self,
        runs: Sequence[DescribedRun],
        firsts: Sequence[int],
        sequences: Sequence[int],
        sent_s: float,
        counts: NDArray[np.int32],
    ) -> None:
        """Add samples of a bundle, (beds, n, leads), that follow on all that came before of these beds."""
        if not runs:
            return
        sent_s = 0.0 if self._offset_s is None else sent_s - self._offset_s
        if self._pending:
            for run in runs:
                if packets := self._pending.pop(run.bed, None):
                    self._messages.append(self._join(packets))
        chunk = BedsChunk(runs, firsts, counts, sent_s, self._arrived_s, sequences)
        before = self._together.get(id(runs))
        if before is not None:
            before.append(chunk)
            return
        beds = {run.bed for run in runs}
        if not self._beds.isdisjoint(beds):
            self._close_together()
        self._beds |= beds
        self._together[id(runs)] = [chunk]

    def assemble(self) -> list[LinkMessage | BedsChunk]:
        """Return all messages; those of each bed in order."""
        self._messages += [self._join(packets) for packets in self._pending.values() if packets]
        self._close_together()
        return self._messages

    def _close_together(self) -> None:
        """Let what comes now follow on what came in bundles."""
        self._messages += [_join_following(chunks) for chunks in self._together.values()]
        self._together.clear()
        self._beds.clear()

    def _join(self, packets: list[Packet]) -> Chunk:
        return join_packets(packets, self._arrived_s, self._offset_s)


def _join_following(chunks: list[BedsChunk]) -> BedsChunk:
    """Return chunks of the same beds that follow each other as one."""
    if len(chunks) == 1:
        return chunks[0]
    counts = np.concatenate([chunk.counts for chunk in chunks], axis=1)
    return replace(chunks[0], sent_s=chunks[-1].sent_s, counts=counts)


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
