"""The alarm rules of one bed together: which rule hears what, and what each must forget when."""

from collections.abc import Sequence, Set
from typing import Literal

import msgspec

from agent.alarms.alarm_manager import AlarmManager
from agent.alarms.alarm_tick import AlarmTick
from agent.alarms.asystole import AsystoleRule
from agent.alarms.ectopy import EctopyRule
from agent.alarms.rate_limits import RateRule
from agent.alarms.technical import TechnicalRule
from agent.alarms.vf_vt import VfVtRule
from agent.alarms.vt_beats import VtBeatRule
from agent.core.alarm_settings import AlarmConfig
from agent.core.bed_settings import NO_SETTINGS, BedSettings, limits_in_force
from agent.core.events import LeadState
from agent.core.messages import Alarm, AlarmIdentity, Beat
from model.records.resample import FS
from model.records.wfdb_records import CLASSES
from model.rhythm.atrial_fibrillation import IrregularityDetector

N, S = CLASSES.index("N"), CLASSES.index("S")
ARRESTS = frozenset(("asystole", "ventricular fibrillation"))
"""While one of these is alarmed, beats that are detected are no pulse."""

ClockCondition = Literal["no data", "two devices"]
CLOCK_CONDITIONS: dict[ClockCondition, str] = {
    "no data": "nothing comes from the device",
    "two devices": "another device sends as this bed: the one that was there first is watched",
}
"""What the clock shows, and the reason that its alarm gives."""


