"""The top of the screen: the shown bed or ward, the state of link and recording, and their troubles in words."""

from collections.abc import Sequence
from textwrap import wrap

from rich.style import Style

from agent.core.clock import format_local_clock, format_local_date
from agent.core.views import BedView, WardSnapshot
from agent.dashboard import alarm_lines, status
from agent.dashboard.alarm_state import ward_state_parts
from agent.dashboard.frozen_picture import shown_snapshot
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    elide_text,
    elide_words,
    spread_line,
    styled_line,
)
from agent.dashboard.loss import format_age, state_words
from agent.dashboard.styles import (
    ALARM,
    ASCII_GLYPHS,
    FAINT,
    PLAIN,
    SELECTED,
    STRONG,
    UNICODE_GLYPHS,
    WARN,
    GlyphSet,
)
from agent.dashboard.view import DashboardView, chosen_bed, is_held, is_overview, page_range

MOST_TROUBLE_ROWS = 3
"""Most lines of one trouble."""
LINK_TROUBLES = {"waiting": "NO LINK", "connected": "LINK", "lost": "LINK LOST"}
NAME_CELLS, LEAST_NAME_CELLS = 12, 4
"""Cells of a bed's name for which other parts give way, and cells that it always keeps."""
LEDGER_CELLS = 16
"""Columns of the ward's header that the recording leaves to the ledger."""

RankedPart = tuple[int, StyledPart]
"""A part and its rank: parts of the highest rank give way first, those of rank 0 never."""


