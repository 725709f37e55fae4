"""Packets of our wire as payloads of a topic: a device that reaches the monitor through a broker.

A payload is the three frames of a packet one after the other, each behind its length in four bytes, the low one first.
A broker keeps no memory to ask: what it lost is known by the index of the samples, and declared.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from agent.bridge.sensor_source import SourceLayout, SourceReading
from agent.core.messages import Chunk
from agent.wire.packets import decode_frames
from model.errors import FrameError, SourceError

LENGTH_BYTES = 4
MOST_MALFORMED = 20
"""Payloads that are no packets, before any that is, after which the topic is one of something else."""


class PayloadTransport(Protocol):
    """Where whole payloads come from, such as an `agent.bridge.mqtt_topic.MqttTopic`."""

    name: str
    is_over: bool

    def open(self) -> None:
        """Open it. Raises SourceError."""
        ...

    def read_payloads(self, timeout_s: float) -> list[bytes]:
        """Return the payloads that have come, waiting up to `timeout_s`. Raises LostSourceError where it is gone."""
        ...

    def close(self) -> None:
        """Close it."""
        ...

    def remark(self) -> str:
        """Return what a person should know of it."""
        ...


class WirePayloadSource:
    """The bed of a device whose packets come as payloads. A new run of the device is a new run of the bridge."""

    def __init__(self, transport: PayloadTransport) -> None:
        self.name = transport.name
        self._transport = transport
        self._items: deque[SourceLayout | SourceReading] = deque()
        self._layout: SourceLayout | None = None
        self._next = 0
        self._malformed = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing will follow: never, a device may start again."""
        return self._transport.is_over and not self._items

    def open(self) -> None:
        """Open the transport. Raises SourceError."""
        self._transport.open()

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        """Return what comes next, as `SensorSource` says."""
        if not self._items:
            for payload in self._transport.read_payloads(timeout_s):
                self._take_payload(payload)
        return self._items.popleft() if self._items else None

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def remark(self) -> str:
        """Say how many payloads were no packets, and what the transport says."""
        malformed = f"{self._malformed} payloads were no packets" if self._malformed else ""
        return ", ".join(text for text in (malformed, self._transport.remark()) if text)

    def _take_payload(self, payload: bytes) -> None:
        try:
            message = decode_frames(split_payload(payload))
        except FrameError as error:
            self._malformed += 1
            if self._layout is None and self._malformed >= MOST_MALFORMED:
                raise SourceError(f"{self.name} sends no packets of the wire: {error} (--frames)") from error
            return
        if isinstance(message, Chunk):
            self._take_chunk(message)

    def _take_chunk(self, chunk: Chunk) -> None:
        layout = SourceLayout(chunk.fs, chunk.leads, chunk.run)
        if layout != self._layout:
            self._layout, self._next = layout, chunk.first
            self._items.append(layout)
        counts = chunk.counts[max(0, self._next - chunk.first) :]
        if not len(counts):
            return  # it comes twice, or too late
        lost = max(0, chunk.first - self._next)
        self._next = chunk.first + len(chunk.counts)
        last = self._items[-1] if self._items else None
        if not lost and isinstance(last, SourceReading):
            self._items[-1] = SourceReading(np.concatenate([last.counts, counts]), last.lost)
        else:
            self._items.append(SourceReading(counts, lost))


def join_payload(frames: Sequence[bytes]) -> bytes:
    """Return the frames of a packet as one payload."""
    return b"".join(len(frame).to_bytes(LENGTH_BYTES, "little") + frame for frame in frames)


def split_payload(payload: bytes) -> list[bytes]:
    """Return the frames of a payload. Raises FrameError where it holds none."""
    frames, at = list[bytes](), 0
    while at < len(payload):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(payload[start - LENGTH_BYTES : start], "little")
        frames.append(payload[start:at])
    if at != len(payload) or len(frames) != 3:
        raise FrameError("a payload that is not three frames, each behind its length")
    return frames
