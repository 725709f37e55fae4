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
    """Rows of text; `aligned` has l or r for each column, `widths` each column's share of the page width."""

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
class ReportNote:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class SummaryTiles:
    """The summary."""

    tiles: tuple[SummaryTile, ...]


ReportBlock = SummaryTiles | ReportTable | ReportFigure | ReportNote


@dataclass(slots=True)
class ReportSection:
    """A part of the report; it begins on a new page if `new_page`."""

    title: str
    blocks: list[ReportBlock] = field(default_factory=list)
    new_page: bool = False


@dataclass(slots=True)
class ReportDocument:
    """A report: `facts` are names and values below the title, `warning` stands beside it, `footer` on every page."""

    title: str
    facts: tuple[tuple[str, str], ...]
    warning: str
    footer: str
    sections: list[ReportSection]
