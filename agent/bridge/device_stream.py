"""The samples of a source as the packets of a device: numbered, losses filled, sent at once, and kept."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from agent.bridge.sensor_source import SourceLayout
from agent.core.messages import MISSING, Chunk, End
from agent.wire.packets import encode_frames, most_packet_samples

BLOCK_S = 10.0
"""Seconds of signal that are kept together."""
FILLER_SAMPLES = 4096
"""Samples without a value that are sent together."""


class DeviceSink(Protocol):
    """What a stream is sent to: an `agent.device.publisher.PacketPublisher`, or a test's stand-in."""

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send one message."""
        ...

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        """Keep what was sent."""
        ...


class DeviceStream:
    """The runs of one bed.

    `samples`: how many were sent, those without a value too; `lost` of these were lost before they came here.
    """

    def __init__(
        self, sink: DeviceSink, bed: str, longest_fill_s: float, unix: Callable[[], float] = time.time
    ) -> None:
        """A longer loss than `longest_fill_s` is left out instead of filled: nobody keeps what was before it."""
        self._sink, self._bed, self._longest_fill_s, self._unix = sink, bed, longest_fill_s, unix
        self.layout: SourceLayout | None = None
        self.samples = self.lost = self.runs = 0
        self._run = ""
        self._next = self._sequence = 0
        self._block: Chunk | None = None
        self._filled = 0

    def begin(self, layout: SourceLayout) -> None:
        """Begin a new run, after the End of the one before."""
        self.end()
        self.layout = layout
        self._run = uuid4().hex
        self._next = self._sequence = 0
        self._block = None
        self.runs += 1

    def push(self, counts: NDArray[np.int32]) -> None:
        """Send the next samples (n, leads), MISSING where there is no value."""
        if self.layout is None:
            raise ValueError("no run was begun")
        most = most_packet_samples(len(self.layout.leads))
        for start in range(0, len(counts), most):
            self._send(counts[start : start + most])

    def skip(self, count: int) -> None:
        """Declare that the next `count` samples were lost: they are sent without a value."""
        if self.layout is None or count <= 0:
            return
        self.lost += count
        if count > self._longest_fill_s * self.layout.fs:
            self._next += count
            self.samples += count
            self._block = None
            return
        filler = np.full((min(count, FILLER_SAMPLES), len(self.layout.leads)), MISSING, np.int32)
        for start in range(0, count, len(filler)):
            self.push(filler[: count - start])

    def end(self) -> None:
        """End the run, if one was begun."""
        if self.layout is None:
            return
        end = End(self._bed, self._run, self._next, self.layout.fs, self._sequence, self._unix())
        self._sink.send(encode_frames(end))
        self._sink.keep(end, 0, end.sent_s)
        self.layout = None

    def _send(self, counts: NDArray[np.int32]) -> None:
        """Send one packet, and keep its samples in blocks: an object for each packet would be slow to search."""
        assert self.layout is not None
        sent_s = self._unix()
        packet = Chunk(
            self._bed, self._run, self._next, self.layout.fs, self.layout.leads, counts, sent_s, sequence=self._sequence
        )
        self._sink.send(encode_frames(packet))
        self._sequence += 1
        self._next += len(counts)
        self.samples += len(counts)
        while len(counts):
            if self._block is None or self._filled == len(self._block.counts):
                first = self._next - len(counts)
                length = max(1, round(BLOCK_S * self.layout.fs))
                block = np.full((length, len(self.layout.leads)), MISSING, np.int32)
                self._block, self._filled = replace(packet, first=first, counts=block), 0
            taken = counts[: len(self._block.counts) - self._filled]
            self._block.counts[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            counts = counts[len(taken) :]
            self._sink.keep(self._block, self._filled, sent_s)
