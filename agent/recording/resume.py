"""What a monitor that continues a recording reads of it first: the last signal of each bed, its alarms and settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.core.bed_settings import NO_SETTINGS, BedSettings
from agent.core.events import RESTARTED, AlarmHandling, AlarmsHandled, BedSettingsChanged, LeadScaled
from agent.core.messages import Alarm, Chunk, Gap, ResumePosition
from agent.core.sample_index import nearest_index_at_125_hz
from agent.recording.recorded_segments import replay_chunks
from agent.recording.sessions import RecordedSession
from model.records.resample import FS

_QUIET_ENDS: dict[AlarmHandling, AlarmHandling] = {"paused": "on again", "silenced": "sounding again"}
"""What begins a quiet time of the alarms of a bed, and what ends it."""
PACKET_S = 4.0
"""Signal is read in packets as long as this, which beds pass together: the first may begin this much earlier."""
MOST_BEHIND_S = 240.0
"""Most signal of a bed that may have been recorded and not analysed yet, when the monitor before was killed."""


@dataclass(frozen=True, slots=True)
class RecordedSettings:
    """The settings of a bed: those at the begin of what is analysed again, and `later` ones from samples in it on."""

    bed: str
    first: BedSettings = NO_SETTINGS
    later: tuple[tuple[int, BedSettings], ...] = ()


def read_last_signal(
    folder: Path, positions: Mapping[str, ResumePosition], seconds: float
) -> Iterator[list[Chunk | Gap]]:
    """Yield the end of the run that each bed is in, a message of each bed at a time, in order within each bed.

    It begins `seconds` before the latest recorded beat, or the end, and up to PACKET_S earlier: a monitor that was
    killed may have recorded up to MOST_BEHIND_S that it had not analysed.
    """
    with RecordedSession(folder) as session:
        beds = [_replay(session, bed, at, seconds) for bed, at in positions.items()]
        while messages := [message for bed in beds if (message := next(bed, None)) is not None]:
            yield messages


def _replay(session: RecordedSession, bed: str, at: ResumePosition, seconds: float) -> Iterator[Chunk | Gap]:
    """Yield the end of the run that a bed is in."""
    first = _first_replayed(at, seconds)
    runs = [segment for segment in session.segments(bed) if segment.run == at.run]
    for message in replay_chunks([run for run in runs if run.first + run.count > first], PACKET_S):
        count = message.count if isinstance(message, Gap) else len(message.counts)
        if message.first + count > first:
            yield message


def _first_replayed(at: ResumePosition, seconds: float) -> int:
    """Return the sample, at the rate of the device, from which on the signal is analysed again."""
    behind_s = MOST_BEHIND_S if at.last_beat is None else at.next / at.fs - at.last_beat / FS
    return at.next - round((seconds + min(max(0.0, behind_s), MOST_BEHIND_S)) * at.fs)


def read_scales(folder: Path, positions: Mapping[str, ResumePosition]) -> list[LeadScaled]:
    """Return the scales that were found of leads in raw counts, in the run that each bed is in, in order."""
    with RecordedSession(folder) as session:
        events = (event for bed, at in positions.items() for _, event in session.events(bed, at.run, "signal"))
        return [event for event in events if isinstance(event, LeadScaled)]


def read_logged_alarms(folder: Path, positions: Mapping[str, ResumePosition], seconds: float) -> list[Alarm]:
    """Return the alarms of the run that each bed is in that are open, or ended in the last `seconds`."""
    with RecordedSession(folder) as session:
        return [
            alarm
            for bed, at in positions.items()
            for alarm in session.alarms(bed, at.run)
            if alarm.ended is None or alarm.ended > _replayed_from(at, seconds)
        ]


def read_unseen_alarms(folder: Path) -> list[Alarm]:
    """Return the alarms of all beds and runs that latch and that nobody has acknowledged, those that go on too."""
    with RecordedSession(folder) as session:
        alarms = (alarm for bed in session.beds for alarm in session.alarms(bed))
        return [alarm for alarm in alarms if alarm.latching and alarm.acknowledged_s is None]


def read_bed_settings(folder: Path, positions: Mapping[str, ResumePosition], seconds: float) -> list[RecordedSettings]:
    """Return the settings that each bed had last, and those of the run it is in that came in the last `seconds`."""
    found: dict[str, RecordedSettings] = {}
    with RecordedSession(folder) as session:
        for _, event in session.events(kind="alarm"):
            if not isinstance(event, BedSettingsChanged):
                continue
            at = positions.get(event.bed)
            known = found.get(event.bed, RecordedSettings(event.bed))
            if at is not None and event.run == at.run and event.sample > _replayed_from(at, seconds):
                found[event.bed] = replace(known, later=(*known.later, (event.sample, event.settings)))
            else:
                found[event.bed] = replace(known, first=event.settings, later=())
    return list(found.values())


def read_ended_quiet(
    folder: Path, positions: Mapping[str, ResumePosition], now_s: float, silence_s: float
) -> list[AlarmsHandled]:
    """Return the ends of the pauses, and of the silences of `silence_s`, in which the monitor before was left.

    Neither outlives it. Each is an event at the place where its bed was left. A silence that was over by `now_s`, or
    that a high alarm has broken, ended by itself; the end of a pause is always an event.
    """
    left: dict[tuple[str, AlarmHandling], tuple[float, AlarmsHandled]] = {}
    with RecordedSession(folder) as session:
        for at_s, event in session.events(kind="alarm"):
            if isinstance(event, AlarmsHandled) and event.action != "acknowledged":
                end = _QUIET_ENDS.get(event.action, event.action)
                left.pop((event.bed, "on again" if end == "pause over" else end), None)
                if event.action in _QUIET_ENDS:
                    left[event.bed, end] = at_s, event
        return [
            _end_quiet(event, positions.get(bed), end)
            for (bed, end), (at_s, event) in left.items()
            if end == "on again" or (now_s < at_s + silence_s and not _has_high_alarm_since(session, bed, at_s))
        ]


def _end_quiet(begun: AlarmsHandled, at: ResumePosition | None, action: AlarmHandling) -> AlarmsHandled:
    if at is None:
        return AlarmsHandled(begun.bed, begun.run, begun.sample, action, RESTARTED)
    return AlarmsHandled(begun.bed, at.run, nearest_index_at_125_hz(at.next, at.fs), action, RESTARTED)


def _has_high_alarm_since(session: RecordedSession, bed: str, at_s: float) -> bool:
    return any(alarm.priority == "high" and alarm.announced_s >= at_s for alarm in session.alarms(bed))


def _replayed_from(at: ResumePosition, seconds: float) -> float:
    """Return the sample at 125 Hz before which nothing is analysed again."""
    return _first_replayed(at, seconds) * FS / at.fs - PACKET_S * FS
