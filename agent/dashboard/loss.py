"""What the screen says while nothing comes: for how long, when data last came, and how old what is still shown is."""

from dataclasses import dataclass
from math import isfinite
from textwrap import wrap

import numpy as np
from rich.segment import Segment
from rich.style import Style

from agent.core.clock import format_local_clock
from agent.core.views import LOSSES, BedView, WardSnapshot
from agent.dashboard.lines import StyledLine, StyledPart, cell_width, elide_words, styled_line
from agent.dashboard.styles import FAINT, GOOD, PLAIN, STATE_STYLES, WARN, GlyphSet
from model.records.resample import FS


@dataclass(frozen=True, slots=True)
class DataLoss:
    """Nothing comes of a bed: its last data came at `heard_s` (Unix time), `age_s` ago; None where that is not known.

    `words`: what is lost, the data of the bed, the link, or whoever would tell of it.
    """

    words: str
    heard_s: float | None
    age_s: float | None


def find_loss(bed: BedView, shown: WardSnapshot) -> DataLoss | None:
    """Return the loss of a bed that should send; None while its data come, or where it is over or refused."""
    is_link_lost = shown.link.state == "lost"
    if bed.state in ("refused", "ended", "paused") or not (bed.state in LOSSES or is_link_lost):
        return None
    heard_s = bed.arrived_s or shown.link.heard_s
    age_s = None if heard_s is None else max(0.0, shown.now_s - heard_s)
    return DataLoss(LOSSES.get(bed.state, "LINK LOST"), heard_s, age_s)


def format_age(seconds: float | None) -> str:
    """Return an age in whole seconds, minutes, hours or days; "" where it is not known.

    >>> format_age(25.9), format_age(150.0), format_age(7300.0)
    ('25 s', '2 min', '2 h')
    """
    if seconds is None or not isfinite(seconds):
        return ""
    whole = max(0, int(seconds))
    if whole < 100:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 6000 else f"{whole // 3600} h" if whole < 172_800 else f"{whole // 86_400} d"


def state_words(bed: BedView, shown: WardSnapshot, link: bool = False) -> tuple[str, Style]:
    """Return the state of a bed with the age of a loss; with `link` a lost link before the state says so, too."""
    loss = find_loss(bed, shown)
    text, style = STATE_STYLES[bed.state]
    if loss is None or (bed.state not in LOSSES and not link):
        return text, style
    return f"{loss.words} {format_age(loss.age_s)}".rstrip(), WARN


def rate_text(bed: BedView, shown: WardSnapshot) -> str:
    """Return the heart rate in beats a minute, -- in noise, in an arrest, without a signal, or long without data."""
    rate = bed.rhythm.heart_rate
    if bed.suspended or rate is None or not isfinite(rate):
        return "--"
    loss = find_loss(bed, shown)
    if loss is None:
        return f"{min(rate, 999):.0f}" if bed.state in ("ok", "paused") else "--"
    is_recent = loss.age_s is not None and loss.age_s < shown.last_rate_s
    return f"{min(rate, 999):.0f}" if is_recent and bed.state in ("ok", *LOSSES) else "--"


def rate_style(bed: BedView, shown: WardSnapshot, text: str, fresh: Style = GOOD) -> Style:
    """Return the style of a rate: dim where there is none, or where it is the last one before a loss."""
    return FAINT if text == "--" or find_loss(bed, shown) else fresh


def rate_age(bed: BedView, shown: WardSnapshot, text: str) -> str:
    """Return the age of a rate that is the last one before a loss; "" for one of now."""
    loss = find_loss(bed, shown)
    return format_age(loss.age_s) if loss and text != "--" else ""


def cover_trace(
    trace: list[StyledLine], bed: BedView, shown: WardSnapshot, gutter: int, glyphs: GlyphSet
) -> list[StyledLine]:
    """Return a trace as it is while data come; else dim, with the reason in words across it.

    Parameters
    ----------
    trace
        Letters, wave and time axis, each line with a gutter of `gutter` cells on its left.
    bed, shown
        What it is the trace of.
    gutter
        Cells of the scale.
    glyphs
        The characters to draw with.

    Returns
    -------
    list of StyledLine
        As many lines of the same width.
    """
    columns = sum(cell_width(segment.text) for segment in trace[-1]) - gutter
    rows = _notice_rows(bed, shown, columns, len(trace) - 2, glyphs)
    if not rows:
        return trace
    if find_loss(bed, shown) or bed.state in ("refused", "ended"):
        trace = [[Segment(segment.text, FAINT) for segment in line] for line in trace]
    first = 1 + max(0, (len(trace) - 2 - len(rows)) // 2)
    for place, (text, style) in enumerate(rows, first):
        left = max(0, (columns - cell_width(text)) // 2)
        covered = styled_line(columns, (" " * left, PLAIN), (text, style))
        trace[place] = [*trace[place][:1], *covered] if place else trace[place]
    return trace


def _notice_rows(bed: BedView, shown: WardSnapshot, columns: int, most: int, glyphs: GlyphSet) -> list[StyledPart]:
    """Return why there is no present signal, in lines of at most `columns` cells; nothing where there is one."""
    loss = find_loss(bed, shown)
    if loss is None and bed.state in ("ok", "learning", "paused"):  # what is paused is to be looked at
        return []
    text, style = STATE_STYLES[bed.state]
    if loss is not None:
        since = f" for {format_age(loss.age_s)}" if loss.age_s is not None else ""
        heard = f", last heard {format_local_clock(loss.heard_s)}" if loss.heard_s else ""
        text, style = f"{loss.words}{since}{heard}", WARN
    elif bed.state == "ended" and bed.arrived_s:
        text = f"{text} at {format_local_clock(bed.arrived_s)}"
    elif bed.state == "no signal" and (without_s := _seconds_without_value(bed)) >= 1:
        text = f"{text} for {format_age(without_s)}"
    if bed.state == "refused" and bed.refusal:
        text = f"{text}: {glyphs.clean(bed.refusal)}"
    return [(f"  {row}  ", style) for row in wrap_whole(text, max(1, columns - 4), max(1, most), glyphs)]


def wrap_whole(text: str, width: int, most: int, glyphs: GlyphSet) -> list[str]:
    """Return a text in at most `most` lines of `width` cells; only what even these cannot hold is cut off."""
    rows = wrap(text, width) or [""]
    if len(rows) > most:
        rows[most - 1 :] = [" ".join(rows[most - 1 :])]
    return [elide_words(row, width, glyphs) for row in rows]


def _seconds_without_value(bed: BedView) -> float:
    """Return the seconds at the end of the wave that hold no value."""
    values = np.flatnonzero(~np.isnan(bed.wave))
    return (len(bed.wave) - 1 - int(values[-1]) if len(values) else len(bed.wave)) / FS
