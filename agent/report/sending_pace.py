"""How fast the device sent what was recorded: a replay may run faster than real time, and its samples ahead of clocks.

The times of a report count the samples. The monitor noted the clock beside some of them: where a file begins, where an
alarm was announced, and where an event was reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.report.bed_recording import BedRecording
from model.records.resample import FS

LEAST_PACE = 1.2
"""Times the usual speed from which on a recording counts as sent faster: clocks of devices differ by less."""
LEAST_AHEAD_S, LEAST_SENT_S = 10.0, 1.0
"""Seconds by which the samples are ahead of the clock then, and that the sending took; less proves nothing."""


@dataclass(frozen=True, slots=True)
class SendingPace:
    """Seconds of signal that were sent in a second, and the Unix time `until_s` which that took."""

    times: float
    until_s: float


def measure_sending_pace(recording: BedRecording) -> SendingPace | None:
    """Return how fast the latest run that ran ahead of the clock was sent; None if none did."""
    found, latest = None, dict[str, tuple[float, float]]()
    for run, at_s, clock_s in _clock_marks(recording):
        latest[run] = max(latest.get(run, (at_s, clock_s)), (at_s, clock_s))
    for run, (begin_s, began_s) in _run_begins(recording).items():
        last_s, until_s = latest[run]
        signal_s, sent_s = last_s - begin_s, until_s - began_s
        if sent_s >= LEAST_SENT_S and signal_s >= max(sent_s + LEAST_AHEAD_S, LEAST_PACE * sent_s):
            found = SendingPace(signal_s / sent_s, until_s)
    return found


def _run_begins(recording: BedRecording) -> dict[str, tuple[float, float]]:
    """Return for each run the seconds in it and the Unix time at which its first file begins."""
    begins: dict[str, tuple[float, float]] = {}
    for segment in recording.segments:
        begins.setdefault(segment.run, (segment.first / segment.fs, segment.started_s))
    return begins


def _clock_marks(recording: BedRecording) -> Iterator[tuple[str, float, float]]:
    """Yield run, seconds in it, and the Unix time at which that was reached."""
    for segment in recording.segments:
        yield segment.run, segment.first / segment.fs, segment.started_s
    for alarm in recording.alarms:
        yield alarm.run, alarm.announced / FS, alarm.announced_s
    for clock_s, event in recording.events:
        if event.run and event.sample > 0:
            yield event.run, event.sample / FS, clock_s
