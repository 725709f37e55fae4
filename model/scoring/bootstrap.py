"""The percentile bootstrap (Efron & Tibshirani 1993, doi:10.1201/9780429246593): draws and their 95 % interval.

The unit that is drawn is the patient, wherever patients are known: beats of one patient are alike.
"""

import numpy as np
from numpy.typing import NDArray

BOOTSTRAP_DRAWS = 1000
"""Draws of an interval."""
INTERVAL_PERCENT = (2.5, 97.5)


def percentile_interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Return the middle 95 % of the draws (n,) of a figure; those without a value (NaN) do not count."""
    low, high = np.nanpercentile(draws, INTERVAL_PERCENT)
    return float(low), float(high)
