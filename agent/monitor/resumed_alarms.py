"""Alarms of a recording that goes on after a kill: each stays the one that it was, and none is left open.

A monitor that continues a recording analyses its last minutes again. Since it does not know what came before them, its
alarms may begin at another sample than those in the log, and an alarm is known by its onset. Here each alarm of the new
analysis takes the onset of the logged one that it continues.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from agent.core.messages import Alarm, AlarmIdentity, Result, Strip


class ResumedAlarms:
    """The logged alarms of the runs that beds are in; samples at 125 Hz of the run.

    Parameters
    ----------
    logged
        Alarms of these runs, as the log has them, those of each condition in order.
    stopped_at
        The sample of each bed at which its recording stopped.
    """

    def __init__(self, logged: Iterable[Alarm] = (), stopped_at: Mapping[str, int] | None = None) -> None:
        self._stopped_at: dict[str, int] = {}
        self._free: dict[tuple[str, str, str], list[Alarm]] = {}
        """Logged alarms that no alarm of the new analysis continues, by bed, run and condition."""
        self.add_log(logged, stopped_at or {})
        self._continued: dict[AlarmIdentity, Alarm | None] = {}
        """The logged alarm that one of the new analysis continues; None: it is not to be logged."""
        self._taken: set[AlarmIdentity] = set()
        """The logged alarms that one of the new analysis continues."""

    def add_log(self, logged: Iterable[Alarm], stopped_at: Mapping[str, int]) -> None:
        """Take the log of more beds; parameters as above."""
        self._stopped_at.update(stopped_at)
        for alarm in logged:
            self._free.setdefault(_identify_condition(alarm), []).append(alarm)

    def settle(
        self,
        replayed: Sequence[Alarm | Strip],
        reported_until: Mapping[str, int],
        beds: Collection[str] | None = None,
    ) -> list[Result]:
        """Return what changes in the log once its last minutes were analysed again, with the strips of its alarms.

        Logged alarms that go on stay open, those that are over end, and those that the new analysis does not find end
        where the recording stopped. An alarm that is not in the log is new if it goes on, or was announced after sample
        `reported_until` of its bed, up to which the monitor before has reported all. `beds`: those that were analysed
        again, all if None.
        """
        latest = {item.identity: item for item in replayed if isinstance(item, Alarm)}
        # An alarm that goes on continues the log; of those that are over, the latest knows best when that was.
        for alarm in sorted(latest.values(), key=lambda alarm: (alarm.ended is not None, -alarm.onset)):
            self._match(alarm)
            if alarm.ended is not None and alarm.announced <= reported_until.get(alarm.bed, 0):
                self._continued.setdefault(alarm.identity, None)  # unless it continues a logged one
        changed = [alarm for alarm in latest.values() if self._changes_log(alarm)]
        results = self.rename([*changed, *(item for item in replayed if isinstance(item, Strip))])
        return [*results, *self._end_lost_alarms(beds)]

    def acknowledged(self, alarms: Iterable[Alarm]) -> set[AlarmIdentity]:
        """Return which alarms of the new analysis continue logged ones that a person has acknowledged."""
        known = ((alarm.identity, self._continued.get(alarm.identity)) for alarm in alarms)
        return {identity for identity, logged in known if logged is not None and logged.acknowledged_s is not None}

    def unseen(self, logged: Iterable[Alarm]) -> list[Alarm]:
        """Return the alarms that are over, nobody has acknowledged, and no alarm of the new analysis continues.

        `logged`: all of the log. Those of it that are open are over where the log was taken up without them.
        """
        left = {alarm.identity: alarm for alarms in self._free.values() for alarm in alarms}
        latest = (left.get(alarm.identity, alarm) for alarm in logged if alarm.identity not in self._taken)
        return [alarm for alarm in latest if alarm.ended is not None and alarm.shown]

    def rename(self, results: Sequence[Result]) -> list[Result]:
        """Return the results with each alarm under the onset that the log has of it, without those not to be logged."""
        if not self._stopped_at:
            return list(results)
        renamed = (self._rename(item) if isinstance(item, Alarm | Strip) else item for item in results)
        return [item for item in renamed if item is not None]

    def rename_shown(self, alarms: tuple[Alarm, ...]) -> tuple[Alarm, ...]:
        """Return the alarms of a bed as a person is to see them, under the onsets that the log has."""
        if not self._stopped_at:
            return alarms
        shown = ((alarm, self._continued.get(alarm.identity, alarm)) for alarm in alarms if not self._is_another(alarm))
        return tuple(_continue_alarm(alarm, logged) for alarm, logged in shown if logged is not None)

    def _rename(self, item: Alarm | Strip) -> Alarm | Strip | None:
        alarm = item if isinstance(item, Alarm) else item.alarm
        key = alarm.identity
        if self._is_another(alarm):
            return None
        if key not in self._continued:
            self._match(alarm)
        logged = self._continued.get(key)
        if logged is None:
            return None if key in self._continued else item
        renamed = _continue_alarm(alarm, logged)
        return renamed if isinstance(item, Alarm) else replace(item, alarm=renamed)

    def _is_another(self, alarm: Alarm) -> bool:
        """Return whether an alarm is a logged one that one of the new analysis has turned out to continue."""
        return alarm.identity in self._taken and alarm.identity not in self._continued

    def _match(self, alarm: Alarm) -> None:
        """Note which logged alarm continues in one of the new analysis: the latest of its condition that it meets."""
        free = self._free.get(_identify_condition(alarm), [])
        for logged in reversed(free):
            if self._overlap(alarm, logged):
                self._continued[alarm.identity] = logged
                self._taken.add(logged.identity)
                free.remove(logged)
                return

    def _overlap(self, alarm: Alarm, logged: Alarm) -> bool:
        if alarm.ended is not None and alarm.ended <= logged.onset:
            return False
        is_lost = logged.ended == self._stopped_at.get(alarm.bed)  # its end is not known: it may go on right there
        return logged.ended is None or alarm.onset < logged.ended or (is_lost and alarm.onset == logged.ended)

    def _changes_log(self, alarm: Alarm) -> bool:
        """Return whether the log has an alarm of the new analysis in another state, or not at all."""
        logged = self._continued.get(alarm.identity)
        return logged is None or (logged.ended is None) != (alarm.ended is None)

    def _end_lost_alarms(self, beds: Collection[str] | None) -> list[Alarm]:
        """End the open logged alarms that the new analysis has not found; they may still be found to go on."""
        ended = []
        for alarms in self._free.values():
            for place, alarm in enumerate(alarms):
                if alarm.ended is None and (beds is None or alarm.bed in beds):
                    alarms[place] = replace(alarm, ended=max(alarm.announced, self._stopped_at.get(alarm.bed, 0)))
                    ended.append(alarms[place])
        return ended


def _identify_condition(alarm: Alarm) -> tuple[str, str, str]:
    return alarm.bed, alarm.run, alarm.condition


def _continue_alarm(alarm: Alarm, logged: Alarm | None) -> Alarm:
    """Return an alarm with what is known of the logged one that it continues: onset, announcement, acknowledgement."""
    if logged is None:
        return alarm
    ended = None if alarm.ended is None else max(alarm.ended, logged.announced)
    return replace(
        alarm,
        onset=logged.onset,
        announced=logged.announced,
        announced_s=logged.announced_s,
        ended=ended,
        acknowledged_s=alarm.acknowledged_s if logged.acknowledged_s is None else logged.acknowledged_s,
    )
