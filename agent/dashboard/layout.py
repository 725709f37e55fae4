"""The number and size of the cards on a page of the ward view."""

from dataclasses import dataclass, replace

WIDE_CARD = 78
BETWEEN_WIDE = 3
"""Least columns of a wide card, and the columns between two."""
SMALL_CARD = 38
BETWEEN_SMALL = 2
"""The same for a small card."""
COMFORTABLE_LINES = 5
MOST_LINES = 10
"""Lines of a wide card below which a further column of cards begins, and the most lines of a card."""
MOST_SMALL_LINES = 4
"""Most lines of a small card."""


@dataclass(frozen=True, slots=True)
class CardGrid:
    """The cards of a page: `columns` of them side by side, `width` cells and `lines` each, `between` empty columns.

    Wide cards show letters and counts of the beats; small ones show one alarm or rhythm, with one line for the chosen
    bed below them all.
    """

    columns: int = 1
    lines: int = 2
    width: int = WIDE_CARD
    per_page: int = 1
    wide: bool = True

    @property
    def between(self) -> int:
        """Return the empty columns between two cards."""
        return BETWEEN_WIDE if self.wide else BETWEEN_SMALL


def choose_card_grid(beds: int, width: int, height: int) -> CardGrid:
    """Return the grid for a number of beds in a body of `width` columns and `height` lines.

    The cards are wide if all beds fit on one page so. Otherwise they are small, first as high and then as wide as all
    beds allow, down to one line. If there have to be pages, small cards have two lines.
    """
    beds = max(1, beds)
    columns = next(
        (count for count in range(1, width // WIDE_CARD) if height * count // beds >= COMFORTABLE_LINES),
        max(1, width // WIDE_CARD),
    )
    lines = max(2, min(MOST_LINES, height // -(-beds // columns)))
    if width >= WIDE_CARD and max(1, height // lines) * columns >= beds:
        return CardGrid(
            columns, lines, _fit_card_width(width, columns, BETWEEN_WIDE), max(1, height // lines) * columns
        )
    room = max(2, height - 1)
    most = max(1, (width + BETWEEN_SMALL) // (SMALL_CARD + BETWEEN_SMALL))
    lines = min(MOST_SMALL_LINES, room // -(-beds // most))
    columns = -(-beds // (room // lines)) if lines else most  # as few as possible, for longer waves
    lines = lines or 2
    return CardGrid(
        columns, lines, _fit_card_width(width, columns, BETWEEN_SMALL), max(1, room // lines) * columns, wide=False
    )


def resize_card_grid(grid: CardGrid, beds: int, width: int, height: int) -> CardGrid:
    """Return a grid of the same cards for another height, or a new grid for another width."""
    if grid.width != _fit_card_width(width, grid.columns, grid.between):
        return choose_card_grid(beds, width, height)
    rows = max(1, (height if grid.wide else height - 1) // grid.lines)
    return replace(grid, per_page=rows * grid.columns)


def _fit_card_width(width: int, columns: int, between: int) -> int:
    return (width - between * (columns - 1)) // columns
