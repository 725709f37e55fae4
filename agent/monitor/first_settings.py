"""The settings that beds have when the monitor begins: of its configuration, or of the recording that goes on."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.core.alarm_settings import AlarmConfig
from agent.core.bed_settings import BedSettings, check_settings, without_limits
from agent.core.events import CONFIGURED, BedSettingsChanged
from agent.core.messages import ResumePosition
from agent.pipeline.bed_care import BedCare
from agent.pipeline.monitored_bed import MonitoredBed


class FirstSettings:
    """Gives beds their first settings, and tells those of the configuration once a bed has a run."""

    def __init__(self, care: BedCare, configured: Mapping[str, BedSettings], alarms: AlarmConfig) -> None:
        self._care, self._untold, self._alarms = care, dict(configured), alarms
        for bed, settings in configured.items():
            care.know(bed, settings)

    def resume(self, folder: Path, positions: Mapping[str, ResumePosition], seconds: float) -> None:
        """Let what a recording has of a bed hold instead; its last `seconds` are to be analysed again.

        Limits that contradict those of all beds by now are left out, which is told like other first settings.
        """
        from agent.recording.resume import read_bed_settings

        for recorded in read_bed_settings(folder, positions, seconds):
            self._untold.pop(recorded.bed, None)
            last = recorded.later[-1][1] if recorded.later else recorded.first
            try:
                for settings in (recorded.first, *(settings for _, settings in recorded.later)):
                    check_settings(settings, self._alarms)
            except ValueError:  # [alarms] was changed since, and its limits hold
                self._untold[recorded.bed] = without_limits(last)
                self._care.know(recorded.bed, without_limits(last))
            else:
                self._care.know(recorded.bed, recorded.first, recorded.later)

    def know(self, bed: str, settings: BedSettings) -> None:
        """Let what a store of a fleet has of a bed hold instead, unless it contradicts the limits of all beds."""
        try:
            check_settings(settings, self._alarms)
        except ValueError:
            settings = without_limits(settings)
        self._untold.pop(bed, None)
        self._care.know(bed, settings)

    def news(self, beds: Mapping[str, MonitoredBed]) -> Iterable[BedSettingsChanged]:
        """Return the settings of beds whose first run has begun since the last call."""
        if not self._untold:
            return ()
        begun = [beds[name] for name in self._untold if name in beds and beds[name].run]
        return [BedSettingsChanged(bed.name, bed.run, 0, CONFIGURED, self._untold.pop(bed.name)) for bed in begun]
