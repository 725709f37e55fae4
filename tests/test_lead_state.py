"""agent.analysis.lead_state: a lead is off after the same sample, however its signal was cut."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from support.alarmed import run_start

from agent.analysis.lead_state import LeadOffDetector
from agent.analysis.stage import LeadStateChange
from agent.core.messages import FloatArray

ROWS, SAMPLES, FLAT_MS = 3, 4000, 1000


def signals(seed: int) -> FloatArray:
    """Noise of some rows with flat stretches, some just long enough for a lead that is off, and some just too short."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.1, (ROWS, SAMPLES)).astype(np.float32)
    for row in range(ROWS):
        for first in range(200, SAMPLES - 400, 500):
            x[row, first : first + rng.choice([60, 124, 125, 126, 300])] = 0.5
    return x


def changes_of(x: FloatArray, size: int) -> list[LeadStateChange]:
    """The changes that a detector finds in pieces of `size` samples, of each row in order."""
    detector, rows = LeadOffDetector(FLAT_MS, 1.0, ROWS), np.arange(ROWS)
    for row in range(ROWS):
        detector.start(row, replace(run_start(), rails=(-5.0, 5.0)))
    found: list[LeadStateChange] = []
    for first in range(0, SAMPLES, size):
        piece = x[:, first : first + size]
        may_change = detector.may_change(rows, piece)
        changes = detector.push(rows, piece)
        assert may_change or not changes
        found += changes
    return sorted(found, key=lambda change: (change.row, change.sample))


@cache
def one_by_one(seed: int) -> list[LeadStateChange]:
    """The changes that a detector finds sample by sample."""
    return changes_of(signals(seed), 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [7, 25, 62, 124, 250, 1250, SAMPLES])
def test_pieces_do_not_matter(seed: int, size: int) -> None:
    """Changes are the same in pieces of any length; none comes where it was said that there is none."""
    assert {change.state for change in one_by_one(seed)} == {"lead off", "ok"}
    assert changes_of(signals(seed), size) == one_by_one(seed)
