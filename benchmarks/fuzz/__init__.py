"""Fuzzing of everything that takes bytes from outside: `python -m benchmarks.fuzz`."""
