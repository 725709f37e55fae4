"""Whole files at once: `ecg-agent analyse`."""
