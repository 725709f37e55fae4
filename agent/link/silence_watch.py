"""Watches one connection for silence: ZeroMQ may believe in a connection over which nothing can come any more."""

from agent.wire.connection import ConnectionMonitor

SILENT_LINK_S = 2.5
"""A connection that is silent for this time, though something should come, is made again ..."""
LONGEST_REDIAL_S = 10.0
"""... and after twice as long each time while nothing comes, up to this."""


class SilenceWatch:
    """Counts the silence of a connection, and has it made again."""

    def __init__(self, connection: ConnectionMonitor, what: str) -> None:
        self._connection = connection
        self._what = what
        self._pause_s = SILENT_LINK_S
        self._since_s = 0.0
        """Since when this connection has been silent, as far as is known."""

    def check(self, heard_s: float, now_s: float, least_s: float = SILENT_LINK_S) -> None:
        """Make the connection again if it is silent for too long; `heard_s`: when it was last heard."""
        if not self._connection.connected:
            self._since_s = now_s
        elif heard_s > self._since_s:
            self._since_s = heard_s
            self._pause_s = SILENT_LINK_S
        if now_s - self._since_s >= max(self._pause_s, least_s):
            self._since_s = now_s
            self._pause_s = min(2 * self._pause_s, LONGEST_REDIAL_S)
            self._connection.redial(f"nothing comes over the {self._what} any more: connecting again")
