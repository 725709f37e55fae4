"""What is told of beds, alarms, link and recording as JSON; docs/web.md specifies it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from agent.alarms.priorities import CONDITION_SPECS, PRIORITY_RANK
from agent.core.alarm_settings import AlarmConfig
from agent.core.alarm_times import alarm_end_s, alarm_onset_s
from agent.core.bed_settings import LIMIT_NAMES, limits_in_force
from agent.core.clock import format_wall_time
from agent.core.condition_names import SHORT_CONDITIONS
from agent.core.events import Event, PacketRejected
from agent.core.messages import PRIORITIES, Alarm, Ledger
from agent.core.views import BedSummary, BedView, FleetBed, LoggedEvent, WardSnapshot
from agent.core.wording import event_text
from agent.dashboard.alarm_lines import alarm_phase, count_ward_alarms, is_of_earlier_run, merge_recent_alarms
from agent.dashboard.glance import NO_ARRHYTHMIA, rhythm_words
from agent.dashboard.loss import find_loss, rate_text
from agent.dashboard.status import DISCLAIMER
from agent.web.deeds import DEEDS, alarm_key
from model.records.resample import FS
from model.records.wfdb_records import CLASSES

PROTOCOL_VERSION = 1
PACED_WORDS = "not known: most beats are Q"
"""Paced, or not to be told: there are no rules for such a rhythm, and that none alarms says nothing of it."""
SIGNAL_S = 5
"""Seconds at the beginning of the half minute that is looked back on, in which a bed has a signal or is too new."""
Fields = dict[str, Any]
"""An object of JSON."""


def hello_fields(start: str, now_s: float, may_act: bool, most_shown: int) -> Fields:
    """What a browser is told first; `start` is another for each start of the monitor."""
    return {
        "type": "hello",
        "version": PROTOCOL_VERSION,
        "start": start,
        "server_time": format_wall_time(now_s),
        "now_s": now_s,
        "zone": local_offset(now_s),
        "disclaimer": DISCLAIMER,
        "fs": FS,
        "microvolts": 5,
        "may_act": may_act,
        "actions": list(DEEDS),
        "classes": list(CLASSES),
        "priorities": list(PRIORITIES),
        "conditions": [
            {
                "name": name,
                "short": SHORT_CONDITIONS[name],
                "priority": spec.priority,
                "technical": spec.technical,
            }
            for name, spec in CONDITION_SPECS.items()
        ],
        "most_shown": most_shown,
    }


def starting_fields(now_s: float) -> Fields:
    """What a browser is told while the monitor has no ward yet: it analyses the end of its recording again."""
    return {"type": "starting", "now_s": now_s}


def ward_fields(ward: WardSnapshot) -> Fields:
    """What is told of the ward as a whole, without its beds and events."""
    counts = count_ward_alarms(ward.index)
    over = Counter(bed.priority for bed in ward.index if is_over(bed))
    return {
        "type": "ward",
        "now": format_wall_time(ward.now_s),
        "zone": local_offset(ward.now_s),
        "now_s": ward.now_s,
        "started_s": ward.started_s,
        "counts": {
            "beds": len(ward.index),
            **{priority: counts[priority] for priority in PRIORITIES},
            "over": {priority: over[priority] for priority in PRIORITIES},
            "silenced": counts["silenced"],
            "no_data": counts["no data"],
            "no_monitor": counts["no monitor"],
            "store_away": counts["store away"],
            "paused": sum(bed.paused_until_s > ward.now_s for bed in ward.index),
        },
        "link": asdict(ward.link),
        "recording": None
        if ward.recording is None
        else {
            "folder": ward.recording.folder,
            "written": ward.recording.written,
            "free": ward.recording.free,
            "trouble": ward.recording.trouble,
        },
        "ledger": ledger_fields(ward.ledger),
        "device": ward.device,
        "weights": ward.weights,
        "least_confidence": ward.least_confidence,
    }


def index_rows(index: Mapping[str, BedSummary], names: tuple[str, ...], ids: Mapping[str, int]) -> list[list[Any]]:
    """All beds in short, in the order of `names`."""
    rows = []
    for name in names:
        bed = index[name]
        is_paused = bed.paused_until_s > 0
        rows.append([ids[name], name, bed.state, bed.priority, bed.audible, bed.silenced, is_paused, is_over(bed)])
    return rows


def is_over(bed: BedSummary) -> bool:
    """Return whether the alarms of the highest priority that a bed has are all over, and wait for a person."""
    return bed.priority != bed.standing


def alarms_by_priority(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Return alarms by priority, of each those that go on before those that are over, else in their order."""
    return sorted(alarms, key=lambda alarm: (PRIORITY_RANK[alarm.priority], alarm.ended is None), reverse=True)


