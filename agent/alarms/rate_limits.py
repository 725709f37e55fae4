"""Heart rate above and below its limits, and extreme ones.

The rate that is shown knows a beat once it is classified, and of a slow heart that is 1.5 s later. So extreme
bradycardia has a second rule in the words of its definition: `slow_beats` beats in a row, the latest of which may be an
R peak without a class yet.
"""

from collections import deque
from itertools import pairwise
from math import ceil, floor
from typing import NamedTuple

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import AlarmTick
from agent.analysis.bed_leads import SAME_BEAT
from agent.core.alarm_settings import AlarmConfig, extreme_rate_limits
from agent.core.messages import AlarmCondition, Beat
from model.records.resample import FS
from model.waveform.waveform_classifier import WINDOW


class _RateLimit(NamedTuple):
    """A limit in beats a minute: of the rate from above (`sign` 1) or from below (-1)."""

    condition: AlarmCondition
    bpm: float
    sign: int


class RateRule:
    """The rate limits of one bed. The rate is the one that is shown (`agent.analysis.rate_tracker`)."""

    __slots__ = (
        "_all",
        "_beats",
        "_ends",
        "_hysteresis",
        "_intervals",
        "_least",
        "_limits",
        "_longest",
        "_manager",
        "_rate",
        "_shown",
        "_slow_beats",
        "_stands",
        "_unclassified",
        "_width",
        "_within",
    )

    def __init__(self, config: AlarmConfig, intervals: int, manager: AlarmManager) -> None:
        """Make the limits; the shown rate is the mean of `intervals` RR intervals."""
        self._manager, self._all = manager, intervals
        self._limits: tuple[_RateLimit, ...] = ()
        self._rate: float | None = None
        """The latest rate that was compared."""
        self.apply(config)
        self._hysteresis = config.rate_hysteresis_bpm
        self._least = config.rate_least_intervals
        self._ends = round(config.rate_end_s * FS)
        self._slow_beats = config.slow_beats
        self._beats: deque[int] = deque(maxlen=config.slow_beats)
        """The latest R peaks that are confirmed, without a standstill between them."""
        self._unclassified: deque[int] = deque(maxlen=config.slow_beats)
        """R peaks since then: of a slow heart no two come from one tick to the next."""
        self._intervals = 0
        """RR intervals since the rate began again; negative while fibrillation is still in the mean."""
        self._stands = False
        """Whether one of the alarms may be open."""
        self._shown = 0
        """Sample at which the first window of the run shows whether it is noise."""

    def apply(self, config: AlarmConfig) -> None:
        """Take other limits: an open alarm whose limit moved beyond the latest rate is over, any other has new words.

        A rate that is beyond a limit only now is alarmed at the next beat.
        """
        before = [limit.bpm for limit in self._limits]
        low, high = config.rate_low_bpm, config.rate_high_bpm
        very_high, very_low = extreme_rate_limits(config)
        self._limits = (
            _RateLimit("extreme tachycardia", very_high, 1),
            _RateLimit("extreme bradycardia", very_low, -1),
            _RateLimit("heart rate high", high, 1),
            _RateLimit("heart rate low", low, -1),
        )
        self._within, self._width = (low, high), high - low
        self._longest = round(config.asystole_s * FS)
        for old, (condition, limit, sign) in zip(before, self._limits, strict=False):
            if limit == old or self._rate is None or not self._manager.holds(condition):
                continue
            if sign * (self._rate - limit) <= 0:
                self._manager.clear(condition)
            else:
                self._manager.raise_or_extend(condition, 0, 0, _rate_limit_words(self._rate, limit, sign))

    def start(self, first: int) -> None:
        """Begin a run at sample `first`: no rate is compared before the first window is known."""
        self._shown = first + WINDOW
        self._rate = None

    def interrupt(self) -> None:
        """Let no RR interval reach back over an interruption."""
        self._intervals = 0
        self._beats.clear()
        self._unclassified.clear()

    def discard_intervals(self) -> None:
        """Discard intervals measured during fibrillation: no rate alarm until the mean contains later ones only."""
        self._intervals = self._least - self._all
        self._beats.clear()
        self._unclassified.clear()

    def doubt_intervals(self) -> None:
        """Take note of a window of noise: as after fibrillation, but slow beats still count and open alarms go on."""
        if not self._stands:
            self._intervals = self._least - self._all

    def beat(self, beat: Beat) -> None:
        """Compare the rate after a beat with the limits."""
        rate = beat.heart_rate
        if rate is None:
            self._beats.clear()
            self._unclassified.clear()
        self._beats.append(beat.sample)
        while self._unclassified and self._unclassified[0] <= beat.sample + SAME_BEAT:
            self._unclassified.popleft()
        if rate is None:  # the first beat, or the first after a silence
            self._intervals = min(0, self._intervals)
            return
        self._intervals += 1
        if self._intervals < self._least or beat.class_known <= self._shown:
            return
        self._rate = rate
        low, high = self._within
        if self._stands or not low <= rate <= high:
            self._stands = self._compare(beat, rate)

    def tick(self, tick: AlarmTick) -> None:
        """Raise extreme bradycardia if `slow_beats` beats in a row are slow, the latest known as R peak only.

        A peak within `SAME_BEAT` of the last one is the same beat in another lead.
        """
        known = self._unclassified or self._beats
        if not known or not SAME_BEAT < (step := tick.last_qrs - known[-1]) < self._longest:
            return
        self._unclassified.append(tick.last_qrs)
        if step * self._within[0] <= 60 * FS:  # as nearly always
            return
        peaks = [*self._beats, *self._unclassified][-self._slow_beats :]
        rate = self._slow_rate(peaks)
        condition, limit, sign = self._limits[1]
        if rate is not None and rate < limit:
            text = _rate_limit_text(rate, limit, sign, condition, self._manager)
            self._manager.raise_or_extend(condition, peaks[0], self._manager.sample + self._ends, text)
            self._stands, self._rate = True, rate

    def _slow_rate(self, peaks: list[int]) -> float | None:
        """Return the rate of `slow_beats` R peaks if every interval is slower than the limit; else None."""
        steps = [after - before for before, after in pairwise(peaks)]
        if len(peaks) < self._slow_beats or min(steps) * self._within[0] <= 60 * FS:
            return None
        return 60 * FS * len(steps) / sum(steps)

    def _compare(self, beat: Beat, rate: float) -> bool:
        manager, stands = self._manager, False
        for condition, limit, sign in self._limits:
            beyond = sign * (rate - limit)
            if beyond > 0:
                manager.raise_or_extend(
                    condition,
                    beat.sample,
                    manager.sample + self._ends,
                    _rate_limit_text(rate, limit, sign, condition, manager),
                )
                stands = True
            elif manager.holds(condition):
                if beyond < -self._width:  # beyond the limit on the other side
                    manager.clear(condition)
                    continue
                if beyond >= -self._hysteresis:
                    manager.raise_or_extend(condition, beat.sample, manager.sample + self._ends, None)
                stands = True
        return stands


def _rate_limit_text(
    rate: float, limit: float, sign: int, condition: AlarmCondition, manager: AlarmManager
) -> str | None:
    """Say the rate beside its limit; None if the alarm has its words."""
    return None if condition in manager.open else _rate_limit_words(rate, limit, sign)


def _rate_limit_words(rate: float, limit: float, sign: int) -> str:
    """Say the rate beside its limit as a whole number, which is rounded away from the limit where it would be it."""
    shown = max(round(rate), floor(limit) + 1) if sign > 0 else min(round(rate), ceil(limit) - 1)
    return f"HR {shown} {'>' if sign > 0 else '<'} {limit:g}"
