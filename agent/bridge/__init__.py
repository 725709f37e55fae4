"""Sensors and streams as devices of the wire: each source is read, numbered, and sent like any other bed."""
