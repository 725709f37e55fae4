"""The latency of beats, from arrival to being shown, over a whole run, in constant memory."""

import numpy as np

LATENCY_STEP_MS = 0.1
LONGEST_LATENCY_MS = 10_000.0


class LatencyHistogram:
    """A histogram of delays in steps of 0.1 ms; delays over 10 s count as 10 s."""

    def __init__(self) -> None:
        self._counts = [0] * (round(LONGEST_LATENCY_MS / LATENCY_STEP_MS) + 1)  # in a list one is counted sooner
        self.count = 0

    def add(self, delay_ms: float) -> None:
        """Count one delay."""
        self._counts[round(min(max(delay_ms, 0.0), LONGEST_LATENCY_MS) / LATENCY_STEP_MS)] += 1
        self.count += 1

    def quantile(self, share: float) -> float:
        """Return the delay in milliseconds that `share` of all do not exceed; 0 without any."""
        return float(np.searchsorted(np.cumsum(self._counts), share * self.count)) * LATENCY_STEP_MS
