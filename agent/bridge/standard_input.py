"""Standard input as a source of lines: `cat`, `socat`, any program."""

import os
import select
import sys

READ_BYTES = 65_536


class StandardInput:
    """The bytes of standard input, without ever waiting longer than asked."""

    name = "standard input"
    is_over = False

    def open(self) -> None:
        """Do nothing: it is open."""

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived within `timeout_s`."""
        file = sys.stdin.fileno()
        if not select.select([file], [], [], timeout_s)[0]:
            return b""
        data = os.read(file, READ_BYTES)
        self.is_over = not data
        return data

    def close(self) -> None:
        """Do nothing: it is not ours to close."""
