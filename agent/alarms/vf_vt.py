"""Alarms of ventricular fibrillation and tachycardia by the waveform alone, without finding a beat.

The rule itself is `model.waveform.episode_rule`, which the waveform classifier is evaluated with. A fast rhythm with
bundle branch block is easily taken for VT, so beats have a word in it (`agent.alarms.vt_beats`): while hardly any of
the latest ones may be V, the waveform alone announces no VT.
"""

from collections.abc import Callable

import msgspec

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import AlarmTick
from agent.core.alarm_settings import AlarmConfig
from agent.core.messages import AlarmCondition
from model.records.resample import FS
from model.waveform.episode_rule import ScoreHysteresis, VfVtHysteresis, VfVtSettings
from model.waveform.waveform_classifier import NOISE, VF, VT


class VfVtRule:
    """The rules of VF and VT of one bed."""

    __slots__ = ("_agree", "_held_back", "_hysteresis", "_manager", "_noise", "_vt_since", "agrees", "noisy")

    def __init__(self, config: AlarmConfig, manager: AlarmManager) -> None:
        self._manager = manager
        self._agree, self._noise = config.vt_agree_score, config.noise_score
        self._held_back = round(config.vt_against_s * FS)
        self._vt_since: int | None = None
        """First window of a VT that beats speak against, or have spoken against."""
        self.agrees = self.noisy = False
        """Whether the latest window agrees with beats that may be V, and whether it is noise."""
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
        self.agrees = self.noisy = False
        self._vt_since = None

    def start(self) -> None:
        """Begin a run."""
        self._hysteresis.start()
        self.agrees = self.noisy = False
        self._vt_since = None

    def tick(self, tick: AlarmTick, suspended: bool, beats_against: Callable[[], bool] = lambda: False) -> None:
        """Take the next window. While noise suspends the other rules only sure scores are believed.

        `beats_against` returns whether the latest beats are not those of a VT.
        """
        scores, rate = (tick.window.scores, tick.window.rate) if tick.window is not None else ((), None)
        self.agrees = bool(scores) and scores[VT] >= scores[VF] and scores[VT] + scores[VF] >= self._agree
        self.noisy = bool(scores) and scores[NOISE] >= self._noise
        vt_open = "ventricular tachycardia" in self._manager.open
        vf_present, vt_present = self._hysteresis.push(scores, rate, tick.sample, suspended, vt_open)
        if vf_present:
            self._manager.clear("asystole")
            first = self._hysteresis.vf.first_high(tick.sample)
            self._hold("ventricular fibrillation", self._hysteresis.vf, tick, first, "fibrillatory waveform")
        if not vt_present:
            self._vt_since = None
            return
        first = self._hysteresis.vt.first_high(tick.sample)
        if beats_against():
            self._vt_since = first if self._vt_since is None else self._vt_since
        else:
            if self._vt_since is not None:
                first = max(self._vt_since, tick.sample - self._held_back)
            self._hold("ventricular tachycardia", self._hysteresis.vt, tick, first, "waveform of VT")

    def _hold(
        self, condition: AlarmCondition, hysteresis: ScoreHysteresis, tick: AlarmTick, first: int, words: str
    ) -> None:
        """Raise or extend a condition that window `first` was the first to show."""
        active = self._manager.open.get(condition)
        onset = active.onset if active else max(tick.first, first - self._hysteresis.onset_lag)
        self._manager.raise_or_extend(
            condition, onset, hysteresis.until, f"{words} for {(tick.sample - onset) / FS:.1f} s"
        )
