"""Recordings for the tests: written by the recorder itself while a ward analyses a stream."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from conftest import record_counts
from numpy.typing import NDArray

from agent.core.config import RecordConfig
from agent.core.messages import MISSING, Beat, Chunk, End, Gap, Lead, Result
from agent.pipeline.pipeline import Pipeline
from agent.recording.recorder import Recorder

Message = Chunk | Gap | End
NOW = 1_735_689_600.25
"""2025-01-01 00:00:00.25 UTC."""
CONFIG = RecordConfig(rotate_min=60.0, sync_s=60.0, limit_mb=0.0, reserve_mb=0.0, replay_s=120.0)
LEADS = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115), Lead("V1", "mV", 200.0, -1024.0, -4096, 4095))
WIDE = (Lead("II", "mV", 20_000.0, 3_000_000.25, -(2**31) + 1, 2**31 - 1),)
"""Its counts do not fit 16 bits, and the count of 0 mV is not an integer."""


def stream(
    counts: NDArray[np.int32],
    bed: str = "1",
    run: str = "run",
    first: int = 0,
    fs: float = 125.0,
    leads: tuple[Lead, ...] = LEADS,
    size: int = 20,
) -> list[Message]:
    """Return (n, leads) counts as chunks of `size`; a chunk in which no lead has a value becomes a gap."""
    out: list[Message] = []
    for at in range(0, len(counts), size):
        part = counts[at : at + size]
        if (part == MISSING).all():
            out.append(Gap(bed, run, first + at, len(part), fs, "never arrived"))
        else:
            sent_s = NOW + (at + len(part)) / fs
            out.append(Chunk(bed, run, first + at, fs, leads, part, sent_s, sequence=at // size))
    return out


def two_leads(name: str, seconds: float) -> NDArray[np.int32]:
    """Return (n, 2) int32 counts of LEADS of an embedded record at 125 Hz."""
    counts = record_counts(name, seconds)
    return np.stack([counts, -counts // 5 - 1024], axis=1)


def wide(name: str, seconds: float, fs: int = 250) -> NDArray[np.int32]:
    """Return (n, 1) int32 counts of WIDE of an embedded record, each sample repeated."""
    return np.repeat(20 * record_counts(name, seconds), fs // 125)[:, None] + 3_000_000


def troubled(size: int = 20) -> list[Message]:
    """Return two runs of one bed: gaps, values missing in one lead, a long hole, then another rate, lead and width."""
    counts = two_leads("208", 90)
    counts[3000:3020, 0] = counts[6010:6030, 1] = MISSING
    counts[4000:4400] = MISSING
    return [
        *stream(counts[:7500], first=500, size=size),
        Gap("1", "run", 8000, 10_000, 125.0, "never arrived"),
        *stream(counts[7500:], first=18_000, size=size),
        End("1", "run", 21_750, 125.0),
        *stream(wide("119", 60), run="next", first=77, fs=250.0, leads=WIDE, size=50),
        End("1", "next", 77 + 15_000, 250.0),
    ]


def recorded(folder: Path, messages: Sequence[Message], ward: Pipeline, config: RecordConfig = CONFIG) -> list[Beat]:
    """Record messages while a ward analyses them, and return its beats."""
    beats: list[Beat] = []
    with Recorder(folder, config, {"version": "1", "weights": "test"}) as recorder:
        for message in messages:
            found = ward.push([message])
            recorder.push([message], found, NOW)
            beats += beats_of(found)
    return beats


def beats_of(found: Iterable[Result]) -> list[Beat]:
    """Return the beats without the times of the wall clock."""
    return [replace(item, arrived_s=0.0, sent_s=0.0) for item in found if isinstance(item, Beat)]


def heard(messages: Iterable[Chunk | End]) -> Iterator[Message]:
    """Yield what a device sends as the link delivers it: a jump of the index within a run is a gap."""
    run, following = "", 0
    for message in messages:
        if message.run != run:
            run, following = message.run, message.first
        assert message.first >= following
        if message.first > following:
            count = message.first - following
            yield Gap(message.bed, run, following, count, message.fs, "no longer kept by the device")
        following = message.first + (len(message.counts) if isinstance(message, Chunk) else 0)
        yield message
