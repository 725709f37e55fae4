"""The alarms of a bed as a list, and the strip of one of them."""

from collections.abc import Sequence

from agent.core.alarm_times import is_end_timed
from agent.core.clock import format_local_clock
from agent.core.look_back import PastAlarm
from agent.core.messages import Alarm
from agent.core.views import WardSnapshot
from agent.dashboard import alarm_lines
from agent.dashboard.cell_overlay import overlay_text
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    elide_text,
    elide_words,
    fill_block_lines,
    spread_line,
    styled_line,
)
from agent.dashboard.past_clock import past_moment
from agent.dashboard.status import short_duration
from agent.dashboard.still_extent import still_piece, strip_extent
from agent.dashboard.still_trace import caliper_samples, still_trace_lines
from agent.dashboard.styles import FAINT, NOTICE, PLAIN, SELECTED, STRONG, TITLE, GlyphSet
from agent.dashboard.trend_page import bed_banner_lines
from agent.dashboard.view import DashboardView, chosen_bed
from agent.dashboard.wave_raster import fit_window
from model.records.resample import FS

STRIP_DUE_S = 15.0
"""Seconds after the announcement of an alarm until which its strip may still come."""
NAME_COLUMNS, COURSE_COLUMNS = 14, 9
"""Columns of the name of an alarm, and of how long it lasted."""


