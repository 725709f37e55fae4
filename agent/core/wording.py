"""Events in words for people, and alarms and times as lines of text have them. An alarm's reason is made by its
rule."""

from collections.abc import Sequence

from agent.core.bed_settings import settings_words
from agent.core.events import (
    AlarmsHandled,
    Backfilled,
    BedsBackfilled,
    BedSettingsChanged,
    DeviceNote,
    DiskSpaceChanged,
    Event,
    EventsOmitted,
    EventText,
    GapClosed,
    HeardLeadChanged,
    JoinedLate,
    LeadScaled,
    LeadState,
    LeadStateChanged,
    LeadTrouble,
    LinkStateChanged,
    LinkTrouble,
    NotificationFailed,
    NotificationSent,
    OtherLeadChanged,
    OutputRestored,
    OutputTrouble,
    PacingPulses,
    PacketRejected,
    RecordingFellBehind,
    RecordingPaused,
    RecordingRepaired,
    RecordingResumed,
    RecordingTrimmed,
    RunEnded,
    RunStarted,
    SamplesBridged,
    StreamRefused,
)
from agent.core.messages import Alarm, Priority
from model.records.resample import FS
from model.text import format_clock, make_printable, shorten_name

MOST_NAMED = 5
LEAD_STATES: dict[LeadState, str] = {
    "ok": "signal is back",
    "lead off": "flat line: lead off?",
    "saturated": "saturated: the signal stands at the rail of the converter",
}
"""A change of the lead in words."""
LEAD_TROUBLES: dict[LeadTrouble, str] = {
    "lead off": "is off",
    "saturated": "is saturated",
    "no value": "has no value",
    "noise": "is noisy",
    "no QRS": "shows no QRS complex",
}
"""Why a lead is no longer heard, in words."""


def event_text(event: Event) -> str:
    """Say an event in one sentence."""
    match event:
        case RunStarted():
            resampled = "" if event.fs == FS else f", resampled from {event.fs:g} Hz"
            beside = f", beside it {', '.join(event.others)}" if event.others else ""
            return f"run {event.run[:8]}, lead {event.lead}{beside}{resampled}"
        case RunEnded():
            return "the run ended"
        case GapClosed():
            return f"gap of {event.seconds:.2f} s: {event.count} samples {event.reason}"
        case JoinedLate():
            return f"joined late: the first {event.seconds:.0f} s of the run are not known"
        case Backfilled():
            return f"{_fetched_text(event.seconds, event.sent_before)}: {event.count} samples"
        case LeadStateChanged():
            return LEAD_STATES[event.state]
        case HeardLeadChanged():
            return f"lead {event.before} {LEAD_TROUBLES[event.trouble]}: {event.lead} is heard now"
        case OtherLeadChanged():
            return f"lead {event.lead}, which is not heard: {LEAD_STATES[event.state]}"
        case SamplesBridged():
            samples, holes = _count_noun(event.count, "sample"), _count_noun(event.holes, "short hole")
            return f"{samples} without a value in {holes}: bridged by a line"
        case PacingPulses():
            return f"{_count_noun(event.count, 'pacemaker pulse')} blanked: no beats"
        case LeadScaled(per_mv=None):
            return f"lead {event.lead} in {event.unit}: waiting for QRS complexes to find its scale from"
        case LeadScaled():
            return f"scale of lead {event.lead} found: 1 mV = {_significant(event.per_mv)} {event.unit}, uncalibrated"
        case StreamRefused():
            return event.reason
        case AlarmsHandled(action="pause over"):
            return "alarms on again: their pause is over"
        case AlarmsHandled():
            return f"alarms {event.action}{f' by {event.by}' if event.by else ''}"
        case BedSettingsChanged():
            by = f" by {event.by}" if event.by else ""
            return f"settings{by}: {settings_words(event.settings) or 'none of its own'}"
        case NotificationSent():
            return f"{_alarm_name(event)} told to {event.target} after {event.seconds:.1f} s"
        case NotificationFailed():
            return f"{_alarm_name(event)} not told to {event.target}: {event.reason}"
        case PacketRejected():
            more = f" ({event.more} more packets since the last report)" if event.more else ""
            of = f"bed '{make_printable(shorten_name(event.name))}': " if event.name else ""
            return f"packet rejected: {of}{event.reason}{more}"
        case EventsOmitted():
            counts = ", ".join(f"{count} {kind}" for kind, count in event.counts)
            return f"{sum(count for _, count in event.counts)} more events, not shown one by one: {counts}"
        case EventText():
            return event.text
        case _:
            return _system_event_text(event)


