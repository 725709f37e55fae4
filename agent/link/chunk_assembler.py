"""Collects what one call of `LinkReceiver.receive` returns; consecutive packets of a bed become one chunk."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import zmq
from numpy.typing import NDArray

from agent.core.events import Event
from agent.core.messages import Chunk, End, Gap
from agent.wire.bundles import DescribedRun
from agent.wire.packets import Packet, continues_stream, join_packets

LinkMessage = Chunk | Gap | End | Event


class _BundleRow(NamedTuple):
    """Samples of a bundle that follow on the ones before: `counts` (n, leads)."""

    run: DescribedRun
    first: int
    sequence: int
    sent_s: float
    counts: NDArray[np.int32]


class ChunkAssembler:
    """Joins packets that follow each other, which are then unpacked as fast as one.

    `arrived_s`: when they reached the socket. `offset_s`: the device's clock less ours, None where it is not known.
    """

    def __init__(self, arrived_s: float, offset_s: float | None) -> None:
        self._arrived_s = arrived_s
        self._offset_s = offset_s
        self._messages: list[LinkMessage] = []
        self._pending: dict[str, list[Packet]] = {}
        self._rows: dict[str, list[_BundleRow]] = {}

    def add_events(self, *events: Event) -> None:
        """Add events as they are."""
        self._messages += events

    def add_parts(self, bed: str, parts: Sequence[Packet | Gap | End]) -> None:
        """Add what came out of the reorder buffer of a bed, in order."""
        if rows := self._rows.pop(bed, None):
            self._messages.append(self._join_rows(rows))
        packets = self._pending.setdefault(bed, [])
        for part in parts:
            if packets and not (isinstance(part, Packet) and continues_stream(part, packets[-1])):
                self._messages.append(self._join(packets))
                packets.clear()
            if isinstance(part, Packet):
                packets.append(part)
            else:
                self._messages.append(part)

    def add_row(self, run: DescribedRun, first: int, sequence: int, sent_s: float, counts: NDArray[np.int32]) -> None:
        """Add samples of a bundle, `counts` (n, leads), that follow on all that came before of their bed."""
        row = _BundleRow(run, first, sequence, sent_s, counts)
        if packets := self._pending.pop(run.bed, None):
            self._messages.append(self._join(packets))
        rows = self._rows.get(run.bed)
        if rows is None:
            self._rows[run.bed] = [row]
        elif rows[-1].run is run:
            rows.append(row)
        else:
            self._messages.append(self._join_rows(rows))
            self._rows[run.bed] = [row]

    def assemble(self) -> list[LinkMessage]:
        """Return all messages; those of each bed in order."""
        packets = [self._join(packets) for packets in self._pending.values() if packets]
        return self._messages + packets + [self._join_rows(rows) for rows in self._rows.values()]

    def _join_rows(self, rows: list[_BundleRow]) -> Chunk:
        run, first, sequence, sent_s, counts = rows[0]
        if len(rows) > 1:
            sent_s, counts = rows[-1].sent_s, np.concatenate([row.counts for row in rows])
        sent_s = 0.0 if self._offset_s is None else sent_s - self._offset_s
        return Chunk(run.bed, run.run, first, run.fs, run.leads, counts, sent_s, self._arrived_s, sequence)

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
