"""Measured figures, each one command: `python -m benchmarks.NAME`."""
