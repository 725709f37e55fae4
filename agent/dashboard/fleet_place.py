"""What stands in the place of a trace where a bed is read from the store of a fleet: who speaks for it, who listens."""

from agent.core.views import BedView, FleetBed, FleetReplica
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    elide_text,
    elide_words,
    fill_block_lines,
    format_sample_clock,
    styled_line,
)
from agent.dashboard.loss import format_age
from agent.dashboard.styles import FAINT, GOOD, PLAIN, STRONG, TITLE, WARN, GlyphSet
from model.records.resample import FS

NO_TRACE_TEXTS = (
    "no trace here: the store holds no samples, traces are at the monitors",
    "no trace here: traces are at the monitors",
    "traces are at the monitors",
)
MARGIN = 2


def fleet_place_lines(bed: BedView, size: tuple[int, int], glyphs: GlyphSet) -> list[StyledLine]:
    """Return the place of a bed in its fleet in `size` columns and lines: who speaks, who listens, how far it is told.

    A bed whose data do not come says why elsewhere, too.
    """
    width, height = size
    fleet = bed.fleet
    assert fleet is not None
    room = width - 2 * MARGIN
    told = f"run number {fleet.runs} of this bed, told up to {format_sample_clock(round(fleet.told_s * FS))}"
    rows: list[list[StyledPart]] = [
        [(next((text for text in NO_TRACE_TEXTS if len(text) <= room), NO_TRACE_TEXTS[-1]), TITLE)],
        [],
        [(told, FAINT)],
        [("speaks for it   ", FAINT), (glyphs.clean(fleet.speaker), STRONG) if fleet.speaker else ("nobody", WARN)],
    ]
    for place, replica in enumerate(fleet.replicas):
        rows.append([("listens         " if not place else " " * 16, FAINT), *_replica_parts(replica, glyphs)])
    if not fleet.replicas:
        rows.append([("listens         ", FAINT), ("nobody", WARN)])
    lines = [styled_line(width, (" " * MARGIN, PLAIN), *parts) for parts in rows[:height]]
    above = max(0, (height - len(lines)) // 3)
    return fill_block_lines([styled_line(width)] * above + lines, width, height)


def fleet_card_lines(bed: BedView, size: tuple[int, int], glyphs: GlyphSet) -> list[StyledLine]:
    """Return the same for a card, in `size` columns and lines: how many listen, and who speaks."""
    width, rows = size
    fleet = bed.fleet
    assert fleet is not None
    parts = _count_parts(fleet, width, glyphs)
    name = glyphs.clean(fleet.speaker or "nobody")
    told = f"told by {name}" if fleet.speaker and len(name) + 9 <= width else name
    by = styled_line(width, (f" {elide_text(told, max(1, width - 1), glyphs)}", FAINT if fleet.speaker else WARN))
    lines = [styled_line(width, *parts), by]
    return fill_block_lines(lines, width, rows)


def _count_parts(fleet: FleetBed, width: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Return how many monitors listen and how many are silent in `width` cells; in few the latter are worth more."""
    alive, silent = fleet.alive, len(fleet.replicas) - fleet.alive
    style = FAINT if alive else WARN
    listen, gone = f"{alive} {'monitor' if alive == 1 else 'monitors'}", f"{silent} silent"
    if silent and len(listen) + 1 + len(gone) <= width:
        parts = [(f"{listen} ", style), (gone, WARN)]
    elif silent:
        parts = [(elide_words(gone, width, glyphs), WARN)]
    else:
        parts = [(listen if len(listen) <= width else elide_words(f"{alive} alive", width, glyphs), style)]
    is_full = sum(cell_width(text) for text, _ in parts) >= width
    return parts if is_full else [(" ", PLAIN), *parts]


def _replica_parts(replica: FleetReplica, glyphs: GlyphSet) -> list[StyledPart]:
    """Return a replica by name, its host and process, and whether it is alive and hears anything."""
    if not replica.is_alive:
        state: StyledPart = (f"SILENT for {format_age(replica.silent_s)}", WARN)
    else:
        state = ("hears it", GOOD) if replica.hears else ("hears nothing", WARN)
    host = f"  {glyphs.clean(replica.host)}, process {replica.pid}"
    return [(glyphs.clean(replica.name), STRONG), ("  ", PLAIN), state, (host, FAINT)]
