"""The beds of a monitor whose store other monitors share: taken up where the store has them, and kept in step."""

from collections.abc import Mapping, Sequence

from agent.core.messages import Result, ResumePosition
from agent.monitor.bed_actions import BedActions
from agent.monitor.catching_up import CatchingUp
from agent.monitor.first_settings import FirstSettings
from agent.monitor.result_sinks import SharedStore
from agent.monitor.resumed_alarms import ResumedAlarms
from agent.pipeline.pipeline import Pipeline


class SharedBeds:
    """Stands between a session and its store; without one it passes everything on."""

    def __init__(self, store: SharedStore | None, pipeline: Pipeline, resumed: ResumedAlarms) -> None:
        self._store, self._pipeline, self._resumed = store, pipeline, resumed
        self._catching_up = CatchingUp()
        self._caught_up: list[str] = []
        """Beds that have caught up, of which the store is told once it has their results."""

    def take_up(self, settings: FirstSettings) -> Mapping[str, ResumePosition]:
        """Let the beds have the settings of the store; return from where on the device is to send them again.

        Beds that the pipeline has by now go on where it stands.
        """
        if self._store is None:
            return {}
        opening = self._store.opening()
        for bed, of_bed in opening.settings.items():
            settings.know(bed, of_bed)
        positions = {
            bed: at for bed, at in opening.positions.items() if not at.ended and bed not in self._pipeline.beds
        }
        self._catching_up = CatchingUp(positions)
        logged = [alarm for alarm in opening.alarms if alarm.bed in positions]
        self._resumed.add_log(logged, {bed: at.stopped_at for bed, at in positions.items()})
        self._caught_up = [bed for bed in opening.positions if bed not in positions]
        self.note_pushed()
        return {bed: at.resumed() for bed, at in positions.items()}

    def act(self, actions: BedActions) -> None:
        """Do what people did at other monitors."""
        if self._store is not None:
            self._store.act(actions, self._pipeline.beds)

    def select(self, results: Sequence[Result]) -> list[Result]:
        """Return what is to be told of some results, alarms under the onsets by which they are known."""
        if not self._catching_up.beds:
            return self._resumed.rename(results)
        passed, self._caught_up = self._catching_up.take(results, self._resumed, self._stands_at)
        return passed

    def note_pushed(self) -> None:
        """Note that every sink has the results by now."""
        if self._store is not None and self._caught_up:
            for bed in self._caught_up:
                self._store.note_caught_up(bed)
            self._caught_up = []

    def leave(self) -> None:
        """Tell the store nothing more: what is declared missing at the end of this monitor another one may have."""
        if self._store is not None:
            self._store.end_soon()

    def _stands_at(self, bed: str) -> tuple[str, int]:
        """Return the run of a bed, and the sample up to which it is analysed; the run is "" before its first one."""
        state = self._pipeline.beds.get(bed)
        return (state.run, int(self._pipeline.samples.ring.head[state.heard_row])) if state else ("", 0)
