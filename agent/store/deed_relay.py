"""What people do about beds at one monitor of a fleet, brought to the others, once each.

A deed that comes from elsewhere is done here like one of a person here, and leads to the same event; that event is not
told to the store again.
"""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec

from agent.core.bed_settings import BedSettings
from agent.core.events import CONFIGURED, RESTARTED, AlarmsHandled, BedSettingsChanged
from agent.core.messages import Alarm, AlarmCondition, AlarmIdentity, Result
from agent.monitor.bed_actions import BedActions
from agent.store.fleet_store import new_deed_id
from agent.store.store_messages import Deed, DeedKind

PATIENCE_S = 60.0
"""A deed waits so long for its bed, or the alarms that it acknowledges, to be known here, too."""
LONGEST_BY, MOST_ALARMS = 64, 1000
AlarmPlace = tuple[str, AlarmCondition, int]
"""Run, condition and onset."""
_to_json = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _WaitingDeed:
    """A deed of another monitor: alarms that it still has to acknowledge, and when it came (monotonic)."""

    deed: Deed
    came_s: float
    alarms: set[AlarmIdentity]


class DeedRelay:
    """The deeds on their way in both directions. Only the monitor's thread uses it."""

    def __init__(self) -> None:
        self._waiting: list[_WaitingDeed] = []
        self._expected: Counter[tuple[str, str, str]] = Counter()
        """Events that deeds of others lead to: bed, kind and who, each so many times."""

    def take_in(self, deeds: Sequence[Deed]) -> None:
        """Take deeds of other monitors, in their order."""
        now_s = time.monotonic()
        for deed in deeds:
            identities = {(deed.bed, *alarm) for alarm in deed.alarms}
            self._waiting.append(_WaitingDeed(deed, now_s, identities))

    def act(self, actions: BedActions, beds: Collection[str]) -> None:
        """Do what waits and can be done; forget what has waited for too long."""
        now_s = time.monotonic()
        left = [waiting for waiting in self._waiting if now_s - waiting.came_s < PATIENCE_S]
        self._waiting = [waiting for waiting in left if waiting.deed.bed not in beds or not self._do(waiting, actions)]

    def find_deeds(self, results: Sequence[Result], replica: str) -> list[Deed]:
        """Return what people did here, by the events among the results of a step."""
        deeds: list[Deed] = []
        for item in results:
            alarms: list[AlarmPlace] = []
            data = ""
            if isinstance(item, AlarmsHandled) and item.action != "pause over" and item.by != RESTARTED:
                kind: DeedKind = item.action
                if kind == "acknowledged" and not (alarms := _acknowledged(results, item.bed)):
                    continue
            elif isinstance(item, BedSettingsChanged) and item.by != CONFIGURED:
                kind, data = "settings", _to_json(item.settings).decode()
            else:
                continue
            if not self._is_expected(item.bed, kind, item.by):
                place = new_deed_id(), item.bed, kind, item.by[:LONGEST_BY], time.time(), replica
                deeds.append(Deed(*place, alarms, data))
        return deeds

    def _is_expected(self, bed: str, kind: str, by: str) -> bool:
        key = bed, kind, by
        if not self._expected[key]:
            return False
        self._expected[key] -= 1
        return True

    def _do(self, waiting: _WaitingDeed, actions: BedActions) -> bool:
        """Do a deed; return whether nothing of it is left."""
        deed = waiting.deed
        by = deed.by or deed.replica
        if deed.kind == "acknowledged":
            return self._acknowledge(waiting, actions, by)
        happens = True
        if deed.kind == "settings":
            try:
                actions.change_settings(deed.bed, msgspec.json.decode(deed.data, type=BedSettings), by)
            except (ValueError, msgspec.DecodeError):  # the limits of all beds are others here
                return True
        else:
            silenced_s, paused_s = actions.quiet_until_s(deed.bed)
            on = deed.kind in ("silenced", "paused")
            is_silence = deed.kind in ("silenced", "sounding again")
            happens = on is not ((silenced_s if is_silence else paused_s) is not None)
            if happens:
                (actions.silence if is_silence else actions.pause_alarms)(deed.bed, by, on)
        if happens:
            self._expected[deed.bed, deed.kind, by] += 1
        return True

    def _acknowledge(self, waiting: _WaitingDeed, actions: BedActions, by: str) -> bool:
        found: set[AlarmIdentity] = set()

        def is_seen(identity: AlarmIdentity) -> bool:
            if identity in waiting.alarms:
                found.add(identity)
                return True
            return False

        if waiting.alarms and actions.acknowledge_seen(waiting.deed.bed, by, is_seen):
            self._expected[waiting.deed.bed, "acknowledged", by] += 1
        waiting.alarms -= found
        return not waiting.alarms


def _acknowledged(results: Sequence[Result], bed: str) -> list[AlarmPlace]:
    """Return run, condition and onset of the alarms of a bed that were acknowledged in a step."""
    alarms = (item for item in results if isinstance(item, Alarm) and item.bed == bed)
    return [alarm.identity[1:] for alarm in alarms if alarm.acknowledged_s is not None][-MOST_ALARMS:]
