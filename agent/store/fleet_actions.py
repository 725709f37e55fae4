"""What people do to beds at a view of a fleet: deeds in its store, which every monitor of the bed then does."""

from collections.abc import Callable, Sequence
from math import inf

from agent.core.bed_settings import NO_SETTINGS, BedSettings
from agent.core.messages import Alarm, AlarmIdentity
from agent.store.deed_relay import LONGEST_BY, MOST_ALARMS, AlarmPlace
from agent.store.fleet_beds import FleetBeds
from agent.store.fleet_deeds import FleetDeeds
from agent.store.fleet_store import new_deed_id
from agent.store.store_messages import Deed, DeedKind
from agent.store.ward_feed import WardFeed


class FleetActions:
    """Leaves deeds in a store, in the name of `by` where nobody else is named.

    Every method that does something raises SourceError while the store is away.
    """

    def __init__(
        self,
        feed: WardFeed,
        beds: Callable[[], FleetBeds],
        deeds: FleetDeeds,
        clock: Callable[[], float],
        by: str,
    ) -> None:
        self._feed, self._beds, self._deeds, self._clock, self._by = feed, beds, deeds, clock, by

    def acknowledge(self, bed: str, by: str = "") -> None:
        """Acknowledge the alarms of a bed that are known here: one that comes meanwhile has not been seen."""
        self._acknowledge(bed, by, [of for of in self._beds().all_alarms(bed) if of.acknowledged_s is None])

    def acknowledge_seen(self, bed: str, by: str, is_seen: Callable[[AlarmIdentity], bool]) -> int:
        """Acknowledge the alarms of a bed that somebody has seen, and no newer one; return how many that were."""
        beds = self._beds()
        told = [of for of in beds.all_alarms(bed) if of.acknowledged_s is None]
        latest: dict[str, float] = {}
        seen = {of.identity for of in told if is_seen(of.identity)}
        for alarm in told:
            if alarm.identity in seen:
                latest[alarm.condition] = max(beds.onset_s(alarm), latest.get(alarm.condition, -inf))
        # Of the alarms of a condition that are over the latest alone is shown: it stands for those before it
        meant = [
            of
            for of in told
            if of.identity in seen or (of.ended is not None and beds.onset_s(of) <= latest.get(of.condition, -inf))
        ]
        self._acknowledge(bed, by, meant)
        return len(meant)

    def silence(self, bed: str, by: str = "", on: bool | None = None) -> None:
        """Silence the alarms of a bed for a while, or let them sound again; `on` None: whichever they are not."""
        is_silent = self.quiet_until_s(bed)[0] is not None
        if on is not is_silent:
            self._do(bed, "sounding again" if is_silent else "silenced", by)

    def pause_alarms(self, bed: str, by: str = "", on: bool | None = None) -> None:
        """Pause all alarms of a bed for a while, or let them come again; `on` as that of `silence`."""
        is_paused = self.quiet_until_s(bed)[1] is not None
        if on is not is_paused:
            self._do(bed, "on again" if is_paused else "paused", by)

    def quiet_until_s(self, bed: str) -> tuple[float | None, float | None]:
        """Return until when (Unix time) alarms of a bed are silenced, and until when paused; None: they are not."""
        now_s = self._clock()
        silenced_s = self._deeds.silenced_until_s(bed, self._beds().alarms(bed))
        paused_s = self._deeds.paused_until_s(bed)
        return silenced_s if silenced_s > now_s else None, paused_s if paused_s > now_s else None

    def settings(self, bed: str) -> BedSettings:
        """Return what somebody gave a bed; what a monitor has from its own configuration is not known."""
        return self._deeds.settings.get(bed, NO_SETTINGS)

    def change_settings(self, bed: str, settings: BedSettings, by: str = "") -> None:  # noqa: ARG002  # never done
        """Raise ValueError: the limits of all beds are those of the monitors, and are not known here."""
        raise ValueError("limits are set at a monitor: they are not known here")

    def _acknowledge(self, bed: str, by: str, alarms: Sequence[Alarm]) -> None:
        if alarms:
            self._do(bed, "acknowledged", by, [alarm.identity[1:] for alarm in alarms][-MOST_ALARMS:])

    def _do(self, bed: str, kind: DeedKind, by: str, alarms: Sequence[AlarmPlace] = ()) -> None:
        who = (by or self._by)[:LONGEST_BY]
        self._feed.do(Deed(new_deed_id(), bed, kind, who, self._feed.store_time_s(self._clock()), alarms=list(alarms)))
