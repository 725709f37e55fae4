"""Fibrillation and tachycardia of the ventricles by what the judge of the waveform says, without finding a beat.

One look can be wrong: a condition begins where so many of the latest looks say so. Fibrillation and tachycardia are
easily taken for each other, so what is either of them counts as tachycardia; where it is fibrillation too, that
stands above it. The numbers are those that `model.waveform.episode_rule` was fitted with.
"""

from collections import deque

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import VF, VT, AlarmTick
from agent.core.config import AlarmConfig
from agent.core.messages import AlarmCondition
from model.records.resample import FS


class VfVtRule:
    """The rules of one bed."""

    __slots__ = ("_fast", "_looks", "_manager", "_sure", "_turned", "_vf", "_vt", "fast", "fibrillating")

    def __init__(self, config: AlarmConfig, manager: AlarmManager) -> None:
        self._manager = manager
        self._sure, self._fast = config.sure_score, config.vt_bpm
        self._turned = round(config.look_turns_s * FS)
        self._vf = _ScoreHysteresis(
            config.vf_score, config.vf_looks, config.vf_of_looks, config.vf_end_score, config.vf_end_s
        )
        self._vt = _ScoreHysteresis(
            config.vt_score, config.vt_looks, config.vt_of_looks, config.vt_end_score, config.vt_end_s
        )
        self._looks = 0
        self.fibrillating = self.fast = False
        """Whether the latest look was one at fibrillation, at fibrillation or tachycardia, alarmed or not yet."""

    @property
    def tachycardia(self) -> bool:
        """Whether the waveform is believed to be that of ventricular tachycardia, or may be soon."""
        return self.fast or self._vt.until >= self._manager.sample

    def interrupt(self) -> None:
        """No look reaches back over this."""
        self._vf.high.clear()
        self._vt.high.clear()
        self.fibrillating = self.fast = False

    def start(self) -> None:
        """A new run."""
        self.interrupt()
        self._vf.until = self._vt.until = -1

    def tick(self, tick: AlarmTick, suspended: bool) -> None:
        """Take the next look. While noise suspends the other rules only a judge that is sure is believed."""
        look, vf, vt = tick.window, self._vf, self._vt
        self._looks += 1
        self.fibrillating = self.fast = False
        if look is None:
            return
        fibrillation = look.scores[VF]
        either = fibrillation + look.scores[VT]
        if fibrillation < vf.keeps and either < vt.keeps:  # which are below what begins an alarm
            return
        least = self._sure if suspended else 0.0
        self.fibrillating = fibrillation >= vf.begins
        if vf.look(fibrillation, least, self._looks, tick.sample):
            self._manager.clear("asystole")
            self._hold("ventricular fibrillation", vf, tick, "fibrillatory waveform")
        if look.rate is not None and look.rate < self._fast:
            either = fibrillation
        elif suspended or vf.until >= tick.sample:  # what is told of tachycardia once it is over must be tachycardia
            either = look.scores[VT]
        self.fast = either >= vt.begins
        begun = "ventricular tachycardia" in self._manager.open
        if vt.look(either, least, self._looks, tick.sample) and (begun or look.scores[VT] >= fibrillation):
            self._hold("ventricular tachycardia", vt, tick, "waveform of VT")

    def _hold(self, condition: AlarmCondition, said: "_ScoreHysteresis", tick: AlarmTick, words: str) -> None:
        active = self._manager.open.get(condition)
        onset = active.onset if active else max(tick.first, said.since(tick.sample) - self._turned)
        self._manager.raise_or_extend(condition, onset, said.until, f"{words} for {(tick.sample - onset) / FS:.1f} s")


class _ScoreHysteresis:
    """A waveform that begins where `looks` of the latest `of` score `begins`, and ends `ends_s` after one at `keeps`.

    `high` the latest looks that scored `begins`: their number and sample; `until` through which sample it is believed.
    """

    __slots__ = ("_ends", "_looks", "_of", "begins", "high", "keeps", "until")

    def __init__(self, begins: float, looks: int, of: int, keeps: float, ends_s: float) -> None:
        self.begins, self.keeps = begins, min(begins, keeps)
        self._looks, self._of, self._ends = looks, of, round(ends_s * FS)
        self.high: deque[tuple[int, int]] = deque(maxlen=looks)
        self.until = -1

    def look(self, score: float, at_least: float, number: int, now: int) -> bool:
        """Whether it is there after look `number`."""
        goes_on = self.until >= now and score >= self.keeps
        if score >= max(self.begins, at_least):
            self.high.append((number, now))
            goes_on |= len(self.high) == self._looks and number - self.high[0][0] < self._of
        if goes_on:
            self.until = now + self._ends
        return goes_on

    def since(self, now: int) -> int:
        """The first of the looks that count."""
        return self.high[0][1] if self.high else now
