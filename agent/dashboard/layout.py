"""How many cards of which size the ward view has on a page."""

from dataclasses import dataclass, replace

WIDE_CARD, BETWEEN_WIDE = 78, 3
"""Least columns of a wide card, and the columns between two."""
SMALL_CARD, BETWEEN_SMALL = 38, 2
"""The same of a small card."""
COMFORTABLE_LINES, MOST_LINES = 5, 10
"""Lines of a wide card below which another column of cards is opened, and the most that a card has."""
MOST_SMALL_LINES = 4
"""Lines that a small card has at most."""


@dataclass(frozen=True, slots=True)
class CardGrid:
    """Cards of a page: `columns` of them side by side, `width` cells and `lines` each, `between` empty columns.

    Wide cards hold letters and counts of the beats; small ones one alarm or rhythm and, below all, a line for one bed.
    """

    columns: int = 1
    lines: int = 2
    width: int = WIDE_CARD
    per_page: int = 1
    wide: bool = True

    @property
    def between(self) -> int:
        return BETWEEN_WIDE if self.wide else BETWEEN_SMALL


def choose_card_grid(beds: int, width: int, height: int) -> CardGrid:
    """The grid for so many beds in a body of `width` columns and `height` lines.

    Wide cards while all beds fit on a page; small ones as high, and then as wide, as lets all fit, down to one line;
    and where there have to be pages, small ones of two lines.
    """
    beds = max(1, beds)
    columns = next(
        (few for few in range(1, width // WIDE_CARD) if height * few // beds >= COMFORTABLE_LINES),
        max(1, width // WIDE_CARD),
    )
    lines = max(2, min(MOST_LINES, height // -(-beds // columns)))
    if max(1, height // lines) * columns >= beds:
        return CardGrid(
            columns, lines, _fit_card_width(width, columns, BETWEEN_WIDE), max(1, height // lines) * columns
        )
    room = max(2, height - 1)
    most = max(1, (width + BETWEEN_SMALL) // (SMALL_CARD + BETWEEN_SMALL))
    lines = min(MOST_SMALL_LINES, room // -(-beds // most))
    columns = -(-beds // (room // lines)) if lines else most  # no more than there have to be, and so with longer waves
    lines = lines or 2
    return CardGrid(
        columns, lines, _fit_card_width(width, columns, BETWEEN_SMALL), max(1, room // lines) * columns, wide=False
    )


def resize_card_grid(grid: CardGrid, beds: int, width: int, height: int) -> CardGrid:
    """The same cards in a body of other height; another grid where the width is another."""
    if grid.width != _fit_card_width(width, grid.columns, grid.between):
        return choose_card_grid(beds, width, height)
    rows = max(1, (height if grid.wide else height - 1) // grid.lines)
    return replace(grid, per_page=rows * grid.columns)


def _fit_card_width(width: int, columns: int, between: int) -> int:
    return (width - between * (columns - 1)) // columns
