"""What people did to the beds of a fleet, as its store tells it: settings, silences, pauses, acknowledgements."""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from agent.core.alarm_settings import AlarmConfig
from agent.core.bed_settings import BedSettings
from agent.core.events import AlarmsHandled, BedSettingsChanged
from agent.core.messages import Alarm
from agent.core.views import LoggedEvent
from agent.store.store_messages import Deed
from model.text import make_printable

KEPT_DEEDS = 200
"""Latest deeds that stand among the events."""


class FleetDeeds:
    """The deeds up to now. How long a silence or a pause lasts the monitors know; here it is as in our settings."""

    def __init__(self, alarms: AlarmConfig) -> None:
        self._silence_s, self._pause_s = alarms.silence_s, alarms.pause_alarms_s
        self.settings: dict[str, BedSettings] = {}
        """Of each bed that somebody gave some, the latest."""
        self.events: deque[LoggedEvent] = deque(maxlen=KEPT_DEEDS)
        self._latest = -1
        self._silenced_s: dict[str, float] = {}
        self._paused_s: dict[str, float] = {}
        """When a bed was silenced, and when its alarms were paused, by our clock."""

    def follow(self, deeds: Iterable[Deed], offset_s: float) -> None:
        """Take deeds in their order. `offset_s`: our clock minus that of the store."""
        for deed in deeds:
            if deed.number > self._latest:
                self._latest = deed.number
                self._follow(deed, deed.at_s + offset_s)

    def silenced_until_s(self, bed: str, shown: Sequence[Alarm]) -> float:
        """Return until when a bed is silent; 0 if it is not, or since a later alarm of high priority ended that."""
        at_s = self._silenced_s.get(bed)
        if at_s is None or any(alarm.priority == "high" and alarm.announced_s > at_s for alarm in shown):
            return 0.0
        return at_s + self._silence_s

    def paused_until_s(self, bed: str) -> float:
        """Return until when all alarms of a bed are paused; 0 if they are not."""
        at_s = self._paused_s.get(bed)
        return 0.0 if at_s is None else at_s + self._pause_s

    def _follow(self, deed: Deed, at_s: float) -> None:
        by = make_printable(deed.by or deed.replica)
        if deed.kind == "settings":
            try:
                settings = msgspec.json.decode(deed.data, type=BedSettings)
            except (ValueError, msgspec.DecodeError):  # of a later version
                return
            self.settings[deed.bed] = settings
            self.events.append(LoggedEvent(BedSettingsChanged(deed.bed, "", 0, by, settings), at_s))
            return
        if deed.kind in ("silenced", "sounding again"):
            _note_or_forget(self._silenced_s, deed.bed, at_s, deed.kind == "silenced")
        elif deed.kind in ("paused", "on again"):
            _note_or_forget(self._paused_s, deed.bed, at_s, deed.kind == "paused")
        self.events.append(LoggedEvent(AlarmsHandled(deed.bed, "", 0, deed.kind, by), at_s))


def _note_or_forget(times: dict[str, float], bed: str, at_s: float, on: bool) -> None:
    if on:
        times[bed] = at_s
    else:
        times.pop(bed, None)
