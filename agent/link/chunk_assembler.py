"""Collects what one call of `LinkReceiver.receive` returns; consecutive packets of a bed become one chunk."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import zmq
from numpy.typing import NDArray

from agent.core.events import Event
from agent.core.messages import Chunk, End, Gap
from agent.wire.bundles import DescribedRun
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
        self._rows: dict[str, list[Chunk]] = {}

    def add_events(self, *events: Event) -> None:
        """Add events as they are."""
        self._messages += events

    def add_parts(self, bed: str, parts: Sequence[Packet | Gap | End]) -> None:
        """Add what came out of the reorder buffer of a bed, in order."""
        if rows := self._rows.pop(bed, None):
            self._messages.append(_join_following(rows))
        packets = self._pending.setdefault(bed, [])
        for part in parts:
            if packets and not (isinstance(part, Packet) and continues_stream(part, packets[-1])):
                self._messages.append(self._join(packets))
                packets.clear()
            if isinstance(part, Packet):
                packets.append(part)
            else:
                self._messages.append(part)

    def add_rows(
        self,
        runs: Sequence[DescribedRun],
        firsts: Sequence[int],
        sequences: Sequence[int],
        sent_s: float,
        rows: Sequence[NDArray[np.int32]],
    ) -> None:
        """Add samples of a bundle, (n, leads) of each bed, that follow on all that came before of these beds."""
        sent_s = 0.0 if self._offset_s is None else sent_s - self._offset_s
        arrived_s, chunks = self._arrived_s, self._rows
        for run, first, sequence, counts in zip(runs, firsts, sequences, rows, strict=True):
            bed = run.bed
            chunk = Chunk(bed, run.run, first, run.fs, run.leads, counts, sent_s, arrived_s, sequence)
            if self._pending and (packets := self._pending.pop(bed, None)):
                self._messages.append(self._join(packets))
            before = chunks.get(bed)
            if before is None:
                chunks[bed] = [chunk]
            elif (before[-1].run, before[-1].fs, before[-1].leads) == (run.run, run.fs, run.leads):
                before.append(chunk)
            else:
                self._messages.append(_join_following(before))
                chunks[bed] = [chunk]

    def assemble(self) -> list[LinkMessage]:
        """Return all messages; those of each bed in order."""
        packets = [self._join(packets) for packets in self._pending.values() if packets]
        return self._messages + packets + [_join_following(chunks) for chunks in self._rows.values()]

    def _join(self, packets: list[Packet]) -> Chunk:
        return join_packets(packets, self._arrived_s, self._offset_s)


def _join_following(chunks: list[Chunk]) -> Chunk:
    """Return chunks of a bed that follow each other as one."""
    if len(chunks) == 1:
        return chunks[0]
    return replace(chunks[0], sent_s=chunks[-1].sent_s, counts=np.concatenate([chunk.counts for chunk in chunks]))


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
