"""What people want of the alarms of each bed: its settings, and pauses; the next results tell what that changes."""

from collections.abc import Callable, Mapping, Sequence

from agent.alarms.alarm_feed import AlarmFeed
from agent.analysis.sample_ring import SampleRing
from agent.core.alarm_settings import AlarmConfig
from agent.core.bed_settings import NO_SETTINGS, BedSettings, check_settings
from agent.core.events import AlarmsHandled
from agent.core.messages import Result
from agent.pipeline.monitored_bed import MonitoredBed

LaterSettings = Sequence[tuple[int, BedSettings]]
"""Settings, each with the sample from which on it holds."""


class BedCare:
    """Settings and pauses of all beds of a pipeline; `emit` takes events."""

    def __init__(
        self, alarms: AlarmFeed, ring: SampleRing, config: AlarmConfig, emit: Callable[[Result], object]
    ) -> None:
        self._alarms, self._ring, self._config, self._emit = alarms, ring, config, emit
        self._known: dict[str, tuple[BedSettings, LaterSettings]] = {}
        """Settings of beds that have not come yet, and what they are to be later in the run."""
        self._planned: list[int] = []

    def know(self, name: str, settings: BedSettings, later: LaterSettings = ()) -> None:
        """Let a bed have these settings once it comes, and later ones from samples of its first run on."""
        self._known[name] = settings, later

    def admit(self, bed: MonitoredBed) -> None:
        """Give a new bed the settings that are known of it."""
        settings, later = self._known.pop(bed.name, (NO_SETTINGS, ()))
        if settings != NO_SETTINGS:
            self._alarms.apply_settings(bed.row, settings)
        for sample, changed in later:
            self._alarms.plan_settings(bed.row, sample, changed)
            self._planned.append(bed.row)

    def settle(self) -> None:
        """Let all beds have the last settings that were known of them, wherever their runs stand."""
        for row in self._planned:
            self._alarms.apply_planned_settings(row)
        self._planned.clear()

    def settings(self, bed: MonitoredBed) -> BedSettings:
        """Return the settings of a bed."""
        return self._alarms.rules(bed.row).settings

    def change(self, bed: MonitoredBed, settings: BedSettings) -> int:
        """Let a bed have other settings from its present sample on, and return that.

        Raises ValueError, which names the keys, if they make no sense.
        """
        check_settings(settings, self._config)
        return self._alarms.apply_settings(bed.row, settings)

    def pause(self, bed: MonitoredBed, now_s: float) -> bool:
        """Pause all alarms of a bed for a while; called again while they are paused, end that. Return if paused."""
        self._alarms.pause(bed.row, now_s)
        return self._alarms.rules(bed.row).manager.paused_until_s > 0

    def end_pauses(self, beds: Mapping[str, MonitoredBed], now_s: float) -> None:
        """End the pauses whose time is over: what still stands is told."""
        for bed in beds.values():
            if 0 < self._alarms.rules(bed.row).manager.paused_until_s <= now_s:
                self._alarms.end_pause(bed.row)
                sample = int(self._ring.head[bed.heard_row])
                self._emit(AlarmsHandled(bed.name, bed.run, sample, "pause over", ""))
