"""What stands above the samples in exports of watches, straps and laboratory devices."""

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime

from model.formats.file_options import COUNTS, UNITS, is_ecg_rate, is_usual_rate, read_unit
from model.formats.text_columns import LeadColumn
from model.formats.text_layout import TextLayout

_SAMPLING = r"(?:sampl\w*?|abtast\w*?|mess|\w*chantillonn\w*|muestreo|campionamento|amostragem)"
_NUMBER_IN_TEXT = r"(\d[\d.,'\u2019]*(?: \d{3}\b)*)"
_BETWEEN = r"(?:[^\w\n]|_|\b(?:in|is|was|of|at|the|ecg|ekg|k?hz|hertz|sps)\b)*?"
"""What may stand between the name of a rate and its number: neither another name nor another number."""
_NAMED_RATE = re.compile(
    rf"(?:{_SAMPLING}[ _-]*(?:rate|freq\w*|hz)|fr[e\u00e9][qc]\w*\W+(?:d\w*\W+)*{_SAMPLING}"
    rf"|(?<![a-z])(?:fs|sfreq|samples?(?: per |/)s(?:ec(?:ond)?s?)?))(?![a-z])({_BETWEEN}){_NUMBER_IN_TEXT}"
    r"[ ]*((?:k?hz|hertz|sps)?)(?![a-z\d])",
    re.MULTILINE,
)
_SAMPLED_AT = re.compile(
    rf"(?:{_SAMPLING}|^\W*rate)(?![a-z])({_BETWEEN}){_NUMBER_IN_TEXT}[ ]*(k?hz|hertz|sps)\b", re.MULTILINE
)
_LINE_OF_RATE = re.compile(rf"^([\W_]*){_NUMBER_IN_TEXT}[ ]*(k?hz|hertz|sps)\W*$", re.MULTILINE)
_THOUSANDS_IN_TEXT = re.compile(r"\d{1,3}([., '\u2019]\d{3})+")
_LEAD_TITLES = ("lead", "ableitung")
_BITALINO_OTHERS = ("nseq", "di", "i1", "i2", "i3", "i4", "o1", "o2", "o3", "o4")


@dataclass(frozen=True, slots=True)
class StatedAbove:
    """What the lines above a table say: rates in hertz, unit, lead and start; nothing or "" for what they do not."""

    rates: tuple[float, ...] = ()
    unit: str = ""
    lead: str = ""
    start: datetime | None = None


def read_stated_above(layout: TextLayout) -> StatedAbove:
    """Return what the lines above the samples say, such as "Sample Rate,512 Hz" and "Unit,µV" of a watch."""
    stated = StatedAbove(_read_rates(layout.preamble))
    for title, value in map(_split_statement, layout.above):
        if value.casefold() in UNITS:
            stated = replace(stated, unit=read_unit(value))
        if title in _LEAD_TITLES:
            stated = replace(stated, lead=re.sub(r"^(lead|ableitung)\s+", "", value, flags=re.IGNORECASE))
        if ":" in value and stated.start is None:
            stated = replace(stated, start=_read_date(value))
    return stated


def _read_rates(text: str) -> tuple[float, ...]:
    """Return the rates in hertz that are named so, or stand in a line of their own: those of filters are none."""
    plain = text.casefold()
    for pattern in (_NAMED_RATE, _SAMPLED_AT, _LINE_OF_RATE):
        rates = [
            rate * (1000 if "khz" in between + unit else 1)
            for between, number, unit in pattern.findall(plain)
            if (rate := _read_rate(number)) is not None
        ]
        if rates:
            return tuple(dict.fromkeys(rates))
    return ()


def _read_rate(text: str) -> float | None:
    """Return the number that can be a rate, of "511.548", "511,548" or "1,000"; None where both or none can."""
    text = text.rstrip(".,'\u2019 ")
    readings = [float(text.replace(",", "."))] if re.fullmatch(r"\d+([.,]\d+)?", text) else []
    if _THOUSANDS_IN_TEXT.fullmatch(text):
        readings.append(float(re.sub(r"\D", "", text)))
    for is_likely in (is_usual_rate, is_ecg_rate):
        likely = [reading for reading in readings if is_likely(reading)]
        if likely:
            return likely[0] if len(likely) == 1 else None
    return readings[0] if readings else None


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
    return StatedAbove((fs,), COUNTS, "", start), tuple(named)
