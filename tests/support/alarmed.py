"""A made-up bed for the tests of the alarms: beats, looks and gaps in the order of the pipeline."""

from dataclasses import dataclass, field

import numpy as np

from agent.alarms.alarm_tick import AlarmTick
from agent.alarms.bed_rules import BedAlarmRules
from agent.analysis.rate_tracker import RateTracker
from agent.analysis.rhythm_windows import WindowScores
from agent.analysis.stage import LeadStateChange, RunStart
from agent.core.config import Config
from agent.core.events import LeadState
from agent.core.messages import Alarm, AlarmCondition, Beat, Gap
from model.records.resample import FS

FOUND, DECIDED = 28, 125
"""Samples after an R peak at which it is known, and its class."""
CALM = (0.96, 0.01, 0.01, 0.01, 0.01)
CERTAIN = 0.97


def scores(kind: str = "organised", value: float = CERTAIN) -> tuple[float, ...]:
    """Scores of a look that gives `value` to one of the five."""
    kinds = ("organised", "VT", "VF", "noise", "asystole")
    return tuple(value if one == kind else (1 - value) / 4 for one in kinds)


def run_start(first: int = 0, run: str = "run") -> RunStart:
    """A run that begins at sample `first`, of a converter without rails."""
    return RunStart("1", run, first, "MLII", FS, (-np.inf, np.inf))


@dataclass
class MadeBed:
    """The alarm rules of one bed. Times in seconds of the run; `told` all alarms so far, as they came."""

    config: Config
    rules: BedAlarmRules
    told: list[Alarm] = field(default_factory=list)
    now: int = 0
    """Samples so far."""
    first: int = 0
    peak: int = 0
    """The latest R peak, also one that is not known yet."""
    scores: tuple[float, ...] = CALM
    amplitude_mv: float = 1.0
    rate: float | None = None
    jump_mv: float = 0.0
    likely_v: float = 0.0
    """Probability of V of the beats to come, whatever their class."""
    lag: int = 0
    """Samples by which another lead shows each R peak later."""
    candidates: list[int] = field(default_factory=list)
    _beats: list[tuple[int, str, float]] = field(default_factory=list)
    _rhythms: RateTracker = field(init=False)

    def __post_init__(self) -> None:
        self._rhythms = RateTracker(self.config.rhythm)
        self._rhythms.grow(1)
        self.start()

    def start(self, run: str = "run", first: int = 0) -> None:
        """A new run."""
        self.now = self.first = self.peak = first
        self.candidates, self._beats = [], []
        self._rhythms.start(0, run_start(first, run))
        self.told += self.rules.start("1", run, first)

    def beats(self, labels: str, rr_s: float, accepted: bool = True) -> None:
        """So many beats, each so long after the one before, and the time they take.

        `accepted`: by the detector, not only by the net.
        """
        for label in labels:
            self.peak += round(rr_s * FS)
            self.candidates += [self.peak + self.lag] if accepted else []
            self._beats.append((self.peak, label, self.likely_v))
            self._go(self.peak)

    def quiet(self, seconds: float) -> None:
        """No beat for so long; the next one counts from the end of it."""
        self.peak = self.now + round(seconds * FS)
        self._go(self.peak)

    def gap(self, seconds: float, pieces: int = 1, valueless: bool = False) -> None:
        """Missing signal, told in pieces; beats before it are told first."""
        self._tell(10**9)
        count, first = round(seconds * FS), self.now
        for piece in range(pieces):
            begin, end = first + count * piece // pieces, first + count * (piece + 1) // pieces
            self.told += self.rules.gap(begin, end - begin, 0.0, valueless)
        self.now = self.first = self.peak = first + count
        self.candidates = []
        self._rhythms.interrupt(0, Gap("1", "run", first, count, FS, ""))

    def lead(self, state: LeadState) -> None:
        """The lead changes its state now."""
        self._tell(self.now)
        self._rhythms.interrupt(0, LeadStateChange(0, self.now, state))
        self.told += self.rules.lead(self.now, state, 0.0)

    def end(self) -> None:
        """The run ends now."""
        self._tell(10**9)
        self.told += self.rules.end(self.now, 0.0)

    def of(self, condition: AlarmCondition) -> list[Alarm]:
        """The alarms of one condition as they now stand, by onset."""
        latest = {(alarm.run, alarm.onset): alarm for alarm in self.told if alarm.condition == condition}
        return list(latest.values())

    def the(self, condition: AlarmCondition) -> Alarm:
        """The only alarm of a condition, as it now stands."""
        (alarm,) = self.of(condition)
        return alarm

    @property
    def conditions(self) -> set[AlarmCondition]:
        """Every condition that was alarmed so far."""
        return {alarm.condition for alarm in self.told}

    @property
    def shown(self) -> list[AlarmCondition]:
        """What is to be seen now, in order."""
        return [alarm.condition for alarm in self.rules.manager.view]

    def _go(self, to: int) -> None:
        """Time passes: ticks each second, before them what was decided by then."""
        while (tick := self.first + ((self.now - self.first) // FS + 1) * FS) <= to:
            self._tell(tick)
            self.now = tick
            last = max((peak for peak in self.candidates if peak + FOUND <= tick), default=-1)
            look = WindowScores(0, tick, self.scores, self.amplitude_mv, self.rate)
            self.told += self.rules.tick(AlarmTick(tick, last, self.first, look, jump_mv=self.jump_mv), 0.0)
        self._tell(to)
        self.now = to

    def _tell(self, until: int) -> None:
        while self._beats and self._beats[0][0] + DECIDED <= until:
            peak, label, likely_v = self._beats.pop(0)
            decided = peak + DECIDED if until < 10**9 else min(peak + DECIDED, self.now)
            shares = (1 - likely_v, 0.0, likely_v, 0.0, 0.0)
            rr_s = self._rhythms.interval(0, peak)
            rate = self._rhythms.push(0, peak, label, rr_s, decided)
            self.told += self.rules.beat(Beat("1", peak, decided, label, shares, rr_s, 0.0, rate), 0.0)


def made(config: Config) -> MadeBed:
    """A bed by itself."""
    rules = BedAlarmRules(config.alarms, config.rhythm.rate_intervals)
    return MadeBed(config, rules)
