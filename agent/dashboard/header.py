"""The top of the screen: what is looked at, how link and recording are, and their troubles in words."""

from collections.abc import Sequence
from textwrap import wrap

from rich.style import Style

from agent.core.messages import BedView, Snapshot
from agent.dashboard import alarms, status
from agent.dashboard.lines import Line, Part, clock, elide, line, size, spread
from agent.dashboard.styles import ALARM, FAINT, LINKS, NOTICE, PLAIN, SELECTED, STATES, STRONG, WARN, Glyphs
from agent.dashboard.view import View, chosen, is_held, is_overview, page

MOST_ROWS = 3
"""Lines of one trouble."""
TROUBLES = {"waiting": "NO LINK", "connected": "LINK", "lost": "LINK LOST"}
NAME, LEAST_NAME = 12, 4
"""Cells of a bed's name for which other things give way, and those that always stay."""
RHYTHM = 14
"""Cells of the name of its rhythm."""
LEDGER = 16
"""Columns of an overview's header that the recording leaves to the ledger."""

Ranked = tuple[int, Part]
"""A part and the order in which it gives way: 0 never, otherwise the highest first."""


def banners(snapshot: Snapshot, width: int, glyphs: Glyphs) -> list[Line]:
    """The troubles of link and recording in their own words, across the whole screen; mostly none."""
    link, recording = snapshot.link, snapshot.recording
    made: list[Line] = []
    if link.trouble:
        style = WARN if link.state == "connected" else ALARM
        made += _banner(f"{TROUBLES[link.state]}: {link.trouble}", width, style, glyphs)
    if recording and recording.trouble:
        words = recording.trouble.removeprefix("recording ")
        between = ":" if words == recording.trouble else ""
        made += _banner(f"RECORDING{between} {words}", width, ALARM, glyphs)
    return made


def _banner(text: str, width: int, style: Style, glyphs: Glyphs) -> list[Line]:
    room = max(1, width - 2)
    rows = wrap(glyphs.clean(text), room)
    if len(rows) > MOST_ROWS:
        rows[MOST_ROWS - 1 :] = [" ".join(rows[MOST_ROWS - 1 :])]
    return [line(width, (f" {elide(row, room, glyphs)}".ljust(width), style)) for row in rows]


def header(snapshot: Snapshot, view: View, width: int, glyphs: Glyphs) -> Line:
    """What is looked at on the left; other beds' alarms, link and recording, always live, on the right."""
    shown = view.frozen or snapshot
    if is_overview(view, shown):
        return _of_ward(snapshot, view, width, glyphs)
    right = _live(snapshot, view, glyphs)
    name = chosen(view)
    bed = next((bed for bed in shown.beds if bed.bed == name), None)
    if bed is None:
        return spread(width, [(" ecg-agent", STRONG)], [part for _, part in right])
    if len(shown.index) > 1:
        right.insert(0, (2, (f" {view.order.places.get(name, 0) + 1}/{len(shown.index)} ", FAINT)))
    right += [(3, (trip, FAINT)) for trip in _trip(snapshot)]
    right.append((0, (f" {clock(bed.head)} ", STRONG)))
    right[:0] = [(1, part) for part in alarms.elsewhere(snapshot.index, name, snapshot.now_s)]
    late = status.behind(bed, shown)
    return _of_bed(bed, f" {late} " if late else "", right, width, glyphs)


def ward_line(snapshot: Snapshot, view: View, width: int) -> Line:
    """How many beds have alarms, live even where the picture is frozen, and how the beds are ordered."""
    order = "by urgency" if view.by_urgency else "by arrival"
    if view.by_urgency and not view.frozen and is_held(view, snapshot.now_s):
        order = "order held"
    right: list[Part] = [(f" {'bell  ' if view.bell else ''}{order} ", FAINT)]
    return spread(width, alarms.ward_parts(snapshot.index, snapshot.now_s), right)


def _live(snapshot: Snapshot, view: View, glyphs: Glyphs, room: int = 0) -> list[Ranked]:
    """What is told of the moment: how old a frozen picture is, the recording in up to `room` more cells, the link."""
    right: list[Ranked] = []
    if view.frozen:
        right.append((0, (f" FROZEN {max(0, round(snapshot.now_s - view.frozen.now_s))} s ", SELECTED)))
    if snapshot.recording:
        right.append((1, status.recording_part(snapshot.recording, room, glyphs)))
    text, style = LINKS[snapshot.link.state]
    mark = glyphs.on if snapshot.link.state == "connected" else glyphs.off
    return [*right, (0, (f" {mark} {text} ", style))]


def _trip(snapshot: Snapshot) -> list[str]:
    """The round trip to the device, where there is one."""
    link = snapshot.link
    known = link.state == "connected" and link.round_trip_ms is not None
    return [f"{status.span((link.round_trip_ms or 0.0) / 1000)} "] if known else []


def _of_bed(bed: BedView, late: str, right: Sequence[Ranked], width: int, glyphs: Glyphs) -> Line:
    text, style = STATES[bed.state]
    lead, name = elide(glyphs.clean(bed.lead), 8, glyphs), glyphs.clean(bed.bed)
    badge = f"{glyphs.on} {text}" if bed.state == "ok" else f" {text} "
    rhythm = elide(glyphs.clean(bed.rhythm_name), RHYTHM, glyphs)
    rhythm = f" {rhythm} " if rhythm else ""
    fixed = size(lead) + len(badge) + len(late) + size(rhythm) + 6
    kept = _fitting(right, width - fixed - min(size(name), NAME))
    room = width - fixed - _cells(kept)
    if room < LEAST_NAME:
        room, lead = room + size(lead), ""
    name = elide(name, max(LEAST_NAME, room), glyphs)
    left = [(f" {name}", STRONG), (f"  {lead}  ", FAINT), (badge, style), (" ", PLAIN), (rhythm, NOTICE), (late, WARN)]
    return spread(width, left, kept)


def _of_ward(snapshot: Snapshot, view: View, width: int, glyphs: Glyphs) -> Line:
    """The beds of the page, how many of all lie behind, and the samples of all as far as there is room."""
    shown = view.frozen or snapshot
    first, last = page(view)
    left: list[Part] = [(" ecg-agent", STRONG), (f"  beds {first + 1}-{last} of {len(shown.index)}", PLAIN)]
    late = sum(status.lags(bed, snapshot) for bed in snapshot.index)
    if late:
        left += [("  ", PLAIN), (f" {late} behind ", WARN)]
    room = width - _cells(left)
    right = _fitting(_live(snapshot, view, glyphs), room)
    right = _fitting(_live(snapshot, view, glyphs, room - _cells(right) - LEDGER), room)
    samples = status.ledger_parts(shown.ledger, room - _cells(right) - 3)
    left += [("   ", PLAIN), *samples]
    room -= _cells(right) + _cells(samples) + 3
    return spread(width, left, right + [(trip, FAINT) for trip in _trip(snapshot) if len(trip) <= room])


def _fitting(parts: Sequence[Ranked], room: int) -> list[Part]:
    """The parts in their order, without those that have to give way."""
    for most in (3, 2, 1, 0):
        kept = [part for rank, part in parts if rank <= most]
        if _cells(kept) <= room:
            break
    return kept


def _cells(parts: Sequence[Part]) -> int:
    return sum(size(text) for text, _ in parts)
