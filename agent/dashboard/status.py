"""The state of the monitor itself: link, delays, recording, and the ledger of all samples."""

from collections.abc import Sequence
from math import isfinite

from rich.style import Style

from agent.core.messages import Ledger
from agent.core.views import (
    LOSSES,
    BedSummary,
    BedView,
    FailingOutput,
    LatencySummary,
    LinkView,
    RecordingView,
    WardSnapshot,
)
from agent.dashboard.lines import (
    StyledLine,
    StyledPart,
    cell_width,
    elide_text,
    format_sample_clock,
    spread_line,
    styled_line,
    title_line,
)
from agent.dashboard.loss import find_loss, format_age
from agent.dashboard.styles import (
    ALARM,
    EVENT_STYLES,
    FAINT,
    GOOD,
    LINK_STYLES,
    PLAIN,
    STORE_STYLES,
    WARN,
    GlyphSet,
)
from model.records.resample import FS

DISCLAIMER = "research tool, not a medical device"
DISCLAIMER_SHORT = "not a medical device"
BEHIND_S = 1.5
"""Delay behind the device from which a bed is marked."""
SILENT_STATES = (*LOSSES, "refused", "ended")
"""States of a bed that sends no data."""
LEAST_CLOCK_OFFSET_MS = 100.0
"""Least difference of the clocks that is shown."""
LARGE_DELAY_MS = 1000.0
"""Delay by link and monitor beyond which the delay of a bed's beats is shown in every terminal that holds a page."""
LABEL_WIDTH = 9
"""Columns of the labels in the monitor's panel."""
UNIT_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def link_words(link: LinkView) -> StyledPart:
    """Return the state of the link to a device, or to the store of a fleet, in words."""
    return (STORE_STYLES if link.is_store else LINK_STYLES)[link.state]


def short_duration(seconds: float) -> str:
    """Return a duration in two or three digits, in a suitable unit.

    Examples
    --------
    >>> short_duration(0.0042), short_duration(75), short_duration(86_400)
    ('4.2 ms', '75 s', '24 h')
    """
    if not isfinite(seconds):
        return "--"
    length = abs(seconds)
    if length < 0.9995:
        return f"{1000 * seconds:.1f} ms" if length < 0.00995 else f"{1000 * seconds:.0f} ms"
    if length < 599.5:
        return f"{seconds:.1f} s" if length < 9.95 else f"{seconds:.0f} s"
    if length < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if length < 172_800 else f"{seconds / 86_400:,.0f} d"


def format_scaled_count(count: int, unit: str = "") -> str:
    """Return a count in at most three digits, such as 345, 1.2 k, 12 MB."""
    value, prefix = float(max(0, count)), 0
    while value >= 999.5 and prefix < len(UNIT_PREFIXES) - 1:
        value, prefix = value / 1000, prefix + 1
    digits = 1 if prefix and value < 9.95 else 0
    return f"{value:.{digits}f} {UNIT_PREFIXES[prefix]}{unit}".rstrip()


def is_behind(bed: BedView | BedSummary, snapshot: WardSnapshot) -> bool:
    """Return whether the shown signal of a bed lies behind its device while data still arrive."""
    return bed.behind_s > BEHIND_S and bed.state not in SILENT_STATES and snapshot.link.state != "lost"


def behind_text(bed: BedView, snapshot: WardSnapshot) -> str:
    """Return how far the shown signal lies behind the device, "" if it does not or if no data arrive."""
    if not is_behind(bed, snapshot):
        return ""
    return f"behind {bed.behind_s:.0f} s" if bed.behind_s < 599.5 else f"behind {short_duration(bed.behind_s)}"


def stream_clock_part(bed: BedView, shown: WardSnapshot) -> StyledPart:
    """Return the time of the stream, which counts from its start; where it stands still, it says so."""
    clock = format_sample_clock(bed.head)
    if bed.state == "ended":
        return f"ended {clock} ", FAINT
    return (f"stopped {clock} ", WARN) if find_loss(bed, shown) else (f"stream {clock} ", FAINT)


def ledger_parts(ledger: Ledger, width: int) -> list[StyledPart]:
    """Return the ledger of the samples in as many words as fit, or nothing."""
    style = EVENT_STYLES["gap"] if ledger.missing else PLAIN
    lost = f"{ledger.missing:,} missing"
    sign = "-" if ledger.open < 0 else "+"
    pending: list[StyledPart] = (
        [(f" {sign} {abs(ledger.open):,} under way", EVENT_STYLES["link"])] if ledger.open else []
    )
    room = width - len(lost) - sum(len(text) for text, _ in pending)
    for words in (" analysed", ""):
        text = f"sent {ledger.sent:,} = {ledger.analysed:,}{words} + "
        if len(text) <= room:
            return [(text, PLAIN), (lost, style), *pending]
    lost = f"{format_scaled_count(ledger.missing)} missing"
    total = f" of {format_scaled_count(ledger.sent)}"
    if len(lost) > width:
        return []
    return [(lost, style), (total, PLAIN)] if len(lost) + len(total) <= width else [(lost, style)]


