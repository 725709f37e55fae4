"""The latency of beats, from arrival to being shown, over a whole run, in constant memory."""

import numpy as np

LATENCY_STEP_MS, FINE_MS = 0.1, 10_000.0
COARSE_STEP_MS, LONGEST_LATENCY_MS = 100.0, 3_600_000.0
FINE_STEPS = round(FINE_MS / LATENCY_STEP_MS)


class LatencyHistogram:
    """A histogram of delays in steps of 0.1 ms, beyond 10 s of 0.1 s; delays over an hour count as an hour."""

    def __init__(self) -> None:
        steps = FINE_STEPS + round((LONGEST_LATENCY_MS - FINE_MS) / COARSE_STEP_MS)
        self._counts = [0] * (steps + 1)  # in a list one is counted sooner
        self.count = 0

    def add(self, delay_ms: float) -> None:
        """Count one delay."""
        if delay_ms <= FINE_MS:
            step = round(max(delay_ms, 0.0) / LATENCY_STEP_MS)
        else:
            step = FINE_STEPS + round((min(delay_ms, LONGEST_LATENCY_MS) - FINE_MS) / COARSE_STEP_MS)
        self._counts[step] += 1
        self.count += 1

    def quantile(self, share: float) -> float:
        """Return the delay in milliseconds that `share` of all do not exceed; 0 without any."""
        step = float(np.searchsorted(np.cumsum(self._counts), share * self.count))
        return min(step, FINE_STEPS) * LATENCY_STEP_MS + max(0.0, step - FINE_STEPS) * COARSE_STEP_MS