def rhythm_text(bed: BedView, ward: WardSnapshot) -> str:
    """Say the rhythm of a bed as the terminal does, but "" where no arrhythmia is alarmed and too little is known."""
    words, is_alarmed = rhythm_words(bed, ward)
    if is_alarmed or not words.startswith(NO_ARRHYTHMIA):
        return words
    if bed.fleet is None and not np.isfinite(bed.wave[: SIGNAL_S * FS]).any():
        return ""
    latest = Counter(beat.label for beat in bed.beats if beat.sample >= bed.head - len(bed.wave))
    return PACED_WORDS if 2 * latest["Q"] > latest.total() else words


def told_events(events: tuple[LoggedEvent, ...]) -> list[Fields]:
    """Events in words, without the rejected packets of names that are no bed here: anyone may send under any name."""
    return [event_fields_of(logged) for logged in events if not _is_of_stranger(logged.event)]


def _is_of_stranger(event: Event) -> bool:
    return isinstance(event, PacketRejected) and bool(event.name)


def event_fields_of(logged: LoggedEvent) -> Fields:
    """An event in words."""
    event = logged.event
    return {
        "time": format_wall_time(logged.at_s),
        "bed": event.bed or None,
        "kind": event.kind,
        "text": event_text(event),
    }


def card_fields(bed: BedView, ward: WardSnapshot, number: int) -> Fields:
    """What the wall shows of a bed beside its signal; `number` is its id."""
    text, loss, now_s = rate_text(bed, ward), find_loss(bed, ward), ward.now_s
    rate = int(text) if text.isdigit() else None
    return {
        "id": number,
        "bed": bed.bed,
        "patient": bed.settings.patient,
        "place": bed.settings.place,
        "state": bed.state,
        "rate": None if loss else rate,
        "last_rate": rate if loss else None,
        "last_rate_age_s": loss.age_s if loss and rate is not None else None,
        "rhythm": bed.rhythm_name,
        "rhythm_words": rhythm_text(bed, ward),
        "lead": bed.lead,
        "quality": _round_known(bed.quality, 2),
        "alarms": [alarm_fields(alarm, bed) for alarm in alarms_by_priority(bed.alarms)],
        "silenced_until_s": bed.silenced_until_s if bed.silenced_until_s > now_s else None,
        "paused_until_s": bed.paused_until_s if bed.paused_until_s > now_s else None,
        "off": bed.settings.off,
        "suspended": bed.suspended,
        "refusal": bed.refusal or None,
        "uncalibrated": bed.uncalibrated,
        "run": bed.run,
        "head": bed.head,
        "clock_s": bed.head_s,
        "last_heard_s": bed.arrived_s or None,
        "behind_s": round(bed.behind_s, 2),
        "fleet": None if bed.fleet is None else _fleet_fields(bed.fleet),
    }


def _fleet_fields(fleet: FleetBed) -> Fields:
    """The place of a bed in a fleet; the age of what is alive is left out, so that nothing is sent anew for it."""
    return {
        "speaker": fleet.speaker,
        "runs": fleet.runs,
        "told_s": round(fleet.told_s, 2),
        "replicas": [
            of._replace(silent_s=0.0 if of.is_alive else float(round(of.silent_s)))._asdict() for of in fleet.replicas
        ],
    }