def bed_ledger_line(bed: BedView, width: int) -> StyledLine:
    """Return the ledger of a bed, and its gaps in seconds, since they are counted at the rate of the analysis."""
    gaps = f" gaps {bed.gaps:,} " if bed.gaps or bed.missing else " no gap "
    parts = [(" ", PLAIN), *ledger_parts(bed.ledger, width - len(gaps) - 1)]
    if bed.missing:
        longer = f"{gaps}({short_duration(bed.missing / FS)}) "
        gaps = longer if len(longer) + sum(len(text) for text, _ in parts) <= width else gaps
    if bed.fleet is not None:  # a store does not count gaps
        gaps = f" {short_duration(bed.missing / FS)} missing " if bed.missing else " none missing "
    return spread_line(width, parts, [(gaps, EVENT_STYLES["gap"] if bed.missing else FAINT)])


def recording_part(recording: RecordingView, room: int, glyphs: GlyphSet) -> StyledPart:
    """Return the mark of a recording and, in up to `room` further cells, its folder, its size and the free space."""
    mark = f" {glyphs.off if recording.trouble else glyphs.on} REC "
    written, free = _recording_volumes(recording)
    for text in (
        f"{_recording_folder_name(recording, 20, glyphs)}, {written}, {free} ",
        f"{written}, {free} ",
        f"{free} ",
    ):
        if cell_width(text) <= room:
            mark += text
            break
    return mark, ALARM if recording.trouble else GOOD


def failing_parts(failing: Sequence[FailingOutput], glyphs: GlyphSet) -> list[StyledPart]:
    """Return which outputs cannot send, and for how long the first of them could not; nothing while all can."""
    if not failing:
        return []
    scheme = failing[0].target.partition(":")[0].upper()
    words = f"{glyphs.clean(scheme)} AWAY" if len(failing) == 1 else f"{len(failing)} OUTPUTS AWAY"
    return [(f" {glyphs.off} {words} {format_age(max(of.seconds for of in failing))} ", WARN)]


