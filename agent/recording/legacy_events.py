"""Events of recordings of layout versions 1 and 2, which kept only their kind and their words.

This is the only place that parses a sentence: the start of a run names the analysed lead, which is needed further on.
All other events stay words.
"""

import re

from agent.core.events import Event, EventText, RunStarted
from model.records.resample import FS

_START_WORDS = re.compile(r"run .{0,8}, lead (?P<lead>.+?)(?:, resampled from (?P<fs>[0-9.]+) Hz)?")


def parse_event_words(kind: str, bed: str, run: str, sample: int, text: str) -> Event:
    """Return the event that was stored as `kind` and `text`: the start of a run as RunStarted, others as EventText.

    The rate of a run has the six digits that its sentence gave it.
    """
    started = _START_WORDS.fullmatch(text) if kind == "start" else None
    if started is None:
        return EventText(kind, bed, run, sample, text)  # type: ignore[arg-type]  # whatever the recording holds
    try:
        fs = float(started["fs"] or FS)
    except ValueError:
        return EventText("start", bed, run, sample, text)
    return RunStarted(bed, run, sample, started["lead"], fs)