def alarm_list_lines(
    snapshot: WardSnapshot, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the list of the alarms of a bed, the newest first, `size` columns and lines."""
    width, height = size
    name = chosen_bed(view)
    past = snapshot.past if snapshot.past and snapshot.past.bed == name else None
    alarms = past.alarms if past else ()
    left: list[StyledPart] = [
        (" ALARMS ", TITLE),
        (f" {elide_text(glyphs.clean(name), 30, glyphs)}  ", STRONG),
        (f"{len(alarms)} {'alarm' if len(alarms) == 1 else 'alarms'}", PLAIN),
    ]
    if past is None or past.reading:
        left.append(("  reading the recording", NOTICE))
    lines = bed_banner_lines(snapshot, name, width, glyphs)
    lines.append(spread_line(width, left, [("arrows choose   enter strip   esc back ", FAINT)]))
    if past and past.trouble:
        lines.append(styled_line(width, (f" {elide_words(glyphs.clean(past.trouble), width - 2, glyphs)}", NOTICE)))
    if not alarms:
        lines.append(styled_line(width, ("  no alarms yet", FAINT)))
        return fill_block_lines(lines, width, height)
    rows = height - len(lines) - 1
    lines.append(styled_line(width, (f" {'began':<16}{'lasted':<{COURSE_COLUMNS}}{'alarm':<{NAME_COLUMNS}}", FAINT)))
    row, places = chosen_row(view, alarms), _listed_places(alarms)
    top = max(0, min(places.index(row) - rows // 2, len(places) - rows))
    for place in places[top : top + rows]:
        if place is None:
            lines.append(styled_line(width, (f" {glyphs.rule * 3} device restarted ", FAINT)))
        else:
            lines.append(_listed_alarm_line(alarms[place], place == row, snapshot.now_s, width, glyphs))
    return fill_block_lines(lines, width, height)


def _listed_places(alarms: Sequence[PastAlarm]) -> list[int | None]:
    """Return the places of the alarms line by line, None between two runs of the device."""
    places: list[int | None] = []
    for place, past in enumerate(alarms):
        if place and past.alarm.run != alarms[place - 1].alarm.run:
            places.append(None)
        places.append(place)
    return places


def chosen_row(view: DashboardView, alarms: Sequence[PastAlarm]) -> int:
    """Return the place of the chosen alarm; it stays chosen when others come before it."""
    places = (i for i, past in enumerate(alarms) if past.identity == view.looking.alarm)
    return next(places, min(view.row, len(alarms) - 1))


def strip_page_lines(
    snapshot: WardSnapshot, view: DashboardView, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the strip of the alarm that is open, `size` columns and lines."""
    width, height = size
    name, looking = chosen_bed(view), view.looking
    past = snapshot.past if snapshot.past and snapshot.past.bed == name else None
    strip = past.strip if past else None
    alarms = past.alarms if past else ()
    known = next((item for item in alarms if item.identity == looking.alarm), strip.past if strip else None)
    lines = bed_banner_lines(snapshot, name, width, glyphs)
    lines += _strip_head(known, alarms, snapshot.now_s, width, glyphs)
    if past is None or strip is None or strip.past.identity != looking.alarm:
        text = "reading" if past is None or past.reading else past.trouble or _no_strip_text(known, snapshot.now_s)
        lines.append(styled_line(width, (f"  {elide_words(glyphs.clean(text), width - 4, glyphs)}", FAINT)))
        return fill_block_lines(lines, width, height)
    bed = next((bed for bed in snapshot.beds if bed.bed == name), None)
    extent = strip_extent(strip, looking, bed, snapshot.recording is not None)
    piece = still_piece(extent, looking, past.signal)
    window = fit_window(piece.wave, None, view.height_mv)
    cursors = caliper_samples(looking.calipers, extent.end) if looking.calipers else None
    shape = width - 1, max(6, height - len(lines) - 1)
    block = still_trace_lines(piece, window, shape, snapshot.least_confidence, glyphs, cursors)
    box = len("".join(part.text for part in block[0][:1]))
    marks = styled_line(width)
    columns = shape[0] - box
    for sample, text in ((strip.past.alarm.announced, "alarm"), (strip.past.alarm.onset, "onset")):
        if piece.first <= sample < piece.stop:
            column = box + (sample - piece.first) * columns // len(piece.wave)
            marks = overlay_text(marks, column, f"^ {text} ", FAINT)
    lead = elide_text(glyphs.clean(piece.lead), 20, glyphs) + " uncalibrated" * piece.uncalibrated
    marks = overlay_text(marks, width - len(lead) - 2, f" {lead} ", FAINT)
    return fill_block_lines([*lines, *([*row, *styled_line(1)] for row in block), marks], width, height)


def _strip_head(
    past: PastAlarm | None, alarms: tuple[PastAlarm, ...], now_s: float, width: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return which alarm it is and why, and below it since when, how long, and who acknowledged it."""
    keys: StyledPart = ("n p other alarm   c calipers   esc back ", FAINT)
    if past is None:
        return [spread_line(width, [(" STRIP", TITLE)], [keys]), styled_line(width)]
    place = next((i + 1 for i, item in enumerate(alarms) if item.identity == past.identity), len(alarms) + 1)
    style = alarm_lines.STEADY_STYLES[past.alarm.priority]
    name = f" {alarm_lines.alarm_label(past.alarm)} "
    room = width - len(name) - len(keys[0]) - 12
    reason = elide_words(glyphs.clean(_last_reason(past.alarm)), max(10, room), glyphs)
    first = [(" STRIP ", TITLE), (f"{place}/{max(place, len(alarms))} ", FAINT), (name, style), (reason, PLAIN)]
    texts = [f"since {past_moment(past.onset_s, now_s)}", f"{past.alarm.priority} priority", _lasted_text(past, now_s)]
    texts.append(handled_words(past, now_s))
    second = elide_words(glyphs.clean(", ".join(texts)), width - 2, glyphs)
    return [spread_line(width, first, [keys]), styled_line(width, (f" {second}", PLAIN))]


def _listed_alarm_line(past: PastAlarm, chosen: bool, now_s: float, width: int, glyphs: GlyphSet) -> StyledLine:
    alarm = past.alarm
    lasted = "goes on" if alarm.ended is None else _length_text(alarm) or "over"
    handled = handled_words(past, now_s)
    tail = (
        f"  {handled} "
        if width >= 100 or alarm.acknowledged_s is None
        else f"  seen {format_local_clock(alarm.acknowledged_s)} "
    )
    name = elide_text(alarm_lines.alarm_label(alarm), NAME_COLUMNS - 1, glyphs)
    begin = f" {past_moment(past.onset_s, now_s):<16}{lasted:<{COURSE_COLUMNS}}"
    reason = elide_words(
        glyphs.clean(_last_reason(alarm)), max(0, width - len(begin) - NAME_COLUMNS - len(tail)), glyphs
    )
    name = f"{name:<{NAME_COLUMNS}}"
    tail = elide_words(glyphs.clean(tail), max(0, width - len(begin) - NAME_COLUMNS), glyphs)
    style = alarm_lines.STEADY_STYLES[alarm.priority]
    if chosen:
        return spread_line(width, [(f"{begin}{name}{reason}".ljust(width - len(tail)), SELECTED)], [(tail, SELECTED)])
    return spread_line(width, [(begin, PLAIN), (name, style), (reason, PLAIN)], [(tail, FAINT)])


def _last_reason(alarm: Alarm) -> str:
    """Return the reason of an alarm; of one that goes on without a length, which may be that of its announcement."""
    return alarm_lines.shown_reason(alarm) if alarm.ended is None else alarm.text


def handled_words(past: PastAlarm, now_s: float) -> str:
    """Say when an alarm was acknowledged and by whom."""
    if past.alarm.acknowledged_s is None:
        return "not acknowledged"
    by = "" if past.handled_by is None else f" by {past.handled_by}" if past.handled_by else " at the monitor"
    return f"acknowledged {past_moment(past.alarm.acknowledged_s, now_s)}{by}"


def _lasted_text(past: PastAlarm, now_s: float) -> str:
    if past.alarm.ended is None:
        return f"goes on for {short_duration(max(0.0, now_s - past.onset_s))}"
    length = _length_text(past.alarm)
    return f"lasted {length}" if length else "over"


def _length_text(alarm: Alarm) -> str:
    """Return how long an alarm that is over lasted, "" where no sample says so."""
    return short_duration((alarm.ended - alarm.onset) / FS) if alarm.ended is not None and is_end_timed(alarm) else ""


def _no_strip_text(past: PastAlarm | None, now_s: float) -> str:
    if past is None:
        return "this alarm is no longer known"
    if 0 <= now_s - past.alarm.announced_s < STRIP_DUE_S:
        return "the strip is still being drawn: it ends 10 s after the announcement"
    return "no strip: it is cut 10 s after the announcement; a monitor with --record keeps those of earlier alarms"
