"""Beats, events, alarms and ledgers as objects of JSON lines, as docs/json-lines.md specifies them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np

from agent.core.clock import format_wall_time
from agent.core.events import Event, event_fields
from agent.core.messages import Alarm, Beat, Ledger
from agent.core.wording import event_text
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

FEWEST_AT_ONCE = 8
"""Beats from which on it pays to round their probabilities together."""


class BeatLine(msgspec.Struct, gc=False, rename={"label": "class"}):
    """A beat with the fields of its line, in their order: written twice as fast as a dict is."""

    type: str
    bed: str
    run: str
    sample: int
    time_s: float
    time: str | None
    label: str
    confidence: float
    probabilities: dict[str, float]
    rr_s: float | None
    heart_rate: float | None
    lead: str | None
    quality: float | None
    algorithmic_ms: float
    added_ms: float | None
    link_ms: float | None


def round_shares(beats: Sequence[Beat]) -> list[list[float]]:
    """The probabilities of beats as their lines have them: of many at once, to round them takes a fifth of the time."""
    if len(beats) < FEWEST_AT_ONCE:
        return [[round(p, 4) for p in beat.probabilities] for beat in beats]
    shares = np.array([beat.probabilities for beat in beats])
    scaled = 10_000 * shares
    whole = np.rint(scaled)
    rounded = whole / 10_000
    for place in zip(*np.nonzero(np.abs(scaled - whole) > 0.4999), strict=True):  # a product is not exact
        rounded[place] = round(shares.item(place), 4)
    found: list[list[float]] = rounded.tolist()
    return found


def beat_line(beat: Beat, shares: Sequence[float], delay_s: float, now_s: float | None, at_s: float | None) -> BeatLine:
    """A beat shown at `now_s`, its R peak at Unix time `at_s`; `delay_s`: what resampling adds to every delay.

    `shares`: its probabilities, rounded. A time that is not known is None, here and below.
    """
    rate, quality = beat.heart_rate, beat.quality
    return BeatLine(
        "beat",
        beat.bed,
        beat.run,
        beat.sample,
        beat.sample / FS,  # not rounded to milliseconds: a sample lasts eight
        format_wall_time(at_s),
        beat.label,
        max(shares),
        dict(zip(CLASSES, shares, strict=True)),
        beat.rr_s,
        None if rate is None else round(rate, 1),
        beat.lead or None,
        None if quality is None else round(quality, 2),
        round(1000 * ((beat.class_known - beat.sample) / FS + delay_s), 1),
        None if now_s is None else round(1000 * (now_s - beat.arrived_s), 3),
        round(1000 * max(0.0, beat.arrived_s - beat.sent_s), 3) if beat.sent_s else None,
    )


def beat_to_json(beat: Beat, delay_s: float, now_s: float | None, at_s: float | None) -> dict[str, Any]:
    """The same as an object that more can be added to."""
    (shares,) = round_shares([beat])
    fields: dict[str, Any] = msgspec.to_builtins(beat_line(beat, shares, delay_s, now_s, at_s))
    return fields


def event_to_json(event: Event, at_s: float | None) -> dict[str, Any]:
    """An event at Unix time `at_s`: its kind, its words for people, and its type with its own fields for programs."""
    of_bed = bool(event.bed)
    return {
        "type": "event",
        "bed": event.bed if of_bed else None,
        "run": event.run if of_bed else None,
        "sample": event.sample if of_bed else None,
        "time_s": round(event.sample / FS, 3) if of_bed else None,
        "time": format_wall_time(at_s),
        "kind": event.kind,
        "text": event_text(event),
        "event": type(event).__name__,
        "data": event_fields(event),
    }


def alarm_to_json(alarm: Alarm, at_s: float | None) -> dict[str, Any]:
    """An alarm as it stands; its condition began at Unix time `at_s`."""
    announced_s, ended_s = (
        None if at_s is None or sample is None else at_s + (sample - alarm.onset) / FS
        for sample in (alarm.announced, alarm.ended)
    )
    return {
        "type": "alarm",
        "bed": alarm.bed,
        "run": alarm.run,
        "sample": alarm.onset,
        "time_s": round(alarm.onset / FS, 3),
        "time": format_wall_time(at_s),
        "condition": alarm.condition,
        "priority": alarm.priority,
        "text": alarm.text,
        "onset": alarm.onset,
        "announced": alarm.announced,
        "ended": alarm.ended,
        "acknowledged_s": alarm.acknowledged_s,
        "latching": alarm.latching,
        "announced_time": format_wall_time(announced_s),
        "ended_time": format_wall_time(ended_s),
        "acknowledged_time": format_wall_time(alarm.acknowledged_s),
        **({"paused": True} if alarm.paused else {}),
    }


def ledger_to_json(bed: str, ledger: Ledger, at_s: float | None) -> dict[str, Any]:
    """The ledger of a bed, as it was at Unix time `at_s`."""
    return {"type": "ledger", "bed": bed, "time": format_wall_time(at_s), **asdict(ledger), "open": ledger.open}
