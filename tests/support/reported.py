"""Recordings to report: a made-up ECG, its beats, alarms and strips."""

from dataclasses import replace
from typing import Any

import numpy as np

from agent.core.messages import Alarm, Beat, Chunk, Strip
from support.indexed import NOW, chunk


def wave(first: int, stop: int, fs: float = 125.0, period: float = 0.8) -> np.ndarray[Any, np.dtype[np.int32]]:
    """(n, 2) counts with an R peak of 1 mV every `period` seconds, from the first on."""
    at = np.arange(first, stop) / fs % period
    near = np.minimum(at, period - at)
    lead = np.rint(1000 * np.exp(-((near / 0.02) ** 2))).astype(np.int32)
    return np.stack([lead, lead // 2], axis=1)


def signal(first: int, stop: int, fs: float = 125.0, bed: str = "1", run: str = "run", **changes: Any) -> Chunk:
    return chunk(first, stop, bed=bed, run=run, fs=fs, counts=wave(first, stop, fs), **changes)


def beats(first: int, stop: int, bed: str = "1", labels: str = "N", period: int = 100, run: str = "run") -> list[Beat]:
    """Beats every `period` samples at 125 Hz whose classes go round; the first has no RR interval."""
    said = (0.9, 0.1, 0.0, 0.0, 0.0)
    return [
        Beat(bed, at, at + 60, labels[i % len(labels)], said, period / 125 if i else None, 0.0, 75.0, at + 20, run=run)
        for i, at in enumerate(range(first, stop, period))
    ]


def alarm(onset: int, bed: str = "1", run: str = "run", **changes: Any) -> Alarm:
    text = changes.pop("text", "V run: 5 beats at 150/min")
    made = Alarm(bed, run, "V run", "medium", text, onset, onset + 200, NOW + onset / 125)
    return replace(made, **changes)


def strip(of: Alarm) -> Strip:
    first = of.announced - 1250
    return Strip(of, "MLII", first, (wave(max(0, first), first + 2500)[:, 0] / 1000).astype(np.float32))
