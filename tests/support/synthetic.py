"""Synthetic ECGs of one lead, and what may stand in them: pacemaker pulses and holes."""

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import MISSING, Chunk, Lead

LEAD = Lead("II", "mV", 1000.0, 0.0, -(10**6), 10**6)
"""Counts of a microvolt."""
WAVES = ((-0.18, 0.12, 0.025), (-0.025, -0.1, 0.008), (0.0, 1.0, 0.011), (0.028, -0.2, 0.009), (0.26, 0.3, 0.045))
"""P, Q, R, S and T: seconds from the R peak, millivolts, and width of a bell in seconds."""


def make_ecg(fs: float, seconds: float, r_peaks_s: NDArray[np.float64] | list[float]) -> NDArray[np.float64]:
    """Return (n,) mV at `fs` hertz with a beat at each of `r_peaks_s`, and 5 uV of noise."""
    time = np.arange(round(fs * seconds)) / fs
    ecg = np.random.default_rng(1).normal(0, 0.005, len(time))
    for at_s in r_peaks_s:
        for place, height, width in WAVES:
            ecg += height * np.exp(-0.5 * ((time - at_s - place) / width) ** 2)
    return ecg


def make_pulses(fs: float, seconds: float, at_s: list[float], mv: float, ms: float) -> NDArray[np.float64]:
    """Return (n,) mV with a rectangular pulse at each of `at_s`, each sample the mean of its time."""
    edges = np.arange(round(fs * seconds) + 1) / fs
    covered = np.zeros(len(edges))
    for start in at_s:
        covered += np.clip(edges - start, 0, ms / 1000)
    return mv * fs * np.diff(covered)


def stream_counts(ecg: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return (n,) mV as counts of LEAD, MISSING where they are NaN."""
    counts: NDArray[np.int32] = np.where(np.isnan(ecg), MISSING, np.rint(1000 * np.nan_to_num(ecg))).astype(np.int32)
    return counts


def stream_chunks(ecg: NDArray[np.float64], fs: float, sizes: list[int]) -> list[Chunk]:
    """Return (n,) mV as the chunks of a device; their sizes repeat in a cycle."""
    counts, first = stream_counts(ecg)[:, None], 0
    chunks: list[Chunk] = []
    while first < len(counts):
        part = counts[first : first + sizes[len(chunks) % len(sizes)]]
        chunks.append(Chunk("1", "run", first, fs, (LEAD,), part, 0.0, 0.0, len(chunks)))
        first += len(part)
    return chunks
