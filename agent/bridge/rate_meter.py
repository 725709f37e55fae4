"""The rate at which samples really arrive, by the clock of this machine."""

from collections import deque

LEAST_SPAN_S = 2.0
"""Over less than this an arrival in bursts says nothing of the rate."""
LONGEST_SPAN_S = 60.0


class RateMeter:
    """Measures samples a second over the last minute.

    The line through first and last arrival is used: an arrival brings the samples since the one before it.
    """

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, samples: int, now_s: float) -> None:
        """Note that samples arrived, lost ones included."""
        self._total += samples
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
        if self.span_s < LEAST_SPAN_S:
            return None
        (begin_s, before), (end_s, after) = self._arrivals[0], self._arrivals[-1]
        return (after - before) / (end_s - begin_s)
