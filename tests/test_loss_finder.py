"""agent.bridge.loss_finder: losses by counters of any kind, and by stamps that jitter."""

from collections.abc import Sequence

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.bridge.loss_finder import DOUBT_S, LEAST_STEPS, LossFinder, SampleCounter, SampleIntake

FS = 250.0
Loss = tuple[int, int]


def feed(
    kept: NDArray[np.int64],
    stamps: NDArray[np.float64],
    numbers: NDArray[np.float64] | None,
    sizes: Sequence[int],
    doubt_s: float = DOUBT_S,
) -> list[Loss]:
    """Feed the samples that were kept in chunks; return the place of each loss found, and its size."""
    finder = LossFinder(FS, None if numbers is None else SampleCounter(), doubt_s)
    intake = SampleIntake(finder, 1)
    found: list[Loss] = []
    out: list[int] = []
    at, now_s = 0, 0.0
    for size in [*np.resize(sizes, len(kept)).tolist(), 0, 0]:
        piece = slice(at, at + size)
        now_s = float(stamps[min(at + size, len(kept)) - 1]) if size else now_s + DOUBT_S
        intake.add(
            kept[piece, None].astype(np.int32), stamps[piece], None if numbers is None else numbers[piece], now_s
        )
        at += size
        while (reading := intake.take()) is not None:
            if reading.lost:
                found.append((len(out), reading.lost))
            out += reading.counts[:, 0].tolist()
    assert out == kept.tolist()
    return found


def without(samples: int, losses: Sequence[Loss]) -> tuple[NDArray[np.int64], list[Loss]]:
    """Indices of samples but for the losses [from, to), and where these are to be found."""
    gone = np.zeros(samples, bool)
    expected, before = [], 0
    for first, last in losses:
        gone[first:last] = True
        expected.append((first - before, last - first))
        before += last - first
    return np.flatnonzero(~gone), expected


LOSSES = ((300, 301), (400, 440), (700, 955), (1200, 1456), (2000, 2700))


@pytest.mark.parametrize("sizes", [[1], [7], [250], [3, 500, 1]])
@pytest.mark.parametrize(
    ("wrap", "stride", "repeats", "first"),
    [(256, 1, 1, 0), (256, 1, 1, 200), (200, 1, 1, 0), (65536, 1, 1, 0), (256, 2, 1, 1), (101, 1, 2, 0)],
)
def test_counters(wrap: int, stride: int, repeats: int, first: int, sizes: list[int]) -> None:
    """A counter shows losses to the sample, wherever it wraps, however far its steps are, and over whole rounds."""
    losses = [(a * repeats, b * repeats) for a, b in LOSSES]
    kept, expected = without(3500 * repeats, losses)
    numbers = (first + stride * (kept // repeats)) % wrap
    assert feed(kept, kept / FS, numbers.astype(float), sizes) == expected


@hypothesis.settings(max_examples=30)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 400), min_size=1, max_size=5))
def test_any_losses_and_chunks(seed: int, sizes: list[int]) -> None:
    """Random losses of up to a round are found, with stamps that jitter by bursts of 70 ms."""
    random = np.random.default_rng(seed)
    starts = np.sort(random.choice(np.arange(LEAST_STEPS + 256, 3000, 300), 4, replace=False))
    kept, expected = without(3600, [(int(a), int(a + random.integers(1, 256))) for a in starts])
    stamps = (np.floor(kept / FS / 0.07) + 1) * 0.07
    assert feed(kept, stamps, (kept % 256).astype(float), sizes) == expected


@pytest.mark.parametrize("number", [0.0, -1.0, 7.5])
def test_a_counter_that_stands_still(number: float) -> None:
    """What is called a counter and does not count shows no loss; stamps do instead."""
    kept, expected = without(2000, [(700, 800)])
    assert feed(kept, kept / FS, np.full(len(kept), number), [20]) == expected


def test_a_counter_of_noise() -> None:
    """Random numbers are no counter."""
    kept, _ = without(2000, [])
    assert feed(kept, kept / FS, np.random.default_rng(0).integers(0, 256, 2000).astype(float), [20]) == []


@pytest.mark.parametrize("true_fs", [240.0, 248.0, 250.0, 252.5, 262.0])
def test_stamps_of_another_rate(true_fs: float) -> None:
    """A stream that is slower or faster than it says loses nothing by that; a real loss is found about right."""
    kept, ((place, lost),) = without(20_000, [(9000, 9250)])
    ((found, size),) = feed(kept, kept / true_fs, None, [10])
    assert found == place
    assert size == pytest.approx(lost, rel=0.1)


def test_a_stall_is_no_loss() -> None:
    """A program that stalls for a second and stamps its backlog late has lost nothing."""
    kept, _ = without(3000, [])
    stamps = kept / FS
    stamps[1000:1250] = 1250 / FS + np.arange(250) * 1e-5
    assert feed(kept, stamps, None, [5]) == []


def test_bursts_are_no_losses() -> None:
    """Packets of 73 samples that all have the stamp of their arrival are whole; one that is missing is a loss."""
    kept, expected = without(73 * 60, [(73 * 30, 73 * 31)])
    stamps = (kept // 73 + 1) * 73 / FS
    ((place, lost),) = feed(kept, stamps, None, [73])
    assert (place, lost) == expected[0]


def test_clocks_that_are_set() -> None:
    """A stamp that jumps back, or hours ahead, shows no loss, and later losses are still found."""
    kept, expected = without(4000, [(3000, 3100)])
    stamps = kept / FS + np.where(kept >= 1000, -50.0, 0.0)
    assert feed(kept, stamps, None, [25]) == expected
    finder = LossFinder(FS)
    assert finder.find(kept[:500] / FS, None, 2.0) == [(500, 0)]
    assert finder.find(kept[500:1000] / FS + 3600, None, 4.0) == [(500, 0)]


def test_stamps_of_the_sensor_need_no_wait() -> None:
    """Without doubt a loss is told with the packet after it."""
    kept, expected = without(73 * 8, [(73 * 4, 73 * 5)])
    finder = LossFinder(FS, doubt_s=0.0)
    assert finder.find(kept[: 73 * 4] / FS, None, 2.0) == [(73 * 4, 0)]
    assert finder.find(kept[73 * 4 : 73 * 5] / FS, None, 2.0) == [(73, expected[0][1])]
