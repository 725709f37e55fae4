"""What stands above the samples in exports of watches, straps and laboratory devices."""

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime

from model.formats.file_options import COUNTS, UNITS, read_unit
from model.formats.text_columns import LeadColumn
from model.formats.text_layout import TextLayout

_RATE = re.compile(r"(\d[\d.,]*)\s*(k?)(hz|hertz)\b", re.IGNORECASE)
_NAMED_RATE = re.compile(
    r"\b(?:sampl\w*[ _-]*(?:rate|freq\w*)|fs|frequency)\b[\"']?\s*[:=,;\t ]\s*([\d.]+)\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_LEAD_TITLES = ("lead", "ableitung")
_BITALINO_OTHERS = ("nseq", "di", "i1", "i2", "i3", "i4", "o1", "o2", "o3", "o4")


@dataclass(frozen=True, slots=True)
class StatedAbove:
    """What the lines above a table say: rate in hertz, unit, lead and start; None or "" for what they do not."""

    fs: float | None = None
    unit: str = ""
    lead: str = ""
    start: datetime | None = None


def read_stated_above(layout: TextLayout) -> StatedAbove:
    """Return what the lines above the samples say, such as "Sample Rate,512 Hz" and "Unit,µV" of a watch."""
    rate = _RATE.search(layout.preamble)
    named = _NAMED_RATE.search(layout.preamble)
    fs: float | None = None
    if rate:
        fs = float(rate[1].replace(",", ".").rstrip(".")) * (1000 if rate[2] else 1)
    elif named:
        fs = float(named[1])
    stated = StatedAbove(fs)
    for title, value in map(_split_statement, layout.above):
        if value.casefold() in UNITS:
            stated = replace(stated, unit=read_unit(value))
        if title in _LEAD_TITLES:
            stated = replace(stated, lead=re.sub(r"^(lead|ableitung)\s+", "", value, flags=re.IGNORECASE))
        if ":" in value and stated.start is None:
            stated = replace(stated, start=_read_date(value))
    return stated


def _split_statement(cells: tuple[str, ...]) -> tuple[str, str]:
    """Return the title, in small letters, and the value of a line such as "Unit,µV", "" where it is no statement."""
    if len(cells) == 1:
        cells = tuple(re.split(r"[,;:=\t]", cells[0], maxsplit=1))
    value = cells[1].strip().strip("'\"") if len([cell for cell in cells if cell]) == 2 else ""
    return cells[0].strip().strip("'\":").casefold(), value


def _read_date(text: str) -> datetime | None:
    for form in (text, text.replace(" ", "T", 1), re.sub(r" ([+-]\d{4})$", r"\1", text)):
        try:
            return datetime.fromisoformat(form)
        except ValueError:
            continue
    return None


def read_opensignals(
    layout: TextLayout, leads: tuple[LeadColumn, ...]
) -> tuple[StatedAbove, tuple[LeadColumn, ...]] | None:
    """Return what the header of an OpenSignals text says, and the leads named by it; None if it is none.

    Its samples are counts of the converter.
    """
    found = re.search(r"^#\s*(\{.*\})\s*$", layout.preamble, re.MULTILINE)
    if "OpenSignals" not in layout.preamble or not found:
        return None
    try:
        device = next(iter(json.loads(found[1]).values()))
        columns = [str(name) for name in device["column"]]
        sensors = dict(zip(map(str, device.get("label", ())), map(str, device.get("sensor", ())), strict=False))
        fs = float(device["sampling rate"])
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None
    named: list[LeadColumn] = []
    for lead in leads:
        column = columns[lead.place] if lead.place < len(columns) else ""
        if column.casefold() not in _BITALINO_OTHERS:
            sensor = sensors.get(column, "")
            name = (
                sensor
                if sensor and list(sensors.values()).count(sensor) == 1
                else " ".join(filter(None, (sensor, column)))
            )
            named.append(LeadColumn(lead.place, name, COUNTS))
    start = _read_date(f"{device.get('date', '')}T{device.get('time', '')}")
    return StatedAbove(fs, COUNTS, "", start), tuple(named)
