"""Attacks on a running monitor and on a running device: `python -m benchmarks.attack`."""
