"""A device that is not there: replays records as a bedside device would send them."""
