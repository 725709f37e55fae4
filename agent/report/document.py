"""The parts of a report, whether it becomes HTML or PDF."""

from dataclasses import dataclass, field

from agent.report.picture import Picture


@dataclass(frozen=True, slots=True)
class SummaryTile:
    """One figure of the summary, with a note below it; it has a `colour` if it needs attention."""

    name: str
    value: str
    note: str = ""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Rows of text; `aligned` has l or r for each column, `widths` each column's share of the width that there is."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    aligned: str
    widths: tuple[float, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A picture; above it stand `title` and `details`, after `letter` on a background of `colour`."""

    picture: Picture
    title: str = ""
    details: str = ""
    letter: str = ""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class FigureGrid:
    """Small figures of one width, `per_row` of them side by side."""

    figures: tuple[ReportFigure, ...]
    per_row: int


@dataclass(frozen=True, slots=True)
class ReportNote:
    """A paragraph; `small` for what few will read."""

    text: str
    small: bool = False


@dataclass(frozen=True, slots=True)
class NamedSentences:
    """What was found, in words: each row is what it is about, and a sentence or some."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SummaryTiles:
    """The figures of the summary."""

    tiles: tuple[SummaryTile, ...]


PlainBlock = SummaryTiles | ReportTable | ReportFigure | FigureGrid | ReportNote | NamedSentences


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Columns of blocks beside each other; `shares` are their parts of the width."""

    columns: tuple[tuple[PlainBlock, ...], ...]
    shares: tuple[float, ...]


ReportBlock = PlainBlock | SideBySide


@dataclass(slots=True)
class ReportSection:
    """A part of the report."""

    title: str
    blocks: list[ReportBlock] = field(default_factory=list)


@dataclass(slots=True)
class ReportDocument:
    """A report: `facts` are names and values below the title, `warning` stands beside it, `footer` on every page."""

    title: str
    facts: tuple[tuple[str, str], ...]
    warning: str
    footer: str
    sections: list[ReportSection]
