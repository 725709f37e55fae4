"""The panels of one bed: heart rate, classes, RR intervals, last beats, events."""

from math import isfinite

from agent.core.class_trust import ClassTrust, rate_of_100
from agent.core.clock import format_local_clock
from agent.core.messages import Beat
from agent.core.views import BedView, WardSnapshot
from agent.core.wording import event_text
from agent.dashboard.digits import large_digit_rows
from agent.dashboard.lines import (
    StyledLine,
    bar_parts,
    class_letter,
    format_sample_clock,
    label_index,
    styled_line,
    title_line,
    wrap_text,
)
from agent.dashboard.loss import rate_age, rate_style, rate_text
from agent.dashboard.styles import CLASS_STYLES, EVENT_STYLES, FAINT, PLAIN, STRONG, WARN, GlyphSet
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

EVENT_LINES = 3
"""Lines of an event at most, in a panel of TALL_PANEL lines; in a lower one an event has one."""
TALL_PANEL = 6
RR_TOPS_S = (1.0, 1.5, 2.0, 3.0, 5.0)
"""Seconds that the height of the RR columns may show."""


def format_vital(value: float | None, digits: int = 0) -> str:
    """Return a value as text, -- if there is none."""
    return "--" if value is None or not isfinite(value) else f"{value:.{digits}f}"


