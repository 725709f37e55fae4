"""Training driven by the monitor's own stages."""
