"""Synthetic streams to record: a sample or beat depends on nothing but its index, so that none can be confused."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.core.config import RecordConfig
from agent.core.messages import Beat, Chunk, End, Gap, Lead, Result
from agent.recording.recorder import Recorder

LEADS = (Lead("MLII", "mV", 1000.0, 0.0, -5120, 5115), Lead("V1", "µV", 200.0, 12.25, -5120, 5115))
CONFIG = RecordConfig(rotate_min=60.0, sync_s=5.0, limit_mb=0.0, reserve_mb=0.0, replay_s=120.0)
NOW = 1_735_689_600.25
"""2025-01-01 00:00:00.25 UTC."""
Counts = NDArray[np.int32]
Message = Chunk | Gap | End


def counts_of(first: int, stop: int, leads: int = 2) -> Counts:
    """Return (stop - first, leads) int32: samples `first` to `stop` of every stream."""
    index = np.arange(first, stop, dtype=np.int64)[:, None] * leads + np.arange(leads)
    return (index * 7919 % 9973 - 4986).astype(np.int32)


def chunk(first: int, stop: int, bed: str = "1", run: str = "run", fs: float = 125.0, **changes: Any) -> Chunk:
    whole = Chunk(bed, run, first, fs, LEADS, counts_of(first, stop), NOW + stop / fs)
    return replace(whole, **changes)


def gap(first: int, stop: int, bed: str = "1", run: str = "run", fs: float = 125.0) -> Gap:
    return Gap(bed, run, first, stop - first, fs, "never arrived")


def beat(sample: int, label: str = "N", bed: str = "1", run: str = "run") -> Beat:
    """Return a beat all of whose numbers differ from each other."""
    p = (0.1 + 0.2, 1 / 3, 1e-17, float(np.float32(0.1)), sample / 7)
    return Beat(bed, sample, sample + 30, label, p, sample / 125 or None, 0.0, 60 + sample / 9, sample + 20, run=run)


def record(folder: Path, *messages: Message, found: Sequence[Result] = (), config: RecordConfig = CONFIG) -> None:
    """Record a whole session."""
    with Recorder(folder, config, {"version": "1"}) as recorder:
        recorder.push(messages, found, NOW)


def kill(recorder: Recorder) -> None:
    """Leave what a kill of the monitor would leave at this moment."""
    assert recorder.flush()
    folder = recorder.folder
    left = folder.with_name(f"{folder.name}-left")
    shutil.copytree(folder, left)
    recorder.close()
    shutil.rmtree(folder)
    left.rename(folder)


def refuse_probe(patch: pytest.MonkeyPatch, make_error: Callable[[], Exception]) -> None:
    """Keep a paused recording paused: its probe of the disk fails, until the patch is undone."""
    write_bytes = Path.write_bytes

    def write(path: Path, content: bytes) -> int:
        if path.name == "probe.tmp":
            raise make_error()
        return write_bytes(path, content)

    patch.setattr(Path, "write_bytes", write)
