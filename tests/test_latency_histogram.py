"""agent.monitor.latency_histogram: the delays of a run in constant memory."""

import numpy as np
import pytest

from agent.monitor.latency_histogram import LatencyHistogram


@pytest.mark.parametrize(("longest_ms", "within_ms"), [(1000.0, 0.06), (60_000.0, 51.0)])
def test_quantiles(longest_ms: float, within_ms: float) -> None:
    """They are those of the delays, also of some that are minutes long."""
    delays_ms = np.random.default_rng(1).uniform(0.0, longest_ms, 5001)
    histogram = LatencyHistogram()
    for delay_ms in delays_ms.tolist():
        histogram.add(delay_ms)
    assert histogram.count == 5001
    for share in (0.01, 0.5, 0.99):
        expected = np.quantile(delays_ms, share, method="inverted_cdf")
        assert histogram.quantile(share) == pytest.approx(expected, abs=within_ms)


def test_what_cannot_be() -> None:
    """A clock that was set back gives no delay below 0, and one that was set on none above an hour."""
    histogram = LatencyHistogram()
    histogram.add(-5.0)
    assert histogram.quantile(1.0) == 0.0
    histogram.add(1e9)
    assert histogram.quantile(1.0) == 3_600_000.0
    assert LatencyHistogram().quantile(0.5) == 0.0
