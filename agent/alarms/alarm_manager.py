"""The alarms of one bed: announced, held back, latched, acknowledged, silenced, paused, off, over.

A rule raises a condition whenever it sees it, with a sample until which that holds without being seen again, or clears
it. The manager makes alarms of that: at most one open alarm of a condition, and none while a
worse one of its chain is open.

While the alarms are paused they are found and recorded as ever, but neither shown nor told. A new one of high priority
breaks a silence, and does not break a pause: a pause is for what looks like arrest and fibrillation, as when a patient
is washed, and if such alarms broke it people would turn alarms off instead. So a pause ends by itself, and then tells
what still stands. A condition that is off raises nothing, and holds nothing back.
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import Final

from agent.alarms.alarm_order import alarm_urgency, alarmed_rhythm, loudest_priority, order_alarms
from agent.alarms.priorities import CONDITION_SPECS, NOISE_PROOF, SCREEN_ORDER, WORSE_CONDITIONS
from agent.core.messages import Alarm, AlarmCondition, AlarmIdentity, Priority

NO_EXPIRY: Final = 2**62
"""A sample that does not come."""
MOST_LATCHED = 100
"""Latched alarms kept of a bed; older ones are on disk only."""


class _ActiveCondition:
    """A condition that holds since `onset`, through sample `until` unless extended; its alarm once announced."""

    __slots__ = ("alarm", "onset", "text", "until")

    def __init__(self, onset: int, text: str, until: int) -> None:
        self.onset, self.text, self.until = onset, text, until
        self.alarm: Alarm | None = None


class AlarmManager:
    """The alarms of a bed. Samples at 125 Hz of its run; `at_s`, `now_s` are Unix times that are only stored."""

    __slots__ = (
        "_at_s",
        "_bed",
        "_changed",
        "_due",
        "_freed",
        "_held_back",
        "_latch",
        "_latched",
        "_past",
        "_results",
        "_run",
        "loudest",
        "off",
        "open",
        "paused_until_s",
        "rhythm",
        "sample",
        "silenced_until_s",
        "urgency",
        "view",
    )

    def __init__(self, latch: bool) -> None:
        self._latch = latch
        self._bed = self._run = ""
        self._at_s = 0.0
        self.sample = 0
        """The present sample of the bed: alarms are announced and over at it."""
        self.open: dict[AlarmCondition, _ActiveCondition] = {}
        self._held_back: dict[AlarmCondition, _ActiveCondition] = {}
        self._latched: list[Alarm] = []
        self._past: dict[AlarmCondition, tuple[int, int]] = {}
        """Onset and end of the latest alarm of each condition in this run."""
        self._due = NO_EXPIRY
        """No condition expires up to this sample."""
        self._freed = self._changed = False
        self._results: list[Alarm] = []
        self.silenced_until_s = 0.0
        self.paused_until_s = 0.0
        """Unix time at which a pause of all alarms is to end; 0 without one."""
        self.off: frozenset[AlarmCondition] = frozenset()
        self.view: tuple[Alarm, ...] = ()
        self.loudest: Priority | None = None
        self.urgency = 0
        self.rhythm = ""

    def start(self, bed: str, run: str, first: int) -> None:
        """Begin a run at sample `first`: open alarms of the one before are over, latched ones stay."""
        self._end_all()
        self._bed, self._run, self.sample = bed, run, first
        self._past = {}

    def close(self) -> None:
        """End the run, and every open alarm with it."""
        self._end_all()

    def advance_to(self, sample: int, at_s: float) -> None:
        """Advance to `sample`: conditions that were not seen again in time are over."""
        self._at_s = at_s
        if sample > self.sample:
            self.sample = sample
            if self._due < sample:
                self._run_out()

    def raise_or_extend(self, condition: AlarmCondition, onset: int, until: int, text: str | None) -> None:
        """Raise a condition that holds since `onset`, or extend it through sample `until`.

        `text` is its reason in words; None leaves an open alarm its words.
        """
        if condition in self.off:
            return
        active = self.open.get(condition) or self._held_back.get(condition)
        if active is not None:
            if until > active.until:
                active.until = until
            if text is not None and text != active.text:
                active.text = text
                if active.alarm is not None:
                    active.alarm, self._changed = replace(active.alarm, text=text), True
            return
        worse = not WORSE_CONDITIONS[condition].isdisjoint(self.open)
        if worse and CONDITION_SPECS[condition].moment:
            return
        active = _ActiveCondition(onset, text or condition, until)
        if until < self._due:
            self._due = until
        if worse:
            self._held_back[condition] = active
        else:
            self._announce(condition, active)

    def holds(self, condition: AlarmCondition) -> bool:
        """Whether a condition is open or held back."""
        return condition in self.open or condition in self._held_back

    def clear(self, condition: AlarmCondition, sample: int | None = None) -> None:
        """Clear a condition, at `sample` if that was earlier than now."""
        active = self.open.pop(condition, None)
        if active is not None:
            self._end(condition, active, self.sample if sample is None else min(sample, self.sample))
        else:
            self._held_back.pop(condition, None)

    def apply_by_clock(self, condition: AlarmCondition, sample: int, at_s: float, text: str) -> None:
        """Raise a condition detected by the wall clock, or with empty `text` clear it; all other alarms stay
        untouched."""
        here, self.sample, self._at_s = self.sample, sample, at_s
        if text:
            self.raise_or_extend(condition, sample, NO_EXPIRY, text)
        else:
            self.clear(condition)
        self.sample = here

    def lose_sight(self, until: int) -> None:
        """Let the heart's alarms expire by `until`, since nothing is seen of it; forget what was held back."""
        self._held_back.clear()
        for condition, active in self.open.items():
            if not CONDITION_SPECS[condition].technical and active.until > until:
                active.until = until
        if until < self._due:
            self._due = until

    def suspend(self) -> None:
        """Announce nothing that rests on beats alone: there is noise or fibrillation."""
        for condition in [held for held in self._held_back if held not in NOISE_PROOF]:
            del self._held_back[condition]

    def audible(self, now_s: float) -> Priority | None:
        """Return the priority that should sound: the worst shown and not acknowledged, none while silenced."""
        return None if now_s < self.silenced_until_s else self.loudest

    def turn_off(self, conditions: frozenset[AlarmCondition]) -> None:
        """Let these conditions be off, and all others on; open alarms of those that are turned off are over."""
        for condition in sorted(conditions - self.off, key=SCREEN_ORDER.__getitem__):
            self.clear(condition)
        self.off = conditions

    def pause(self, until_s: float) -> None:
        """Tell no alarm until `end_pause`; `until_s` is only stored."""
        self.paused_until_s, self._changed = until_s, True

    def end_pause(self) -> None:
        """End a pause: alarms of its time that still stand are told."""
        self.paused_until_s, self._changed = 0.0, True
        for active in self.open.values():
            if active.alarm is not None and active.alarm.paused:
                active.alarm = replace(active.alarm, paused=False, latching=self._latches(active.alarm.priority))
                self._tell(active.alarm)
                if active.alarm.priority == "high":
                    self.silenced_until_s = 0.0

    def open_alarms(self) -> tuple[Alarm, ...]:
        """Return the alarms that go on, each with its present reason, also those that are paused or hidden."""
        return tuple(active.alarm for active in self.open.values() if active.alarm is not None)

    def unacknowledged(self) -> tuple[Alarm, ...]:
        """Return the alarms that were told and nobody has acknowledged: the open ones, then those that are over."""
        told = (active.alarm for active in self.open.values() if active.alarm is not None)
        return (*(alarm for alarm in told if alarm.acknowledged_s is None and not alarm.paused), *self._latched)

    def acknowledge(self, now_s: float, identities: Set[AlarmIdentity] | None = None) -> None:
        """Acknowledge alarms that were told, all or only these: they are silent, and those that are over disappear."""
        for active in self.open.values():
            alarm = active.alarm
            if alarm is None or alarm.acknowledged_s is not None or alarm.paused:
                continue
            if identities is None or alarm.identity in identities:
                active.alarm = replace(alarm, acknowledged_s=now_s)
                self._tell(active.alarm)
        left = []
        for alarm in self._latched:
            if identities is None or alarm.identity in identities:
                self._tell(replace(alarm, acknowledged_s=now_s))
            else:
                left.append(alarm)
        self._latched = left

    def keep_latched(self, alarms: Sequence[Alarm]) -> None:
        """Show alarms that latched under an earlier monitor, are over, and that nobody has acknowledged."""
        self._latched = [*alarms, *self._latched][-MOST_LATCHED:]
        self._changed = True

    def take(self) -> list[Alarm]:
        """Return the alarms that changed since the last call, after announcing what nothing worse holds back now."""
        if self._freed:
            self._freed = False
            for condition in sorted(self._held_back, key=SCREEN_ORDER.__getitem__):
                if WORSE_CONDITIONS[condition].isdisjoint(self.open):
                    self._announce(condition, self._held_back.pop(condition))
        if not self._changed:
            return []
        self._changed = False
        self._refresh()
        results, self._results = self._results, []
        return results

    def _announce(self, condition: AlarmCondition, active: _ActiveCondition) -> None:
        onset = min(active.onset, self.sample)
        if condition in self._past:  # an alarm is known by its onset
            began, ended = self._past[condition]
            onset = max(onset, ended, began + 1)
        kind, paused = CONDITION_SPECS[condition], self.paused_until_s > 0
        active.alarm = Alarm(
            bed=self._bed,
            run=self._run,
            condition=condition,
            priority=kind.priority,
            text=active.text,
            onset=onset,
            announced=max(onset, self.sample),
            announced_s=self._at_s,
            latching=self._latches(kind.priority) and not paused,
            paused=paused,
        )
        self.open[condition] = active
        if kind.priority == "high" and not paused:
            self.silenced_until_s = 0.0
        self._tell(active.alarm)

    def _latches(self, priority: Priority) -> bool:
        return self._latch and priority == "high"

    def _end(self, condition: AlarmCondition, active: _ActiveCondition, sample: int) -> None:
        alarm = active.alarm
        if alarm is None:
            return
        alarm = replace(alarm, ended=max(sample, alarm.announced))
        self._past[condition] = alarm.onset, max(sample, alarm.announced)
        if alarm.shown:
            self._latched.append(alarm)
            del self._latched[:-MOST_LATCHED]
        self._freed = True
        self._tell(alarm)

    def _end_all(self) -> None:
        self._held_back.clear()
        while self.open:
            condition, active = self.open.popitem()
            self._end(condition, active, self.sample)
        self._due = NO_EXPIRY

    def _run_out(self) -> None:
        """End the conditions that expired, and find the next sample at which one does."""
        for condition in [name for name, active in self._held_back.items() if active.until < self.sample]:
            del self._held_back[condition]
        gone = [(active.until, name) for name, active in self.open.items() if active.until < self.sample]
        for until, condition in sorted(gone):
            self._end(condition, self.open.pop(condition), until)
        left = (*self._held_back.values(), *self.open.values())
        self._due = min((active.until for active in left), default=NO_EXPIRY)

    def _tell(self, alarm: Alarm) -> None:
        self._results.append(alarm)
        self._changed = True

    def _refresh(self) -> None:
        """Work out again what is shown and sounds, after a change."""
        standing = [active.alarm for active in self.open.values() if active.alarm is not None]
        self.view = () if self.paused_until_s > 0 else order_alarms(self._latched, standing, self.open)
        self.urgency = alarm_urgency(self.view[0]) if self.view else 0
        self.loudest = loudest_priority(self.view)
        self.rhythm = alarmed_rhythm(self.open)
