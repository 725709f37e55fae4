"""The rate at which samples really arrive, by the clock of this machine."""

from collections import deque

import numpy as np

LEAST_SPAN_S = 2.0
"""Over less than this an arrival in bursts says nothing of the rate."""
LONGEST_SPAN_S = 60.0
STEP_S = 0.05
"""Arrivals nearer than this to the one before are not noted: more would not make it more exact."""


def describe_rate_error(told: float, measured: float) -> str:
    """Return what comes of a rate in hertz that somebody tells, where another is measured."""
    return f"heart rates are shown at {told / measured:.2f} of what they are: say --fs {measured:.1f}"


class RateMeter:
    """Measures samples a second over the last minute.

    The slope of the straight line through all arrivals is used: one that comes late hardly moves it.
    """

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, samples: int, now_s: float) -> None:
        """Note that samples arrived, lost ones included."""
        self._total += samples
        if self._arrivals and now_s - self._arrivals[-1][0] < STEP_S:
            return
        self._arrivals.append((now_s, self._total))
        while now_s - self._arrivals[0][0] > LONGEST_SPAN_S:
            self._arrivals.popleft()

    def reset(self) -> None:
        """Forget everything: what follows has no fixed distance from what was."""
        self._arrivals.clear()
        self._total = 0

    @property
    def span_s(self) -> float:
        """Seconds over which the rate is measured."""
        return self._arrivals[-1][0] - self._arrivals[0][0] if self._arrivals else 0.0

    @property
    def fs(self) -> float | None:
        """Samples a second; None where it is too early to say."""
        if self.span_s < LEAST_SPAN_S or len(self._arrivals) < 3:
            return None
        at_s, total = np.array(self._arrivals, np.float64).T
        at_s -= at_s.mean()
        return float(at_s @ total / (at_s @ at_s))
