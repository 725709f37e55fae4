"""Recordings listed, and written as EDF+, CSV and JSON lines."""