def bed_fields(bed: BedView, ward: WardSnapshot, number: int) -> Fields:
    """All that is told of a bed but its signal."""
    rhythm = bed.rhythm
    return card_fields(bed, ward, number) | {
        "rr_ms": _round_known(rhythm.rr_ms),
        "rmssd_ms": _round_known(rhythm.rmssd_ms),
        "sdnn_ms": _round_known(rhythm.sdnn_ms),
        "counts": rhythm.counts,
        "leads": [{"lead": lead, "quality": _round_known(quality, 2)} for lead, quality in bed.leads],
        "other_leads": [other.lead for other in bed.other_waves],
        "last_alarms": [alarm_fields(alarm, bed) for alarm in merge_recent_alarms(bed)],
        "limits": _limit_rows(bed, ward.base_limits),
        "own_limits": _own_limit_rows(bed, ward.base_limits),
        "gaps": bed.gaps if bed.fleet is None else None,
        "missing": bed.missing,
        "ledger": ledger_fields(bed.ledger),
        "latency": None if bed.latency is None else asdict(bed.latency),
    }


def _limit_rows(bed: BedView, base: AlarmConfig | None) -> list[Fields] | None:
    """The limits in force of a bed; `own`: they are not those of all beds."""
    if base is None:
        return None
    own, limits = bed.settings, limits_in_force(bed.settings, base)
    rate_is_own = own.rate_low_bpm is not None or own.rate_high_bpm is not None
    rate = {"name": "heart rate", "low": limits.rate_low_bpm, "high": limits.rate_high_bpm, "unit": "/min"}
    others = (
        ("pause", limits.pause_s, "s", own.pause_s),
        ("asystole", limits.asystole_s, "s", own.asystole_s),
        ("V beats", limits.v_most_per_min, "/min", own.v_most_per_min),
    )
    return [
        {**rate, "own": rate_is_own},
        *({"name": name, "high": high, "unit": unit, "own": of is not None} for name, high, unit, of in others),
    ]


def _own_limit_rows(bed: BedView, base: AlarmConfig | None) -> list[Fields] | None:
    """What may be set of a bed: each limit by name, its own value, None without one, and that of all beds."""
    if base is None:
        return None
    return [{"name": name, "own": getattr(bed.settings, name), "of_all": getattr(base, name)} for name in LIMIT_NAMES]


def alarm_fields(alarm: Alarm, bed: BedView) -> Fields:
    """An alarm of a bed as it stands."""
    fields = timed_alarm_fields(alarm, alarm_onset_s(alarm, bed), alarm_end_s(alarm, bed))
    return {**fields, "earlier_run": is_of_earlier_run(alarm, bed)}


def timed_alarm_fields(alarm: Alarm, since_s: float, ended_s: float | None) -> Fields:
    """An alarm that began at Unix time `since_s`, and was over at `ended_s`."""
    return {
        "key": alarm_key(alarm.identity),
        "condition": alarm.condition,
        "short": SHORT_CONDITIONS[alarm.condition],
        "priority": alarm.priority,
        "text": alarm.text,
        "phase": alarm_phase(alarm),
        "since": format_wall_time(since_s),
        "since_s": since_s,
        "ended_s": ended_s,
        "acknowledged_s": alarm.acknowledged_s,
        "onset": alarm.onset,
        "ended": alarm.ended,
    }


def ledger_fields(ledger: Ledger) -> Fields:
    """The samples of a bed or of all."""
    return {"sent": ledger.sent, "analysed": ledger.analysed, "missing": ledger.missing, "open": ledger.open}


def local_offset(at_s: float) -> str:
    """Return the offset of the local time here from UTC at a moment, such as +01:00."""
    return datetime.fromtimestamp(at_s).astimezone().isoformat()[-6:]


def _round_known(value: float | None, digits: int = 0) -> float | None:
    return None if value is None else round(value, digits)