def trouble_banners(snapshot: WardSnapshot, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the troubles of link and recording in words, across the whole screen."""
    link, recording = snapshot.link, snapshot.recording
    lines: list[StyledLine] = []
    if link.trouble:
        style = WARN if link.state == "connected" else ALARM
        words = status.link_words(link)[0].upper() if link.is_store else LINK_TROUBLES[link.state]
        lines += _trouble_lines(f"{words}: {link.trouble}", width, style, glyphs)
    if recording and recording.trouble:
        words = recording.trouble.removeprefix("recording ")
        colon = ":" if words == recording.trouble else ""
        lines += _trouble_lines(f"RECORDING{colon} {words}", width, ALARM, glyphs)
    return lines


def _trouble_lines(text: str, width: int, style: Style, glyphs: GlyphSet) -> list[StyledLine]:
    room = max(1, width - 2)
    rows = wrap(glyphs.clean(text), room)
    if len(rows) > MOST_TROUBLE_ROWS:
        rows[MOST_TROUBLE_ROWS - 1 :] = [" ".join(rows[MOST_TROUBLE_ROWS - 1 :])]
    return [styled_line(width, (f" {elide_words(row, room, glyphs)}".ljust(width), style)) for row in rows]


def header_line(snapshot: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return the shown bed or ward on the left; on the right other beds' alarms, link and recording, always live."""
    shown = shown_snapshot(snapshot, view)
    if is_overview(view, shown):
        return _ward_header_line(snapshot, view, width, glyphs)
    right = _live_header_parts(snapshot, view, glyphs)
    name = chosen_bed(view)
    bed = next((bed for bed in shown.beds if bed.bed == name), None)
    if bed is None:
        right += clock_parts(snapshot)
        return spread_line(width, [(" ecg-agent", STRONG)], fit_ranked_parts(right, width - 10))
    if len(shown.index) > 1:
        right.insert(0, (3, (f" {view.order.places.get(name, 0) + 1}/{len(shown.index)} ", FAINT)))
    right += [(4, (trip, FAINT)) for trip in _round_trip_texts(snapshot)]
    right += [*clock_parts(snapshot), (2, status.stream_clock_part(bed, shown))]
    right[:0] = [(1, part) for part in alarm_lines.other_bed_alarm_parts(snapshot.index, name, snapshot.now_s)]
    behind = status.behind_text(bed, shown)
    return _bed_header_line(bed, shown, f" {behind} " if behind else "", right, width, glyphs)


def clock_parts(snapshot: WardSnapshot) -> list[RankedPart]:
    """Return the time of the day, which goes on whatever becomes of the stream, and the date."""
    date, clock = format_local_date(snapshot.now_s), format_local_clock(snapshot.now_s)
    return [(5, (f" {date}", FAINT)), (0, (f" {clock} ", STRONG))]


def ward_line(snapshot: WardSnapshot, view: DashboardView, width: int) -> StyledLine:
    """Return the number of beds with alarms, live even if the picture is frozen, and the order of the beds."""
    order = "by urgency" if view.by_urgency else "by arrival"
    if view.by_urgency and not view.frozen and is_held(view, snapshot.now_s):
        order = "by urgency, held"
    glyphs = ASCII_GLYPHS if view.ascii else UNICODE_GLYPHS
    left = alarm_lines.ward_alarm_parts(snapshot.index, snapshot.now_s)
    states, short = (ward_state_parts(snapshot.index, glyphs, is_short) for is_short in (False, True))
    bell = " bell " if view.bell else ""
    tails: list[StyledPart] = [(f"{bell} {order} ", FAINT), (bell, FAINT)]
    for right in ([*states, tails[0]], [*short, tails[0]], [*short, tails[1]], short):
        if _parts_width(left) + _parts_width(right) <= width:
            return spread_line(width, left, right)
    return spread_line(width, [part for part in left if part[1] is not FAINT], short)


def _live_header_parts(
    snapshot: WardSnapshot, view: DashboardView, glyphs: GlyphSet, room: int = 0
) -> list[RankedPart]:
    """Return the live state: age of a frozen picture, the recording in up to `room` more cells, outputs that
    cannot send, the link."""
    right: list[RankedPart] = []
    if view.frozen:
        right.append((0, (f" FROZEN {max(0, round(snapshot.now_s - view.frozen.now_s))} s ", SELECTED)))
    if snapshot.recording:
        right.append((1, status.recording_part(snapshot.recording, room, glyphs)))
    right += [(1, part) for part in status.failing_parts(snapshot.failing, glyphs)]
    text, style = status.link_words(snapshot.link)
    if snapshot.link.state == "lost" and snapshot.link.heard_s:
        text = f"{text} {format_age(snapshot.now_s - snapshot.link.heard_s)}"
    mark = glyphs.on if snapshot.link.state == "connected" else glyphs.off
    return [*right, (0, (f" {mark} {text} ", style))]


def _round_trip_texts(snapshot: WardSnapshot) -> list[str]:
    """Return the round trip to the device, if it is known."""
    link = snapshot.link
    known = link.state == "connected" and link.round_trip_ms is not None
    return [f"{status.short_duration((link.round_trip_ms or 0.0) / 1000)} "] if known else []


def _bed_header_line(
    bed: BedView, shown: WardSnapshot, behind: str, right: Sequence[RankedPart], width: int, glyphs: GlyphSet
) -> StyledLine:
    text, style = state_words(bed, shown)
    lead = elide_text(glyphs.clean(bed.lead), 8, glyphs) + " uncalibrated" * bed.uncalibrated
    name = glyphs.clean(bed.bed)
    badge = f"{glyphs.on} {text}" if bed.state == "ok" else f" {text} "
    fixed = cell_width(lead) + len(badge) + len(behind) + 6
    kept = fit_ranked_parts(right, width - fixed - min(cell_width(name), NAME_CELLS))
    room = width - fixed - _parts_width(kept)
    if room < LEAST_NAME_CELLS:
        room += cell_width(lead)
        lead = ""
    name = elide_text(name, max(LEAST_NAME_CELLS, room), glyphs)
    left = [(f" {name}", STRONG), (f"  {lead}  ", FAINT), (badge, style), (" ", PLAIN), (behind, WARN)]
    return spread_line(width, left, kept)


def _ward_header_line(snapshot: WardSnapshot, view: DashboardView, width: int, glyphs: GlyphSet) -> StyledLine:
    """Return the beds of the page, how many beds lie behind, and the samples of all beds if there is room."""
    shown = shown_snapshot(snapshot, view)
    first, last = page_range(view)
    name: list[StyledPart] = [(" ecg-agent ", STRONG)]
    left: list[StyledPart] = [(f" beds {first + 1}-{last} of {len(shown.index)}", PLAIN)]
    behind = sum(status.is_behind(bed, snapshot) for bed in snapshot.index)
    if behind:
        left += [("  ", PLAIN), (f" {behind} behind ", WARN)]
    (_, date), (_, clock) = clock_parts(snapshot)
    room = width - _parts_width([*left, clock])
    # The samples are worth more than our own name
    least = fit_ranked_parts(_live_header_parts(snapshot, view, glyphs), room)
    if status.ledger_parts(shown.ledger, room - _parts_width([*least, *name]) - 3):
        left = [*name, *left]
        room -= _parts_width(name)
    # First without the volumes of the recording, to see how much room there is for them
    right = fit_ranked_parts(_live_header_parts(snapshot, view, glyphs), room)
    right = fit_ranked_parts(
        _live_header_parts(snapshot, view, glyphs, room - _parts_width(right) - LEDGER_CELLS), room
    )
    samples = status.ledger_parts(shown.ledger, room - _parts_width(right) - 3)
    left += [("   ", PLAIN), *samples]
    room -= _parts_width(right) + _parts_width(samples) + 3
    right += [(trip, FAINT) for trip in _round_trip_texts(snapshot) if len(trip) <= room]
    room -= sum(len(trip) for trip in _round_trip_texts(snapshot))
    return spread_line(width, left, [*right, *([date] if _parts_width([date]) <= room else []), clock])


def fit_ranked_parts(parts: Sequence[RankedPart], room: int) -> list[StyledPart]:
    """Return the parts in their order, without those that have to give way."""
    for most in (5, 4, 3, 2, 1, 0):
        kept = [part for rank, part in parts if rank <= most]
        if _parts_width(kept) <= room:
            break
    return kept


def _parts_width(parts: Sequence[StyledPart]) -> int:
    return sum(cell_width(text) for text, _ in parts)
