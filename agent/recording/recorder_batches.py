"""What waits in the queue of a recorder: its size in memory, and its chunks joined before they are written."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from agent.core.messages import Chunk, End, Gap, Result, Strip

MESSAGE_BYTES, RESULT_BYTES = 200, 500
"""Memory of a message beside its samples, and of a beat, event, alarm or strip beside its wave, roughly."""
RecorderBatch = tuple[Sequence[Chunk | Gap | End], Sequence[Result], float]
"""Messages of the link, what was found in them, and the Unix time of both."""


def merge_chunks(messages: Iterable[Chunk | Gap | End]) -> list[Chunk | Gap | End]:
    """Return the messages with consecutive chunks of a bed joined: a few large ones are written faster than many."""
    merged: list[Chunk | Gap | End] = []
    waiting: dict[str, list[Chunk]] = {}
    for message in messages:
        parts = waiting.setdefault(message.bed, [])
        if parts and not (isinstance(message, Chunk) and _continues_chunk(message, parts[-1])):
            merged.append(_concatenate_chunks(parts))
            parts.clear()
        if isinstance(message, Chunk):
            parts.append(message)
        else:
            merged.append(message)
    return merged + [_concatenate_chunks(parts) for parts in waiting.values() if parts]


def estimate_bytes(messages: Sequence[Chunk | Gap | End], results: Sequence[Result]) -> int:
    """Return how much memory a batch takes, roughly."""
    size = RESULT_BYTES * len(results) + MESSAGE_BYTES * len(messages)
    for message in messages:
        if type(message) is Chunk:
            size += message.counts.nbytes
    for item in results:
        if type(item) is Strip:
            size += item.wave.nbytes
    return size


def _continues_chunk(chunk: Chunk, before: Chunk) -> bool:
    same_stream = chunk.leads is before.leads and chunk.run == before.run and chunk.fs == before.fs
    return same_stream and chunk.first == before.first + len(before.counts)


def _concatenate_chunks(parts: list[Chunk]) -> Chunk:
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([part.counts for part in parts])
    # As sent that the joined chunk begins when its first part did, also where the device sends faster than real time.
    begun_s = parts[0].sent_s - len(parts[0].counts) / parts[0].fs
    return replace(parts[0], counts=counts, sent_s=begun_s + len(counts) / parts[0].fs)
