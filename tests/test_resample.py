from fractions import Fraction
from itertools import cycle
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import resample_poly
from scipy.special import i0

from model.records.resample import FS, Resampler, resampling_delay_s, resampling_ratio

SMALL_RATIOS = [50, 100, 125, 128, 200, 250, 256, 257.5, 300, 360, 500, 512, 977, 1000, 1024, 2048]
LARGE_RATIOS = [62.4725, 129.87, 249.89, 360.0001, 499.31, 511.548]
RATES = SMALL_RATIOS + LARGE_RATIOS
FACTORS = {100: (5, 4), 125: (1, 1), 128: (125, 128), 250: (1, 2), 257.5: (50, 103), 360: (25, 72), 1000: (1, 8)}


def noise(samples: int, leads: int = 2) -> NDArray[np.float64]:
    return np.random.default_rng(samples).normal(size=(samples, leads))


def stream(signal: NDArray[np.float64], fs: float, sizes: list[int], start: int = 0) -> NDArray[np.float64]:
    """Return all outputs from `start` on of a signal pushed in chunks whose sizes repeat."""
    resampler = Resampler(fs, signal.shape[1], start)
    position, parts = resampler.first_input, []
    for size in cycle(sizes):
        if position >= len(signal):
            break
        parts.append(resampler.push(signal[position : position + size]))
        position += size
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize("fs", SMALL_RATIOS)
@pytest.mark.parametrize("samples", [1, 7, 3_001])
def test_equals_scipy(fs: float, samples: int) -> None:
    """The stream is `scipy.signal.resample_poly` of the whole record, bit for bit."""
    signal, step = noise(samples), resampling_ratio(fs)
    expected = signal if step == 1 else resample_poly(signal, step.numerator, step.denominator)
    assert np.array_equal(stream(signal, fs, [samples]), expected)


def filtered(signal: NDArray[np.float64], step: Fraction) -> NDArray[np.float64]:
    """Return what `resample_poly` does by its formula, for a ratio whose filter would have 10**8 taps."""
    times = np.arange(ceil(len(signal) * step)) / float(step)
    away = (times[:, None] - np.arange(len(signal))) * min(1.0, float(step))
    window = i0(5.0 * np.sqrt(np.clip(1 - (away / 10) ** 2, 0, None))) * (np.abs(away) <= 10)
    grid = np.linspace(-10, 10, 200_001)
    area = (np.sinc(grid) * i0(5.0 * np.sqrt(1 - (grid / 10) ** 2))).mean() * 20
    weights: NDArray[np.float64] = np.sinc(away) * window / area * min(1.0, float(step))
    return weights @ signal


@pytest.mark.parametrize("fs", LARGE_RATIOS)
def test_close_to_scipy(fs: float) -> None:
    """A rate without a small ratio gives what the filter of SciPy would, to the accuracy of either."""
    signal, step = noise(1_000), resampling_ratio(fs)
    by_formula = filtered(signal, step)
    expected = resample_poly(signal, step.numerator, step.denominator) if step.denominator < 10**6 else by_formula
    assert np.abs(by_formula - expected).max() < 1e-4
    inner = slice(20, -20)  # at the edges the weights of the table sum to 1 over the zeros beyond, too
    assert np.abs(stream(signal, fs, [1_000]) - expected)[inner].max() < 2e-3


@pytest.mark.parametrize("fs", LARGE_RATIOS)
def test_time_is_exact_over_days(fs: float) -> None:
    """A month into a stream the peak of a pulse still stands where it was, to a hundredth of a sample."""
    start = 30 * 24 * 3600 * FS
    resampler = Resampler(fs, 1, start)
    pulse_s = start / FS + 1.0
    times = (resampler.first_input + np.arange(round(2.2 * fs))) / fs
    outputs = np.concatenate([resampler.push(np.exp(-(((times - pulse_s) / 0.03) ** 2))[:, None]), resampler.flush()])
    found = np.arange(len(outputs)) @ outputs[:, 0] / outputs.sum()
    assert found == pytest.approx(FS, abs=0.01)


@pytest.mark.parametrize(("fs", "factors"), FACTORS.items())
def test_factors(fs: float, factors: tuple[int, int]) -> None:
    """A rate becomes 125 Hz by the smallest pair of factors."""
    step = resampling_ratio(fs)
    assert (step.numerator, step.denominator) == factors


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("sizes", [[1], [30], [3, 0, 1_000, 1, 17]], ids=["1", "30", "irregular"])
def test_chunks_do_not_matter(fs: float, sizes: list[int]) -> None:
    """Whole, sample by sample, in thirties or irregular: the same outputs, bit for bit."""
    signal = noise(2_000)
    assert np.array_equal(stream(signal, fs, sizes), stream(signal, fs, [2_000]))


