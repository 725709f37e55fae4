"""What makes rows of numbers of the bytes of a transport: the contract of line and frame parsers."""

from typing import Protocol

SampleRow = tuple[float, ...] | int
"""The numbers of one sample, NaN for a lead that is off; or how many rows were lost in this place."""


class RowParser(Protocol):
    """`names` of the columns, as far as the input says them. `decimals`: whether a number was not whole.

    `taken` and `skipped`: messages that were rows, and others; `received`: bytes.
    """

    names: tuple[str, ...]
    taken: int
    skipped: int
    received: int
    decimals: bool

    def restart(self) -> None:
        """Forget the beginning of a message: what follows is another connection."""
        ...

    def feed(self, data: bytes) -> list[SampleRow]:
        """Return the rows that the data completes. Raises SourceError for what it cannot be right about."""
        ...

    def flush(self) -> list[SampleRow]:
        """Return what is left at the end of the input."""
        ...


class ByteTransport(Protocol):
    """Where the bytes come from. `name`: what it is called in messages; `is_over`: whether nothing will follow."""

    name: str
    is_over: bool

    def open(self) -> None:
        """Open it. Raises SourceError, with what to do."""
        ...

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, waiting up to `timeout_s` for it. Raises LostSourceError where it is gone."""
        ...

    def close(self) -> None:
        """Close it."""
        ...

    def remark(self) -> str:
        """Return what a person should know of it at this moment; "" for nothing."""
        ...
