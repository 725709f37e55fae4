"""Samples in a JSON value, as datagrams and messages of a broker carry them.

A number is a sample of one lead, an array a sample of several, an array of arrays several samples. An object names its
leads: of numbers it is one sample, of arrays several. What is no number in an object, such as the name of a device, is
left out; its "seq" numbers the samples.
"""

import json
from math import isfinite, nan
from typing import Any, NamedTuple

SEQUENCE_KEY = "seq"


class JsonRows(NamedTuple):
    """Rows of numbers, NaN for null; `names` of the columns, if any; `sequence`: the number of the first row."""

    rows: list[tuple[float, ...]]
    names: tuple[str, ...] = ()
    sequence: int | None = None


def parse_json_rows(text: str) -> JsonRows | None:
    """Return the rows of a JSON value, None where it holds none."""
    try:
        value = json.loads(text)
        return _rows_of_object(value) if isinstance(value, dict) else _rows_of_array(value)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None


def _rows_of_object(value: dict[str, Any]) -> JsonRows | None:
    sequence = value.pop(SEQUENCE_KEY, None)
    columns = {name: item for name, item in value.items() if item is None or isinstance(item, list) or _is_number(item)}
    if not columns:
        return None
    lists = [item for item in columns.values() if isinstance(item, list)]
    if lists and len(lists) < len(columns):
        columns = {name: item for name, item in columns.items() if isinstance(item, list)}
    rows = list(zip(*lists, strict=True)) if lists else [tuple(columns.values())]
    return JsonRows(
        [_to_row(row) for row in rows],
        tuple(columns),
        sequence if isinstance(sequence, int) and not isinstance(sequence, bool) else None,
    )


def _rows_of_array(value: Any) -> JsonRows | None:
    if not isinstance(value, list):
        value = [value]
    if value and all(isinstance(item, list) for item in value):
        return JsonRows([_to_row(row) for row in value])
    return JsonRows([_to_row(value)]) if value else None


def _to_row(items: Any) -> tuple[float, ...]:
    """Return numbers, NaN for null. Raises ValueError for anything else."""
    if not all(item is None or _is_number(item) for item in items):
        raise ValueError("not a row of numbers")
    return tuple(nan if item is None else float(item) for item in items)


def _is_number(item: object) -> bool:
    is_number = isinstance(item, int | float) and not isinstance(item, bool)
    return is_number and (item != item or isfinite(item))  # type: ignore[arg-type]  # it is a number
