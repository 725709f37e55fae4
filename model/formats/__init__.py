"""Recordings in other formats than WFDB, opened as records."""
