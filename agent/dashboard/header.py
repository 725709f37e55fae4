"""The top of the screen: what is looked at, how link and recording are, and their troubles in words."""

from collections.abc import Sequence
from textwrap import wrap

from rich.style import Style

from agent.dashboard import status
from agent.dashboard.lines import Line, Part, clock, elide, line, size, spread
from agent.dashboard.overview import page
from agent.dashboard.styles import ALARM, FAINT, LINKS, PLAIN, SELECTED, STATES, STRONG, WARN, Glyphs
from agent.dashboard.view import View, chosen, is_overview
from agent.messages import BedView, Snapshot

MOST_ROWS = 3
"""Lines of one trouble."""
TROUBLES = {"waiting": "NO LINK", "connected": "LINK", "lost": "LINK LOST"}
NAME, LEAST_NAME = 12, 4
"""Cells of a bed's name for which other things give way, and those that always stay."""
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


def header(snapshot: Snapshot, view: View, room: tuple[int, int], glyphs: Glyphs) -> Line:
    """What is looked at on the left; link and recording, live even where the picture is frozen, on the right.

    `room`: columns and lines of the body, which is one page of an overview.
    """
    shown = view.frozen or snapshot
    if is_overview(view, shown):
        return _of_ward(snapshot, view, room, glyphs)
    right = _live(snapshot, view, glyphs)
    if not shown.beds:
        return spread(room[0], [(" ecg-agent", STRONG)], [part for _, part in right])
    index = chosen(view, shown)
    bed = shown.beds[index]
    if len(shown.beds) > 1:
        right.insert(0, (2, (f" {index + 1}/{len(shown.beds)} ", FAINT)))
    right += [(3, (trip, FAINT)) for trip in _trip(snapshot)]
    right.append((0, (f" {clock(bed.head)} ", STRONG)))
    late = status.behind(bed, shown)
    return _of_bed(bed, f" {late} " if late else "", right, room[0], glyphs)


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
    fixed = size(lead) + len(badge) + len(late) + 6
    kept = _fitting(right, width - fixed - min(size(name), NAME))
    room = width - fixed - _cells(kept)
    if room < LEAST_NAME:
        room, lead = room + size(lead), ""
    name = elide(name, max(LEAST_NAME, room), glyphs)
    left = [(f" {name}", STRONG), (f"  {lead}  ", FAINT), (badge, style), (" ", PLAIN), (late, WARN)]
    return spread(width, left, kept)


def _of_ward(snapshot: Snapshot, view: View, body: tuple[int, int], glyphs: Glyphs) -> Line:
    """The beds of the page, how many of all lie behind, and the samples of all as far as there is room."""
    shown, width = view.frozen or snapshot, body[0]
    first, last = page(view, shown, *body)
    left: list[Part] = [(" ecg-agent", STRONG), (f"  beds {first + 1}-{last} of {len(shown.beds)}", PLAIN)]
    late = sum(bed.behind_s > status.BEHIND_S and status.behind(bed, shown) != "" for bed in shown.beds)
    if late:
        left += [("  ", PLAIN), (f" {late} behind ", WARN)]
    room = width - _cells(left)
    right = _fitting(_live(snapshot, view, glyphs), room)
    right = _fitting(_live(snapshot, view, glyphs, room - _cells(right) - LEDGER), room)
    samples = status.ledger_parts(status.total(shown.beds), room - _cells(right) - 3)
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
