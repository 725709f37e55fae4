"""agent.analysis.sample_ring: samples go in and come out, in C as in NumPy."""

import ctypes
from typing import cast

import numpy as np
import pytest

from agent.analysis.compiled_ring import append_samples, copy_windows
from agent.analysis.sample_ring import FEWEST_IN_C, RING_SAMPLES, SampleRing
from agent.core.messages import Gap
from model.compiled.library import load_library
from model.records.resample import FS

ROWS = 3 * FEWEST_IN_C
built = pytest.mark.skipif(load_library() is None, reason="the parts in C were not built: no C compiler (cc)")


@built
def test_in_c_the_samples_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of any length go in, over the end of the ring and behind gaps; windows come out of all rows or of some."""
    ring, random = SampleRing(ROWS), np.random.default_rng(0)
    with monkeypatch.context() as patch:
        patch.setattr("agent.analysis.sample_ring.load_library", lambda: None)
        plain = SampleRing(ROWS)
    for step in range(200):
        rows = np.sort(random.permutation(ROWS)[: random.integers(1, ROWS + 1)])
        x = random.normal(0, 1, (len(rows), random.integers(1, 400))).astype(np.float32)
        for one in (ring, plain):
            one.push(rows, x)
            if step % 10 == 9:
                one.interrupt(step % ROWS, Gap("1", "run", 0, step, FS, "never arrived"))
        firsts = ring.head[rows] - random.integers(0, RING_SAMPLES + 50, len(rows))
        for count in (1, 140, 500, RING_SAMPLES):
            found, expected = ring.windows(rows, firsts, count), plain.windows(rows, firsts, count)
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(ring.head, plain.head)


@built
def test_what_does_not_fit_is_refused() -> None:
    """C would read and write beyond the arrays."""
    library = cast(ctypes.CDLL, load_library())
    rings, heads, two = np.zeros((2, 64), np.float32), np.zeros(2, np.int64), np.array([0, 1])
    for rows in (np.array([0, 2]), np.array([-1, 0])):
        with pytest.raises(IndexError, match="beyond the 2"):
            copy_windows(library, rings, rows, heads, 5)
        with pytest.raises(IndexError, match="beyond the 2"):
            append_samples(library, rings, heads, rows, np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match="of a ring of 64"):
        copy_windows(library, rings, two, heads, 65)
    with pytest.raises(ValueError, match="first samples"):
        copy_windows(library, rings, two, heads[:1], 5)
    with pytest.raises(ValueError, match="for"):
        append_samples(library, rings, heads, two, np.zeros((1, 5), np.float32))
