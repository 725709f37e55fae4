"""The link: frames from ZeroMQ, decoded, put in order bed by bed, and every missing sample declared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import zmq

from agent.messages import Chunk, End, Event, Gap, LinkView
from agent.wire import decode
from model.errors import EndpointError, FrameError

MOST_PACKETS = 1024
"""Packets taken at once, so that keyboard and screen are not kept waiting when a fast replay fills the queue."""
LARGEST_FRAME = 2**20
"""Bytes; a peer that sends more is dropped by ZeroMQ."""


@dataclass(slots=True)
class _Track:
    """Where the stream of one bed stands: the run and the sample that comes next."""

    run: str
    next: int


class Link:
    """A subscription to some beds, or to all, of one endpoint."""

    def __init__(self, endpoint: str, beds: Sequence[str], queue: int, lost_s: float) -> None:
        """Raises EndpointError where the endpoint makes no sense; a device that is not there yet is waited for."""
        self.endpoint, self._beds, self._lost_s = endpoint, frozenset(beds), lost_s
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self.socket.set(zmq.RCVHWM, queue)
        self.socket.set(zmq.MAXMSGSIZE, LARGEST_FRAME)
        self.socket.set(zmq.LINGER, 0)
        for bed in beds or [""]:
            self.socket.subscribe(bed)
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise EndpointError(f"cannot connect to {endpoint!r}: {error}; try --endpoint tcp://HOST:PORT") from error
        self._tracks: dict[str, _Track] = {}
        self._reasons: set[str] = set()
        self._last_s: float | None = None
        self.packets = self.rejected = 0

    def close(self) -> None:
        """Let go of the socket."""
        self.socket.close()

    def wait(self, seconds: float, keyboard: int | None = None) -> None:
        """Sleep until a packet or a key is there, or the time is over."""
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        if keyboard is not None:
            poller.register(keyboard, zmq.POLLIN)
        poller.poll(max(0, round(seconds * 1000)))

    def receive(self, now_s: float) -> list[Chunk | Gap | End | Event]:
        """All that has come, in order; consecutive packets of a bed joined into one chunk. Never waits."""
        out: list[Chunk | Gap | End | Event] = []
        joined: dict[str, list[Chunk]] = {}
        for _ in range(MOST_PACKETS):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                message = decode(frames)
            except FrameError as error:
                out += self._reject(str(error))
                continue
            if self._beds and message.bed not in self._beds:
                continue  # ZeroMQ subscribes by prefix: bed 1 would bring bed 10 too
            self.packets += 1
            self._last_s = now_s
            for part in self._in_order(message):
                if isinstance(part, Chunk):
                    self._collect(part, joined, out)
                else:
                    out += self._release(part.bed, joined, now_s)
                    out.append(part)
        for bed in list(joined):
            out += self._release(bed, joined, now_s)
        return out

    def view(self, now_s: float) -> LinkView:
        """The state of the link at `now_s`."""
        state = "waiting" if self._last_s is None else "connected" if now_s - self._last_s < self._lost_s else "lost"
        return LinkView(self.endpoint, state, self.packets, self.rejected)  # type: ignore[arg-type]  # str is a Literal

    def _in_order(self, message: Chunk | End) -> list[Chunk | Gap | End]:
        """The message, a gap before it where samples are missing, without what was received before."""
        track = self._tracks.get(message.bed)
        if track is None or track.run != message.run:
            self._tracks[message.bed] = track = _Track(message.run, message.first)
        out: list[Chunk | Gap | End] = []
        if message.first > track.next:
            count = message.first - track.next
            out.append(Gap(message.bed, message.run, track.next, count, message.fs, "never arrived"))
        if isinstance(message, End):
            return [*out, message]
        known = max(0, track.next - message.first)
        track.next = max(track.next, message.first + len(message.counts))
        if known == 0:
            return [*out, message]
        if known >= len(message.counts):
            return []
        return [replace(message, first=message.first + known, counts=message.counts[known:])]

    def _collect(self, chunk: Chunk, joined: dict[str, list[Chunk]], out: list[Chunk | Gap | End | Event]) -> None:
        waiting = joined.setdefault(chunk.bed, [])
        last = waiting[-1] if waiting else None
        if last and (last.run != chunk.run or last.fs != chunk.fs or last.leads != chunk.leads):
            out += self._release(chunk.bed, joined, last.arrived_s)
        joined.setdefault(chunk.bed, []).append(chunk)

    def _release(self, bed: str, joined: dict[str, list[Chunk]], now_s: float) -> list[Chunk]:
        """The packets of a bed that wait, as one chunk."""
        chunks = joined.pop(bed, [])
        if not chunks:
            return []
        counts = chunks[0].counts if len(chunks) == 1 else np.concatenate([chunk.counts for chunk in chunks])
        return [replace(chunks[0], counts=counts, sent_s=chunks[-1].sent_s, arrived_s=now_s)]

    def _reject(self, reason: str) -> list[Event]:
        """Count a malformed frame, and tell of each reason once: garbage must not flood the events."""
        self.rejected += 1
        if reason in self._reasons or len(self._reasons) >= 100:
            return []
        self._reasons.add(reason)
        return [Event("", 0, "frame", f"frame rejected: {reason}")]
