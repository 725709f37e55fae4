"""What several test files share: synthetic beds, recordings, and subjects with faults."""
