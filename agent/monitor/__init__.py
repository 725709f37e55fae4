"""The running monitor: its loop, what it tells viewers, and what it counts."""
