"""The past of a bed as JSON: its trend by the minute, its alarms, the strip of one; docs/web.md specifies it."""

from typing import Any

import numpy as np

from agent.core.look_back import MINUTE_S, AlarmStrip, BedPast, BedTrend, PastAlarm
from agent.core.messages import Beat, FloatArray
from agent.web.ward_text import Fields, timed_alarm_fields
from agent.web.wave_counts import MICROVOLTS, to_counts


def trend_fields(trend: BedTrend) -> Fields:
    """The trend of a bed: a list for each of its arrays, one value a minute; empty ones where nothing is known."""
    known = bool(np.isfinite(trend.heart_rate).any() or np.isfinite(trend.quality).any())
    minutes = range(trend.first_minute, trend.first_minute + len(trend)) if known else range(0)

    def values(of: FloatArray, digits: int) -> list[float | None]:
        return _known_values(of, digits) if known else []

    return {
        "bed": trend.bed,
        "minute_s": MINUTE_S,
        "t_s": [MINUTE_S * minute for minute in minutes],
        "rate": values(trend.heart_rate, 1),
        "lowest": values(trend.lowest, 1),
        "highest": values(trend.highest, 1),
        "v": values(trend.v_beats, 2),
        "s": values(trend.s_beats, 2),
        "quality": values(trend.quality, 3),
        "missing": values(trend.missing, 3),
        "alarms": [past_alarm_fields(past) for past in trend.alarms],
        "filling": trend.is_filling,
    }


def past_alarms_fields(past: BedPast) -> Fields:
    """The latest alarms of a bed, the newest first."""
    return {
        "bed": past.bed,
        "alarms": [past_alarm_fields(alarm) for alarm in past.alarms],
        "reading": past.reading,
        "trouble": past.trouble or None,
    }


def past_alarm_fields(past: PastAlarm) -> Fields:
    """An alarm with its times; `by`: who acknowledged it, "" at the terminal, None where nobody did."""
    fields = timed_alarm_fields(past.alarm, past.onset_s, past.ended_s)
    return {**fields, "by": past.handled_by, "run": past.alarm.run, "announced": past.alarm.announced}


def strip_fields(strip: AlarmStrip) -> Fields:
    """The signal around the announcement of an alarm."""
    piece = strip.piece
    return {
        "bed": piece.bed,
        "alarm": past_alarm_fields(strip.past),
        "lead": piece.lead,
        "first": piece.first,
        "first_s": piece.first_s,
        "announced": strip.past.alarm.announced,
        "microvolts": MICROVOLTS,
        "counts": to_counts(piece.wave).tolist(),
        "beats": [_beat_fields(beat) for beat in piece.beats],
        "uncalibrated": piece.uncalibrated,
    }


def _beat_fields(beat: Beat) -> dict[str, Any]:
    return {"sample": beat.sample, "label": beat.label, "confidence": round(beat.confidence, 4)}


def _known_values(of: FloatArray, digits: int) -> list[float | None]:
    rounded = np.round(of.astype(np.float64), digits).tolist()
    return [value if value == value else None for value in rounded]  # NaN is not equal to itself
