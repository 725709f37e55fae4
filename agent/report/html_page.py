"""A report as one HTML page that needs nothing else and prints well."""

from collections.abc import Iterator
from html import escape

from agent.report.document import (
    ReportBlock,
    ReportDocument,
    ReportFigure,
    ReportNote,
    ReportSection,
    ReportTable,
    SummaryTiles,
)
from agent.report.picture import INK
from agent.report.svg import render_svg

CSS = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { font: 14px/1.5 Helvetica, Arial, "Liberation Sans", sans-serif; color: #1d2a35; background: #f4f6f8; margin: 0 }
main { max-width: 286mm; margin: 0 auto; padding: 12mm 18mm 16mm; background: #fff }
h1 { font-size: 26px; margin: 0; letter-spacing: -.01em } h2 { font-size: 17px; margin: 14mm 0 4mm; padding-top: 3mm;
  border-top: 1px solid #c9d1d8 }
h3 { font-size: 13px; margin: 0 } p { margin: 2mm 0; max-width: 68em }
header dl { display: grid; grid-template-columns: max-content 1fr max-content 1fr; gap: .5mm 5mm; margin: 4mm 0 }
dt { color: #64717d } dd { margin: 0; overflow-wrap: anywhere }
.warning { display: inline-block; border: 1px solid #b3261e; color: #b3261e; border-radius: 3px; padding: .5mm 3mm;
  font-weight: bold; font-size: 12px }
nav { font-size: 12px; margin-top: 3mm } nav a { color: #1f5f8b; margin-right: 4mm; text-decoration: none }
nav a:hover, nav a:focus { text-decoration: underline }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 3mm }
.tile { border: 1px solid #dde3e8; border-radius: 4px; padding: 2.5mm 3.5mm; break-inside: avoid }
.tile span { display: block; color: #64717d; font-size: 12px } .tile b { display: block; font-size: 22px;
  line-height: 1.25; font-weight: bold }
figure { margin: 5mm 0; break-inside: avoid }
figcaption { margin-bottom: 1mm; font-size: 12px; color: #64717d; max-width: 250mm; display: flex; flex-wrap: wrap;
  justify-content: space-between; gap: 0 6mm }
figcaption h3 { color: #1d2a35 }
.letter { display: inline-block; color: #fff; border-radius: 3px; font-size: 11px; padding: 0 1.6mm; margin-right: 2mm }
svg { display: block; max-width: 100%; height: auto; font-family: Helvetica, Arial, "Liberation Sans", sans-serif }
.wide { overflow-x: auto; margin: 4mm 0 }
table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; min-width: 60% }
caption { text-align: left; font-weight: bold; padding-bottom: 1mm; font-size: 13px }
th, td { padding: .8mm 2.5mm; text-align: left; border-bottom: 1px solid #e8ecef; overflow-wrap: anywhere }
th { border-bottom: 1px solid #8b98a3; font-weight: bold; white-space: nowrap; overflow-wrap: normal }
.r { text-align: right; white-space: nowrap }
footer { margin-top: 12mm; padding-top: 3mm; border-top: 1px solid #c9d1d8; color: #64717d; font-size: 12px }
@page { size: A4 landscape; margin: 12mm 20mm }
@media (max-width: 900px) { main { padding: 6mm } .tiles { grid-template-columns: repeat(2, 1fr) }
  header dl { grid-template-columns: max-content 1fr } }
@media print { body { background: #fff; print-color-adjust: exact; -webkit-print-color-adjust: exact }
  main { max-width: none; padding: 0 } nav { display: none } h2 { break-after: avoid } tr { break-inside: avoid }
  thead { display: table-header-group } .anew { break-before: page } }
"""


def render_html_report(document: ReportDocument) -> Iterator[str]:
    """The page, in pieces."""
    title = escape(document.title)
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{CSS}</style></head>\n<body><main>\n<header><h1>{title}</h1>"
        f'<p class="warning">{escape(document.warning)}</p><dl>'
    )
    yield "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in document.facts)
    links = "".join(f'<a href="#s{i}">{escape(part.title)}</a>' for i, part in enumerate(document.sections))
    yield f'</dl><nav aria-label="Contents">{links}</nav></header>\n'
    for i, section in enumerate(document.sections):
        yield from _html_section(section, i)
    yield f"<footer>{escape(document.footer)}</footer>\n</main></body></html>\n"


def render_html_index(
    title: str, note: str, links: list[tuple[str, str, tuple[str, ...]]], heads: tuple[str, ...]
) -> str:
    """A page that leads to the reports of several beds: file, bed, and what else is told of each."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    rows = "".join(
        f'<tr><td><a href="{escape(file)}">{escape(bed)}</a></td>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>\n"
        for file, bed, cells in links
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{CSS}</style></head>\n<body><main><header><h1>{escape(title)}</h1></header><p>{escape(note)}</p>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>\n'
        "</main></body></html>\n"
    )


def _html_section(section: ReportSection, number: int) -> Iterator[str]:
    anew = ' class="anew"' if section.new_page else ""
    yield f'<section id="s{number}"{anew}><h2>{escape(section.title)}</h2>\n'
    for block in section.blocks:
        yield f"{_html_block(block)}\n"
    yield "</section>\n"


def _html_block(block: ReportBlock) -> str:
    if isinstance(block, ReportNote):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, ReportFigure):
        return _html_figure(block)
    return _html_tiles(block) if isinstance(block, SummaryTiles) else _html_report_table(block)


def _html_figure(figure: ReportFigure) -> str:
    letter = f'<span class="letter" style="background:{figure.colour}">{escape(figure.letter)}</span>'
    title = f"<h3>{letter if figure.letter else ''}{escape(figure.title)}</h3>" if figure.title else ""
    said = f"<figcaption>{title}<span>{escape(figure.details)}</span></figcaption>" if title or figure.details else ""
    return f"<figure>{said}{render_svg(figure.picture)}</figure>"


def _html_tiles(tiles: SummaryTiles) -> str:
    parts = (
        f'<div class="tile"><span>{escape(one.name)}</span><b style="color:{one.colour or INK}">{escape(one.value)}</b>'
        f"<span>{escape(one.note)}</span></div>"
        for one in tiles.tiles
    )
    inside = "".join(parts)
    return f'<div class="tiles">{inside}</div>'


def _html_report_table(table: ReportTable) -> str:
    classes = [' class="r"' if side == "r" else "" for side in table.aligned]
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    head = "".join(f'<th scope="col"{c}>{escape(name)}</th>' for name, c in zip(table.heads, classes, strict=True))
    rows = "\n".join(
        "<tr>" + "".join(f"<td{c}>{escape(cell)}</td>" for cell, c in zip(row, classes, strict=True)) + "</tr>"
        for row in table.rows
    )
    return f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>'
