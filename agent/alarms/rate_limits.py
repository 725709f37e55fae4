"""Heart rate above and below its limits, and extreme ones."""

from agent.alarms.alarm_manager import AlarmManager
from agent.core.config import AlarmConfig
from agent.core.messages import AlarmCondition, Beat
from model.records.resample import FS


class RateRule:
    """The rate limits of one bed. The rate is the one that is shown (`agent.analysis.rate_tracker`)."""

    __slots__ = (
        "_all",
        "_ends",
        "_hysteresis",
        "_intervals",
        "_least",
        "_limits",
        "_manager",
        "_stands",
        "_width",
        "_within",
    )

    def __init__(self, config: AlarmConfig, intervals: int, manager: AlarmManager) -> None:
        """Make the limits; the shown rate is the mean of `intervals` RR intervals."""
        self._manager, self._all = manager, intervals
        low, high = config.rate_low_bpm, config.rate_high_bpm
        very_high, very_low = extreme_rate_limits(config)
        self._limits: tuple[tuple[AlarmCondition, float, int], ...] = (
            ("extreme tachycardia", very_high, 1),
            ("extreme bradycardia", very_low, -1),
            ("heart rate high", high, 1),
            ("heart rate low", low, -1),
        )
        self._within, self._width = (low, high), high - low
        self._hysteresis = config.rate_hysteresis_bpm
        self._least = config.rate_least_intervals
        self._ends = round(config.rate_end_s * FS)
        self._intervals = 0
        """RR intervals since the rate began again; negative while fibrillation is still in the mean."""
        self._stands = False
        """Whether one of the alarms may be open."""

    def interrupt(self) -> None:
        """Let no RR interval reach back over an interruption."""
        self._intervals = 0

    def discard_intervals(self) -> None:
        """Discard intervals measured during fibrillation: no rate alarm until the mean contains later ones only."""
        self._intervals = self._least - self._all

    def beat(self, beat: Beat) -> None:
        """Compare the rate after a beat with the limits."""
        rate = beat.heart_rate
        if rate is None:  # the first beat, or the first after a silence
            self._intervals = min(0, self._intervals)
            return
        self._intervals += 1
        if self._intervals < self._least:
            return
        low, high = self._within
        if self._stands or not low <= rate <= high:
            self._stands = self._compare(beat, rate)

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


def extreme_rate_limits(config: AlarmConfig) -> tuple[float, float]:
    """Return the heart rates in beats a minute above and below which it is extreme; never inside the other limits."""
    high, low = config.rate_high_bpm, config.rate_low_bpm
    above = max(high, min(high + config.extreme_above_bpm, config.extreme_most_bpm))
    return above, min(low, max(low - config.extreme_below_bpm, config.extreme_least_bpm))


def _rate_limit_text(
    rate: float, limit: float, sign: int, condition: AlarmCondition, manager: AlarmManager
) -> str | None:
    """Say the rate beside its limit, with as many digits as tell them apart; None if the alarm has its words."""
    if condition in manager.open:
        return None
    digits = next((digits for digits in range(3) if f"{rate:.{digits}f}" != f"{limit:.{digits}f}"), 3)
    return f"HR {rate:.{digits}f} {'>' if sign > 0 else '<'} {limit:g}"
