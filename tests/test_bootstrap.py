import numpy as np
import pytest

from model.scoring.bootstrap import percentile_interval


def test_the_interval_is_the_middle_of_the_draws() -> None:
    """2.5 % of the draws lie below it and 2.5 % above, in any order of the draws."""
    draws = np.random.default_rng(0).permutation(np.linspace(0, 1, 1001))
    assert percentile_interval(draws) == pytest.approx((0.025, 0.975))


def test_draws_without_a_value_do_not_count() -> None:
    """A class that is missing from a draw has no figure there."""
    draws = np.linspace(0, 1, 1001)
    assert percentile_interval(np.r_[draws, np.full(500, np.nan)]) == percentile_interval(draws)
