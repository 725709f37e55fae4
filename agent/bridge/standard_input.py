"""Standard input as a source of lines: `cat`, `socat`, any program."""

import os
import select

from model.errors import SourceError

READ_BYTES = 65_536


class StandardInput:
    """The bytes of standard input, without ever waiting longer than asked."""

    name = "standard input"
    is_over = False

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor

    def open(self) -> None:
        """Raise SourceError where there is none."""
        try:
            os.fstat(self._descriptor)
        except OSError as error:
            raise SourceError("standard input is closed: pipe lines of numbers into ecg-agent bridge -") from error

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived within `timeout_s`."""
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return b""
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except OSError:  # a terminal that is gone
            data = b""
        self.is_over = not data
        return data

    def close(self) -> None:
        """Do nothing: it is not ours to close."""

    def remark(self) -> str:
        """Return "": there is nothing to say."""
        return ""
