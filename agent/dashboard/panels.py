"""The figures of one bed: rate, classes, RR intervals, last beats, events."""

from math import isfinite

from agent.core.messages import Beat, BedView, Snapshot
from agent.dashboard.digits import figures
from agent.dashboard.lines import Line, bar, clock, elide, label_index, line, title
from agent.dashboard.styles import CLASS_MARKS, CLASS_STYLES, EVENT_STYLES, FAINT, GOOD, PLAIN, STRONG, WARN, Glyphs
from model.records.wfdb_records import CLASSES

RR_TOPS_S = (1.0, 1.5, 2.0, 3.0, 5.0)
"""Seconds that the height of the RR columns may stand for."""


def number(value: float | None, digits: int = 0) -> str:
    """A figure, or -- where there is none."""
    return "--" if value is None or not isfinite(value) else f"{value:.{digits}f}"


def rate_text(bed: BedView, snapshot: Snapshot) -> str:
    """Heart rate in beats a minute; -- in noise or an arrest, and while bed or link are in no state to have one."""
    if bed.state != "ok" or bed.suspended or snapshot.link.state == "lost" or bed.rhythm.heart_rate is None:
        return "--"
    return number(min(bed.rhythm.heart_rate, 999))


def vitals(bed: BedView, snapshot: Snapshot, width: int, scale: int, glyphs: Glyphs) -> list[Line]:
    """Heart rate in large figures, then RR, RMSSD and SDNN."""
    rate = rate_text(bed, snapshot)
    style = GOOD if rate != "--" else FAINT
    rows = [line(width, (row, style)) for row in figures(f"{rate:>3}", scale, glyphs.ascii)]
    rhythm = bed.rhythm
    values = (rhythm.rr_ms, rhythm.rmssd_ms, rhythm.sdnn_ms) if rate != "--" else (None, None, None)
    table = [
        line(width, (f"{name:<7}", FAINT), (f"{number(value):>6}", STRONG), (" ms", FAINT))
        for name, value in zip(("RR", "RMSSD", "SDNN"), values, strict=True)
    ]
    heading = f"HEART RATE {rate}" if glyphs.ascii else "HEART RATE"
    return [title(f"{heading} /min", width, glyphs), *rows, *table]


def classes(bed: BedView, width: int, glyphs: Glyphs) -> list[Line]:
    """Count and share of each class, as bars."""
    counts = bed.rhythm.counts
    total = sum(counts)
    room = max(3, width - 18)
    rows = [title("CLASSES", width, glyphs)]
    for name, count in zip(CLASSES, counts, strict=True):
        share = count / total if total else 0.0
        figure = f"{count:>8,}" if count < 10**7 else f"{count:>8}"
        rows.append(
            line(
                width,
                (f"{name} ", CLASS_STYLES[name]),
                *bar(share, room, CLASS_STYLES[name], glyphs),
                (figure, STRONG if count else FAINT),
                (f"{100 * share:>6.1f}%", PLAIN if count else FAINT),
            )
        )
    return [*rows, line(width, (f"{'beats':<{2 + room}}", FAINT), (f"{total:>8,}", PLAIN))]


def intervals(bed: BedView, width: int, rows: int, glyphs: Glyphs) -> list[Line]:
    """RR intervals of the latest beats as columns in the colour of their class, the newest on the right."""
    latest = [beat for beat in bed.beats if beat.rr_s is not None][-(width - 1) :]
    longest = max((beat.rr_s or 0.0 for beat in latest), default=0.0)
    top = next((step for step in RR_TOPS_S if step >= longest), RR_TOPS_S[-1])
    levels = len(glyphs.steps) - 1
    heights = [round(min(beat.rr_s or 0.0, top) / top * rows * levels) for beat in latest]
    styles = [CLASS_STYLES[CLASSES[label_index(beat.label)]] for beat in latest]
    made = [_heading_with("RR INTERVALS", f"{top:g} s", width, glyphs)]
    for row in range(rows):
        floor = (rows - 1 - row) * levels
        cells = (glyphs.steps[min(levels, max(0, height - floor))] for height in heights)
        made.append(line(width, (" " * (width - 1 - len(latest)), PLAIN), *zip(cells, styles, strict=True)))
    return made


def last_beats(bed: BedView, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """The latest beats, newest first: time, class, how sure the net is, RR interval."""
    room = max(3, width - 26)
    heading = "LAST BEATS"
    columns = f"{'confidence':>{room + 5}}  {'RR ms':>5}" if width >= 44 else f"{'RR ms':>5}"
    rows = [_heading_with(heading, columns, width, glyphs)]
    for beat in tuple(reversed(bed.beats))[: max(0, height - 1)]:
        rows.append(_beat(beat, width, room, glyphs))
    return rows


def _heading_with(text: str, right: str, width: int, glyphs: Glyphs) -> Line:
    right = right.strip()
    return title(text, width - len(right) - 1, glyphs) + line(len(right) + 1, (f" {right}", FAINT))


def _beat(beat: Beat, width: int, room: int, glyphs: Glyphs) -> Line:
    name = CLASSES[label_index(beat.label)]
    rr = number(None if beat.rr_s is None else 1000 * beat.rr_s)
    return line(
        width,
        (f"{clock(beat.sample, tenths=True)}  ", FAINT),
        (name, CLASS_MARKS[name]),
        ("  ", PLAIN),
        *bar(beat.confidence, room, CLASS_STYLES[name], glyphs),
        (f" {beat.confidence:4.2f}", PLAIN),
        (f"{rr:>6}", STRONG),
    )


def events(bed: BedView, snapshot: Snapshot, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """What happened to this bed, the link and the recording, newest first; a trouble that still stands is a warning."""
    found = [event for event in snapshot.events if event.bed in ("", bed.bed)]
    rows = [title("EVENTS", width, glyphs)]
    trouble = snapshot.recording.trouble if snapshot.recording else ""
    for event in found[::-1][: max(0, height - 1)]:
        time = clock(event.sample) if event.bed else " " * 8
        text = elide(glyphs.clean(event.text), max(1, width - 19), glyphs)
        stands = event.kind == "record" and trouble and trouble in event.text
        style = WARN if stands else EVENT_STYLES.get(event.kind, PLAIN)
        rows.append(line(width, (f"{time}  ", FAINT), (f"{event.kind:<8}", style), (f" {text}", PLAIN)))
    return rows if found else [*rows, line(width, ("nothing to report", FAINT))]
