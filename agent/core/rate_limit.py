"""Two limits on what repeats: a token bucket for how much, and a filter for how often the same thing is reported.

Neither reads a clock: the caller passes `now`, in seconds or in samples.
"""

from collections.abc import Hashable


class TokenBucket:
    """Allows `capacity` actions at once, and in the long run one for each `refill_time` that passes.

    >>> bucket = TokenBucket(capacity=2, refill_time=10.0, now=0.0)
    >>> [bucket.take(now) for now in (0.0, 0.0, 0.0, 10.0, 11.0)]
    [True, True, False, True, False]
    """

    __slots__ = ("_capacity", "_now", "_refill_time", "_tokens")

    def __init__(self, capacity: float, refill_time: float, now: float) -> None:
        """Start with a full bucket at the time `now`."""
        self._capacity = capacity
        self._refill_time = refill_time
        self._tokens = capacity
        self._now = now

    def take(self, now: float) -> bool:
        """Take one token; return False where none is left. Time that runs backwards refills nothing."""
        if self.delay(now):
            return False
        self._tokens -= 1
        return True

    def delay(self, now: float) -> float:
        """Return the time from `now` until there is a token to take, 0 if there is one."""
        self._tokens = min(self._capacity, self._tokens + max(0, now - self._now) / self._refill_time)
        self._now = now
        return max(0.0, 1 - self._tokens) * self._refill_time


class RepeatFilter:
    """Lets each key through once in `interval`, and at most `most_keys` different ones within that time.

    So neither one trouble that goes on nor a flood of different ones fills the screen.

    >>> repeats = RepeatFilter(interval=30.0, most_keys=8)
    >>> [repeats.admits("no answer", now) for now in (0.0, 29.0, 30.0)]
    [True, False, True]
    """

    __slots__ = ("_admitted", "_interval", "_most_keys")

    def __init__(self, interval: float, most_keys: int) -> None:
        self._interval = interval
        self._most_keys = most_keys
        self._admitted: dict[Hashable, float] = {}

    def admits(self, key: Hashable, now: float) -> bool:
        """Return whether `key` is due, and remember it where it is."""
        self._admitted = {known: at for known, at in self._admitted.items() if now - at < self._interval}
        if key in self._admitted or len(self._admitted) >= self._most_keys:
            return False
        self._admitted[key] = now
        return True

    def clear(self) -> None:
        """Forget all keys: each is due again."""
        self._admitted.clear()
