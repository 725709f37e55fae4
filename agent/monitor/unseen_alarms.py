"""Alarms that latched under an earlier monitor, and that nobody has acknowledged: a restart does not forget them."""

from collections.abc import Iterable

from agent.core.messages import Alarm, Result
from agent.monitor.resumed_alarms import ResumedAlarms
from agent.pipeline.pipeline import Pipeline


class UnseenAlarms:
    """Hands such alarms to their beds, at once or when these come."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._waiting: dict[str, list[Alarm]] = {}

    def resume(self, logged: Iterable[Alarm], resumed: ResumedAlarms, now_s: float) -> list[Result]:
        """Take the latching alarms of a log whose end was analysed again.

        Return the alarms of the new analysis that a person had acknowledged by then, acknowledged again.
        """
        for alarm in resumed.unseen(logged):
            self._waiting.setdefault(alarm.bed, []).append(alarm)
        results: list[Result] = []
        for name, bed in self._pipeline.beds.items():
            told = self._pipeline.alarms.rules(bed.row).manager.unacknowledged()
            if seen := resumed.acknowledged(told):
                results += self._pipeline.acknowledge(name, now_s, seen)
        self.hand_over()
        return resumed.rename(results)

    def hand_over(self) -> None:
        """Let beds that have come show what waits for them."""
        for name in [name for name in self._waiting if name in self._pipeline.beds]:
            self._pipeline.alarms.keep_latched(self._pipeline.beds[name].row, self._waiting.pop(name))
