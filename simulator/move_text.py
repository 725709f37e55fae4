"""What to say of a place where a replay cannot go on."""

from model.text import format_clock


def beyond_end_text(position_s: float, name: str, length_s: float) -> str:
    """Return what to say of a place that a record does not have."""
    there, end = (format_clock(seconds, hour_digits=0) for seconds in (position_s, length_s))
    return f"{there} is not within {name}, which is {end} long"
