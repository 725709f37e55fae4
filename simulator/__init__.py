"""A simulated device: replays records as a bedside device would send them."""
