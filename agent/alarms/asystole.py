"""Asystole and pause: no QRS complex for too long.

Three clocks run. The R peaks that the detector accepts are known at once, though what lies on a P wave or on a spike of
a pacemaker may be one of them; the beats that the net has confirmed are known `verdict_s` later; and where the signal
is lower than `least_qrs_mv` no deflection counts as a QRS complex. Until that, or asystole in the eyes of the judge of
the waveform, was `asystole_s` ago, beats do not end one either.
"""

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import ASYSTOLE, NOISE, AlarmTick
from agent.core.config import AlarmConfig
from agent.core.messages import Beat
from model.records.resample import FS


class AsystoleRule:
    """The rules of one bed."""

    __slots__ = (
        "_asystole",
        "_beat",
        "_config",
        "_doubt",
        "_doubtful",
        "_fibrillating",
        "_flat",
        "_found",
        "_hold",
        "_lost",
        "_low",
        "_manager",
        "_pause",
        "_since",
        "_verdict",
    )

    def __init__(self, config: AlarmConfig, manager: AlarmManager) -> None:
        self._config, self._manager = config, manager
        self._asystole, self._pause = round(config.asystole_s * FS), round(config.pause_s * FS)
        self._found, self._verdict = round(config.found_s * FS), round(config.verdict_s * FS)
        self._doubt = round(config.doubt_s * FS)
        self._hold, self._lost = round(config.hold_s * FS), round(config.lost_s * FS)
        self._doubtful = False
        """Whether the latest look may have been at fibrillation or noise."""
        self._fibrillating = False
        """Whether the latest look was at fibrillation."""
        self._low = False
        """Whether the signal was too low for a QRS complex at the latest look."""
        self.interrupt(0)

    def interrupt(self, sample: int) -> None:
        """Nothing is known of what was before `sample`."""
        self._since, self._beat = sample, sample
        self._flat = sample - self._asystole
        """The latest look that was low, or at asystole."""

    def beat(self, beat: Beat, suspended: bool) -> None:
        """A confirmed beat: two of them near each other end an asystole; two far from each other are a pause."""
        self._beat = beat.sample
        if beat.rr_s is None:
            return
        if beat.rr_s < self._config.asystole_s and self._manager.sample - self._flat >= self._asystole:
            self._manager.clear("asystole")
        onset = beat.sample - round(beat.rr_s * FS)
        if beat.rr_s >= self._config.asystole_s and not (suspended or self._fibrillating):
            self._no_qrs(onset, beat.sample)
        elif beat.rr_s > self._config.pause_s and not suspended:
            words = f"RR {beat.rr_s:.2f} s > {self._config.pause_s:g} s"
            self._manager.raise_or_extend("pause", onset, self._manager.sample + self._hold, words)

    def tick(self, tick: AlarmTick, fibrillating: bool, suspended: bool) -> None:
        """How long it has been quiet. `fibrillating`: the waveform is, whether alarmed or not yet."""
        now, since, look = tick.sample, max(self._since, tick.first), tick.window
        beat = max(self._beat, since)
        last = max(tick.last_qrs, beat)
        noisy = look is not None and look.scores[NOISE] >= self._config.noise_score
        self._doubtful, self._fibrillating = fibrillating or noisy, fibrillating
        self._low = low = look is not None and look.amplitude_mv < self._config.least_qrs_mv
        flat = low or (look is not None and look.scores[ASYSTOLE] >= self._config.asystole_score)
        if flat:
            self._flat = now
        peaks, beats = now - last - self._found, now - beat - self._verdict
        if peaks <= self._pause and beats < self._asystole and not flat:
            return
        if "ventricular fibrillation" in self._manager.open:
            return
        onset = last if peaks >= beats else beat
        quiet = max(peaks, beats)
        if low and quiet < self._asystole <= now - since:
            onset, quiet = now - self._asystole, self._asystole
        long = quiet >= self._asystole + self._doubts(low) and self._believed(tick, suspended)
        if long or (flat and "asystole" in self._manager.open):
            self._no_qrs(onset, now)
        elif peaks > self._pause and tick.last_qrs >= since and not suspended:
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
        """Samples that are waited for before asystole is said of what may be fibrillation or noise."""
        return self._doubt if self._doubtful and not low and "asystole" not in self._manager.open else 0

    def _believed(self, tick: AlarmTick, suspended: bool) -> bool:
        """In noise nobody but a judge that is sure is believed."""
        sure = tick.window is not None and tick.window.scores[ASYSTOLE] >= self._config.sure_score
        return sure or not suspended or "asystole" in self._manager.open
