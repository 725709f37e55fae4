"""The slowest and the fastest heart rate that an alarm named: it may be judged on fewer intervals than a mean."""

import re
from dataclasses import dataclass

from agent.report.bed_recording import BedRecording

_RATE = re.compile(r"HR ([0-9.]+) ([<>]) ")
"""The reason of a rate alarm, as `agent.alarms.rate_limits` puts it."""


@dataclass(frozen=True, slots=True)
class AlarmedRates:
    """The least rate alarmed as low and the greatest alarmed as high, each with its time; None without one."""

    slowest: tuple[float, float] | None = None
    fastest: tuple[float, float] | None = None


def find_alarmed_rates(recording: BedRecording) -> AlarmedRates:
    """Return the extremes of the rates that the alarms of a recording name."""
    low: list[tuple[float, float]] = []
    high: list[tuple[float, float]] = []
    for alarm in recording.alarms:
        found, at_s = _RATE.match(alarm.text), recording.time_of(alarm.run, alarm.announced)
        if found is None or at_s is None:
            continue
        try:
            rate = float(found[1])
        except ValueError:
            continue
        (low if found[2] == "<" else high).append((rate, at_s))
    return AlarmedRates(min(low, default=None), max(high, default=None))
