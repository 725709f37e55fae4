"""Millivolts as browsers are sent them: 16-bit counts of 5 uV."""

import numpy as np
from numpy.typing import NDArray

from agent.core.messages import FloatArray

CountArray = NDArray[np.int16]
MICROVOLTS = 5
NO_VALUE = -(2**15)
"""The count of a sample that is missing."""


def to_counts(wave: FloatArray) -> CountArray:
    """Return millivolts of any shape as int16 counts of MICROVOLTS, NaN as NO_VALUE.

    >>> to_counts(np.array([1.0, float("nan"), 1000.0], np.float32)).tolist()
    [200, -32768, 32767]
    """
    scaled = np.clip(np.rint(wave * (1000 / MICROVOLTS)), NO_VALUE + 1, -NO_VALUE - 1)
    return np.where(np.isnan(scaled), NO_VALUE, scaled).astype(np.int16)