class BedAlarmRules:
    """The rules of one bed. They raise and clear conditions in its `manager`, which makes alarms of them.

    Every method returns the alarms that changed, as they stand now. Samples at 125 Hz of the run; `at_s` are Unix times
    that are only stored.
    """

    __slots__ = (
        "_asystole",
        "_ectopy",
        "_irregular",
        "_lost",
        "_new_beat",
        "_normal_score",
        "_pause_alarms_s",
        "_rate",
        "_running",
        "_silence_s",
        "_technical",
        "_vf_vt",
        "_vt_beats",
        "base",
        "limits",
        "manager",
        "settings",
    )

    def __init__(self, config: AlarmConfig, intervals: int) -> None:
        """Make the rules; the heart rate is the mean of `intervals` RR intervals."""
        self.manager = manager = AlarmManager(config.latch_high)
        self.base = self.limits = config
        """The settings of all beds, and those of this one."""
        self.settings = NO_SETTINGS
        self._lost = round(config.lost_s * FS)
        self._silence_s, self._pause_alarms_s = config.silence_s, config.pause_alarms_s
        self._normal_score = config.af_normal_score
        self._technical = TechnicalRule(config, manager)
        self._vf_vt = VfVtRule(config, manager)
        self._asystole = AsystoleRule(config, manager)
        self._rate = RateRule(config, intervals, manager)
        self._vt_beats = VtBeatRule(config, manager, self._vf_vt)
        self._ectopy = EctopyRule(config, manager)
        self._irregular = IrregularityDetector(
            intervals=config.af_intervals,
            variation=config.af_variation,
            entropy=config.af_entropy,
            tolerance=config.af_tolerance,
            excess=config.af_excess,
            keep=config.af_keep,
            least_s=config.af_s,
            memory_s=config.af_memory_s,
        )
        self._running = False
        self._new_beat = False
        """Whether a beat came since the last tick."""

    @property
    def suspended(self) -> bool:
        """Whether no heart rate is to be shown: it is too noisy, or an arrest is alarmed."""
        return self._technical.suspended or not ARRESTS.isdisjoint(self.manager.open)

    def start(self, bed: str, run: str, first: int) -> list[Alarm]:
        """Begin a run at sample `first`: nothing of the one before counts, and its open alarms are over."""
        self.manager.start(bed, run, first)
        self._technical.start(first)
        self._rate.start(first)
        self._vf_vt.start()
        self._irregular.start()
        self._see_again(first)
        self._running = True
        return self.manager.take()

    def beat(self, beat: Beat, at_s: float) -> list[Alarm]:
        """Take the next beat, in the order of decision."""
        technical = self._technical
        self.manager.advance_to(beat.class_known, at_s)
        self._asystole.beat(beat, technical.suspended)
        if not technical.suspended and not technical.blind:
            if "ventricular fibrillation" in self.manager.open:
                self.manager.suspend()
                self._rate.discard_intervals()
                self._vt_beats.interrupt()
            else:
                self._rate.beat(beat)
                self._vt_beats.beat(beat)
            self._ectopy.beat(beat, self._vt_beats.tachycardia)
            if self._vf_vt.noisy or self.suspended:
                self._irregular.interrupt()
            else:
                # What may be V, a fusion or an artefact has no interval that counts.
                normal = beat.probabilities[N] + beat.probabilities[S] >= self._normal_score
                self._irregular.push(beat.sample, beat.label if normal else "Q", beat.rr_s)
                self._new_beat = True
        return self.manager.take()

    def tick(self, tick: AlarmTick, at_s: float) -> list[Alarm]:
        """Take the next tick, after all beats that were decided up to it."""
        technical = self._technical
        if tick.window is not None and not tick.window.scores:
            tick = msgspec.structs.replace(tick, window=None)
        self.manager.advance_to(tick.sample, at_s)
        if not technical.blind:
            if technical.tick(tick):
                self._suspend()
            self._vf_vt.tick(tick, technical.suspended, self._vt_beats.speak_against)
            if self._vf_vt.noisy:
                self._rate.doubt_intervals()
            if not technical.suspended:
                self._vt_beats.tick()
                if "ventricular fibrillation" not in self.manager.open:
                    self._rate.tick(tick)
            self._asystole.tick(tick, self._vf_vt.fibrillating, technical.suspended)
            if not self.suspended and (self._new_beat or "atrial fibrillation" in self.manager.open):
                self._check_irregularity(tick.sample)
        return self.manager.take()

    def gap(self, first: int, count: int, at_s: float, valueless: bool = False) -> list[Alarm]:
        """Take `count` missing samples from `first` on, a whole gap or the next piece of it.

        `valueless`: the device sent them, but measured nothing.
        """
        self.manager.advance_to(first, at_s)
        self._lose_sight(first)
        self._technical.gap(first, count, at_s, valueless)
        self.manager.advance_to(first + count, at_s)
        self._see_again(first + count)
        return self.manager.take()

    def lead(self, sample: int, state: LeadState, at_s: float) -> list[Alarm]:
        """Take a lead that came off, saturated, or is back at `sample`."""
        self.manager.advance_to(sample, at_s)
        self._lose_sight(sample)
        self._technical.lead(state)
        self._see_again(sample)
        return self.manager.take()

    def end(self, sample: int, at_s: float) -> list[Alarm]:
        """End the run on purpose; `sample` is the one after its last."""
        self.manager.advance_to(sample, at_s)
        self.manager.close()
        self._running = False
        return self.manager.take()

    def raise_by_clock(self, condition: ClockCondition, sample: int, at_s: float) -> list[Alarm]:
        """Take note of a condition that the clock shows. All else stays as it is: the data may yet come."""
        if self._running:
            self.manager.apply_by_clock(condition, sample, at_s, CLOCK_CONDITIONS[condition])
        return self.manager.take()

    def clear_by_clock(self, condition: ClockCondition, sample: int, at_s: float) -> list[Alarm]:
        """Take note that a condition which the clock showed is over."""
        self.manager.apply_by_clock(condition, sample, at_s, "")
        return self.manager.take()

    def acknowledge(self, now_s: float, identities: Set[AlarmIdentity] | None = None) -> list[Alarm]:
        """Acknowledge all alarms, or only these: a person has seen them."""
        self.manager.acknowledge(now_s, identities)
        return self.manager.take()

    def keep_latched(self, alarms: Sequence[Alarm]) -> list[Alarm]:
        """Show alarms that latched under an earlier monitor, and that nobody has acknowledged."""
        self.manager.keep_latched(alarms)
        return self.manager.take()

    def silence(self, now_s: float) -> None:
        """Silence the bed for a while; called again while it is silent, sound again."""
        silent = now_s < self.manager.silenced_until_s
        self.manager.silenced_until_s = 0.0 if silent else now_s + self._silence_s

    def pause(self, now_s: float) -> list[Alarm]:
        """Pause all alarms for a while; called again while they are paused, end the pause."""
        if self.manager.paused_until_s > 0 or not self._pause_alarms_s:
            return self.end_pause()
        self.manager.pause(now_s + self._pause_alarms_s)
        return self.manager.take()

    def end_pause(self) -> list[Alarm]:
        """Tell alarms again, those that still stand among them."""
        self.manager.end_pause()
        return self.manager.take()

    def apply(self, settings: BedSettings) -> list[Alarm]:
        """Let the bed have these settings from its present sample on; the rules keep what they know of the heart."""
        self.settings, self.limits = settings, limits_in_force(settings, self.base)
        self.manager.turn_off(frozenset(settings.off))
        self._asystole.apply(self.limits)
        self._rate.apply(self.limits)
        self._vt_beats.apply(self.limits)
        self._ectopy.apply(self.limits)
        return self.manager.take()

    def _lose_sight(self, sample: int) -> None:
        """From `sample` on nothing is seen of the heart."""
        self.manager.lose_sight(sample + self._lost)
        self._irregular.interrupt()

    def _see_again(self, sample: int) -> None:
        """From `sample` on the heart is seen again: nothing reaches back over the interruption."""
        self._technical.interrupt(sample)
        self._vf_vt.interrupt()
        self._asystole.interrupt(sample)
        self._rate.interrupt()
        self._vt_beats.interrupt()
        self._ectopy.interrupt()
        self._new_beat = False

    def _suspend(self) -> None:
        """It is too noisy for rates and beats."""
        self.manager.suspend()
        self._rate.interrupt()
        self._vt_beats.interrupt()
        self._ectopy.interrupt()
        self._irregular.start()

    def _check_irregularity(self, now: int) -> None:
        """Raise or clear atrial fibrillation: normal RR intervals that are irregular for long enough."""
        self._new_beat = False
        irregular, onset = self._irregular.state(now)
        if not irregular:
            self.manager.clear("atrial fibrillation", self._irregular.end)
        elif onset is not None:
            words = f"RR irregular for {(now - onset) / FS:.0f} s"
            known = "atrial fibrillation" in self.manager.open
            self.manager.raise_or_extend("atrial fibrillation", onset, now + self._lost, None if known else words)
