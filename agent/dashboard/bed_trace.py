"""The trace of a bed's page: sweeping, or still while a person looks back or measures; below it a second lead."""

from collections.abc import Mapping
from dataclasses import replace

from rich.segment import Segment

from agent.core.views import BedView, WardSnapshot
from agent.dashboard.calibration import trace_gutter
from agent.dashboard.frozen_picture import pictured_bed
from agent.dashboard.lines import StyledLine, elide_text, styled_line
from agent.dashboard.loss import cover_trace, find_loss
from agent.dashboard.still_extent import bed_extent, still_piece, still_range
from agent.dashboard.still_trace import caliper_samples, still_trace_lines
from agent.dashboard.styles import FAINT, GlyphSet
from agent.dashboard.trace import trace_lines
from agent.dashboard.view import DashboardView, bed_window, seconds_across
from agent.dashboard.wave_raster import VoltageWindow, fit_window
from model.records.resample import FS

LEAST_ROWS_FOR_TWO = 16
"""Lines of the trace from which a second lead is drawn below the first."""
SECOND_SHARE = 0.4
"""Share of the lines that the second lead has."""


def bed_trace_lines(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the trace of a bed, `size` columns and lines."""
    width, height = size
    looking, bed = view.looking, pictured_bed(view, bed)
    if view.frozen is not None and (looking.back or looking.calipers):
        return _still_lines(snapshot, bed, view, size, glyphs)
    snapshot = view.frozen or snapshot
    below = round(SECOND_SHARE * height) if _has_second(bed, view, height) else 0
    doubt, seconds = snapshot.least_confidence, seconds_across(view)
    lines = trace_lines(bed, bed_window(view, bed), seconds, (width, height - below), doubt, glyphs)
    gutter = trace_gutter(seconds * FS, width, bed.uncalibrated)
    lines = cover_trace(lines, bed, snapshot, gutter, glyphs)
    if below:
        second = second_bed(bed)
        window = _second_window(view.windows, second, seconds)
        # Letters stand above the first lead only; the line for them names the lead
        name, *rest = trace_lines(
            replace(second, beats=(), reference=None), window, seconds, (width, below), doubt, glyphs
        )
        label = elide_text(glyphs.clean(second.lead), width - 8, glyphs)
        named = [[*name[:1], *styled_line(width - len(name[0].text), (f" {label}", FAINT))], *rest]
        is_old = find_loss(bed, snapshot) is not None or bed.state in ("refused", "ended")
        lines += [[Segment(part.text, FAINT) for part in line] for line in named] if is_old else named
    return lines


def second_bed(bed: BedView) -> BedView:
    """Return a bed as if its second lead were heard."""
    other = bed.other_waves[0]
    return replace(bed, lead=other.lead, wave=other.wave)


def second_key(bed: BedView) -> str:
    """Return the key of the window of a bed's second lead: no bed has a name like it."""
    return f"{bed.bed}\0{bed.other_waves[0].lead}"


def refit_second_window(view: DashboardView, bed: BedView) -> DashboardView:
    """Return the view with a window that holds the second lead of a bed."""
    if not bed.other_waves or not view.looking.second_lead:
        return view
    key = second_key(bed)
    shown = bed.other_waves[0].wave[-seconds_across(view) * FS :]
    window = fit_window(shown, view.windows.get(key))
    return view if view.windows.get(key) == window else replace(view, windows={**view.windows, key: window})


def _second_window(windows: Mapping[str, VoltageWindow], second: BedView, seconds: int) -> VoltageWindow:
    known = windows.get(second_key(second))
    return known or fit_window(second.wave[-seconds * FS :])


def _has_second(bed: BedView, view: DashboardView, height: int) -> bool:
    return view.looking.second_lead and bool(bed.other_waves) and height >= LEAST_ROWS_FOR_TWO


def _still_lines(
    snapshot: WardSnapshot, bed: BedView, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    looking = view.looking
    extent = bed_extent(bed, seconds_across(view), snapshot.recording is not None)
    recorded = snapshot.past.signal if snapshot.past else None
    piece = still_piece(extent, looking, recorded)
    cursors = caliper_samples(looking.calipers, extent.end) if looking.calipers else None
    window = bed_window(view, bed)
    if still_range(extent, looking)[0] < extent.piece.first:
        window = fit_window(piece.wave, window, view.height_mv)
    return still_trace_lines(piece, window, size, snapshot.least_confidence, glyphs, cursors)
