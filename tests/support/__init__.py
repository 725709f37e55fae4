"""What several test files share: made-up beds, recordings, and subjects with faults."""
