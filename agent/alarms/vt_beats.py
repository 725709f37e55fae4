"""Ventricular tachycardia by beats: a fast row of beats that are V, or may be.

Few beats of a short tachycardia are like each other, and the net has seen none of them before. So a row may hold beats
that the net does not call V but cannot exclude: unclassifiable ones, fusion beats, and others with some probability of
V. Then some of the row must be V. If the waveform classifier agrees, none of them needs to be, a shorter row is enough,
and one other beat may lie in it that is not surely N or S. Beats in a noisy window count neither for a tachycardia nor
against it.
"""

from collections import deque

import msgspec

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.vf_vt import VfVtRule
from agent.core.alarm_settings import AlarmConfig
from agent.core.messages import Beat
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.waveform.waveform_classifier import WINDOW

N, S, V = (CLASSES.index(name) for name in "NSV")
UNCERTAIN = ("F", "Q")
"""Classes of beats that may be V whatever their probabilities are."""


class _JudgedBeat(msgspec.Struct, frozen=True, gc=False):
    """An R peak, and whether its beat is V, may be V, or is surely another one: N or S."""

    sample: int
    is_v: bool
    may_be_v: bool
    is_sure_other: bool


class VtBeatRule:
    """The rule of one bed; `waves` knows what the waveform is."""

    __slots__ = ("_beats", "_config", "_first", "_length", "_lost", "_manager", "_others", "_until", "_vf_vt")

    def __init__(self, config: AlarmConfig, manager: AlarmManager, waves: VfVtRule) -> None:
        self._config, self._manager, self._vf_vt = config, manager, waves
        self._lost = round(config.lost_s * FS)
        self.interrupt()

    def apply(self, config: AlarmConfig) -> None:
        """Take another limit of pauses, which part rows of beats."""
        self._config = config

    def interrupt(self) -> None:
        """Let no row reach back over an interruption."""
        self._beats: deque[_JudgedBeat] = deque(maxlen=self._config.vt_beats + 1)
        """The latest beats, without a pause between them."""
        self._length = self._first = self._others = 0
        """Beats of the latest row that are or may be V, its first R peak, and the other beats in a row since."""
        self._until = -1
        """Through which sample the row is believed to be a tachycardia."""

    @property
    def tachycardia(self) -> bool:
        """Whether the latest row is believed to be a tachycardia."""
        return self._until >= self._manager.sample

    def speak_against(self) -> bool:
        """Return whether the latest beats speak against a tachycardia by the waveform alone.

        They do if few of them may be V, none if one is alarmed; and against a begin if some in the latest window are
        surely N or S: rows of three and four V beats look like a tachycardia in four seconds.
        """
        config, beats, now = self._config, list(self._beats), self._manager.sample
        is_open = "ventricular tachycardia" in self._manager.open
        sure = sum(beat.is_sure_other and beat.sample >= now - WINDOW for beat in beats)
        if not is_open and sure >= config.vt_against_beats:
            return True
        latest = beats[-config.vt_beats :]
        if len(latest) < config.vt_beats or latest[0].sample < now - config.vt_against_s * FS:
            return False
        return sum(beat.may_be_v for beat in latest) < (1 if is_open else config.vt_least_v)

    def beat(self, beat: Beat) -> None:
        """Take the next beat."""
        paused = beat.rr_s is not None and beat.rr_s > self._config.pause_s
        if paused or self._vf_vt.noisy:
            self._beats.clear()
            self._length = 0
        if self._vf_vt.noisy:
            return
        may_be_v = self._may_be_v(beat)
        sure = beat.probabilities[N] + beat.probabilities[S] >= self._config.vt_other_score
        judged = _JudgedBeat(beat.sample, beat.label == "V", may_be_v, sure and not may_be_v)
        self._beats.append(judged)
        if judged.may_be_v:
            if self._others > self._most_others or not self._length:
                self._length, self._first = 0, beat.sample
            self._length += 1
            self._others = 0
            self._judge()
        else:
            self._others += 1
            if judged.is_sure_other:
                self._length = 0
            if self._others >= self._config.vt_end_beats:
                self._end()

    def tick(self) -> None:
        """Judge the latest row again: the waveform is known now."""
        if self._vf_vt.agrees and self._others <= 1:
            self._judge()

    @property
    def _most_others(self) -> int:
        """How many other beats may lie in a row."""
        return 1 if self._vf_vt.agrees else 0

    def _may_be_v(self, beat: Beat) -> bool:
        return beat.label == "V" or beat.label in UNCERTAIN or beat.probabilities[V] >= self._config.vt_maybe_score

    def _latest_row(self) -> list[_JudgedBeat]:
        """Return the beats of the latest row, the newest first: `vt_beats` at most."""
        others_left = self._most_others
        row: list[_JudgedBeat] = []
        for beat in reversed(self._beats):
            if beat.may_be_v:
                row.append(beat)
            elif not row:  # the row has just ended
                continue
            elif others_left and not beat.is_sure_other:
                others_left -= 1
            else:
                break
        return row[: self._config.vt_beats]

    def _judge(self) -> None:
        """Raise tachycardia if the latest row is fast, long enough, and sure enough."""
        config, manager, row = self._config, self._manager, self._latest_row()
        n, is_long = len(row), len(row) == config.vt_beats
        if n < config.vt_agree_beats:
            return
        span = max(1, row[0].sample - row[-1].sample)
        slowest = config.vt_bpm - (config.rate_hysteresis_bpm if self.tachycardia else 0)
        if 60 * FS * (n - 1) < slowest * span:
            if is_long:
                self._end()
            return
        sure = sum(beat.is_v for beat in row)
        if not (self._vf_vt.agrees or (is_long and sure >= config.vt_least_v)):
            return
        self._until = manager.sample + self._lost
        manager.clear("V run")
        kind = "V" if sure == n else "V or unclear"
        words = f"{kind} beats in a row: {max(n, self._length)} at {round(60 * FS * (n - 1) / span)}/min"
        first = min(self._first, row[-1].sample)  # the waveform may have joined two rows only now
        manager.raise_or_extend("ventricular tachycardia", first, self._until, words)

    def _end(self) -> None:
        """End the tachycardia, unless the waveform still shows one."""
        if self.tachycardia:
            self._until = -1
            if not self._vf_vt.tachycardia:
                self._manager.clear("ventricular tachycardia")
