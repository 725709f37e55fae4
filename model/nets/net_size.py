"""The sizes of nets: what a checkpoint says of them, without PyTorch."""

from dataclasses import dataclass

from model.beats.templates import WAVE
from model.records.wfdb_records import CLASSES


@dataclass(frozen=True, slots=True)
class NetSize:
    """The sizes that define a net: `samples` per beat, `channels` of each block, width of the `dense` layers."""

    samples: int = 187
    channels: tuple[int, ...] = (32, 32, 32, 32, 32)
    kernel: int = 5
    dense: int = 32
    classes: int = 5


CONTEXT_SIZE = NetSize(samples=WAVE, channels=(24, 32, 48), kernel=5, dense=64, classes=len(CLASSES) + 1)
"""Sizes of the net of the live monitor."""
SURELY_NORMAL = 0.95
"""Probability of N by its numbers alone from which on the live net looks at no wave (`docs/decisions-speed.md`)."""


def block_samples_left(size: NetSize) -> tuple[int, ...]:
    """Return the samples left after the pooling of each block: 92, 44, 20, 8, 2 for the default sizes."""
    return pooled_lengths(size.samples, len(size.channels))


def pooled_lengths(samples: int, blocks: int) -> tuple[int, ...]:
    """Return how many of `samples` are left after each of a number of residual blocks."""
    left = [samples]
    for _ in range(blocks):
        left.append((left[-1] - 5) // 2 + 1)
    return tuple(left[1:])