def vitals_panel(bed: BedView, snapshot: WardSnapshot, width: int, scale: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the heart rate in large digits, then RR, RMSSD and SDNN; after a loss the last rate, dim, with its age."""
    rate = rate_text(bed, snapshot)
    style, age = rate_style(bed, snapshot, rate), rate_age(bed, snapshot, rate)
    rows = [styled_line(width, (row, style)) for row in large_digit_rows(f"{rate:>3}", scale, glyphs.ascii)]
    rhythm = bed.rhythm
    values = (rhythm.rr_ms, rhythm.rmssd_ms, rhythm.sdnn_ms) if rate != "--" and not age else (None, None, None)
    table = [
        styled_line(width, (f"{name:<7}", FAINT), (f"{format_vital(value):>6}", STRONG), (" ms", FAINT))
        for name, value in zip(("RR", "RMSSD", "SDNN"), values, strict=True)
    ]
    heading = f"HEART RATE {rate} /min" if glyphs.ascii else "HEART RATE /min"
    if age:
        heading = f"RATE {rate}, {age} old" if glyphs.ascii else f"HEART RATE {age} old"
    return [title_line(heading, width, glyphs), *rows, *table]


def class_panel(bed: BedView, trust: ClassTrust, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return count and share of each class, as bars, and the share of such beats that the net found in tests."""
    counts = bed.rhythm.counts
    total = sum(counts)
    room = max(3, width - 23)
    rows = [_panel_heading("CLASSES", "share found", width, glyphs)]
    for name, count in zip(CLASSES, counts, strict=True):
        share = count / total if total else 0.0
        found = f"{rate_of_100(trust.sensitivity[name])}%" if name in trust.sensitivity else "--"
        figure = f"{count:>8,}" if count < 10**7 else f"{count:>8}"
        rows.append(
            styled_line(
                width,
                (f"{name} ", CLASS_STYLES[name]),
                *bar_parts(share, room, CLASS_STYLES[name], glyphs),
                (figure, STRONG if count else FAINT),
                (f"{100 * share:>6.1f}%", PLAIN if count else FAINT),
                (f"{found:>5}", PLAIN if count else FAINT),
            )
        )
    legend = (f"{'in tests':>12}" if trust.sensitivity else f"{'not known':>12}", FAINT)
    return [*rows, styled_line(width, (f"{'beats':<{2 + room}}", FAINT), (f"{total:>8,}", PLAIN), legend)]


def rr_panel(bed: BedView, width: int, rows: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the RR intervals of the latest beats as columns in the colour of their class, newest on the right."""
    latest = [beat for beat in bed.beats if beat.rr_s is not None][-(width - 1) :]
    longest = max((beat.rr_s or 0.0 for beat in latest), default=0.0)
    top = next((step for step in RR_TOPS_S if step >= longest), RR_TOPS_S[-1])
    levels = len(glyphs.steps) - 1
    heights = [round(min(beat.rr_s or 0.0, top) / top * rows * levels) for beat in latest]
    styles = [CLASS_STYLES[CLASSES[label_index(beat.label)]] for beat in latest]
    lines = [_panel_heading("RR INTERVALS", f"{top:g} s", width, glyphs)]
    for row in range(rows):
        floor = (rows - 1 - row) * levels
        cells = (glyphs.steps[min(levels, max(0, height - floor))] for height in heights)
        lines.append(styled_line(width, (" " * (width - 1 - len(latest)), PLAIN), *zip(cells, styles, strict=True)))
    return lines


def last_beats_panel(
    bed: BedView, least_confidence: float, width: int, height: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the latest beats, newest first: time by the clock, class, confidence, RR interval.

    Where the clock of the device is not known, the heading says that the times are those of the stream.
    """
    room = max(3, width - 26)
    heading = "LAST BEATS" if bed.head_s is not None else "LAST BEATS (stream)"
    columns = f"{'confidence':>{room + 5}}  {'RR ms':>5}" if width >= 44 else f"{'RR ms':>5}"
    rows = [_panel_heading(heading, columns, width, glyphs)]
    for beat in tuple(reversed(bed.beats))[: max(0, height - 1)]:
        at_s = None if bed.head_s is None else bed.head_s - (bed.head - beat.sample) / FS
        rows.append(_last_beat_line(beat, at_s, least_confidence, width, room, glyphs))
    return rows


def _panel_heading(text: str, right: str, width: int, glyphs: GlyphSet) -> StyledLine:
    right = right.strip()
    return title_line(text, width - len(right) - 1, glyphs) + styled_line(len(right) + 1, (f" {right}", FAINT))


def _last_beat_line(
    beat: Beat, at_s: float | None, least_confidence: float, width: int, room: int, glyphs: GlyphSet
) -> StyledLine:
    name = CLASSES[label_index(beat.label)]
    rr = format_vital(None if beat.rr_s is None else 1000 * beat.rr_s)
    return styled_line(
        width,
        (f"{format_sample_clock(beat.sample, tenths=True) if at_s is None else format_local_clock(at_s, 1)}  ", FAINT),
        class_letter(beat, least_confidence, glyphs),
        ("  ", PLAIN),
        *bar_parts(beat.confidence, room, CLASS_STYLES[name], glyphs),
        (f" {beat.confidence:4.2f}", PLAIN),
        (f"{rr:>6}", STRONG),
    )


def events_panel(bed: BedView, snapshot: WardSnapshot, width: int, height: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the events of this bed, the link and the recording by the clock, newest first.

    A present trouble is a warning, and a refusal is never cut to one line.
    """
    events = [logged for logged in snapshot.events if logged.event.bed in ("", bed.bed)]
    rows = [title_line("EVENTS", width, glyphs)]
    standing = snapshot.recording.standing if snapshot.recording else None
    lines = EVENT_LINES if height >= TALL_PANEL else 1
    for logged in events[::-1][: max(0, height - 1)]:
        event, time = logged.event, format_local_clock(logged.at_s)
        most = EVENT_LINES if event.kind == "refused" else lines
        first, *more = wrap_text(glyphs.clean(event_text(event)), max(20, width - 10), 9, most, glyphs)
        style = WARN if event == standing else EVENT_STYLES.get(event.kind, PLAIN)
        rows.append(styled_line(width, (f"{time}  ", FAINT), (f"{event.kind:<8}", style), (f" {first}", PLAIN)))
        rows += [styled_line(width, (" " * 10 + text, PLAIN)) for text in more]
    rows = rows[: max(1, height)]
    return rows if events else [*rows, styled_line(width, ("nothing to report", FAINT))]