@pytest.mark.parametrize("fs", [20, 40, 75, 80, 120, *RATES])
@pytest.mark.parametrize("sizes", [[1], [30], [3, 0, 1_000, 1, 17]], ids=["1", "30", "irregular"])
def test_missing_samples_reach_equally_far(fs: float, sizes: list[int]) -> None:
    """A NaN spreads over the outputs whose filter reaches it, whatever the cuts, and at most one sample farther."""
    signal = noise(1_200, 1)
    missing = np.random.default_rng(2).integers(0, len(signal), 9)
    signal[missing] = np.nan
    outputs = stream(signal, fs, sizes)
    assert np.array_equal(outputs, stream(signal, fs, [1_200]), equal_nan=True)
    reach_s = resampling_delay_s(fs)
    away_s = np.abs(np.arange(len(outputs))[:, None] / FS - missing / fs).min(axis=1)
    assert np.isnan(outputs[away_s < reach_s - 1e-9]).all()
    assert not np.isnan(outputs[away_s > reach_s + 1 / fs + 1e-9]).any()


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(RATES), st.integers(0, 600), st.lists(st.integers(0, 90), min_size=1).filter(any))
def test_any_chunks_from_any_start(fs: float, start: int, sizes: list[int]) -> None:
    """A stream that starts late is the tail of the whole, bit for bit, however it is cut."""
    signal = noise(1_500, 1)
    assert np.array_equal(stream(signal, fs, sizes, start), stream(signal, fs, [1_500])[start:])


@pytest.mark.parametrize("fs", RATES)
def test_a_device_may_count_from_far_on(fs: float) -> None:
    """Near the largest number of a sample the outputs are those near the first, bit for bit."""
    signal, near = noise(1_000), Resampler(fs, 2)
    times = 2**52 // near.down
    far = Resampler(fs, 2, times * near.up)
    before = np.zeros((times * near.down - far.first_input, 2))
    found = np.concatenate([far.push(np.concatenate([before, signal])), far.flush()])
    assert np.array_equal(found, np.concatenate([near.push(signal), near.flush()]))


@pytest.mark.parametrize("fs", RATES)
def test_first_input(fs: float) -> None:
    """A stream that starts late needs no input much earlier than its filter reaches."""
    resampler = Resampler(fs, 1, 10_000)
    reach = resampler.first_input + 10 * max(resampler.up, resampler.down) / resampler.up + 2 * resampler.down
    assert resampler.first_input <= 10_000 * fs / FS <= reach + 1


def test_its_own_rate_passes_through() -> None:
    """At 125 Hz every sample leaves as it came, at once."""
    signal = noise(50)
    assert np.array_equal(Resampler(125, 2).push(signal), signal)


def test_delay() -> None:
    """An output leaves as soon as the filter's ten zero crossings of input after it are there."""
    resampler = Resampler(250, 1)
    assert [len(resampler.push(noise(1, 1))) for _ in range(25)] == [0] * 20 + [1, 0, 1, 0, 1]


def test_memory_is_bounded() -> None:
    """A stream of an hour keeps no more input than its filter needs."""
    resampler = Resampler(360, 1)
    for _ in range(3_600):
        resampler.push(np.zeros((360, 1)))
    assert len(resampler._buffer) < 360


@pytest.mark.parametrize("samples", [0, 1, 2, 100])
def test_length(samples: int) -> None:
    """n samples at 360 Hz become the next whole number above n * 125 / 360 samples."""
    assert len(stream(noise(samples), 360, [7])) == -(-samples * 25 // 72)


def test_nothing_in_nothing_out() -> None:
    """Empty chunks change nothing, and an empty stream has an empty end of the right shape."""
    resampler = Resampler(360, 3)
    assert resampler.push(np.empty((0, 3))).shape == (0, 3)
    assert resampler.flush().shape == (0, 3)


@pytest.mark.parametrize("fs", [125, 360])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_are_not_changed(fs: float, dtype: str) -> None:
    """Pushed arrays stay unchanged, and changing them or an output later changes no other output."""
    signal = noise(1_000).astype(dtype)
    expected = stream(signal, fs, [1_000])
    resampler, outputs = Resampler(fs, 2), []
    for part in np.split(signal, 10):
        pushed, before = part.copy(), part.copy()
        output = resampler.push(pushed)
        assert np.array_equal(pushed, before)
        outputs.append(output.copy())
        pushed[:] = output[:] = 1e9
    assert np.array_equal(np.concatenate([*outputs, resampler.flush()]), expected)


@pytest.mark.parametrize("fs", [0, -360, float("nan"), float("inf"), 1e-9, 1e9, 1e300, 3.14159])
def test_refused_rates(fs: float) -> None:
    """A rate that makes no sense for an ECG is refused with its value."""
    with pytest.raises(ValueError, match=r"Hz makes no sense"):
        resampling_ratio(fs)
    with pytest.raises(ValueError, match="Hz"):
        Resampler(fs, 1)


@pytest.mark.parametrize(
    ("fs", "delay_s"), [(125.0, 0.0), (125 + 1e-9, 0.0), (360.0, 0.08), (250.0, 0.08), (50.0, 0.2)]
)
def test_delay_in_seconds(fs: float, delay_s: float) -> None:
    """A resampled sample waits for ten samples of the slower rate; at 125 Hz nothing waits."""
    assert resampling_delay_s(fs) == pytest.approx(delay_s)
