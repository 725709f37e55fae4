"""Alarms of ventricular fibrillation and tachycardia by the waveform alone, without finding a beat.

The rule itself is `model.waveform.episode_rule`, which the waveform classifier is evaluated with too.
"""

import msgspec

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import AlarmTick
from agent.core.config import AlarmConfig
from agent.core.messages import AlarmCondition
from model.records.resample import FS
from model.waveform.episode_rule import ScoreHysteresis, VfVtHysteresis, VfVtSettings


class VfVtRule:
    """The rules of VF and VT of one bed."""

    __slots__ = ("_hysteresis", "_manager")

    def __init__(self, config: AlarmConfig, manager: AlarmManager) -> None:
        self._manager = manager
        self._hysteresis = VfVtHysteresis(msgspec.convert(config, VfVtSettings, from_attributes=True))

    @property
    def fibrillating(self) -> bool:
        """Whether the latest window shows fibrillation, alarmed or not yet."""
        return self._hysteresis.fibrillating

    @property
    def tachycardia(self) -> bool:
        """Whether the waveform is believed to be that of ventricular tachycardia, or may be soon."""
        return self._hysteresis.fast or self._hysteresis.vt.until >= self._manager.sample

    def interrupt(self) -> None:
        """Note a break in the signal: no window reaches back over it."""
        self._hysteresis.interrupt()

    def start(self) -> None:
        """Begin a run."""
        self._hysteresis.start()

    def tick(self, tick: AlarmTick, suspended: bool) -> None:
        """Take the next window. While noise suspends the other rules only sure scores are believed."""
        scores, rate = (tick.window.scores, tick.window.rate) if tick.window is not None else ((), None)
        vt_open = "ventricular tachycardia" in self._manager.open
        vf_present, vt_present = self._hysteresis.push(scores, rate, tick.sample, suspended, vt_open)
        if vf_present:
            self._manager.clear("asystole")
            self._hold("ventricular fibrillation", self._hysteresis.vf, tick, "fibrillatory waveform")
        if vt_present:
            self._hold("ventricular tachycardia", self._hysteresis.vt, tick, "waveform of VT")

    def _hold(self, condition: AlarmCondition, hysteresis: ScoreHysteresis, tick: AlarmTick, words: str) -> None:
        active = self._manager.open.get(condition)
        first_window = hysteresis.first_high(tick.sample) - self._hysteresis.onset_lag
        onset = active.onset if active else max(tick.first, first_window)
        self._manager.raise_or_extend(
            condition, onset, hysteresis.until, f"{words} for {(tick.sample - onset) / FS:.1f} s"
        )
