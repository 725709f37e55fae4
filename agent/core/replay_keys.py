"""What keys do to a replay, in its own terminal and on the dashboard: steps in time, and speeds."""

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Times real time, from key to key."""
SLOWEST, FASTEST = SPEEDS[0], SPEEDS[-1]
"""Speeds that may be asked for. More slowly, the pauses between packets would be taken for a silent device."""
SHORT_STEP_S, LONG_STEP_S = 10.0, 60.0
"""Seconds by which the keys move a replay."""


def next_speed(speed: float, by: int) -> float:
    """Return the speed that is `by` steps from the nearest one.

    >>> next_speed(1.0, 1), next_speed(64.0, 1), next_speed(3.0, -1)
    (2.0, 64.0, 1.0)
    """
    nearest = min(range(len(SPEEDS)), key=lambda i: abs(SPEEDS[i] - speed))
    return SPEEDS[min(max(nearest + by, 0), len(SPEEDS) - 1)]
