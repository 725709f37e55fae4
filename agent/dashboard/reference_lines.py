"""The reference annotations on a bed's page: a letter for each annotated beat, and the running score."""

from rich.segment import Segment
from rich.style import Style

from agent.core.views import ReferenceView
from agent.dashboard.lines import StyledLine, StyledPart, spread_line, styled_line
from agent.dashboard.styles import CLASS_STYLES, FAINT, NOTICE, PLAIN, STRONG, WARN, GlyphSet

NAME_COLUMNS = 100
"""Columns from which on the rhythm is named in words."""
SHORT_RHYTHMS = {
    "AB": "A bigem.",
    "AFIB": "AF",
    "AFL": "flutter",
    "B": "bigem.",
    "BII": "block II",
    "IVR": "IVR",
    "N": "sinus",
    "NOD": "nodal",
    "P": "paced",
    "PREX": "WPW",
    "SBR": "brady",
    "SVTA": "SVT",
    "T": "trigem.",
    "VFL": "VF",
    "VT": "VT",
}
"""A word for each rhythm where there is no room for its name; a letter alone could be that of a beat."""


def reference_marks_line(reference: ReferenceView, places: list[tuple[int, int]], columns: int) -> StyledLine:
    """Return a line with the symbol of each annotated beat; one that the monitor missed or misnamed stands out.

    `places`: column of each mark, and its index.
    """
    line: StyledLine = []
    end = 0
    for column, index in sorted(places):
        mark = reference.marks[index]
        if column < end:
            continue
        style = WARN if mark.is_wrong else CLASS_STYLES.get(mark.label, PLAIN) + Style(bold=mark.label != "N")
        line += [Segment(" " * (column - end), PLAIN), Segment(mark.symbol, style)]
        end = column + 1
    return [*line, Segment(" " * (columns - end), PLAIN)]


def reference_score_line(reference: ReferenceView, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return the running score, and the rhythm by the reference."""
    agreed = _percent(reference.agreed / reference.compared if reference.compared else None)
    left: list[StyledPart] = [(" REFERENCE ", FAINT), (f"{reference.compared:,}", STRONG), (" beats ", FAINT)]
    left += [(agreed, STRONG), (" agree  ", FAINT)]
    for name, (found, right) in (("V", reference.veb), ("S", reference.sveb)):
        left += [(f"{name} ", CLASS_STYLES[name]), ("Se ", FAINT), (_percent(found), PLAIN)]
        left += [(" +P ", FAINT), (f"{_percent(right)}  ", PLAIN)]
    rhythm = reference.rhythm_name if width >= NAME_COLUMNS else SHORT_RHYTHMS.get(reference.rhythm, reference.rhythm)
    return spread_line(width, left, [(f"{glyphs.clean(rhythm)} ", NOTICE)]) if rhythm else styled_line(width, *left)


def _percent(share: float | None) -> str:
    return "--" if share is None else f"{100 * share:.0f}%"
