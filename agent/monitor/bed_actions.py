"""What people do about the alarms of beds, at the terminal or elsewhere; each deed is an event, with who did it."""

from collections.abc import Callable
from math import inf

from agent.alarms.bed_rules import BedAlarmRules
from agent.core.bed_settings import BedSettings
from agent.core.events import AlarmHandling, AlarmsHandled, BedSettingsChanged
from agent.core.messages import Alarm, AlarmIdentity, Result
from agent.pipeline.pipeline import Pipeline


class BedActions:
    """Acts on the beds of a pipeline. `by` names who acts, "" at the terminal. The next step tells every sink."""

    def __init__(
        self,
        pipeline: Pipeline,
        clock: Callable[[], float],
        changed: Callable[[], None],
        as_shown: Callable[[tuple[Alarm, ...]], tuple[Alarm, ...]],
    ) -> None:
        """`clock` gives the Unix time; `changed` is called after each deed: what is shown of a bed is another.

        `as_shown` returns alarms under the onsets by which people see them.
        """
        self._pipeline, self._clock, self._changed, self._as_shown = pipeline, clock, changed, as_shown
        self._results: list[Result] = []

    def acknowledge(self, bed: str, by: str = "") -> None:
        """Acknowledge all alarms of a bed that were told."""
        self._results += self._pipeline.acknowledge(bed, self._clock())
        self._note(bed, "acknowledged", by)

    def acknowledge_seen(self, bed: str, by: str, is_seen: Callable[[AlarmIdentity], bool]) -> int:
        """Acknowledge the alarms of a bed that somebody has seen, and no newer one; return how many that were."""
        told = self._rules(bed).manager.unacknowledged()
        seen = [alarm for alarm in told if any(is_seen(shown.identity) for shown in self._as_shown((alarm,)))]
        latest = {alarm.condition: alarm.announced_s for alarm in sorted(seen, key=lambda alarm: alarm.announced_s)}
        # Of the alarms of a condition that are over the latest alone is shown: it stands for those before it
        over = (alarm for alarm in told if alarm.ended is not None)
        covered = (alarm for alarm in over if alarm.announced_s <= latest.get(alarm.condition, -inf))
        identities = {alarm.identity for alarm in (*seen, *covered)}
        if identities:
            self._results += self._pipeline.acknowledge(bed, self._clock(), identities)
            self._note(bed, "acknowledged", by)
        return len(identities)

    def silence(self, bed: str, by: str = "", on: bool | None = None) -> None:
        """Silence the alarms of a bed for a while, or let them sound again; `on` None: whichever they are not.

        What is so already stays so, and is no event: two who want the same do not undo each other.
        """
        now_s, rules = self._clock(), self._rules(bed)
        silent = rules.manager.silenced_until_s > now_s
        if on is not silent:
            rules.silence(now_s)
            self._note(bed, "sounding again" if silent else "silenced", by)

    def pause_alarms(self, bed: str, by: str = "", on: bool | None = None) -> None:
        """Pause all alarms of a bed for a while, or let them come again; `on` as that of `silence`."""
        if on is not (self._rules(bed).manager.paused_until_s > 0):
            paused = self._pipeline.care.pause(self._pipeline.beds[bed], self._clock())
            if on is None or on is paused:
                self._note(bed, "paused" if paused else "on again", by)

    def quiet_until_s(self, bed: str) -> tuple[float | None, float | None]:
        """Return until when (Unix time) alarms of a bed are silenced, and until when paused; None: they are not."""
        now_s, manager = self._clock(), self._rules(bed).manager
        silenced_s, paused_s = manager.silenced_until_s, manager.paused_until_s
        return silenced_s if silenced_s > now_s else None, paused_s if paused_s > now_s else None

    def settings(self, bed: str) -> BedSettings:
        """Return all that a bed has of its own."""
        return self._pipeline.care.settings(self._pipeline.beds[bed])

    def change_settings(self, bed: str, settings: BedSettings, by: str = "") -> None:
        """Let a bed have these settings, and no others. Raises ValueError, which names the keys, if they contradict."""
        state = self._pipeline.beds[bed]
        sample = self._pipeline.care.change(state, settings)
        self._results.append(BedSettingsChanged(bed, state.run, sample, by, settings))
        self._changed()

    def take(self) -> list[Result]:
        """Return what the deeds since the last call led to."""
        results, self._results = self._results, []
        return results

    def _rules(self, bed: str) -> BedAlarmRules:
        return self._pipeline.alarms.rules(self._pipeline.beds[bed].row)

    def _note(self, bed: str, action: AlarmHandling, by: str) -> None:
        state = self._pipeline.beds[bed]
        head = int(self._pipeline.samples.ring.head[state.heard_row])
        self._results.append(AlarmsHandled(bed, state.run, head, action, by))
        self._changed()
