"""agent.core.rate_limit: the token bucket and the repeat filter."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.rate_limit import RepeatFilter, TokenBucket


def test_bucket_allows_a_burst_and_then_its_rate() -> None:
    """A full bucket allows its capacity at once, and then one action for each refill time."""
    bucket = TokenBucket(capacity=3, refill_time=2.0, now=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(now) for now in (101.0, 102.0, 102.5, 104.0)] == [False, True, False, True]


def test_bucket_holds_no_more_than_its_capacity() -> None:
    """A long rest does not save up more than the capacity."""
    bucket = TokenBucket(capacity=2, refill_time=1.0, now=0.0)
    assert [bucket.take(1e9) for _ in range(3)] == [True, True, False]


def test_time_that_runs_backwards_refills_nothing() -> None:
    """A clock that steps back neither takes tokens away nor gives any."""
    bucket = TokenBucket(capacity=1, refill_time=1.0, now=10.0)
    assert bucket.take(5.0)
    assert not bucket.take(4.0)
    assert bucket.take(5.0)


@given(steps=st.lists(st.floats(0, 3), max_size=200))
def test_bucket_never_exceeds_its_long_run_rate(steps: list[float]) -> None:
    """Whatever the times, no more is allowed than the capacity and what was refilled."""
    bucket = TokenBucket(capacity=5, refill_time=1.0, now=0.0)
    now = 0.0
    taken = 0
    for step in steps:
        now += step
        taken += bucket.take(now)
    assert taken <= 5 + now + 1e-6


def test_filter_admits_each_key_once_in_its_interval() -> None:
    """A key is due again only after the interval; other keys do not wait for it."""
    repeats = RepeatFilter(interval=30.0, most_keys=8)
    assert [repeats.admits("a", now) for now in (0.0, 29.9, 30.0, 31.0)] == [True, False, True, False]
    assert repeats.admits("b", 31.0)


def test_filter_admits_a_limited_number_of_keys() -> None:
    """A flood of different keys is cut off until the interval is over, or the filter is cleared."""
    repeats = RepeatFilter(interval=30.0, most_keys=8)
    assert sum(repeats.admits(key, 0.0) for key in range(100)) == 8
    assert not repeats.admits("new", 29.9)
    assert sum(repeats.admits(key, 30.0) for key in range(100)) == 8
    repeats.clear()
    assert repeats.admits(0, 30.0)
