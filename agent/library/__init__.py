"""The Python API: arrays in, results at the caller's own rate. `agent` itself re-exports it."""
