"""What a device keeps of the signal it has sent, so that a monitor may ask for it again."""

from collections import deque
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from agent.messages import Chunk, End
from agent.service import BLOCK_S, Fetch, Fetched
from agent.wire import LARGEST_COUNT, LARGEST_FRAME

WIDEST = 4
"""Bytes of a count."""


class Memory:
    """The last `keep_s` seconds of signal of every bed. One thread keeps, others may fetch."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._beds: dict[str, _Ring] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._beds)

    def keep(self, message: Chunk | End) -> None:
        """Remember a message that was sent, with its `sent_s`."""
        with self._lock:
            ring = self._beds.get(message.bed)
            if isinstance(message, End):
                if ring is not None and ring.run == message.run:
                    ring.ended = True
                return
            if ring is None or not ring.fits(message):
                start = ring.start if ring is not None and ring.run == message.run else message.first
                ring = self._beds[message.bed] = _Ring(message, self._keep_s, start)
            ring.push(message)

    def fetch(self, asked: Fetch) -> tuple[Fetched, list[Chunk]]:
        """What is left of the samples that are asked for, from the first on, a minute at most."""
        with self._lock:
            ring = self._beds.get(asked.bed)
            if ring is None:
                return Fetched(id=asked.id, bed=asked.bed, run="", start=0, oldest=0, next=0, ended=False), []
            said = Fetched(
                id=asked.id,
                bed=asked.bed,
                run=ring.run,
                start=ring.start,
                oldest=ring.oldest,
                next=ring.next,
                ended=ring.ended,
            )
            return said, ring.chunks(asked.first, asked.stop) if asked.run == ring.run else []


class _Ring:
    """The last samples of a run that began with sample `start`, without a jump: sample i stands at place i % length."""

    def __init__(self, chunk: Chunk, keep_s: float, start: int) -> None:
        self.bed, self.run, self.fs, self.leads = chunk.bed, chunk.run, chunk.fs, chunk.leads
        self.start, self.next, self._unbroken = start, chunk.first, chunk.first
        self.ended = False
        self._counts: NDArray[np.int32] = np.empty((round(keep_s * chunk.fs), len(chunk.leads)), np.int32)
        self._sent: deque[tuple[int, float]] = deque()

    def fits(self, chunk: Chunk) -> bool:
        same_leads = chunk.leads is self.leads or chunk.leads == self.leads
        return same_leads and (chunk.run, chunk.first, chunk.fs) == (self.run, self.next, self.fs)

    @property
    def oldest(self) -> int:
        return max(self._unbroken, self.next - len(self._counts))

    def push(self, chunk: Chunk) -> None:
        size = len(self._counts)
        counts = chunk.counts[-size:] if size else chunk.counts[:0]
        self.next = chunk.first + len(chunk.counts)
        place = (self.next - len(counts)) % size if size else 0
        before_end = min(len(counts), size - place)
        self._counts[place : place + before_end] = counts[:before_end]
        self._counts[: len(counts) - before_end] = counts[before_end:]
        # A time a second is exact enough, and a thousand beds have room for it.
        if not self._sent or self.next - self._sent[-1][0] >= self.fs:
            self._sent.append((self.next, chunk.sent_s))
            while self._sent[0][0] < self.oldest:
                self._sent.popleft()

    def chunks(self, first: int, stop: int) -> list[Chunk]:
        first = max(first, self.oldest)
        stop = min(stop, self.next, first + round(BLOCK_S * self.fs))
        most = min(LARGEST_COUNT, LARGEST_FRAME // (WIDEST * len(self.leads)))
        return [self._chunk(at, min(at + most, stop)) for at in range(first, stop, most)]

    def _chunk(self, first: int, stop: int) -> Chunk:
        counts = self._counts[np.arange(first, stop) % len(self._counts)]
        sent_s = next((sent_s for known, sent_s in self._sent if known >= stop), self._sent[-1][1])
        return Chunk(self.bed, self.run, first, self.fs, self.leads, counts, sent_s)
