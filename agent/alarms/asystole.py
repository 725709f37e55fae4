"""Asystole and pause: no QRS complex for too long.

Three clocks run. R peaks that the detector accepts are known at once, but one of them may be a P wave or the spike of a
pacemaker. Beats that the net has confirmed are known `class_latency_s` later. And while the signal is lower than
`least_qrs_mv` no deflection counts as a QRS complex: until `asystole_s` after it was so low, or was asystole to the
waveform classifier, beats do not end an asystole either. After a jump of the baseline, as of an electrode that was
touched, the amplifier shows nothing for some seconds, and the alarm waits for `asystole_jump_s` more.
"""

import math

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import AlarmTick
from agent.core.alarm_settings import AlarmConfig
from agent.core.messages import Beat
from model.records.resample import FS
from model.waveform.waveform_classifier import ASYSTOLE, NOISE


class AsystoleRule:
    """The rules of asystole and pause of one bed."""

    __slots__ = (
        "_asystole",
        "_beat",
        "_config",
        "_doubt",
        "_doubtful",
        "_fibrillating",
        "_flat",
        "_found",
        "_hidden",
        "_hold",
        "_jump",
        "_jumped_until",
        "_least_hiding_mv",
        "_lost",
        "_low",
        "_manager",
        "_noisy_windows",
        "_pause",
        "_since",
        "_verdict",
    )

    def __init__(self, config: AlarmConfig, manager: AlarmManager) -> None:
        self._manager = manager
        self.apply(config)
        self._found, self._verdict = round(config.r_peak_latency_s * FS), round(config.class_latency_s * FS)
        self._doubt, self._jump = round(config.asystole_confirm_s * FS), round(config.asystole_jump_s * FS)
        self._hold, self._lost = round(config.event_display_s * FS), round(config.lost_s * FS)
        self._doubtful = False
        """Whether the latest window may have been fibrillation or noise."""
        self._fibrillating = False
        """Whether the latest window was fibrillation."""
        self._low = False
        """Whether the signal was too low for a QRS complex in the latest window."""
        self._least_hiding_mv = math.inf
        """Height of noise that hides beats: a share of that of the latest window with beats and without noise."""
        self.interrupt(0)

    def apply(self, config: AlarmConfig) -> None:
        """Take other limits."""
        self._config = config
        self._asystole, self._pause = round(config.asystole_s * FS), round(config.pause_s * FS)

    def interrupt(self, sample: int) -> None:
        """Forget what was before `sample`."""
        self._since, self._beat = sample, sample
        self._jumped_until = -1
        """Through which sample a jump of the baseline may still hide QRS complexes."""
        self._hidden = -1
        """End of the latest window in noise that hides beats: high, and for longer than a window with a beat in it."""
        self._noisy_windows = 0
        self._flat = sample - self._asystole
        """End of the latest window that was low, or asystole."""

    def beat(self, beat: Beat, suspended: bool) -> None:
        """Take a confirmed beat. Two near each other end an asystole, two far from each other are a pause."""
        self._beat = beat.sample
        if beat.rr_s is None:
            return
        if beat.rr_s < self._config.asystole_s and self._manager.sample - self._flat >= self._asystole:
            self._manager.clear("asystole")
        onset = beat.sample - round(beat.rr_s * FS)
        hidden = suspended or self._hidden > onset
        if beat.rr_s * FS >= self._asystole + self._doubts(low=True) and not (hidden or self._fibrillating):
            self._no_qrs(onset, beat.sample)
        elif self._config.pause_s < beat.rr_s < self._config.asystole_s and not hidden:
            words = f"RR {beat.rr_s:.2f} s > {self._config.pause_s:g} s"
            self._manager.raise_or_extend("pause", onset, self._manager.sample + self._hold, words)

    def tick(self, tick: AlarmTick, fibrillating: bool, suspended: bool) -> None:
        """Raise what the silence so far is. `fibrillating`: the waveform fibrillates, alarmed or not yet."""
        now, since, window = tick.sample, max(self._since, tick.first), tick.window
        beat = max(self._beat, since, tick.other_beat)
        rejected = now - tick.last_qrs >= self._verdict  # the net has called it no beat
        last = beat if rejected else max(tick.last_qrs, beat)
        noisy = window is not None and window.scores[NOISE] >= self._config.noise_score
        hides = noisy and window is not None and window.amplitude_mv >= self._least_hiding_mv
        self._noisy_windows = self._noisy_windows + 1 if hides else 0
        if self._noisy_windows >= self._config.asystole_noise_windows:
            self._hidden = now
        if window is not None and not noisy and now - last < self._pause:
            self._least_hiding_mv = self._config.asystole_noise_share * window.amplitude_mv
        self._doubtful, self._fibrillating = fibrillating or noisy, fibrillating
        if tick.jump_mv >= self._config.asystole_jump_mv:
            self._jumped_until = now + self._lost
        self._low = low = window is not None and window.amplitude_mv < self._config.least_qrs_mv
        flat = low or (window is not None and window.scores[ASYSTOLE] >= self._config.asystole_score)
        if flat:
            self._flat = now
        peaks, beats = now - last - self._found, now - beat - self._verdict
        if peaks <= self._pause and beats < self._asystole and not flat:
            return
        if "ventricular fibrillation" in self._manager.open:
            return
        onset = last if peaks >= beats else beat
        silence = max(peaks, beats)
        if low and silence < self._asystole <= now - since:
            onset, silence = now - self._asystole, self._asystole
        long = silence >= self._asystole + self._doubts(low) and self._believed(tick, suspended)
        if long or (flat and "asystole" in self._manager.open):
            self._no_qrs(onset, now)
        elif peaks > self._pause and tick.last_qrs >= since and not (suspended or self._hidden == now):
            words = f"no QRS for {(now - last) / FS:.1f} s"
            self._manager.raise_or_extend("pause", last, now + self._hold, words)

    def _no_qrs(self, onset: int, now: int) -> None:
        active = self._manager.open.get("asystole")
        began = active.onset if active else onset
        self._manager.clear("pause")
        floor = f" over {self._config.least_qrs_mv:g} mV" if self._low else ""
        self._manager.raise_or_extend(
            "asystole", onset, now + self._lost, f"no QRS{floor} for {(now - began) / FS:.1f} s"
        )

    def _doubts(self, low: bool) -> int:
        """Return the samples to wait before what may be something else is called asystole; `low` is no noise.

        After a jump of the baseline the amplifier may show nothing for a while; else it may be fibrillation or noise.
        """
        if "asystole" in self._manager.open:
            return 0
        jumped = self._jumped_until >= self._manager.sample
        return max(self._jump if jumped else 0, self._doubt if self._doubtful and not low else 0)

    def _believed(self, tick: AlarmTick, suspended: bool) -> bool:
        """Whether asystole may be raised: in noise only if the classifier is confident (`noise_override_score`).

        Noise that hides the beats counts before it has suspended the analysis, too.
        """
        sure = tick.window is not None and tick.window.scores[ASYSTOLE] >= self._config.noise_override_score
        return sure or not (suspended or self._hidden == tick.sample) or "asystole" in self._manager.open
