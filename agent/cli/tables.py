"""Tables on standard output: as wide as the terminal, or at most 100 columns in a pipe or file."""

import sys

from rich.console import Console, RenderableType

PIPED_COLUMNS = 100


def print_table(table: RenderableType) -> None:
    """Print a table, or several, to standard output."""
    Console(width=None if sys.stdout.isatty() else PIPED_COLUMNS).print(table)
