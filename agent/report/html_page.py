"""The report as one HTML page that needs nothing else and prints well. What it looks like is in `templates/`."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agent.report.document import ReportDocument
from agent.report.picture import Picture
from agent.report.svg import render_svg

TEMPLATE_FOLDER = Path(__file__).parent / "templates"
IndexRow = tuple[str | None, str, Sequence[str]]
"""File, bed and further cells of a row of the index; a bed without a report has no file, and one cell: the reason."""


def render_html_report(document: ReportDocument) -> Iterator[str]:
    """Yield the page in pieces, so that the strips of many alarms are never all in memory."""
    return _load_page_templates().get_template("report.html").generate(title=document.title, report=document)


def render_html_index(title: str, note: str, rows: Sequence[IndexRow], heads: Sequence[str]) -> str:
    """Return the page that leads to the reports of several beds."""
    return _load_page_templates().get_template("index.html").render(title=title, note=note, rows=rows, heads=heads)


@cache
def _load_page_templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["svg"] = _picture_markup
    return environment


def _picture_markup(picture: Picture) -> Markup:
    return Markup(render_svg(picture))  # which escapes its texts itself
