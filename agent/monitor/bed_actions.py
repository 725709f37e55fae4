"""What people do about the alarms of beds, at the terminal or elsewhere; each deed is an event, with who did it."""

from collections.abc import Callable

from agent.core.bed_settings import BedSettings
from agent.core.events import AlarmHandling, AlarmsHandled, BedSettingsChanged
from agent.core.messages import Result
from agent.pipeline.pipeline import Pipeline


class BedActions:
    """Acts on the beds of a pipeline. `by` names who acts, "" at the terminal. The next step tells every sink."""

    def __init__(self, pipeline: Pipeline, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """`clock` gives the Unix time; `changed` is called after each deed: what is shown of a bed is another."""
        self._pipeline, self._clock, self._changed = pipeline, clock, changed
        self._results: list[Result] = []

    def acknowledge(self, bed: str, by: str = "") -> None:
        """Acknowledge the alarms of a bed."""
        self._results += self._pipeline.acknowledge(bed, self._clock())
        self._note(bed, "acknowledged", by)

    def silence(self, bed: str, by: str = "") -> None:
        """Silence the alarms of a bed for a while; called again while they are silent, let them sound again."""
        now_s, rules = self._clock(), self._pipeline.alarms.rules(self._pipeline.beds[bed].row)
        rules.silence(now_s)
        self._note(bed, "silenced" if rules.manager.silenced_until_s > now_s else "sounding again", by)

    def pause_alarms(self, bed: str, by: str = "") -> None:
        """Pause all alarms of a bed for a while; called again while they are paused, let them come again."""
        paused = self._pipeline.care.pause(self._pipeline.beds[bed], self._clock())
        self._note(bed, "paused" if paused else "on again", by)

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

    def _note(self, bed: str, action: AlarmHandling, by: str) -> None:
        state = self._pipeline.beds[bed]
        head = int(self._pipeline.samples.ring.head[state.heard_row])
        self._results.append(AlarmsHandled(bed, state.run, head, action, by))
        self._changed()
