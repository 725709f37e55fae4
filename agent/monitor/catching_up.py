"""Beds that a monitor takes up where a store of a fleet has them: what is told already is not told again.

The device is asked for the last minutes before that place, which are analysed again. Until a bed has caught up its
beats up to the latest told one are left out, and its alarms wait: then they go on under the onsets that the store has.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agent.core.bed_settings import BedSettings
from agent.core.messages import Alarm, Beat, Result, ResumePosition, Strip
from agent.core.sample_index import nearest_index_at_125_hz
from agent.monitor.resumed_alarms import ResumedAlarms
from model.records.resample import FS

WARM_S = 120.0
"""Signal before the latest told beat that is analysed again: what a beat is called hangs on those before it."""
LONGEST_WARM_S = 480.0
"""Signal that is asked for at most: devices keep ten minutes."""
SAME_BEAT_S = 0.2
"""R peaks closer than this are of one beat."""


@dataclass(frozen=True, slots=True)
class ToldPosition:
    """How far a store has a bed: its `run`, the latest `told` beat at 125 Hz (-1: none), `next` sample at `fs` hertz.

    `ended`: the run is over.
    """

    run: str
    told: int
    next: int
    fs: float
    ended: bool = False

    @property
    def stopped_at(self) -> int:
        """The sample at 125 Hz that comes next."""
        return nearest_index_at_125_hz(self.next, self.fs)

    @property
    def reported_until(self) -> int:
        """The sample at 125 Hz up to which beats are told."""
        return self.told + round(SAME_BEAT_S * FS) if self.told >= 0 else -1

    def resumed(self) -> ResumePosition:
        """Return from where the device is to send again."""
        warm = max(self.told, 0) / FS - WARM_S
        first = max(0, round(warm * self.fs), self.next - round(LONGEST_WARM_S * self.fs))
        return ResumePosition(self.run, min(first, self.next), self.fs, self.told if self.told >= 0 else None)


@dataclass(frozen=True, slots=True)
class StoreOpening:
    """What a store knows when a monitor begins: by bed how far it is told, and its settings; alarms of these runs."""

    positions: Mapping[str, ToldPosition] = field(default_factory=dict)
    alarms: Sequence[Alarm] = ()
    settings: Mapping[str, BedSettings] = field(default_factory=dict)


class CatchingUp:
    """The beds that have not caught up yet."""

    def __init__(self, positions: Mapping[str, ToldPosition] | None = None) -> None:
        self._positions = dict(positions or {})
        self._held: dict[str, list[Alarm | Strip]] = {bed: [] for bed in self._positions}

    @property
    def beds(self) -> Collection[str]:
        """Their names."""
        return self._positions.keys()

    def take(
        self, results: Sequence[Result], resumed: ResumedAlarms, stands_at: Callable[[str], tuple[str, int]]
    ) -> tuple[list[Result], list[str]]:
        """Return what is to be told of some results, and which beds have caught up by that.

        `stands_at` returns the run of a bed, and the sample up to which it is analysed; "" for one that has not come.
        """
        passed: list[Result] = []
        for item in results:
            position = self._positions.get(item.bed)
            if position is None:
                passed.append(item)
            elif isinstance(item, Alarm | Strip):
                self._held[item.bed].append(item)
            elif not (isinstance(item, Beat) and item.run == position.run and item.sample <= position.reported_until):
                passed.append(item)
        passed = resumed.rename(passed)
        ready = [bed for bed, position in self._positions.items() if _has_reached(position, *stands_at(bed))]
        for bed in ready:
            position, held = self._positions.pop(bed), self._held.pop(bed)
            of_run = [item for item in held if _run_of(item) == position.run]
            passed += resumed.settle(of_run, {bed: position.reported_until}, {bed})
            passed += resumed.rename([item for item in held if _run_of(item) != position.run])
        return passed, ready


def _run_of(item: Alarm | Strip) -> str:
    return item.run if isinstance(item, Alarm) else item.alarm.run


def _has_reached(position: ToldPosition, run: str, sample: int) -> bool:
    return bool(run) and (run != position.run or sample >= position.stopped_at)
