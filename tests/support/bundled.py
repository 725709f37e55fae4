"""Packets that are due together, as bundles or as packets of version 1."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import Chunk, End, Lead
from agent.device.bundle_writer import BundleWriter
from agent.wire.packets import PacketCutter, encode_frames
from model.records.resample import FS

BED_LEADS = tuple(Lead(name, "mV", 1000.0, 0.0, -5120, 5115) for name in ("MLII", "V1", "V5"))


@dataclass(frozen=True, eq=False)
class DueChunk:
    """A packet, or an End, that is due."""

    message: Chunk | End

    @property
    def cutter(self) -> PacketCutter | None:
        return PacketCutter(self.message) if isinstance(self.message, Chunk) else None

    @property
    def start(self) -> int:
        return 0

    @property
    def stop(self) -> int:
        return len(self.message.counts) if isinstance(self.message, Chunk) else 0

    @property
    def sequence(self) -> int:
        return self.message.sequence

    def frames(self, _sent_s: float) -> list[bytes]:
        """Return the frames of version 1."""
        return encode_frames(self.message)


def ramp(
    bed: str,
    first: int,
    samples: int = 25,
    run: str = "run",
    fs: float = FS,
    leads: Sequence[Lead] = BED_LEADS[:1],
    factor: int = 1,
) -> Chunk:
    """Return a packet whose counts are their own index modulo 1000, times `factor`; the other leads are negative."""
    row: NDArray[np.int32] = (np.arange(first, first + samples) % 1000 * factor).astype(np.int32)
    counts = np.stack([row if lead == 0 else -row for lead in range(len(leads))], axis=1)
    return Chunk(bed, run, first, fs, tuple(leads), counts, 1.0, 0.0, first // samples)


def write_bundles(writer: BundleWriter, messages: Iterable[Chunk | End], sent_s: float = 1.0) -> list[list[bytes]]:
    """Return what a device sends of messages that are due together: descriptions, then bundles and packets."""
    written = list(writer.write([DueChunk(message) for message in messages], sent_s))
    out: list[list[bytes]] = []
    while (description := writer.descriptions()) is not None:
        out.append(description)
        writer.note_described()
    return out + [message.frames for message in written]