def _fetched_text(seconds: float, sent_before: bool) -> str:
    """Say how much was fetched again, and whether it was not lost but sent earlier."""
    return f"{seconds:.2f} s {'from before this monitor came fetched' if sent_before else 'fetched again'}"


def _alarm_name(event: NotificationSent | NotificationFailed) -> str:
    """Say which alarm a notification was about."""
    return f"{'end of ' if event.is_over else ''}{event.condition}"


def _significant(value: float | None) -> str:
    """Say a number with three digits at least, and all before the point."""
    return "?" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _count_noun(count: int, noun: str) -> str:
    """Say how many there are of something, with an s where that is not one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def lost_samples_text(recording: str, paths: Sequence[str]) -> str:
    """Say that segments of a recording, by path in it, hold fewer samples than they did; "" if there are none."""
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return f"{recording}: samples are gone from {', '.join(paths[:MOST_NAMED])}{more}" if paths else ""


def _system_event_text(
    event: BedsBackfilled
    | LinkStateChanged
    | LinkTrouble
    | DeviceNote
    | RecordingPaused
    | RecordingResumed
    | RecordingFellBehind
    | RecordingRepaired
    | DiskSpaceChanged
    | RecordingTrimmed
    | OutputTrouble
    | OutputRestored,
) -> str:
    """Say an event of the link, the recording or an output."""
    match event:
        case BedsBackfilled():
            return f"{event.beds} beds: up to {_fetched_text(event.seconds, event.sent_before)}"
        case OutputTrouble():
            lost = f"; {_count_noun(event.dropped, 'message')} lost" if event.dropped else ""
            return f"cannot send to {event.target} ({event.reason.removeprefix(f'{event.target}: ')}){lost}"
        case OutputRestored():
            lost = f"; {_count_noun(event.dropped, 'message')} lost" if event.dropped else ""
            return f"sends again to {event.target} after {event.seconds:.1f} s{lost}"
        case LinkStateChanged():
            return (
                f"packets from {event.endpoint} again"
                if event.is_up
                else f"no packets from {event.endpoint}: waiting for it to come back"
            )
        case LinkTrouble():
            return event.reason
        case DeviceNote():
            return event.text
        case RecordingPaused():
            return f"recording paused: {event.reason}; monitoring goes on"
        case RecordingResumed():
            return f"recording goes on: {event.seconds:.1f} s not recorded"
        case RecordingFellBehind():
            return f"recording fell behind: {event.seconds:.1f} s not recorded"
        case RecordingRepaired():
            return f"recording goes on; segments repaired that a kill had left open: {event.segments}"
        case DiskSpaceChanged(pauses_at=None):
            return f"disk no longer full: {format_megabytes(event.free)} left at {event.folder}"
        case DiskSpaceChanged():
            pauses = format_megabytes(event.pauses_at or 0)
            return (
                f"disk almost full: {format_megabytes(event.free)} left at {event.folder}; recording pauses at {pauses}"
            )
        case RecordingTrimmed(deleted=""):
            limit = format_megabytes(event.limit)
            return f"the recording is over its limit of {limit}: nothing is left to delete"
        case RecordingTrimmed():
            return f"deleted to stay below {format_megabytes(event.limit)}: {event.deleted}"


def format_megabytes(size: float) -> str:
    """Say a size in bytes in whole megabytes."""
    return f"{size / 1_000_000:.0f} MB"


PRIORITY_MARKS: dict[Priority, str] = {"high": "!!!", "medium": "!!", "low": "!"}
"""As IEC 60601-1-8 has it."""


def alarm_text(alarm: Alarm) -> str:
    """Say an alarm in one line: whether it is over, its condition, and why."""
    marks = PRIORITY_MARKS[alarm.priority]
    over = "" if alarm.ended is None else "over: "
    seen = " (seen to)" if alarm.acknowledged_s is not None else ""
    paused = " (alarms paused)" if alarm.paused else ""
    return f"{marks:<3}  {over}{alarm.condition}: {alarm.text}{seen}{paused}"


def sample_time(sample: int) -> str:
    """Say a sample index at 125 Hz as h:mm:ss.ss."""
    return format_clock(sample / FS, decimals=2)
