"""agent.core.sample_index: conversions between the device's rate and 125 Hz."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sample_index import first_index_at_125_hz, nearest_device_index, nearest_index_at_125_hz
from model.records.resample import resampling_ratio

RATES = st.sampled_from([100, 125, 128, 130, 250, 257, 360, 500, 1000])


@given(index=st.integers(0, 2**40), fs=RATES)
def test_first_index_is_the_first_that_is_not_before(index: int, fs: int) -> None:
    """The index at 125 Hz stands at or after the device's sample, and the one before it stands before."""
    ratio = resampling_ratio(fs)
    first = first_index_at_125_hz(index, ratio)
    assert Fraction(first - 1) < index * ratio <= first


@given(index=st.integers(0, 2**40), fs=RATES)
def test_nearest_indices_are_at_most_half_a_sample_away(index: int, fs: int) -> None:
    """Neither direction is more than half a sample off."""
    assert abs(nearest_index_at_125_hz(index, fs) - Fraction(index * 125, fs)) <= Fraction(1, 2) + Fraction(1, 10**4)
    assert abs(nearest_device_index(index, fs) - Fraction(index * fs, 125)) <= Fraction(1, 2) + Fraction(1, 10**3)


@pytest.mark.parametrize(("index", "expected"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_halves_go_to_the_even_index(index: int, expected: int) -> None:
    """A sample halfway between two at 125 Hz belongs to the even one."""
    assert nearest_index_at_125_hz(index, 250.0) == expected


@given(index=st.integers(0, 2**53))
def test_the_own_rate_changes_nothing(index: int) -> None:
    """At 125 Hz the conversion to the device's index is exact, however large the index."""
    assert nearest_device_index(index, 125.0) == index
    assert first_index_at_125_hz(index, Fraction(1)) == index
