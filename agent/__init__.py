"""The monitor: from ZeroMQ frames to beats, rhythm and a live terminal dashboard."""
