"""Keeps the latest signal that a device has sent, so that a monitor may request it again."""

from collections import deque
from threading import Lock

import numpy as np

from agent.core.messages import Chunk, End
from agent.wire.packets import most_packet_samples
from agent.wire.requests import LONGEST_REPLY_S, FetchReply, FetchRequest


class SentBuffer:
    """The last `keep_s` seconds of signal of every bed. One thread adds, others may fetch.

    Nothing is copied: the chunks are kept as they are, the oldest as long as any of its samples is.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._beds: dict[str, _SentRun] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._beds)

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        """Note that an End was sent, or a chunk's samples before `stop`, the last of them at Unix time `sent_s`."""
        with self._lock:
            kept = self._beds.get(message.bed)
            if isinstance(message, End):
                if kept is not None and kept.run == message.run:
                    kept.ended = True
                return
            if kept is None or not (message is kept.last or kept.follow(message)):
                start = kept.start if kept is not None and kept.run == message.run else message.first
                kept = self._beds[message.bed] = _SentRun(message, self._keep_s, start)
            kept.next = message.first + stop
            if kept.next >= kept.stamp_at:
                kept.stamp(sent_s)

    def fetch(self, request: FetchRequest) -> tuple[FetchReply, list[Chunk]]:
        """Return the reply to a request, and what is left of its samples from the first on, a minute at most."""
        with self._lock:
            kept = self._beds.get(request.bed)
            if kept is None:
                return FetchReply(id=request.id, bed=request.bed, run="", start=0, oldest=0, next=0, ended=False), []
            reply = FetchReply(
                id=request.id,
                bed=request.bed,
                run=kept.run,
                start=kept.start,
                oldest=kept.oldest,
                next=kept.next,
                ended=kept.ended,
            )
            return reply, kept.chunks(request.first, request.stop) if request.run == kept.run else []


class _SentRun:
    """The last chunks of a run that began with sample `start`, each following on the one before without a jump."""

    __slots__ = ("_chunks", "_most", "_sent", "_unbroken", "ended", "last", "next", "run", "stamp_at", "start")

    def __init__(self, chunk: Chunk, keep_s: float, start: int) -> None:
        self.run = chunk.run
        self.start = start
        self.next = self._unbroken = chunk.first
        self.ended = False
        self.last = chunk
        self._chunks = deque([chunk])
        self._most = round(keep_s * chunk.fs)
        self.stamp_at = 0.0
        """Index from which the next stamp is due."""
        self._sent: deque[tuple[int, float]] = deque()

    @property
    def oldest(self) -> int:
        """The first sample that is kept."""
        return max(self._unbroken, self.next - self._most)

    def follow(self, chunk: Chunk) -> bool:
        """Take a chunk that follows on the whole of the last one; return False where it does not."""
        last = self.last
        same_stream = (chunk.run, chunk.fs, chunk.leads) == (last.run, last.fs, last.leads)
        if not (same_stream and chunk.first == self.next == last.first + len(last.counts)):
            return False
        self.last = chunk
        self._chunks.append(chunk)
        return True

    def stamp(self, sent_s: float) -> None:
        """Note when the last sample was sent, and forget the oldest ones.

        Once a second is exact enough, and a thousand beds have room for it.
        """
        self._sent.append((self.next, sent_s))
        self.stamp_at = self.next + self.last.fs
        while self._sent[0][0] < self.oldest:
            self._sent.popleft()
        while len(self._chunks) > 1 and self._chunks[1].first <= self.oldest:
            self._chunks.popleft()

    def chunks(self, first: int, stop: int) -> list[Chunk]:
        """Return what is kept of samples `first` to `stop`, each chunk small enough for a packet."""
        last = self.last
        first = max(first, self.oldest)
        stop = min(stop, self.next, first + round(LONGEST_REPLY_S * last.fs))
        most = most_packet_samples(len(last.leads))
        return [self._chunk(at, min(at + most, stop)) for at in range(first, stop, most)]

    def _chunk(self, first: int, stop: int) -> Chunk:
        last = self.last
        known = [chunk for chunk in self._chunks if chunk.first < stop]
        counts = np.concatenate([chunk.counts[max(0, first - chunk.first) : stop - chunk.first] for chunk in known])
        sent_s = next((sent_s for index, sent_s in self._sent if index >= stop), self._sent[-1][1])
        return Chunk(last.bed, last.run, first, last.fs, last.leads, counts, sent_s)
