"""Packets of beds whose samples say where they belong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import Chunk, Lead
from model.records.resample import FS

BED_LEADS = tuple(Lead(name, "mV", 1000.0, 0.0, -5120, 5115) for name in ("MLII", "V1", "V5"))


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