def recording_lines(recording: RecordingView, width: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the recording as a small panel of two lines."""
    written, free = _recording_volumes(recording)
    style = ALARM if recording.trouble else GOOD
    mark = glyphs.off if recording.trouble else glyphs.on
    room = width - len(free) - 2
    return [
        styled_line(width - len(written) - 1, (f"{mark} REC", style), (" ", PLAIN), (glyphs.rule * width, FAINT))
        + styled_line(len(written) + 1, (f" {written}", FAINT)),
        spread_line(width, [(_recording_folder_name(recording, room, glyphs), PLAIN)], [(free, PLAIN)]),
    ]


def _recording_folder_name(recording: RecordingView, width: int, glyphs: GlyphSet) -> str:
    """Return the last part of the folder's path."""
    name = recording.folder.rstrip("/\\")
    return elide_text(
        glyphs.clean(name[max(name.rfind("/"), name.rfind("\\")) + 1 :] or recording.folder), width, glyphs
    )


def _recording_volumes(recording: RecordingView) -> tuple[str, str]:
    return format_scaled_count(recording.written, "B"), f"{format_scaled_count(recording.free, 'B')} free"


def security_text(link: LinkView) -> str:
    """Return whether the link is encrypted."""
    return "encrypted" if link.secured else "not encrypted"


def _clock_offset_text(link: LinkView) -> str:
    """Return the offset of the device's clock, "" if it is unknown or small."""
    if link.offset_ms is None or not abs(link.offset_ms) > LEAST_CLOCK_OFFSET_MS:
        return ""
    return f"{short_duration(abs(link.offset_ms) / 1000)} {'fast' if link.offset_ms > 0 else 'slow'}"


def monitor_panel(bed: BedView, snapshot: WardSnapshot, width: int, height: int, glyphs: GlyphSet) -> list[StyledLine]:
    """Return the state of the monitor: the most important rows that fit, of delays, link, recording and device."""
    room = max(1, width - LABEL_WIDTH)
    link, recording = snapshot.link, snapshot.recording
    latency = bed.latency
    offset = _clock_offset_text(link)
    rows: list[tuple[int, str, str, Style]] = [
        (0, "delay", f"{latency.algorithmic_ms:.0f} ms algorithm" if latency else "--", PLAIN),
        (0, "added", f"{latency.added_p50_ms:.1f} ms, p99 {latency.added_p99_ms:.1f}" if latency else "--", PLAIN),
        (0, "link", _link_delay_text(bed, link, room), PLAIN),
        (1, "security", security_text(link), PLAIN),
    ]
    if offset:
        rows.append((0, "clock", f"device {offset}", EVENT_STYLES["gap"]))
    if link.is_store:
        rows = []  # a store has no beats on their way, and no packets
    if recording:
        style = ALARM if recording.trouble else PLAIN
        rows.append((0, "record", _recording_folder_name(recording, room, glyphs), style))
        rows.append((0, "", ", ".join(_recording_volumes(recording)), style))
    if not link.is_store:
        rows += [
            (2, "device", snapshot.device, PLAIN),
            (2, "weights", snapshot.weights, PLAIN),
            (1 if link.rejected else 3, "packets", f"{link.packets:,}, {link.rejected:,} rejected", PLAIN),
        ]
    rows += [
        (4, "store" if link.is_store else "endpoint", link.endpoint, PLAIN),
        (5, "running", format_sample_clock(round(snapshot.now_s - snapshot.started_s) * FS), PLAIN),
    ]
    # The rows of the lowest ranks stay, in the order in which they stand
    ranks = sorted(row[0] for row in rows)[: max(0, height - 1)]
    lines = [title_line("MONITOR", width, glyphs)]
    for rank, name, value, style in rows:
        if rank in ranks:
            ranks.remove(rank)
            text = elide_text(glyphs.clean(value), room, glyphs)
            lines.append(styled_line(width, (f"{name:<{LABEL_WIDTH}}", FAINT), (text, style)))
    return lines


def _link_delay_text(bed: BedView, link: LinkView, width: int) -> str:
    """Return the link's part of the delay, and the round trip."""
    delay = short_duration(bed.latency.link_ms / 1000) if bed.latency and bed.latency.link_ms else "--"
    if link.round_trip_ms is None:
        return delay
    trip = short_duration(link.round_trip_ms / 1000)
    whole = f"{delay}, round trip {trip}"
    return whole if len(whole) <= width else f"{delay}, trip {trip}"


def monitor_summary_lines(
    bed: BedView, snapshot: WardSnapshot, size: tuple[int, int], glyphs: GlyphSet
) -> list[StyledLine]:
    """Return the state of the monitor in one, two or three lines, for a small terminal; `size` columns and lines.

    Where the delays have no line of their own, a large one stands in the last line.
    """
    width, height = size
    offset = _clock_offset_text(snapshot.link)
    clock: list[StyledPart] = [(f" clock {offset} ", EVENT_STYLES["gap"])] if offset else []
    if height > 2:
        delay = spread_line(width, [(" delay ", FAINT), (_delay_text(bed.latency), PLAIN)], clock)
        return [bed_ledger_line(bed, width), delay, _about_line(snapshot, [], width, glyphs)]
    large: list[StyledPart] = [(f" {text} ", EVENT_STYLES["gap"]) for text in [_large_delay_text(bed.latency)] if text]
    about = _about_line(snapshot, [*large, *clock], width, glyphs)
    return [bed_ledger_line(bed, width), about] if height == 2 else [about]


def _delay_text(latency: LatencySummary | None) -> str:
    """Return what the delay of a bed's beats consists of, -- where it is not known."""
    if latency is None:
        return "--"
    added = f"{latency.added_p50_ms:.1f} ms added (p99 {latency.added_p99_ms:.1f})"
    link = f" + {short_duration(latency.link_ms / 1000)} link" if latency.link_ms else ""
    return f"{latency.algorithmic_ms:.0f} ms algorithm + {added}{link}"


def _large_delay_text(latency: LatencySummary | None) -> str:
    """Return the whole delay of a bed's beats where link and monitor have a large part in it, "" where not."""
    if latency is None:
        return ""
    avoidable_ms = latency.added_p50_ms + (latency.link_ms or 0.0)
    whole = short_duration((latency.algorithmic_ms + avoidable_ms) / 1000)
    return f"delay {whole}" if avoidable_ms > LARGE_DELAY_MS else ""


def _about_line(snapshot: WardSnapshot, warnings: Sequence[StyledPart], width: int, glyphs: GlyphSet) -> StyledLine:
    """Return warnings, what the monitor runs on, and what it is not."""
    link = snapshot.link
    disclaimer: StyledPart = (f" {DISCLAIMER} ", FAINT)
    room = width - len(disclaimer[0]) - 1 - sum(cell_width(text) for text, _ in warnings)
    dot = f" {glyphs.bullet} "
    runs_on = [link.endpoint] if link.is_store else [security_text(link), snapshot.device, snapshot.weights]
    about = elide_text(glyphs.clean(dot.join(runs_on)), room, glyphs)
    packets = "" if link.is_store else f"{dot}{link.packets:,} packets, {link.rejected:,} rejected"
    about += packets if cell_width(about) + len(packets) <= room else ""
    return spread_line(width, [*warnings, (f" {about}", FAINT)], [disclaimer])
