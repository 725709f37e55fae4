"""What the columns of a table are: its clock, and the leads with their names and units."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.errors import RecordError
from model.formats.file_options import MOST_SIGNALS, NO_UNIT, UNITS, is_usual_rate, read_unit
from model.formats.text_layout import CLOCK, MISSING, NUMBER, STAMP, WORD, TextLayout, cell_kind
from model.records.lead_choice import rank_leads

BEAT_COLUMNS = (187, 188)
"""Columns of the tables of beats cut out by Kachuee et al. 2018, without and with their class."""
LEAST_COUNTED = 0.98
"""Share of steps of one in a column that counts samples."""
MOST_WORDS = 0.5
"""Share of words in a column, beyond which it is none of samples."""

_TIME_UNIT_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
_GUESSED_UNITS = ("s", "ms", "us", "ns")
_MULTIPLE = re.compile(r"^(\d+(?:\.\d+)?) ?([a-z\u03bc].*)$")
_TIME_WORDS = (
    (re.compile(r"^(s|secs?|seconds?|sekunden?)$"), "s"),
    (re.compile(r"^(ms|msec|millis|milli ?seconds?)$"), "ms"),
    (re.compile(r"^(us|\u03bcs|usec|micros|micro ?seconds?)$"), "us"),
    (re.compile(r"^(ns|nsec|nanos|nano ?seconds?)$"), "ns"),
    (re.compile(r"^(min|mins|minutes?|minuten)$"), "min"),
    (re.compile(r"^(h|hrs?|hours?|stunden?)$"), "h"),
)
_TIME_NAME = re.compile(
    r"\b(time|times|timestamps?|date|datetime|elapsed|clock|zeit|temps|tiempo|tempo|epoch|unix)|^t$|time$|^h+:m+"
)
_COUNTER_NAME = re.compile(
    r"^(samples?|sample (#|no|nr|number|index|num)|index|idx|i|n|nr|no|#|nseq|seq|sequence|counter|count|row|frame"
    r"|packet|unnamed:? ?0?|)$"
)
_NO_SIGNAL_NAME = re.compile(
    r"^(beats?|run|labels?|class(es)?|annotations?|symbols?|notes?|comments?|events?|markers?|triggers?|[io][1-4])$"
    r"|acc(el|elero\w*)?\b|^acc|gyro|magnet|battery|quality|lead.?off"
)
_NAME_WITH_UNIT = re.compile(r"^(.*?)[\s_]*[(\[]\s*([^)\]]*?)\s*[)\]]$")
_NAME_ENDS_IN_UNIT = re.compile(r"^(.*?)[\s_/,-]+([^\s_/,-]+)$")

EPOCHS = ((1e9, 4e9, 1.0), (1e12, 4e12, 1e-3), (1e15, 4e15, 1e-6), (1e18, 4e18, 1e-9))
"""Ranges of stamps that count from 1970, and the seconds in one of their units."""


@dataclass(frozen=True, slots=True)
class ClockColumn:
    """A column that says when its samples were taken.

    `kind`: what its cells hold. `scale_s`: seconds in a unit of a NUMBER, None where that is not known. `epoch`: a
    number counts from 1970. `step`: how much a NUMBER grows from sample to sample, 1 for a counter of samples.
    `day_first`: of the dates of a STAMP, None where nobody knows.
    """

    place: int
    kind: int
    scale_s: float | None = None
    epoch: bool = False
    step: float = 1.0
    day_first: bool | None = True


@dataclass(frozen=True, slots=True)
class LeadColumn:
    """A column of samples. `unit` is "" where the table does not say it."""

    place: int
    name: str
    unit: str


def read_columns(path: Path, layout: TextLayout) -> tuple[tuple[ClockColumn, ...], tuple[LeadColumn, ...]]:
    """Return the clocks of a table, the best one first, and its leads. Raises RecordError if it has no leads."""
    if layout.columns in BEAT_COLUMNS and _are_cut_out_beats(layout):
        raise RecordError(
            f"{path.name} is a table of beats that are cut out and normalised, not a recording: "
            "nothing in it says when a beat was"
        )
    if layout.columns > MOST_SIGNALS:
        raise RecordError(
            f"{path.name} has {layout.columns} columns, which are no leads of an ECG: keep the leads, a row a sample"
        )
    clocks: list[ClockColumn] = []
    leads: list[LeadColumn] = []
    for place in range(layout.columns):
        cells = [row[place] for row in layout.rows if place < len(row)]
        found = [cell_kind(cell, layout.decimal) for cell in cells]
        kinds = [kind for kind in found if kind != MISSING]
        if not kinds:
            if layout.titles[place] and not _is_no_signal(layout, place):
                leads.append(_read_lead(layout, place))
            continue
        kind = max(set(kinds), key=kinds.count)
        if kind in (CLOCK, STAMP):
            clocks.append(ClockColumn(place, kind))
        elif kind == NUMBER and kinds.count(WORD) <= MOST_WORDS * len(kinds):
            values = np.array([_to_number(cell, layout.decimal) for cell in cells])
            clock = _read_clock(layout, place, values)
            if clock is not None:
                clocks.append(clock)
            elif not _is_no_signal(layout, place):
                leads.append(_read_lead(layout, place))
    if not leads:
        raise RecordError(f"{path.name} has no column of samples: it needs a row a sample and a column a lead")
    return tuple(sorted(clocks, key=lambda clock: _clock_rank(layout, clock))), _settle_other_units(leads)


def _is_no_signal(layout: TextLayout, place: int) -> bool:
    """Whether the title of a column says that it is none of samples, such as a time that does not go on."""
    plain = _plain_title(layout.titles[place])
    return bool(_NO_SIGNAL_NAME.search(plain) or (layout.columns > 1 and _TIME_NAME.search(plain)))


def _are_cut_out_beats(layout: TextLayout) -> bool:
    """Whether rows are single beats, normalised to 0 to 1, with or without a class."""
    values = np.array(
        [[_to_number(cell, layout.decimal) for cell in row] for row in layout.rows if len(row) == layout.columns]
    )
    return bool((values[:, : BEAT_COLUMNS[0]] >= 0).all() and (values[:, : BEAT_COLUMNS[0]] <= 1).all())


def _to_number(cell: str, decimal: str) -> float:
    value = float(cell.replace(",", ".")) if cell_kind(cell, decimal) == NUMBER else np.nan
    return value if np.isfinite(value) else np.nan


def _plain_title(title: str) -> str:
    """Return a title in small letters without its unit and signs."""
    match = _NAME_WITH_UNIT.match(title)
    return re.sub(r"[_\s]+", " ", (match[1] if match else title).casefold()).strip()


def _stated_unit(layout: TextLayout, place: int) -> tuple[str, str]:
    """Return the name of a column and its unit, "" for none: from a row of units, or the end of the title."""
    title, unit = layout.titles[place], layout.units[place].strip("()[]")
    if unit:
        return title, unit
    if match := _NAME_WITH_UNIT.match(title):
        return match[1], match[2]
    match = _NAME_ENDS_IN_UNIT.match(title)
    if match and (match[2].casefold() in UNITS or match[2].casefold() in _TIME_UNIT_S):
        return match[1], match[2]
    return title, ""


def _read_lead(layout: TextLayout, place: int) -> LeadColumn:
    name, unit = _stated_unit(layout, place)
    if name.casefold() in UNITS and not unit:  # a title that is a unit
        name, unit = "", name
    return LeadColumn(place, name, read_unit(unit))


def _settle_other_units(leads: list[LeadColumn]) -> tuple[LeadColumn, ...]:
    """Give columns that are no ECG by their names, and state no unit, the one that says so: nobody is asked for it."""
    usable = set(rank_leads([lead.name for lead in leads]))
    return tuple(
        lead if lead.unit or i in usable or len(leads) == 1 else LeadColumn(lead.place, lead.name, NO_UNIT)
        for i, lead in enumerate(leads)
    )


def _read_clock(layout: TextLayout, place: int, values: np.ndarray) -> ClockColumn | None:
    """Return the clock that a column of numbers is, by its title or, without one, because it only grows."""
    title = layout.titles[place]
    name, unit = _stated_unit(layout, place)
    plain, unit = _plain_title(name), unit.casefold().replace("\u00b5", "\u03bc")
    multiple, unit = (float(found[1]), found[2]) if (found := _MULTIPLE.match(unit)) else (1.0, unit)
    named_unit = next((s for pattern, s in _TIME_WORDS if pattern.match(unit) or pattern.match(plain)), None)
    steps = np.diff(values[~np.isnan(values)])
    if not len(steps):
        return None
    grows = bool((steps >= 0).all() and steps.any())
    if _COUNTER_NAME.match(plain) and title and not named_unit and grows:
        return ClockColumn(place, NUMBER)
    if not (named_unit or _TIME_NAME.search(plain)):
        nameless = not title or (place == 0 and layout.columns > 1 and read_unit(unit) == unit)
        if not (nameless and grows and layout.columns > 1 and place == 0 and _is_even(steps)):
            return None
    elif not grows and np.median(steps) <= 0:
        return None
    for low, high, scale_s in EPOCHS:
        if low <= np.nanmin(values) <= high and (named_unit is None or _TIME_UNIT_S[named_unit] == scale_s):
            return ClockColumn(place, NUMBER, scale_s, epoch=True)
    if named_unit:
        return ClockColumn(place, NUMBER, multiple * _TIME_UNIT_S[named_unit])
    usual = 2.01 * np.median(steps)
    step = float(np.mean(steps[steps <= usual] if usual > 0 else steps))
    if (steps == 1).mean() > LEAST_COUNTED:
        return ClockColumn(place, NUMBER)
    scales = (_TIME_UNIT_S[guessed] for guessed in _GUESSED_UNITS if not unit)
    scale = next((scale for scale in scales if step > 0 and is_usual_rate(1 / (step * scale))), None)
    return ClockColumn(place, NUMBER, scale, step=step)


def _is_even(steps: np.ndarray) -> bool:
    """Whether a column grows as a clock does: hardly a step is longer than twice the usual one."""
    return bool((steps <= 2.01 * np.median(steps)).mean() > 0.9)


def _clock_rank(layout: TextLayout, clock: ClockColumn) -> tuple[bool, float, int]:
    """Return a key that puts the finest clock first: numbers before texts, counters of samples last."""
    cells = [row[clock.place] for row in layout.rows if clock.place < len(row)]
    repeated = 1 - len(set(cells)) / max(1, len(cells))
    return (clock.kind == NUMBER and clock.scale_s is None, round(repeated, 1), clock.kind)
