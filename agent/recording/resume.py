"""What a monitor that continues a recording reads of it first: the last signal of each bed, its alarms and settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.core.bed_settings import NO_SETTINGS, BedSettings
from agent.core.events import BedSettingsChanged, LeadScaled
from agent.core.messages import Alarm, Chunk, Gap, ResumePosition
from agent.recording.recorded_segments import replay_chunks
from agent.recording.sessions import RecordedSession
from model.records.resample import FS

PACKET_S = 10.0
"""Signal is read in packets as long as this: the first may begin this much earlier."""


@dataclass(frozen=True, slots=True)
class RecordedSettings:
    """The settings of a bed: those at the begin of what is analysed again, and `later` ones from samples in it on."""

    bed: str
    first: BedSettings = NO_SETTINGS
    later: tuple[tuple[int, BedSettings], ...] = ()


def read_last_signal(folder: Path, positions: Mapping[str, ResumePosition], seconds: float) -> Iterator[Chunk | Gap]:
    """Yield the last `seconds` of the run that each bed is in, and up to 10 s more, in order within each bed."""
    with RecordedSession(folder) as session:
        for bed, at in positions.items():
            first = at.next - round(seconds * at.fs)
            runs = [segment for segment in session.segments(bed) if segment.run == at.run]
            for message in replay_chunks([run for run in runs if run.first + run.count > first], PACKET_S):
                count = message.count if isinstance(message, Gap) else len(message.counts)
                if message.first + count > first:
                    yield message


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


def _replayed_from(at: ResumePosition, seconds: float) -> float:
    """Return the sample at 125 Hz before which nothing is analysed again."""
    return at.next * FS / at.fs - (seconds + PACKET_S) * FS
